//! What becomes of spans: stamped, dropped, routed, refused.

use std::sync::Mutex;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::component::{Deadline, SampleValue, UnixNanos};
use crate::pdata::{Decoded, Origin};

const NOW: u64 = 1_700_000_000;
const DAY_S: u64 = 86_400;

struct Still;

impl Clock for Still {
    fn now(&self) -> UnixNanos {
        UnixNanos::from_seconds(NOW)
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

#[derive(Default)]
struct Sink {
    batches: Mutex<Vec<Batch>>,
    refuses: Mutex<bool>,
}

impl Stage for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let answer = if *self.refuses.lock().unwrap() {
            Err(Refused::retryable("full"))
        } else {
            self.batches.lock().unwrap().push(batch);
            Ok(())
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Sink {
    /// Names and attributes of the spans, in order.
    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for batch in self.batches.lock().unwrap().iter_mut() {
            let Decoded::Traces(request) = batch.decode().unwrap() else {
                panic!("no traces")
            };
            let resources = request.resource_spans.iter();
            spans.extend(
                resources
                    .flat_map(|resource| &resource.scope_spans)
                    .flat_map(|scope| scope.spans.clone()),
            );
        }
        spans
    }

    fn names(&self) -> Vec<String> {
        self.spans().into_iter().map(|span| span.name).collect()
    }
}

struct Bench {
    stage: Arc<dyn Stage>,
    running: Arc<dyn Running>,
    next: Arc<Sink>,
    routed: Arc<Sink>,
    context: BuildContext,
    _folder: tempfile::TempDir,
}

fn bench(yaml: &str) -> Bench {
    let section = Section::from_yaml(&format!(
        "regions: [eu-central-1]\narchives: [{{ledger: {{exporters: [otlp]}}}}]\n{yaml}\n"
    ));
    let plan = SpanRetentionFactory.check(&section);
    let (Some(Plan::Processor(plan)), false) = (plan, section.has_errors()) else {
        panic!("{:?}", section.problems());
    };
    let folder = tempfile::tempdir().unwrap();
    let mut context = BuildContext::standalone(ComponentKind::Processor, "span_retention");
    context.state_dir = Some(folder.path().to_owned());
    context.clock = Arc::new(Still);
    let (next, routed) = (Arc::new(Sink::default()), Arc::new(Sink::default()));
    let heads = context.commons.get::<PipelineHeads>();
    let _ = heads.of("traces/old").repoint(routed.clone());
    let Ok(BuiltProcessor::Active { stage, running }) =
        plan.build(context.clone(), Signal::Traces, Outlet::to(next.clone()))
    else {
        panic!("not active")
    };
    Bench {
        stage,
        running,
        next,
        routed,
        context,
        _folder: folder,
    }
}

/// A batch of one-span traces that started so many seconds ago.
fn batch(ages: &[u64]) -> Batch {
    let span = |age: &u64| Span {
        trace_id: vec![1; 16],
        span_id: age.wrapping_add(1).to_be_bytes().to_vec(),
        name: format!("{age}"),
        start_time_unix_nano: (NOW - age) * 1_000_000_000,
        ..Span::default()
    };
    let scope = ScopeSpans {
        spans: ages.iter().map(span).collect(),
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![resource],
    };
    Batch::from_decoded(Decoded::Traces(request), Origin::internal())
}

fn counter(context: &BuildContext, name: &str) -> u64 {
    let samples = context.instruments.registry().gather();
    let values = samples
        .iter()
        .filter(|sample| sample.name == name)
        .map(|sample| match sample.value {
            SampleValue::Counter(count) => count,
            _ => 0,
        });
    values.sum()
}

#[tokio::test]
async fn spans_are_stamped_with_what_is_left_of_their_time() {
    let bench = bench("stamp: true");
    bench
        .stage
        .consume(batch(&[60, 23 * DAY_S, 28 * DAY_S, 31 * DAY_S]))
        .await
        .unwrap();
    let stamps: Vec<Vec<String>> = bench
        .next
        .spans()
        .iter()
        .map(|span| {
            let values = span
                .attributes
                .iter()
                .filter_map(|attribute| attribute.value.as_ref()?.value.as_ref());
            values
                .map(|value| match value {
                    Any::StringValue(text) => text.clone(),
                    Any::IntValue(number) => number.to_string(),
                    other => format!("{other:?}"),
                })
                .collect()
        })
        .collect();
    assert_eq!(
        stamps,
        [
            ["2023-12-14T22:12:20Z", "29", "pending"],
            ["2023-11-21T22:13:20Z", "7", "due"],
            ["2023-11-16T22:13:20Z", "2", "at_risk"],
            ["2023-11-13T22:13:20Z", "0", "lost"],
        ]
    );
}

#[tokio::test]
async fn old_spans_are_dropped_and_counted_when_the_rest_was_taken() {
    let bench = bench("max_age: {limit: 14d}");
    *bench.next.refuses.lock().unwrap() = true;
    bench.stage.consume(batch(&[1, 15 * DAY_S])).await.unwrap_err();
    assert_eq!(counter(&bench.context, "aws_xray_retention_max_age_dropped_total"), 0);
    *bench.next.refuses.lock().unwrap() = false;
    bench
        .stage
        .consume(batch(&[1, 15 * DAY_S, 14 * DAY_S, 20 * DAY_S]))
        .await
        .unwrap();
    assert_eq!(bench.next.names(), ["1".to_owned(), (14 * DAY_S).to_string()]);
    assert_eq!(counter(&bench.context, "aws_xray_retention_max_age_dropped_total"), 2);
    assert_eq!(counter(&bench.context, "radiosonde_discarded_items"), 2);
    // Nothing left is nothing handed on.
    bench.stage.consume(batch(&[30 * DAY_S])).await.unwrap();
    assert_eq!(bench.next.batches.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn old_spans_go_another_way_in_their_order() {
    let bench = bench("max_age: {limit: 14d, action: route, pipeline: traces/old}");
    bench
        .stage
        .consume(batch(&[16 * DAY_S, 1, 15 * DAY_S, 2]))
        .await
        .unwrap();
    assert_eq!(bench.next.names(), ["1", "2"]);
    assert_eq!(
        bench.routed.names(),
        [(16 * DAY_S).to_string(), (15 * DAY_S).to_string()]
    );
    *bench.routed.refuses.lock().unwrap() = true;
    bench.stage.consume(batch(&[16 * DAY_S, 3])).await.unwrap_err();
    assert_eq!(bench.next.names(), ["1", "2"], "all of it comes again");
    bench.stage.consume(batch(&[4])).await.unwrap();
    assert_eq!(counter(&bench.context, "aws_xray_retention_max_age_dropped_total"), 0);
}

#[tokio::test]
async fn without_wishes_a_batch_passes_untouched_also_after_the_stop() {
    let bench = bench("");
    let sent = batch(&[1, 40 * DAY_S]);
    bench.stage.consume(sent.clone()).await.unwrap();
    bench.running.stop(Deadline::after(Duration::from_secs(5))).await;
    bench.stage.consume(sent.clone()).await.unwrap();
    let got = bench.next.batches.lock().unwrap().clone();
    assert_eq!(got.len(), 2);
    assert!(
        got.into_iter()
            .all(|batch| batch.into_bytes() == sent.clone().into_bytes())
    );
}

#[tokio::test]
async fn without_a_state_directory_it_does_not_start() {
    let section = Section::from_yaml("regions: [eu-central-1]\narchives: [{ledger: {exporters: [otlp]}}]");
    let Some(Plan::Processor(plan)) = SpanRetentionFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    let context = BuildContext::standalone(ComponentKind::Processor, "span_retention");
    let Err(error) = plan.build(context, Signal::Traces, Outlet::to(Arc::new(Sink::default()))) else {
        panic!("it starts")
    };
    assert!(error.message.contains("state directory"), "{error}");
}
