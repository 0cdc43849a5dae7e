//! OTLP/JSON in, answers in JSON.

use super::*;

const SPAN: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
    {"traceId":"0102030405060708090A0B0C0D0E0F10","spanId":"0102030405060708","name":"a","kind":"SPAN_KIND_SERVER",
     "startTimeUnixNano":"1","end_time_unix_nano":2,"unknown":{"x":[1]},
     "attributes":[{"key":"k","value":{"intValue":"5"}},{"key":"null","value":{}}]}]}]}]}"#;

#[tokio::test]
async fn json_is_taken_as_clients_write_it_and_answered_in_json() {
    let harness = start_default().await;
    for content_type in ["application/json", "application/json; charset=utf-8"] {
        let headers = [("content-type", content_type)];
        let answer = send(harness.http(), false, "/v1/traces", &headers, SPAN).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let mut batches = harness.sink.batches();
    assert_eq!(batches.len(), 2);
    let crate::pdata::Decoded::Traces(request) = batches[0].decode().unwrap() else {
        panic!("traces");
    };
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.kind, span.end_time_unix_nano), ("a", 2, 2));
    assert_eq!(span.trace_id, (1..=16).collect::<Vec<u8>>());
}

#[tokio::test]
async fn an_empty_object_is_fine_and_an_empty_body_is_not() {
    let harness = start_default().await;
    for path in ["/v1/traces", "/v1/metrics", "/v1/logs"] {
        assert_eq!(
            send(harness.http(), false, path, &[JSON], "{}").await.status,
            200,
            "{path}"
        );
        assert_eq!(
            send(harness.http(), false, path, &[PROTOBUF], "").await.status,
            200,
            "{path}"
        );
        let answer = send(harness.http(), false, path, &[JSON], "").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, "application/json"),
            "{path}"
        );
    }
    assert!(harness.sink.seen().is_empty());
}

#[tokio::test]
async fn bad_json_is_400_with_a_status_in_json() {
    let harness = start_default().await;
    for body in ["{", "[]", r#"{"resourceSpans":7}"#] {
        let answer = send(harness.http(), false, "/v1/traces", &[JSON], body).await;
        assert_eq!(answer.status, 400, "{body}");
        let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(status["code"], 3, "{body}");
        assert!(!status["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn base64_ids_are_refused_with_a_text_that_says_so() {
    let harness = start_default().await;
    let body = SPAN.replace("0102030405060708090A0B0C0D0E0F10", "AQIDBAUGBwgJCgsMDQ4PEA==");
    let answer = send(harness.http(), false, "/v1/traces", &[JSON], body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("base64"), "{}", answer.text());
}

#[tokio::test]
async fn rejected_records_are_counted_in_a_partial_success_in_json() {
    let harness = start_default().await;
    let bad = r#"{"traceId":"01","spanId":"0102030405060708","name":"b"},{"traceId""#;
    let body = SPAN.replacen(r#"{"traceId""#, bad, 1);
    let answer = send(harness.http(), false, "/v1/traces", &[JSON], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let response: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(response["partialSuccess"]["rejectedSpans"], "1", "{response}");
    assert!(!response["partialSuccess"]["errorMessage"].as_str().unwrap().is_empty());
    assert_eq!(harness.sink.seen(), [(Signal::Traces, 1)]);
}

#[tokio::test]
async fn a_beacon_from_an_allowed_page_may_call_its_json_text() {
    let harness = start_yaml(&both("", "cors: {allowed_origins: ['https://shop.example']}")).await;
    let text = ("content-type", "text/plain;charset=UTF-8");
    let origin = ("origin", "https://shop.example");
    let answer = send(harness.http(), false, "/v1/traces", &[text, origin], SPAN).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &[text, origin], "hello")
            .await
            .status,
        415
    );
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &[text], SPAN).await.status,
        415
    );
}

#[tokio::test]
async fn big_json_is_read_off_the_connections_task_and_taken_the_same() {
    let harness = start_default().await;
    let body = SPAN.replace(r#""name":"a""#, &format!(r#""name":"{}""#, "n".repeat(400_000)));
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &[JSON], body).await.status,
        200
    );
    assert_eq!(harness.sink.seen(), [(Signal::Traces, 1)]);
}
