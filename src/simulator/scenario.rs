//! What a simulated account holds and what happens to it: tables, their load over time, the lag of their metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sagemaker::SageMaker;
use crate::config::Document;

/// A world and its timeline. Minutes are counted from `start`; negative ones lie before it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Part of every hash: two scenarios with the same seed differ.
    pub name: String,
    #[serde(default)]
    pub seed: u64,
    /// Unix seconds of minute 0; rounded down to a whole five minutes.
    pub start: u64,
    /// Minutes of metrics before `start`.
    #[serde(default = "default_history")]
    pub history: i64,
    /// Twelve digits.
    #[serde(default = "default_account")]
    pub account: String,
    /// Roles that AssumeRole grants.
    #[serde(default)]
    pub roles: Vec<Role>,
    #[serde(default)]
    pub lag: Lag,
    /// Requests per minute that fail with the client's fault, account-wide.
    #[serde(default)]
    pub user_errors: f64,
    #[serde(default)]
    pub tables: Vec<Table>,
    /// What is traced.
    #[serde(default)]
    pub xray: super::xray::Settings,
    #[serde(default)]
    pub sagemaker: SageMaker,
}

fn default_history() -> i64 {
    360
}

fn default_account() -> String {
    "111122223333".to_owned()
}

/// A role of another account.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    pub arn: String,
    pub external_id: Option<String>,
}

/// How late a minute's values arrive after the minute has ended: log-normal by median and 99th percentile, capped.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lag {
    pub median_s: f64,
    pub p99_s: f64,
    pub max_s: f64,
    /// Share of the minutes that show an incomplete value first.
    pub partial: f64,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            median_s: 90.0,
            p99_s: 300.0,
            max_s: 720.0,
            partial: 0.2,
        }
    }
}

impl Lag {
    /// Everything is complete the moment its minute ends.
    pub const NONE: Self = Self {
        median_s: 0.0,
        p99_s: 0.0,
        max_s: 0.0,
        partial: 0.0,
    };
}

/// One DynamoDB table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub name: String,
    #[serde(default = "default_region")]
    pub region: String,
    /// Account, where it is not the scenario's.
    pub account: Option<String>,
    /// Minute from which it exists; absent: always.
    pub created: Option<i64>,
    /// Minute at which it is deleted.
    pub deleted: Option<i64>,
    pub capacity: Capacity,
    #[serde(default)]
    pub reads: Load,
    #[serde(default)]
    pub writes: Load,
    #[serde(default)]
    pub operations: Vec<Operation>,
    #[serde(default)]
    pub indexes: Vec<Index>,
    /// Names of local secondary indexes.
    #[serde(default)]
    pub local_indexes: Vec<String>,
    /// Item count at the start.
    #[serde(default)]
    pub items: u64,
    #[serde(default)]
    pub items_per_hour: f64,
    #[serde(default = "default_item_bytes")]
    pub item_bytes: u64,
    /// ConditionalCheckFailedRequests per minute.
    #[serde(default)]
    pub conditional_failures: f64,
    /// TransactionConflict per minute.
    #[serde(default)]
    pub transaction_conflicts: f64,
    /// TimeToLiveDeletedItemCount per minute.
    #[serde(default)]
    pub expired_items: f64,
    /// Publishes also what its load does not give: replication, streams, transactions, every metric of the catalogue.
    #[serde(default)]
    pub everything: bool,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Contributor Insights, where it is on.
    pub contributor_insights: Option<Insights>,
    /// Items under one partition key, for Query.
    #[serde(default)]
    pub collections: Vec<Collection>,
}

/// Contributor Insights of a table.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Insights {
    /// Mode THROTTLED_KEYS.
    pub throttled_only: bool,
    pub keys: Vec<HotKey>,
}

/// A key that takes a share of the requests.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HotKey {
    pub key: String,
    pub sort: Option<String>,
    /// 0 to 1.
    pub share: f64,
}

/// Items of one partition key whose sort keys begin alike.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    pub key: String,
    pub prefix: String,
    pub items: u64,
}

fn default_region() -> String {
    "eu-central-1".to_owned()
}

fn default_item_bytes() -> u64 {
    400
}

/// How a table or an index pays for its throughput.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Capacity {
    /// Units per second.
    Provisioned { read: f64, write: f64 },
    /// The maxima of OnDemandThroughput, units per second.
    OnDemand {
        max_read: Option<f64>,
        max_write: Option<f64>,
    },
}

/// Demand in capacity units per second.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    pub units: f64,
    /// Share by which a minute may differ: 0.1 is +-10 %.
    pub noise: f64,
    pub events: Vec<LoadEvent>,
}

/// Another demand between two minutes (from inclusive, to exclusive).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LoadEvent {
    pub from: i64,
    pub to: i64,
    pub units: f64,
    /// All of it goes to one key: that is refused by the key range, not by the table's capacity.
    #[serde(default)]
    pub one_key: bool,
}

/// A direction of throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Read,
    Write,
}

