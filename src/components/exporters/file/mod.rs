//! `file` exporter: one record a batch, as a JSON line or as length-prefixed protobuf, as the Collector writes them.
//!
//! `output.rs` owns the file: buffer, rotation, what happens when the disk is full. This file holds configuration and
//! the encoding of a record. All signals share one file.

mod output;
mod rotation;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::component::{
    BoxFuture, BuildContext, BuiltExporter, ComponentId, ComponentKind, Deadline, Delivery, ExporterPlan, Factory,
    Plan, Refused, Running, Stability, Stage, StartError,
};
use crate::components::exporters::delivery_config;
use crate::config::Section;
use crate::config::types::GoDuration;
use crate::pdata::{Batch, Signal};
use output::Output;
use rotation::Rotation;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// OTLP/JSON, a line a batch.
    #[default]
    Json,
    /// The Export request's protobuf behind four bytes of length.
    Proto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Zstd,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    path: String,
    append: bool,
    format: Format,
    compression: Option<String>,
    flush_interval: GoDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: String::new(),
            append: false,
            format: Format::Json,
            compression: None,
            flush_interval: GoDuration(Duration::from_secs(1)),
        }
    }
}

/// See the module text.
pub struct FileFactory;

impl Factory for FileFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
    }

    fn type_name(&self) -> &'static str {
        "file"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "Writes to a file as OTLP JSON lines or protobuf, with rotation."
    }

    fn example(&self) -> &'static str {
        "path: /tmp/radiosonde-telemetry.json\nformat: json\nflush_interval: 1s\n\
         rotation:\n  max_megabytes: 100\n  max_backups: 3\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        for key in ["group_by", "encoding", "create_directory", "directory_permissions"] {
            if section.take(key).is_some() {
                section.error_at(key, format!("`{key}` is not built yet"));
            }
        }
        let mut delivery = delivery_config::read(section, Delivery::default());
        // An attempt is a write to a local file: a timeout could only cut a record in two.
        delivery.timeout = None;
        let rotation = section.take("rotation").map(|section| Rotation::read(&section));
        let config: Config = section.read()?;
        if config.path.is_empty() {
            section.error_at("path", "must be set");
        }
        let compression = match config.compression.as_deref() {
            None | Some("" | "none") => None,
            Some("zstd") => Some(Compression::Zstd),
            Some(_) => {
                section.error_at("compression", "must be `zstd`, or not be set");
                None
            }
        };
        if config.append && rotation.is_some() {
            section.error_at("append", "cannot be combined with `rotation`, which appends anyway");
        }
        if config.append && compression.is_some() {
            section.error_at("append", "cannot be combined with `compression`");
        }
        if config.flush_interval.0.is_zero() {
            section.error_at("flush_interval", "must be greater than zero");
        }
        Some(Plan::Exporter(Box::new(FilePlan {
            config,
            compression,
            rotation,
            delivery,
        })))
    }
}

struct FilePlan {
    config: Config,
    compression: Option<Compression>,
    rotation: Option<Rotation>,
    delivery: Delivery,
}

impl ExporterPlan for FilePlan {
    fn delivery(&self) -> Delivery {
        self.delivery.clone()
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        let path = PathBuf::from(&self.config.path);
        let keeps_old = self.config.append || self.rotation.is_some();
        let output = Output::open(path, keeps_old, self.rotation.clone(), Arc::clone(&context.clock))
            .map_err(|error| StartError::new(&context, format!("cannot open {:?}: {error}", self.config.path)))?;
        let exporter = Arc::new(FileExporter {
            id: context.id.clone(),
            format: self.config.format,
            compression: self.compression,
            output: Arc::new(Mutex::new(output)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            stopped: OnceCell::new(),
        });
        exporter.tasks.spawn(flush_regularly(
            exporter.id.clone(),
            Arc::clone(&exporter.output),
            self.config.flush_interval.0,
            exporter.stop.clone(),
        ));
        Ok(BuiltExporter {
            far_end: Arc::clone(&exporter) as Arc<dyn Stage>,
            running: exporter,
        })
    }
}

struct FileExporter {
    id: ComponentId,
    format: Format,
    compression: Option<Compression>,
    output: Arc<Mutex<Output>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    stopped: OnceCell<()>,
}

impl Stage for FileExporter {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let (format, compression, output) = (self.format, self.compression, Arc::clone(&self.output));
        Box::pin(async move {
            // Encoding, compressing and the disk: all of it may take longer than the runtime should wait.
            let writing = tokio::task::spawn_blocking(move || {
                let record = encode(batch, format, compression)?;
                let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                output
                    .write(&record)
                    .map_err(|error| Refused::retryable(format!("cannot write: {error}")))
            });
            match writing.await {
                Ok(answer) => answer,
                Err(_) => Err(Refused::retryable("writing was interrupted")),
            }
        })
    }
}

impl Running for FileExporter {
    fn stop(&self, _deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let finish = async {
                self.stop.cancel();
                self.tasks.close();
                self.tasks.wait().await;
            };
            self.stopped.get_or_init(|| finish).await;
        })
    }
}

/// One record as it stands in the file.
fn encode(batch: Batch, format: Format, compression: Option<Compression>) -> Result<Vec<u8>, Refused> {
    let invalid = |error: &dyn std::fmt::Display| {
        Refused::permanent(format!("malformed data below the items: {error}")).with_code(tonic::Code::InvalidArgument)
    };
    // Over the text, until the record is made from it.
    let _permit;
    let plain: Vec<u8> = match format {
        Format::Json => {
            let (text, permit) = batch.to_json_within().map_err(|error| match error.is_retryable() {
                true => Refused::retryable(error.to_string()),
                false => invalid(&error),
            })?;
            _permit = permit;
            text
        }
        Format::Proto => batch.into_bytes().into(),
    };
    let (bytes, is_line) = match compression {
        None => (plain, format == Format::Json),
        Some(Compression::Zstd) => {
            let compressed = zstd::bulk::compress(&plain, zstd::DEFAULT_COMPRESSION_LEVEL);
            let compressed = compressed.map_err(|error| Refused::retryable(format!("cannot compress: {error}")))?;
            (compressed, false)
        }
    };
    if is_line {
        let mut line = bytes;
        line.push(b'\n');
        return Ok(line);
    }
    let length = u32::try_from(bytes.len()).map_err(|_| Refused::permanent("record of more than 4 GiB"))?;
    let mut record = Vec::with_capacity(4 + bytes.len());
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(&bytes);
    Ok(record)
}

/// What is buffered reaches the file at every interval, and at the end.
async fn flush_regularly(id: ComponentId, output: Arc<Mutex<Output>>, interval: Duration, stop: CancellationToken) {
    let mut is_last = false;
    while !is_last {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => is_last = true,
        }
        let output = Arc::clone(&output);
        let flushing = tokio::task::spawn_blocking(move || {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.flush().map_err(|error| (error, output.buffered()))
        });
        match flushing.await {
            Ok(Err((error, bytes))) if is_last => {
                tracing::error!(exporter = %id, %error, bytes, "cannot write at the end: data is lost");
            }
            Ok(Err((error, bytes))) => {
                tracing::warn!(exporter = %id, %error, bytes, "cannot write, data is kept in memory");
            }
            Ok(Ok(())) | Err(_) => {}
        }
    }
}
