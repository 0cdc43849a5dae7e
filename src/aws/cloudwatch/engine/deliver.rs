//! Handing on: settled points as batches to the pipeline. The cursors move when it has taken them.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;

use super::Shard;
use crate::aws::cloudwatch::output::Builder;
use crate::aws::cloudwatch::tracks::Settled;
use crate::component::{DropReason, Refused};
use crate::pdata::{Batch, Decoded, Origin, Permit, Signal};

/// Points of CloudWatch in one batch.
pub(super) const BATCH: usize = 2_000;
/// How soon what was refused is offered again: as the refuser says, within these limits.
const AGAIN: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(60);

impl Shard {
    pub(super) fn builder(&self) -> Builder {
        let settings = self.settings();
        Builder::of_form(settings.receiver, settings.output, settings.cumulative)
    }

    /// Hands on what is settled.
    ///
    /// # Errors
    /// How long to wait before offering again; nothing is lost.
    pub(super) async fn deliver(&mut self) -> Result<(), Duration> {
        self.deliver_backfilled().await?;
        self.tracks.sort_ready();
        loop {
            let points = self.tracks.settled(BATCH);
            if points.is_empty() {
                return Ok(());
            }
            self.hand_points(&points).await?;
            self.tracks.acknowledge(&points);
            self.unsaved = true;
        }
    }

    /// Hands on these points; what is refused for good is given up.
    ///
    /// # Errors
    /// How long to wait before offering them again.
    pub(super) async fn hand_points(&mut self, points: &[Settled]) -> Result<(), Duration> {
        let mut builder = self.builder();
        for point in points {
            builder.add(point);
        }
        self.source.derive(points, &self.tracks, &mut builder);
        let request = builder.finish(|id| self.source.describe(id));
        match self.hand_on(request).await {
            Ok(()) => {
                self.counts.emitted(points, self.now());
                self.refused_since = None;
                Ok(())
            }
            Err(refused) if refused.permanent => {
                self.give_up(points, &refused);
                Ok(())
            }
            Err(refused) => {
                if self.refused_since.is_none() {
                    tracing::warn!(receiver = %self.context.id, series = self.tracks.ready_series(), reason = %refused,
                        "the pipeline refused metrics; they are kept and AWS is not asked meanwhile");
                    self.refused_since = Some(self.now());
                }
                Err(refused
                    .retry_after
                    .unwrap_or(AGAIN)
                    .clamp(Duration::from_secs(1), LATEST))
            }
        }
    }

    fn give_up(&self, points: &[Settled], refused: &Refused) {
        let items = points.len() as u64;
        tracing::error!(receiver = %self.context.id, points = items, reason = %refused,
            "the pipeline refused metrics for good; they are lost");
        self.context
            .instruments
            .dropped(Signal::Metrics, DropReason::PermanentError)
            .add(items);
        self.counts.dropped.add(items);
    }

    pub(super) async fn hand_on(&self, request: ExportMetricsServiceRequest) -> Result<(), Refused> {
        let bytes = request.encoded_len() as u64;
        let context = &self.context;
        let permit: Option<Permit> = context.memory.acquire(bytes, context.admission_wait).await;
        let Some(permit) = permit else {
            return Err(Refused::retryable(format!("no memory for {bytes} bytes of metrics")));
        };
        let origin = Origin {
            cursor: true,
            permits: [Arc::new(permit)].into_iter().collect(),
            ..Origin::default()
        };
        let batch = Batch::from_decoded(Decoded::Metrics(request), Arc::new(origin));
        let items = batch.items();
        let call = self.outlet.consume(batch);
        self.received.offer(Signal::Metrics, items, call).await
    }
}
