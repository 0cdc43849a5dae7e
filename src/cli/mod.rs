//! Arguments, runtime, exit codes.
//!
//! One binary under three names: `radiosonde`, and inside the container image `/awscollector` (runs, with the exit codes
//! and the environment of that image) and `/healthcheck`.

mod args;
#[cfg(feature = "aws")]
mod aws;
mod client;
mod colour;
#[cfg(all(feature = "aws", feature = "simulator"))]
mod demo;
mod describe;
mod dev;
mod extracfg;
mod healthcheck;
mod output;
#[cfg(feature = "aws")]
mod plan;
#[cfg(feature = "aws")]
mod plan_xray;
mod queue;
#[cfg(feature = "aws")]
mod retention;
#[cfg(feature = "aws")]
mod retention_archive;
#[cfg(feature = "aws")]
mod retention_restore;
mod rules;
pub mod run;
#[cfg(all(feature = "aws", feature = "simulator"))]
mod simulator;
pub mod status;
#[cfg(test)]
mod tests;
mod tools;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;

use self::args::{Cli, Command, ConfigArgs, RunArgs};
use self::run::{Load, RunOptions};
use crate::components::REGISTRY;
use crate::config::types::GoDuration;
use crate::config::{Document, Environment, Inputs, ProcessEnvironment};
use crate::graph::checked;

/// The variable that replaces every `--config` and `--set` in the container image.
const CONFIG_CONTENT: &str = "AOT_CONFIG_CONTENT";

/// The name the binary was called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Radiosonde,
    /// The entry point of the container image that AWS publishes.
    AwsCollector,
    HealthCheck,
}

/// How the binary was called.
#[derive(Clone, Copy, Debug)]
struct Invocation {
    mode: Mode,
}

impl Invocation {
    fn from_name(name: Option<&OsString>) -> Self {
        let stem = name.and_then(|name| Path::new(name).file_stem());
        let mode = match stem.and_then(|stem| stem.to_str()) {
            Some("awscollector") => Mode::AwsCollector,
            Some("healthcheck") => Mode::HealthCheck,
            _ => Mode::Radiosonde,
        };
        Self { mode }
    }

    /// The container image knows 0 and 1 only.
    fn exit(self, code: u8) -> ExitCode {
        match self.mode {
            Mode::AwsCollector if code != 0 => ExitCode::FAILURE,
            _ => ExitCode::from(code),
        }
    }

    fn inputs(self, args: &ConfigArgs, environment: &dyn Environment) -> Inputs {
        let content = match self.mode {
            Mode::AwsCollector => environment.variable(CONFIG_CONTENT),
            Mode::Radiosonde | Mode::HealthCheck => None,
        };
        Inputs {
            uris: args.config.clone(),
            sets: args.set.clone(),
            content: content.map(|text| (CONFIG_CONTENT.to_string(), text)),
            gates: args.feature_gates.clone(),
        }
    }
}

