//! The configuration of the `dynamodb` receiver: read, checked, and what is not built yet refused by name.

use std::time::Duration;

use serde::Deserialize;

use crate::aws::AccessSettings;
use crate::aws::cloudwatch::ZeroFill;
use crate::config::Section;
use crate::config::types::GoDuration;

/// Keys of the whole design that are refused until they do something.
const LATER: &[&str] = &[
    "imds_endpoint",
    "linked_accounts",
    "tags",
    "tag_attributes",
    "backfill",
    "budget",
    "rate",
    "hot_keys",
    "item_collections",
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
    output: String,
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
            output: "typed".to_owned(),
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

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub access: AccessSettings,
    pub tables: Names,
    pub metrics: Names,
    /// Seconds, as all that follow.
    pub discovery_interval: i64,
    pub interval: i64,
    pub max_late: i64,
    pub strict: bool,
    pub percentiles: Vec<String>,
    pub min_max: bool,
    pub zero_fill: ZeroFill,
    /// How far before the start the first minute lies; `None`: `max_late`.
    pub start_back: Option<i64>,
    pub derived: bool,
}

fn seconds(duration: GoDuration) -> i64 {
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
    later(section, LATER);
    one_of(section, "settle", &keys.settle, &["fast", "strict"], &[]);
    one_of(section, "revisions", &keys.revisions, &["count"], &["reemit"]);
    one_of(
        section,
        "output",
        &keys.output,
        &["typed"],
        &["metric_streams", "gauge_per_stat"],
    );
    one_of(section, "temporality", &keys.temporality, &["delta"], &["cumulative"]);
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
    let start_back = match keys.start_from.as_str() {
        // There is no checkpoint without a store: a start is as far back as values may still change.
        "checkpoint" => None,
        "now" => Some(0),
        text => match read_duration(text) {
            Ok(back) if seconds(back) <= 24 * 3600 => Some(seconds(back)),
            Ok(_) => {
                section.error_at("start_from", "at most 24h: longer backfill is not built yet");
                None
            }
            Err(error) => {
                section.error_at("start_from", format!("use checkpoint, now or a duration: {error}"));
                None
            }
        },
    };
    Some(Config {
        access,
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
        max_late: seconds(keys.max_late),
        strict: keys.settle == "strict",
        percentiles: keys.percentiles,
        min_max: keys.min_max,
        zero_fill: keys.zero_fill,
        start_back,
        derived: keys.derived,
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
        assert_eq!((config.interval, config.max_late, config.strict), (60, 600, false));
        assert_eq!(config.percentiles, ["p50", "p90", "p99"]);
    }

    #[test]
    fn what_is_not_built_is_refused_by_name_and_position() {
        let text = "regions: [eu-central-1]\nbudget: {usd_per_month: 5}\npolling: {mode: adaptive, source: gms}\n\
                    hot_keys:\n  enabled: true\noutput: metric_streams\nstart_from: 72h\nmetrics: {pin: [a]}\n\
                    accounts: [{role_arn: wrong}]\npolicy: x\n";
        let section = Section::from_yaml(text);
        check(&section);
        let problems = section.problems().join("\n");
        for part in [
            "2:1: budget: `budget` is not built yet",
            "`mode: adaptive` is not built yet; use uniform",
            "`source` is not built yet",
            "`hot_keys` is not built yet",
            "`output: metric_streams` is not built yet; use typed",
            "at most 24h",
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
            "temporality: delta",
            "start_from: checkpoint",
            "start_from: now",
            "start_from: 6h",
            "derived: false",
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
            ("revisions: reemit", "revisions: reemit"),
            ("output: metric_streams", "output: metric_streams"),
            ("output: gauge_per_stat", "output: gauge_per_stat"),
            ("temporality: cumulative", "temporality: cumulative"),
            ("backfill: {max: 24h, order: live_first}", "backfill"),
            ("budget: {usd_per_month: 1, hard: true, warn_at: 0.5}", "budget"),
            ("rate: {GetMetricData: 1}", "rate"),
            (
                "hot_keys: {enabled: true, plaintext: false, top: 10, period: 5m}",
                "hot_keys",
            ),
            ("item_collections: [{table: a, key: b}]", "item_collections"),
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
