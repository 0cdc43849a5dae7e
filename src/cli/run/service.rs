//! The parts of a running agent, put together: logs, state directory, memory, metrics, admin, graph.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::RunOptions;
use super::limits::{self, MemoryGroup};
use super::state_dir::{StateDir, spill_dir};
use crate::admin::{self, Admin};
use crate::component::{ComponentKind, Deadline, Gauge, Instruments, Registry, Running};
use crate::config::Severity;
use crate::config::service::{MemoryLimit, ServiceConfig};
use crate::graph::checked::Checked;
use crate::graph::{Graph, Host};
use crate::net::server::Endpoint;
use crate::pdata::MemoryBudget;
use crate::queue;
use crate::telemetry::{self, Telemetry};

/// Why there is no service.
pub enum StartFailure {
    /// Nobody has been told yet.
    BeforeLogs(String),
    /// The log is there to be told.
    AfterLogs(String),
}

/// How long metrics and admin may take to finish their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A running agent.
pub struct Service {
    graph: Graph,
    config: ServiceConfig,
    telemetry: Telemetry,
    admin: Option<Arc<dyn Running>>,
    memory: MemoryBudget,
    guard: CancellationToken,
    tasks: TaskTracker,
    /// 1 from a reload that failed until one succeeds.
    reload_failed: Gauge,
    /// Held so that nobody else takes it.
    _state: Option<StateDir>,
}

impl Service {
    /// Starts everything; the receivers accept when this returns.
    pub async fn start(options: &RunOptions, checked: Checked, started: Instant) -> Result<Self, StartFailure> {
        let config = checked.service.clone();
        let registry = Registry::default();
        let telemetry = telemetry::start(&config.telemetry, &registry, started, options.compat_metrics)
            .map_err(StartFailure::BeforeLogs)?;
        let reload_failed = Instruments::new(registry.clone(), ComponentKind::Extension, "config").gauge(
            "radiosonde_config_reload_failed",
            "1 while the configuration that runs is an old one because the last reload failed.",
            &[],
        );
        log_warnings(&checked);
        match start_parts(options, config, &checked, registry, started, telemetry).await {
            Ok(service) => Ok(Self {
                reload_failed,
                ..service
            }),
            Err(message) => Err(StartFailure::AfterLogs(message)),
        }
    }

    /// Goes over to another configuration.
    pub async fn reload(&mut self, checked: Checked) {
        log_warnings(&checked);
        if let Err(problem) = self.graph.reload(&checked).await {
            self.reload_failed.set(1.0);
            error!(error = %problem, "The new configuration could not be built. Running on with the old one.");
            return;
        }
        self.reload_failed.set(0.0);
        let next = &checked.service;
        self.telemetry.replace_logs(&next.telemetry.logs);
        self.memory
            .set_limit(budget_of(memory_limit(next.memory.limit, MemoryGroup::find().as_ref())));
        for section in differs_until_restart(&self.config, next) {
            warn!(
                section,
                "This section has changed; that takes effect at the next start."
            );
        }
        self.config.telemetry.logs = next.telemetry.logs.clone();
        self.config.memory.limit = next.memory.limit;
        self.config.shutdown = next.shutdown;
        info!("The configuration has been reloaded.");
    }

    /// Says that the new configuration is not one.
    pub fn stays_with_the_old_one(&self) {
        self.reload_failed.set(1.0);
    }

    /// Stops in order: the graph drains, then the last answers about it are given.
    pub async fn stop(self) {
        let shutdown = &self.config.shutdown;
        self.graph.stop(shutdown.delay, shutdown.grace).await;
        let deadline = Deadline::after(LAST_ANSWERS);
        if let Some(admin) = &self.admin {
            admin.stop(deadline).await;
        }
        self.guard.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.telemetry.stop(deadline).await;
    }
}

fn log_warnings(checked: &Checked) {
    for problem in checked.warnings.iter() {
        let text = checked.warnings.line(problem);
        match problem.severity {
            Severity::Info => info!(config = %text, "A remark on the configuration."),
            Severity::Warning | Severity::Error => {
                warn!(config = %text, "The configuration can be used, but has a trap.")
            }
        }
    }
}

/// Sections that only a start reads, and that are not what they were.
fn differs_until_restart(old: &ServiceConfig, new: &ServiceConfig) -> Vec<&'static str> {
    let mut differing = Vec::new();
    let mut compare = |section: &'static str, same: bool| {
        if !same {
            differing.push(section);
        }
    };
    compare(
        "service::telemetry::metrics",
        old.telemetry.metrics == new.telemetry.metrics,
    );
    compare(
        "service::telemetry::traces",
        old.telemetry.traces == new.telemetry.traces,
    );
    compare(
        "service::telemetry::resource",
        old.telemetry.resource == new.telemetry.resource,
    );
    compare("service::state_directory", old.state_directory == new.state_directory);
    compare(
        "service::memory::admission_wait",
        old.memory.admission_wait == new.memory.admission_wait,
    );
    compare("service::admin", old.admin == new.admin);
    differing
}

