//! The keys of the `awsxray` exporter, checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::delivery_config;
use crate::aws::access::{OnePlace, StaticCredentials, check_role, warn_without_region};
use crate::aws::xray::compose::Options;
use crate::aws::xray::translate::Compat;
use crate::component::{ComponentId, Delivery, QueueSettings, RetrySettings};
use crate::config::Section;
use crate::config::types::{ByteSize, Secret};
use crate::net::client::proxy::Proxy;

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    num_workers: usize,
    endpoint: String,
    request_timeout_seconds: u64,
    max_retries: u32,
    no_verify_ssl: bool,
    proxy_address: Secret,
    region: String,
    local_mode: bool,
    resource_arn: String,
    role_arn: String,
    external_id: String,
    indexed_attributes: Vec<String>,
    index_all_attributes: bool,
    aws_log_groups: Vec<String>,
    compat: Compat,
    max_request_bytes: ByteSize,
    profile: String,
    credentials: Option<StaticCredentials>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            num_workers: 8,
            endpoint: String::new(),
            request_timeout_seconds: 30,
            max_retries: 2,
            no_verify_ssl: false,
            proxy_address: Secret::default(),
            region: String::new(),
            local_mode: false,
            resource_arn: String::new(),
            role_arn: String::new(),
            external_id: String::new(),
            indexed_attributes: Vec::new(),
            index_all_attributes: false,
            aws_log_groups: Vec::new(),
            compat: Compat::None,
            max_request_bytes: ByteSize(1 << 20),
            profile: String::new(),
            credentials: None,
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct TelemetryKeys {
    enabled: bool,
    include_metadata: bool,
    contributors: Vec<String>,
    hostname: String,
    instance_id: String,
    resource_arn: String,
}

impl Default for TelemetryKeys {
    fn default() -> Self {
        Self {
            enabled: false,
            include_metadata: true,
            contributors: Vec::new(),
            hostname: String::new(),
            instance_id: String::new(),
            resource_arn: String::new(),
        }
    }
}

/// `telemetry`, where it is on.
#[derive(Clone, Debug, Default)]
pub(super) struct TelemetryConfig {
    /// What is not set is asked of the environment and the instance.
    pub(super) include_metadata: bool,
    /// Receivers whose segments are those that were received; none: what the exporter was given.
    pub(super) contributors: Vec<ComponentId>,
    pub(super) hostname: String,
    pub(super) instance_id: String,
    pub(super) resource_arn: String,
}

/// A checked configuration.
pub(super) struct Config {
    pub(super) delivery: Delivery,
    /// Calls at the same time.
    pub(super) workers: usize,
    pub(super) endpoint: String,
    /// Of one call.
    pub(super) timeout: Duration,
    /// Of one call, before the batch goes back to the queue.
    pub(super) retries: u32,
    pub(super) place: OnePlace,
    pub(super) local_mode: bool,
    pub(super) max_request_bytes: usize,
    /// Certificates are looked at.
    pub(super) verified: bool,
    /// On the way to X-Ray; else the environment's.
    pub(super) proxy: Option<Proxy>,
    pub(super) composing: Options,
    pub(super) telemetry: Option<TelemetryConfig>,
}

impl Config {
    /// Reads the section; problems are reported to it.
    pub(super) fn check(section: &Section) -> Option<Self> {
        let keys: Keys = section.read()?;
        let delivery = delivery_config::read(
            section,
            Delivery {
                queue: Some(QueueSettings::default()),
                retry: Some(RetrySettings::default()),
                timeout: None,
            },
        );
        if keys.no_verify_ssl {
            section.warn_at(
                "no_verify_ssl",
                "certificates are not verified: whoever is on the way can read and change what is sent",
            );
        }
        let proxy = match keys.proxy_address.reveal() {
            "" => None,
            text => Proxy::parse(text)
                .map_err(|problem| section.error_at("proxy_address", problem.to_string()))
                .ok(),
        };
        if keys.num_workers == 0 {
            section.error_at("num_workers", "must be at least 1");
        }
        if keys.request_timeout_seconds == 0 {
            section.error_at("request_timeout_seconds", "must be at least 1");
        }
        // One document must fit, with what JSON adds to it inside a text.
        let max_request_bytes = usize::try_from(keys.max_request_bytes.0).unwrap_or(usize::MAX);
        if max_request_bytes < 256 << 10 {
            section.error_at(
                "max_request_bytes",
                "must be at least 256KiB, for one document of 64 KiB",
            );
        }
        check_role(section, "role_arn", &keys.role_arn);
        if keys.role_arn.is_empty() && !keys.external_id.is_empty() {
            section.error_at("external_id", "needs `role_arn`");
        }
        let is_url = keys.endpoint.starts_with("http://") || keys.endpoint.starts_with("https://");
        if !keys.endpoint.is_empty() && !is_url {
            section.error_at("endpoint", "must be a URL that begins with http:// or https://");
        }
        if keys.region.is_empty() {
            warn_without_region(section, "region", keys.local_mode);
        }
        let telemetry = read_telemetry(section);
        Some(Self {
            delivery,
            workers: keys.num_workers.max(1),
            endpoint: keys.endpoint,
            timeout: Duration::from_secs(keys.request_timeout_seconds),
            retries: keys.max_retries,
            place: OnePlace {
                region: keys.region,
                role_arn: keys.role_arn,
                external_id: keys.external_id,
                profile: keys.profile,
                credentials: keys.credentials,
            },
            local_mode: keys.local_mode,
            max_request_bytes,
            verified: !keys.no_verify_ssl,
            proxy,
            composing: Options {
                indexed: keys.indexed_attributes.into_iter().collect(),
                index_all: keys.index_all_attributes,
                log_groups: keys.aws_log_groups,
                compat: keys.compat,
                resource_arn: keys.resource_arn,
            },
            telemetry,
        })
    }
}

fn read_telemetry(section: &Section) -> Option<TelemetryConfig> {
    let section = section.take("telemetry")?;
    let keys: TelemetryKeys = section.read().unwrap_or_default();
    for (index, contributor) in keys.contributors.iter().enumerate() {
        if ComponentId::new(contributor).type_name() != "awsxray" {
            section.error_at(
                &format!("contributors::{index}"),
                "must be the id of an `awsxray` receiver, such as awsxray or awsxray/2",
            );
        }
    }
    keys.enabled.then_some(TelemetryConfig {
        include_metadata: keys.include_metadata,
        contributors: keys.contributors.iter().map(|id| ComponentId::new(id)).collect(),
        hostname: keys.hostname,
        instance_id: keys.instance_id,
        resource_arn: keys.resource_arn,
    })
}
