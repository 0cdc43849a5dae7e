use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::*;
use crate::alert::engine::EngineSettings;
use crate::alert::promql::{Evaluation, Expression};

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

fn point(attributes: &[(&str, &str)], minute: u64, value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes.iter().map(|(key, value)| text(key, value)).collect(),
        start_time_unix_nano: minute * MINUTE,
        time_unix_nano: (minute + 1) * MINUTE,
        value: Some(Number::AsDouble(value)),
        exemplars: vec![Exemplar {
            trace_id: vec![7; 16],
            ..Exemplar::default()
        }],
        ..NumberDataPoint::default()
    }
}

fn sum(name: &str, unit: &str, points: Vec<NumberDataPoint>) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        data: Some(Data::Sum(Sum {
            data_points: points,
            aggregation_temporality: AggregationTemporality::Delta as i32,
            is_monotonic: true,
        })),
        ..Metric::default()
    }
}

fn gauge(name: &str, points: Vec<NumberDataPoint>) -> Metric {
    Metric {
        name: name.to_owned(),
        data: Some(Data::Gauge(Gauge { data_points: points })),
        ..Metric::default()
    }
}

fn request(scope: &str, metrics: Vec<Metric>) -> Vec<u8> {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![
                    text("cloud.account.id", "1"),
                    text("cloud.region", "eu"),
                    text("service.name", "shop"),
                    text("host.name", "h"),
                ],
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: scope.to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
    .encode_to_vec()
}

struct Bench {
    engine: Engine,
    intake: Intake,
}

impl Bench {
    fn new(wanted: &[&str]) -> Self {
        let mut engine = Engine::new(EngineSettings::default(), &[]);
        for text in wanted {
            engine.bind(&Expression::parse(text).unwrap());
        }
        Self {
            engine,
            intake: Intake::new(vec!["host.name".to_owned()]),
        }
    }

    fn read(&mut self, request: &[u8]) {
        self.intake.metrics(request, 0, &mut self.engine).unwrap();
    }

    fn value(&mut self, text: &str, minute: u64) -> Vec<(Vec<(String, String)>, f64)> {
        let expression = Expression::parse(text).unwrap();
        let bindings = self.engine.bind(&expression);
        let evaluation = Evaluation::new(self.engine.store(), &bindings);
        let elements = evaluation.vector(&expression, minute as i64 * 60_000).unwrap();
        elements
            .iter()
            .map(|element| (evaluation.texts(&element.labels), element.value))
            .collect()
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_point_of_cloudwatch_stands_at_the_end_of_its_period() {
    let name = "aws_dynamodb_throttled_requests_sum";
    let mut bench = Bench::new(&[name]);
    let otlp = "amazonaws.com/AWS/DynamoDB/ThrottledRequests";
    let dimensions = [("TableName", "orders"), ("Operation", "Query")];
    bench.read(&request(
        "radiosonde/dynamodb",
        vec![sum(otlp, "{count}", vec![point(&dimensions, 4, 3.0)])],
    ));
    let found = bench.value(name, 5);
    let wanted = labels(&[
        ("Operation", "Query"),
        ("TableName", "orders"),
        ("__name__", name),
        ("account_id", "1"),
        ("host_name", "h"),
        ("region", "eu"),
        ("service_name", "shop"),
    ]);
    assert_eq!(found, [(wanted, 3.0)]);
    // A minute without a point is a minute without throttling.
    assert_eq!(bench.value(&format!("sum(sum_over_time({name}[3m]))"), 6)[0].1, 3.0);
    assert_eq!(bench.value(&format!("count_over_time({name}[3m])"), 7)[0].1, 3.0);
    assert_eq!(bench.value(name, 6)[0].1, 0.0);
    let series = bench.engine.store().series(0).unwrap();
    assert_eq!((series.period, series.traces.as_ref().unwrap().len()), (60_000, 1));
}

#[test]
fn all_statistics_of_a_histogram_and_the_percentile_beside_it() {
    let base = "aws_dynamodb_successful_request_latency";
    let wanted: Vec<String> = ["average", "maximum", "sample_count", "p99"]
        .iter()
        .map(|stat| format!("{base}_{stat}"))
        .collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let mut bench = Bench::new(&wanted);
    let otlp = "amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency";
    let histogram = Metric {
        name: otlp.to_owned(),
        data: Some(Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                start_time_unix_nano: 0,
                time_unix_nano: MINUTE,
                count: 4,
                sum: Some(40.0),
                bucket_counts: vec![4],
                max: Some(22.0),
                ..HistogramDataPoint::default()
            }],
            aggregation_temporality: AggregationTemporality::Delta as i32,
        })),
        ..Metric::default()
    };
    bench.read(&request(
        "radiosonde/dynamodb",
        vec![histogram, gauge(&format!("{otlp}.p99"), vec![point(&[], 0, 21.0)])],
    ));
    let values: Vec<f64> = wanted.iter().map(|name| bench.value(name, 1)[0].1).collect();
    assert_eq!(values, [10.0, 22.0, 4.0, 21.0]);
}

