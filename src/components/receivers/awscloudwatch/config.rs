//! The configuration of the `awscloudwatch` receiver: the keys of the Collector's receiver of this name, with its
//! defaults and its complaints.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::aws::AccessSettings;
use crate::aws::cloudwatch::bill::{Api, Mode, Polling, Rhythm};
use crate::aws::cloudwatch::config::seconds;
use crate::aws::cloudwatch::{Backfill, OutputForm, Settings, StartFrom, Stat};
use crate::config::Section;
use crate::config::types::GoDuration;

/// Metrics that one discovery may find, unless it says otherwise.
const LIMIT: i64 = 100;
/// Periods that CloudWatch has below a minute.
const SHORT: &[i64] = &[1, 5, 10, 20, 30];

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    region: String,
    imds_endpoint: String,
    storage: String,
    output: Option<OutputForm>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct MetricKeys {
    collection_interval: GoDuration,
    initial_delay: GoDuration,
    timeout: GoDuration,
    period: GoDuration,
    delay: GoDuration,
}

impl Default for MetricKeys {
    fn default() -> Self {
        let minutes = |minutes: u64| GoDuration(Duration::from_secs(60 * minutes));
        Self {
            collection_interval: minutes(5),
            initial_delay: GoDuration(Duration::from_secs(1)),
            timeout: GoDuration(Duration::ZERO),
            period: minutes(5),
            delay: minutes(10),
        }
    }
}

/// `metrics.queries[]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    pub namespace: String,
    pub metric_name: String,
    pub dimensions: BTreeMap<String, String>,
    pub stats: Vec<String>,
}

/// `metrics.discovery`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    pub filters: Filters,
    pub limit: i64,
    pub stats: Vec<String>,
    pub recently_active: String,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            filters: Filters::default(),
            limit: LIMIT,
            stats: Vec::new(),
            recently_active: String::new(),
        }
    }
}

/// `metrics.discovery.filters`; empty: all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    pub namespace: String,
    pub metric_name: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Chosen {
    Queries(Vec<Query>),
    Discovery(Discovery),
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub engine: Settings,
    pub chosen: Chosen,
    /// Seconds, as all that follow.
    pub interval: i64,
    pub period: i64,
    pub initial_delay: i64,
}

impl Config {
    /// The statistics of a query, or of what is discovered.
    pub fn statistics(stats: &[String]) -> Vec<Stat> {
        if stats.is_empty() {
            return vec![Stat::SampleCount, Stat::Sum, Stat::Minimum, Stat::Maximum];
        }
        let mut statistics: Vec<Stat> = Vec::new();
        for stat in stats {
            let stat = Stat::parse(stat);
            if !statistics.contains(&stat) {
                statistics.push(stat);
            }
        }
        statistics
    }
}

/// Reads and checks. Problems are reported to the section.
pub fn check(section: &Section) -> Option<Config> {
    let mut access = AccessSettings::read(section)?;
    let keys = section.read::<Keys>()?;
    if !keys.region.is_empty() {
        if access.regions.is_empty() {
            access.regions.push(keys.region);
        } else {
            section.error_at("region", "set `region` or `regions`, not both");
        }
    }
    let of_accounts = !access.accounts.is_empty() && access.accounts.iter().all(|account| !account.regions.is_empty());
    if access.regions.is_empty() && !of_accounts {
        section.error("region is required: set `region` or `regions`");
    }
    for (key, value) in [("imds_endpoint", &keys.imds_endpoint), ("storage", &keys.storage)] {
        if !value.is_empty() {
            section.error_at(key, format!("`{key}` is not built yet; leave it out"));
        }
    }
    if section.has("logs") {
        section.error_at("logs", "`logs` is not built yet: this receiver reads metrics only");
        section.take("logs");
    }
    let Some(metrics) = section.take("metrics") else {
        section.error("`metrics` is required: name `queries`, or set `discovery`");
        return None;
    };
    let times = metrics.read::<MetricKeys>()?;
    check_times(&metrics, &times);
    let chosen = check_chosen(&metrics)?;
    access.attempt = Some(times.timeout.0).filter(|timeout| !timeout.is_zero());
    let output = keys.output.unwrap_or_else(|| default_output(&metrics, &chosen));
    Some(Config {
        engine: Settings {
            receiver: "awscloudwatch",
            access,
            max_late: seconds(times.delay).max(60),
            strict: false,
            reemit: false,
            output,
            cumulative: false,
            start_from: StartFrom::Checkpoint,
            backfill: Backfill::default(),
            // As contrib's receiver does it: everything each interval.
            polling: Polling {
                rhythm: Rhythm {
                    mode: Mode::Uniform,
                    interval: seconds(times.collection_interval).max(1),
                },
                source: Api::Gmd,
                ..Polling::default()
            },
            resource_kind: "metric",
        },
        chosen,
        interval: seconds(times.collection_interval),
        period: seconds(times.period),
        initial_delay: seconds(times.initial_delay),
    })
}

