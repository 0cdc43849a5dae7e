//! Who we are to AWS and where: profile, static keys, roles of other accounts, regions, endpoint overrides. One HTTP
//! client, one time source and one configuration shared by every client.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::identity::IdentityCache;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_cloudwatch::config::retry::RetryConfig;
use aws_sdk_cloudwatch::config::timeout::TimeoutConfig;
use aws_smithy_async::time::TimeSource;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use serde::{Deserialize, Serialize};

use super::ServerTime;
use super::json::{JsonClient, Service};
use crate::component::Clock;
use crate::config::Section;
use crate::config::types::Secret;

/// The settings that every AWS receiver has.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AccessSettings {
    pub regions: Vec<String>,
    pub accounts: Vec<AccountSettings>,
    pub profile: String,
    pub endpoint: String,
    #[serde(skip)]
    pub endpoints: EndpointSettings,
    pub credentials: Option<StaticCredentials>,
    /// How long one attempt of a call may take, where it is less than usual.
    #[serde(skip)]
    pub attempt: Option<Duration>,
}

impl AccessSettings {
    /// Reads the keys of this group from a receiver's section. Problems are reported to the section.
    pub fn read(section: &Section) -> Option<Self> {
        let mut settings: Self = section.read()?;
        if let Some(endpoints) = section.take("endpoints") {
            settings.endpoints = endpoints.read()?;
        }
        for (position, account) in settings.accounts.iter().enumerate() {
            if account_of_arn(&account.role_arn).is_none() {
                let key = format!("accounts::{position}::role_arn");
                section.error_at(&key, "must be the ARN of a role: arn:aws:iam::123456789012:role/NAME");
            }
        }
        Some(settings)
    }
}

/// `accounts[]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountSettings {
    pub role_arn: String,
    pub external_id: String,
    pub session_name: String,
    /// Else those of the receiver.
    pub regions: Vec<String>,
}

/// `endpoints`: per service, before `endpoint`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSettings {
    pub cloudwatch: String,
    pub dynamodb: String,
    pub logs: String,
    pub sagemaker: String,
    pub sts: String,
    pub tagging: String,
    pub xray: String,
}

/// `credentials`: static keys, for tests and for endpoints that are not AWS.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StaticCredentials {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Secret,
}

/// Credentials are asked for anew so long before they expire.
const EARLY: Duration = Duration::from_secs(300);
/// The connection times out after ...
const CONNECT: Duration = Duration::from_secs(3);
/// ... and one attempt after.
const ATTEMPT: Duration = Duration::from_secs(15);

/// The server's time as the SDK's: signatures of a machine whose clock is wrong are right after the first answer.
struct SdkTime(Arc<ServerTime>);

impl std::fmt::Debug for SdkTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SdkTime")
    }
}

impl TimeSource for SdkTime {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.0.since_epoch()
    }
}

/// One account (by role, or our own) in one region.
#[derive(Clone, Debug)]
pub struct Place {
    pub role: Option<AccountSettings>,
    pub region: String,
}

impl Place {
    /// For logs and states: `eu-central-1` or `<role> in eu-central-1`.
    pub fn name(&self) -> String {
        match &self.role {
            None => self.region.clone(),
            Some(role) => format!("{} in {}", role.role_arn, self.region),
        }
    }
}

/// The loaded configuration that all clients are made from.
pub struct Access {
    settings: AccessSettings,
    clock: Arc<dyn Clock>,
    time: Arc<ServerTime>,
    base: SdkConfig,
}

impl Access {
    /// Reads profile and environment; asks the instance metadata service for a region where none is given. Takes
    /// seconds at worst, and does not fail: what is missing shows at the first call.
    pub async fn load(settings: AccessSettings, clock: Arc<dyn Clock>) -> Self {
        let time = Arc::new(ServerTime::new(Arc::clone(&clock)));
        Self::with_time(settings, clock, time).await
    }

