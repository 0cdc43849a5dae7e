//! The keys of the `awsxray` exporter, checked.

use std::time::Duration;

use serde::Deserialize;

use super::super::delivery_config;
use crate::aws::access::{StaticCredentials, account_of_arn};
use crate::aws::xray::compose::Options;
use crate::aws::xray::translate::Compat;
use crate::component::{Delivery, QueueSettings, RetrySettings};
use crate::config::Section;
use crate::config::types::ByteSize;

#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    num_workers: usize,
    endpoint: String,
    request_timeout_seconds: u64,
    max_retries: u32,
    no_verify_ssl: bool,
    proxy_address: String,
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
            proxy_address: String::new(),
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

#[derive(Deserialize)]
#[serde(default)]
struct TelemetryKeys {
    enabled: bool,
    include_metadata: bool,
    hostname: String,
    instance_id: String,
    resource_arn: String,
}

impl Default for TelemetryKeys {
    fn default() -> Self {
        Self {
            enabled: false,
            include_metadata: true,
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
    pub(super) region: String,
    pub(super) local_mode: bool,
    pub(super) role_arn: String,
    pub(super) external_id: String,
    pub(super) profile: String,
    pub(super) credentials: Option<StaticCredentials>,
    pub(super) max_request_bytes: usize,
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
            section.error_at(
                "no_verify_ssl",
                "`no_verify_ssl` is not built yet: certificates are verified",
            );
        }
        if !keys.proxy_address.is_empty() {
            section.error_at("proxy_address", "`proxy_address` is not built yet");
        }
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
        if !keys.role_arn.is_empty() && account_of_arn(&keys.role_arn).is_none() {
            section.error_at(
                "role_arn",
                "must be the ARN of a role: arn:aws:iam::123456789012:role/NAME",
            );
        }
        if keys.role_arn.is_empty() && !keys.external_id.is_empty() {
            section.error_at("external_id", "needs `role_arn`");
        }
        let is_url = keys.endpoint.starts_with("http://") || keys.endpoint.starts_with("https://");
        if !keys.endpoint.is_empty() && !is_url {
            section.error_at("endpoint", "must be a URL that begins with http:// or https://");
        }
        let telemetry = read_telemetry(section);
        Some(Self {
            delivery,
            workers: keys.num_workers.max(1),
            endpoint: keys.endpoint,
            timeout: Duration::from_secs(keys.request_timeout_seconds),
            retries: keys.max_retries,
            region: keys.region,
            local_mode: keys.local_mode,
            role_arn: keys.role_arn,
            external_id: keys.external_id,
            profile: keys.profile,
            credentials: keys.credentials,
            max_request_bytes,
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
    if section.take("contributors").is_some() {
        section.error_at(
            "contributors",
            "`contributors` is not built yet: each exporter reports its own segments",
        );
    }
    let keys: TelemetryKeys = section.read().unwrap_or_default();
    keys.enabled.then_some(TelemetryConfig {
        include_metadata: keys.include_metadata,
        hostname: keys.hostname,
        instance_id: keys.instance_id,
        resource_arn: keys.resource_arn,
    })
}
