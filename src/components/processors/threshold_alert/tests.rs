use crate::component::ComponentKind;
use crate::pdata::{Decoded, Origin};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge as OtlpGauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::*;

const MINUTE: u64 = 60_000_000_000;

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn batch(metric: &str, table: &str, minute: u64, value: f64) -> Batch {
    let point = NumberDataPoint {
        attributes: vec![text("TableName", table)],
        start_time_unix_nano: minute * MINUTE,
        time_unix_nano: (minute + 1) * MINUTE,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let metric = Metric {
        name: metric.to_owned(),
        data: Some(Data::Gauge(OtlpGauge {
            data_points: vec![point],
        })),
        ..Metric::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![text("cloud.region", "eu-central-1")],
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    Batch::from_decoded(Decoded::Metrics(request), Origin::internal())
}

fn processor(extra: &str) -> ThresholdAlert {
    let text = format!("{extra}\n{}", ThresholdAlertFactory.example());
    let section = Section::from_yaml(&text);
    let config: Config = section.read().unwrap();
    assert_eq!(section.problems(), Vec::<String>::new());
    let summary = Template::parse(&config.summary).unwrap();
    let context = BuildContext::standalone(ComponentKind::Processor, "threshold_alert");
    let threshold = Threshold::new(Rule {
        name: config.name.clone(),
        severity: config.severity.clone(),
        above: config.above,
        hold: nanos(config.hold),
        resolve_after: nanos(config.resolve_after),
        summary,
        resolution_steps: config.resolution_steps.clone(),
    });
    ThresholdAlert {
        firing: context.instruments.gauge("radiosonde_alerts_firing", "", &[]),
        unwatched: context
            .instruments
            .counter("radiosonde_alert_unwatched_points", "", &[]),
        config,
        threshold: Mutex::new(threshold),
    }
}

const THROTTLES: &str = "amazonaws.com/AWS/DynamoDB/WriteThrottleEvents";

#[test]
fn a_breach_fires_and_other_metrics_show_that_it_is_over() {
    let processor = processor("");
    let passed = processor.process(batch(THROTTLES, "orders", 1, 12.0)).unwrap().unwrap();
    assert_eq!(passed.items(), 1, "data passes on");
    assert_eq!(processor.firing.value(), 1.0);
    processor.process(batch("other", "orders", 4, 1.0)).unwrap();
    assert_eq!(processor.firing.value(), 1.0);
    processor.process(batch("other", "orders", 7, 1.0)).unwrap();
    assert_eq!(processor.firing.value(), 0.0);
}

#[test]
fn only_points_with_the_wanted_attributes_are_watched() {
    let processor = processor("attributes: {TableName: orders, GlobalSecondaryIndexName: \"\"}");
    processor.process(batch(THROTTLES, "users", 1, 12.0)).unwrap();
    assert_eq!(processor.firing.value(), 0.0);
    processor.process(batch(THROTTLES, "orders", 1, 12.0)).unwrap();
    assert_eq!(processor.firing.value(), 1.0);
}

#[test]
fn malformed_metrics_pass_on_and_are_counted() {
    let processor = processor("");
    let broken = Batch::from_wire(
        Signal::Metrics,
        bytes::Bytes::from_static(&[0x0a, 0x05, 0x12]),
        1,
        Origin::internal(),
    );
    assert!(processor.process(broken).unwrap().is_some());
    assert_eq!(processor.unwatched.value(), 1);
}

#[test]
fn the_block_for_people_has_summary_and_numbered_steps() {
    let mut transitions = Vec::new();
    let processor = processor("");
    let mut batch = batch(THROTTLES, "orders", 61, 12.0);
    let part = batch.parts()[0].clone();
    let mut threshold = processor.threshold.lock().unwrap();
    processor.look(&part, &mut threshold, &mut transitions).unwrap();
    let text = block(&transitions[0]);
    assert!(
        text.contains("ALERT [CRITICAL] DynamoDBWritesThrottled\u{1b}[0m\n  orders: 12 writes refused in one minute\n"),
        "{text}"
    );
    assert!(
        text.contains("since 01:01 UTC. What to do:\n  1. Compare consumed"),
        "{text}"
    );
    assert!(text.contains("\n  2. Raise"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 110), "{text}");
}

#[test]
fn a_rule_without_steps_or_with_an_unknown_template_is_refused_in_place() {
    let section = Section::from_yaml("name: a\nmetric: b\nseverity: bad\nsummary: \"x {{ $foo }}\"\n");
    assert!(ThresholdAlertFactory.check(&section).is_none());
    let problems = section.problems().join("\n");
    assert!(problems.contains("at least one step"), "{problems}");
    assert!(problems.contains("severity"), "{problems}");
    assert!(problems.contains("4:13"), "{problems}");
}

#[test]
fn long_steps_are_broken_between_words() {
    assert_eq!(wrapped("a bb ccc dddddd e", 5), ["a bb", "ccc", "dddddd", "e"]);
    assert_eq!(wrapped("", 5), Vec::<String>::new());
}
