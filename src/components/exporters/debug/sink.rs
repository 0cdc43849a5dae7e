//! Where the text goes: our own log, or streams and files; and how much of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Counts;
use crate::component::{ComponentId, Refused};
use crate::pdata::Signal;

/// Lets the first few batches of each second through, then every n-th; by signal, as the Collector.
pub struct Sampler {
    initial: u64,
    /// 0: none after the initial ones.
    thereafter: u64,
    windows: Mutex<[Option<(Instant, u64)>; 3]>,
}

impl Sampler {
    pub fn new(initial: u64, thereafter: u64) -> Self {
        Self {
            initial,
            thereafter,
            windows: Mutex::default(),
        }
    }

    /// Whether this batch is shown.
    pub fn admit(&self, signal: Signal) -> bool {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let window = &mut windows[signal as usize];
        let (start, seen) = match *window {
            Some((start, seen)) if now - start < Duration::from_secs(1) => (start, seen + 1),
            _ => (now, 1),
        };
        *window = Some((start, seen));
        if seen <= self.initial {
            return true;
        }
        self.thereafter > 0 && (seen - self.initial).is_multiple_of(self.thereafter)
    }
}

/// See the module text.
pub enum Sink {
    /// Our own log.
    Log,
    /// All of these.
    Streams(Arc<Mutex<Vec<Stream>>>),
}

pub enum Stream {
    Stdout,
    Stderr,
    File(File),
}

impl Sink {
    /// Opens `stdout`, `stderr` and files (appended to).
    pub fn open(paths: &[String]) -> Result<Self, String> {
        let mut streams = Vec::new();
        for path in paths {
            streams.push(match path.as_str() {
                "stdout" => Stream::Stdout,
                "stderr" => Stream::Stderr,
                path => {
                    let file = OpenOptions::new().append(true).create(true).open(path);
                    Stream::File(file.map_err(|error| format!("cannot open {path:?} of `output_paths`: {error}"))?)
                }
            });
        }
        Ok(Sink::Streams(Arc::new(Mutex::new(streams))))
    }

    /// Brings one batch out. A stream that cannot be written to refuses the batch for now.
    pub async fn write(
        &self,
        id: &ComponentId,
        signal: Signal,
        counts: &Counts,
        details: String,
    ) -> Result<(), Refused> {
        let title = match signal {
            Signal::Traces => "Traces",
            Signal::Metrics => "Metrics",
            Signal::Logs => "Logs",
        };
        let streams = match self {
            Sink::Log => {
                let counts = counts.to_json();
                tracing::info!(exporter = %id, signal = %signal, %counts, "{title}");
                if !details.is_empty() {
                    tracing::info!(exporter = %id, signal = %signal, "{details}");
                }
                return Ok(());
            }
            Sink::Streams(streams) => Arc::clone(streams),
        };
        let text = format!("{title}\t{}\n{details}", counts.to_json());
        // A terminal that is scrolled back, or a pipe that nobody reads, blocks.
        let written = tokio::task::spawn_blocking(move || {
            let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.iter_mut().try_for_each(|stream| stream.write(text.as_bytes()))
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Refused::retryable(format!("cannot write: {error}"))),
            Err(_) => Err(Refused::retryable("writing was interrupted")),
        }
    }
}

impl Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Stream::Stderr => io::stderr().lock().write_all(bytes),
            Stream::File(file) => file.write_all(bytes),
        }
    }
}

impl Counts {
    fn to_json(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, count)| format!("\"{name}\": {count}"))
            .collect();
        format!("{{{}}}", pairs.join(", "))
    }
}
