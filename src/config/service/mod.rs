//! The `service` section but its pipelines and extensions: what the agent says about itself, and its own limits.
//!
//! Plain data; nothing here starts anything. Keys of the Collector that are not built yet are refused by name.

mod telemetry;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::section::Section;
use super::types::{ByteSize, GoDuration, Secret};

pub use telemetry::{
    LogEncoding, LogLevel, LogSampling, LogsConfig, MetricsConfig, MetricsLevel, PrometheusReader, SpanBatch,
    SpanProcessor, TelemetryConfig, TraceSampler, TracesConfig,
};

/// `service`, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceConfig {
    /// Our own logs, metrics, traces.
    pub telemetry: TelemetryConfig,
    /// Where queues, cursors and other state are kept; `None`: in memory, or what `--state-dir` says.
    pub state_directory: Option<PathBuf>,
    pub memory: MemoryConfig,
    pub shutdown: ShutdownConfig,
    pub admin: AdminConfig,
}

/// `service::memory`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryConfig {
    /// Of telemetry held and of the process as a whole.
    pub limit: MemoryLimit,
    /// How long admission waits for memory before it refuses.
    pub admission_wait: Duration,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            limit: MemoryLimit::Percent(80.0),
            admission_wait: Duration::from_millis(100),
        }
    }
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryLimit {
    /// Of the cgroup's limit, else of the machine's memory; above 0, at most 100.
    Percent(f64),
    Bytes(u64),
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// `service::shutdown`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShutdownConfig {
    /// Between turning unready and closing the listeners.
    pub delay: Duration,
    /// For finishing requests and draining queues.
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            grace: Duration::from_secs(25),
        }
    }
}

/// `service::admin`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminConfig {
    /// `host:port` of the admin listener.
    pub endpoint: String,
    /// Set in the configuration: then a taken port is an error, else only a warning.
    pub configured: bool,
    /// What a request that changes something (a silence, an acknowledgement) must bring; without it nothing can be
    /// changed.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4320".to_string(),
            configured: false,
            token: None,
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Raw {
    state_directory: String,
    memory: RawMemory,
    shutdown: RawShutdown,
    admin: RawAdmin,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct RawMemory {
    limit: Option<String>,
    admission_wait: Option<GoDuration>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct RawShutdown {
    delay: GoDuration,
    grace: Option<GoDuration>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct RawAdmin {
    endpoint: Option<String>,
    token: Option<Secret>,
}

impl ServiceConfig {
    /// Takes its keys from `service`; `pipelines` and `extensions` are left to the graph. `None` for `section`: all
    /// defaults.
    pub fn read(section: Option<&Section>) -> Self {
        let Some(section) = section else {
            return Self::default();
        };
        if section.has("limits") {
            section.error_at("limits", "not built yet; the limits are at their defaults");
        }
        let telemetry = match section.take("telemetry") {
            Some(telemetry) => TelemetryConfig::read(&telemetry),
            None => TelemetryConfig::default(),
        };
        let raw: Raw = section.read().unwrap_or_default();
        let defaults = Self::default();
        let token = raw.admin.token;
        if token.as_ref().is_some_and(|token| token.reveal().is_empty()) {
            section.error_at("admin::token", "is empty: leave it out, or give one");
        }
        section.settle_all(&json!({
            "memory": {"limit": defaults.memory.limit.to_string(), "admission_wait": GoDuration(defaults.memory.admission_wait)},
            "shutdown": {"delay": GoDuration(defaults.shutdown.delay), "grace": GoDuration(defaults.shutdown.grace)},
            "admin": {"endpoint": defaults.admin.endpoint},
            "telemetry": telemetry::shown_defaults(),
        }));
        let admin = match raw.admin.endpoint {
            Some(endpoint) => {
                check_host_port(section, "admin::endpoint", &endpoint);
                AdminConfig {
                    endpoint,
                    configured: true,
                    token,
                }
            }
            None => AdminConfig {
                token,
                ..defaults.admin
            },
        };
        Self {
            telemetry,
            state_directory: (!raw.state_directory.is_empty()).then(|| PathBuf::from(raw.state_directory)),
            memory: MemoryConfig {
                limit: match raw.memory.limit {
                    Some(text) => read_memory_limit(section, &text).unwrap_or(defaults.memory.limit),
                    None => defaults.memory.limit,
                },
                admission_wait: raw
                    .memory
                    .admission_wait
                    .map_or(defaults.memory.admission_wait, |wait| wait.0),
            },
            shutdown: ShutdownConfig {
                delay: raw.shutdown.delay.0,
                grace: raw.shutdown.grace.map_or(defaults.shutdown.grace, |grace| grace.0),
            },
            admin,
        }
    }
}

/// `80%` or a size.
fn read_memory_limit(section: &Section, text: &str) -> Option<MemoryLimit> {
    let Some(percent) = text.trim().strip_suffix('%') else {
        return match super::scalar::parse_size(text) {
            Ok(0) => {
                section.error_at("memory::limit", "no memory at all is no limit to work with");
                None
            }
            Ok(bytes) => Some(MemoryLimit::Bytes(ByteSize(bytes).0)),
            Err(reason) => {
                section.error_at("memory::limit", format!("{reason}, or a share of the memory, e.g. 80%"));
                None
            }
        };
    };
    match percent.trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Some(MemoryLimit::Percent(percent)),
        _ => {
            section.error_at("memory::limit", "a share of the memory is above 0% and at most 100%");
            None
        }
    }
}

/// `host:port`, `:port`, `[v6]:port`.
fn check_host_port(section: &Section, key: &str, text: &str) {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        section.error_at(key, format!("\"{text}\" is not of the form host:port"));
    }
}
