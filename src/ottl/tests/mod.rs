//! Tests of the language over one request of each signal.

mod functions;
mod properties;
mod semantics;
mod syntax;

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1 as m;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;

use super::*;
use crate::component::{BoxFuture, Clock, UnixNanos};
use crate::pdata::{Auth, Origin};
use crate::wire;

pub(super) fn any_of(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(super) fn text(value: &str) -> AnyValue {
    any_of(Any::StringValue(value.to_owned()))
}

pub(super) fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn list(values: Vec<AnyValue>) -> AnyValue {
    any_of(Any::ArrayValue(ArrayValue { values }))
}

fn map(values: Vec<KeyValue>) -> AnyValue {
    any_of(Any::KvlistValue(KeyValueList { values }))
}

/// A value of every type.
fn attributes() -> Vec<KeyValue> {
    vec![
        attribute("s", text("hello")),
        attribute("digits", text("42")),
        attribute("i", any_of(Any::IntValue(7))),
        attribute("d", any_of(Any::DoubleValue(1.5))),
        attribute("t", any_of(Any::BoolValue(true))),
        attribute("f", any_of(Any::BoolValue(false))),
        attribute("b", any_of(Any::BytesValue(vec![1, 2]))),
        attribute("empty", AnyValue { value: None }),
        attribute("list", list(vec![any_of(Any::IntValue(1)), text("two"), list(vec![])])),
        attribute(
            "map",
            map(vec![
                attribute("k", map(vec![attribute("l", text("deep"))])),
                attribute("n", any_of(Any::IntValue(3))),
            ]),
        ),
        attribute("json", text(r#"{"a":{"b":[1,2]}}"#)),
        attribute("key", text("s")),
    ]
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: vec![
            attribute("service.name", text("checkout")),
            attribute("host.cpus", any_of(Any::IntValue(4))),
        ],
        dropped_attributes_count: 2,
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "lib".to_owned(),
        version: "1.2".to_owned(),
        attributes: vec![attribute("scope.a", text("x"))],
        dropped_attributes_count: 0,
    })
}

fn traces() -> Vec<u8> {
    let span = Span {
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        parent_span_id: Vec::new(),
        trace_state: "a=1,b=two".to_owned(),
        flags: 1,
        name: "GET /health".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 3_500_000_000,
        attributes: attributes(),
        events: vec![span::Event {
            time_unix_nano: 2_000_000_000,
            name: "exception".to_owned(),
            attributes: vec![attribute("exception.type", text("Oops"))],
            dropped_attributes_count: 0,
        }],
        status: Some(Status {
            message: "broken".to_owned(),
            code: 2,
        }),
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans: vec![ScopeSpans {
                scope: scope(),
                spans: vec![span],
                schema_url: "scope-schema".to_owned(),
            }],
            schema_url: "resource-schema".to_owned(),
        }],
    };
    request.encode_to_vec()
}

