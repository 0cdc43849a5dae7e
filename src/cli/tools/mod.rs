//! Commands that ask a running agent: `query`, `tail`, `wait`, `diff`, `send`, `doctor`, `mcp`, `top`, `tap`.
//!
//! All of them are clients of the HTTP API, as the page is: they give its numbers.

mod diff;
mod doctor;
mod exchange;
mod jaeger;
mod mcp;
mod query;
mod send;
mod show;
mod table;
mod tail;
mod tap;
mod top;
mod wait;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

pub use diff::{DiffArgs, diff};
pub use doctor::{DoctorArgs, doctor};
pub use exchange::{ExportArgs, ImportArgs, export, import};
pub use mcp::{McpArgs, mcp};
pub use query::{QueryArgs, query};
pub use send::{SendArgs, send};
pub use tail::{TailArgs, tail};
pub use tap::{TapArgs, tap};
pub use top::{TopArgs, top};
pub use wait::{WaitArgs, wait};

use super::client::ApiError;
use super::output;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
    /// A record a line.
    Jsonl,
    /// A Markdown table.
    Md,
}

/// Which time is looked at.
#[derive(Args, Clone, Debug, Default)]
pub struct WindowArgs {
    /// From then on: -15m, RFC 3339, or a unix time in s, ms, us or ns.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Until then.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Everything that is stored, and not only the last 15 minutes.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub all: bool,
}

impl WindowArgs {
    /// As the API takes it.
    pub fn from(&self) -> &str {
        match (&self.from, self.all) {
            (Some(from), _) => from,
            (None, true) => "",
            (None, false) => "-15m",
        }
    }

    pub fn to(&self) -> &str {
        self.to.as_deref().unwrap_or_default()
    }
}

/// Why a command ended otherwise than well.
#[derive(Debug)]
pub struct Failed {
    pub code: u8,
    /// Empty where everything has been said.
    pub message: String,
}

impl Failed {
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Runs a command; its failure goes to standard error. Ctrl-C ends it with 130.
pub fn run(work: impl Future<Output = Result<u8, Failed>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&Failed::new(1, format!("cannot start the runtime: {error}"))),
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = work => result,
            _ = tokio::signal::ctrl_c() => Err(Failed::new(130, "")),
        }
    });
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failed) => complain(&failed),
    }
}

fn complain(failed: &Failed) -> ExitCode {
    if !failed.message.is_empty() {
        output::stderr(&format!("{}\n", failed.message));
    }
    ExitCode::from(failed.code)
}
