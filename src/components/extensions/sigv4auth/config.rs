//! The keys of `sigv4auth`: the Collector's, and static credentials and an endpoint of STS for what is not AWS.

use serde::{Deserialize, Serialize};

use crate::aws::access::{AccountSettings, EndpointSettings, StaticCredentials, account_of_arn};
use crate::aws::{AccessSettings, Place};
use crate::config::Section;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    region: String,
    service: String,
    profile: String,
    sts_endpoint: String,
    credentials: Option<StaticCredentials>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct RoleKeys {
    arn: String,
    session_name: String,
    sts_region: String,
    external_id: String,
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Empty: from the host.
    pub region: String,
    /// Empty: from the host.
    pub service: String,
    pub access: AccessSettings,
    pub role: Option<AccountSettings>,
    /// Where the role is assumed.
    pub sts_region: String,
}

impl Config {
    /// Reads the section; problems are reported to it.
    pub fn read(section: &Section) -> Option<Self> {
        let keys: Keys = section.read()?;
        let role = match section.take("assume_role") {
            Some(role) => role.read::<RoleKeys>()?,
            None => RoleKeys::default(),
        };
        if !role.arn.is_empty() && account_of_arn(&role.arn).is_none() {
            let message = "must be the ARN of a role: arn:aws:iam::123456789012:role/NAME";
            section.error_at("assume_role::arn", message);
        }
        if role.arn.is_empty() && !(role.external_id.is_empty() && role.sts_region.is_empty()) {
            section.error_at("assume_role", "has no `arn`");
        }
        let sts_region = if role.sts_region.is_empty() {
            keys.region.clone()
        } else {
            role.sts_region.clone()
        };
        let access = AccessSettings {
            regions: Some(sts_region.clone())
                .filter(|region| !region.is_empty())
                .into_iter()
                .collect(),
            profile: keys.profile,
            endpoints: EndpointSettings {
                sts: keys.sts_endpoint,
                ..EndpointSettings::default()
            },
            credentials: keys.credentials,
            ..AccessSettings::default()
        };
        Some(Self {
            region: keys.region,
            service: keys.service,
            role: (!role.arn.is_empty()).then(|| AccountSettings {
                role_arn: role.arn,
                external_id: role.external_id,
                session_name: role.session_name,
                ..AccountSettings::default()
            }),
            access,
            sts_region,
        })
    }

    /// Where credentials are taken from; `region`: that of the first request.
    pub fn place(&self, region: &str) -> Place {
        let region = if self.sts_region.is_empty() {
            region
        } else {
            &self.sts_region
        };
        Place {
            role: self.role.clone(),
            region: region.to_owned(),
        }
    }
}
