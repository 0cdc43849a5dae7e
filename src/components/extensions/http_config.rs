//! Reads the `HTTPs` group for extensions that answer GET requests without looking at bodies.

use serde::{Deserialize, Serialize};

use crate::config::Section;
use crate::config::types::{GoDuration, HeaderMap};
use crate::net::server::{Endpoint, ServerSettings};
use crate::net::tls::ServerTls;

/// Keys of the group that are for data, or not built for extensions; refused by name.
const NOT_BUILT: [&str; 5] = ["auth", "cors", "middlewares", "include_metadata", "transport"];
/// Keys that change nothing where no body is read or compressed.
const WITHOUT_EFFECT: [&str; 2] = ["max_request_body_size", "compression_algorithms"];

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct Keys {
    endpoint: Option<String>,
    response_headers: HeaderMap,
    read_header_timeout: Option<GoDuration>,
    read_timeout: Option<GoDuration>,
    write_timeout: Option<GoDuration>,
    idle_timeout: Option<GoDuration>,
    keep_alives_enabled: Option<bool>,
}

/// A checked listener and the headers of every answer.
#[derive(Clone)]
pub struct HttpConfig {
    pub server: ServerSettings,
    pub response_headers: HeaderMap,
}

impl HttpConfig {
    /// Reads the group; problems are reported to the section.
    pub fn check(section: &Section, default_endpoint: &str) -> Option<Self> {
        for key in NOT_BUILT.into_iter().filter(|key| section.has(key)) {
            section.take(key);
            section.error_at(key, format!("`{key}` is not built yet for this extension"));
        }
        for key in WITHOUT_EFFECT.into_iter().filter(|key| section.has(key)) {
            section.take(key);
            section.warn_at(
                key,
                format!("`{key}` has no effect here: no body is read and answers are small"),
            );
        }
        let tls = match section.take("tls") {
            Some(tls) => Some(ServerTls::check(&tls)?),
            None => None,
        };
        let keys: Keys = section.read()?;
        let text = keys.endpoint.as_deref().unwrap_or(default_endpoint);
        let endpoint = match Endpoint::parse(text) {
            Ok(endpoint) => endpoint,
            Err(message) => {
                section.error_at("endpoint", message);
                return None;
            }
        };
        if !endpoint.is_local() && tls.is_none() {
            section.warn_at("endpoint", "reachable from other machines without TLS");
        }
        let mut server = ServerSettings::new(endpoint);
        server.tls = tls;
        // A request has no body here, so reading it all is reading its header.
        let header_timeout = keys.read_header_timeout.or(keys.read_timeout);
        server.header_timeout = or_default(header_timeout, server.header_timeout);
        server.write_timeout = or_default(keys.write_timeout, server.write_timeout);
        server.idle_timeout_http1 = or_default(keys.idle_timeout, server.idle_timeout_http1);
        server.keep_alives = keys.keep_alives_enabled.unwrap_or(true);
        check_headers(section, &keys.response_headers);
        Some(Self {
            server,
            response_headers: keys.response_headers,
        })
    }
}

/// An explicit zero switches a limit off, as in the Collector.
fn or_default(configured: Option<GoDuration>, default: Option<std::time::Duration>) -> Option<std::time::Duration> {
    match configured {
        None => default,
        Some(GoDuration(duration)) => (!duration.is_zero()).then_some(duration),
    }
}

fn check_headers(section: &Section, headers: &HeaderMap) {
    for (name, value) in &headers.0 {
        let is_valid =
            http::HeaderName::try_from(name.as_str()).is_ok() && http::HeaderValue::try_from(value.reveal()).is_ok();
        if !is_valid {
            section.error_at(
                "response_headers",
                format!("{name:?} or its value is no valid HTTP header"),
            );
        }
    }
}

/// Adds the configured headers to an answer. They were checked, so none is left out.
pub fn add_headers(headers: &HeaderMap, to: &mut http::HeaderMap) {
    for (name, value) in &headers.0 {
        let name = http::HeaderName::try_from(name.as_str());
        let value = http::HeaderValue::try_from(value.reveal());
        if let (Ok(name), Ok(value)) = (name, value) {
            to.insert(name, value);
        }
    }
}
