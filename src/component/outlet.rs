//! Where a component sends to. Re-pointable, so that a reload can rebuild what stands behind it.

use std::sync::Arc;

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

    /// Leads every clone to another stage. Calls under way finish where they began.
    pub fn repoint(&self, stage: Arc<dyn Stage>) {
        self.0.store(Arc::new(stage));
    }

    /// The stage behind it now.
    pub fn stage(&self) -> Arc<dyn Stage> {
        Arc::clone(&self.0.load())
    }

    /// Hands the batch to the stage behind it.
    pub async fn consume(&self, batch: Batch) -> Result<(), Refused> {
        let stage = self.stage();
        stage.consume(batch).await
    }
}

impl Stage for Outlet {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(Outlet::consume(self, batch))
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
