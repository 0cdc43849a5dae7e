//! `cargo bench --bench durability -- [CASE...] [--short]`: the real agent, what is done to it, and an oracle that knows
//! every span by its id. See tests/bench/README.md.

#![allow(clippy::print_stdout, clippy::print_stderr)] // A benchmark talks to whoever runs it.

mod agent;
mod cases;
#[allow(dead_code)] // Shared with the pipeline benchmark, which uses more of it.
#[path = "../pipeline/h2io.rs"]
mod h2io;
mod load;
mod proxy;
#[path = "../pipeline/report.rs"]
mod report;
mod sink;

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};

use crate::report::{Report, Row};

const CASES: [&str; 9] = [
    "sigkill",
    "acknowledgement",
    "outage",
    "sigterm",
    "sigterm-durable",
    "disk-full",
    "slow",
    "recovery",
    "chaos",
];

fn main() -> Result<()> {
    let mut names = Vec::new();
    let mut short = false;
    let mut minutes = 24 * 60;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--short" => short = true,
            "--minutes" => minutes = args.next().unwrap_or_default().parse()?,
            name if name == "soak" || CASES.contains(&name) => names.push(name.to_owned()),
            other => bail!("{other}: there are {CASES:?}, soak [--minutes N], and --short"),
        }
    }
    if names.is_empty() {
        names = CASES.iter().map(|name| (*name).to_owned()).collect();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut report = Report::default();
    for name in names {
        let row = runtime.block_on(case(&name, short, minutes));
        report.add(row.unwrap_or_else(|error| {
            let mut row = Row::new(&name);
            row.miss(&format!("{error:#}"));
            row
        }));
    }
    report.finish()
}

async fn case(name: &str, short: bool, minutes: u64) -> Result<Row> {
    match name {
        "sigkill" => cases::sigkill(short).await,
        "acknowledgement" => cases::acknowledgement(short).await,
        "outage" => cases::outage(short).await,
        "sigterm" => cases::sigterm(name, None).await,
        "sigterm-durable" => cases::sigterm(name, Some("storage: file_storage")).await,
        "disk-full" => cases::disk_full(short).await,
        "slow" => cases::slow(short).await,
        "recovery" => cases::recovery(short).await,
        "chaos" => cases::chaos(short).await,
        _ => cases::soak(minutes).await,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
