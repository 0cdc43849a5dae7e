//! What the author of a component reads: the traits a component implements, the context it is built in, and how a
//! stage refuses data.
//!
//! A component is a folder under `components/<kind>/<name>/` and one line in `components/mod.rs`. Its [`Factory`]
//! checks a configuration section and answers with a [`Plan`]; the graph builds the plan later. `check` opens no socket
//! and creates nothing.

mod auth;
mod commons;
pub mod console;
mod context;
mod custody;
mod delivery;
mod feed;
mod heads;
mod incidents;
mod instruments;
mod limited_log;
mod observer;
mod outlet;
mod plan;
mod refused;
mod state;
mod status;

pub use auth::{Authenticators, ClientAuth, Denied, NamedAuth, Outgoing, ServerAuth, after_scheme, only_value};
pub use commons::Commons;
pub use context::{BuildContext, Clock, ComponentId, ComponentKind, Deadline, StartError, SystemClock, UnixNanos};
pub use custody::{Custody, Offered, Removed};
pub use delivery::{Delivery, Durability, Overflow, QueueBatch, QueueSettings, RetrySettings, Sizer};
pub use feed::{Feed, Fresh, Taps, Watch};
pub use heads::PipelineHeads;
pub use incidents::{Incident, IncidentKind, Incidents};
pub use instruments::{
    Counter, Gauge, Histogram, Instruments, Kind as InstrumentKind, Moving, ReceiverCounts, Registry, Sample,
    SampleValue,
};
pub use limited_log::LimitedLog;
pub use observer::{DeliveryObserver, taken_in_part, watching};
pub use outlet::{Outlet, Outlets, Retired};
pub use plan::{
    BuiltConnector, BuiltExporter, BuiltProcessor, ConnectorPlan, ExporterPlan, ExtensionPlan, Factory, Plan,
    ProcessorPlan, ReceiverPlan, Stability,
};
pub use refused::{DropReason, Refused};
pub use state::{MemoryState, StateChange, StateError, StateStore, with_state};
pub use status::{ComponentState, PipelineInfo, StatusBoard};

use std::future::Future;
use std::pin::Pin;

use crate::pdata::Batch;

/// A boxed future: `dyn` needs it. One allocation a batch, not a span.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes responsibility for a batch, or refuses it. The return value is the acknowledgement.
///
/// `Ok(())` means that somebody has taken responsibility: a queue, or the far end. Awaiting is the backpressure.
pub trait Stage: Send + Sync {
    /// Hands the batch over.
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>>;
}

/// A stage without tasks or waiting: runs in the caller's task, one after another with its neighbours.
pub trait Processor: Send + Sync {
    /// The batch as it goes on, or `None` when nothing is left of it. Whoever takes items out notes them in `removed`
    /// with the counter they belong to: they count when the rest has been taken. If it is refused, the sender brings
    /// all of it again.
    fn process_noting(&self, batch: Batch, removed: &mut Removed) -> Result<Option<Batch>, Refused>;

    /// The same where nobody can refuse the rest: what was taken out is counted at once.
    fn process(&self, batch: Batch) -> Result<Option<Batch>, Refused> {
        let mut removed = Removed::default();
        let left = self.process_noting(batch, &mut removed)?;
        removed.settle();
        Ok(left)
    }
}

/// The running part of a component that owns tasks, listeners or files.
pub trait Running: Send + Sync {
    /// Stops in an orderly way before the deadline: a receiver stops accepting and finishes what it is reading, a
    /// batcher flushes, a queue drains. Idempotent.
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()>;
}

/// A [`Running`] with nothing to stop.
pub struct NothingToStop;

impl Running for NothingToStop {
    fn stop(&self, _deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
