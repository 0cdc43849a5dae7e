//! `radiosonde dev`: a local collector, its store, its page and a view in the terminal, by one command. `dev -- CMD` runs
//! an application with its environment set and passes its exit code on.
//!
//! The engine is that of `run`: the preset goes through the same loader, checks and graph.

mod banner;
pub mod child;
mod command;
pub mod keys;
pub mod plan;
mod session;
mod shown;
mod watching;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

pub use self::banner::number;
use self::child::EXIT_OURS;
use self::plan::{Addresses, inputs, load};
use super::colour::Colour;
use super::{output, run};
use crate::config::{Document, Inputs};
use crate::graph::checked::Checked;

/// `dev`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "Examples:\n  radiosonde dev\n  radiosonde dev -- python app.py\n  \
    radiosonde dev --fail-on 'status=error' -- pytest -q\n\n\
    Exit codes with a command: its own; 128+n after signal n; 126 it cannot be run; 127 it is not found; \
    125 radiosonde failed first; 1 where --fail-on found something.")]
pub struct DevArgs {
    /// Merged over the preset: a file, env:NAME or yaml:TEXT.
    #[arg(short, long = "config", value_name = "URI")]
    pub config: Vec<String>,
    /// Print the configuration that would run, secrets redacted, and end.
    #[arg(long)]
    pub print_config: bool,
    /// Where OTLP/gRPC is taken (either protocol works on either port).
    #[arg(long, value_name = "HOST:PORT")]
    pub otlp_grpc: Option<String>,
    /// Where OTLP/HTTP is taken.
    #[arg(long, value_name = "HOST:PORT")]
    pub otlp_http: Option<String>,
    /// Where the page and the API are; on another address than this machine's own they need a token, which is shown.
    #[arg(long, value_name = "HOST:PORT")]
    pub ui: Option<String>,
    /// Added to the ports 4317, 4318 and 4320.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port_offset: u16,
    /// `auto` takes free ports where these are taken.
    #[arg(long, value_enum)]
    pub port: Option<PortChoice>,
    /// Memory of the store; the oldest goes first.
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Keeps what is stored in this folder; otherwise nothing touches the disk.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Another origin whose pages may send, besides those of localhost.
    #[arg(long, value_name = "ORIGIN")]
    pub cors_origin: Vec<String>,
    #[command(flatten)]
    pub view: ViewArgs,
    #[command(flatten)]
    pub command: CommandArgs,
}

/// How the terminal view looks.
#[derive(Args, Clone, Debug, Default)]
pub struct ViewArgs {
    /// What the terminal shows of each trace.
    #[arg(long, value_enum, default_value_t)]
    pub view: ViewMode,
    /// Show only traces that begin with a span of this kind, in the query language: service=cart duration>100ms.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// Show health checks too.
    #[arg(long)]
    pub show_health: bool,
    /// Open the page in the browser.
    #[arg(long)]
    pub open: bool,
    /// Bars and branches in ASCII.
    #[arg(long)]
    pub ascii: bool,
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
    /// Nothing but errors on standard error.
    #[arg(short, long)]
    pub quiet: bool,
    /// `jsonl` writes what comes in as OTLP/JSON, a request a line, to standard output or to --output.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: StreamFormat,
    /// Where --format jsonl goes to.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What is special with a command.
#[derive(Args, Clone, Debug, Default)]
pub struct CommandArgs {
    /// Override endpoints of single signals that point elsewhere, and OTEL_SDK_DISABLED.
    #[arg(long, requires = "cmd")]
    pub force_env: bool,
    /// Stay when the command has ended, until Ctrl-C.
    #[arg(long, requires = "cmd")]
    pub keep: bool,
    /// Exit 1 in place of 0 when something of this run matches.
    #[arg(long, value_name = "QUERY", requires = "cmd")]
    pub fail_on: Option<String>,
    /// Use the `dev` that runs already, at --url.
    #[arg(long, requires = "cmd")]
    pub attach: bool,
    /// The `dev` to attach to.
    #[arg(long, env = "RADIOSONDE_URL", value_name = "URL", default_value = "localhost:4320")]
    pub url: String,
    /// The command, run without a shell.
    #[arg(last = true, value_name = "CMD")]
    pub cmd: Vec<OsString>,
}

impl CommandArgs {
    /// The command in one line, as runs show it.
    fn line(&self) -> String {
        let words: Vec<_> = self.cmd.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}

/// `--port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PortChoice {
    Auto,
}

/// `--view`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ViewMode {
    #[default]
    Tree,
    Line,
    None,
}

/// `--format` of what comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StreamFormat {
    #[default]
    Text,
    Jsonl,
}

/// Why `dev` did not start.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Runs until it is told to stop or the command has ended.
pub fn dev(args: &DevArgs) -> ExitCode {
    if args.print_config {
        return print_config(args);
    }
    let has_command = !args.command.cmd.is_empty();
    if args.view.format == StreamFormat::Jsonl && has_command && args.view.output.is_none() {
        return tell(&Failure::new(
            2,
            "--format jsonl beside a command needs --output FILE: standard output is the command's",
        ));
    }
    if args.view.output.is_some() && args.view.format != StreamFormat::Jsonl {
        return tell(&Failure::new(2, "--output needs --format jsonl"));
    }
    let runtime = match run::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return tell(&Failure::new(1, format!("cannot start the runtime: {error}"))),
    };
    let result = runtime.block_on(async {
        if args.command.attach {
            command::attach(args).await
        } else {
            session::run(args).await
        }
    });
    // Whatever still blocks must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) if has_command && !matches!(failure.code, 2 | 126 | 127) => tell(&Failure {
            code: EXIT_OURS,
            ..failure
        }),
        Err(failure) => tell(&failure),
    }
}

fn tell(failure: &Failure) -> ExitCode {
    output::stderr(&format!("{}\n", failure.message));
    ExitCode::from(failure.code)
}

/// What would run, with the flags in it.
fn print_config(args: &DevArgs) -> ExitCode {
    let addresses = match Addresses::of(args, false) {
        Ok(addresses) => addresses,
        Err(message) => return tell(&Failure::new(2, message)),
    };
    let inputs = inputs(args, &addresses);
    let document = match Document::load(&inputs, &crate::config::ProcessEnvironment) {
        Ok(document) => document,
        Err(problems) => return tell(&Failure::new(1, problems.to_string())),
    };
    document.print_defaults();
    let checked = crate::graph::checked::check(&document, crate::components::REGISTRY);
    output::text(&document.to_yaml());
    match checked {
        Ok(_) => ExitCode::SUCCESS,
        Err(problems) => tell(&Failure::new(1, problems.to_string())),
    }
}

/// The preset, the files and the flags, checked; where it listens, its documents, and its text for the page.
type Planned = (Checked, plan::Listening, Inputs, String);

fn checked_plan(args: &DevArgs, addresses: &Addresses) -> Result<Planned, Failure> {
    let inputs = inputs(args, addresses);
    let (document, checked) = load(&inputs).map_err(|problems| Failure::new(run::EXIT_CONFIG, problems.to_string()))?;
    let listening = plan::Listening::of(&document, &checked);
    let config = document.to_yaml();
    Ok((checked, listening, inputs, config))
}