fn metrics() -> Vec<u8> {
    let number = |value| m::NumberDataPoint {
        attributes: attributes(),
        time_unix_nano: 5,
        value: Some(value),
        ..m::NumberDataPoint::default()
    };
    let metric = |name: &str, data| m::Metric {
        name: name.to_owned(),
        unit: "By".to_owned(),
        description: "what".to_owned(),
        data: Some(data),
        ..m::Metric::default()
    };
    let metrics = vec![
        metric(
            "sum",
            m::metric::Data::Sum(m::Sum {
                data_points: vec![number(m::number_data_point::Value::AsInt(9))],
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
        ),
        metric(
            "gauge",
            m::metric::Data::Gauge(m::Gauge {
                data_points: vec![number(m::number_data_point::Value::AsDouble(2.5))],
            }),
        ),
        metric(
            "histogram",
            m::metric::Data::Histogram(m::Histogram {
                data_points: vec![m::HistogramDataPoint {
                    attributes: attributes(),
                    count: 3,
                    sum: Some(6.5),
                    min: Some(0.5),
                    bucket_counts: vec![1, 2],
                    explicit_bounds: vec![1.0],
                    ..m::HistogramDataPoint::default()
                }],
                aggregation_temporality: 1,
            }),
        ),
        metric(
            "exponential",
            m::metric::Data::ExponentialHistogram(m::ExponentialHistogram {
                data_points: vec![m::ExponentialHistogramDataPoint {
                    attributes: attributes(),
                    count: 4,
                    scale: -1,
                    zero_count: 2,
                    positive: Some(m::exponential_histogram_data_point::Buckets {
                        offset: -3,
                        bucket_counts: vec![2, 5],
                    }),
                    ..m::ExponentialHistogramDataPoint::default()
                }],
                aggregation_temporality: 1,
            }),
        ),
        metric(
            "summary",
            m::metric::Data::Summary(m::Summary {
                data_points: vec![m::SummaryDataPoint {
                    attributes: attributes(),
                    count: 8,
                    sum: 2.0,
                    ..m::SummaryDataPoint::default()
                }],
            }),
        ),
    ];
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![m::ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![m::ScopeMetrics {
                scope: scope(),
                metrics,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec()
}

fn logs() -> Vec<u8> {
    let record = LogRecord {
        time_unix_nano: 10,
        observed_time_unix_nano: 20,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: Some(map(vec![attribute(
            "k",
            map(vec![attribute("l", list(vec![text("first")]))]),
        )])),
        attributes: attributes(),
        flags: 1,
        event_name: "login".to_owned(),
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs {
                scope: scope(),
                log_records: vec![record],
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec()
}

/// 2026-01-02T03:04:05Z.
const NOW: u64 = 1_767_323_045_000_000_000;

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(NOW)
    }

    fn sleep(&self, _duration: std::time::Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn origin() -> Origin {
    Origin {
        client: Some(SocketAddr::from(([10, 0, 0, 1], 4711))),
        metadata: vec![("x-tenant".into(), vec!["blue".into(), "red".into()])],
        auth: Some(Auth {
            attributes: vec![("subject".into(), "me".into())],
        }),
        ..Origin::default()
    }
}

/// The request of a context's signal, and the name of its first metric where that matters.
fn request(context: Context) -> Vec<u8> {
    match context {
        Context::Metric | Context::DataPoint => metrics(),
        Context::Log => logs(),
        _ => traces(),
    }
}

/// Calls `judge` with the first item of the context (for metrics: with the metric called `metric`).
fn with_target<T>(context: Context, metric: &str, request: &[u8], judge: impl FnOnce(&Target<'_>) -> T) -> T {
    let origin = origin();
    let group = wire::resources(request).next().unwrap().unwrap();
    let scope = group.scopes().next().unwrap().unwrap();
    let named = |found: &wire::Metric<'_>| found.name().unwrap() == metric;
    let item = match context {
        Context::Resource | Context::Scope => Item::None,
        Context::Span => Item::Span(scope.spans().next().unwrap().unwrap()),
        Context::SpanEvent => {
            let span = scope.spans().next().unwrap().unwrap();
            let event = span.events().next().unwrap().unwrap();
            Item::SpanEvent { span, event, index: 0 }
        }
        Context::Metric => Item::Metric(scope.metrics().map(Result::unwrap).find(named).unwrap()),
        Context::DataPoint => {
            let metric = scope.metrics().map(Result::unwrap).find(named).unwrap();
            let point = metric.data().unwrap().unwrap().points().next().unwrap().unwrap();
            Item::DataPoint { metric, point }
        }
        Context::Log => Item::Log(scope.log_records().next().unwrap().unwrap()),
    };
    judge(&Target {
        resource: group,
        scope: Some(scope),
        item,
        origin: &origin,
        clock: &FixedClock,
    })
}

fn holds_on(context: Context, metric: &str, condition: &str) -> Result<bool, String> {
    let condition = Condition::new(condition, context).map_err(|error| format!("{}: {error}", error.offset))?;
    let request = request(context);
    with_target(context, metric, &request, |target| condition.holds(target)).map_err(|error| error.to_string())
}

fn holds(context: Context, condition: &str) -> Result<bool, String> {
    holds_on(context, "sum", condition)
}

fn assert_all(context: Context, conditions: &[&str]) {
    for condition in conditions {
        assert_eq!(holds(context, condition), Ok(true), "{condition}");
    }
}

fn assert_none(context: Context, conditions: &[&str]) {
    for condition in conditions {
        assert_eq!(holds(context, condition), Ok(false), "{condition}");
    }
}