#[test]
fn deltas_add_up_to_counters_and_histograms_to_buckets() {
    let mut bench = Bench::new(&["http_requests_total", "h_bucket", "h_count"]);
    for minute in 0..5 {
        let histogram = Metric {
            name: "h".to_owned(),
            data: Some(Data::Histogram(Histogram {
                data_points: vec![HistogramDataPoint {
                    time_unix_nano: (minute + 1) * MINUTE,
                    count: 4,
                    sum: Some(40.0),
                    bucket_counts: vec![1, 3],
                    explicit_bounds: vec![0.5],
                    ..HistogramDataPoint::default()
                }],
                aggregation_temporality: AggregationTemporality::Delta as i32,
            })),
            ..Metric::default()
        };
        let points = vec![point(&[("route", "/")], minute, 10.0)];
        bench.read(&request(
            "app",
            vec![sum("http.requests", "{request}", points), histogram],
        ));
    }
    assert_eq!(bench.value("http_requests_total", 5)[0].1, 50.0);
    assert_eq!(bench.value("increase(http_requests_total[3m])", 5)[0].1, 30.0);
    let buckets: Vec<f64> = bench.value("h_bucket", 5).into_iter().map(|(_, value)| value).collect();
    assert_eq!(buckets, [5.0, 20.0]);
    assert_eq!(bench.value("h_count", 5)[0].1, 20.0);
}

#[test]
fn what_no_rule_selects_is_not_kept() {
    let mut bench = Bench::new(&["aws_dynamodb_throttled_requests_sum{TableName=\"orders\"}"]);
    let name = "amazonaws.com/AWS/DynamoDB/ThrottledRequests";
    let points = vec![
        point(&[("TableName", "users")], 0, 1.0),
        point(&[("TableName", "orders")], 0, 1.0),
    ];
    bench.read(&request(
        "radiosonde/dynamodb",
        vec![sum("other", "", points.clone()), sum(name, "", points)],
    ));
    assert_eq!((bench.engine.store().len(), bench.engine.counts().points), (1, 1));
}

#[test]
fn a_poller_says_how_far_it_is() {
    let name = "aws_dynamodb_throttled_requests_sum";
    let mut bench = Bench::new(&[name, "aws_cloudwatch_blind"]);
    let otlp = "amazonaws.com/AWS/DynamoDB/ThrottledRequests";
    bench.read(&request(
        "radiosonde/dynamodb",
        vec![sum(otlp, "", vec![point(&[], 10, 1.0)])],
    ));
    let covered = |bench: &Bench| {
        bench
            .engine
            .sources()
            .find(|source| source.key.starts_with("cloudwatch"))
            .unwrap()
            .covered
    };
    assert_eq!(covered(&bench), None, "a point says nothing of the others");
    let state = |watermark: f64, blind: f64| {
        request(
            "radiosonde/dynamodb",
            vec![
                gauge("aws.cloudwatch.watermark", vec![point(&[], 14, watermark)]),
                gauge("aws.cloudwatch.blind", vec![point(&[], 14, blind)]),
            ],
        )
    };
    bench.read(&state(660.0, 0.0));
    assert_eq!(covered(&bench), Some(660_000));
    bench.read(&state(660.0, 1.0));
    assert_eq!(bench.value("aws_cloudwatch_blind", 15)[0].1, 1.0);
}

#[test]
fn malformed_metrics_are_an_error_and_nothing_more() {
    let mut bench = Bench::new(&["x"]);
    assert!(bench.intake.metrics(&[0x0a, 0x05, 0x12], 0, &mut bench.engine).is_err());
}
