//! The Collector's `HTTPs` and `GRPCs` groups of settings, as every listener of ours reads them.
//!
//! Keys that are not built are refused by name; keys that have no meaning here are accepted with a warning.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::gate::read_auth;
use super::{Cors, Endpoint, ServerSettings};
use crate::component::ComponentId;
use crate::config::Section;
use crate::config::types::{ByteSize, GoDuration, HeaderMap};
use crate::net::codec::Encoding;
use crate::net::tls::ServerTls;

/// For a whole body where `read_timeout` is not set.
pub const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Largest HTTP body where `max_request_body_size` is not set: the Collector's 20 MiB.
const HTTP_CAP: usize = 20 << 20;

/// Largest gRPC message where `max_recv_msg_size_mib` is not set.
const GRPC_CAP: usize = 4 << 20;

/// An HTTP listener as configured.
#[derive(Clone, Debug)]
pub struct HttpGroup {
    pub server: ServerSettings,
    /// Largest body in bytes, also after decompression.
    pub cap: usize,
    /// For a whole body; `None`: no limit.
    pub body_deadline: Option<Duration>,
    pub include_metadata: bool,
    pub cors: Option<Cors>,
    /// Put on every answer.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// Content encodings that are taken.
    pub encodings: Vec<Encoding>,
    /// The extension that says who may send.
    pub auth: Option<ComponentId>,
}

impl HttpGroup {
    /// Every setting at its default. `endpoint` must be valid.
    pub fn with_endpoint(endpoint: Endpoint) -> Self {
        Self {
            server: ServerSettings::new(endpoint),
            cap: HTTP_CAP,
            body_deadline: Some(BODY_DEADLINE),
            include_metadata: false,
            cors: None,
            response_headers: Vec::new(),
            encodings: Encoding::ALL.to_vec(),
            auth: None,
        }
    }

    /// Reads the group and leaves the other keys of the section; problems go to the section.
    pub fn check(section: &Section, default_endpoint: &str) -> Option<Self> {
        let keys: HttpKeys = section.read()?;
        let mut group = Self::with_endpoint(endpoint(section, keys.endpoint.as_deref(), default_endpoint)?);
        refuse_unbuilt(section, &["middlewares"]);
        group.auth = read_auth(section);
        group.server.tls = tls(section)?;
        group.cors = section
            .take("cors")
            .filter(|cors| !cors.is_null())
            .and_then(|cors| Cors::check(&cors));
        // As in the Collector 0 is the default, not 'no limit'.
        if keys.max_request_body_size.0 > 0 {
            group.cap = usize::try_from(keys.max_request_body_size.0).unwrap_or(usize::MAX);
        }
        group.include_metadata = keys.include_metadata;
        let limits = Limits(section);
        group.body_deadline = limits.read("read_timeout", keys.read_timeout, group.body_deadline);
        let server = &mut group.server;
        server.header_timeout = limits.read("read_header_timeout", keys.read_header_timeout, server.header_timeout);
        server.write_timeout = limits.read("write_timeout", keys.write_timeout, server.write_timeout);
        server.idle_timeout_http1 = limits.read("idle_timeout", keys.idle_timeout, server.idle_timeout_http1);
        if keys.idle_timeout.is_some() {
            server.idle_timeout_http2 = server.idle_timeout_http1;
        }
        server.keep_alives = keys.keep_alives_enabled.unwrap_or(true);
        group.response_headers = response_headers(section, &keys.response_headers);
        if let Some(names) = &keys.compression_algorithms {
            group.encodings = encodings(section, names);
        }
        group.settle(section, default_endpoint);
        Some(group)
    }