/// Does what the arguments of the process say.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let invocation = Invocation::from_name(args.first());
    if invocation.mode == Mode::HealthCheck {
        let rest: Vec<String> = args
            .iter()
            .skip(1)
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        return healthcheck::run(&rest);
    }
    #[cfg(feature = "aws")]
    let is_check =
        args.get(1).is_some_and(|first| first == "retention") && args.get(2).is_some_and(|second| second == "check");
    let cli = match Cli::of_process(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors and go to stdout. A closed pipe is nobody's fault.
            let _ = error.print();
            #[cfg(feature = "aws")]
            if is_check && error.exit_code() != 0 {
                // The codes of monitoring plug-ins, in which 2 is critical.
                return ExitCode::from(retention::EXIT_UNKNOWN);
            }
            return invocation.exit(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment = ProcessEnvironment;
    let level = match invocation.mode {
        Mode::AwsCollector => match extra_level(Path::new(extracfg::PATH), &args) {
            Ok(level) => level,
            Err(()) => return ExitCode::FAILURE,
        },
        Mode::Radiosonde | Mode::HealthCheck => None,
    };
    match cli.command {
        None => start(cli.run, invocation, level),
        Some(Command::Run(args)) => start(args, invocation, level),
        Some(Command::Validate(args)) => describe::validate(&args, &invocation, &environment, REGISTRY),
        Some(Command::PrintConfig(args)) => describe::print_config(&args, &invocation, &environment, REGISTRY),
        Some(Command::Components { format }) => describe::components(format, REGISTRY),
        Some(Command::Version) => describe::version(),
        Some(Command::Dev(args)) => dev::dev(&args),
        Some(Command::Query(args)) => tools::run(tools::query(&args)),
        Some(Command::Tail(args)) => tools::run(tools::tail(&args)),
        Some(Command::Tap(args)) => tools::run(tools::tap(&args)),
        Some(Command::Top(args)) => tools::run(tools::top(&args)),
        Some(Command::Wait(args)) => tools::run(tools::wait(&args)),
        Some(Command::Diff(args)) => tools::run(tools::diff(&args)),
        Some(Command::Export(args)) => tools::run(tools::export(&args)),
        Some(Command::Import(args)) => tools::run(tools::import(&args)),
        Some(Command::Send(args)) => tools::run(tools::send(&args)),
        Some(Command::Doctor(args)) => tools::run(tools::doctor(&args)),
        Some(Command::Mcp(args)) => tools::run(tools::mcp(&args)),
        Some(Command::Completion { shell }) => describe::completion(shell),
        #[cfg(all(feature = "aws", feature = "simulator"))]
        Some(Command::Demo(args)) => demo::demo(&args),
        #[cfg(all(feature = "aws", feature = "simulator"))]
        Some(Command::Simulator(args)) => simulator::simulator(&args),
        #[cfg(feature = "aws")]
        Some(Command::Aws(args::AwsCommand::Plan { config, format })) => {
            plan::print(&invocation.inputs(&config, &environment), &environment, format)
        }
        #[cfg(feature = "aws")]
        Some(Command::Aws(args::AwsCommand::IamPolicy { config })) => {
            aws::print_iam_policy(&invocation.inputs(&config, &environment), &environment)
        }
        #[cfg(feature = "aws")]
        Some(Command::Retention(args::RetentionCommand::Restore(args))) => {
            let inputs = invocation.inputs(args.config(), &environment);
            retention_restore::restore(&args, &inputs, &environment)
        }
        Some(Command::Queue(command)) => queue::queue(&command),
        #[cfg(feature = "aws")]
        Some(Command::Retention(args::RetentionCommand::Check(args))) => {
            let inputs = invocation.inputs(&args.config, &environment);
            retention::check(&args, &inputs, &environment)
        }
        Some(Command::Rules(command)) => rules::rules(&command, &environment),
        Some(Command::Status { endpoint, format }) => status::status(&endpoint, format),
    }
}

/// `30s`, `1m30s`, or plain seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let reader: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    GoDuration::deserialize(reader)
        .map(|duration| duration.0)
        .map_err(|error| error.to_string())
}

/// Takes over what `extracfg.txt` says, and gives its log level. An error has been said.
fn extra_level(path: &Path, args: &[OsString]) -> Result<Option<String>, ()> {
    let say = |text: std::fmt::Arguments<'_>| output::stderr(&format!("{}: {text}\n", path.display()));
    let extra = match extracfg::read(path) {
        Ok(Some(extra)) => extra,
        Ok(None) => return Ok(None),
        Err(error) => {
            say(format_args!("{error}"));
            return Err(());
        }
    };
    extracfg::take_over(&extra.variables, args)
        .map_err(|error| say(format_args!("its variables cannot be set: {error}")))?;
    for (line, why) in &extra.unread {
        say(format_args!("line {line} is not read: {why}"));
    }
    Ok(extra.level)
}

/// `run`, until a signal ends it. `level`: of the agent's log, where the configuration's `--set` does not say it.
fn start(args: RunArgs, invocation: Invocation, level: Option<String>) -> ExitCode {
    let mut inputs = invocation.inputs(&args.config, &ProcessEnvironment);
    if let Some(level) = level {
        inputs.sets.insert(0, format!("service.telemetry.logs.level={level}"));
    }
    let uris = match &inputs.content {
        Some((name, _)) => vec![format!("env:{name}")],
        None => inputs.uris.clone(),
    };
    let load: Load = Box::new(move || {
        let document = Document::load(&inputs, &ProcessEnvironment)?;
        checked::check(&document, REGISTRY)
    });
    run::run(RunOptions {
        state_dir: args.state_dir,
        compat_metrics: args.compat_metrics,
        invalid_config: match invocation.mode {
            Mode::AwsCollector => 1,
            Mode::Radiosonde | Mode::HealthCheck => run::EXIT_CONFIG,
        },
        ..RunOptions::new(load, uris)
    })
}
