//! Our own logs, metrics and traces.
//!
//! The registry of instruments lives in `component`; here it gets a form: Prometheus text on :8888. Logs and traces go
//! through tracing's dispatcher, the one global thing of the process.

pub mod logs;
pub mod process;
pub mod prometheus;
mod resource;
mod serve;
mod traces;

use std::sync::Arc;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::time::Instant;
use tracing::{info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use serve::{MetricsSource, serve as serve_metrics};

use self::logs::{LogLayer, LogSettings};
use self::prometheus::{Level, Naming};
use crate::component::{ComponentId, ComponentKind, Deadline, Instruments, Registry, Running};
use crate::config::service::{LogsConfig, MetricsConfig, MetricsLevel, PrometheusReader, TelemetryConfig};
use crate::net::server::{Endpoint, HttpServer};

/// What says things about the agent while it runs.
pub struct Telemetry {
    logs: LogLayer,
    tracer: Option<SdkTracerProvider>,
    source: MetricsSource,
    compat_metrics: bool,
    servers: Vec<Arc<HttpServer>>,
}

/// Installs the dispatcher for logs and, where asked for, traces. Call it inside the runtime, once in a process.
///
/// # Errors
/// An output that cannot be opened, an endpoint that is none.
pub fn start(
    config: &TelemetryConfig,
    registry: &Registry,
    started: Instant,
    compat_metrics: bool,
) -> Result<Telemetry, String> {
    let resource = resource::attributes(&config.resource);
    let own = Instruments::new(
        registry.clone(),
        ComponentKind::Extension,
        ComponentId::new("telemetry").as_str(),
    );
    let held_back = own.counter(
        "radiosonde_log_lines_held_back_total",
        "Log lines that were not written because too many alike came.",
        &[],
    );
    let logs = LogLayer::new(&LogSettings::from(&config.logs), &resource, held_back)
        .map_err(|error| format!("service::telemetry::logs: {error}"))?;
    let tracer =
        traces::provider(&config.traces, &resource).map_err(|error| format!("service::telemetry::traces: {error}"))?;

    let filter = logs.filter();
    let spans = tracer.as_ref().map(traces::layer);
    let installed = tracing_subscriber::registry()
        .with(spans)
        .with(logs.clone().with_filter(filter))
        .try_init();
    // Only a second agent in one process finds a dispatcher; its lines go to the first one's log.
    if let Err(error) = installed {
        warn!(%error, "The log was installed before.");
    }
    log_panics();
    Ok(Telemetry {
        logs,
        tracer,
        source: MetricsSource {
            registry: registry.clone(),
            started,
            resource,
            level: level(config.metrics.level),
            naming: Vec::new(),
        },
        compat_metrics,
        servers: Vec::new(),
    })
}

/// A panic is reported where everything else is, in one line.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        // Cut, because it may quote data.
        let text: String = text.chars().take(256).collect();
        tracing::error!(place, panic = text, "A task panicked.");
    }));
}

impl Telemetry {
    /// Whether stages are to make spans.
    pub fn traces_asked_for(&self) -> bool {
        self.tracer.is_some()
    }

    /// Goes over to other log settings.
    pub fn replace_logs(&self, logs: &LogsConfig) {
        if let Err(error) = self.logs.replace(&LogSettings::from(logs), &self.source.resource) {
            warn!(%error, "The new log settings cannot be used. The old ones stay.");
        }
    }

    /// Serves the metrics on every configured reader.
    ///
    /// # Errors
    /// A reader that was configured and cannot be bound. The default one is only missed aloud.
    pub async fn serve_metrics(&mut self, metrics: &MetricsConfig) -> Result<(), String> {
        if metrics.level == MetricsLevel::None {
            return Ok(());
        }
        for reader in &metrics.readers {
            let host = if reader.host.contains(':') {
                format!("[{}]", reader.host)
            } else {
                reader.host.clone()
            };
            let endpoint = Endpoint::parse(&format!("{host}:{}", reader.port))?;
            let source = MetricsSource {
                naming: self.naming_of(reader),
                ..self.source.clone()
            };
            match serve_metrics(endpoint, source).await {
                Ok(server) => {
                    for address in server.addresses() {
                        info!(%address, "Serving metrics.");
                    }
                    self.servers.push(Arc::new(server));
                }
                Err(error) if metrics.configured => return Err(format!("service::telemetry::metrics: {error}")),
                Err(error) => warn!(%error, "The agent's own metrics are not served."),
            }
        }
        Ok(())
    }

    fn naming_of(&self, reader: &PrometheusReader) -> Vec<Naming> {
        let mut naming = vec![Naming {
            without_scope_info: reader.without_scope_info,
            without_units: reader.without_units,
            without_type_suffix: reader.without_type_suffix,
        }];
        if self.compat_metrics {
            for with_suffixes in [true, false] {
                naming.push(Naming {
                    without_scope_info: reader.without_scope_info,
                    without_units: !with_suffixes,
                    without_type_suffix: !with_suffixes,
                });
            }
        }
        naming
    }

    /// Gives the last answers and sends the last spans.
    pub async fn stop(self, deadline: Deadline) {
        for server in &self.servers {
            server.stop(deadline).await;
        }
        if let Some(tracer) = self.tracer {
            // Waits for the exporter's thread, so not on a thread of the runtime.
            let flushing = tokio::task::spawn_blocking(move || tracer.shutdown_with_timeout(deadline.remaining()));
            match flushing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "The last spans of the agent could not be sent."),
                Err(error) => warn!(%error, "The exporter of the agent's spans ended badly."),
            }
        }
    }
}

fn level(level: MetricsLevel) -> Level {
    match level {
        MetricsLevel::None => Level::None,
        MetricsLevel::Basic => Level::Basic,
        MetricsLevel::Normal => Level::Normal,
        MetricsLevel::Detailed => Level::Detailed,
    }
}
