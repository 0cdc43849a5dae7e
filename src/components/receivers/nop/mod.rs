//! `nop` receiver: receives nothing. For pipelines that must have a receiver and need none.

use std::sync::Arc;

use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Factory, NothingToStop, Outlets, Plan, ReceiverPlan, Running, Stability,
    StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// See the module text.
pub struct NopFactory;

impl Factory for NopFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "nop"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Receives nothing."
    }

    fn example(&self) -> &'static str {
        "{}"
    }

    fn check(&self, _section: &Section) -> Option<Plan> {
        Some(Plan::Receiver(Box::new(NopPlan)))
    }
}

struct NopPlan;

impl ReceiverPlan for NopPlan {
    fn start(&self, _context: BuildContext, _next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async { Ok(Arc::new(NothingToStop) as Arc<dyn Running>) })
    }
}