fn check_times(section: &Section, times: &MetricKeys) {
    let second = Duration::from_secs(1);
    for (key, value) in [
        ("collection_interval", times.collection_interval),
        ("period", times.period),
        ("delay", times.delay),
    ] {
        if value.0 < second {
            section.error_at(key, "must be at least 1s");
        }
    }
    if times.collection_interval.0 < times.period.0 {
        section.error_at(
            "collection_interval",
            "must not be shorter than `period`: points would be missed",
        );
    }
    let period = seconds(times.period);
    if period >= 1 && period % 60 != 0 && !SHORT.contains(&period) {
        section.error_at("period", "must be 1s, 5s, 10s, 20s, 30s or a multiple of 1m");
    }
}

fn check_chosen(section: &Section) -> Option<Chosen> {
    let (queries, discovery) = (section.has("queries"), section.has("discovery"));
    if queries && discovery {
        section.error_at(
            "discovery",
            "`queries` and `discovery` exclude each other: set one of them",
        );
        return None;
    }
    if discovery {
        let found = section.take("discovery")?;
        let read = found.read::<Discovery>()?;
        if read.limit <= 0 {
            found.error_at("limit", "must be greater than 0");
        }
        check_stats(&found, "stats", &read.stats);
        if !matches!(read.recently_active.as_str(), "" | "PT3H") {
            found.error_at("recently_active", "must be PT3H, or left out");
        }
        return Some(Chosen::Discovery(read));
    }
    let read = section.read::<QueryList>()?.queries;
    if read.is_empty() {
        section.error("name at least one query, or set `discovery`");
    }
    for (position, query) in read.iter().enumerate() {
        let key = |member: &str| format!("queries::{position}::{member}");
        let place = format!("queries::{position}");
        if query.namespace.is_empty() {
            section.error_at(&place, "`namespace` is required");
        }
        if query.metric_name.is_empty() {
            section.error_at(&place, "`metric_name` is required");
        }
        check_stats(section, &key("stats"), &query.stats);
    }
    Some(Chosen::Queries(read))
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct QueryList {
    queries: Vec<Query>,
}

fn check_stats(section: &Section, key: &str, stats: &[String]) {
    if stats.iter().any(String::is_empty) {
        section.error_at(key, "the name of a statistic must not be empty");
    }
}

/// No statistics: summaries as Metric Streams write them. Statistics: a gauge for each.
fn default_output(section: &Section, chosen: &Chosen) -> OutputForm {
    let lists: Vec<&Vec<String>> = match chosen {
        Chosen::Queries(queries) => queries.iter().map(|query| &query.stats).collect(),
        Chosen::Discovery(discovery) => vec![&discovery.stats],
    };
    let with = lists.iter().filter(|stats| !stats.is_empty()).count();
    if with > 0 && with < lists.len() {
        section.warn(
            "queries without `stats` beside queries with: all give gauges; summaries need a receiver of their own",
        );
    }
    if with == 0 {
        OutputForm::MetricStreams
    } else {
        OutputForm::GaugePerStat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str =
        "region: eu-central-1\nmetrics:\n  queries:\n    - {namespace: AWS/EC2, metric_name: CPUUtilization";

    #[test]
    fn the_defaults_are_those_of_the_collectors_receiver() {
        let section = Section::from_yaml(&format!("{QUERY}, dimensions: {{InstanceId: i-1}}}}\n"));
        let config = check(&section).unwrap();
        assert_eq!(section.problems(), Vec::<String>::new());
        assert_eq!((config.interval, config.period, config.initial_delay), (300, 300, 1));
        assert_eq!(config.engine.max_late, 600);
        assert_eq!(config.engine.output, OutputForm::MetricStreams);
        assert_eq!(Config::statistics(&[]).len(), 4);
        let section = Section::from_yaml(&format!("{QUERY}, stats: [Average, p99, Average]}}\n"));
        let config = check(&section).unwrap();
        assert_eq!(config.engine.output, OutputForm::GaugePerStat);
        let Chosen::Queries(queries) = &config.chosen else {
            panic!()
        };
        assert_eq!(Config::statistics(&queries[0].stats).len(), 2);
        let section = Section::from_yaml("region: a\nmetrics: {discovery: {filters: {namespace: AWS/EC2}}}");
        let Chosen::Discovery(discovery) = check(&section).unwrap().chosen else {
            panic!()
        };
        assert_eq!(discovery.limit, 100);
    }

    #[test]
    fn it_complains_as_the_collectors_receiver_and_says_where() {
        let cases = [
            ("metrics: {queries: []}", "region is required"),
            ("region: a", "`metrics` is required"),
            ("region: a\nmetrics: {}", "at least one query"),
            (
                "region: a\nmetrics: {queries: [{namespace: a, metric_name: b}], discovery: {}}",
                "exclude each other",
            ),
            (
                "region: a\nmetrics: {queries: [{metric_name: b}]}",
                "`namespace` is required",
            ),
            (
                "region: a\nmetrics: {queries: [{namespace: b}]}",
                "`metric_name` is required",
            ),
            (
                "region: a\nmetrics: {queries: [{namespace: a, metric_name: b, stats: [\"\"]}]}",
                "must not be empty",
            ),
            ("region: a\nmetrics: {discovery: {limit: 0}}", "greater than 0"),
            (
                "region: a\nmetrics: {discovery: {recently_active: PT1H}}",
                "must be PT3H",
            ),
            ("region: a\nmetrics: {discovery: {}, period: 500ms}", "at least 1s"),
            ("region: a\nmetrics: {discovery: {}, delay: 0s}", "at least 1s"),
            (
                "region: a\nmetrics: {discovery: {}, collection_interval: 1m, period: 5m}",
                "must not be shorter than `period`",
            ),
            ("region: a\nmetrics: {discovery: {}, period: 90s}", "multiple of 1m"),
            (
                "region: a\nlogs: {groups: {}}\nmetrics: {discovery: {}}",
                "`logs` is not built yet",
            ),
            (
                "region: a\nstorage: file_storage\nmetrics: {discovery: {}}",
                "`storage` is not built yet",
            ),
            ("region: a\nregions: [b]\nmetrics: {discovery: {}}", "not both"),
        ];
        for (text, expected) in cases {
            let section = Section::from_yaml(text);
            check(&section);
            let problems = section.problems();
            assert!(
                problems.iter().any(|problem| problem.contains(expected)),
                "{text}: {problems:?}"
            );
        }
        let section = Section::from_yaml("region: a\nlogs: {}\nmetrics: {discovery: {}}");
        check(&section);
        assert!(section.problems()[0].contains("2:1"), "{:?}", section.problems());
    }
}
