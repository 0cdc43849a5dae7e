//! The keys of the `otlp` exporter, checked.

use std::time::Duration;

use base64::Engine;
use http::uri::Authority;
use http::{HeaderMap as HttpHeaders, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{client_auth, delivery_config};
use crate::component::{ComponentId, Delivery, QueueSettings, RetrySettings};
use crate::config::Section;
use crate::config::types::{ByteSize, GoDuration, HeaderMap};
use crate::net::client::endpoint::{Endpoint, Scheme};
use crate::net::client::grpc::{Balancer, KeepAlive};
use crate::net::codec::compress::{Compression, Compressor};
use crate::net::tls::client::ClientTls;

/// grpc-go pings no more often, whatever is configured; servers answer more with GOAWAY.
const SHORTEST_PING_INTERVAL: Duration = Duration::from_secs(10);
/// The Collector's `write_buffer_size`.
const WRITE_BUFFER: u64 = 512 * 1024;

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct Keys {
    endpoint: String,
    compression: Option<String>,
    wait_for_ready: bool,
    headers: HeaderMap,
    user_agent: String,
    balancer_name: String,
    authority: String,
    read_buffer_size: Option<ByteSize>,
    write_buffer_size: Option<ByteSize>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct CompressionParams {
    level: Option<i32>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct KeepAliveKeys {
    time: Option<GoDuration>,
    timeout: Option<GoDuration>,
    permit_without_stream: bool,
}

/// A checked configuration.
pub struct Config {
    pub endpoint: Endpoint,
    /// TLS, unless the endpoint is spoken to in plain text.
    pub tls: Option<ClientTls>,
    pub authority: Authority,
    /// Beside what gRPC itself sends; values marked sensitive.
    pub headers: HttpHeaders,
    pub user_agent: HeaderValue,
    /// Algorithm, level, and its name in `grpc-encoding`.
    pub compression: Option<(Compression, Option<i32>, &'static str)>,
    pub balancer: Balancer,
    pub keepalive: Option<KeepAlive>,
    pub wait_for_ready: bool,
    pub write_buffer: usize,
    pub delivery: Delivery,
    /// The extension that proves who we are.
    pub auth: Option<ComponentId>,
}

impl Config {
    /// Reads the section; problems are reported to it.
    pub fn read(section: &Section) -> Option<Self> {
        let keys: Keys = section.read().unwrap_or_default();
        if section.take("middlewares").is_some() {
            section.error_at("middlewares", "`middlewares` is not built yet");
        }
        let auth = client_auth::read(section);
        if keys.read_buffer_size.is_some() {
            section.warn_at(
                "read_buffer_size",
                "has no effect: answers are small and read as they come",
            );
        }
        let delivery = delivery_config::read(section, default_delivery());
        let tls = ClientTls::read(section);
        let endpoint = read_endpoint(section, &keys.endpoint);
        let authority = read_authority(section, &keys.authority, endpoint.as_ref());
        let compression = read_compression(section, keys.compression.as_deref());
        let keepalive = read_keepalive(section);
        let (headers, header_agent) = read_headers(section, &keys.headers);
        let balancer = read_balancer(section, &keys.balancer_name);
        let endpoint = endpoint?;
        let tls = chosen_tls(section, &endpoint, tls);
        if auth.is_some() && tls.is_none() {
            client_auth::warn_of_plain_text(section, &endpoint.host);
        }
        section.settle_all(&json!({
            "compression": "gzip",
            "write_buffer_size": WRITE_BUFFER,
            "balancer_name": "round_robin",
        }));
        Some(Self {
            auth,
            tls,
            authority: authority?,
            user_agent: user_agent(section, &keys.user_agent, header_agent),
            headers,
            compression,
            balancer,
            keepalive,
            wait_for_ready: keys.wait_for_ready,
            write_buffer: usize::try_from(keys.write_buffer_size.map_or(WRITE_BUFFER, |size| size.0))
                .unwrap_or(usize::MAX),
            endpoint,
            delivery,
        })
    }
}

fn default_delivery() -> Delivery {
    Delivery {
        queue: Some(QueueSettings::default()),
        retry: Some(RetrySettings::default()),
        timeout: Some(Duration::from_secs(5)),
    }
}

fn read_endpoint(section: &Section, text: &str) -> Option<Endpoint> {
    match Endpoint::parse(text) {
        Ok(endpoint) => Some(endpoint),
        Err(problem) => {
            section.error_at("endpoint", problem.to_string());
            None
        }
    }
}

/// Plain text only where it is asked for: `tls::insecure`, or a scheme of `http` with no `tls` section against it.
fn chosen_tls(section: &Section, endpoint: &Endpoint, tls: ClientTls) -> Option<ClientTls> {
    match endpoint.scheme {
        Scheme::Tls => Some(tls),
        Scheme::Plain if !tls.is_written() => {
            section.warn_at(
                "endpoint",
                "`http://` is plain text here; the Collector would use TLS: write `tls: {insecure: true}` to mean both",
            );
            None
        }
        Scheme::Plain | Scheme::Unsaid => (!tls.is_insecure()).then_some(tls),
    }
}

fn read_authority(section: &Section, text: &str, endpoint: Option<&Endpoint>) -> Option<Authority> {
    let (key, text) = match (text, endpoint) {
        ("", Some(endpoint)) => ("endpoint", endpoint.authority()),
        ("", None) => return None,
        (text, _) => ("authority", text.to_owned()),
    };
    match Authority::try_from(text.as_str()) {
        Ok(authority) => Some(authority),
        Err(_) => {
            section.error_at(key, format!("{text:?} is no host and port"));
            None
        }
    }
}

fn read_compression(section: &Section, name: Option<&str>) -> Option<(Compression, Option<i32>, &'static str)> {
    let params = section.take("compression_params");
    let level = params
        .as_ref()
        .and_then(|params| params.read::<CompressionParams>())
        .and_then(|params| params.level);
    let (kind, wire_name) = match name.unwrap_or("gzip") {
        "gzip" => (Compression::Gzip, "gzip"),
        "zstd" => (Compression::Zstd, "zstd"),
        // gRPC's deflate is zlib, as HTTP's.
        "deflate" => (Compression::Zlib, "deflate"),
        // Go's gRPC codec of this name writes the framing format.
        "snappy" => (Compression::SnappyFramed, "snappy"),
        "none" | "" => return None,
        other => {
            section.error_at(
                "compression",
                format!("unknown compression {other:?}; known are gzip, zstd, snappy, deflate and none"),
            );
            return None;
        }
    };
    if let Err(problem) = Compressor::new(kind, level) {
        section.error_at("compression_params::level", problem.to_string());
    }
    Some((kind, level, wire_name))
}

fn read_keepalive(section: &Section) -> Option<KeepAlive> {
    // The Collector pings every 10 s unless told otherwise; `keepalive:` with nothing behind it is the same.
    let keys: KeepAliveKeys = section
        .take("keepalive")
        .and_then(|section| section.read())
        .unwrap_or_default();
    let time = keys.time.map_or(SHORTEST_PING_INTERVAL, |time| time.0);
    let timeout = keys.timeout.map_or(Duration::from_secs(10), |timeout| timeout.0);
    if timeout.is_zero() {
        section.error_at("keepalive::timeout", "must be more than zero");
    }
    Some(KeepAlive {
        time: time.max(SHORTEST_PING_INTERVAL),
        timeout,
        permit_without_stream: keys.permit_without_stream,
    })
}

fn read_balancer(section: &Section, name: &str) -> Balancer {
    match name {
        "" | "round_robin" => Balancer::RoundRobin,
        "pick_first" => Balancer::PickFirst,
        other => {
            section.error_at(
                "balancer_name",
                format!("unknown balancer {other:?}; known are round_robin and pick_first"),
            );
            Balancer::RoundRobin
        }
    }
}

/// The headers, and apart from them a `user-agent` among them.
fn read_headers(section: &Section, headers: &HeaderMap) -> (HttpHeaders, Option<HeaderValue>) {
    let mut map = HttpHeaders::new();
    let mut agent = None;
    for (name, value) in &headers.0 {
        let Ok(header) = HeaderName::try_from(name.as_str()) else {
            section.error_at("headers", format!("{name:?} is no header name"));
            continue;
        };
        let taken = ["content-type", "te", "connection", "host"].contains(&header.as_str());
        if taken || header.as_str().starts_with("grpc-") {
            section.error_at("headers", format!("{name:?} is set by gRPC itself"));
            continue;
        }
        // gRPC sends the values of `-bin` keys as base64.
        let text = if header.as_str().ends_with("-bin") {
            base64::engine::general_purpose::STANDARD_NO_PAD.encode(value.reveal())
        } else {
            value.reveal().to_owned()
        };
        let Ok(mut value) = HeaderValue::try_from(text) else {
            section.error_at(
                "headers",
                format!("the value of {name:?} holds characters a header cannot carry"),
            );
            continue;
        };
        value.set_sensitive(true);
        if header == http::header::USER_AGENT {
            agent = Some(value);
        } else {
            map.append(header, value);
        }
    }
    (map, agent)
}

fn user_agent(section: &Section, configured: &str, header: Option<HeaderValue>) -> HeaderValue {
    if !configured.is_empty() {
        match HeaderValue::try_from(configured) {
            Ok(value) => return value,
            Err(_) => section.error_at("user_agent", "holds characters a header cannot carry"),
        }
    }
    let ours = HeaderValue::from_static(concat!("radiosonde/", env!("CARGO_PKG_VERSION")));
    header.unwrap_or(ours)
}
