//! What every receiver that reads CloudWatch has in its configuration: access, names, polling, settling, output. Each
//! receiver reads its own keys beside it; what nobody took is reported by the section.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bill::Polling;
use super::{Backfill, OutputForm, Settings, StartFrom, Taste, ZeroFill};
use crate::aws::AccessSettings;
use crate::aws::globs::any_matches;
use crate::config::Section;
use crate::config::types::GoDuration;

/// Keys of the whole design that are refused until they do something.
const LATER: &[&str] = &[
    "imds_endpoint",
    "linked_accounts",
    "stream_namespaces",
    "storage",
    "k8s_leader_elector",
];

/// What differs between receivers.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// The receiver's type.
    pub receiver: &'static str,
    /// What resources are called in `cloudwatch_blind{kind}`.
    pub resource_kind: &'static str,
    /// Seconds.
    pub max_late: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    include: Vec<String>,
    exclude: Vec<String>,
    discovery_interval: GoDuration,
    percentiles: Vec<String>,
    min_max: bool,
    max_late: GoDuration,
    settle: String,
    revisions: String,
    zero_fill: ZeroFill,
    output: OutputForm,
    temporality: String,
    start_from: String,
    derived: bool,
    tags: BTreeMap<String, Vec<String>>,
    tag_attributes: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            include: vec!["*".to_owned()],
            exclude: Vec::new(),
            discovery_interval: GoDuration(Duration::from_secs(300)),
            percentiles: ["p50", "p90", "p99"].map(str::to_owned).to_vec(),
            min_max: false,
            max_late: GoDuration(Duration::from_secs(600)),
            settle: "fast".to_owned(),
            revisions: "count".to_owned(),
            zero_fill: ZeroFill::Core,
            output: OutputForm::Typed,
            temporality: "delta".to_owned(),
            start_from: "checkpoint".to_owned(),
            derived: true,
            tags: BTreeMap::new(),
            tag_attributes: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct MetricKeys {
    include: Vec<String>,
    exclude: Vec<String>,
    pin: Vec<String>,
}

impl Default for MetricKeys {
    fn default() -> Self {
        Self {
            include: vec!["*".to_owned()],
            exclude: Vec::new(),
            pin: Vec::new(),
        }
    }
}

/// Names to take and names to leave, as globs; leaving wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
}

impl Choice {
    /// Whether this name is wanted.
    pub fn take(&self, name: &str) -> bool {
        any_matches(&self.include, name) && !any_matches(&self.exclude, name)
    }

    /// Whether somebody asks for this name, and not only for everything.
    pub fn names(&self, name: &str) -> bool {
        let named: Vec<String> = self.include.iter().filter(|glob| *glob != "*").cloned().collect();
        any_matches(&named, name) && !any_matches(&self.exclude, name)
    }
}

/// `backfill`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct BackfillKeys {
    max: GoDuration,
    order: String,
}

impl Default for BackfillKeys {
    fn default() -> Self {
        Self {
            max: GoDuration(Duration::from_secs(24 * 3600)),
            order: "live_first".to_owned(),
        }
    }
}

/// The shared part of a checked configuration.
#[derive(Clone, Debug)]
pub struct Common {
    /// How to poll and hand on.
    pub engine: Settings,
    /// Names of resources.
    pub resources: Choice,
    /// Names of metrics.
    pub metrics: Choice,
    /// Key of a tag, and globs of which one must match its value.
    pub tags: BTreeMap<String, Vec<String>>,
    /// Keys of tags that become `tag.<key>` of the resource.
    pub tag_attributes: Vec<String>,
    /// Seconds, as all that follow.
    pub discovery_interval: i64,
    pub taste: Taste,
    pub zero_fill: ZeroFill,
    pub derived: bool,
}

impl Common {
    /// Whether tags are asked for.
    pub fn reads_tags(&self) -> bool {
        !self.tags.is_empty() || !self.tag_attributes.is_empty()
    }

