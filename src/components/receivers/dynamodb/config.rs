//! The configuration of the `dynamodb` receiver: read, checked, and what is not built yet refused by name.

use std::time::Duration;

use serde::Deserialize;

use super::asked::{check_collections, check_hot_keys};
use super::hot_keys::HotKeySettings;
use super::levels::Collection;
use crate::aws::AccessSettings;
use crate::aws::cloudwatch::{Backfill, OutputForm, Settings, StartFrom, Taste, ZeroFill};
use crate::config::Section;
use crate::config::types::GoDuration;

/// Keys of the whole design that are refused until they do something.
const LATER: &[&str] = &[
    "imds_endpoint",
    "linked_accounts",
    "tags",
    "tag_attributes",
    "budget",
    "rate",
    "stream_namespaces",
    "storage",
    "k8s_leader_elector",
];

#[derive(Clone, Debug, Deserialize)]
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
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct PollingKeys {
    mode: String,
    interval: GoDuration,
}

impl Default for PollingKeys {
    fn default() -> Self {
        Self {
            mode: "uniform".to_owned(),
            interval: GoDuration(Duration::from_secs(60)),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct MetricKeys {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Default for MetricKeys {
    fn default() -> Self {
        Self {
            include: vec!["*".to_owned()],
            exclude: Vec::new(),
        }
    }
}

/// Names to take and names to leave, as globs; leaving wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
}

impl Names {
    /// Whether this name is wanted.
    pub fn take(&self, name: &str) -> bool {
        let any = |globs: &[String]| globs.iter().any(|glob| glob_matches(glob, name));
        any(&self.include) && !any(&self.exclude)
    }
}

/// `backfill`.
#[derive(Clone, Debug, Deserialize)]
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

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to poll and hand on.
    pub engine: Settings,
    pub tables: Names,
    pub metrics: Names,
    /// Seconds, as all that follow.
    pub discovery_interval: i64,
    pub interval: i64,
    pub taste: Taste,
    pub zero_fill: ZeroFill,
    pub derived: bool,
    /// `None`: not asked for.
    pub hot_keys: Option<HotKeySettings>,
    pub item_collections: Vec<Collection>,
}

pub fn seconds(duration: GoDuration) -> i64 {
    i64::try_from(duration.0.as_secs()).unwrap_or(i64::MAX)
}

/// Refuses a key that is known and does nothing yet.
fn later(section: &Section, keys: &[&str]) {
    for key in keys {
        if section.has(key) {
            section.error_at(key, format!("`{key}` is not built yet"));
        }
    }
}

/// Refuses a value of the design that is not built yet, and one that does not exist.
fn one_of(section: &Section, key: &str, value: &str, built: &[&str], planned: &[&str]) {
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

/// Reads and checks. Problems are reported to the section.
pub fn check(section: &Section) -> Option<Config> {
    let access = AccessSettings::read(section)?;
    if !names_a_region(&access) {
        section.warn("no region: neither `regions` nor AWS_REGION; the profile or the instance has to name one");
    }
    let asks_for_percentiles = section.has("percentiles");
    let keys = section.read::<Keys>()?;
    let polling = match section.take("polling") {
        Some(polling) => {
            later(&polling, &["source", "free_requests"]);
            let keys = polling.read::<PollingKeys>()?;
            one_of(&polling, "mode", &keys.mode, &["uniform"], &["tiered", "adaptive"]);
            if seconds(keys.interval) < 60 {
                polling.error_at("interval", "must be at least 60s: there is one value a minute");
            }
            keys
        }
        None => PollingKeys::default(),
    };
    let metrics = match section.take("metrics") {
        Some(metrics) => {
            later(&metrics, &["pin", "extra"]);
            metrics.read::<MetricKeys>()?
        }
        None => MetricKeys::default(),
    };
    let backfill = check_backfill(section)?;
    let hot_keys = check_hot_keys(section)?;
    let item_collections = check_collections(section);
    if !keys.derived && (hot_keys.is_some() || !item_collections.is_empty()) {
        section.error_at(
            "derived",
            "`hot_keys` and `item_collections` are derived signals: leave it true",
        );
    }
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
    Some(Config {
        engine: Settings {
            receiver: "dynamodb",
            access,
            max_late: seconds(keys.max_late),
            strict: keys.settle == "strict",
            reemit: keys.revisions == "reemit",
            output: keys.output,
            cumulative,
            start_from,
            backfill,
            resource_kind: "table",
        },
        tables: Names {
            include: keys.include,
            exclude: keys.exclude,
        },
        metrics: Names {
            include: metrics.include,
            exclude: metrics.exclude,
        },
        discovery_interval: seconds(keys.discovery_interval),
        interval: seconds(polling.interval),
        taste: Taste {
            percentiles,
            min_max: keys.min_max,
            output: keys.output,
        },
        zero_fill: keys.zero_fill,
        derived: keys.derived,
        hot_keys,
        item_collections,
    })
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

/// `*` stands for any run of characters, `?` for one; case counts.
fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut at, mut position) = (0, 0);
    // Where the last star stood, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while position < text.len() {
        match glob.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[position] => {
                at += 1;
                position += 1;
            }
            _ => match &mut star {
                Some((stood, taken)) => {
                    *taken += 1;
                    at = *stood + 1;
                    position = *taken;
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("orders", "orders", true),
            ("orders", "Orders", false),
            ("ord*", "orders", true),
            ("*-prod-*", "eu-prod-orders", true),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a", "b", false),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn an_empty_section_is_uniform_polling_every_minute() {
        let config = check(&Section::from_yaml("{}")).unwrap();
        let engine = &config.engine;
        assert_eq!((config.interval, engine.max_late, engine.strict), (60, 600, false));
        assert_eq!(engine.backfill, Backfill::default());
        assert_eq!(config.taste.percentiles, ["p50", "p90", "p99"]);
    }

    #[test]
    fn what_is_not_built_is_refused_by_name_and_position() {
        let text = "regions: [eu-central-1]\nbudget: {usd_per_month: 5}\npolling: {mode: adaptive, source: gms}\n\
                    tags:\n  team: [a]\noutput: summaries\nstart_from: soon\nmetrics: {pin: [a]}\n\
                    accounts: [{role_arn: wrong}]\npolicy: x\n";
        let section = Section::from_yaml(text);
        check(&section);
        let problems = section.problems().join("\n");
        for part in [
            "2:1: budget: `budget` is not built yet",
            "`mode: adaptive` is not built yet; use uniform",
            "`source` is not built yet",
            "`tags` is not built yet",
            "use checkpoint, now or a duration",
            "typed",
            "`pin` is not built yet",
            "must be the ARN of a role",
            "policy",
        ] {
            assert!(problems.contains(part), "{part} in\n{problems}");
        }
    }

    /// Every key of the design, as it is built or refused.
    #[test]
    fn every_key_of_the_design_is_built_or_refused_by_name_with_its_place() {
        let built = [
            "regions: [a, b]",
            "accounts: [{role_arn: \"arn:aws:iam::444455556666:role/m\", external_id: e, session_name: s, regions: [a]}]",
            "profile: p",
            "endpoint: http://localhost:1",
            "endpoints: {cloudwatch: http://a, dynamodb: http://b, sts: http://c}",
            "include: [\"a*\"]",
            "exclude: [b]",
            "metrics: {include: [\"*\"], exclude: [a]}",
            "discovery_interval: 10m",
            "polling: {mode: uniform, interval: 5m}",
            "percentiles: [p50, p99.9]",
            "min_max: true",
            "max_late: 15m",
            "settle: fast",
            "settle: strict",
            "revisions: count",
            "zero_fill: core",
            "zero_fill: all",
            "zero_fill: none",
            "output: typed",
            "output: metric_streams",
            "output: gauge_per_stat",
            "temporality: delta",
            "temporality: cumulative",
            "revisions: reemit",
            "backfill: {max: 72h, order: in_order}",
            "backfill: {max: 24h, order: live_first}",
            "start_from: 72h",
            "start_from: checkpoint",
            "start_from: now",
            "start_from: 6h",
            "derived: false",
            "hot_keys: {enabled: true, plaintext: false, top: 10, period: 5m}",
            "item_collections: [{table: a, key: b, model: {runs: 5}, query: {c: 100}}]",
        ];
        for text in built {
            let section = Section::from_yaml(
                &format!("{text}\nprofile: here\n").replace("profile: p\nprofile: here", "profile: p"),
            );
            assert!(check(&section).is_some(), "{text}");
            assert_eq!(section.problems(), Vec::<String>::new(), "{text}");
        }
        let refused = [
            ("linked_accounts: true", "linked_accounts"),
            ("imds_endpoint: http://a", "imds_endpoint"),
            ("tags: {team: [a]}", "tags"),
            ("tag_attributes: [team]", "tag_attributes"),
            ("metrics: {pin: [a]}", "pin"),
            ("metrics: {extra: [{metric_name: a}]}", "extra"),
            ("polling: {mode: tiered}", "mode: tiered"),
            ("polling: {mode: adaptive}", "mode: adaptive"),
            ("polling: {source: auto}", "source"),
            ("polling: {source: gms}", "source"),
            ("polling: {free_requests: 1}", "free_requests"),
            ("budget: {usd_per_month: 1, hard: true, warn_at: 0.5}", "budget"),
            ("rate: {GetMetricData: 1}", "rate"),
            ("stream_namespaces: [a]", "stream_namespaces"),
            ("storage: file_storage", "storage"),
            ("k8s_leader_elector: a", "k8s_leader_elector"),
        ];
        for (text, name) in refused {
            let section = Section::from_yaml(&format!("profile: here\n{text}\n"));
            check(&section);
            let problems = section.problems();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].contains(":2:"), "{}", problems[0]);
            assert!(
                problems[0].contains(&format!("`{name}` is not built yet")),
                "{}",
                problems[0]
            );
        }
    }
}
