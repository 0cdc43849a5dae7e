use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tower::ServiceExt;

use super::*;
use crate::dev::store::Store;
use crate::pdata::{Batch, DoorLimits, Origin, Signal};

/// Two services, a failed call, a log record, a metric.
const TRACES: &str = r#"{"resourceSpans":[
 {"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"scope":{"name":"http"},"spans":[
  {"traceId":"0123456789abcdef0123456789abcdef","spanId":"00000000000000aa","name":"GET /quote","kind":2,"startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000200000000",
   "attributes":[{"key":"http.response.status_code","value":{"intValue":"502"}}]},
  {"traceId":"0123456789abcdef0123456789abcdef","spanId":"00000000000000ab","parentSpanId":"00000000000000aa","name":"GET /rates","kind":3,"startTimeUnixNano":"1700000000010000000","endTimeUnixNano":"1700000000150000000"}]}]},
 {"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"fx"}}]},"scopeSpans":[{"spans":[
  {"traceId":"0123456789abcdef0123456789abcdef","spanId":"00000000000000ac","parentSpanId":"00000000000000ab","name":"GET /rates","kind":2,"startTimeUnixNano":"1700000000020000000","endTimeUnixNano":"1700000000140000000","status":{"code":2,"message":"timeout"},
   "events":[{"timeUnixNano":"1700000000130000000","name":"exception","attributes":[{"key":"exception.type","value":{"stringValue":"TimeoutError"}}]}]}]}]}]}"#;

const LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeLogs":[{"logRecords":[
 {"timeUnixNano":"1700000000100000000","severityNumber":17,"severityText":"ERROR","body":{"stringValue":"quote failed"},"traceId":"0123456789abcdef0123456789abcdef","spanId":"00000000000000aa","attributes":[{"key":"sku","value":{"intValue":"9"}}]},
 {"timeUnixNano":"1700000000300000000","severityNumber":9,"body":{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"b"}}]}}}]}]}]}"#;

fn fed() -> (Arc<Store>, Router) {
    let store = Arc::new(Store::default());
    store.feed(true);
    for (signal, text) in [(Signal::Traces, TRACES), (Signal::Logs, LOGS)] {
        let admitted = Batch::from_json(signal, text.as_bytes(), &DoorLimits::default(), Origin::internal()).unwrap();
        store.take(admitted.batch);
    }
    let router = guarded(api(Arc::clone(&store)));
    (store, router)
}