impl Direction {
    /// As in metric names.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Read => "Read",
            Direction::Write => "Write",
        }
    }
}

/// One API operation on a table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    pub name: String,
    pub direction: Direction,
    /// Share of the direction's units.
    pub share: f64,
    /// Units per request.
    #[serde(default = "one")]
    pub units: f64,
    /// Median, milliseconds.
    pub latency_ms: f64,
    /// Standard deviation of the logarithm: 0.5 puts p99 at 3.2 times the median.
    #[serde(default = "half")]
    pub spread: f64,
    /// Items per request (ReturnedItemCount), for Query and Scan.
    #[serde(default)]
    pub items: f64,
    /// Share of requests that fail inside AWS.
    #[serde(default)]
    pub system_errors: f64,
    /// Minutes in which the median is another one.
    #[serde(default)]
    pub slow: Vec<Slow>,
}

fn one() -> f64 {
    1.0
}

fn half() -> f64 {
    0.5
}

/// Another median latency between two minutes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    pub from: i64,
    pub to: i64,
    pub latency_ms: f64,
}

/// A global secondary index.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    pub name: String,
    pub capacity: Capacity,
    /// Write units of the index per write unit of the table.
    #[serde(default)]
    pub write_share: f64,
    #[serde(default)]
    pub reads: Load,
}

/// The scenarios that come with the simulator.
pub const SHIPPED: &[(&str, &str)] = &[
    ("demo", include_str!("scenarios/demo.yaml")),
    ("quiet", include_str!("scenarios/quiet.yaml")),
    ("busy", include_str!("scenarios/busy.yaml")),
    ("everything", include_str!("scenarios/everything.yaml")),
    ("gpu_saturation", include_str!("scenarios/gpu_saturation.yaml")),
    ("endpoint_5xx", include_str!("scenarios/endpoint_5xx.yaml")),
    ("training_job", include_str!("scenarios/training_job.yaml")),
    ("pipeline_failure", include_str!("scenarios/pipeline_failure.yaml")),
    ("drift_violation", include_str!("scenarios/drift_violation.yaml")),
    ("quiet_fleet", include_str!("scenarios/quiet_fleet.yaml")),
    ("throttle_burst", include_str!("scenarios/throttle_burst.yaml")),
    ("sustained_throttle", include_str!("scenarios/sustained_throttle.yaml")),
    ("hot_partition", include_str!("scenarios/hot_partition.yaml")),
    ("gsi_backpressure", include_str!("scenarios/gsi_backpressure.yaml")),
    ("growing_table", include_str!("scenarios/growing_table.yaml")),
];

impl Scenario {
    /// A scenario from its YAML (or JSON) text.
    ///
    /// # Errors
    /// Every problem with its line and column.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        let document =
            Document::from_text("scenario", text, &|_: &str| None).map_err(|problems| problems.to_string())?;
        let scenario = document.root().read::<Scenario>();
        document.root().report_untaken();
        let problems = document.problems();
        match scenario {
            Some(scenario) if !problems.has_errors() => {
                let start = scenario.start;
                Ok(scenario.starting_at(start))
            }
            _ => Err(problems.to_string()),
        }
    }

    /// The same world with its minute 0 at another time, rounded down to a whole five minutes.
    pub fn starting_at(mut self, unix_seconds: u64) -> Self {
        self.start = unix_seconds - unix_seconds % 300;
        self
    }

    /// What `radiosonde demo` shows: an orders table whose writes outgrow their capacity from minute 4 on.
    pub fn demo() -> Self {
        Self::shipped(include_str!("scenarios/demo.yaml"))
    }

    /// A world where nothing goes wrong.
    pub fn quiet() -> Self {
        Self::shipped(include_str!("scenarios/quiet.yaml"))
    }

    /// Index back-pressure, a hot key, on-demand maxima, system errors, tables that come and go.
    pub fn busy() -> Self {
        Self::shipped(include_str!("scenarios/busy.yaml"))
    }

    /// One of each: every metric of the catalogue in every dimension set.
    pub fn everything() -> Self {
        Self::shipped(include_str!("scenarios/everything.yaml"))
    }

    /// The shipped scenario of this name.
    pub fn named(name: &str) -> Option<Self> {
        let text = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
        text.map(|(_, text)| Self::shipped(text))
    }

    fn shipped(text: &str) -> Self {
        Self::from_yaml(text).expect("the embedded scenarios are read by a test")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_loads() {
        for (name, text) in SHIPPED {
            let scenario = Scenario::from_yaml(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(scenario.name, *name);
            assert_eq!(scenario.start % 300, 0);
            for table in &scenario.tables {
                for direction in [Direction::Read, Direction::Write] {
                    let shares = table
                        .operations
                        .iter()
                        .filter(|operation| operation.direction == direction);
                    let sum: f64 = shares.map(|operation| operation.share).sum();
                    assert!((sum - 1.0).abs() < 1e-9, "{} {direction:?} {sum}", table.name);
                }
            }
        }
    }
}
