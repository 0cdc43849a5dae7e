//! `nop` exporter: takes everything and discards it. For benchmarks and for pipelines that only count.

use std::sync::Arc;

use crate::component::{
    BoxFuture, BuildContext, BuiltExporter, ComponentKind, Delivery, ExporterPlan, Factory, NothingToStop, Plan,
    Refused, Stability, Stage, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Signal};

/// See the module text.
pub struct NopFactory;

impl Factory for NopFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
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
        "Takes everything and discards it."
    }

    fn example(&self) -> &'static str {
        "{}"
    }

    fn check(&self, _section: &Section) -> Option<Plan> {
        Some(Plan::Exporter(Box::new(NopPlan)))
    }
}

struct NopPlan;

impl ExporterPlan for NopPlan {
    fn delivery(&self) -> Delivery {
        Delivery::default()
    }

    fn build(&self, _context: BuildContext) -> Result<BuiltExporter, StartError> {
        Ok(BuiltExporter {
            far_end: Arc::new(Discard),
            running: Arc::new(NothingToStop),
        })
    }
}

struct Discard;

impl Stage for Discard {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        drop(batch);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdata::Origin;

    #[tokio::test]
    async fn takes_what_it_is_given() {
        let context = BuildContext::standalone(ComponentKind::Exporter, "nop");
        let built = NopPlan.build(context).unwrap();
        let batch = Batch::from_wire(Signal::Logs, vec![10, 0].into(), 0, Origin::internal());
        assert!(built.far_end.consume(batch).await.is_ok());
    }
}