async fn get(router: &Router, path: &str) -> (StatusCode, Json) {
    let request = Request::get(path)
        .header("host", "localhost:4320")
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

const ID: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn the_list_has_the_trace_with_its_root() {
    let (_store, router) = fed();
    let (status, list) = get(&router, "/api/v1/traces?q=status=error").await;
    assert_eq!(status, 200);
    assert_eq!((&list["total"], &list["truncated"]), (&1.into(), &false.into()));
    let trace = &list["traces"][0];
    assert_eq!(trace["trace_id"], ID);
    assert_eq!(trace["root"]["http_status"], "502");
    assert_eq!(
        (&trace["spans"], &trace["errors"], &trace["logs"]),
        (&3.into(), &1.into(), &1.into())
    );
    assert_eq!(trace["duration"], "200000000");
    assert_eq!(trace["services"], serde_json::json!(["web", "fx"]));
    let (_, none) = get(&router, "/api/v1/traces?q=service=nobody").await;
    assert_eq!(none["empty"], "filtered");
    let (_, none) = get(&router, "/api/v1/traces?from=-1s").await;
    assert_eq!(none["empty"], "outside the window");
}

#[tokio::test]
async fn rows_come_in_tree_order_with_what_stands_on_them() {
    let (_store, router) = fed();
    let (_, trace) = get(&router, "/api/v1/traces/0123456").await;
    let rows = trace["rows"].as_array().unwrap();
    let depths: Vec<u64> = rows.iter().map(|row| row["depth"].as_u64().unwrap()).collect();
    assert_eq!(depths, [0, 1, 2]);
    assert_eq!(rows[0]["self"], "60000000");
    assert_eq!(rows[0]["logs"][0]["severity"], "error");
    assert_eq!(rows[2]["start"], "20000000");
    assert_eq!(rows[2]["events"][0]["exception"], true);
    assert_eq!((&trace["rows_total"], &trace["max_depth"]), (&3.into(), &2.into()));
    let (_, page) = get(&router, &format!("/api/v1/traces/{ID}?offset=1&limit=1")).await;
    assert_eq!(page["rows"][0]["i"], 1);
    let (_, found) = get(&router, &format!("/api/v1/traces/{ID}/search?q=TimeoutError")).await;
    assert_eq!(found["rows"], serde_json::json!([2]));
    let (_, map) = get(&router, &format!("/api/v1/traces/{ID}/minimap?width=4")).await;
    let spans: Vec<u64> = map["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["spans"].as_u64().unwrap())
        .collect();
    assert_eq!(spans, [3, 3, 3, 1]);
}

#[tokio::test]
async fn a_span_is_shown_whole_and_raw() {
    let (_store, router) = fed();
    let (status, detail) = get(&router, &format!("/api/v1/traces/{ID}/spans/00000000000000ac")).await;
    assert_eq!(status, 200, "{detail}");
    let span = &detail["span"];
    assert_eq!(span["events"][0]["attributes"][0]["value"], "TimeoutError");
    assert_eq!(span["status_message"], "timeout");
    assert_eq!(span["resource"]["attributes"][0]["value"], "fx");
    assert_eq!(
        span["raw"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"],
        "00000000000000ac"
    );
    let (_, root) = get(&router, &format!("/api/v1/traces/{ID}/spans/00000000000000aa")).await;
    assert_eq!(root["span"]["logs"][0]["body"], "quote failed");
    assert_eq!(
        root["span"]["attributes"][0],
        serde_json::json!({"key": "http.response.status_code", "type": "int", "value": "502"})
    );
}

#[tokio::test]
async fn logs_are_listed_newest_first_and_found_by_their_trace() {
    let (_store, router) = fed();
    let (_, list) = get(&router, "/api/v1/logs").await;
    assert_eq!(list["logs"][0]["body"], r#"{"a":"b"}"#);
    assert_eq!(list["logs"][1]["severity"]["level"], "error");
    let (_, of_trace) = get(&router, &format!("/api/v1/logs?q=trace={ID}")).await;
    assert_eq!(of_trace["total"], 1);
    let id = of_trace["logs"][0]["id"].as_str().unwrap();
    let (_, log) = get(&router, &format!("/api/v1/logs/{id}?context=2")).await;
    assert_eq!(log["log"]["body"], "quote failed");
    assert_eq!(log["before"].as_array().unwrap().len(), 0);
    let (_, bars) = get(&router, "/api/v1/logs/histogram?buckets=2").await;
    assert_eq!(bars["buckets"][0]["counts"]["error"], 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_said_with_its_place() {
    let (_store, router) = fed();
    let (status, error) = get(&router, "/api/v1/traces?q=a=1%20duration%3E100").await;
    assert_eq!((status.as_u16(), &error["position"]), (400, &13.into()));
    assert_eq!(error["suggestion"], "100ms");
    let (status, _) = get(&router, "/api/v1/traces/ffff").await;
    assert_eq!(status, 404);
    let (status, _) = get(&router, "/api/v1/traces?limit=many").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn clearing_needs_a_post_and_leaves_a_tombstone() {
    let (store, router) = fed();
    let (status, _) = get(&router, "/api/v1/clear").await;
    assert_eq!(status, 405);
    let request = Request::post("/api/v1/clear").header("content-type", "application/json");
    let response = router
        .clone()
        .oneshot(request.body(Body::from("{}")).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(store.rows(Signal::Traces), 0);
    let (_, list) = get(&router, "/api/v1/traces").await;
    assert_eq!(
        (&list["total"], &list["pruned"][0]["reason"]),
        (&0.into(), &"clear".into())
    );
    assert!(list["empty"].as_str().unwrap().starts_with("pruned at"));
}

#[tokio::test]
async fn without_a_store_the_api_says_so() {
    let router = guarded(api(Arc::new(Store::default())));
    let (status, error) = get(&router, "/api/v1/traces").await;
    assert_eq!(status, 404);
    assert!(error["error"].as_str().unwrap().contains("devstore"));
}
