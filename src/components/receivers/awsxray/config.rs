//! The keys of the `awsxray` receiver, checked.

use serde::{Deserialize, Serialize};

use crate::aws::access::{OnePlace, StaticCredentials, check_role, warn_without_region};
use crate::aws::xray::hold::HoldSettings;
use crate::aws::xray::translate::{Compat, MetadataMode, Options, Semconv};
use crate::config::Section;
use crate::config::types::{ByteSize, GoDuration, Secret};
use crate::net::client::proxy::Proxy;
use crate::net::server::Endpoint;
use crate::net::tls::client::ClientTls;

const ENDPOINT: &str = "localhost:2000";

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    endpoint: String,
    transport: String,
    semconv: Option<Semconv>,
    compat: Compat,
    treat_client_errors: bool,
    keep_unknown: bool,
    inferred: Inferred,
    recv_buffer_bytes: ByteSize,
    sockets: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            endpoint: ENDPOINT.to_owned(),
            transport: "udp".to_owned(),
            semconv: None,
            compat: Compat::None,
            treat_client_errors: false,
            keep_unknown: false,
            inferred: Inferred::Drop,
            recv_buffer_bytes: ByteSize(8 << 20),
            sockets: 1,
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Inferred {
    #[default]
    Drop,
    Keep,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct InProgressKeys {
    timeout: Option<GoDuration>,
    emit_immediately: bool,
    max_held: Option<usize>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct MetadataKeys {
    mode: MetadataMode,
    max_bytes: Option<ByteSize>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct ProxyKeys {
    endpoint: Option<String>,
    proxy_address: Secret,
    region: String,
    role_arn: String,
    aws_endpoint: String,
    local_mode: bool,
    service_name: Option<String>,
    allow_paths: Vec<String>,
    profile: String,
    credentials: Option<StaticCredentials>,
}

/// A checked configuration.
pub(super) struct Config {
    pub(super) endpoint: Endpoint,
    pub(super) receive_buffer: usize,
    pub(super) sockets: usize,
    pub(super) translation: Options,
    pub(super) keep_inferred: bool,
    pub(super) hold: HoldSettings,
    pub(super) proxy: ProxyConfig,
}

/// `proxy_server`.
pub(super) struct ProxyConfig {
    pub(super) endpoint: Endpoint,
    pub(super) outbound: Option<Proxy>,
    pub(super) tls: ClientTls,
    pub(super) place: OnePlace,
    /// Else AWS's own for the region.
    pub(super) aws_endpoint: String,
    /// Neither ECS nor the instance is asked for a region.
    pub(super) local_mode: bool,
    pub(super) service_name: String,
    pub(super) allow_paths: Vec<String>,
}

impl Config {
    /// Reads the section; problems are reported to it.
    pub(super) fn check(section: &Section) -> Option<Self> {
        let keys: Keys = section.read()?;
        if keys.transport != "udp" {
            section.error_at("transport", "X-Ray segments come by `udp` only");
        }
        if keys.sockets == 0 || keys.sockets > 64 {
            section.error_at("sockets", "must be between 1 and 64");
        }
        let receive_buffer = usize::try_from(keys.recv_buffer_bytes.0).unwrap_or(usize::MAX);
        // The kernel takes it as an int, and doubles it.
        if !(4096..=1 << 29).contains(&receive_buffer) {
            section.error_at("recv_buffer_bytes", "must be between 4096 and 512MiB");
        }
        let endpoint = read_endpoint(section, "endpoint", &keys.endpoint);
        let hold = read_hold(section);
        let metadata: MetadataKeys = match section.take("metadata") {
            Some(section) => section.read().unwrap_or_default(),
            None => MetadataKeys::default(),
        };
        let defaults = Options::default();
        let as_compat = match keys.compat {
            Compat::None => Semconv::Stable,
            Compat::Collector => Semconv::Old,
        };
        let max_bytes = metadata
            .max_bytes
            .map(|size| usize::try_from(size.0).unwrap_or(usize::MAX));
        let translation = Options {
            semconv: keys.semconv.unwrap_or(as_compat),
            compat: keys.compat,
            treat_client_errors: keys.treat_client_errors,
            keep_unknown: keys.keep_unknown,
            metadata: metadata.mode,
            metadata_max_bytes: max_bytes.unwrap_or(defaults.metadata_max_bytes),
            ..defaults
        };
        let proxy = read_proxy(section);
        Some(Self {
            endpoint: endpoint?,
            receive_buffer,
            sockets: keys.sockets,
            translation,
            keep_inferred: keys.inferred == Inferred::Keep,
            hold,
            proxy: proxy?,
        })
    }
}

fn read_endpoint(section: &Section, key: &str, text: &str) -> Option<Endpoint> {
    match Endpoint::parse(text) {
        Ok(endpoint) => Some(endpoint),
        Err(problem) => {
            section.error_at(key, problem);
            None
        }
    }
}

fn read_hold(section: &Section) -> HoldSettings {
    let defaults = HoldSettings::default();
    let Some(section) = section.take("in_progress") else {
        return defaults;
    };
    let keys: InProgressKeys = section.read().unwrap_or_default();
    let settings = HoldSettings {
        timeout: keys.timeout.map_or(defaults.timeout, |timeout| timeout.0),
        emit_immediately: keys.emit_immediately,
        max_held: keys.max_held.unwrap_or(defaults.max_held),
    };
    if settings.timeout.is_zero() {
        section.error_at(
            "timeout",
            "must be more than zero; `emit_immediately: true` holds nothing",
        );
    }
    if settings.max_held == 0 {
        section.error_at("max_held", "must be at least 1");
    }
    settings
}

fn read_proxy(section: &Section) -> Option<ProxyConfig> {
    let proxy = section.take("proxy_server");
    let (keys, tls): (ProxyKeys, ClientTls) = match &proxy {
        Some(section) => (section.read()?, ClientTls::read(section)),
        None => (ProxyKeys::default(), ClientTls::default()),
    };
    let section = proxy.as_ref().unwrap_or(section);
    let endpoint = keys.endpoint.as_deref().unwrap_or(ENDPOINT);
    let endpoint = read_endpoint(section, "endpoint", endpoint)?;
    let outbound = match keys.proxy_address.reveal() {
        "" => None,
        text => match Proxy::parse(text) {
            Ok(proxy) => Some(proxy),
            Err(problem) => {
                section.error_at("proxy_address", problem.to_string());
                None
            }
        },
    };
    if !keys.aws_endpoint.is_empty() {
        let is_url = keys.aws_endpoint.starts_with("http://") || keys.aws_endpoint.starts_with("https://");
        if !is_url || keys.aws_endpoint.parse::<http::Uri>().is_err() {
            section.error_at("aws_endpoint", "must be a URL that begins with http:// or https://");
        }
    }
    check_role(section, "role_arn", &keys.role_arn);
    if keys.region.is_empty() {
        warn_without_region(section, "proxy_server::region", keys.local_mode);
    }
    for (index, path) in keys.allow_paths.iter().enumerate() {
        if !path.starts_with('/') || path.contains(['?', '#', '*']) {
            section.error_at(
                &format!("allow_paths::{index}"),
                "must be a path such as /GetSamplingStatisticSummaries",
            );
        }
    }
    Some(ProxyConfig {
        endpoint,
        outbound,
        tls,
        place: OnePlace {
            region: keys.region,
            role_arn: keys.role_arn,
            profile: keys.profile,
            credentials: keys.credentials,
            ..OnePlace::default()
        },
        aws_endpoint: keys.aws_endpoint.trim_end_matches('/').to_owned(),
        local_mode: keys.local_mode,
        service_name: keys
            .service_name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "xray".to_owned()),
        allow_paths: keys.allow_paths,
    })
}
