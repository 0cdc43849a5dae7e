//! The keys of the `awss3` exporter, checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::delivery_config;
use crate::aws::access::{OnePlace, StaticCredentials, check_role};
use crate::component::{Delivery, QueueSettings, RetrySettings, UnixNanos};
use crate::config::Section;
use crate::retention::archives::objects::body::{Compression, Marshaler};
use crate::retention::archives::objects::place::{Bucket, Place, Root, check_endpoint};
use crate::retention::archives::objects::write::{Layout, partition_at};

/// Keys of the Collector's that are not built, and what to do instead.
const NOT_BUILT: [(&str, &str); 5] = [
    ("acl", "set it on the bucket"),
    ("storage_class", "a lifecycle rule of the bucket can move objects"),
    ("retry_mode", "`retry_on_failure` says how often and when"),
    ("retry_max_attempts", "`retry_on_failure` says how often and when"),
    ("retry_max_backoff", "`retry_on_failure` says how often and when"),
];

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    url: String,
    marshaler: String,
    compression: Option<Compression>,
    profile: String,
    credentials: Option<StaticCredentials>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            url: String::new(),
            marshaler: Marshaler::default().name().to_owned(),
            compression: None,
            profile: String::new(),
            credentials: None,
        }
    }
}

/// `s3uploader`.
#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Uploader {
    region: String,
    s3_bucket: String,
    s3_base_prefix: String,
    s3_prefix: String,
    s3_partition_format: String,
    s3_partition_timezone: String,
    file_prefix: String,
    endpoint: String,
    s3_force_path_style: bool,
    disable_ssl: bool,
    role_arn: String,
    compression: Option<Compression>,
}

impl Default for Uploader {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            s3_bucket: String::new(),
            s3_base_prefix: String::new(),
            s3_prefix: String::new(),
            s3_partition_format: "year=%Y/month=%m/day=%d/hour=%H/minute=%M".to_owned(),
            s3_partition_timezone: "UTC".to_owned(),
            file_prefix: String::new(),
            endpoint: String::new(),
            s3_force_path_style: false,
            disable_ssl: false,
            role_arn: String::new(),
            compression: None,
        }
    }
}

/// A checked configuration.
pub(super) struct Config {
    pub(super) delivery: Delivery,
    pub(super) place: Place,
    pub(super) layout: Layout,
}

impl Config {
    /// Reads the section; problems are reported to it.
    pub(super) fn check(section: &Section) -> Option<Self> {
        for key in ["encoding", "encoding_file_extension", "resource_attrs_to_s3"] {
            if section.take(key).is_some() {
                section.error_at(key, format!("`{key}` is not built yet"));
            }
        }
        let delivery = delivery_config::read(
            section,
            Delivery {
                queue: Some(QueueSettings::default()),
                retry: Some(RetrySettings::default()),
                timeout: Some(Duration::from_secs(30)),
            },
        );
        let keys: Keys = section.read()?;
        let uploading = section.take("s3uploader");
        let uploader = match &uploading {
            Some(uploading) => read_uploader(uploading)?,
            None => Uploader::default(),
        };
        let at = uploading.as_ref().unwrap_or(section);
        let mut place = if keys.url.is_empty() {
            bucket_of(at, &uploader)
        } else {
            for key in ["s3_bucket", "s3_base_prefix", "s3_prefix"] {
                if uploading.as_ref().is_some_and(|uploading| uploading.has(key)) {
                    at.error_at(key, "cannot stand beside `url`, which says it too");
                }
            }
            Place::parse_url(section, "url", &keys.url)?
        };
        if let Root::Bucket(bucket) = &mut place.root {
            bucket.endpoint = check_endpoint(at, "endpoint", &uploader.endpoint, !uploader.disable_ssl);
            bucket.path_style = uploader.s3_force_path_style;
            bucket.place = OnePlace {
                region: uploader.region.clone(),
                role_arn: uploader.role_arn.clone(),
                external_id: String::new(),
                profile: keys.profile,
                credentials: keys.credentials,
            };
        }
        if keys.compression.is_some() && uploader.compression.is_some() {
            section.error_at("compression", "stands in `s3uploader` too: once is enough");
        }
        let marshaler = read_marshaler(section, &keys.marshaler);
        let compression = keys.compression.or(uploader.compression).unwrap_or_default();
        if marshaler.compresses_itself() && compression == Compression::Gzip {
            let key = if keys.compression.is_some() {
                "compression"
            } else {
                "s3uploader::compression"
            };
            section.error_at(key, "a Parquet file is compressed inside: `zstd` or `none`");
        }
        Some(Self {
            delivery,
            place,
            layout: Layout {
                partition: uploader.s3_partition_format,
                file_prefix: uploader.file_prefix,
                marshaler,
                compression,
            },
        })
    }
}

/// Those of the Collector's and ours that are not built are refused by name.
fn read_marshaler(section: &Section, name: &str) -> Marshaler {
    if let Some(found) = Marshaler::ALL.iter().find(|how| how.name() == name) {
        return *found;
    }
    let message = match name {
        Marshaler::PARQUET => {
            format!("`{name}`: this binary was built without Parquet (cargo feature `parquet`)")
        }
        "sumo_ic" | "body" => format!("`{name}` is not built yet: `otlp_json` and `otlp_proto` are"),
        _ => "must be `otlp_json` or `otlp_proto`".to_owned(),
    };
    section.error_at("marshaler", message);
    Marshaler::default()
}

fn read_uploader(section: &Section) -> Option<Uploader> {
    for (key, instead) in NOT_BUILT {
        if section.take(key).is_some() {
            section.error_at(key, format!("`{key}` is not built: {instead}"));
        }
    }
    if section.take("unique_key_func_name").is_some() {
        section.error_at(
            "unique_key_func_name",
            "is not built: an object is named by the hash of what is in it, so that a second try replaces the first",
        );
    }
    let uploader: Uploader = section.read()?;
    if !matches!(uploader.s3_partition_timezone.as_str(), "UTC" | "") {
        section.error_at("s3_partition_timezone", "only `UTC` is built");
    }
    let moment = UnixNanos::from_seconds(1_700_000_000);
    if let Err(error) = partition_at(&uploader.s3_partition_format, moment) {
        section.error_at("s3_partition_format", format!("is no strftime format: {error}"));
    }
    for key in ["file_prefix", "s3_partition_format"] {
        let text = if key == "file_prefix" {
            &uploader.file_prefix
        } else {
            &uploader.s3_partition_format
        };
        if text.split('/').any(|part| matches!(part, "." | "..")) {
            section.error_at(key, "must not go to a folder above");
        }
    }
    check_role(section, "role_arn", &uploader.role_arn);
    Some(uploader)
}

fn bucket_of(section: &Section, uploader: &Uploader) -> Place {
    if uploader.s3_bucket.is_empty() {
        section.error_at("s3_bucket", "must be set, or `url` beside `s3uploader`");
    }
    let prefixes = [&uploader.s3_base_prefix, &uploader.s3_prefix];
    let prefixes = prefixes.map(|prefix| prefix.trim_matches('/'));
    let prefixes: Vec<&str> = prefixes.into_iter().filter(|prefix| !prefix.is_empty()).collect();
    let bucket = Bucket {
        name: uploader.s3_bucket.clone(),
        ..Bucket::default()
    };
    Place {
        root: Root::Bucket(Box::new(bucket)),
        prefix: prefixes.join("/"),
    }
}