    async fn with_time(settings: AccessSettings, clock: Arc<dyn Clock>, time: Arc<ServerTime>) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(settings.attempt.map_or(ATTEMPT, |attempt| attempt.min(ATTEMPT)))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .time_source(SdkTime(Arc::clone(&time)))
            // The SDK's own retries would bypass our rate limits and the bill's count.
            .retry_config(RetryConfig::disabled())
            .identity_cache(IdentityCache::lazy().buffer_time(EARLY).build())
            .timeout_config(timeouts);
        if let Some(region) = settings.regions.first() {
            loader = loader.region(Region::new(region.clone()));
        }
        if !settings.profile.is_empty() {
            loader = loader.profile_name(&settings.profile);
        }
        if let Some(keys) = &settings.credentials {
            let token = Some(keys.session_token.reveal()).filter(|token| !token.is_empty());
            loader = loader.credentials_provider(Credentials::new(
                keys.access_key_id.clone(),
                keys.secret_access_key.reveal(),
                token.map(str::to_owned),
                None,
                "configuration",
            ));
        }
        Self {
            settings,
            clock,
            time,
            base: loader.load().await,
        }
    }

    /// The same read anew: profile, environment and credentials as they are now, none of what was cached.
    pub async fn renewed(&self) -> Self {
        Self::with_time(self.settings.clone(), Arc::clone(&self.clock), Arc::clone(&self.time)).await
    }

    /// The server's time, unix seconds: the machine's where no answer has come yet.
    pub fn now(&self) -> i64 {
        i64::try_from(self.time.since_epoch().as_secs()).unwrap_or(i64::MAX)
    }

    /// Every account and region to ask. Empty where no region is known.
    pub fn places(&self) -> Vec<Place> {
        let mut own = self.settings.regions.clone();
        if own.is_empty() {
            own.extend(self.base.region().map(|region| region.as_ref().to_owned()));
        }
        if self.settings.accounts.is_empty() {
            return own.into_iter().map(|region| Place { role: None, region }).collect();
        }
        let mut places = Vec::new();
        for account in &self.settings.accounts {
            let regions = if account.regions.is_empty() {
                &own
            } else {
                &account.regions
            };
            places.extend(regions.iter().map(|region| Place {
                role: Some(account.clone()),
                region: region.clone(),
            }));
        }
        places
    }

    /// The configuration of one place, with its region and credentials.
    pub async fn config(&self, place: &Place) -> SdkConfig {
        let here = self
            .base
            .clone()
            .into_builder()
            .region(Region::new(place.region.clone()))
            .build();
        let Some(role) = &place.role else { return here };
        let sts = self.with_endpoint(here.clone(), &self.settings.endpoints.sts);
        let session = if role.session_name.is_empty() {
            "radiosonde"
        } else {
            &role.session_name
        };
        let mut provider = AssumeRoleProvider::builder(&role.role_arn)
            .session_name(session)
            .region(Region::new(place.region.clone()))
            .configure(&sts);
        if !role.external_id.is_empty() {
            provider = provider.external_id(&role.external_id);
        }
        let provider = match sts.credentials_provider() {
            Some(own) => provider.build_from_provider(own).await,
            None => provider.build().await,
        };
        here.into_builder()
            .credentials_provider(SharedCredentialsProvider::new(provider))
            .build()
    }

    fn with_endpoint(&self, config: SdkConfig, own: &str) -> SdkConfig {
        let url = if own.is_empty() { &self.settings.endpoint } else { own };
        if url.is_empty() {
            return config;
        }
        config.into_builder().endpoint_url(url).build()
    }

    /// Where CloudWatch is asked; empty: where AWS says.
    pub fn cloudwatch_endpoint(&self) -> &str {
        let own = &self.settings.endpoints.cloudwatch;
        if own.is_empty() { &self.settings.endpoint } else { own }
    }

    /// A CloudWatch client.
    pub fn cloudwatch(&self, config: &SdkConfig) -> aws_sdk_cloudwatch::Client {
        let config = self.with_endpoint(config.clone(), &self.settings.endpoints.cloudwatch);
        let config = aws_sdk_cloudwatch::config::Builder::from(&config).interceptor(self.time.reader());
        aws_sdk_cloudwatch::Client::from_conf(config.build())
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self, config: &SdkConfig) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.with_endpoint(config.clone(), &self.settings.endpoints.dynamodb))
    }

    /// A client of a service that has no SDK client here.
    pub fn json(&self, config: &SdkConfig, service: Service) -> JsonClient {
        let own = match service {
            Service::SageMaker => &self.settings.endpoints.sagemaker,
            Service::Tagging => &self.settings.endpoints.tagging,
            Service::Logs => &self.settings.endpoints.logs,
        };
        let endpoint = if own.is_empty() { &self.settings.endpoint } else { own };
        // As the SDK's clients do: AWS_ENDPOINT_URL, or `endpoint_url` of the profile.
        let endpoint = match config.endpoint_url() {
            Some(named) if endpoint.is_empty() => named,
            _ => endpoint.as_str(),
        };
        JsonClient::new(service, config, endpoint, SdkTime(Arc::clone(&self.time)))
    }

    /// The configuration of an X-Ray client, to which a caller may add.
    pub fn xray(&self, config: &SdkConfig) -> aws_sdk_xray::config::Builder {
        aws_sdk_xray::config::Builder::from(&self.with_endpoint(config.clone(), &self.settings.endpoints.xray))
    }

    /// An SNS client.
    pub fn sns(&self, config: &SdkConfig) -> aws_sdk_sns::Client {
        let config = self.with_endpoint(config.clone(), "");
        let config = aws_sdk_sns::config::Builder::from(&config).interceptor(self.time.reader());
        aws_sdk_sns::Client::from_conf(config.build())
    }

    /// An STS client.
    pub fn sts(&self, config: &SdkConfig) -> aws_sdk_sts::Client {
        let config = self.with_endpoint(config.clone(), &self.settings.endpoints.sts);
        let config = aws_sdk_sts::config::Builder::from(&config).interceptor(self.time.reader());
        aws_sdk_sts::Client::from_conf(config.build())
    }
}

