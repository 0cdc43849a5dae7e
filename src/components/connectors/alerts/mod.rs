//! Connector `alerts`: the processor of the same name at the end of pipelines, with what it finds as telemetry: a log
//! record for each alert that begins or ends, and the series `ALERTS` and `ALERTS_FOR_STATE`.

use std::sync::Arc;

use crate::alert::runtime::{Runtime, Settings};
use crate::component::{
    BoxFuture, BuildContext, BuiltConnector, ComponentKind, ConnectorPlan, Factory, Outlets, Plan, Refused, Running,
    Stability, Stage, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Signal};

const ALL: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

/// The registry's entry.
pub struct AlertsFactory;

impl Factory for AlertsFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Connector
    }

    fn type_name(&self) -> &'static str {
        "alerts"
    }

    fn signals(&self) -> &'static [Signal] {
        &ALL
    }

    fn stability(&self) -> Stability {
        Stability::Development
    }

    fn summary(&self) -> &'static str {
        "Alert rules at the end of pipelines; alerts leave as log records and as the series ALERTS."
    }

    fn example(&self) -> &'static str {
        "packs: {dynamodb: {}}\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let settings = Settings::read(section)?;
        Some(Plan::Connector(Box::new(AlertsPlan { settings })))
    }
}

struct AlertsPlan {
    settings: Settings,
}

impl ConnectorPlan for AlertsPlan {
    fn emits(&self, _from: Signal) -> &'static [Signal] {
        &[Signal::Logs, Signal::Metrics]
    }

    fn build(&self, context: BuildContext, next: Outlets) -> Result<BuiltConnector, StartError> {
        let runtime = Runtime::of(&self.settings, &context);
        runtime.lead_to(next);
        let ear: Arc<dyn Stage> = Arc::new(Ear(Arc::clone(&runtime)));
        Ok(BuiltConnector {
            stages: ALL.into_iter().map(|signal| (signal, Arc::clone(&ear))).collect(),
            running: runtime as Arc<dyn Running>,
        })
    }
}

struct Ear(Arc<Runtime>);

impl Stage for Ear {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            self.0.take(batch);
            Ok(())
        })
    }
}