    /// Reads these keys of a receiver's section and checks them. Problems are reported to the section.
    pub fn read(section: &Section, defaults: &Defaults) -> Option<Self> {
        let access = AccessSettings::read(section)?;
        if !names_a_region(&access) {
            section.warn("no region: neither `regions` nor AWS_REGION; the profile or the instance has to name one");
        }
        let names_lateness = section.has("max_late");
        let asks_for_percentiles = section.has("percentiles");
        let mut keys = section.read::<Keys>()?;
        if !names_lateness {
            keys.max_late = GoDuration(Duration::from_secs(defaults.max_late));
        }
        let mut polling = Polling::read(section)?;
        let metrics = match section.take("metrics") {
            Some(metrics) => {
                later(&metrics, &["extra"]);
                metrics.read::<MetricKeys>()?
            }
            None => MetricKeys::default(),
        };
        polling.pin = metrics.pin;
        let backfill = check_backfill(section)?;
        later(section, LATER);
        one_of(section, "settle", &keys.settle, &["fast", "strict"], &[]);
        one_of(section, "revisions", &keys.revisions, &["count", "reemit"], &[]);
        one_of(section, "temporality", &keys.temporality, &["delta", "cumulative"], &[]);
        let cumulative = keys.temporality == "cumulative";
        if cumulative && keys.revisions == "reemit" {
            section.error_at(
                "revisions",
                "`reemit` would count twice in sums that grow; use count or `temporality: delta`",
            );
        }
        if cumulative && keys.output != OutputForm::Typed {
            section.error_at(
                "temporality",
                "`cumulative` is for `output: typed`; the other forms are per period",
            );
        }
        if keys.percentiles.len() > 3 {
            section.error_at(
                "percentiles",
                "at most three: more would cost a second unit per metric and poll",
            );
        }
        for percentile in &keys.percentiles {
            if !is_percentile(percentile) {
                let message = format!("{percentile:?} is no percentile; write for example p99 or p99.9");
                section.error_at("percentiles", message);
            }
        }
        if seconds(keys.max_late) < 60 {
            section.error_at("max_late", "must be at least 60s");
        }
        if seconds(keys.discovery_interval) < 60 {
            section.error_at("discovery_interval", "must be at least 60s");
        }
        let start_from = match keys.start_from.as_str() {
            "checkpoint" => StartFrom::Checkpoint,
            "now" => StartFrom::Now,
            text => match read_duration(text) {
                Ok(back) => StartFrom::Back(seconds(back)),
                Err(error) => {
                    section.error_at("start_from", format!("use checkpoint, now or a duration: {error}"));
                    StartFrom::Checkpoint
                }
            },
        };
        // A summary of a stream has no percentiles unless somebody asks: they would be a second unit.
        let percentiles = if keys.output == OutputForm::MetricStreams && !asks_for_percentiles {
            Vec::new()
        } else {
            keys.percentiles
        };
        for (key, globs) in &keys.tags {
            if globs.is_empty() {
                section.error_at(&format!("tags::{key}"), "name the values, as globs: [\"*\"] for any");
            }
        }
        Some(Self {
            engine: Settings {
                receiver: defaults.receiver,
                access,
                max_late: seconds(keys.max_late),
                strict: keys.settle == "strict",
                reemit: keys.revisions == "reemit",
                output: keys.output,
                cumulative,
                start_from,
                backfill,
                polling,
                resource_kind: defaults.resource_kind,
            },
            resources: Choice {
                include: keys.include,
                exclude: keys.exclude,
            },
            metrics: Choice {
                include: metrics.include,
                exclude: metrics.exclude,
            },
            tags: keys.tags,
            tag_attributes: keys.tag_attributes,
            discovery_interval: seconds(keys.discovery_interval),
            taste: Taste {
                percentiles,
                min_max: keys.min_max,
                output: keys.output,
            },
            zero_fill: keys.zero_fill,
            derived: keys.derived,
        })
    }
}

/// Whole seconds of a duration.
pub fn seconds(duration: GoDuration) -> i64 {
    i64::try_from(duration.0.as_secs()).unwrap_or(i64::MAX)
}

/// Refuses a key that is known and does nothing yet.
pub fn later(section: &Section, keys: &[&str]) {
    for key in keys {
        if section.has(key) {
            section.error_at(key, format!("`{key}` is not built yet"));
        }
    }
}

/// Refuses a value of the design that is not built yet, and one that does not exist.
pub fn one_of(section: &Section, key: &str, value: &str, built: &[&str], planned: &[&str]) {
    if built.contains(&value) {
        return;
    }
    let built = built.join(" or ");
    if planned.contains(&value) {
        section.error_at(key, format!("`{key}: {value}` is not built yet; use {built}"));
    } else {
        section.error_at(key, format!("{value:?} is not a value of `{key}`; use {built}"));
    }
}

fn check_backfill(section: &Section) -> Option<Backfill> {
    let Some(backfill) = section.take("backfill") else {
        return Some(Backfill::default());
    };
    let keys = backfill.read::<BackfillKeys>()?;
    one_of(&backfill, "order", &keys.order, &["live_first", "in_order"], &[]);
    Some(Backfill {
        max: seconds(keys.max),
        in_order: keys.order == "in_order",
    })
}

/// Whether a region is known without asking the profile or the instance.
fn names_a_region(access: &AccessSettings) -> bool {
    let in_environment = ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let of_accounts = !access.accounts.is_empty() && access.accounts.iter().all(|account| !account.regions.is_empty());
    in_environment || of_accounts || !access.regions.is_empty() || !access.profile.is_empty()
}

fn read_duration(text: &str) -> Result<GoDuration, serde::de::value::Error> {
    GoDuration::deserialize(serde::de::IntoDeserializer::into_deserializer(text))
}

fn is_percentile(text: &str) -> bool {
    let Some(number) = text.strip_prefix('p') else {
        return false;
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain
        && number
            .parse::<f64>()
            .is_ok_and(|percent| percent > 0.0 && percent < 100.0)
}
