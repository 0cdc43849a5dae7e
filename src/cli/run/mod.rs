//! `radiosonde run`: the production agent from start to exit.
//!
//! Exit codes: 0 after an orderly stop, 1 when something could not start, 78 for an invalid configuration, 130 when a
//! second signal cut the stop short or the first came before the start was over.

mod limits;
mod service;
mod signals;
pub(super) mod state_dir;

pub(super) use self::service::{Service, StartFailure};
pub(super) use self::signals::{Signal, Signals};

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::output;
use crate::admin::Pages;
use crate::component::{Clock, Commons, SystemClock};
use crate::config::Problems;
use crate::graph::checked::Checked;

/// Exit code of an invalid configuration (sysexits' EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;
/// Exit code of a stop that was cut short.
const EXIT_INTERRUPTED: u8 = 130;

/// Reads the configuration, at the start and again on SIGHUP. The error is every problem.
pub type Load = Box<dyn Fn() -> Result<Checked, Problems> + Send + Sync>;

/// What the command line asks for.
pub struct RunOptions {
    pub load: Load,
    /// The configuration's URIs: they name the spill directory.
    pub uris: Vec<String>,
    /// `--state-dir`; before RADIOSONDE_STATE_DIR and `service::state_directory`.
    pub state_dir: Option<PathBuf>,
    /// `--compat-metrics`: counters under their names with and without suffixes.
    pub compat_metrics: bool,
    /// Exit code of an invalid configuration: [`EXIT_CONFIG`], and 1 where the Collector's codes are expected.
    pub invalid_config: u8,
    /// The time that components live by.
    pub clock: Arc<dyn Clock>,
    /// What components share, for whoever wants to look at it from outside.
    pub commons: Commons,
    /// The pages of `dev`; `run` has none.
    pub pages: Option<Pages>,
}

impl RunOptions {
    /// What `run` does with a configuration.
    pub fn new(load: Load, uris: Vec<String>) -> Self {
        Self {
            load,
            uris,
            state_dir: None,
            compat_metrics: false,
            invalid_config: EXIT_CONFIG,
            clock: Arc::new(SystemClock),
            commons: Commons::default(),
            pages: None,
        }
    }
}

/// Runs until a signal ends it.
pub fn run(options: RunOptions) -> ExitCode {
    let checked = match (options.load)() {
        Ok(checked) => checked,
        Err(problems) => {
            say(&[problems.to_string()]);
            return ExitCode::from(options.invalid_config);
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&[format!("cannot start the runtime: {error}")]);
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(options, checked));
    // Whatever still blocks (a name that is being resolved) must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

/// One thread where there is one processor: nothing to hand over then. Worker threads grow their stacks only by use.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    let threads = limits::worker_threads();
    let mut builder = if threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .thread_name("radiosonde")
        .max_blocking_threads(16)
        // Each that waits for work has a heap of its own; they are needed at the start, and rarely afterwards.
        .thread_keep_alive(Duration::from_secs(1))
        .build()
}

async fn serve(options: RunOptions, checked: Checked) -> ExitCode {
    let started = Instant::now();
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            say(&[format!("cannot listen for signals: {error}")]);
            return ExitCode::FAILURE;
        }
    };
    let starting = Service::start(&options, checked, started);
    tokio::pin!(starting);
    let service = loop {
        tokio::select! {
            service = &mut starting => break service,
            signal = signals.next() => if signal != Signal::Reload { return ExitCode::from(EXIT_INTERRUPTED) },
        }
    };
    let mut service = match service {
        Ok(service) => service,
        Err(StartFailure::BeforeLogs(message)) => {
            say(&[message]);
            return ExitCode::FAILURE;
        }
        Err(StartFailure::AfterLogs(message)) => {
            error!(error = %message, "The agent could not start.");
            return ExitCode::FAILURE;
        }
    };
    info!("Everything is ready. Begin running and processing data.");
    loop {
        match signals.next().await {
            Signal::Stop(name) => {
                info!(signal = name, "Starting shutdown...");
                break;
            }
            Signal::Reload => reload(&mut service, &options).await,
        }
    }
    let stopping = service.stop();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            () = &mut stopping => break,
            signal = signals.next() => if let Signal::Stop(name) = signal {
                warn!(signal = name, "A second signal: ending at once.");
                return ExitCode::from(EXIT_INTERRUPTED);
            },
        }
    }
    info!("Shutdown complete.");
    ExitCode::SUCCESS
}

/// Goes over to what the configuration says now; an invalid one changes nothing.
async fn reload(service: &mut Service, options: &RunOptions) {
    info!("Reloading the configuration.");
    match (options.load)() {
        Ok(checked) => service.reload(checked).await,
        Err(problems) => {
            service.stays_with_the_old_one();
            for problem in problems.lines() {
                error!(%problem, "The new configuration is invalid. Running on with the old one.");
            }
        }
    }
}

/// To stderr, before there is a log.
fn say(lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    output::stderr(&text);
}
