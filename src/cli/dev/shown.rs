//! What the flags make of the view: its mode, its filter, the copy of what comes in, how a finding is told.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use super::{StreamFormat, ViewArgs, ViewMode};
use crate::cli::output;
use crate::component::Watch;
use crate::dev::lints::{Finding, Severity};
use crate::dev::terminal::text::{Ink, Style, harmless};
use crate::dev::terminal::{Mode, Wanted};

/// `▲ slow-vs-baseline  GET /quote p95 210ms, ...  radiosonde query trace a41c77e0`
pub fn finding_line(finding: &Finding, style: Style) -> Option<String> {
    // These show in the trees themselves.
    if matches!(finding.rule, "error-span" | "n-plus-one" | "orphan-span") {
        return None;
    }
    let ink = match finding.severity {
        Severity::Critical => Ink::Red,
        Severity::Warning => Ink::Yellow,
        Severity::Info => Ink::Dim,
    };
    let mark = style.paint(&format!("{} {}", style.warning_mark(), finding.rule), ink);
    let title = harmless(&finding.title);
    let trace = finding
        .evidence
        .first()
        .and_then(|evidence| evidence.trace_id.as_deref());
    let how = match trace.and_then(|trace| trace.get(..8)) {
        Some(trace) => format!("radiosonde query trace {trace}"),
        None => harmless(&finding.fix),
    };
    Some(format!("{mark}  {title}  {}", style.paint(&how, Ink::Dim)))
}

/// A dumb terminal cannot go back.
pub fn style_redraws() -> bool {
    std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb")
}

pub fn mode_of(view: &ViewArgs) -> Mode {
    match view.view {
        _ if view.quiet || view.format == StreamFormat::Jsonl && view.output.is_none() => Mode::Nothing,
        ViewMode::Tree => Mode::Tree,
        ViewMode::Line => Mode::Line,
        ViewMode::None => Mode::Nothing,
    }
}

pub fn filter_of(view: &ViewArgs) -> Result<Option<Wanted>, String> {
    match &view.filter {
        Some(text) => wanted_of(text).map_err(|problem| format!("--filter: {problem}")),
        None => Ok(None),
    }
}

/// What a filter lets through.
pub fn wanted_of(text: &str) -> Result<Option<Wanted>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    crate::dev::filter::wanted(text).map(Some)
}

/// Shows a page in the browser. Without one nothing happens.
pub fn open_page(link: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = std::process::Command::new(program)
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        output::stderr(&format!("cannot open {link}: {program}: {error}\n"));
    }
}

pub fn copy_target(view: &ViewArgs) -> Result<Box<dyn Write + Send>, String> {
    match &view.output {
        None => Ok(Box::new(std::io::stdout())),
        Some(path) => {
            let file = File::create(path).map_err(|error| format!("--output {}: {error}", path.display()))?;
            Ok(Box::new(file))
        }
    }
}

/// Every request as a line of OTLP/JSON.
pub async fn copy(mut watch: Watch, mut out: Box<dyn Write + Send>) {
    while let Some(fresh) = watch.next().await {
        let written = tokio::task::spawn_blocking(move || {
            let mut line = match fresh.batch.to_json() {
                Ok(line) => line,
                // What cannot be written as JSON is in the store all the same.
                Err(_) => return Some(out),
            };
            line.push(b'\n');
            let is_written = out.write_all(&line).and_then(|()| out.flush()).is_ok();
            is_written.then_some(out)
        });
        match written.await {
            Ok(Some(again)) => out = again,
            // A reader that has gone away ends the copy, and nothing else.
            Ok(None) | Err(_) => return,
        }
    }
}
