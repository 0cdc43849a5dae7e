use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::Event};

use super::*;
use crate::pdata::Origin;

fn value(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn attribute(key: &str, inner: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value(inner),
        ..KeyValue::default()
    }
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: vec![attribute("service.name", Value::StringValue("shop".to_owned()))],
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "lib".to_owned(),
        version: "1.2".to_owned(),
        ..InstrumentationScope::default()
    })
}

fn traces() -> Batch {
    let span = Span {
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        name: "GET /\u{1b}[31m".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_500_000_000,
        attributes: vec![attribute("http.status", Value::IntValue(200))],
        events: vec![Event {
            name: "exception".to_owned(),
            ..Event::default()
        }],
        status: Some(Status {
            code: 2,
            message: "bad\nthing".to_owned(),
        }),
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans: vec![ScopeSpans {
                scope: scope(),
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Batch::from_decoded(Decoded::Traces(request), Origin::internal())
}

fn metrics() -> Batch {
    let point = NumberDataPoint {
        attributes: vec![attribute("host", Value::StringValue("a".to_owned()))],
        value: Some(number_data_point::Value::AsInt(7)),
        ..NumberDataPoint::default()
    };
    let gauge = Metric {
        name: "temperature".to_owned(),
        unit: "C".to_owned(),
        data: Some(Data::Gauge(Gauge {
            data_points: vec![point.clone()],
        })),
        ..Metric::default()
    };
    let sum = Metric {
        name: "requests".to_owned(),
        data: Some(Data::Sum(Sum {
            data_points: vec![point],
            aggregation_temporality: 2,
            is_monotonic: true,
        })),
        ..Metric::default()
    };
    let histogram = Metric {
        name: "latency".to_owned(),
        data: Some(Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                count: 3,
                sum: Some(4.5),
                explicit_bounds: vec![1.0],
                bucket_counts: vec![1, 2],
                ..HistogramDataPoint::default()
            }],
            aggregation_temporality: 1,
        })),
        ..Metric::default()
    };
    let exponential = Metric {
        name: "sizes".to_owned(),
        data: Some(Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![ExponentialHistogramDataPoint {
                count: 3,
                zero_count: 1,
                positive: Some(Buckets {
                    offset: 1,
                    bucket_counts: vec![2],
                }),
                ..ExponentialHistogramDataPoint::default()
            }],
            aggregation_temporality: 1,
        })),
        ..Metric::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics {
                scope: scope(),
                metrics: vec![gauge, sum, histogram, exponential],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    Batch::from_decoded(Decoded::Metrics(request), Origin::internal())
}

fn logs() -> Batch {
    let map = KeyValueList {
        values: vec![
            attribute("b", Value::BoolValue(true)),
            attribute("a", Value::DoubleValue(f64::NAN)),
        ],
    };
    let list = ArrayValue {
        values: vec![
            value(Value::BytesValue(vec![1, 2])).unwrap_or_default(),
            AnyValue::default(),
        ],
    };
    let record = LogRecord {
        severity_number: 10,
        severity_text: "INFO".to_owned(),
        body: value(Value::StringValue("two\nlines \u{202e}turned".to_owned())),
        attributes: vec![
            attribute("map", Value::KvlistValue(map)),
            attribute("list", Value::ArrayValue(list)),
        ],
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs {
                scope: scope(),
                log_records: vec![record],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    Batch::from_decoded(Decoded::Logs(request), Origin::internal())
}

fn exporter(yaml: &str) -> DebugPlan {
    let section = Section::from_yaml(yaml);
    let plan = DebugFactory.check(&section);
    assert_eq!(section.problems(), Vec::<String>::new());
    drop(plan);
    let config: Config = Section::from_yaml(yaml).read().unwrap();
    let verbosity = match config.verbosity.as_str() {
        "detailed" => Verbosity::Detailed,
        "normal" => Verbosity::Normal,
        _ => Verbosity::Basic,
    };
    DebugPlan {
        config,
        verbosity,
        delivery: Delivery::default(),
    }
}

async fn written(verbosity: &str, batches: Vec<Batch>) -> String {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.txt");
    let yaml = format!(
        "verbosity: {verbosity}\nuse_internal_logger: false\noutput_paths: [{}]\n",
        path.display()
    );
    let context = BuildContext::standalone(ComponentKind::Exporter, "debug");
    let built = exporter(&yaml).build(context).unwrap();
    for batch in batches {
        built.far_end.consume(batch).await.unwrap();
    }
    std::fs::read_to_string(&path).unwrap()
}

#[tokio::test]
async fn basic_shows_the_counts() {
    let text = written("basic", vec![traces(), metrics(), logs()]).await;
    let expected = "Traces\t{\"resource spans\": 1, \"spans\": 1}\n\
                    Metrics\t{\"resource metrics\": 1, \"metrics\": 4, \"data points\": 4}\n\
                    Logs\t{\"resource logs\": 1, \"log records\": 1}\n";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn normal_shows_a_line_for_each_item() {
    insta::assert_snapshot!(written("normal", vec![traces(), metrics(), logs()]).await);
}

#[tokio::test]
async fn detailed_shows_every_field_and_nothing_that_a_terminal_obeys() {
    let text = written("detailed", vec![traces(), metrics(), logs()]).await;
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'),
        "{text:?}"
    );
    assert!(!text.contains('\u{202e}'));
    insta::assert_snapshot!(text);
}

#[tokio::test(start_paused = true)]
async fn samples_the_first_of_each_second_and_then_every_nth() {
    let sampler = Sampler::new(2, 3);
    let shown: Vec<bool> = (0..9).map(|_| sampler.admit(Signal::Logs)).collect();
    let expected = [true, true, false, false, true, false, false, true, false];
    assert_eq!(shown, expected);
    assert!(sampler.admit(Signal::Traces), "signals are counted apart");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(sampler.admit(Signal::Logs));
    let none = Sampler::new(1, 0);
    assert_eq!(
        [
            none.admit(Signal::Logs),
            none.admit(Signal::Logs),
            none.admit(Signal::Logs)
        ],
        [true, false, false]
    );
}

#[tokio::test]
async fn data_that_cannot_be_decoded_is_refused_for_good() {
    let context = BuildContext::standalone(ComponentKind::Exporter, "debug");
    let built = exporter("verbosity: detailed").build(context).unwrap();
    // A resource group whose resource is no message.
    let batch = Batch::from_wire(Signal::Logs, vec![0x0a, 3, 0x0a, 1, 0xff].into(), 0, Origin::internal());
    assert!(built.far_end.consume(batch).await.unwrap_err().permanent);
}

#[test]
fn what_cannot_be_is_said_at_its_place() {
    let problems = |yaml: &str| {
        let section = Section::from_yaml(yaml);
        let _ = DebugFactory.check(&section);
        section.problems().join("\n")
    };
    assert!(problems("verbosity: loud").contains("`basic`, `normal`, `detailed`"));
    assert!(problems("output_paths: [stdout]").contains("use_internal_logger: false"));
    assert_eq!(problems("verbosity: Detailed"), "");
    assert!(problems("verbostiy: basic").contains("verbosity"));
}
