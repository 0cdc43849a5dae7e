//! Processor `alerts`: rules over what passes. Data goes on untouched; what the rules find is told by the notifying side
//! and the log.
//!
//! One id is one engine, in however many pipelines it stands. A batch is looked at when the next stage has taken it: if it
//! is refused it comes again, and would count twice.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::alert::runtime::{Runtime, Settings};
use crate::component::{
    BoxFuture, BuildContext, BuiltProcessor, ComponentKind, Factory, Outlet, Plan, ProcessorPlan, Refused, Running,
    Stability, Stage, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Signal};

/// The registry's entry.
pub struct AlertsFactory;

impl Factory for AlertsFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Processor
    }

    fn type_name(&self) -> &'static str {
        "alerts"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Traces, Signal::Metrics, Signal::Logs]
    }

    fn stability(&self) -> Stability {
        Stability::Development
    }

    fn summary(&self) -> &'static str {
        "Alert rules in Prometheus' format over metrics, spans and logs, in event time; data passes on untouched."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let settings = Settings::read(section)?;
        Some(Plan::Processor(Box::new(AlertsPlan { settings })))
    }
}

struct AlertsPlan {
    settings: Settings,
}

impl ProcessorPlan for AlertsPlan {
    fn build(&self, context: BuildContext, _signal: Signal, next: Outlet) -> Result<BuiltProcessor, StartError> {
        let runtime = Runtime::of(&self.settings, &context);
        Ok(BuiltProcessor::Active {
            stage: Arc::new(Tap {
                runtime: Arc::clone(&runtime),
                next,
            }),
            running: runtime as Arc<dyn Running>,
        })
    }
}

/// The engine's ear in one pipeline.
struct Tap {
    runtime: Arc<Runtime>,
    next: Outlet,
}

impl Stage for Tap {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let copy = batch.clone();
            self.next.consume(batch).await?;
            self.runtime.take(copy);
            Ok(())
        })
    }
}
