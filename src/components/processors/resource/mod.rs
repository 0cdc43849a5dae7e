//! `resource`: edits the attributes of resources, in all signals.
//!
//! Works on the wire bytes: only the resource itself and the length around it are written anew.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tracing::warn;

use super::actions::{Actions, Run};
use crate::component::{
    BuildContext, BuiltProcessor, ComponentId, ComponentKind, Counter, DropReason, Factory, LimitedLog, Outlet, Plan,
    Processor, ProcessorPlan, Refused, Removed, Stability, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Edit, Place, Rewriter, Signal, Visit};
use crate::wire::{ResourceGroup, WireError};

/// The registry's entry.
pub struct ResourceFactory;

impl Factory for ResourceFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Processor
    }

    fn type_name(&self) -> &'static str {
        "resource"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Edits the attributes of resources."
    }

    fn example(&self) -> &'static str {
        r#"
attributes:
  - key: cloud.region
    value: eu-central-1
    action: insert
  - key: k8s.cluster.name
    from_attribute: k8s-cluster
    action: insert
  - key: k8s-cluster
    action: delete
"#
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let actions = Arc::new(Actions::check(section, "attributes")?);
        Some(Plan::Processor(Box::new(ResourcePlan { actions })))
    }
}

struct ResourcePlan {
    actions: Arc<Actions>,
}

impl ProcessorPlan for ResourcePlan {
    fn build(&self, context: BuildContext, signal: Signal, _next: Outlet) -> Result<BuiltProcessor, StartError> {
        Ok(BuiltProcessor::Pure(Arc::new(EditResource {
            id: context.id.clone(),
            signal,
            actions: Arc::clone(&self.actions),
            invalid: context.instruments.dropped(signal, DropReason::Invalid),
            invalid_log: LimitedLog::default(),
        })))
    }
}

/// The processor of one pipeline.
struct EditResource {
    id: ComponentId,
    signal: Signal,
    actions: Arc<Actions>,
    invalid: Counter,
    invalid_log: LimitedLog,
}

impl Processor for EditResource {
    fn process_noting(&self, batch: Batch, removed: &mut Removed) -> Result<Option<Batch>, Refused> {
        let mut walk = Walk {
            run: self.actions.for_batch(batch.origin()),
        };
        let rewritten = batch
            .rewrite(&mut walk)
            .map_err(|error| Refused::permanent(format!("malformed {}: {error}", self.signal)))?;
        if rewritten.malformed > 0 {
            removed.note(&self.invalid, rewritten.malformed as u64);
            if let Some(left_out) = self.invalid_log.admit() {
                let items = rewritten.malformed;
                warn!(processor = %self.id, items, left_out, "dropped malformed {}", self.signal.items_name());
            }
        }
        Ok(rewritten.batch)
    }
}

struct Walk<'p> {
    run: Run<'p>,
}

impl Rewriter for Walk<'_> {
    fn resource(&mut self, _group: ResourceGroup<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        edit.edit_attributes(|list| self.run.apply(list))?;
        Ok(Visit::Keep)
    }

    fn item(&mut self, _place: Place<'_>, _edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        Ok(Visit::Keep)
    }
}
