//! Spans as instrumented SDKs send them, and what comes of them.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;

use super::*;
use crate::wire::{self, View};

fn any(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: any(Any::StringValue(value.to_owned())),
        ..KeyValue::default()
    }
}

fn number(key: &str, value: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: any(Any::IntValue(value)),
        ..KeyValue::default()
    }
}

fn list(key: &str, values: &[&str]) -> KeyValue {
    let values = values
        .iter()
        .map(|value| any(Any::StringValue((*value).to_owned())).unwrap());
    KeyValue {
        key: key.to_owned(),
        value: any(Any::ArrayValue(ArrayValue {
            values: values.collect(),
        })),
        ..KeyValue::default()
    }
}

/// A client span of five milliseconds.
fn span(name: &str, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        name: name.to_owned(),
        kind: 3,
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 1_005_000_000,
        attributes,
        ..Span::default()
    }
}

fn failing(mut span: Span, kind: &str, message: &str) -> Span {
    span.status = Some(Status {
        code: 2,
        ..Status::default()
    });
    span.events.push(Event {
        name: "exception".to_owned(),
        attributes: vec![text("exception.type", kind), text("exception.message", message)],
        ..Event::default()
    });
    span
}

fn read(span: &Span) -> Option<ClientCall> {
    let bytes = span.encode_to_vec();
    ClientCall::read(&wire::Span::of(&bytes)).unwrap()
}

/// opentelemetry-instrumentation-botocore.
fn python(operation: &str, more: Vec<KeyValue>) -> Span {
    let mut attributes = vec![
        text("rpc.system", "aws-api"),
        text("rpc.service", "DynamoDB"),
        text("rpc.method", operation),
        text("aws.region", "eu-central-1"),
        text("db.system", "dynamodb"),
        text("db.operation", operation),
        text("net.peer.name", "dynamodb.eu-central-1.amazonaws.com"),
        text("aws.request_id", "ABC"),
        number("retry_attempts", 2),
        number("http.status_code", 200),
    ];
    attributes.extend(more);
    span(&format!("DynamoDB.{operation}"), attributes)
}

