use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::Value;

use super::*;
use crate::component::{Registry, StatusBoard};
use crate::dev::store::Store;
use crate::pdata::{Batch, Origin, Signal};

const T: u64 = 1_800_000_000_000_000_000;

fn resource(service: &str) -> Option<Resource> {
    Some(Resource {
        attributes: vec![KeyValue {
            key: "service.name".to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue(service.to_owned())),
            }),
            ..KeyValue::default()
        }],
        ..Resource::default()
    })
}

fn put(commons: &Commons, signal: Signal, request: &impl Message) {
    commons.get::<Store>().feed(true);
    let bytes = request.encode_to_vec();
    let items = 1;
    commons.get::<Store>().take(Batch::from_wire(
        signal,
        bytes.into(),
        items,
        Arc::new(Origin::default()),
    ));
}

fn spans(commons: &Commons, service: &str, count: u64) {
    let span = |number: u64| Span {
        trace_id: [9; 16].to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: format!("span {number}"),
        start_time_unix_nano: T + number,
        end_time_unix_nano: T + number + 5,
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(service),
            scope_spans: vec![ScopeSpans {
                spans: (0..count).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    put(commons, Signal::Traces, &request);
}

fn filled() -> Commons {
    let commons = Commons::default();
    spans(&commons, "web", 2_500);
    let point = |number: u64| NumberDataPoint {
        time_unix_nano: T + number,
        value: Some(number_data_point::Value::AsInt(number as i64)),
        ..NumberDataPoint::default()
    };
    let metric = |name: &str| Metric {
        name: name.to_owned(),
        unit: "1".to_owned(),
        data: Some(metric::Data::Gauge(Gauge {
            data_points: (0..3).map(point).collect(),
        })),
        ..Metric::default()
    };
    let metrics = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource("web"),
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric("a"), metric("b")],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    put(&commons, Signal::Metrics, &metrics);
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource("web"),
            scope_logs: vec![ScopeLogs {
                log_records: vec![LogRecord {
                    time_unix_nano: T,
                    severity_number: 9,
                    ..LogRecord::default()
                }],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    put(&commons, Signal::Logs, &logs);
    commons
}

fn sources() -> Sources {
    Sources {
        board: StatusBoard::default(),
        registry: Registry::default(),
    }
}

async fn call(commons: &Commons, method: &str, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(axum::body::Body::from(body))
        .unwrap();
    let answer = tower::ServiceExt::oneshot(router(commons, sources()), request)
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 64 << 20).await.unwrap();
    (status, body.to_vec())
}

async fn exported(commons: &Commons, format: &str) -> Vec<u8> {
    let (status, body) = call(commons, "GET", &format!("/api/v1/export?format={format}"), Vec::new()).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    body
}

#[tokio::test]
async fn an_export_of_an_import_is_the_same_to_the_byte() {
    let first = filled();
    for format in ["json", "jsonl"] {
        let text = exported(&first, format).await;
        let second = Commons::default();
        second.get::<Store>().feed(true);
        let (status, answer) = call(&second, "POST", "/api/v1/import", text.clone()).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["stored"], 2_500 + 6 + 1, "{format}");
        assert!(exported(&second, format).await == text, "{format}");
    }
    let archive = exported(&first, "protobuf").await;
    let second = Commons::default();
    second.get::<Store>().feed(true);
    for (name, bytes) in zip::read(&archive, 1 << 30).unwrap() {
        let signal = Signal::ALL
            .into_iter()
            .find(|signal| name == format!("{signal}.binpb"))
            .unwrap();
        // In pieces of other sizes than it was written in.
        second
            .get::<Store>()
            .take(Batch::from_wire(signal, bytes.into(), 1, Arc::new(Origin::default())));
    }
    assert!(exported(&second, "protobuf").await == archive);
}

#[tokio::test]
async fn one_trace_is_a_page_or_a_list_and_nonsense_is_refused() {
    let commons = filled();
    let id = "09".repeat(16);
    let (status, page) = call(
        &commons,
        "GET",
        &format!("/api/v1/export?format=html&trace_id={id}"),
        Vec::new(),
    )
    .await;
    assert_eq!(status, 200);
    assert!(String::from_utf8(page).unwrap().starts_with("<!doctype html>"));
    let (status, list) = call(
        &commons,
        "GET",
        &format!("/api/v1/export?format=md&trace_id={id}"),
        Vec::new(),
    )
    .await;
    assert!(status == 200 && String::from_utf8(list).unwrap().contains("- web span 1"));
    for path in [
        "/api/v1/export?format=html",
        "/api/v1/export?format=xml",
        "/api/v1/export?q=a%3D(",
    ] {
        assert_eq!(call(&commons, "GET", path, Vec::new()).await.0, 400, "{path}");
    }
    assert_eq!(
        call(&commons, "GET", "/api/v1/export?trace_id=ff", Vec::new()).await.0,
        404
    );
    assert_eq!(
        call(&commons, "POST", "/api/v1/import", b"{\"a\":1}".to_vec()).await.0,
        400
    );
    assert_eq!(
        call(&commons, "POST", "/api/v1/import", b"{\"resourceSpans\":3}".to_vec())
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn runs_begin_end_and_say_what_they_sent() {
    let commons = filled();
    let (_, begun) = call(
        &commons,
        "POST",
        "/api/v1/runs",
        br#"{"command":"python app.py"}"#.to_vec(),
    )
    .await;
    let begun: Value = serde_json::from_slice(&begun).unwrap();
    let id = begun["id"].as_str().unwrap();
    let ended = br#"{"exit_code":3}"#.to_vec();
    assert_eq!(
        call(&commons, "POST", &format!("/api/v1/runs/{id}"), ended.clone())
            .await
            .0,
        200
    );
    assert_eq!(call(&commons, "POST", "/api/v1/runs/r-none", ended).await.0, 404);
    let (_, list) = call(&commons, "GET", "/api/v1/runs", Vec::new()).await;
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["runs"][0]["exit_code"], 3);
    assert_eq!(list["runs"][0]["spans"], 0);
    assert_eq!(list["total"], 1);
}

#[tokio::test]
async fn findings_are_listed_filtered_and_muted() {
    let commons = Commons::default();
    let (_, none) = call(&commons, "GET", "/api/v1/alerts", Vec::new()).await;
    let none: Value = serde_json::from_slice(&none).unwrap();
    assert_eq!(none["empty"], "nothing received");
    let lints = commons.get::<crate::dev::lints::Lints>();
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![Span {
                    trace_id: vec![1; 16],
                    span_id: vec![1; 8],
                    start_time_unix_nano: T,
                    end_time_unix_nano: T,
                    ..Span::default()
                }],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let bytes = request.encode_to_vec();
    lints.take(
        &mut Batch::from_wire(Signal::Traces, bytes.into(), 1, Arc::new(Origin::default())),
        T,
    );
    let (_, list) = call(&commons, "GET", "/api/v1/alerts?rule=unknown-service", Vec::new()).await;
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["total"], 1, "{list}");
    let id = list["alerts"][0]["id"].as_str().unwrap().to_owned();
    let mute = |id: &str, body: &str| {
        let (path, body) = (format!("/api/v1/alerts/{id}/mute"), body.as_bytes().to_vec());
        let commons = commons.clone();
        async move { call(&commons, "POST", &path, body).await.0 }
    };
    assert_eq!(mute(&id, r#"{"for":"soon"}"#).await, 400);
    assert_eq!(mute("none", "{}").await, 404);
    assert_eq!(mute(&id, r#"{"for":"1h","comment":"known"}"#).await, 200);
    let (_, list) = call(&commons, "GET", "/api/v1/alerts?state=muted", Vec::new()).await;
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["alerts"][0]["labels"]["mute_comment"], "known", "{list}");
}
