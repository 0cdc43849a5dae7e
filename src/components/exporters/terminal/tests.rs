use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data,
};

use super::*;
use crate::pdata::{Decoded, Origin};

fn metric(name: &str, attributes: &[(&str, &str)], minute: u64, value: f64) -> Metric {
    let attributes = attributes.iter().map(|(key, value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue((*value).to_owned())),
        }),
        ..KeyValue::default()
    });
    Metric {
        name: name.to_owned(),
        data: Some(Data::Gauge(Gauge {
            data_points: vec![NumberDataPoint {
                attributes: attributes.collect(),
                start_time_unix_nano: (minute - 1) * 60_000_000_000,
                time_unix_nano: minute * 60_000_000_000,
                value: Some(Number::AsDouble(value)),
                ..NumberDataPoint::default()
            }],
        })),
        ..Metric::default()
    }
}

fn batch(metrics: Vec<Metric>) -> Batch {
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    Batch::from_decoded(Decoded::Metrics(request), Origin::internal())
}

fn screen() -> Screen {
    Screen {
        interval: Duration::from_secs(2),
        state: Mutex::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_table_is_one_line_with_all_that_matters() {
    let screen = screen();
    let orders = ("TableName", "orders");
    let lines = screen
        .take(batch(vec![
            metric(
                "aws.dynamodb.capacity.utilization",
                &[orders, ("Direction", "Write")],
                9,
                100.0,
            ),
            metric(
                "aws.dynamodb.capacity.utilization",
                &[orders, ("Direction", "Write")],
                8,
                62.0,
            ),
            metric(
                "aws.dynamodb.capacity.utilization",
                &[
                    orders,
                    ("Direction", "Read"),
                    ("GlobalSecondaryIndexName", "by-customer"),
                ],
                9,
                7.0,
            ),
            metric(
                "amazonaws.com/AWS/DynamoDB/ProvisionedWriteCapacityUnits",
                &[orders],
                5,
                100.0,
            ),
            metric("amazonaws.com/AWS/DynamoDB/WriteThrottleEvents", &[orders], 8, 1200.0),
            metric("amazonaws.com/AWS/DynamoDB/WriteThrottleEvents", &[orders], 9, 2400.0),
            metric(
                "amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency.p99",
                &[orders, ("Operation", "PutItem")],
                9,
                12.34,
            ),
            metric(
                "amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency.p99",
                &[orders, ("Operation", "Query")],
                9,
                40.0,
            ),
        ]))
        .unwrap();
    let line = lines.lines().last().unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "\u{1b}[1;31m00:09",
            "orders",
            "-",
            "100",
            "%",
            "of",
            "100/s",
            "3,600",
            "40.0",
            "ms",
            "Query",
            "<-",
            "throttled\u{1b}[0m"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn lines_come_at_most_once_an_interval_and_only_for_news() {
    let screen = screen();
    let news = || {
        batch(vec![metric(
            "amazonaws.com/AWS/DynamoDB/ReadThrottleEvents",
            &[("TableName", "t")],
            1,
            1.0,
        )])
    };
    assert!(screen.take(news()).is_some());
    assert!(screen.take(news()).is_none());
    tokio::time::advance(Duration::from_secs(2)).await;
    let lines = screen.take(batch(vec![metric("other", &[], 1, 1.0)])).unwrap();
    assert!(lines.contains(" 1   "), "what came in between is counted: {lines}");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(screen.take(batch(Vec::new())).is_none());
}

#[tokio::test(start_paused = true)]
async fn without_provisioned_units_consumption_says_what_is_used() {
    let screen = screen();
    let used = "aws.dynamodb.capacity.utilization";
    let consumed = "amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits";
    let (read, on_demand) = (("Direction", "Read"), ("Basis", "account_table_max"));
    let lines = screen
        .take(batch(vec![
            metric(used, &[("TableName", "a"), read], 9, 62.0),
            metric(consumed, &[("TableName", "a")], 9, 3_720.0),
            metric(used, &[("TableName", "b"), read, on_demand], 9, 1.0),
            metric(consumed, &[("TableName", "b")], 9, 14_460.0),
        ]))
        .unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[2].contains("62 % of 100/s"), "{lines:?}");
    assert!(lines[3].contains(" 241/s"), "{lines:?}");
    assert!(!lines[3].contains('%') && lines[3].starts_with("   "), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_with_saturated_gpus_is_one_marked_line() {
    let screen = screen();
    let names = [("EndpointName", "recommender"), ("VariantName", "AllTraffic")];
    let with = |more: (&'static str, &'static str)| [names[0], names[1], more];
    let lines = screen
        .take(batch(vec![
            metric("aws.sagemaker.gpu.utilization", &names, 600, 98.0),
            metric("aws.sagemaker.latency.total_mean", &names, 600, 412_000.0),
            metric("aws.sagemaker.latency.total_p99_upper", &names, 600, 1_250_000.0),
            metric("aws.sagemaker.error_ratio", &with(("Type", "5xx")), 600, 0.021),
            metric("aws.sagemaker.instances", &with(("State", "current")), 600, 2.0),
            metric("amazonaws.com/AWS/SageMaker/Invocations", &names, 600, 4_500.0),
            metric(
                "amazonaws.com/AWS/SageMaker/Invocations",
                &with(("InstanceId", "i-1")),
                600,
                9.0,
            ),
        ]))
        .unwrap();
    let line = lines.lines().find(|line| line.contains("recommender")).unwrap();
    for part in [
        "10:00",
        "98 % of 2 inst.",
        "75/s",
        "2.1 %",
        "412.0 ms, 1.2 s",
        "<- GPUs saturated",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!lines.contains("reads used"), "no tables, no heading of theirs");
}
