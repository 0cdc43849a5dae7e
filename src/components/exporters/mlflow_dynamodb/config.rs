//! The keys of the `mlflow_dynamodb` exporter, checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::delivery_config;
use crate::aws::access::{OnePlace, StaticCredentials, check_role, warn_without_region};
use crate::component::{Delivery, QueueSettings, RetrySettings};
use crate::config::Section;
use crate::retention::archives::mlflow::table::TablePlace;
use crate::retention::archives::mlflow::write::Settings;
use crate::retention::archives::objects::place::{Bucket, Place, Root, check_endpoint};

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    table: String,
    experiment: String,
    region: String,
    endpoint: String,
    role_arn: String,
    external_id: String,
    profile: String,
    credentials: Option<StaticCredentials>,
    ttl_attribute: String,
    retention_days: Option<u32>,
    num_workers: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            table: String::new(),
            experiment: "0".to_owned(),
            region: String::new(),
            endpoint: String::new(),
            role_arn: String::new(),
            external_id: String::new(),
            profile: String::new(),
            credentials: None,
            ttl_attribute: "ttl".to_owned(),
            retention_days: None,
            num_workers: 8,
        }
    }
}

/// `oversize`: where traces go that are too large for an item.
#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct Oversize {
    url: String,
    region: String,
    endpoint: String,
    s3_force_path_style: bool,
}

/// A checked configuration.
pub(super) struct Config {
    pub(super) delivery: Delivery,
    pub(super) table: TablePlace,
    pub(super) settings: Settings,
    /// Traces at the same time.
    pub(super) workers: usize,
    pub(super) oversize: Option<Place>,
}

impl Config {
    /// Reads the section; problems are reported to it.
    pub(super) fn check(section: &Section) -> Option<Self> {
        let delivery = delivery_config::read(
            section,
            Delivery {
                queue: Some(QueueSettings::default()),
                retry: Some(RetrySettings::default()),
                timeout: None,
            },
        );
        let keys: Keys = section.read()?;
        for (key, value) in [
            ("table", &keys.table),
            ("experiment", &keys.experiment),
            ("ttl_attribute", &keys.ttl_attribute),
        ] {
            if value.is_empty() {
                section.error_at(key, "must be set");
            }
        }
        if keys.experiment.contains('#') {
            section.error_at("experiment", "must be the id of an experiment, without `#`");
        }
        if keys.num_workers == 0 {
            section.error_at("num_workers", "must be at least 1");
        }
        check_role(section, "role_arn", &keys.role_arn);
        if keys.role_arn.is_empty() && !keys.external_id.is_empty() {
            section.error_at("external_id", "needs `role_arn`");
        }
        if keys.region.is_empty() {
            warn_without_region(section, "region", false);
        }
        let place = OnePlace {
            region: keys.region,
            role_arn: keys.role_arn,
            external_id: keys.external_id,
            profile: keys.profile,
            credentials: keys.credentials,
        };
        let oversize = section
            .take("oversize")
            .and_then(|section| read_oversize(&section, &place));
        Some(Self {
            delivery,
            table: TablePlace {
                name: keys.table,
                ttl_attribute: keys.ttl_attribute,
                endpoint: check_endpoint(section, "endpoint", &keys.endpoint, true),
                place,
            },
            settings: Settings {
                experiment: keys.experiment,
                keep: keys.retention_days.map(|days| (days > 0).then_some(DAY * days)),
            },
            workers: keys.num_workers.max(1),
            oversize,
        })
    }
}

fn read_oversize(section: &Section, own: &OnePlace) -> Option<Place> {
    let keys: Oversize = section.read()?;
    if keys.url.is_empty() {
        section.error_at("url", "must be set: s3://bucket/prefix or file:///directory");
        return None;
    }
    let mut place = Place::parse_url(section, "url", &keys.url)?;
    if let Root::Bucket(bucket) = &mut place.root {
        let mut own = own.clone();
        if !keys.region.is_empty() {
            own.region = keys.region;
        }
        **bucket = Bucket {
            name: bucket.name.clone(),
            endpoint: check_endpoint(section, "endpoint", &keys.endpoint, true),
            path_style: keys.s3_force_path_style,
            place: own,
        };
    }
    Some(place)
}
