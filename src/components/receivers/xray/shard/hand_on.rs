//! From the receiver into the pipeline: offered until it is taken, counted if it is refused for good.

use std::sync::Arc;
use std::time::Duration;

use super::{Shard, Stop};
use crate::component::{DropReason, Outlet, Refused};
use crate::pdata::{Batch, BatchId, Decoded, Origin, Permit, Signal, TakenBy};

/// One request, until somebody has taken it.
struct Offer {
    batch: Batch,
    /// What a durable queue knows it by: a receiver that ended before it could write down that the request was taken
    /// offers it again.
    id: Option<BatchId>,
    /// A branch of a fan-out that has it is left out at the next offer.
    taken_by: Arc<TakenBy>,
}

impl Offer {
    fn new(id: Option<BatchId>, decoded: Decoded) -> Self {
        let made = Batch::from_decoded(decoded, Origin::internal());
        let (signal, items, origin) = (made.signal(), made.items() as u32, Arc::clone(made.origin()));
        Self {
            batch: Batch::from_parts(signal, made.into_parts(), items, origin),
            id,
            taken_by: Arc::default(),
        }
    }

    fn batch(&self, permit: &Arc<Permit>) -> Batch {
        let origin = Origin {
            cursor: true,
            permits: [Arc::clone(permit)].into_iter().collect(),
            taken_by: Some(Arc::clone(&self.taken_by)),
            batch_id: self.id,
            ..Origin::default()
        };
        self.batch.clone().with_origin(Arc::new(origin))
    }
}

impl Shard {
    /// Offers until it is taken, or refused for good, or it is time to stop.
    pub async fn hand_on(&mut self, outlet: &Outlet, decoded: Decoded) -> Result<(), Stop> {
        self.hand_on_offers(outlet, vec![Offer::new(None, decoded)]).await
    }

    /// The same for requests that are offered at the same time, each known by its id.
    pub async fn hand_on_all(&mut self, outlet: &Outlet, requests: Vec<(BatchId, Decoded)>) -> Result<(), Stop> {
        let offers = requests.into_iter().map(|(id, decoded)| Offer::new(Some(id), decoded));
        self.hand_on_offers(outlet, offers.collect()).await
    }

    async fn hand_on_offers(&mut self, outlet: &Outlet, mut left: Vec<Offer>) -> Result<(), Stop> {
        loop {
            let offered = self.offer(outlet, &mut left);
            let result = tokio::select! {
                () = self.quit.cancelled() => return Err(Stop::Quit),
                result = offered => result,
            };
            let Err(refused) = result else { return Ok(()) };
            self.tell(Some(format!("the pipeline refused: {refused}")));
            let wait = refused.retry_after.unwrap_or(Duration::from_secs(5));
            let clock = Arc::clone(&self.shared.context.clock);
            tokio::select! {
                () = self.quit.cancelled() => return Err(Stop::Quit),
                () = clock.sleep(wait) => {}
            }
        }
    }

    /// What was refused, but not for good, stays in `left`.
    async fn offer(&self, outlet: &Outlet, left: &mut Vec<Offer>) -> Result<(), Refused> {
        let context = &self.shared.context;
        let bytes: usize = left.iter().map(|offer| offer.batch.wire_len()).sum();
        let permit = context.memory.acquire(bytes as u64, context.admission_wait).await;
        let Some(permit) = permit.map(Arc::new) else {
            return Err(Refused::retryable(format!("no memory for {bytes} bytes of X-Ray data")));
        };
        let batches = left.iter().map(|offer| offer.batch(&permit)).collect();
        let answers = self.received.offer_all(outlet, batches).await;
        let mut again = Vec::new();
        let mut worst = Ok(());
        for (offer, answer) in std::mem::take(left).into_iter().zip(answers) {
            match answer {
                Ok(()) => {}
                Err(refused) if refused.permanent => self.lose(&offer.batch, &refused),
                Err(refused) => {
                    again.push(offer);
                    worst = Err(refused);
                }
            }
        }
        *left = again;
        worst
    }

    fn lose(&self, batch: &Batch, refused: &Refused) {
        let (signal, items) = (batch.signal(), batch.items() as u64);
        tracing::error!(receiver = %self.shared.context.id, items, reason = %refused,
            "the pipeline refused data of X-Ray for good; it is lost");
        let instruments = &self.shared.context.instruments;
        instruments.dropped(signal, DropReason::PermanentError).add(items);
        if signal == Signal::Traces {
            self.counts.dropped.add(items);
        }
    }
}
