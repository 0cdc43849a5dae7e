//! The connector between two pipelines.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan};

use super::*;
use crate::component::{Outlet, SampleValue};
use crate::pdata::{Decoded, Origin};

#[derive(Default)]
struct Sink {
    batches: Mutex<Vec<Batch>>,
    refusal: Mutex<Option<Refused>>,
}

impl Stage for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let refusal = self.refusal.lock().unwrap().clone();
        if refusal.is_none() {
            self.batches.lock().unwrap().push(batch);
        }
        Box::pin(async move { refusal.map_or(Ok(()), Err) })
    }
}

impl Sink {
    fn refuse(&self, refused: Option<Refused>) {
        *self.refusal.lock().unwrap() = refused;
    }

    /// The deltas of `dynamodb.client.requests` that came.
    fn requests(&self) -> Vec<i64> {
        let mut requests = Vec::new();
        for mut batch in std::mem::take(&mut *self.batches.lock().unwrap()) {
            let Decoded::Metrics(request) = batch.decode().unwrap() else {
                panic!("no metrics")
            };
            let scopes = request.resource_metrics.iter().flat_map(|group| &group.scope_metrics);
            for metric in scopes.flat_map(|scope| &scope.metrics) {
                if let (Some(Data::Sum(sum)), "dynamodb.client.requests") = (&metric.data, metric.name.as_str()) {
                    requests.extend(sum.data_points.iter().map(|point| match point.value {
                        Some(Number::AsInt(value)) => value,
                        _ => panic!("{point:?}"),
                    }));
                }
            }
        }
        requests
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn traces(error: Option<&str>, more: &[(&str, &str)]) -> Batch {
    let mut attributes = vec![
        text("rpc.system", "aws-api"),
        text("rpc.service", "DynamoDB"),
        text("rpc.method", "PutItem"),
        text("aws.dynamodb.table_names", "orders"),
    ];
    attributes.extend(error.map(|error| text("error.type", error)));
    attributes.extend(more.iter().map(|(key, value)| text(key, value)));
    let span = OtlpSpan {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        kind: 3,
        attributes,
        ..OtlpSpan::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(OtlpResource {
                attributes: vec![text("service.name", "shop"), text("stage", "prod")],
                ..OtlpResource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: vec![span, OtlpSpan::default()],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Batch::from_decoded(Decoded::Traces(request), Origin::internal())
}

struct Harness {
    built: BuiltConnector,
    sink: Arc<Sink>,
    context: BuildContext,
}

fn build(yaml: &str) -> Harness {
    let section = Section::from_yaml(yaml);
    let Some(Plan::Connector(plan)) = ClientMetricsFactory.check(&section) else {
        panic!("{:?}", section.problems())
    };
    let sink = Arc::new(Sink::default());
    let mut next = Outlets::default();
    next.set(Signal::Metrics, Outlet::to(sink.clone()));
    let context = BuildContext::standalone(ComponentKind::Connector, "awsclientmetrics");
    let built = plan.build(context.clone(), next).unwrap();
    Harness { built, sink, context }
}

impl Harness {
    async fn consume(&self, batch: Batch) {
        self.built.stages[0].1.consume(batch).await.unwrap();
    }

    async fn stop(&self) {
        self.built.running.stop(Deadline::after(Duration::from_secs(10))).await;
    }
}

/// Of the paused clock.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_come_out_added_up_each_interval() {
    let harness = build("{}");
    harness.consume(traces(None, &[])).await;
    harness.consume(traces(None, &[])).await;
    pass(59).await;
    assert!(harness.sink.requests().is_empty());
    pass(2).await;
    assert_eq!(harness.sink.requests(), [2]);
    harness.consume(traces(None, &[])).await;
    pass(60).await;
    assert_eq!(harness.sink.requests(), [1], "delta");
    pass(60).await;
    assert!(harness.sink.requests().is_empty());
    harness.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_full_item_collection_does_not_wait() {
    let harness = build("{}");
    let full = || traces(Some("ItemCollectionSizeLimitExceededException"), &[]);
    harness.consume(full()).await;
    pass(1).await;
    assert_eq!(harness.sink.requests(), [1]);
    harness.consume(full()).await;
    pass(1).await;
    assert!(harness.sink.requests().is_empty(), "a storm waits for the interval");
    pass(60).await;
    assert_eq!(harness.sink.requests(), [1]);
    harness.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_kept_and_what_follows_waits_behind_it() {
    let harness = build("flush_interval: 10s");
    harness.sink.refuse(Some(Refused::retryable("full")));
    harness.consume(traces(None, &[])).await;
    pass(11).await;
    harness.consume(traces(None, &[])).await;
    pass(100).await;
    harness.sink.refuse(None);
    pass(10).await;
    assert_eq!(harness.sink.requests(), [1, 1]);
    harness.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_hands_on_the_rest_and_counts_what_nobody_takes() {
    let harness = build("{}");
    harness.consume(traces(None, &[])).await;
    harness.stop().await;
    assert_eq!(harness.sink.requests(), [1]);
    let harness = build("{}");
    harness.consume(traces(None, &[])).await;
    harness.sink.refuse(Some(Refused::retryable("full")));
    harness.stop().await;
    let samples = harness.context.instruments.registry().gather();
    let lost = samples.iter().find(|sample| {
        sample.name == "otelcol_dropped_items" && sample.labels.contains(&("reason", "shutdown_deadline".to_owned()))
    });
    // Requests and duration.
    assert_eq!(lost.unwrap().value, SampleValue::Counter(2));
}

#[tokio::test(start_paused = true)]
async fn dimensions_come_from_the_span_or_its_resource() {
    let harness = build("dimensions: [stage, tenant]");
    harness.consume(traces(None, &[("tenant", "a")])).await;
    harness.consume(traces(None, &[("tenant", "b")])).await;
    harness.consume(traces(None, &[])).await;
    pass(61).await;
    let said = format!("{:?}", harness.sink.batches.lock().unwrap());
    assert!(said.contains("tenant") && said.contains("prod"), "{said}");
    assert_eq!(harness.sink.requests(), [1, 1, 1]);
    harness.stop().await;
}

#[test]
fn wrong_sections_are_told() {
    for (yaml, told) in [
        ("series_limit: 0", "at least 1"),
        ("flush_interval: 10ms", "at least 1s"),
        ("slow: 0s", "more than 0"),
        ("dimensions: [a, a]", "named twice"),
    ] {
        let section = Section::from_yaml(yaml);
        let _ = ClientMetricsFactory.check(&section);
        let problems = section.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(told)),
            "{yaml}: {problems:?}"
        );
    }
}
