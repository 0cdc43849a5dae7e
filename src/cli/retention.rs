//! `radiosonde retention check --once`: one check of what X-Ray will forget, for people, cron jobs and monitoring. It reads
//! only: no write to X-Ray, an archive, the ledger or the agent's state. The agent may run meanwhile. With `--archive` it
//! does what the agent would do (`retention_archive.rs`).
//!
//! Exit codes are those of monitoring plug-ins: 0 ok, 1 warning, 2 critical, 3 unknown, also for wrong usage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::args::{ConfigArgs, Format};
use super::output;
use crate::aws::Access;
use crate::component::{BuildContext, Clock, ComponentKind, MemoryState, SystemClock};
use crate::components::REGISTRY;
use crate::config::{Document, Environment, Inputs, Section};
use crate::graph::checked;
use crate::queue::fs::{Aside, Fs, RealFs};
use crate::retention::auditor::books::Books;
use crate::retention::auditor::report::Report;
use crate::retention::auditor::telemetry::Telemetry;
use crate::retention::auditor::{Auditor, Shard};
use crate::retention::runtime::{opened, sides_of};
use crate::retention::settings::Settings;

/// Exit code where nothing can be said.
pub const EXIT_UNKNOWN: u8 = 3;
const TYPE: &str = "span_retention";
const NO_STATE_DIR: &str = "the ledger is in the agent's state directory: name it with `--state-dir`";

/// `retention check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// One check, and its result as the exit code.
    #[arg(long, required = true)]
    pub once: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Where the agent keeps its ledger.
    #[arg(long, env = "RADIOSONDE_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Archive what is due or at risk, oldest first, inside the budget: one run of the agent's check, while it is stopped.
    #[arg(long)]
    pub archive: bool,
}

/// Does what the arguments say.
pub fn check(args: &CheckArgs, inputs: &Inputs, environment: &dyn Environment) -> ExitCode {
    match checked_once(args, inputs, environment) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            output::stderr(&format!("{message}\n"));
            ExitCode::from(EXIT_UNKNOWN)
        }
    }
}

fn checked_once(args: &CheckArgs, inputs: &Inputs, environment: &dyn Environment) -> Result<u8, String> {
    let document = Document::load(inputs, environment).map_err(|problems| problems.to_string())?;
    let valid = checked::check(&document, REGISTRY).map_err(|problems| problems.to_string())?;
    let state_dir = args.state_dir.clone().or(valid.service.state_directory);
    // Read again: what a check has taken is taken.
    let document = Document::load(inputs, environment).map_err(|problems| problems.to_string())?;
    let processors = settings_of(&document)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let mut reports = BTreeMap::new();
    for (id, settings) in processors {
        if args.archive {
            let Some(state_dir) = &state_dir else {
                return Err(NO_STATE_DIR.to_owned());
            };
            let document = Document::load(inputs, environment).map_err(|problems| problems.to_string())?;
            let valid = checked::check(&document, REGISTRY).map_err(|problems| problems.to_string())?;
            let report = runtime.block_on(super::retention_archive::run(&id, &settings, valid, state_dir));
            reports.insert(id, (report?, settings));
            continue;
        }
        let scratch = std::env::temp_dir().join(format!("radiosonde-retention-{:016x}", RealFs.unique()));
        let report = runtime.block_on(look(&id, &settings, state_dir.as_deref(), &scratch));
        let _ = std::fs::remove_dir_all(&scratch);
        reports.insert(id, (report?, settings));
    }
    let codes: Vec<u8> = reports
        .values()
        .map(|(report, settings)| report.exit_code(settings.exit_code))
        .collect();
    let code = [2, 3, 1].into_iter().find(|code| codes.contains(code)).unwrap_or(0);
    match args.format {
        Format::Json => {
            let shown: BTreeMap<&str, _> = reports
                .iter()
                .map(|(id, (report, _))| (id.as_str(), report.to_json()))
                .collect();
            output::json(&json!({"exit_code": code, "processors": shown}));
        }
        Format::Text => {
            for (id, (report, _)) in &reports {
                let heading = if reports.len() > 1 {
                    format!("{id}\n")
                } else {
                    String::new()
                };
                output::text(&format!("{heading}{}", report.to_text()));
            }
        }
    }
    Ok(code)
}

fn settings_of(document: &Document) -> Result<Vec<(String, Arc<Settings>)>, String> {
    let sections = document.root().take("processors");
    let mut found = Vec::new();
    for key in sections.iter().flat_map(Section::keys) {
        if key.split('/').next() != Some(TYPE) {
            continue;
        }
        let section = sections.as_ref().and_then(|sections| sections.take(&key));
        let settings = section.as_ref().and_then(Settings::read);
        let settings = settings.ok_or_else(|| document.problems().to_string())?;
        found.push((key, Arc::new(settings)));
    }
    if found.is_empty() {
        return Err(format!(
            "the configuration has no processor `{TYPE}`: nothing says what is to be kept"
        ));
    }
    Ok(found)
}

async fn look(id: &str, settings: &Arc<Settings>, state_dir: Option<&Path>, scratch: &Path) -> Result<Report, String> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let Some(state_dir) = state_dir else {
        return Err(NO_STATE_DIR.to_owned());
    };
    fs.create_dir(scratch)
        .map_err(|error| format!("{}: {error}", scratch.display()))?;
    let sides = sides_of(settings, state_dir, &fs, true);
    let sides = sides
        .map_err(|error| format!("{}: {error}", state_dir.display()))?
        .sides;
    let context = BuildContext::standalone(ComponentKind::Processor, id);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sides = opened(settings, sides, &clock).await;
    let access = Access::load(settings.access.clone(), Arc::clone(&clock)).await;
    let mut shards = Vec::new();
    for place in access.places() {
        shards.push(Shard::open(&access, &place, settings, &context).await);
    }
    let auditor = Auditor {
        id: id.to_owned(),
        settings: Arc::clone(settings),
        clock,
        sides,
        books: Books::new(Arc::new(MemoryState::default()), id),
        telemetry: Telemetry::new(&context.instruments),
        awaited: Arc::default(),
        outlet: None,
        lists: scratch.to_owned(),
        watchlist: Arc::default(),
        scratch: Some(scratch.to_owned()),
        aside: Aside(fs),
        quit: CancellationToken::new(),
        #[cfg(test)]
        said: std::sync::Mutex::default(),
    };
    Ok(auditor.run(&shards).await)
}