#[test]
fn a_call_of_python_is_understood() {
    let call = read(&python(
        "PutItem",
        vec![
            list("aws.dynamodb.table_names", &["orders"]),
            list(
                "aws.dynamodb.consumed_capacity",
                &[r#"{"TableName": "orders", "CapacityUnits": 2.0}"#],
            ),
            text(
                "aws.dynamodb.item_collection_metrics",
                r#"{"ItemCollectionKey": {"pk": {"S": "secret"}}, "SizeEstimateRangeGB": [1.0, 2.0]}"#,
            ),
        ],
    ))
    .unwrap();
    assert!(call.is_dynamodb);
    assert_eq!(
        (call.service.as_str(), call.operation.as_str()),
        ("DynamoDB", "PutItem")
    );
    assert_eq!(
        (call.region.as_str(), call.tables.as_slice()),
        ("eu-central-1", &["orders".to_owned()][..])
    );
    assert_eq!((call.retries, call.seconds), (2, 0.005));
    assert_eq!(call.consumed[0].own.by_direction(false), (0.0, 2.0));
    assert_eq!(call.collections[0].bytes, 2e9);
    assert_eq!((call.error, call.throttled), (None, false));
}

#[test]
fn errors_are_told_by_the_services_code() {
    let message = "An error occurred (ProvisionedThroughputExceededException) when calling the PutItem operation (reached \
                   max retries: 9): The level of configured provisioned throughput for the table was exceeded.";
    let table = || vec![list("aws.dynamodb.table_names", &["orders"])];
    for (kind, message) in [
        ("botocore.errorfactory.ProvisionedThroughputExceededException", message),
        ("botocore.exceptions.ClientError", message),
        ("ProvisionedThroughputExceededException", "The level of ..."),
        (
            "software.amazon.awssdk.services.dynamodb.model.ProvisionedThroughputExceededException",
            "",
        ),
    ] {
        let call = read(&failing(python("PutItem", table()), kind, message)).unwrap();
        assert_eq!(
            call.error.as_deref(),
            Some("ProvisionedThroughputExceededException"),
            "{kind}"
        );
        assert!(call.throttled && !call.collection_limit);
    }
    let full = "ItemCollectionSizeLimitExceededException";
    let message = format!("An error occurred ({full}) when calling the PutItem operation: Collection too large");
    let call = read(&failing(
        python("PutItem", table()),
        "botocore.exceptions.ClientError",
        &message,
    ))
    .unwrap();
    assert!(call.collection_limit && !call.throttled);
    // Without an exception: error.type, the status, the HTTP status.
    let mut told = python("PutItem", vec![text("error.type", "ThrottlingException")]);
    assert!(read(&told).unwrap().throttled);
    told.attributes.pop();
    told.status = Some(Status {
        code: 2,
        message: format!("ClientError: {message}"),
    });
    assert_eq!(read(&told).unwrap().error.as_deref(), Some(full));
    let http = span(
        "DynamoDB.Query",
        vec![text("rpc.system", "aws-api"), number("http.response.status_code", 429)],
    );
    let call = read(&http).unwrap();
    assert_eq!((call.error.as_deref(), call.throttled), (Some("429"), true));
}

#[test]
fn calls_of_node_and_java_and_xray_are_understood() {
    // @opentelemetry/instrumentation-aws-sdk, both generations.
    let node = |system: &str, name: &str, operation: &str, region: &str| {
        vec![
            text("rpc.system", "aws-api"),
            text("rpc.service", "DynamoDB"),
            text("rpc.method", "Query"),
            text(region, "eu-central-1"),
            text(
                system,
                if system == "db.system" {
                    "dynamodb"
                } else {
                    "aws.dynamodb"
                },
            ),
            text(name, "orders"),
            text(operation, "Query"),
            list("aws.dynamodb.table_names", &["orders"]),
            text("aws.dynamodb.index_name", "by-customer"),
            list(
                "aws.dynamodb.consumed_capacity",
                &[r#"{"CapacityUnits":0.5,"TableName":"orders"}"#],
            ),
            number("http.status_code", 200),
        ]
    };
    let old = node("db.system", "db.name", "db.operation", "aws.region");
    let new = node("db.system.name", "db.namespace", "db.operation.name", "cloud.region");
    // The AWS SDK instrumentations of Java; consumed capacity is not always JSON.
    let java = vec![
        text("rpc.system", "aws-api"),
        text("rpc.service", "DynamoDb"),
        text("rpc.method", "Query"),
        text("aws.agent", "java-aws-sdk"),
        text("db.system", "dynamodb"),
        text("server.address", "dynamodb.eu-central-1.amazonaws.com"),
        text("aws.table.name", "orders"),
        text("aws.dynamodb.index_name", "by-customer"),
        list(
            "aws.dynamodb.consumed_capacity",
            &["ConsumedCapacity(TableName=orders, CapacityUnits=0.5)"],
        ),
    ];
    // What the newest conventions say: one method for service and operation.
    let newest = vec![
        text("rpc.system.name", "aws-api"),
        text("rpc.method", "DynamoDB/Query"),
        text("cloud.region", "eu-central-1"),
        text("db.collection.name", "orders"),
        text("aws.dynamodb.index_name", "by-customer"),
    ];
    // Segments of X-Ray as the Collector's receiver writes them.
    let xray = vec![
        text("aws.service", "DynamoDB"),
        text("aws.operation", "Query"),
        text("aws.region", "eu-central-1"),
        text("aws.table_name", "orders"),
        text("aws.dynamodb.index_name", "by-customer"),
    ];
    for attributes in [old, new, java, newest, xray] {
        let call = read(&span("DynamoDB.Query", attributes.clone())).unwrap_or_else(|| panic!("{attributes:?}"));
        assert!(call.is_dynamodb, "{attributes:?}");
        let seen = (call.operation.as_str(), call.region.as_str(), call.tables.as_slice());
        assert_eq!(
            seen,
            ("Query", "eu-central-1", &["orders".to_owned()][..]),
            "{attributes:?}"
        );
        assert_eq!(call.index.as_deref(), Some("by-customer"));
    }
}

#[test]
fn other_spans_are_left_alone() {
    assert!(read(&span("GET", vec![text("http.method", "GET")])).is_none());
    let mut server = python("PutItem", Vec::new());
    server.kind = 2;
    assert!(read(&server).is_none());
    let postgres = span("select", vec![text("db.system", "postgresql")]);
    assert!(read(&postgres).is_none());
}

fn caller() -> Caller {
    Caller {
        service_name: "shop".to_owned(),
        dimensions: Vec::new(),
    }
}

fn aggregate(series_limit: usize) -> Aggregate {
    let settings = AggregateSettings {
        slow: 0.1,
        series_limit,
        dimensions: Vec::new(),
    };
    Aggregate::new(settings, 1_000)
}

fn metrics(aggregate: &mut Aggregate) -> Vec<Metric> {
    let request = aggregate
        .flush(2_000)
        .map(|request| request.resource_metrics)
        .unwrap_or_default();
    let scopes = request.into_iter().flat_map(|group| group.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

fn label<'a>(point: &'a NumberDataPoint, key: &str) -> &'a str {
    let found = point.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Any::StringValue(text)) => text,
        _ => "",
    }
}

