//! Our own log: a tracing layer that writes the lines of the Collector.
//!
//! Settings can be replaced while it runs (a reload), the dispatcher cannot. Lines go to stderr, stdout or files.

mod line;
mod sampling;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};

pub use line::{Encoding, iso_time};
pub use sampling::Sampling;

use self::line::{Content, Frame};
use self::sampling::{Sampler, Verdict};
use crate::component::{Clock, Counter, SystemClock};
use crate::config::service::{LogEncoding, LogLevel, LogsConfig};

/// `service::telemetry::logs`.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub level: LevelFilter,
    pub encoding: Encoding,
    /// `None`: switched off.
    pub sampling: Option<Sampling>,
    /// `stderr`, `stdout` or paths.
    pub output_paths: Vec<String>,
    /// Where it is said that a line could not be written.
    pub error_output_paths: Vec<String>,
    pub disable_caller: bool,
    pub disable_resource: bool,
    pub initial_fields: Map<String, Value>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LevelFilter::INFO,
            encoding: Encoding::Console,
            sampling: Some(Sampling::default()),
            output_paths: vec!["stderr".to_owned()],
            error_output_paths: vec!["stderr".to_owned()],
            disable_caller: false,
            disable_resource: false,
            initial_fields: Map::new(),
        }
    }
}

impl From<&LogsConfig> for LogSettings {
    fn from(config: &LogsConfig) -> Self {
        Self {
            level: match config.level {
                LogLevel::Debug => LevelFilter::DEBUG,
                LogLevel::Info => LevelFilter::INFO,
                LogLevel::Warn => LevelFilter::WARN,
                LogLevel::Error => LevelFilter::ERROR,
            },
            encoding: match config.encoding {
                LogEncoding::Console => Encoding::Console,
                LogEncoding::Json => Encoding::Json,
            },
            sampling: config.sampling.map(|sampling| Sampling {
                tick: sampling.tick,
                initial: sampling.initial,
                thereafter: sampling.thereafter,
            }),
            output_paths: config.output_paths.clone(),
            error_output_paths: config.error_output_paths.clone(),
            disable_caller: config.disable_caller,
            disable_resource: config.disable_resource,
            initial_fields: config.initial_fields.clone().into_iter().collect(),
        }
    }
}

enum Output {
    Stderr,
    Stdout,
    File(Mutex<File>),
}

impl Output {
    fn open(path: &str) -> io::Result<Self> {
        Ok(match path {
            "stderr" => Output::Stderr,
            "stdout" => Output::Stdout,
            path => {
                let path = path.strip_prefix("file://").unwrap_or(path);
                Output::File(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?))
            }
        })
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        match self {
            Output::Stderr => io::stderr().lock().write_all(line),
            Output::Stdout => io::stdout().lock().write_all(line),
            Output::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line),
        }
    }
}

struct Active {
    level: LevelFilter,
    sampling: Option<Sampling>,
    frame: Frame,
    outputs: Vec<Output>,
    error_outputs: Vec<Output>,
}

impl Active {
    fn open(settings: &LogSettings, resource: &[(String, String)]) -> io::Result<Self> {
        let open_all = |paths: &[String]| -> io::Result<Vec<Output>> {
            let mut outputs = Vec::new();
            for path in paths {
                let opened = Output::open(path);
                outputs.push(opened.map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?);
            }
            Ok(outputs)
        };
        let as_object = |resource: &[(String, String)]| -> Map<String, Value> {
            resource
                .iter()
                .map(|(name, value)| (name.clone(), Value::String(value.clone())))
                .collect()
        };
        Ok(Self {
            level: settings.level,
            sampling: settings.sampling,
            frame: Frame {
                encoding: settings.encoding,
                with_caller: !settings.disable_caller,
                resource: (!settings.disable_resource).then(|| as_object(resource)),
                initial_fields: settings.initial_fields.clone(),
            },
            outputs: open_all(&settings.output_paths)?,
            error_outputs: open_all(&settings.error_output_paths)?,
        })
    }
}

/// The layer. Clones share their settings.
#[derive(Clone)]
pub struct LogLayer {
    active: Arc<ArcSwap<Active>>,
    sampler: Arc<Sampler>,
    /// `radiosonde_log_lines_held_back_total`.
    held_back: Counter,
}

impl LogLayer {
    /// Opens the outputs.
    ///
    /// # Errors
    /// An output that cannot be opened; the text names it.
    pub fn new(settings: &LogSettings, resource: &[(String, String)], held_back: Counter) -> io::Result<Self> {
        Ok(Self {
            active: Arc::new(ArcSwap::from_pointee(Active::open(settings, resource)?)),
            sampler: Arc::default(),
            held_back,
        })
    }

