//! The stages that the graph itself puts between components: fused pure processors, fan-out, the guard against panics.
//!
//! All of them are passed by every batch, so none has a task, a lock or an allocation beyond its boxed future.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::Code;
use tracing::{Instrument, error};

use crate::component::{
    BoxFuture, Counter, Custody, DeliveryObserver, Feed, Gauge, Histogram, Offered, Processor, Refused, Registry,
    Removed, Stage, watching,
};
use crate::pdata::{Batch, Signal};

/// One pure processor inside a [`Segment`].
pub struct Step {
    pub processor: Arc<dyn Processor>,
    /// `otelcol_processor_internal_duration`.
    pub duration: Histogram,
    /// `otelcol_processor_incoming_items` of this processor and signal.
    pub incoming: Counter,
    /// `otelcol_processor_outgoing_items`.
    pub outgoing: Counter,
    /// `radiosonde_in_flight_items`: what was taken out of batches of which the rest has no answer yet.
    pub in_flight: Gauge,
    /// Whoever looks on sees what the processor passes on.
    pub tap: Arc<Feed>,
}

/// Pure processors one after another in the caller's task, then the next stage.
pub struct Segment {
    /// Counts what the active processor before this segment gave out.
    pub left: Option<Counter>,
    pub steps: Vec<Step>,
    /// Counts what the active processor behind this segment is given.
    pub enters: Option<Counter>,
    pub next: Arc<dyn Stage>,
    pub registry: Registry,
}

impl Segment {
    /// The segment as a stage; the next stage itself where there is nothing to do in between.
    pub fn into_stage(self) -> Arc<dyn Stage> {
        if self.left.is_none() && self.steps.is_empty() && self.enters.is_none() {
            return self.next;
        }
        Arc::new(self)
    }

    fn run(&self, batch: Batch, removed: &mut Removed) -> Result<Option<Batch>, Refused> {
        if let Some(counter) = &self.left {
            counter.add(batch.items() as u64);
        }
        let mut current = batch;
        for step in &self.steps {
            step.incoming.add(current.items() as u64);
            let began = Instant::now();
            let processed = step.processor.process_noting(current, removed);
            step.duration.record(began.elapsed().as_secs_f64());
            match processed? {
                Some(processed) => current = processed,
                None => return Ok(None),
            }
            step.outgoing.add(current.items() as u64);
            step.tap.tell(&current);
        }
        if let Some(counter) = &self.enters {
            counter.add(current.items() as u64);
        }
        Ok(Some(current))
    }
}

impl Stage for Segment {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        // Runs before the future is made, so that the future of the next stage is handed on as it is: one box less.
        let mut removed = Removed::default();
        match (self.run(batch, &mut removed), self.steps.first()) {
            (Ok(Some(processed)), Some(first)) if removed.items() > 0 => {
                let call = self.next.consume(processed);
                let custody = TakenOut {
                    in_flight: first.in_flight.clone(),
                    removed,
                };
                Box::pin(Offered::new(&self.registry, call, custody))
            }
            (Ok(Some(processed)), _) => self.next.consume(processed),
            (Ok(None), _) => {
                removed.settle();
                Box::pin(std::future::ready(Ok(())))
            }
            (Err(refused), _) => Box::pin(std::future::ready(Err(refused))),
        }
    }
}

/// The books over what pure processors took out of one batch.
struct TakenOut {
    in_flight: Gauge,
    removed: Removed,
}

impl Custody for TakenOut {
    fn handed_down(&mut self) {
        self.in_flight.add(self.removed.items() as f64);
    }

    fn answered(&mut self, answer: &Result<(), Refused>, waited: bool) {
        if waited {
            self.abandoned();
        }
        if answer.is_ok() {
            self.removed.settle();
        }
    }

    fn abandoned(&mut self) {
        self.in_flight.add(-(self.removed.items() as f64));
    }
}

/// Stands behind every component that gives something on. Turns a panic of whatever comes next into a refusal: one bad
/// batch must not end the process, nor the connection it came by. Whoever looks on sees what passes.
pub struct PanicGuard {
    next: Arc<dyn Stage>,
    /// Where the guard stands, for the log: `receiver "otlp"`.
    place: String,
    panics: Counter,
    tap: Arc<Feed>,
}

