//! What the agent says about itself to health checks, zpages and the admin API.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
