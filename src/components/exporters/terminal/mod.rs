//! Exporter `terminal`: DynamoDB tables and SageMaker endpoints as plain lines on standard output, for `radiosonde demo`
//! and for a first look.
//!
//! It shows the newest known values of each table (capacity used of what is provisioned, throttles since the last
//! lines, the worst p99) and of each endpoint (GPUs in use, requests, errors, latency). Other telemetry is counted, not shown; `debug` shows everything.

mod board;
mod endpoints;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::board::Board;
use crate::component::{
    BoxFuture, BuildContext, BuiltExporter, ComponentKind, Delivery, ExporterPlan, Factory, NothingToStop, Plan,
    Refused, Stability, Stage, StartError, console,
};
use crate::config::Section;
use crate::config::types::GoDuration;
use crate::pdata::{Batch, Signal};

/// The registry's entry.
pub struct TerminalFactory;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    interval: GoDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: GoDuration(Duration::from_secs(2)),
        }
    }
}

impl Factory for TerminalFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
    }

    fn type_name(&self) -> &'static str {
        "terminal"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Metrics]
    }

    fn stability(&self) -> Stability {
        Stability::Development
    }

    fn summary(&self) -> &'static str {
        "DynamoDB tables and SageMaker endpoints as plain lines on standard output."
    }

    fn example(&self) -> &'static str {
        "interval: 2s\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config: Config = section.read()?;
        Some(Plan::Exporter(Box::new(TerminalPlan { config })))
    }
}

struct TerminalPlan {
    config: Config,
}

impl ExporterPlan for TerminalPlan {
    fn delivery(&self) -> Delivery {
        // Writing lines needs no queue: what is refused here would be refused again.
        Delivery::default()
    }

    fn build(&self, _context: BuildContext) -> Result<BuiltExporter, StartError> {
        let screen = Screen {
            interval: self.config.interval.0,
            state: Mutex::default(),
        };
        Ok(BuiltExporter {
            far_end: Arc::new(screen),
            running: Arc::new(NothingToStop),
        })
    }
}

struct Screen {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    board: Board,
    shown: Option<Instant>,
}

impl Screen {
    /// The lines to show now, if it is time and something changed.
    fn take(&self, mut batch: Batch) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for part in batch.parts() {
            // What cannot be read is not shown; the exporters that send data refuse it.
            let _ = state.board.read(part);
        }
        let due = state.shown.is_none_or(|shown| shown.elapsed() >= self.interval);
        if !due || !state.board.changed() {
            return None;
        }
        state.shown = Some(Instant::now());
        Some(state.board.lines())
    }
}

impl Stage for Screen {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            if let Some(lines) = self.take(batch) {
                console::stdout(&lines);
            }
            Ok(())
        })
    }
}
