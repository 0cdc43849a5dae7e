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

#[tokio::test]
async fn the_critical_path_and_the_flame_add_up_to_the_trace() {
    let (_store, router) = fed();
    let (_, path) = get(&router, &format!("/api/v1/traces/{ID}/critical-path")).await;
    let pieces = path["path"].as_array().unwrap();
    let names: Vec<&str> = pieces.iter().map(|piece| piece["span_id"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "00000000000000aa",
            "00000000000000ab",
            "00000000000000ac",
            "00000000000000ab",
            "00000000000000aa"
        ]
    );
    assert_eq!(
        (&pieces[0]["from"], &pieces[4]["to"]),
        (&"0".into(), &"200000000".into())
    );
    assert_eq!(
        path["share"][0],
        serde_json::json!({"service": "fx", "duration": "120000000", "percent": 60.0})
    );
    for path in [
        format!("/api/v1/traces/{ID}/flame"),
        "/api/v1/flame?q=service=fx".to_owned(),
    ] {
        let (_, flame) = get(&router, &path).await;
        let root = &flame["root"]["children"][0];
        assert_eq!(
            (&root["name"], &root["total"], &root["self"]),
            (&"GET /quote".into(), &"200000000".into(), &"60000000".into())
        );
    }
}

#[tokio::test]
async fn the_map_has_the_call_with_its_figures() {
    let (_store, router) = fed();
    let (_, map) = get(&router, "/api/v1/map").await;
    assert_eq!(map["nodes"].as_array().unwrap().len(), 2);
    let edge = &map["edges"][0];
    assert_eq!(
        (&edge["from"], &edge["to"], &edge["errors"]),
        (&"service:web".into(), &"service:fx".into(), &1.into())
    );
    assert_eq!(edge["p50"], "120000000");
    let q = edge["q"].as_str().unwrap().replace(' ', "%20").replace('"', "%22");
    let (_, spans) = get(&router, &format!("/api/v1/spans?q={q}")).await;
    assert_eq!(
        (&spans["total"], &spans["spans"][0]["span_id"]),
        (&1.into(), &"00000000000000ac".into())
    );
}

#[tokio::test]
async fn spans_are_put_together_by_service_failure_operation_and_key() {
    let (_store, router) = fed();
    let (_, services) = get(&router, "/api/v1/services").await;
    assert_eq!(
        (&services["services"][0]["name"], &services["services"][0]["spans"]),
        (&"web".into(), &2.into())
    );
    let (_, errors) = get(&router, "/api/v1/errors").await;
    assert_eq!(errors["errors"][0]["type"], "TimeoutError");
    assert_eq!(
        (&errors["errors"][0]["message"], &errors["errors"][0]["count"]),
        (&"timeout".into(), &1.into())
    );
    let (_, slow) = get(&router, "/api/v1/slow").await;
    assert_eq!(
        (&slow["operations"][0]["name"], &slow["operations"][0]["p95"]),
        (&"GET /quote".into(), &"200000000".into())
    );
    let (_, stats) = get(&router, "/api/v1/stats?by=service&of=self").await;
    assert_eq!(
        (&stats["groups"][0]["key"], &stats["groups"][0]["sum"]),
        (&"web".into(), &80e6.into())
    );
    let (_, keys) = get(&router, "/api/v1/keys?q=status").await;
    assert_eq!(keys["keys"][0]["key"], "http.response.status_code");
    assert_eq!(
        (&keys["keys"][0]["scope"], &keys["keys"][0]["semconv"]),
        (&"span".into(), &"known".into())
    );
}

#[tokio::test]
async fn a_trace_compared_with_itself_is_the_same_everywhere() {
    let (_store, router) = fed();
    let (status, same) = get(&router, &format!("/api/v1/compare?a={ID}&b=0123")).await;
    assert_eq!(status, 200, "{same}");
    let rows = same["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["change"] == "same"));
    assert_eq!(same["attributes"], serde_json::json!([]));
    let (status, _) = get(&router, "/api/v1/compare?a=r-1&b=r-2").await;
    assert_eq!(status, 404);
}

/// The next text of a stream.
async fn next(body: &mut Body) -> String {
    let frame = tokio::time::timeout(std::time::Duration::from_secs(20), body.frame()).await;
    let frame = frame.expect("something comes").expect("it has not ended").unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

async fn open(router: &Router, topics: &str, last: Option<&str>) -> Body {
    let mut request = Request::get(format!("/api/v1/stream?topics={topics}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

fn id_of(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("id: "));
    line.expect("an id").to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_is_pushed_and_can_be_resumed() {
    let (store, router) = fed();
    let mut body = open(&router, "logs,alerts", None).await;
    let hello = next(&mut body).await;
    assert!(hello.starts_with("retry: "), "{hello}");
    let logs = || {
        Batch::from_json(
            Signal::Logs,
            LOGS.as_bytes(),
            &DoorLimits::default(),
            Origin::internal(),
        )
        .unwrap()
    };
    // The pump is under way when it answers.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    store.take(logs().batch);
    let first = next(&mut body).await;
    assert!(
        first.contains("event: logs") && first.contains("quote failed"),
        "{first}"
    );
    drop(body);
    store.live().announce("alerts", serde_json::json!({"alerts": [7]}));
    store.take(logs().batch);
    // What came while nobody was there.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let mut body = open(&router, "logs,alerts", Some(&id_of(&first))).await;
    next(&mut body).await;
    let second = next(&mut body).await;
    assert!(
        second.contains("event: alerts\ndata: {\"alerts\":[7]}") && second.contains("quote failed"),
        "{second}"
    );
    let mut strange = open(&router, "logs", Some("999999")).await;
    assert!(next(&mut strange).await.contains("event: gap"));
    store.live().end();
    while let Some(frame) = body.frame().await {
        assert!(frame.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn changed_traces_are_pushed_with_their_spans() {
    let (store, router) = fed();
    let mut body = open(&router, "traces,spans&q=service=fx", None).await;
    next(&mut body).await;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let more = TRACES.replace("00000000000000a", "00000000000000b");
    let admitted = Batch::from_json(
        Signal::Traces,
        more.as_bytes(),
        &DoorLimits::default(),
        Origin::internal(),
    );
    store.take(admitted.unwrap().batch);
    let text = next(&mut body).await;
    assert!(
        text.contains("event: traces") && text.contains(r#""spans":6"#),
        "{text}"
    );
    assert!(text.contains(&format!(r#"{{"rows":3,"trace_id":"{ID}"}}"#)), "{text}");
}