/// Reports a `role_arn` that is none. Empty: no role.
pub fn check_role(section: &Section, key: &str, arn: &str) {
    if !arn.is_empty() && account_of_arn(arn).is_none() {
        section.error_at(key, "must be the ARN of a role: arn:aws:iam::123456789012:role/NAME");
    }
}

/// Who talks to one account and region only.
#[derive(Clone, Debug, Default)]
pub struct OnePlace {
    /// Empty: that of the profile, else of the instance.
    pub region: String,
    /// Empty: no role.
    pub role_arn: String,
    pub external_id: String,
    pub profile: String,
    pub credentials: Option<StaticCredentials>,
}

impl OnePlace {
    /// The region and the configuration of its clients; `None` where no region is known.
    pub async fn load(self, clock: Arc<dyn Clock>) -> Option<(String, SdkConfig)> {
        let settings = AccessSettings {
            regions: Some(self.region)
                .filter(|region| !region.is_empty())
                .into_iter()
                .collect(),
            profile: self.profile,
            credentials: self.credentials,
            ..AccessSettings::default()
        };
        let access = Access::load(settings, clock).await;
        let region = access.places().into_iter().next()?.region;
        let role = (!self.role_arn.is_empty()).then(|| AccountSettings {
            role_arn: self.role_arn,
            external_id: self.external_id,
            ..AccountSettings::default()
        });
        let place = Place {
            role,
            region: region.clone(),
        };
        let config = access.config(&place).await;
        Some((region, config))
    }
}

/// Warns, where a configuration is checked, that it names no region and the environment does not either. `own_only`:
/// nobody else will be asked.
pub fn warn_without_region(section: &Section, key: &str, own_only: bool) {
    let is_set = |name: &str| std::env::var(name).is_ok_and(|region| !region.is_empty());
    if ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().any(is_set) {
        return;
    }
    let rest = if own_only {
        "and with `local_mode` nobody else is asked: nothing can be sent to AWS"
    } else {
        "if profile, container and instance do not tell one either, nothing can be sent to AWS"
    };
    section.warn(format!(
        "no region: neither `{key}` nor AWS_REGION or AWS_DEFAULT_REGION is set; {rest}"
    ));
}

/// The account of a role's ARN (`arn:aws:iam::<account>:role/...`).
pub fn account_of_arn(arn: &str) -> Option<&str> {
    arn.split(':')
        .nth(4)
        .filter(|account| account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `aws`, `aws-cn`, `aws-us-gov` by the region's name: the second part of every ARN.
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}
