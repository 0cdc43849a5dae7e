//! `service::telemetry`: logs, metrics, traces and resource of the agent itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::section::Section;
use crate::config::types::{GoDuration, HeaderMap};

/// `service::telemetry`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TelemetryConfig {
    pub logs: LogsConfig,
    pub metrics: MetricsConfig,
    pub traces: TracesConfig,
    /// Attributes as configured; `None` removes a default one.
    pub resource: Vec<(String, Option<String>)>,
}

/// Lowest level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogEncoding {
    #[default]
    Console,
    Json,
}

/// Of lines that repeat, the first few of a tick and then every n-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSampling {
    pub tick: Duration,
    pub initial: u64,
    pub thereafter: u64,
}

/// `service::telemetry::logs`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogsConfig {
    pub level: LogLevel,
    pub encoding: LogEncoding,
    /// `None`: every line is written.
    pub sampling: Option<LogSampling>,
    /// `stdout`, `stderr` or paths.
    pub output_paths: Vec<String>,
    pub error_output_paths: Vec<String>,
    pub disable_caller: bool,
    /// Leave the resource out of JSON lines.
    pub disable_resource: bool,
    /// Added to every line.
    pub initial_fields: BTreeMap<String, serde_json::Value>,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            encoding: LogEncoding::Console,
            sampling: Some(LogSampling {
                tick: Duration::from_secs(10),
                initial: 10,
                thereafter: 100,
            }),
            output_paths: vec!["stderr".to_string()],
            error_output_paths: vec!["stderr".to_string()],
            disable_caller: false,
            disable_resource: false,
            initial_fields: BTreeMap::new(),
        }
    }
}

/// How much the agent measures about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricsLevel {
    None,
    Basic,
    #[default]
    Normal,
    Detailed,
}

/// A Prometheus endpoint for our own metrics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusReader {
    pub host: String,
    pub port: u16,
    pub without_scope_info: bool,
    pub without_units: bool,
    pub without_type_suffix: bool,
}

impl Default for PrometheusReader {
    fn default() -> Self {
        Self {
            host: "localhost".to_string(),
            port: 8888,
            without_scope_info: true,
            without_units: true,
            without_type_suffix: true,
        }
    }
}

/// `service::telemetry::metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    pub level: MetricsLevel,
    /// Endpoints to be scraped; empty only at level none.
    pub readers: Vec<PrometheusReader>,
    /// The readers were written in the configuration: then a taken port is an error.
    pub configured: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            level: MetricsLevel::Normal,
            readers: vec![PrometheusReader::default()],
            configured: false,
        }
    }
}

/// `service::telemetry::traces`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracesConfig {
    /// Where our own spans go; empty: they are not made.
    pub processors: Vec<SpanProcessor>,
    pub sampler: TraceSampler,
}

/// Which of our own spans are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum TraceSampler {
    /// As the parent decided, else always.
    #[default]
    ParentBased,
    AlwaysOn,
    AlwaysOff,
    /// Between 0 and 1.
    Ratio(f64),
}

/// One way out for our own spans: OTLP over gRPC.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanProcessor {
    /// URL with scheme.
    pub endpoint: String,
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub compression: Option<String>,
    /// `None`: `simple`, every span at once.
    pub batch: Option<SpanBatch>,
}

/// The `batch` processor of our own spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanBatch {
    pub schedule_delay: Duration,
    pub max_queue_size: usize,
    pub max_export_batch_size: usize,
}

