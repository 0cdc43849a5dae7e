//! `radiosonde rules`: checks rule files, runs their tests, explains what fires.
//!
//! Exit codes: 0 all is well, 1 something is wrong with a rule or a test failed, 2 a file cannot be read.

mod check;
mod explain;
#[cfg(feature = "aws")]
mod export;
mod test;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::args::Format;
use super::output;
use crate::alert::rules::{Reading, read};
use crate::config::Environment;

const EXIT_WRONG: u8 = 1;
const EXIT_UNREADABLE: u8 = 2;

/// `rules`.
#[derive(Clone, Debug, Subcommand)]
pub enum RulesCommand {
    /// Check rule files: every expression, what AWS does not have, what nobody could act on.
    Check(CheckArgs),
    /// Run test files in promtool's format.
    Test(TestArgs),
    /// Ask a running agent why an alert fires or does not: every part of its expression, points, sources.
    Explain(Box<explain::ExplainArgs>),
    /// Write rules in the form of Prometheus, Alertmanager, CloudFormation or Terraform.
    ///
    /// What the target cannot say is listed on stderr and in the output. Exit codes: 0 written, 1 a file or a parameter is
    /// wrong.
    #[cfg(feature = "aws")]
    Export(export::ExportArgs),
}

/// `rules check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Rule files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A placeholder in the place of a contact is an error too.
    #[arg(long)]
    strict: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// `rules test`.
#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// Test files; the rule files they name are found beside them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Does what the arguments say.
pub fn rules(command: &RulesCommand, environment: &dyn Environment) -> ExitCode {
    match command {
        RulesCommand::Check(args) => check::check(args, environment),
        RulesCommand::Test(args) => test::test(args, environment),
        RulesCommand::Explain(args) => super::tools::run(explain::explain(args)),
        #[cfg(feature = "aws")]
        RulesCommand::Export(args) => export::export(args),
    }
}

/// Reads a rule file; tells where it cannot be read.
fn rule_file(path: &Path, environment: &dyn Environment) -> Option<Reading> {
    let text = text_of(path)?;
    Some(read(&path.display().to_string(), &text, environment))
}

fn text_of(path: &Path) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            output::stderr(&format!("{}: {error}\n", path.display()));
            None
        }
    }
}
