//! Handing on: each interval, at once when an item collection is full, and once more at the end.
//!
//! What the next stage refuses for now is kept, and the sums of the next interval wait behind it: they lose nothing by
//! growing. One request is kept at most.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use tokio::time::Instant;

use super::Connector;
use crate::component::{BuildContext, Counter, DropReason, Outlet, Refused};
use crate::pdata::{Batch, Decoded, Origin, Signal, TakenBy};

/// Between two offers of what was refused, where nobody says how long.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// The same at the end, when there is little time.
const TRY_AGAIN_AT_END: Duration = Duration::from_millis(200);
/// How long the end may try: pipelines stop within some seconds.
const LONGEST_END: Duration = Duration::from_secs(5);

/// The task that hands on.
pub(super) struct Flusher {
    connector: Arc<Connector>,
    context: BuildContext,
    outlet: Outlet,
    interval: Duration,
    waiting: Option<Batch>,
    permanent: Counter,
    at_end: Counter,
}

impl Flusher {
    pub(super) fn new(connector: Arc<Connector>, context: &BuildContext, outlet: Outlet, interval: Duration) -> Self {
        let instruments = &context.instruments;
        let observed = Arc::downgrade(&connector);
        let help = "Series that calls are added up in.";
        instruments.observe("radiosonde_awsclientmetrics_series", help, &[], move || {
            observed.upgrade().map_or(0.0, |connector| connector.series() as f64)
        });
        Self {
            connector,
            outlet,
            interval,
            waiting: None,
            permanent: instruments.dropped(Signal::Metrics, DropReason::PermanentError),
            at_end: instruments.dropped(Signal::Metrics, DropReason::ShutdownDeadline),
            context: context.clone(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut next = Instant::now() + self.interval;
        // The first one of an interval does not wait; a storm of them does.
        let mut may_hurry = true;
        let connector = Arc::clone(&self.connector);
        loop {
            tokio::select! {
                biased;
                () = connector.quit.cancelled() => break,
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + self.interval;
                    may_hurry = true;
                }
                () = connector.urgent.notified(), if may_hurry => may_hurry = false,
            }
            if let Err(wait) = self.hand_on().await {
                next = next.min(Instant::now() + wait);
            }
        }
        self.end().await;
    }

    /// Everything that is there, the kept request first.
    ///
    /// # Errors
    /// How long to wait; nothing is lost.
    async fn hand_on(&mut self) -> Result<(), Duration> {
        self.offer().await?;
        if let Some(request) = self.connector.flush() {
            self.waiting = Some(batch_of(request));
            self.offer().await?;
        }
        Ok(())
    }

    async fn offer(&mut self) -> Result<(), Duration> {
        let Some(batch) = self.waiting.clone() else {
            return Ok(());
        };
        let items = batch.items();
        match self.outlet.consume(batch).await {
            Ok(()) => {
                self.waiting = None;
                Ok(())
            }
            Err(refused) if refused.permanent => {
                self.waiting = None;
                self.lose(items, &refused);
                Ok(())
            }
            Err(refused) => {
                tracing::debug!(connector = %self.context.id, items, reason = %refused,
                    "metrics were refused; they are kept");
                Err(refused.retry_after.unwrap_or(TRY_AGAIN))
            }
        }
    }

    fn lose(&self, items: usize, refused: &Refused) {
        self.permanent.add(items as u64);
        tracing::error!(connector = %self.context.id, items, reason = %refused,
            "the pipeline refused metrics for good; they are lost");
    }

    async fn end(&mut self) {
        let last = Instant::now() + LONGEST_END;
        let stop = self.context.stop.clone();
        while self.hand_on().await.is_err() {
            if stop.is_cancelled() || Instant::now() >= last {
                break;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(TRY_AGAIN_AT_END) => {}
            }
        }
        let kept = self.waiting.take().map_or(0, |batch| batch.items());
        let rest = self.connector.flush().map(batch_of).map_or(0, |batch| batch.items());
        let lost = (kept + rest) as u64;
        if lost > 0 {
            self.at_end.add(lost);
            tracing::error!(connector = %self.context.id, items = lost,
                "metrics could not be handed on before the end");
        }
    }
}

/// Offered as often as it takes: a branch that has it is left out then.
fn batch_of(request: ExportMetricsServiceRequest) -> Batch {
    let origin = Origin::internal().remembering(&Arc::new(TakenBy::default()));
    Batch::from_decoded(Decoded::Metrics(request), origin)
}