impl TelemetryConfig {
    pub(super) fn read(section: &Section) -> Self {
        let logs = section.take("logs").map(|logs| LogsConfig::read(&logs));
        let metrics = section.take("metrics").map(|metrics| MetricsConfig::read(&metrics));
        let traces = section.take("traces").map(|traces| TracesConfig::read(&traces));
        let resource = section.take("resource").map(|resource| read_resource(&resource));
        Self {
            logs: logs.unwrap_or_default(),
            metrics: metrics.unwrap_or_default(),
            traces: traces.unwrap_or_default(),
            resource: resource.unwrap_or_default(),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct RawSampling {
    enabled: bool,
    tick: GoDuration,
    initial: u64,
    thereafter: u64,
}

impl Default for RawSampling {
    fn default() -> Self {
        Self {
            enabled: true,
            tick: GoDuration(Duration::from_secs(10)),
            initial: 10,
            thereafter: 100,
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct RawLogs {
    level: Option<String>,
    encoding: LogEncoding,
    development: bool,
    sampling: RawSampling,
    output_paths: Option<Vec<String>>,
    error_output_paths: Option<Vec<String>>,
    disable_caller: bool,
    disable_stacktrace: bool,
    initial_fields: BTreeMap<String, serde_json::Value>,
    disable_zap_resource: bool,
}

/// What holds where `telemetry` is absent, for `print-config`.
pub(super) fn shown_defaults() -> serde_json::Value {
    let logs = RawLogs {
        level: Some("info".to_owned()),
        ..RawLogs::default()
    };
    let reader = PrometheusReader::default();
    serde_json::json!({
        "logs": logs,
        "metrics": {"level": "normal", "readers": [{"pull": {"exporter": {"prometheus": reader}}}]},
    })
}

impl LogsConfig {
    fn read(section: &Section) -> Self {
        if section
            .take("processors")
            .is_some_and(|processors| !processors.elements().is_empty())
        {
            section.error_at("processors", "sending our own logs by OTLP is not built yet");
        }
        let raw: RawLogs = section.read().unwrap_or_default();
        for (key, is_set) in [
            ("development", raw.development),
            ("disable_stacktrace", raw.disable_stacktrace),
        ] {
            if is_set {
                section.warn_at(key, "has no effect: our log lines carry no stack traces");
            }
        }
        let level = match raw.level.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "info") => LogLevel::Info,
            Some("debug") => LogLevel::Debug,
            Some("warn" | "warning") => LogLevel::Warn,
            Some("error" | "dpanic" | "panic" | "fatal") => LogLevel::Error,
            Some(other) => {
                let hint = crate::config::suggest::hint(other, &["debug", "info", "warn", "error"]);
                section.error_at("level", format!("unknown value \"{other}\"{hint}"));
                LogLevel::Info
            }
        };
        let defaults = Self::default();
        Self {
            level,
            encoding: raw.encoding,
            sampling: raw.sampling.enabled.then_some(LogSampling {
                tick: raw.sampling.tick.0,
                initial: raw.sampling.initial,
                thereafter: raw.sampling.thereafter,
            }),
            output_paths: raw.output_paths.unwrap_or(defaults.output_paths),
            error_output_paths: raw.error_output_paths.unwrap_or(defaults.error_output_paths),
            disable_caller: raw.disable_caller,
            disable_resource: raw.disable_zap_resource,
            initial_fields: raw.initial_fields,
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct RawMetrics {
    level: Option<String>,
    address: Option<String>,
}

impl MetricsConfig {
    fn read(section: &Section) -> Self {
        if section.take("views").is_some_and(|views| !views.elements().is_empty()) {
            section.error_at("views", "not built yet");
        }
        let readers = section.take("readers").map(|readers| {
            let elements = readers.elements();
            elements.iter().filter_map(read_reader).collect::<Vec<_>>()
        });
        let raw: RawMetrics = section.read().unwrap_or_default();
        let level = match raw.level.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "normal") => MetricsLevel::Normal,
            Some("none") => MetricsLevel::None,
            Some("basic") => MetricsLevel::Basic,
            Some("detailed") => MetricsLevel::Detailed,
            Some(other) => {
                let hint = crate::config::suggest::hint(other, &["none", "basic", "normal", "detailed"]);
                section.error_at("level", format!("unknown value \"{other}\"{hint}"));
                MetricsLevel::Normal
            }
        };
        let from_address = raw.address.and_then(|address| read_address(section, &address));
        let configured = readers.is_some() || from_address.is_some();
        let readers = match (readers, from_address) {
            (Some(readers), _) => {
                if readers.is_empty() && level != MetricsLevel::None && !section.has_errors() {
                    section.error_at("readers", "a reader is needed unless level is none");
                }
                readers
            }
            (None, Some(reader)) => vec![reader],
            (None, None) => vec![PrometheusReader::default()],
        };
        Self {
            level,
            readers,
            configured,
        }
    }
}

/// `{pull: {exporter: {prometheus: {...}}}}`.
fn read_reader(reader: &Section) -> Option<PrometheusReader> {
    if reader.has("periodic") {
        reader.error_at(
            "periodic",
            "sending our own metrics by OTLP is not built yet; use pull with prometheus",
        );
        return None;
    }
    let Some(pull) = reader.take("pull") else {
        if !reader.has_errors() {
            reader.error("a reader has the key pull");
        }
        return None;
    };
    let exporter = pull.take("exporter");
    let Some(prometheus) = exporter.as_ref().and_then(|exporter| exporter.take("prometheus")) else {
        pull.error("expected exporter::prometheus below it");
        return None;
    };
    prometheus.read()
}

/// The old `address: host:port`.
fn read_address(section: &Section, address: &str) -> Option<PrometheusReader> {
    let Some((host, port)) = address.rsplit_once(':') else {
        section.error_at("address", format!("\"{address}\" is not of the form host:port"));
        return None;
    };
    let Ok(port) = port.parse() else {
        section.error_at("address", format!("\"{port}\" is not a port"));
        return None;
    };
    section.warn_at(
        "address",
        "this key was removed from the Collector; write readers: [{pull: {exporter: {prometheus: {host, port}}}}]",
    );
    Some(PrometheusReader {
        host: host.trim_start_matches('[').trim_end_matches(']').to_string(),
        port,
        ..PrometheusReader::default()
    })
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct RawTraces {
    level: Option<String>,
    propagators: Vec<String>,
}

impl TracesConfig {
    fn read(section: &Section) -> Self {
        let mut processors = Vec::new();
        if let Some(list) = section.take("processors") {
            processors = list.elements().iter().filter_map(read_processor).collect();
        }
        let sampler = match section.take("sampler") {
            Some(sampler) => read_sampler(&sampler),
            None => TraceSampler::default(),
        };
        let raw: RawTraces = section.read().unwrap_or_default();
        for propagator in &raw.propagators {
            if propagator != "tracecontext" {
                section.error_at(
                    "propagators",
                    format!("\"{propagator}\" is not built yet; tracecontext is"),
                );
            }
        }
        match raw.level.as_deref() {
            None | Some("" | "basic" | "normal" | "detailed") => {}
            Some("none") => processors.clear(),
            Some(other) => {
                let hint = crate::config::suggest::hint(other, &["none", "basic", "normal", "detailed"]);
                section.error_at("level", format!("unknown value \"{other}\"{hint}"));
            }
        }
        Self { processors, sampler }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct RawBatch {
    schedule_delay: u64,
    max_queue_size: usize,
    max_export_batch_size: usize,
    export_timeout: u64,
}

impl Default for RawBatch {
    fn default() -> Self {
        Self {
            schedule_delay: 5_000,
            max_queue_size: 2_048,
            max_export_batch_size: 512,
            export_timeout: 30_000,
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct RawOtlp {
    protocol: String,
    endpoint: String,
    headers: HeaderMap,
    timeout: Option<u64>,
    compression: Option<String>,
    insecure: Option<bool>,
}

/// `{batch: {exporter: {otlp: {...}}}}` or `{simple: ...}`. Times are whole milliseconds, as in OpenTelemetry's own
/// configuration files.
fn read_processor(processor: &Section) -> Option<SpanProcessor> {
    let (inner, batch) = if let Some(batch) = processor.take("batch") {
        let raw: RawBatch = batch.read().unwrap_or_default();
        let settings = SpanBatch {
            schedule_delay: Duration::from_millis(raw.schedule_delay),
            max_queue_size: raw.max_queue_size,
            max_export_batch_size: raw.max_export_batch_size,
        };
        (batch, Some((settings, raw.export_timeout)))
    } else if let Some(simple) = processor.take("simple") {
        (simple, None)
    } else {
        processor.error("a processor has the key batch or simple");
        return None;
    };
    let exporter = inner.take("exporter");
    let Some(otlp) = exporter.as_ref().and_then(|exporter| exporter.take("otlp")) else {
        inner.error("expected exporter::otlp below it");
        return None;
    };
    let raw: RawOtlp = otlp.read()?;
    if raw.protocol != "grpc" && !raw.protocol.is_empty() {
        let message = format!("\"{}\" is not built yet for our own spans; grpc is", raw.protocol);
        otlp.error_at("protocol", message);
    }
    if raw.endpoint.is_empty() {
        otlp.error("the required key \"endpoint\" is missing");
    }
    check_otlp(&otlp, &raw);
    let has_scheme = raw.endpoint.starts_with("http://") || raw.endpoint.starts_with("https://");
    let scheme = if raw.insecure == Some(false) { "https" } else { "http" };
    let (batch, export_timeout) = match batch {
        Some((batch, timeout)) => (Some(batch), timeout),
        None => (None, 30_000),
    };
    Some(SpanProcessor {
        endpoint: if has_scheme {
            raw.endpoint
        } else {
            format!("{scheme}://{}", raw.endpoint)
        },
        headers: raw.headers,
        timeout: Duration::from_millis(raw.timeout.unwrap_or(export_timeout)),
        compression: raw.compression.filter(|name| !matches!(name.as_str(), "" | "none")),
        batch,
    })
}

/// What the exporter of our own spans cannot do is said here, with its place, and not when it is built.
fn check_otlp(otlp: &Section, raw: &RawOtlp) {
    if raw.endpoint.starts_with("https://") {
        otlp.error_at("endpoint", "TLS is not built yet for our own spans; use http://");
    } else if raw.insecure == Some(false) && !raw.endpoint.starts_with("http://") {
        otlp.error_at(
            "insecure",
            "TLS is not built yet for our own spans; use `insecure: true`",
        );
    }
    let authority = raw.endpoint.trim_start_matches("http://").trim_end_matches('/');
    let is_address = authority
        .parse::<http::uri::Authority>()
        .is_ok_and(|authority| !authority.host().is_empty());
    if !raw.endpoint.is_empty() && !raw.endpoint.starts_with("https://") && !is_address {
        otlp.error_at("endpoint", "expected host:port, or http://host:port");
    }
    if raw
        .compression
        .as_deref()
        .is_some_and(|name| !matches!(name, "" | "none"))
    {
        otlp.error_at("compression", "not built yet for our own spans");
    }
    for (name, value) in &raw.headers.0 {
        if http::HeaderName::try_from(name.as_str()).is_err() || http::HeaderValue::try_from(value.reveal()).is_err() {
            otlp.error_at("headers", format!("{name:?} or its value cannot be sent as a header"));
        }
    }
}

/// `{always_on: {}}`, `{trace_id_ratio_based: {ratio}}`, `{parent_based: {root: ...}}`.
fn read_sampler(sampler: &Section) -> TraceSampler {
    #[derive(Default, Deserialize, Serialize)]
    #[serde(default)]
    struct Ratio {
        ratio: Option<f64>,
    }
    if sampler.take("always_on").is_some() {
        return TraceSampler::AlwaysOn;
    }
    if sampler.take("always_off").is_some() {
        return TraceSampler::AlwaysOff;
    }
    if let Some(ratio) = sampler.take("trace_id_ratio_based") {
        let value = ratio.read::<Ratio>().and_then(|raw| raw.ratio).unwrap_or(1.0);
        if !(0.0..=1.0).contains(&value) {
            ratio.error_at("ratio", "a ratio is between 0 and 1");
        }
        return TraceSampler::Ratio(value);
    }
    if let Some(parent) = sampler.take("parent_based") {
        for key in parent.keys() {
            parent.error_at(&key, "samplers below parent_based are not built yet");
        }
    }
    TraceSampler::ParentBased
}

/// A map of names to texts or null, or `{attributes: [{name, value}], schema_url}`.
fn read_resource(resource: &Section) -> Vec<(String, Option<String>)> {
    #[derive(Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Attribute {
        name: String,
        #[serde(default)]
        value: Option<String>,
    }
    if resource.has("schema_url") {
        resource.take("schema_url");
        resource.warn_at("schema_url", "has no effect");
    }
    if let Some(attributes) = resource.take("attributes") {
        let elements = attributes.elements();
        let read = elements.iter().filter_map(Section::read::<Attribute>);
        return read.map(|attribute| (attribute.name, attribute.value)).collect();
    }
    let mut attributes = Vec::new();
    for name in resource.keys() {
        let Some(value) = resource.take(&name) else { continue };
        attributes.push((name, if value.is_null() { None } else { value.read() }));
    }
    attributes
}
