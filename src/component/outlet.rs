//! Where a component sends to. Re-pointable, so that a reload can rebuild what stands behind it.

use std::sync::Arc;
use std::task::Poll;

use arc_swap::ArcSwap;

use super::{BoxFuture, Refused, Stage};
use crate::pdata::{Batch, Signal};

/// The next stage, as seen by whoever stands before it. Clones share one target.
#[derive(Clone)]
pub struct Outlet(Arc<ArcSwap<Arc<dyn Stage>>>);

impl Outlet {
    /// An outlet that leads to `stage`.
    pub fn to(stage: Arc<dyn Stage>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(stage)))
    }

    /// Leads every clone to another stage. Calls under way finish where they began: the answer tells when they have.
    pub fn repoint(&self, stage: Arc<dyn Stage>) -> Retired {
        Retired(self.0.swap(Arc::new(stage)))
    }

    /// Hands the batch to the stage behind it.
    pub async fn consume(&self, batch: Batch) -> Result<(), Refused> {
        // Held until the answer is there: a reload counts the holders to know when the old stage is quiet.
        let target = self.0.load_full();
        target.consume(batch).await
    }
}

impl Outlet {
    /// Hands several batches over at the same time. Their answers, in order.
    pub async fn consume_all(&self, batches: Vec<Batch>) -> Vec<Result<(), Refused>> {
        let target = self.0.load_full();
        let mut calls: Vec<_> = batches.into_iter().map(|batch| Some(target.consume(batch))).collect();
        let mut answers: Vec<Result<(), Refused>> = vec![Ok(()); calls.len()];
        std::future::poll_fn(|context| {
            let mut waits = false;
            for (call, answer) in calls.iter_mut().zip(&mut answers) {
                let Some(waiting) = call else { continue };
                match waiting.as_mut().poll(context) {
                    Poll::Pending => waits = true,
                    Poll::Ready(answered) => {
                        *answer = answered;
                        *call = None;
                    }
                }
            }
            if waits { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        answers
    }
}

impl Stage for Outlet {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(Outlet::consume(self, batch))
    }
}

/// What an outlet led to before it was led elsewhere.
pub struct Retired(Arc<Arc<dyn Stage>>);

impl Retired {
    /// No call that came through the outlet is under way any more. Stays true once it is.
    pub fn is_quiet(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// One outlet per signal that a receiver or connector serves.
#[derive(Clone, Default)]
pub struct Outlets {
    pub traces: Option<Outlet>,
    pub metrics: Option<Outlet>,
    pub logs: Option<Outlet>,
}

impl Outlets {
    /// The outlet of a signal; `None` where no pipeline of that signal uses the component.
    pub fn get(&self, signal: Signal) -> Option<&Outlet> {
        match signal {
            Signal::Traces => self.traces.as_ref(),
            Signal::Metrics => self.metrics.as_ref(),
            Signal::Logs => self.logs.as_ref(),
        }
    }

    /// Sets the outlet of a signal.
    pub fn set(&mut self, signal: Signal, outlet: Outlet) {
        match signal {
            Signal::Traces => self.traces = Some(outlet),
            Signal::Metrics => self.metrics = Some(outlet),
            Signal::Logs => self.logs = Some(outlet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdata::Origin;
    use tokio::sync::Semaphore;

    struct Gate(Semaphore);

    impl Stage for Gate {
        fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
            Box::pin(async {
                let _passed = self.0.acquire().await;
                Ok(())
            })
        }
    }

    #[tokio::test]
    async fn what_was_led_elsewhere_is_quiet_when_its_last_call_has_answered() {
        let gate = Arc::new(Gate(Semaphore::new(0)));
        let outlet = Outlet::to(gate.clone());
        let batch = Batch::from_wire(Signal::Logs, bytes::Bytes::new(), 0, Origin::internal());
        let mut call = Box::pin(outlet.consume(batch));
        assert!(futures_poll_once(&mut call).await.is_none());
        let retired = outlet.repoint(Arc::new(Gate(Semaphore::new(1))));
        assert!(!retired.is_quiet());
        gate.0.add_permits(1);
        call.await.unwrap();
        assert!(retired.is_quiet());
    }

    async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
