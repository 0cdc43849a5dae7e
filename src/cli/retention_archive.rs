//! `radiosonde retention check --once --archive`: one run of the agent's own check, made now and by this process. What is
//! due or at risk and has no complete copy is fetched, the oldest first and inside the budget of the day, and given to
//! `archive_pipeline`; what its exporters acknowledge is in the ledger.
//!
//! It goes on with the agent's lists, ledger and budget, so the agent must not run meanwhile: the state directory is
//! locked. The graph runs with the one pipeline that is fed and what stands behind it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::retention_restore::{DRAIN, Source, component, only};
use super::run::state_dir::StateDir;
use crate::component::{
    BuildContext, BuiltProcessor, ComponentId, ComponentKind, DeliveryObserver, Outlet, Plan, Processor, ProcessorPlan,
    Refused, Removed, StartError,
};
use crate::graph::checked::{Checked, CheckedComponent};
use crate::graph::{Graph, Host};
use crate::pdata::{Batch, Signal};
use crate::queue;
use crate::retention::auditor::report::Report;
use crate::retention::runtime::Runtime;
use crate::retention::settings::Settings;

/// Stands for the `span_retention` of the configuration: its ledger is told of deliveries, and it has no schedule.
#[derive(Clone)]
struct Watching {
    settings: Arc<Settings>,
    runtime: Arc<Mutex<Option<Arc<Runtime>>>>,
}

struct Pass;

impl Processor for Pass {
    fn process_noting(&self, batch: Batch, _removed: &mut Removed) -> Result<Option<Batch>, Refused> {
        Ok(Some(batch))
    }
}

impl ProcessorPlan for Watching {
    fn build(&self, _context: BuildContext, _signal: Signal, _next: Outlet) -> Result<BuiltProcessor, StartError> {
        Ok(BuiltProcessor::Pure(Arc::new(Pass)))
    }

    fn observes(&self) -> Vec<(String, ComponentId)> {
        self.settings.observed()
    }

    fn observer(&self, context: BuildContext, exporter: &ComponentId) -> Result<Arc<dyn DeliveryObserver>, StartError> {
        let runtime = Runtime::of(&self.settings, &context)?;
        let observer = runtime.observer(exporter);
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
        Ok(observer)
    }
}

/// The configuration's settings, with the action `archive` for all that is due.
fn archiving(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    settings.on_due.archive = true;
    settings.on_at_risk.archive = true;
    settings
}

/// One run of the processor `id`.
///
/// # Errors
/// Why nothing could be done.
pub async fn run(id: &str, settings: &Settings, checked: Checked, state_dir: &Path) -> Result<Report, String> {
    let pipeline = settings.archive_pipeline.as_deref();
    let pipeline = pipeline.ok_or_else(|| format!("{id}: `--archive` needs an `archive_pipeline`"))?;
    let mut checked = only(checked, pipeline)?;
    let settings = Arc::new(archiving(settings));
    let mut ends = checked.pipelines.iter().flat_map(|pipeline| &pipeline.exporters);
    if !ends.any(|end| settings.observed().iter().any(|(_, observed)| observed == end)) {
        return Err(format!(
            "{id}: no exporter of \"{pipeline}\" is named by a ledger: nobody could tell what was archived"
        ));
    }
    let lock = StateDir::open(state_dir).map_err(|error| {
        format!("{error}: while the agent runs it archives itself, with `on_due` and `on_at_risk: [archive]`")
    })?;
    let id = ComponentId::new(id);
    let source = Source::default();
    let watching = Watching {
        settings,
        runtime: Arc::default(),
    };
    let is_ours = |component: &Arc<CheckedComponent>| component.kind == ComponentKind::Processor && component.id == id;
    checked.components.retain(|component| !is_ours(component));
    checked.components.push(component(&source));
    checked.components.push(Arc::new(CheckedComponent {
        kind: ComponentKind::Processor,
        id: id.clone(),
        plan: Plan::Processor(Box::new(watching.clone())),
        fingerprint: 0,
    }));
    if let Some(fed) = checked.pipelines.first_mut() {
        fed.processors.insert(0, id);
    }
    let mut host = Host::default();
    host.state = queue::state::open(Some(&lock.path), &host.registry);
    host.state_dir = Some(lock.path.clone());
    let graph = Graph::start(host, &checked).await.map_err(|error| error.to_string())?;
    let runtime = watching.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
    let report = match (runtime, source.outlet()) {
        (Some(runtime), Some(outlet)) => runtime
            .run_now(outlet)
            .await
            .map_err(|error| format!("the ledger cannot be written: {error}")),
        _ => Err(format!("the pipeline \"{pipeline}\" takes no traces")),
    };
    graph.stop(std::time::Duration::ZERO, DRAIN).await;
    report
}
