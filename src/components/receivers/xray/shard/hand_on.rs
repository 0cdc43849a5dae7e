//! From the receiver into the pipeline: offered until it is taken, counted if it is refused for good.

use std::sync::Arc;
use std::time::Duration;

use super::{Shard, Stop};
use crate::component::{DropReason, Outlet, Refused};
use crate::pdata::{Batch, Decoded, Origin, Permit, Signal};

impl Shard {
    /// Offers until it is taken, or refused for good, or it is time to stop.
    pub async fn hand_on(&mut self, outlet: &Outlet, decoded: Decoded) -> Result<(), Stop> {
        let bytes = decoded.encoded_len() as u64;
        let signal = decoded.signal();
        let taken_by = Arc::default();
        let mut batch: Option<Batch> = None;
        loop {
            let offered = self.offer(outlet, &decoded, bytes, &taken_by, &mut batch);
            let result = tokio::select! {
                () = self.quit.cancelled() => return Err(Stop::Quit),
                result = offered => result,
            };
            let refused = match result {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if refused.permanent {
                let items = decoded.count_items() as u64;
                tracing::error!(receiver = %self.shared.context.id, items, reason = %refused,
                    "the pipeline refused data of X-Ray for good; it is lost");
                let instruments = &self.shared.context.instruments;
                instruments.dropped(signal, DropReason::PermanentError).add(items);
                if signal == Signal::Traces {
                    self.counts.dropped.add(items);
                }
                return Ok(());
            }
            self.tell(Some(format!("the pipeline refused: {refused}")));
            let wait = refused.retry_after.unwrap_or(Duration::from_secs(5));
            let clock = Arc::clone(&self.shared.context.clock);
            tokio::select! {
                () = self.quit.cancelled() => return Err(Stop::Quit),
                () = clock.sleep(wait) => {}
            }
        }
    }

    async fn offer(
        &self,
        outlet: &Outlet,
        decoded: &Decoded,
        bytes: u64,
        taken_by: &Arc<crate::pdata::TakenBy>,
        batch: &mut Option<Batch>,
    ) -> Result<(), Refused> {
        let context = &self.shared.context;
        let permit: Option<Permit> = context.memory.acquire(bytes, context.admission_wait).await;
        let Some(permit) = permit else {
            return Err(Refused::retryable(format!("no memory for {bytes} bytes of X-Ray data")));
        };
        let origin = Origin {
            cursor: true,
            permits: [Arc::new(permit)].into_iter().collect(),
            // A branch of a fan-out that has it is left out at the next offer.
            taken_by: Some(Arc::clone(taken_by)),
            ..Origin::default()
        };
        let offered = match batch.take() {
            Some(batch) => batch.with_origin(Arc::new(origin)),
            None => {
                let made = Batch::from_decoded(decoded.clone(), Arc::new(origin));
                let (signal, items, origin) = (made.signal(), made.items() as u32, Arc::clone(made.origin()));
                Batch::from_parts(signal, made.into_parts(), items, origin)
            }
        };
        *batch = Some(offered.clone().with_origin(Origin::internal()));
        let call = outlet.consume(offered);
        self.received.offer(decoded.signal(), decoded.count_items(), call).await
    }
}