async fn start_parts(
    options: &RunOptions,
    config: ServiceConfig,
    checked: &Checked,
    registry: Registry,
    started: Instant,
    mut telemetry: Telemetry,
) -> Result<Service, String> {
    let state = open_state(options, &config)?;
    let is_dev = options.pages.is_some();
    let group = MemoryGroup::find();
    let memory = MemoryBudget::new(budget_of(memory_limit(config.memory.limit, group.as_ref())));
    let guard = CancellationToken::new();
    let tasks = TaskTracker::new();
    if let Some(group) = group {
        tasks.spawn(limits::guard(group, memory.clone(), guard.clone()));
    }
    let spill = match &state {
        Some(_) => None,
        // Of a developer's machine nothing is written that was not asked for.
        None if is_dev => None,
        None => spill_dir(&options.uris, |name| std::env::var(name).ok()),
    };
    let host = Host {
        clock: Arc::clone(&options.clock),
        commons: options.commons.clone(),
        registry: registry.clone(),
        state: queue::state::open(state.as_ref().map(|state| state.path.as_path()), &registry),
        state_dir: state.as_ref().map(|state| state.path.clone()),
        spill_dir: spill,
        memory: memory.clone(),
        admission_wait: config.memory.admission_wait,
        traced: telemetry.traces_asked_for(),
        ..Host::default()
    };
    telemetry.serve_metrics(&config.telemetry.metrics).await?;
    let api = Admin {
        board: host.status.clone(),
        registry,
        memory: memory.clone(),
        started,
        commons: host.commons.clone(),
        token: config.admin.token.clone(),
        pages: options.pages.clone(),
    };
    let admin = start_admin(&config, api).await?;
    let graph = Graph::start(host, checked).await.map_err(|error| error.to_string())?;
    Ok(Service {
        graph,
        config,
        telemetry,
        admin,
        memory,
        guard,
        tasks,
        reload_failed: Gauge::default(),
        _state: state,
    })
}

fn open_state(options: &RunOptions, config: &ServiceConfig) -> Result<Option<StateDir>, String> {
    let from_environment = || std::env::var_os("RADIOSONDE_STATE_DIR").filter(|path| !path.is_empty());
    let path = options
        .state_dir
        .clone()
        .or_else(|| from_environment().map(PathBuf::from))
        .or_else(|| config.state_directory.clone());
    match path {
        Some(path) => StateDir::open(&path).map(Some).map_err(|error| error.to_string()),
        None if options.pages.is_some() => Ok(None),
        None => {
            warn!(
                "No state directory is configured: queues, cursors, spend and alert state are in memory, and end with \
                 the process. \
                 Set --state-dir, RADIOSONDE_STATE_DIR or service::state_directory."
            );
            Ok(None)
        }
    }
}

async fn start_admin(config: &ServiceConfig, api: Admin) -> Result<Option<Arc<dyn Running>>, String> {
    let endpoint = Endpoint::parse(&config.admin.endpoint)?;
    match admin::serve(endpoint, api).await {
        Ok(server) => Ok(Some(Arc::new(server))),
        Err(error) if config.admin.configured => Err(format!("admin: {error}")),
        Err(error) => {
            warn!(%error, "The admin API is not served.");
            Ok(None)
        }
    }
}

/// What telemetry may use of the process' limit. The rest is for the process itself and for what cannot be foreseen of
/// each request: an eighth, but not less than an idle agent takes with its connections and with what the allocators give back
/// a moment later than it was let go (8 MiB under bodies that inflate without end, 32 at once).
fn budget_of(limit: u64) -> u64 {
    const IDLE: u64 = 24 << 20;
    limit - (limit / 8).max(IDLE.min(limit / 4))
}

/// Bytes. Without any figure of the machine there is no limit to take a share of.
fn memory_limit(limit: MemoryLimit, group: Option<&MemoryGroup>) -> u64 {
    match limit {
        MemoryLimit::Bytes(bytes) => bytes,
        MemoryLimit::Percent(percent) => {
            let whole = group.map(|group| group.limit).or_else(limits::total_memory);
            whole.map_or(u64::MAX, |whole| (whole as f64 * percent / 100.0) as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_a_share_of_the_group_or_what_is_written() {
        assert_eq!(memory_limit(MemoryLimit::Bytes(7), None), 7);
        assert_eq!(budget_of(100 << 20), 76 << 20);
        assert_eq!(budget_of(4 << 30), 3584 << 20);
        assert_eq!(budget_of(8), 6);
        let machine = limits::total_memory().unwrap();
        let half = memory_limit(MemoryLimit::Percent(50.0), None);
        assert!(half.abs_diff(machine / 2) <= 1);
    }

    #[test]
    fn only_what_a_reload_cannot_apply_is_named() {
        let old = ServiceConfig::default();
        let mut new = ServiceConfig::default();
        new.shutdown.grace = Duration::from_secs(1);
        assert!(differs_until_restart(&old, &new).is_empty());
        new.admin.endpoint = "localhost:9999".to_owned();
        assert_eq!(differs_until_restart(&old, &new), ["service::admin"]);
    }
}
