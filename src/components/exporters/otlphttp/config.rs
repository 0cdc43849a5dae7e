//! The keys of the `otlphttp` exporter, checked.

use std::time::Duration;

use base64::Engine;
use http::{HeaderMap as HttpHeaders, HeaderName, HeaderValue, Uri, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::super::{client_auth, delivery_config};
use crate::component::{ComponentId, Delivery, QueueSettings, RetrySettings};
use crate::config::Section;
use crate::config::types::{ByteSize, GoDuration, HeaderMap, SecretUrl};
use crate::net::client::proxy::{Proxy, ProxyRules};
use crate::net::codec::compress::{Compression, Compressor};
use crate::net::tls::client::ClientTls;
use crate::pdata::Signal;

const MAX_IDLE: usize = 100;
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Go's default.
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Keys of the Collector's HTTP client that are not built.
const NOT_BUILT: [&str; 2] = ["middlewares", "cookies"];

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct Keys {
    endpoint: SecretUrl,
    traces_endpoint: SecretUrl,
    metrics_endpoint: SecretUrl,
    logs_endpoint: SecretUrl,
    proxy_url: SecretUrl,
    encoding: String,
    compression: Option<String>,
    headers: HeaderMap,
    read_buffer_size: Option<ByteSize>,
    write_buffer_size: Option<ByteSize>,
    max_idle_conns: Option<usize>,
    max_idle_conns_per_host: Option<usize>,
    max_conns_per_host: Option<usize>,
    idle_conn_timeout: Option<GoDuration>,
    disable_keep_alives: bool,
    http2_read_idle_timeout: Option<GoDuration>,
    http2_ping_timeout: Option<GoDuration>,
    force_attempt_http2: Option<bool>,
    split: String,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct CompressionParams {
    level: Option<i32>,
}

/// `encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// Where one signal goes.
#[derive(Clone, Debug)]
pub struct Address {
    pub uri: Uri,
    /// From a user and password in the URL, which are not sent as part of it.
    pub authorization: Option<HeaderValue>,
}

/// A checked configuration.
pub struct Config {
    /// By signal; `None` where nothing says where that signal goes.
    pub addresses: [Option<Address>; 3],
    pub encoding: Encoding,
    /// Algorithm, level, and its name in `content-encoding`.
    pub compression: Option<(Compression, Option<i32>, &'static str)>,
    pub tls: ClientTls,
    pub proxies: ProxySource,
    /// Values marked sensitive.
    pub headers: HttpHeaders,
    pub max_idle: usize,
    pub max_connections: Option<usize>,
    pub idle_timeout: Option<Duration>,
    pub no_keepalive: bool,
    pub http2: bool,
    pub http2_ping_after: Option<Duration>,
    pub http2_ping_timeout: Duration,
    pub read_buffer: Option<usize>,
    pub write_buffer: Option<usize>,
    pub delivery: Delivery,
    /// The extension that proves who we are.
    pub auth: Option<ComponentId>,
    /// Requests are cut to what AWS takes.
    pub split_for_aws: bool,
}

/// Where proxies are named.
pub enum ProxySource {
    /// `proxy_url`.
    Configured(ProxyRules),
    /// Read when the exporter is built.
    Environment,
}

impl Config {
    /// Reads the section; problems are reported to it.
    pub fn read(section: &Section) -> Option<Self> {
        let keys: Keys = section.read().unwrap_or_default();
        for key in NOT_BUILT {
            if section.take(key).is_some() {
                section.error_at(key, format!("`{key}` is not built yet"));
            }
        }
        if section.take("profiles_endpoint").is_some() {
            section.warn_at("profiles_endpoint", "has no effect: there are no profiles here");
        }
        let delivery = delivery_config::read(section, default_delivery());
        let some = |duration: Option<GoDuration>| duration.map(|value| value.0).filter(|value| !value.is_zero());
        let bytes = |size: Option<ByteSize>| {
            let size = size.map_or(0, |size| size.0);
            usize::try_from(size).ok().filter(|size| *size > 0)
        };
        let addresses = read_addresses(section, &keys)?;
        let split_for_aws = read_split(section, &keys.split, &addresses);
        let auth = client_auth::read(section);
        let plain = addresses
            .iter()
            .flatten()
            .find(|address| address.uri.scheme_str() == Some("http"));
        if let (Some(_), Some(plain)) = (&auth, plain) {
            client_auth::warn_of_plain_text(section, plain.uri.host().unwrap_or_default());
        }
        section.settle_all(&json!({
            "encoding": "proto",
            "compression": "gzip",
            "max_idle_conns": MAX_IDLE,
            "idle_conn_timeout": GoDuration(IDLE_TIMEOUT),
            "force_attempt_http2": !split_for_aws,
            "http2_ping_timeout": GoDuration(PING_TIMEOUT),
        }));
        Some(Self {
            auth,
            split_for_aws,
            addresses,
            encoding: read_encoding(section, &keys.encoding),
            compression: read_compression(section, keys.compression.as_deref()),
            tls: ClientTls::read(section),
            proxies: read_proxy(section, keys.proxy_url.reveal()),
            headers: read_headers(section, &keys.headers),
            max_idle: lower_bound(
                keys.max_idle_conns.unwrap_or(MAX_IDLE),
                keys.max_idle_conns_per_host.unwrap_or(0),
            ),
            max_connections: keys.max_conns_per_host.filter(|most| *most > 0),
            idle_timeout: match keys.idle_conn_timeout {
                None => Some(IDLE_TIMEOUT),
                given => some(given),
            },
            no_keepalive: keys.disable_keep_alives,
            // AWS' OTLP endpoints speak HTTP/1.1 only.
            http2: keys.force_attempt_http2.unwrap_or(!split_for_aws),
            http2_ping_after: some(keys.http2_read_idle_timeout),
            http2_ping_timeout: some(keys.http2_ping_timeout).unwrap_or(PING_TIMEOUT),
            read_buffer: bytes(keys.read_buffer_size),
            write_buffer: bytes(keys.write_buffer_size),
            delivery,
        })
    }
}

fn default_delivery() -> Delivery {
    Delivery {
        queue: Some(QueueSettings::default()),
        retry: Some(RetrySettings::default()),
        timeout: Some(Duration::from_secs(30)),
    }
}

/// Of two bounds of which zero means "none" the lower.
fn lower_bound(one: usize, other: usize) -> usize {
    match (one, other) {
        (0, 0) => usize::MAX,
        (0, bound) | (bound, 0) => bound,
        (one, other) => one.min(other),
    }
}

fn read_addresses(section: &Section, keys: &Keys) -> Option<[Option<Address>; 3]> {
    let own = [
        ("traces_endpoint", &keys.traces_endpoint),
        ("metrics_endpoint", &keys.metrics_endpoint),
        ("logs_endpoint", &keys.logs_endpoint),
    ];
    let base = keys.endpoint.reveal().trim();
    if base.is_empty() && own.iter().all(|(_, url)| url.reveal().is_empty()) {
        section.error_at(
            "endpoint",
            "at least one endpoint must be specified, e.g. `https://collector.example:4318`",
        );
        return None;
    }
    let base_is_good = base.is_empty() || read_url(section, "endpoint", base).is_some();
    let mut sound = base_is_good;
    let mut addresses = [None, None, None];
    for (signal, (key, url)) in Signal::ALL.into_iter().zip(own) {
        let url = url.reveal().trim();
        let address = if !url.is_empty() {
            read_url(section, key, url)
        } else if !base.is_empty() && base_is_good {
            let slash = if base.ends_with('/') { "" } else { "/" };
            read_url(section, "endpoint", &format!("{base}{slash}v1/{}", signal.name()))
        } else {
            continue;
        };
        sound &= address.is_some();
        addresses[signal as usize] = address;
    }
    sound.then_some(addresses)
}

fn read_split(section: &Section, text: &str, addresses: &[Option<Address>; 3]) -> bool {
    let is_aws = |address: &Address| {
        let host = address.uri.host().unwrap_or_default();
        let known = host.starts_with("xray.") || host.starts_with("logs.");
        known && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
    };
    match text {
        "" => addresses.iter().flatten().any(is_aws),
        "none" => false,
        "aws" => true,
        other => {
            section.error_at("split", format!("unknown split {other:?}; known are none and aws"));
            false
        }
    }
}

fn read_url(section: &Section, key: &str, text: &str) -> Option<Address> {
    let report = |message: &str| {
        section.error_at(key, message);
        None
    };
    let Ok(mut url) = Url::parse(text) else {
        return report("is no URL; write it like `https://collector.example:4318`");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return report("must begin with http:// or https:// and name a host");
    }
    let authorization = basic_auth(&url);
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return report("is no URL that can be sent to");
    }
    url.set_fragment(None);
    match Uri::try_from(url.as_str()) {
        Ok(uri) => Some(Address { uri, authorization }),
        Err(_) => report("is no URL that can be sent to"),
    }
}

fn basic_auth(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let pair = format!(
        "{}:{}",
        decode(url.username()),
        decode(url.password().unwrap_or_default())
    );
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn read_encoding(section: &Section, name: &str) -> Encoding {
    match name {
        "" | "proto" => Encoding::Protobuf,
        "json" => Encoding::Json,
        other => {
            section.error_at(
                "encoding",
                format!("unknown encoding {other:?}; known are proto and json"),
            );
            Encoding::Protobuf
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
        "zlib" => (Compression::Zlib, "zlib"),
        "deflate" => (Compression::Zlib, "deflate"),
        "zstd" => (Compression::Zstd, "zstd"),
        "snappy" => (Compression::SnappyBlock, "snappy"),
        "x-snappy-framed" => (Compression::SnappyFramed, "x-snappy-framed"),
        "lz4" => (Compression::Lz4, "lz4"),
        "none" | "" => return None,
        other => {
            let known = "gzip, zlib, deflate, zstd, snappy, x-snappy-framed, lz4 and none";
            section.error_at(
                "compression",
                format!("unknown compression {other:?}; known are {known}"),
            );
            return None;
        }
    };
    if let Err(problem) = Compressor::new(kind, level) {
        section.error_at("compression_params::level", problem.to_string());
    }
    Some((kind, level, wire_name))
}

fn read_proxy(section: &Section, url: &str) -> ProxySource {
    if url.is_empty() {
        return ProxySource::Environment;
    }
    match Proxy::parse(url) {
        Ok(proxy) => ProxySource::Configured(ProxyRules::always(proxy)),
        Err(problem) => {
            section.error_at("proxy_url", problem.to_string());
            ProxySource::Environment
        }
    }
}

fn read_headers(section: &Section, headers: &HeaderMap) -> HttpHeaders {
    let mut map = HttpHeaders::new();
    for (name, value) in &headers.0 {
        let Ok(header) = HeaderName::try_from(name.as_str()) else {
            section.error_at("headers", format!("{name:?} is no header name"));
            continue;
        };
        let ours = [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONTENT_ENCODING,
            header::CONNECTION,
        ];
        if ours.contains(&header) {
            section.error_at("headers", format!("{name:?} follows from the body and cannot be set"));
            continue;
        }
        let Ok(mut value) = HeaderValue::try_from(value.reveal()) else {
            section.error_at(
                "headers",
                format!("the value of {name:?} holds characters a header cannot carry"),
            );
            continue;
        };
        value.set_sensitive(true);
        map.append(header, value);
    }
    map
}
