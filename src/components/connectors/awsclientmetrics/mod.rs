//! `awsclientmetrics` connector: metrics of DynamoDB and other AWS calls from the client spans of their SDKs.
//!
//! Spans are read by views over their bytes and end here; what they say is added up (`aws::client_metrics`) and handed on
//! as delta metrics each `flush_interval`. This file holds configuration and reading, [`flush`] the handing on.

mod flush;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::flush::Flusher;
use crate::aws::client_metrics::{Aggregate, AggregateSettings, Caller, ClientCall};
use crate::component::{
    BoxFuture, BuildContext, BuiltConnector, Clock, ComponentKind, ConnectorPlan, Counter, Deadline, Factory, Outlets,
    Plan, Refused, Running, Stability, Stage, StartError,
};
use crate::config::Section;
use crate::config::types::GoDuration;
use crate::pdata::{Batch, Signal};
use crate::wire::{self, Resource, Span, Value, WireError};

/// Longer values are cut.
const LONGEST_VALUE: usize = 256;
const MOST_DIMENSIONS: usize = 20;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    dimensions: Vec<String>,
    slow: GoDuration,
    series_limit: usize,
    flush_interval: GoDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dimensions: Vec::new(),
            slow: GoDuration(Duration::from_millis(100)),
            series_limit: 10_000,
            flush_interval: GoDuration(Duration::from_secs(60)),
        }
    }
}

/// The registry's entry.
pub struct ClientMetricsFactory;

impl Factory for ClientMetricsFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Connector
    }

    fn type_name(&self) -> &'static str {
        "awsclientmetrics"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Traces]
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "Latency, errors, throttles and capacity of AWS calls from the client spans of their SDKs."
    }

    fn example(&self) -> &'static str {
        "dimensions: [deployment.environment.name]\nslow: 50ms\nseries_limit: 5000\nflush_interval: 30s\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config: Config = section.read()?;
        if config.series_limit == 0 {
            section.error_at("series_limit", "must be at least 1");
        }
        if config.flush_interval.0 < Duration::from_secs(1) {
            section.error_at("flush_interval", "must be at least 1s");
        }
        if config.slow.0.is_zero() {
            section.error_at("slow", "must be more than 0: every call would be slow");
        }
        if config.dimensions.len() > MOST_DIMENSIONS {
            section.error_at(
                "dimensions",
                format!("at most {MOST_DIMENSIONS}: each multiplies the series"),
            );
        }
        for (position, name) in config.dimensions.iter().enumerate() {
            if name.is_empty() || config.dimensions[..position].contains(name) {
                section.error_at("dimensions", format!("{name:?} is empty or named twice"));
            }
        }
        Some(Plan::Connector(Box::new(ClientMetricsPlan { config })))
    }
}

struct ClientMetricsPlan {
    config: Config,
}

impl ConnectorPlan for ClientMetricsPlan {
    fn emits(&self, from: Signal) -> &'static [Signal] {
        match from {
            Signal::Traces => &[Signal::Metrics],
            Signal::Metrics | Signal::Logs => &[],
        }
    }

    fn build(&self, context: BuildContext, next: Outlets) -> Result<BuiltConnector, StartError> {
        let connector = Arc::new(Connector::new(&self.config, &context));
        if let Some(outlet) = next.metrics {
            let flusher = Flusher::new(Arc::clone(&connector), &context, outlet, self.config.flush_interval.0);
            connector.tasks.spawn(flusher.run());
        }
        Ok(BuiltConnector {
            stages: vec![(Signal::Traces, Arc::clone(&connector) as Arc<dyn Stage>)],
            running: connector,
        })
    }
}

/// What the connector counts of itself.
struct Counts {
    calls: Counter,
    overflowed: Counter,
    unreadable: Counter,
}