/// Points of a sum by table and index.
fn points(metrics: &[Metric], name: &str) -> Vec<(String, String, f64)> {
    let named = metrics.iter().filter(|metric| metric.name == name);
    let points = named.flat_map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => {
            assert!(sum.is_monotonic && sum.aggregation_temporality == 1);
            &sum.data_points
        }
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        other => panic!("{other:?}"),
    });
    let mut found: Vec<(String, String, f64)> = points
        .map(|point| {
            let value = match point.value {
                Some(Number::AsDouble(value)) => value,
                Some(Number::AsInt(value)) => value as f64,
                None => panic!("no value"),
            };
            let index = label(point, "GlobalSecondaryIndexName");
            (label(point, "TableName").to_owned(), index.to_owned(), value)
        })
        .collect();
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    found
}

fn point(table: &str, index: &str, value: f64) -> (String, String, f64) {
    (table.to_owned(), index.to_owned(), value)
}

#[test]
fn a_batch_call_counts_for_each_table_with_its_own_units() {
    let mut aggregate = aggregate(100);
    let call = read(&python(
        "BatchWriteItem",
        vec![
            list("aws.dynamodb.table_names", &["orders", "items"]),
            list(
                "aws.dynamodb.consumed_capacity",
                &[
                    r#"{"TableName":"orders","CapacityUnits":9,"Table":{"CapacityUnits":4},
                        "GlobalSecondaryIndexes":{"by-customer":{"CapacityUnits":5}}}"#,
                    r#"{"TableName":"items","CapacityUnits":1}"#,
                ],
            ),
            text(
                "aws.dynamodb.item_collection_metrics",
                r#"{"orders":[{"ItemCollectionKey":{"pk":{"S":"secret"}},"SizeEstimateRangeGB":[8.0,9.0]}]}"#,
            ),
        ],
    ));
    aggregate.add(&call.unwrap(), &caller(), 1_500);
    let metrics = metrics(&mut aggregate);
    let requests = points(&metrics, "dynamodb.client.requests");
    assert_eq!(requests, [point("items", "", 1.0), point("orders", "", 1.0)]);
    let written = points(&metrics, "dynamodb.client.write_units");
    let expected = [
        point("items", "", 1.0),
        point("orders", "", 4.0),
        point("orders", "by-customer", 5.0),
    ];
    assert_eq!(written, expected);
    assert!(points(&metrics, "dynamodb.client.read_units").is_empty());
    assert_eq!(
        points(&metrics, "aws.dynamodb.item_collection.size"),
        [point("orders", "", 9e9)]
    );
    assert!(
        !format!("{metrics:?}").contains("secret"),
        "keys of items are nobody's label"
    );
    assert!(
        self::metrics(&mut aggregate).is_empty(),
        "delta: nothing happened since"
    );
}

