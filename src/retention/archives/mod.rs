//! The archives that can be asked: buckets and directories of objects, and DynamoDB tables.
//!
//! An element of `archives` is read here, and opened as a [`super::archive::Archive`].

pub mod mlflow;
pub mod objects;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::mlflow::table::TablePlace;
use self::mlflow::{Experiments, MlflowArchive};
use self::objects::body::Marshaler;
use self::objects::place::{Bucket, Place, Root, check_endpoint};
use self::objects::{ObjectArchive, ReadSettings};
use super::archive::{Archive, ArchiveError};
use crate::aws::access::{OnePlace, StaticCredentials, check_role};
use crate::aws::permission::Permission;
use crate::component::Clock;
use crate::config::Section;

const DAY: Duration = Duration::from_secs(86_400);
/// The only layout of a table that is known.
const LAYOUT: &str = "mlflow-dynamodbstore";

/// One checked element of `archives`.
#[allow(clippy::large_enum_variant)] // A handful for each configuration.
#[derive(Clone, Debug)]
pub enum ArchivePlan {
    Objects {
        place: Place,
        settings: ReadSettings,
    },
    Table {
        name: String,
        place: Box<TablePlace>,
        experiments: Experiments,
        lifetime: Option<Option<Duration>>,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct TableKeys {
    table: String,
    layout: String,
    /// One or many; `auto` alone.
    experiments: Vec<String>,
    region: String,
    endpoint: String,
    role_arn: String,
    profile: String,
    credentials: Option<StaticCredentials>,
    ttl_attribute: String,
    lifetime_days: Option<u32>,
}

impl Default for TableKeys {
    fn default() -> Self {
        Self {
            table: String::new(),
            layout: LAYOUT.to_owned(),
            experiments: vec!["auto".to_owned()],
            region: String::new(),
            endpoint: String::new(),
            role_arn: String::new(),
            profile: String::new(),
            credentials: None,
            ttl_attribute: "ttl".to_owned(),
            lifetime_days: None,
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct ObjectKeys {
    bucket: String,
    prefix: String,
    url: String,
    region: String,
    endpoint: String,
    s3_force_path_style: bool,
    role_arn: String,
    profile: String,
    credentials: Option<StaticCredentials>,
    format: String,
    days_after: u32,
    lifetime_days: Option<u32>,
}

impl Default for ObjectKeys {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            url: String::new(),
            region: String::new(),
            endpoint: String::new(),
            s3_force_path_style: false,
            role_arn: String::new(),
            profile: String::new(),
            credentials: None,
            format: String::new(),
            days_after: 1,
            lifetime_days: None,
        }
    }
}

impl ArchivePlan {
    /// Reads one element: a map with `s3` or `dynamodb`. Problems are reported to the section.
    pub fn check(section: &Section) -> Option<Self> {
        if let Some(section) = section.take("s3") {
            return read_objects(&section);
        }
        if let Some(section) = section.take("dynamodb") {
            return read_table(&section);
        }
        section.error("must be one of `s3`, `dynamodb` and `ledger`");
        None
    }

    /// An archive of objects at a URL, reached as the environment says.
    ///
    /// # Errors
    /// Why it is none.
    pub fn of_url(url: &str) -> Result<Self, String> {
        let yaml = serde_json::json!({"s3": {"url": url}}).to_string();
        let section = Section::from_yaml(&yaml);
        Self::check(&section).ok_or_else(|| section.problems().join("\n"))
    }

    /// As states and metrics name it.
    pub fn name(&self) -> &str {
        match self {
            ArchivePlan::Objects { settings, .. } => &settings.name,
            ArchivePlan::Table { name, .. } => name,
        }
    }

    /// What reading it needs of AWS.
    pub fn permissions(&self) -> Vec<Permission> {
        match self {
            ArchivePlan::Objects { place, settings } => {
                let Root::Bucket(bucket) = &place.root else {
                    return Vec::new();
                };
                let mut permissions = bucket.reading(&place.prefix);
                if settings.lifetime.is_none() {
                    permissions.push(Permission {
                        sid: "ArchiveRules",
                        action: "s3:GetLifecycleConfiguration",
                        resource: format!("arn:aws:s3:::{}", bucket.name).into(),
                    });
                }
                permissions
            }
            ArchivePlan::Table { place, .. } => {
                let actions = [
                    "dynamodb:BatchGetItem",
                    "dynamodb:GetItem",
                    "dynamodb:Query",
                    "dynamodb:Scan",
                ];
                place.permissions(&actions)
            }
        }
    }

    /// The role that is taken for it; empty: none.
    pub fn role(&self) -> &str {
        match self {
            ArchivePlan::Objects { place, .. } => match &place.root {
                Root::Bucket(bucket) => &bucket.place.role_arn,
                Root::Directory(_) => "",
            },
            ArchivePlan::Table { place, .. } => &place.place.role_arn,
        }
    }

    /// Makes its client. Only the sources of credentials are asked. `read_units_per_s`: DynamoDB's units that may be
    /// spent in a second; `None`: no bound.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub async fn open(
        &self,
        clock: Arc<dyn Clock>,
        read_units_per_s: Option<f64>,
    ) -> Result<Arc<dyn Archive>, ArchiveError> {
        match self {
            ArchivePlan::Objects { place, settings } => {
                let opened = place.open(Arc::clone(&clock), false).await;
                let objects = opened.map_err(ArchiveError::Unreachable)?;
                Ok(Arc::new(ObjectArchive::new(settings.clone(), objects, clock)))
            }
            ArchivePlan::Table {
                name,
                place,
                experiments,
                lifetime,
            } => {
                let opened = place.open(clock, read_units_per_s).await;
                let table = opened.map_err(ArchiveError::Unreachable)?;
                Ok(Arc::new(MlflowArchive::new(
                    name.clone(),
                    table,
                    experiments.clone(),
                    *lifetime,
                )))
            }
        }
    }
}

fn read_table(section: &Section) -> Option<ArchivePlan> {
    let keys: TableKeys = section.read()?;
    if keys.table.is_empty() {
        section.error_at("table", "must be set");
    }
    if keys.layout != LAYOUT {
        section.error_at("layout", format!("must be `{LAYOUT}`: no other is known"));
    }
    if keys.ttl_attribute.is_empty() {
        section.error_at("ttl_attribute", "must be set");
    }
    check_role(section, "role_arn", &keys.role_arn);
    let is_auto = keys.experiments == ["auto"];
    let experiments = if is_auto {
        Experiments::Auto
    } else {
        Experiments::These(keys.experiments)
    };
    if experiments == Experiments::These(Vec::new()) {
        section.error_at("experiments", "must be `auto` or name at least one");
    }
    Some(ArchivePlan::Table {
        name: format!("dynamodb://{}", keys.table),
        place: Box::new(TablePlace {
            name: keys.table,
            ttl_attribute: keys.ttl_attribute,
            endpoint: check_endpoint(section, "endpoint", &keys.endpoint, true),
            place: OnePlace {
                region: keys.region,
                role_arn: keys.role_arn,
                external_id: String::new(),
                profile: keys.profile,
                credentials: keys.credentials,
            },
        }),
        experiments,
        lifetime: keys.lifetime_days.map(|days| (days > 0).then_some(DAY * days)),
    })
}

fn read_objects(section: &Section) -> Option<ArchivePlan> {
    let keys: ObjectKeys = section.read()?;
    check_role(section, "role_arn", &keys.role_arn);
    let mut place = if keys.url.is_empty() {
        if keys.bucket.is_empty() {
            section.error_at("bucket", "must be set, or `url`");
        }
        let bucket = Bucket {
            name: keys.bucket.clone(),
            ..Bucket::default()
        };
        Place {
            root: Root::Bucket(Box::new(bucket)),
            prefix: keys.prefix.trim_matches('/').to_owned(),
        }
    } else {
        for (key, value) in [("bucket", &keys.bucket), ("prefix", &keys.prefix)] {
            if !value.is_empty() {
                section.error_at(key, "cannot stand beside `url`, which says it too");
            }
        }
        Place::parse_url(section, "url", &keys.url)?
    };
    if let Root::Bucket(bucket) = &mut place.root {
        bucket.endpoint = check_endpoint(section, "endpoint", &keys.endpoint, true);
        bucket.path_style = keys.s3_force_path_style;
        bucket.place = OnePlace {
            region: keys.region,
            role_arn: keys.role_arn,
            external_id: String::new(),
            profile: keys.profile,
            credentials: keys.credentials,
        };
    }
    let format = keys.format.replace('-', "_");
    let found = Marshaler::ALL.iter().copied().find(|how| how.name() == format);
    if format == Marshaler::PARQUET && found.is_none() {
        let message = format!(
            "`{}`: this binary was built without Parquet (cargo feature `parquet`)",
            keys.format
        );
        section.error_at("format", message);
    } else if found.is_none() && !format.is_empty() {
        let built = Marshaler::ALL
            .iter()
            .map(|how| format!("`{}`", how.name().replace('_', "-")));
        let built: Vec<String> = built.collect();
        let built = built.join(", ");
        section.error_at("format", format!("`{}` is not built yet: {built} are", keys.format));
    }
    let lifetime = keys.lifetime_days.map(|days| (days > 0).then_some(DAY * days));
    Some(ArchivePlan::Objects {
        settings: ReadSettings {
            name: place.name(),
            format: found,
            days_after: keys.days_after.min(31),
            lifetime,
        },
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str) -> (Option<ArchivePlan>, Vec<String>) {
        let section = Section::from_yaml(yaml);
        let plan = ArchivePlan::check(&section);
        (plan, section.problems())
    }

    #[test]
    fn an_archive_is_a_bucket_a_directory_or_a_table() {
        for (yaml, name) in [
            (
                "s3: {bucket: b, prefix: /traces/, format: otlp-proto, lifetime_days: 90}",
                "s3://b/traces",
            ),
            ("s3: {url: \"file:///var/lib/traces\"}", "file:///var/lib/traces"),
            (
                "dynamodb: {table: mlflow, layout: mlflow-dynamodbstore, experiments: auto, ttl_attribute: ttl}",
                "dynamodb://mlflow",
            ),
            (
                "dynamodb: {table: mlflow, experiments: [\"0\", \"7\"], lifetime_days: 0}",
                "dynamodb://mlflow",
            ),
        ] {
            let (plan, problems) = check(yaml);
            assert_eq!(plan.unwrap().name(), name, "{problems:?}");
            assert!(problems.is_empty(), "{yaml}: {problems:?}");
        }
    }

    #[test]
    fn what_is_unknown_or_not_built_is_refused_where_it_stands() {
        for (yaml, words) in [
            ("{}", "must be one of `s3`, `dynamodb` and `ledger`"),
            ("s3: {}", "must be set, or `url`"),
            ("s3: {url: \"s3://b\", bucket: c}", "cannot stand beside `url`"),
            #[cfg(not(feature = "parquet"))]
            (
                "s3: {bucket: b, format: otlp-parquet}",
                "`otlp-parquet`: this binary was built without Parquet",
            ),
            ("s3: {bucket: b, format: body}", "`body` is not built yet"),
            ("s3: {bucket: b, role_arn: me}", "ARN of a role"),
            ("dynamodb: {}", "table"),
            ("dynamodb: {table: t, layout: other}", "mlflow-dynamodbstore"),
            ("dynamodb: {table: t, experiments: []}", "at least one"),
            ("dynamodb: {table: t, ttl_attribute: ''}", "must be set"),
        ] {
            let (_, problems) = check(yaml);
            assert!(
                problems.iter().any(|problem| problem.contains(words)),
                "{yaml}: {problems:?}"
            );
        }
        let unknown = Section::from_yaml("s3: {bucket: b, buckt: c}");
        ArchivePlan::check(&unknown);
        assert!(unknown.problems().iter().any(|problem| problem.contains("buckt")));
    }
}