struct Connector {
    dimensions: Vec<String>,
    aggregate: Mutex<Aggregate>,
    clock: Arc<dyn Clock>,
    counts: Counts,
    /// Something that should not wait for the interval.
    urgent: Notify,
    quit: CancellationToken,
    tasks: TaskTracker,
}

impl Connector {
    fn new(config: &Config, context: &BuildContext) -> Self {
        let settings = AggregateSettings {
            slow: config.slow.0.as_secs_f64(),
            series_limit: config.series_limit,
            dimensions: config.dimensions.clone(),
        };
        let counter = |name, help| context.instruments.counter(name, help, &[]);
        Self {
            dimensions: config.dimensions.clone(),
            aggregate: Mutex::new(Aggregate::new(settings, context.clock.now().0)),
            clock: Arc::clone(&context.clock),
            counts: Counts {
                calls: counter(
                    "radiosonde_awsclientmetrics_calls_total",
                    "Client spans of AWS SDKs that were counted.",
                ),
                overflowed: counter(
                    "radiosonde_awsclientmetrics_overflow_total",
                    "Points that went to the series `other` because of series_limit.",
                ),
                unreadable: counter(
                    "radiosonde_awsclientmetrics_unreadable_spans_total",
                    "Spans that are malformed.",
                ),
            },
            urgent: Notify::new(),
            quit: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn read(&self, batch: Batch) {
        let mut urgent = false;
        for part in batch.into_parts() {
            // The door has looked at the framing down to the span.
            for group in wire::resources(&part).flatten() {
                let Ok(resource) = group.resource() else { continue };
                for scope in group.scopes().flatten() {
                    for span in scope.spans().flatten() {
                        match self.call(&span, &resource) {
                            Ok(Some((call, caller))) => urgent |= self.add(&call, &caller),
                            Ok(None) => {}
                            Err(_) => self.counts.unreadable.add(1),
                        }
                    }
                }
            }
        }
        if urgent {
            self.urgent.notify_one();
        }
    }

    /// Whether it should not wait.
    fn add(&self, call: &ClientCall, caller: &Caller) -> bool {
        let now = self.clock.now().0;
        let mut aggregate = self.aggregate.lock().unwrap_or_else(PoisonError::into_inner);
        let added = aggregate.add(call, caller, now);
        drop(aggregate);
        self.counts.calls.add(1);
        self.counts.overflowed.add(added.overflowed);
        added.urgent
    }

    fn call(&self, span: &Span<'_>, resource: &Resource<'_>) -> Result<Option<(ClientCall, Caller)>, WireError> {
        let Some(call) = ClientCall::read(span)? else {
            return Ok(None);
        };
        let service_name = resource.attribute("service.name")?.and_then(|value| as_label(&value));
        let mut dimensions = Vec::with_capacity(self.dimensions.len());
        for name in &self.dimensions {
            let value = match span.attribute(name)? {
                Some(value) => Some(value),
                None => resource.attribute(name)?,
            };
            dimensions.push(value.and_then(|value| as_label(&value)));
        }
        let caller = Caller {
            service_name: service_name.unwrap_or_default(),
            dimensions,
        };
        Ok(Some((call, caller)))
    }

    fn flush(&self) -> Option<ExportMetricsServiceRequest> {
        let now = self.clock.now().0;
        self.aggregate.lock().unwrap_or_else(PoisonError::into_inner).flush(now)
    }

    fn series(&self) -> usize {
        self.aggregate.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Texts, numbers and truths; lists and maps make no label.
fn as_label(value: &Value<'_>) -> Option<String> {
    let mut label = match value {
        Value::String(text) => text.lossy().into_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        _ => return None,
    };
    label.truncate(label.floor_char_boundary(LONGEST_VALUE));
    Some(label).filter(|label| !label.is_empty())
}

impl Stage for Connector {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            self.read(batch);
            Ok(())
        })
    }
}

impl Running for Connector {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.quit.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(deadline.remaining(), self.tasks.wait()).await;
        })
    }
}
