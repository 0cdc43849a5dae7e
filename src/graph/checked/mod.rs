//! The configuration after every reference has been resolved and every section checked: what the graph is built from.

mod check;
mod connectors;
mod id;
mod names;
mod pipelines;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::Arc;

use crate::component::{ComponentId, ComponentKind, PipelineInfo, Plan};
use crate::config::{Problems, ServiceConfig};

pub use check::check;
pub use pipelines::signal_name;

/// One configured component.
pub struct CheckedComponent {
    pub kind: ComponentKind,
    /// As written.
    pub id: ComponentId,
    pub plan: Plan,
    /// Equal for equal configurations (after expansion, defaults not filled in): what a reload compares.
    pub fingerprint: u64,
}

/// A whole configuration without errors.
#[derive(Default)]
pub struct Checked {
    /// All of them, also those that no pipeline uses (checked, never started).
    pub components: Vec<Arc<CheckedComponent>>,
    /// In the order of the file.
    pub pipelines: Vec<PipelineInfo>,
    /// `service::extensions`, in its order.
    pub extensions: Vec<ComponentId>,
    /// The rest of `service`.
    pub service: ServiceConfig,
    /// What was found and does not stop anything.
    pub warnings: Problems,
}

impl Checked {
    /// The component of this kind and id.
    pub fn component(&self, kind: ComponentKind, id: &ComponentId) -> Option<&Arc<CheckedComponent>> {
        self.components
            .iter()
            .find(|component| component.kind == kind && component.id == *id)
    }
}