    /// What holds for the keys that are not written.
    fn settle(&self, section: &Section, default_endpoint: &str) {
        section.settle_all(&json!({
            "endpoint": default_endpoint,
            "max_request_body_size": self.cap,
            "compression_algorithms": self.encodings.iter().map(|encoding| encoding.name()).collect::<Vec<_>>(),
            "read_timeout": limit(self.body_deadline),
            "read_header_timeout": limit(self.server.header_timeout),
            "write_timeout": limit(self.server.write_timeout),
            "idle_timeout": limit(self.server.idle_timeout_http1),
            "keep_alives_enabled": self.server.keep_alives,
        }));
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct HttpKeys {
    endpoint: Option<String>,
    max_request_body_size: ByteSize,
    include_metadata: bool,
    response_headers: HeaderMap,
    compression_algorithms: Option<Vec<String>>,
    read_timeout: Option<GoDuration>,
    read_header_timeout: Option<GoDuration>,
    write_timeout: Option<GoDuration>,
    idle_timeout: Option<GoDuration>,
    keep_alives_enabled: Option<bool>,
}

/// A gRPC listener as configured.
#[derive(Clone, Debug)]
pub struct GrpcGroup {
    pub server: ServerSettings,
    /// Largest message in bytes, also after decompression.
    pub cap: usize,
    pub include_metadata: bool,
    /// The extension that says who may send.
    pub auth: Option<ComponentId>,
}

impl GrpcGroup {
    /// Every setting at its default. `endpoint` must be valid.
    pub fn with_endpoint(endpoint: Endpoint) -> Self {
        Self {
            server: ServerSettings::new(endpoint),
            cap: GRPC_CAP,
            include_metadata: false,
            auth: None,
        }
    }

    /// Reads the group and leaves the other keys of the section; problems go to the section.
    pub fn check(section: &Section, default_endpoint: &str) -> Option<Self> {
        let keys: GrpcKeys = section.read()?;
        let mut group = Self::with_endpoint(endpoint(section, keys.endpoint.as_deref(), default_endpoint)?);
        refuse_unbuilt(section, &["middlewares"]);
        group.auth = read_auth(section);
        if !matches!(keys.transport.as_str(), "" | "tcp") {
            section.error_at(
                "transport",
                format!("transport \"{}\" is not built yet; known: tcp", keys.transport),
            );
        }
        for key in ["read_buffer_size", "write_buffer_size"] {
            if section.has(key) {
                section.take(key);
                section.warn_at(
                    key,
                    format!("`{key}` has no effect: buffers grow with what is read and written"),
                );
            }
        }
        group.server.tls = tls(section)?;
        if keys.max_recv_msg_size_mib > 0 {
            group.cap = usize::try_from(keys.max_recv_msg_size_mib)
                .unwrap_or(usize::MAX)
                .saturating_mul(1 << 20);
        }
        if keys.max_concurrent_streams > 0 {
            group.server.max_concurrent_streams = keys.max_concurrent_streams;
        }
        group.include_metadata = keys.include_metadata;
        if let Some(keepalive) = section.take("keepalive") {
            read_keepalive(&keepalive, &mut group.server);
        }
        group.settle(section, default_endpoint);
        Some(group)
    }

    /// What holds for the keys that are not written.
    fn settle(&self, section: &Section, default_endpoint: &str) {
        section.settle_all(&json!({
            "endpoint": default_endpoint,
            "transport": "tcp",
            "max_recv_msg_size_mib": self.cap >> 20,
            "max_concurrent_streams": self.server.max_concurrent_streams,
            "keepalive": {"server_parameters": {
                "max_connection_idle": limit(self.server.idle_timeout_http2),
                "max_connection_age": limit(self.server.max_connection_age),
                "max_connection_age_grace": limit(self.server.max_connection_age_grace),
                "time": limit(self.server.keepalive_interval),
                "timeout": GoDuration(self.server.keepalive_timeout),
            }},
        }));
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct GrpcKeys {
    endpoint: Option<String>,
    transport: String,
    max_recv_msg_size_mib: u64,
    max_concurrent_streams: u32,
    include_metadata: bool,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ServerParameters {
    max_connection_idle: Option<GoDuration>,
    max_connection_age: Option<GoDuration>,
    max_connection_age_grace: Option<GoDuration>,
    time: Option<GoDuration>,
    timeout: Option<GoDuration>,
}

fn read_keepalive(section: &Section, server: &mut ServerSettings) {
    if let Some(policy) = section.take("enforcement_policy") {
        for key in ["min_time", "permit_without_stream"] {
            policy.take(key);
        }
        policy.warn("`enforcement_policy` has no effect: pings are limited by the HTTP/2 library");
    }
    let Some(parameters) = section.take("server_parameters") else {
        return;
    };
    let Some(keys) = parameters.read::<ServerParameters>() else {
        return;
    };
    let limits = Limits(&parameters);
    server.idle_timeout_http2 = limits.read(
        "max_connection_idle",
        keys.max_connection_idle,
        server.idle_timeout_http2,
    );
    server.max_connection_age = limits.read("max_connection_age", keys.max_connection_age, server.max_connection_age);
    server.max_connection_age_grace = limits.read(
        "max_connection_age_grace",
        keys.max_connection_age_grace,
        server.max_connection_age_grace,
    );
    server.keepalive_interval = limits.read("time", keys.time, server.keepalive_interval);
    if let Some(timeout) = limits.read("timeout", keys.timeout, Some(server.keepalive_timeout)) {
        server.keepalive_timeout = timeout;
    }
}

/// Time limits: unset is our default, an explicit 0 is none and worth a warning.
struct Limits<'a>(&'a Section);

impl Limits<'_> {
    fn read(&self, key: &str, value: Option<GoDuration>, default: Option<Duration>) -> Option<Duration> {
        match value {
            None => default,
            Some(value) if value.0.is_zero() => {
                self.0.warn_at(key, format!("`{key}: 0` removes this limit"));
                None
            }
            Some(value) => Some(value.0),
        }
    }
}

/// As the keys write it: 0 is no limit.
fn limit(limit: Option<Duration>) -> GoDuration {
    GoDuration(limit.unwrap_or_default())
}

fn endpoint(section: &Section, text: Option<&str>, default: &str) -> Option<Endpoint> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or(default);
    Endpoint::parse(text)
        .map_err(|problem| section.error_at("endpoint", problem))
        .ok()
}

/// `Some(None)` without TLS, `None` when its settings are wrong.
fn tls(section: &Section) -> Option<Option<std::sync::Arc<ServerTls>>> {
    match section.take("tls") {
        Some(tls) if !tls.is_null() => ServerTls::check(&tls).map(Some),
        _ => Some(None),
    }
}

/// Reports the keys that this build knows of but does not carry out.
pub fn refuse_unbuilt(section: &Section, keys: &[&str]) {
    for key in keys {
        if section.take(key).is_some_and(|value| !value.is_null()) {
            section.error_at(key, format!("`{key}` is not built yet"));
        }
    }
}

fn response_headers(section: &Section, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut checked = Vec::new();
    for (name, value) in &headers.0 {
        match (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value.reveal()),
        ) {
            (Ok(name), Ok(value)) => checked.push((name, value)),
            _ => section.error_at(
                "response_headers",
                format!("\"{name}\" is no valid header, or its value is not"),
            ),
        }
    }
    checked
}

fn encodings(section: &Section, names: &[String]) -> Vec<Encoding> {
    // Bodies that are not compressed are always taken, as the Collector does.
    let mut encodings = vec![Encoding::Identity];
    for name in names {
        match Encoding::named(name) {
            Some(encoding) => encodings.push(encoding),
            None => {
                let known: Vec<&str> = Encoding::ALL.iter().map(|encoding| encoding.name()).collect();
                let message = format!("unknown compression \"{name}\"; known: {}", known.join(", "));
                section.error_at("compression_algorithms", message);
            }
        }
    }
    encodings
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