#[test]
fn durations_have_buckets_and_the_spans_they_stand_for() {
    let mut aggregate = aggregate(100);
    let table = || vec![list("aws.dynamodb.table_names", &["orders"])];
    for millis in [3, 5, 250] {
        let mut span = python("GetItem", table());
        span.end_time_unix_nano = span.start_time_unix_nano + millis * 1_000_000;
        aggregate.add(&read(&span).unwrap(), &caller(), 1_500);
    }
    let failed = failing(python("GetItem", table()), "ThrottlingException", "");
    aggregate.add(&read(&failed).unwrap(), &caller(), 1_500);
    let metrics = metrics(&mut aggregate);
    let duration = metrics
        .iter()
        .find(|metric| metric.name == "dynamodb.client.duration")
        .unwrap();
    let Some(Data::Histogram(histogram)) = &duration.data else {
        panic!("{duration:?}")
    };
    let of = &histogram.data_points[0];
    assert_eq!((of.count, of.min, of.max), (4, Some(0.003), Some(0.25)));
    assert!((of.sum.unwrap() - 0.263).abs() < 1e-9);
    // 5 ms lie in the bucket that ends with 5 ms.
    assert_eq!(
        (of.bucket_counts[2], of.bucket_counts[7]),
        (3, 1),
        "{:?}",
        of.bucket_counts
    );
    assert_eq!(of.bucket_counts.len(), of.explicit_bounds.len() + 1);
    assert_eq!((of.start_time_unix_nano, of.time_unix_nano), (1_000, 2_000));
    assert_eq!(of.exemplars.len(), 2, "one for each bucket");
    assert_eq!((of.exemplars[0].trace_id.len(), of.exemplars[0].span_id.len()), (16, 8));
    for (name, value) in [("slow_ops", 1.0), ("throttles", 1.0), ("errors", 1.0), ("retries", 8.0)] {
        let name = format!("dynamodb.client.{name}");
        assert_eq!(points(&metrics, &name), [point("orders", "", value)], "{name}");
    }
}

#[test]
fn other_services_are_counted_by_method() {
    let mut aggregate = aggregate(100);
    let attributes = vec![
        text("rpc.system", "aws-api"),
        text("rpc.service", "S3"),
        text("rpc.method", "PutObject"),
    ];
    aggregate.add(&read(&span("S3.PutObject", attributes)).unwrap(), &caller(), 1_500);
    let metrics = metrics(&mut aggregate);
    let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["aws.client.duration", "aws.client.requests"]);
    let Some(Data::Sum(sum)) = &metrics[1].data else {
        panic!()
    };
    assert_eq!(label(&sum.data_points[0], "rpc.method"), "PutObject");
    assert_eq!(label(&sum.data_points[0], "service.name"), "shop");
}

#[test]
fn beyond_the_limit_there_is_one_more_series_and_nothing_is_lost() {
    let mut aggregate = aggregate(2);
    let mut overflowed = 0;
    for table in ["a", "b", "c", "d", "a"] {
        let span = python("GetItem", vec![list("aws.dynamodb.table_names", &[table])]);
        overflowed += aggregate.add(&read(&span).unwrap(), &caller(), 1_500).overflowed;
    }
    assert_eq!((overflowed, aggregate.len()), (2, 3));
    let metrics = metrics(&mut aggregate);
    let requests = points(&metrics, "dynamodb.client.requests");
    assert_eq!(
        requests,
        [point("a", "", 2.0), point("b", "", 1.0), point("other", "", 2.0)]
    );
    // A series that nobody uses any more makes room.
    aggregate.flush(1_500 + 3_600_000_000_001);
    assert!(aggregate.is_empty());
}

#[test]
fn a_full_item_collection_is_urgent() {
    let mut aggregate = aggregate(100);
    let span = python("PutItem", vec![list("aws.dynamodb.table_names", &["orders"])]);
    assert!(!aggregate.add(&read(&span).unwrap(), &caller(), 1_500).urgent);
    let full = failing(span, "ItemCollectionSizeLimitExceededException", "");
    assert!(aggregate.add(&read(&full).unwrap(), &caller(), 1_500).urgent);
    let metrics = metrics(&mut aggregate);
    assert_eq!(
        points(&metrics, "dynamodb.item_collection_limit.errors"),
        [point("orders", "", 1.0)]
    );
}