impl PanicGuard {
    /// A guard in front of `next`.
    pub fn before(next: Arc<dyn Stage>, place: String, panics: Counter, tap: Arc<Feed>) -> Self {
        Self {
            next,
            place,
            panics,
            tap,
        }
    }
}

impl Stage for PanicGuard {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let items = batch.items();
            let signal = batch.signal();
            self.tap.tell(&batch);
            // In an async block, because a stage may work before it returns its future.
            let inner = async { self.next.consume(batch).await };
            let caught = CatchPanic { inner }.await;
            caught.unwrap_or_else(|()| {
                self.panics.add(1);
                error!(place = %self.place, %signal, items, "A component panicked. The batch is refused.");
                Err(Refused::permanent("internal error while processing the batch").with_code(Code::Internal))
            })
        })
    }
}

/// Stands before an exporter's queue, for whoever looks on.
pub struct Tapped {
    next: Arc<dyn Stage>,
    tap: Arc<Feed>,
}

impl Tapped {
    /// In front of `next`.
    pub fn before(next: Arc<dyn Stage>, tap: Arc<Feed>) -> Self {
        Self { next, tap }
    }
}

impl Stage for Tapped {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        self.tap.tell(&batch);
        self.next.consume(batch)
    }
}

/// The target of the agent's own spans.
pub const SPAN_TARGET: &str = "radiosonde::traces";

/// Makes a span of each call. Stands in the graph only where `service::telemetry::traces` asks for spans.
pub struct Traced {
    next: Arc<dyn Stage>,
    /// `receiver/otlp`.
    name: String,
}

impl Traced {
    /// Spans called `name` and the signal.
    pub fn before(next: Arc<dyn Stage>, name: String) -> Self {
        Self { next, name }
    }
}

impl Stage for Traced {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let signal = batch.signal();
        let span = tracing::info_span!(
            target: SPAN_TARGET,
            "consume",
            otel.name = format!("{}/{signal}", self.name),
            otel.status_code = tracing::field::Empty,
            items = batch.items(),
        );
        let call = async move {
            let result = self.next.consume(batch).await;
            if result.is_err() {
                tracing::Span::current().record("otel.status_code", "ERROR");
            }
            result
        };
        Box::pin(call.instrument(span))
    }
}

pin_project! {
    /// Resolves to `Err(())` when the future inside panics; it is not polled again after that.
    struct CatchPanic<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Result<F::Output, ()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.project().inner;
        match std::panic::catch_unwind(AssertUnwindSafe(|| inner.poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(())),
        }
    }
}

/// Between an exporter's queue and its far end: tells an observer what the far end has acknowledged.
pub struct Observed {
    far_end: Arc<dyn Stage>,
    observer: Arc<dyn DeliveryObserver>,
}

impl Observed {
    /// In front of `far_end`.
    pub fn before(far_end: Arc<dyn Stage>, observer: Arc<dyn DeliveryObserver>) -> Self {
        Self { far_end, observer }
    }
}

impl Stage for Observed {
    fn consume(&self, mut batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            if batch.signal() != Signal::Traces {
                return self.far_end.consume(batch).await;
            }
            // In wire form a clone is cheap, and most far ends want it so.
            batch.parts();
            let sent = batch.clone();
            let (answer, in_part) = watching(self.far_end.consume(batch)).await;
            if answer.is_ok() && !in_part {
                self.observer.delivered(&sent);
            }
            answer
        })
    }
}

/// In place of a processor whose work is done behind the queues.
pub struct PassThrough;

impl Processor for PassThrough {
    fn process_noting(&self, batch: Batch, _removed: &mut Removed) -> Result<Option<Batch>, Refused> {
        Ok(Some(batch))
    }
}

/// Stands behind an outlet until the graph has been wired.
pub struct NotWired;

