//! What all components of one process share, and the context each of them is given.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::component::{
    Authenticators, BuildContext, Clock, Commons, ComponentId, ComponentKind, Instruments, MemoryState, Registry,
    StateStore, StatusBoard, SystemClock,
};
use crate::pdata::MemoryBudget;

/// The process as its components see it. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    pub clock: Arc<dyn Clock>,
    pub registry: Registry,
    pub commons: Commons,
    pub state: Arc<dyn StateStore>,
    pub state_dir: Option<PathBuf>,
    pub spill_dir: Option<PathBuf>,
    pub memory: MemoryBudget,
    pub admission_wait: Duration,
    pub status: StatusBoard,
    pub authenticators: Authenticators,
    /// Stages make spans of the agent's own; without it none is made.
    pub traced: bool,
}

impl Default for Host {
    /// System clock, own registry, no limits, no state: what tests and tools start from.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            registry: Registry::default(),
            commons: Commons::default(),
            state: Arc::new(MemoryState::default()),
            state_dir: None,
            spill_dir: None,
            memory: MemoryBudget::unlimited(),
            admission_wait: Duration::from_millis(100),
            status: StatusBoard::default(),
            authenticators: Authenticators::default(),
            traced: false,
        }
    }
}

impl Host {
    /// The context of one component, with a stop token of its own.
    pub fn context(&self, kind: ComponentKind, id: &ComponentId) -> BuildContext {
        BuildContext {
            id: id.clone(),
            kind,
            clock: Arc::clone(&self.clock),
            instruments: Instruments::new(self.registry.clone(), kind, id.as_str()),
            commons: self.commons.clone(),
            state: Arc::clone(&self.state),
            state_dir: self.state_dir.clone(),
            spill_dir: self.spill_dir.clone(),
            memory: self.memory.clone(),
            admission_wait: self.admission_wait,
            status: self.status.clone(),
            authenticators: self.authenticators.clone(),
            stop: CancellationToken::new(),
        }
    }
}
