//! Requests of metrics that no rule selects.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

const POINTS: usize = 1_000;
const START: u64 = 1_767_225_600_000_000_000;
const MINUTE: u64 = 60_000_000_000;

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(value.into())),
        }),
        ..KeyValue::default()
    }
}

fn point(number: usize, attributes: Vec<KeyValue>) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: START,
        time_unix_nano: START + MINUTE,
        value: Some(Number::AsDouble(number as f64)),
        ..NumberDataPoint::default()
    }
}

fn request(metrics: Vec<Metric>) -> Bytes {
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", "checkout"),
                    text("cloud.region", "eu-central-1"),
                    text("k8s.pod.name", "checkout-7d9f6c5b4-x2x7k"),
                ],
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "io.opentelemetry.http".to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    request.encode_to_vec().into()
}

fn of_http(number: usize) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text("http.route", format!("/api/v1/items/{}", number % 100)),
        text("http.response.status_code", "200"),
        text("server.address", "shop.example.org"),
        text("network.protocol.version", "1.1"),
    ]
}

fn gauge(name: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: "1".to_owned(),
        data: Some(Data::Gauge(Gauge { data_points })),
        ..Metric::default()
    }
}

/// What it is, the request, its points.
pub fn requests() -> Vec<(&'static str, Bytes, usize)> {
    let many = (0..10).map(|metric| {
        let points = (0..POINTS / 10).map(|number| point(number, of_http(number)));
        gauge(&format!("http.server.active_requests.{metric}"), points.collect())
    });
    let alone = (0..POINTS).map(|number| {
        gauge(
            &format!("app.value.{}", number % 200),
            vec![point(number, of_http(number))],
        )
    });
    // Rules ask for this metric, but not with an operation's type.
    let beside = (0..10).map(|_| Metric {
        name: "amazonaws.com/AWS/DynamoDB/ThrottledRequests".to_owned(),
        unit: "{Count}".to_owned(),
        data: Some(Data::Sum(Sum {
            data_points: (0..POINTS / 10)
                .map(|number| {
                    let attributes = vec![
                        text("TableName", format!("orders-{number}")),
                        text("Operation", "ExecuteStatement"),
                        text("OperationType", "Read"),
                    ];
                    point(number, attributes)
                })
                .collect(),
            aggregation_temporality: 1,
            is_monotonic: true,
        })),
        ..Metric::default()
    });
    vec![
        ("100 to a metric, of another name", request(many.collect()), POINTS),
        ("1 to a metric, of another name", request(alone.collect()), POINTS),
        ("of a name that rules ask for", request(beside.collect()), POINTS),
    ]
}