impl Stage for NotWired {
    fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(std::future::ready(Err(Refused::retryable("the pipeline is starting"))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::component::{ComponentKind, Instruments};
    use crate::pdata::Origin;

    struct Answers {
        with: Result<(), Refused>,
        offered: AtomicUsize,
    }

    fn answers(with: Result<(), Refused>) -> Arc<Answers> {
        Arc::new(Answers {
            with,
            offered: AtomicUsize::new(0),
        })
    }

    impl Stage for Answers {
        fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
            self.offered.fetch_add(batch.items(), Ordering::Relaxed);
            Box::pin(std::future::ready(self.with.clone()))
        }
    }

    struct Panics;

    impl Stage for Panics {
        fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
            panic!("on purpose")
        }
    }

    struct Keeps(bool);

    impl Processor for Keeps {
        fn process_noting(&self, batch: Batch, _removed: &mut Removed) -> Result<Option<Batch>, Refused> {
            Ok(self.0.then_some(batch))
        }
    }

    fn batch(items: u32) -> Batch {
        Batch::from_wire(Signal::Logs, bytes::Bytes::new(), items, Origin::internal())
    }

    #[tokio::test]
    async fn a_panic_becomes_a_permanent_refusal_and_is_counted() {
        let counter = Instruments::standalone(ComponentKind::Receiver, "otlp").counter("panics", "", &[]);
        let guard = PanicGuard::before(
            Arc::new(Panics),
            "receiver \"otlp\"".to_owned(),
            counter.clone(),
            Arc::default(),
        );
        let refused = guard.consume(batch(1)).await.unwrap_err();
        assert!(refused.permanent);
        assert_eq!(refused.code, Some(Code::Internal));
        assert_eq!(counter.value(), 1);
    }

    #[derive(Default)]
    struct Notes(AtomicUsize);

    impl DeliveryObserver for Notes {
        fn delivered(&self, batch: &Batch) {
            self.0.fetch_add(batch.items(), Ordering::Relaxed);
        }
    }

    struct InPart;

    impl Stage for InPart {
        fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
            Box::pin(async {
                crate::component::taken_in_part();
                Ok(())
            })
        }
    }

    #[tokio::test]
    async fn only_traces_that_a_far_end_took_whole_are_told() {
        let spans = |items| Batch::from_wire(Signal::Traces, bytes::Bytes::new(), items, Origin::internal());
        let notes = Arc::new(Notes::default());
        let before = |stage: Arc<dyn Stage>| Observed::before(stage, notes.clone());
        before(answers(Ok(()))).consume(spans(5)).await.unwrap();
        assert_eq!(notes.0.load(Ordering::Relaxed), 5);
        let refused = answers(Err(Refused::retryable("no")));
        before(refused).consume(spans(7)).await.unwrap_err();
        before(Arc::new(InPart)).consume(spans(11)).await.unwrap();
        before(answers(Ok(()))).consume(batch(13)).await.unwrap();
        assert_eq!(notes.0.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn a_segment_counts_what_goes_in_and_out_of_each_processor() {
        let instruments = Instruments::standalone(ComponentKind::Processor, "test");
        let step = |keeps: bool| Step {
            processor: Arc::new(Keeps(keeps)),
            duration: instruments.histogram("work", "", &[], &[1.0]),
            incoming: Counter::default(),
            outgoing: Counter::default(),
            in_flight: Gauge::default(),
            tap: Arc::default(),
        };
        let end = answers(Ok(()));
        let segment = Segment {
            left: None,
            steps: vec![step(true), step(false)],
            enters: None,
            next: end.clone(),
            registry: Registry::default(),
        };
        let seen_by: Vec<_> = segment.steps.iter().map(|step| step.tap.watch()).collect();
        segment.consume(batch(5)).await.unwrap();
        let told: Vec<usize> = seen_by
            .into_iter()
            .map(|mut watch| watch.try_next().map_or(0, |fresh| fresh.batch.items()))
            .collect();
        assert_eq!(told, [5, 0], "what a processor passes on is what one sees of it");
        let seen: Vec<(u64, u64)> = segment
            .steps
            .iter()
            .map(|step| (step.incoming.value(), step.outgoing.value()))
            .collect();
        assert_eq!(seen, [(5, 5), (5, 0)]);
        assert_eq!(end.offered.load(Ordering::Relaxed), 0);
    }
}
