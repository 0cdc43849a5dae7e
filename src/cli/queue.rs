//! `radiosonde queue verify|repair|dump`: looks into the logs of durable queues while no agent runs.
//!
//! Exit codes: 0 all is sound, 1 something is damaged or cannot be read, 3 an agent has the queue.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output;
use crate::pdata::Batch;
use crate::queue::fs::{Fs, RealFs};
use crate::queue::log::{Header, OpenError, Report, find_logs, look, repair};

const EXIT_DAMAGED: u8 = 1;
const EXIT_IN_USE: u8 = 3;

/// `queue`.
#[derive(Clone, Debug, Subcommand)]
pub enum QueueCommand {
    /// Read every record of a queue and say what is damaged. Changes nothing.
    Verify(QueueArgs),
    /// Put a queue in order, and note what is lost so that no start counts it again.
    Repair(QueueArgs),
    /// List the records that wait, one a line. Changes nothing.
    Dump(QueueArgs),
}

/// Which queues.
#[derive(Args, Clone, Debug)]
pub struct QueueArgs {
    /// The directory of a `file_storage`, `queue` below a state directory, or one queue in it.
    directory: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
    /// The telemetry itself, one request a line, as the file exporter writes it. For `dump`.
    OtlpJson,
}

/// Does what the arguments say.
pub fn queue(command: &QueueCommand) -> ExitCode {
    let (QueueCommand::Verify(args) | QueueCommand::Repair(args) | QueueCommand::Dump(args)) = command;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let logs = match logs_of(fs.as_ref(), &args.directory) {
        Ok(logs) => logs,
        Err(error) => {
            output::stderr(&format!("{}: {error}\n", args.directory.display()));
            return ExitCode::from(EXIT_DAMAGED);
        }
    };
    if logs.is_empty() {
        output::stderr(&format!("{}: no queue is here\n", args.directory.display()));
        return ExitCode::from(EXIT_DAMAGED);
    }
    let mut code = 0;
    for log in logs {
        code = code.max(one(command, args.format, Arc::clone(&fs), &log));
    }
    ExitCode::from(code)
}

fn logs_of(fs: &dyn Fs, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(find_logs(fs, directory, &folders))
}

/// One queue; gives the exit code.
fn one(command: &QueueCommand, format: Format, fs: Arc<dyn Fs>, dir: &Path) -> u8 {
    let done = match command {
        QueueCommand::Verify(_) => look(fs, dir, |_, _| {}),
        QueueCommand::Repair(_) => repair(fs, dir),
        QueueCommand::Dump(_) => look(fs, dir, |header, batch| output::text(&line_of(format, header, batch))),
    };
    let report = match done {
        Ok(report) => report,
        Err(error) => {
            output::stderr(&format!("{error}\n"));
            return match error {
                OpenError::InUse(_) => EXIT_IN_USE,
                OpenError::Io(..) => EXIT_DAMAGED,
            };
        }
    };
    let is_dump = matches!(command, QueueCommand::Dump(_));
    if !is_dump {
        match format {
            Format::Text => output::text(&as_text(dir, &report)),
            Format::Json | Format::OtlpJson => output::json(&as_json(dir, &report)),
        }
    }
    // What was repaired is in order now.
    if report.is_sound() || is_dump || matches!(command, QueueCommand::Repair(_)) {
        0
    } else {
        EXIT_DAMAGED
    }
}

fn as_json(dir: &Path, report: &Report) -> Value {
    json!({
        "queue": dir.display().to_string(),
        "sound": report.is_sound(),
        "records": report.records,
        "items": report.items,
        "bytes": report.bytes,
        "lost": {"records": report.lost.records, "items": report.lost.items, "bytes": report.lost.bytes},
        "damaged_segments": report.damaged,
        "put_aside": report.put_aside,
        "segments": report.segments,
        "disk_bytes": report.disk_bytes,
    })
}

fn as_text(dir: &Path, report: &Report) -> String {
    let mut text = format!(
        "{}: {} records wait, {} items, {} bytes, in {} segments of {} bytes\n",
        dir.display(),
        report.records,
        report.items,
        report.bytes,
        report.segments,
        report.disk_bytes
    );
    if report.lost.bytes > 0 {
        text.push_str(&format!(
            "  lost: {} records, {} items, {} bytes\n",
            report.lost.records, report.lost.items, report.lost.bytes
        ));
    }
    for name in &report.damaged {
        text.push_str(&format!("  damaged: {name}\n"));
    }
    for name in &report.put_aside {
        text.push_str(&format!("  cannot be used: {name}\n"));
    }
    text
}

/// Names of metadata only: values may be secrets.
fn line_of(format: Format, header: &Header, batch: &Batch) -> String {
    let origin = batch.origin();
    let metadata: Vec<&str> = origin.metadata.iter().map(|(name, _)| name.as_ref()).collect();
    match format {
        Format::OtlpJson => match batch.to_json() {
            Ok(json) => format!("{}\n", String::from_utf8_lossy(&json)),
            Err(error) => format!(
                "{}\n",
                json!({"sequence": header.before.records, "error": error.to_string()})
            ),
        },
        Format::Json => {
            let line = json!({
                "sequence": header.before.records,
                "signal": header.signal.name(),
                "items": header.items,
                "payload_bytes": header.payload_len,
                "enqueued_unix_nano": header.enqueued.0,
                "batch_id": format!("{:032x}", header.batch_id.0),
                "client": origin.client.map(|client| client.to_string()),
                "metadata": metadata,
            });
            format!("{line}\n")
        }
        Format::Text => format!(
            "{} {} items={} bytes={} enqueued={} id={:032x}\n",
            header.before.records,
            header.signal,
            header.items,
            header.payload_len,
            header.enqueued.seconds(),
            header.batch_id.0
        ),
    }
}