    /// The filter that belongs to the layer.
    pub fn filter(&self) -> LogFilter {
        LogFilter(Arc::clone(&self.active))
    }

    /// Goes over to other settings; the old ones stay where an output cannot be opened.
    pub fn replace(&self, settings: &LogSettings, resource: &[(String, String)]) -> io::Result<()> {
        self.active.store(Arc::new(Active::open(settings, resource)?));
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }
}

/// Crates below us speak at their own level of detail: theirs is one step quieter, and below debug never heard.
fn is_wanted(level: LevelFilter, metadata: &Metadata<'_>) -> bool {
    let limit = if metadata.target().starts_with("radiosonde") {
        level
    } else if level >= LevelFilter::DEBUG {
        LevelFilter::INFO
    } else {
        level.min(LevelFilter::WARN)
    };
    *metadata.level() <= limit
}

/// Says which lines the layer wants, by itself: a layer that makes traces wants others. What nobody wants costs one
/// comparison where it is said.
pub struct LogFilter(Arc<ArcSwap<Active>>);

impl<S> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        metadata.is_event() && is_wanted(self.0.load().level, metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && is_wanted(self.0.load().level, metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.load().level)
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let active = self.active.load();
        // Lines of the life cycle come once and are what people wait for: they are never held back.
        let verdict = match *metadata.level() {
            Level::INFO if metadata.target().starts_with("radiosonde::cli") => Verdict::Write { held_back: 0 },
            _ => self.sampler.judge(metadata.callsite(), active.sampling),
        };
        let Verdict::Write { held_back } = verdict else {
            self.held_back.add(1);
            return;
        };
        let mut content = Content::default();
        event.record(&mut content);
        if held_back > 0 {
            content.fields.insert("held_back".to_owned(), held_back.into());
        }
        let line = line::write(&active.frame, SystemClock.now(), metadata, content);
        for output in &active.outputs {
            if let Err(error) = output.write(&line) {
                let complaint = format!("{} cannot write a log line: {error}\n", iso_time(SystemClock.now()));
                for output in &active.error_outputs {
                    // Nobody is left to be told.
                    let _lost = output.write(complaint.as_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn lines_of(settings: LogSettings, say: impl FnOnce()) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let settings = LogSettings {
            output_paths: vec![path.to_str().unwrap().to_owned()],
            ..settings
        };
        let resource = [("service.name".to_owned(), "radiosonde".to_owned())];
        let layer = LogLayer::new(&settings, &resource, Counter::default()).unwrap();
        let filter = layer.filter();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.with_filter(filter)), say);
        std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_console_line_has_time_level_caller_message_and_fields_between_tabs() {
        let lines = lines_of(LogSettings::default(), || {
            tracing::warn!(otelcol.component.id = "otlp/a", held = 3, "queue is full");
        });
        let parts: Vec<&str> = lines[0].split('\t').collect();
        assert!(parts[0].ends_with('Z'));
        assert_eq!(parts[1], "warn");
        assert!(parts[2].starts_with("telemetry/logs/mod.rs:"), "{}", parts[2]);
        assert_eq!(parts[3], "queue is full");
        let fields: Value = serde_json::from_str(parts[4]).unwrap();
        assert_eq!(fields["otelcol.component.id"], "otlp/a");
        assert_eq!(fields["held"], 3);
        assert_eq!(fields["resource"]["service.name"], "radiosonde");
    }

    #[test]
    fn a_json_line_has_level_ts_caller_and_msg() {
        let settings = LogSettings {
            encoding: Encoding::Json,
            initial_fields: Map::from_iter([("cluster".to_owned(), Value::from("a"))]),
            disable_resource: true,
            ..LogSettings::default()
        };
        let lines = lines_of(
            settings,
            || tracing::error!(error = %"no route", "Exporting failed. Dropping data."),
        );
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["level"], "error");
        assert_eq!(line["msg"], "Exporting failed. Dropping data.");
        assert_eq!(line["error"], "no route");
        assert_eq!(line["cluster"], "a");
        assert!(line.get("resource").is_none());
        assert!(line["caller"].as_str().unwrap().contains("mod.rs:"));
    }

    #[test]
    fn what_is_below_the_level_is_not_written() {
        let settings = LogSettings {
            level: LevelFilter::WARN,
            ..LogSettings::default()
        };
        let lines = lines_of(settings, || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        });
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn other_crates_are_heard_from_warnings_on() {
        let lines = lines_of(LogSettings::default(), || {
            tracing::info!(target: "h2", "chatter");
            tracing::warn!(target: "h2", "trouble");
        });
        assert_eq!(lines.len(), 1);
    }
}
