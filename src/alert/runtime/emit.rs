//! What leaves by the connector: a log record for each transition, and the series `ALERTS` and `ALERTS_FOR_STATE`.

use std::sync::PoisonError;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};

use super::Runtime;
use crate::alert::Told;
use crate::component::Outlet;
use crate::pdata::{Batch, Decoded, Origin, Signal};

const SCOPE: &str = "radiosonde/alerts";
/// Of the OTLP severities.
const INFO: i32 = 9;
const WARN: i32 = 13;
const ERROR: i32 = 17;

impl Runtime {
    fn outlet(&self, signal: Signal) -> Option<Outlet> {
        self.outlets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(signal)
            .cloned()
    }

    pub(super) async fn emit_transitions(&self, transitions: &[(Told, bool)], now: i64) {
        if transitions.is_empty() {
            return;
        }
        let Some(outlet) = self.outlet(Signal::Logs) else {
            return;
        };
        let records = transitions
            .iter()
            .map(|(told, is_end)| record(told, *is_end, nanos(now)))
            .collect();
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records: records,
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        self.hand_on(&outlet, Batch::from_decoded(Decoded::Logs(request), Origin::internal()))
            .await;
    }

    pub(super) async fn emit_series(&self, now: i64) {
        let Some(outlet) = self.outlet(Signal::Metrics) else {
            return;
        };
        let (mut alerts, mut since) = (Vec::new(), Vec::new());
        {
            let core = self.core();
            for state in core.engine.states() {
                let phase = match (state.instance.is_pending(), state.instance.fires()) {
                    (true, _) => "pending",
                    (_, true) => "firing",
                    _ => continue,
                };
                let mut attributes: Vec<KeyValue> =
                    state.labels.iter().map(|(name, value)| text(name, value)).collect();
                since.push(point(
                    attributes.clone(),
                    nanos(now),
                    state.instance.active_at as f64 / 1_000.0,
                ));
                attributes.push(text("alertstate", phase));
                alerts.push(point(attributes, nanos(now), 1.0));
            }
        }
        if alerts.is_empty() {
            return;
        }
        let gauge = |name: &str, points: Vec<NumberDataPoint>| Metric {
            name: name.to_owned(),
            data: Some(Data::Gauge(Gauge { data_points: points })),
            ..Metric::default()
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics: vec![gauge("ALERTS", alerts), gauge("ALERTS_FOR_STATE", since)],
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        self.hand_on(
            &outlet,
            Batch::from_decoded(Decoded::Metrics(request), Origin::internal()),
        )
        .await;
    }

    async fn hand_on(&self, outlet: &Outlet, batch: Batch) {
        if let Err(refused) = outlet.consume(batch).await
            && let Some(left_out) = self.log.admit()
        {
            tracing::warn!(component = %self.context.id, reason = %refused, left_out,
                "alerts were refused by the pipeline behind the connector");
        }
    }
}

fn record(told: &Told, is_end: bool, now: u64) -> LogRecord {
    let of = |list: &[(String, String)], name: &str| {
        let found = list.iter().find(|(have, _)| have == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    let severity = of(&told.labels, "severity");
    let (number, word) = match severity.as_str() {
        _ if is_end => (INFO, "INFO"),
        "critical" => (ERROR, "ERROR"),
        "warning" => (WARN, "WARN"),
        _ => (INFO, "INFO"),
    };
    let mut attributes = vec![
        text("alert.state", if is_end { "resolved" } else { "firing" }),
        text("alert.fingerprint", &format!("{:016x}", told.fingerprint())),
        text("alert.starts_at", &rfc3339(told.starts_at)),
    ];
    if let Some(ended) = told.ends_at {
        attributes.push(text("alert.ends_at", &rfc3339(ended)));
    }
    attributes.push(attribute("alert.value", Any::DoubleValue(told.value)));
    attributes.extend(told.labels.iter().map(|(name, value)| text(name, value)));
    for (name, value) in told.annotations.iter().filter(|(name, _)| name != "summary") {
        attributes.push(text(&format!("alert.{name}"), value));
    }
    let steps = told.guidance.resolution_steps.iter().map(|step| AnyValue {
        value: Some(Any::StringValue(step.clone())),
    });
    attributes.push(attribute(
        "alert.resolution_steps",
        Any::ArrayValue(ArrayValue {
            values: steps.collect(),
        }),
    ));
    for (name, value) in [
        ("alert.contact", &told.guidance.contact),
        ("alert.runbook_url", &told.guidance.runbook_url),
    ] {
        if !value.is_empty() {
            attributes.push(text(name, value));
        }
    }
    LogRecord {
        time_unix_nano: told.ends_at.filter(|_| is_end).unwrap_or(told.starts_at),
        observed_time_unix_nano: now,
        severity_number: number,
        severity_text: word.to_owned(),
        body: Some(AnyValue {
            value: Some(Any::StringValue(of(&told.annotations, "summary"))),
        }),
        event_name: "alert".to_owned(),
        attributes,
        ..LogRecord::default()
    }
}

fn rfc3339(nanos: u64) -> String {
    let millis = i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

fn nanos(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000)
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn point(attributes: Vec<KeyValue>, time: u64, value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        time_unix_nano: time,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
