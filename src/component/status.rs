//! What the agent says about itself to health checks, zpages and the admin API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ComponentId, ComponentKind};
use crate::pdata::Signal;

/// The state of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentState {
    Starting,
    Ok,
    /// Works on, but something an operator should see is wrong; says what.
    Degraded(String),
    Stopping,
    Stopped,
}

/// One pipeline as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineInfo {
    pub name: String,
    pub signal: Signal,
    pub receivers: Vec<ComponentId>,
    pub processors: Vec<ComponentId>,
    pub exporters: Vec<ComponentId>,
}

/// Shared by all; cheap to clone.
#[derive(Clone, Default)]
pub struct StatusBoard(Arc<Shared>);

#[derive(Default)]
struct Shared {
    ready: AtomicBool,
    components: Mutex<BTreeMap<(ComponentKind, ComponentId), ComponentState>>,
    pipelines: Mutex<Vec<PipelineInfo>>,
    /// Directories of durable queues, and whether they are open.
    queues: Mutex<BTreeMap<PathBuf, bool>>,
}

impl StatusBoard {
    /// Whether the agent takes data: false while starting and from the first moment of a stop.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    /// Set by the graph.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// A durable queue begins to read what an earlier run left in its directory.
    pub fn queue_opens(&self, directory: &Path) {
        self.queues().insert(directory.to_owned(), false);
    }

    /// It takes data.
    pub fn queue_is_open(&self, directory: &Path) {
        self.queues().insert(directory.to_owned(), true);
    }

    /// It has ended. One that follows it in the same directory tells for itself.
    pub fn queue_is_gone(&self, directory: &Path) {
        let mut queues = self.queues();
        if queues.get(directory) == Some(&true) {
            queues.remove(directory);
        }
    }

    /// How many durable queues are open, and how many there are.
    pub fn open_queues(&self) -> (usize, usize) {
        let queues = self.queues();
        (queues.values().filter(|open| **open).count(), queues.len())
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<PathBuf, bool>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the state of a component.
    pub fn report(&self, kind: ComponentKind, id: &ComponentId, state: ComponentState) {
        let mut components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.insert((kind, id.clone()), state);
    }

    /// Forgets a component that a reload removed.
    pub fn forget(&self, kind: ComponentKind, id: &ComponentId) {
        let mut components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.remove(&(kind, id.clone()));
    }

    /// All components and their states, ordered by kind and id.
    pub fn components(&self) -> Vec<(ComponentKind, ComponentId, ComponentState)> {
        let components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        components
            .iter()
            .map(|((kind, id), state)| (*kind, id.clone(), state.clone()))
            .collect()
    }

    /// Replaces the list of pipelines; set by the graph at start and after a reload.
    pub fn set_pipelines(&self, pipelines: Vec<PipelineInfo>) {
        *self.0.pipelines.lock().unwrap_or_else(PoisonError::into_inner) = pipelines;
    }

    /// The pipelines as they run.
    pub fn pipelines(&self) -> Vec<PipelineInfo> {
        self.0.pipelines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
