//! `validate`, `print-config`, `components`, `version`: they read and print, and start nothing.

use std::process::ExitCode;

use serde_json::json;

use super::args::{Cli, Format, PrintConfigArgs, ValidateArgs};
use super::{Invocation, output};
use crate::component::Factory;
use crate::config::{Document, Environment, Problems, Severity};
use crate::graph::checked;

/// `validate`: 0 where there is no error, and with `--deny-warnings` no warning either.
pub(super) fn validate(
    args: &ValidateArgs,
    invocation: &Invocation,
    environment: &dyn Environment,
    registry: &[&dyn Factory],
) -> ExitCode {
    let inputs = invocation.inputs(&args.config, environment);
    let result = Document::load(&inputs, environment).and_then(|document| checked::check(&document, registry));
    let problems = match result {
        Ok(checked) => checked.warnings,
        Err(problems) => problems,
    };
    let (errors, warnings) = (problems.count(Severity::Error), problems.count(Severity::Warning));
    let good = errors == 0 && !(args.deny_warnings && warnings > 0);
    match args.format {
        Format::Json => output::json(&as_json(&problems, good)),
        Format::Text => output::stdout(|out| {
            out.write_all(problems.render(true).as_bytes())?;
            match (errors, warnings) {
                (0, 0) => writeln!(out, "the configuration is valid"),
                (0, _) => writeln!(out, "the configuration is valid; warnings: {warnings}"),
                _ => writeln!(out, "errors: {errors}, warnings: {warnings}"),
            }
        }),
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn as_json(problems: &Problems, valid: bool) -> serde_json::Value {
    let mut list = Vec::new();
    for problem in problems.iter() {
        let place = problems.place(problem);
        list.push(json!({
            "severity": problem.severity.name(),
            "file": place.as_ref().map(|place| place.source),
            "line": place.as_ref().map(|place| place.line),
            "column": place.as_ref().map(|place| place.column),
            "path": problem.path,
            "message": problem.message,
        }));
    }
    json!({
        "v": 1,
        "valid": valid,
        "errors": problems.count(Severity::Error),
        "warnings": problems.count(Severity::Warning),
        "problems": list,
    })
}

/// `print-config`: prints what could be read; problems go to stderr.
pub(super) fn print_config(
    args: &PrintConfigArgs,
    invocation: &Invocation,
    environment: &dyn Environment,
    registry: &[&dyn Factory],
) -> ExitCode {
    let inputs = invocation.inputs(&args.config, environment);
    let document = match Document::load(&inputs, environment) {
        Ok(document) => document,
        Err(problems) => {
            output::stderr(&problems.render(true));
            return ExitCode::FAILURE;
        }
    };
    // Checking tells which values are secret, and what the defaults are.
    document.print_defaults();
    let problems = match checked::check(&document, registry) {
        Ok(checked) => checked.warnings,
        Err(problems) => problems,
    };
    match args.format {
        Format::Text => output::stdout(|out| out.write_all(document.to_yaml().as_bytes())),
        Format::Json => output::json(&document.to_json()),
    }
    output::stderr(&problems.render(true));
    if problems.has_errors() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// `components`.
pub(super) fn components(format: Format, registry: &[&dyn Factory]) -> ExitCode {
    let mut sorted: Vec<&&dyn Factory> = registry.iter().collect();
    sorted.sort_by_key(|factory| (factory.kind(), factory.type_name()));
    if format == Format::Json {
        let list: Vec<serde_json::Value> = sorted
            .iter()
            .map(|factory| {
                json!({
                    "kind": factory.kind().name(),
                    "name": factory.type_name(),
                    "aliases": factory.aliases(),
                    "stability": factory.stability().name(),
                    "signals": signals(**factory),
                    "summary": factory.summary(),
                })
            })
            .collect();
        output::json(&json!({"v": 1, "components": list}));
        return ExitCode::SUCCESS;
    }
    output::stdout(|out| {
        let mut kind = None;
        for factory in &sorted {
            if kind != Some(factory.kind()) {
                let gap = if kind.is_some() { "\n" } else { "" };
                writeln!(out, "{gap}{}:", factory.kind().section())?;
                kind = Some(factory.kind());
            }
            let name = match factory.aliases() {
                [] => factory.type_name().to_string(),
                aliases => format!("{} ({})", factory.type_name(), aliases.join(", ")),
            };
            let stability = factory.stability().name();
            let signals = signals(**factory).join(" ");
            writeln!(out, "  {name:<28} {stability:<12} {signals:<20} {}", factory.summary())?;
        }
        Ok(())
    });
    ExitCode::SUCCESS
}

fn signals(factory: &dyn Factory) -> Vec<&'static str> {
    factory
        .signals()
        .iter()
        .map(|signal| checked::signal_name(*signal))
        .collect()
}

/// `completion`.
pub(super) fn completion(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "radiosonde", &mut script);
    output::text(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

/// `version`.
pub(super) fn version() -> ExitCode {
    output::stdout(|out| writeln!(out, "radiosonde {}", env!("CARGO_PKG_VERSION")));
    ExitCode::SUCCESS
}
