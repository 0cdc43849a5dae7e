//! Why a table is throttled, and how: cause and pattern of an alert, as the receiver found them in the causes that
//! CloudWatch tells (`aws.dynamodb.throttle.minutes`), and the step that follows from them.

use super::watched::Labels;
use crate::alert::store::{Samples, SelectionId, Store};

/// The receiver's signal.
const MINUTES: &str = "aws_dynamodb_throttle_minutes";
/// So old may its newest point be: it has one for each minute while a minute of the last fifteen was throttled.
const FRESH: i64 = 5 * 60_000;
/// Labels that say what was found, and not of what.
const FOUND: [&str; 7] = [
    "__name__",
    "Cause",
    "Pattern",
    "Inferred",
    "Direction",
    "gsi_backpressure",
    "GlobalSecondaryIndexName",
];

/// Where a rule looks it up.
#[derive(Debug)]
pub(super) struct Throttles {
    minutes: SelectionId,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub cause: &'static str,
    pub pattern: &'static str,
    writes: bool,
    index: bool,
}

impl Throttles {
    pub fn new(store: &mut Store) -> Self {
        Self {
            minutes: store.select(Some(MINUTES), &[]),
        }
    }

    /// What is known at this time of what an alert with these labels is about; of several places that with the most
    /// throttled minutes.
    pub fn find(&self, store: &Store, labels: &Labels, at: i64) -> Option<Finding> {
        let selection = store.selection(self.minutes)?;
        let mut best: Option<(f64, Finding)> = None;
        for series in selection.members().iter().filter_map(|id| store.series(*id)) {
            let Samples::Floats(list) = &series.samples else {
                continue;
            };
            // What comes after this time is better known, not different.
            let Some((time, minutes)) = list.last().copied() else {
                continue;
            };
            if time <= at - FRESH || minutes <= 0.0 || minutes.is_nan() {
                continue;
            }
            let texts = store.texts(&series.labels);
            if !is_about(&texts, labels) {
                continue;
            }
            let Some(finding) = Finding::read(&texts) else { continue };
            if best.as_ref().is_none_or(|(most, _)| minutes > *most) {
                best = Some((minutes, finding));
            }
        }
        best.map(|(_, finding)| finding)
    }
}

/// Whether a place is the one, or a part of the one, that an alert is about.
fn is_about(place: &Labels, alert: &Labels) -> bool {
    let common = place.iter().filter(|(name, _)| !FOUND.contains(&name.as_str()));
    let same = |(name, value): &(String, String)| value_of(alert, name).is_none_or(|have| have == value);
    if !common.into_iter().all(same) {
        return false;
    }
    let index = value_of(alert, "GlobalSecondaryIndexName");
    index.is_none_or(|index| value_of(place, "GlobalSecondaryIndexName") == Some(index))
}

fn value_of<'a>(labels: &'a Labels, name: &str) -> Option<&'a str> {
    let found = labels.iter().find(|(have, _)| have == name);
    found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

const CAUSES: [&str; 5] = [
    "hot_partition",
    "provisioned_capacity",
    "on_demand_max",
    "account_limit",
    "unknown",
];
const PATTERNS: [&str; 3] = ["burst", "intermittent", "sustained"];

impl Finding {
    fn read(texts: &Labels) -> Option<Self> {
        let among = |names: &[&'static str], label: &str| {
            let value = value_of(texts, label)?;
            names.iter().find(|name| **name == value).copied()
        };
        let presses = value_of(texts, "gsi_backpressure") == Some("true");
        Some(Self {
            cause: among(&CAUSES, "Cause")?,
            pattern: if presses {
                "gsi_backpressure"
            } else {
                among(&PATTERNS, "Pattern")?
            },
            writes: value_of(texts, "Direction") == Some("Write"),
            index: value_of(texts, "GlobalSecondaryIndexName").is_some(),
        })
    }

    /// The first step: by cause, direction and place, and by how it comes.
    pub fn advice(&self) -> String {
        let step = match (self.cause, self.writes, self.index) {
            ("hot_partition", false, false) => {
                "Reads of one key of the table exceed a partition's 3,000 units a second: find the key with Contributor Insights, cache it or spread it over several keys."
            }
            ("hot_partition", true, false) => {
                "Writes to one key of the table exceed a partition's 1,000 units a second: find the key with Contributor Insights, add a suffix to it (write sharding) or collect writes."
            }
            ("hot_partition", false, true) => {
                "Reads of one key of the index exceed a partition's 3,000 units a second: find it with Contributor Insights of the index, cache it or change the key of the index."
            }
            ("hot_partition", true, true) => {
                "Writes to one key of the index exceed a partition's 1,000 units a second and hold back the table: choose a key with more values, or make the index sparse."
            }
            ("provisioned_capacity", false, false) => {
                "The table is read more than is provisioned: raise its read capacity or the maximum of auto scaling, or change it to on-demand."
            }
            ("provisioned_capacity", true, false) => {
                "The table is written more than is provisioned: raise its write capacity or the maximum of auto scaling, or change it to on-demand."
            }
            ("provisioned_capacity", false, true) => {
                "The index is read more than is provisioned for it: raise the read capacity of the index; that of the table does not count."
            }
            ("provisioned_capacity", true, true) => {
                "The index takes fewer writes than its table: raise its write capacity to that of the table, since it throttles the table's writes."
            }
            ("on_demand_max", false, false) => {
                "The table is read more than the maximum that was set for it: raise MaxReadRequestUnits, or pause what reads so much."
            }
            ("on_demand_max", true, false) => {
                "The table is written more than the maximum that was set for it: raise MaxWriteRequestUnits, or pause what writes so much."
            }
            ("on_demand_max", false, true) => {
                "The index is read more than the maximum that was set for it: raise MaxReadRequestUnits of the index."
            }
            ("on_demand_max", true, true) => {
                "The index is written more than the maximum that was set for it: raise MaxWriteRequestUnits of the index, since it throttles the table's writes."
            }
            ("account_limit", false, false) => {
                "Reads exceed the quota of a table in this account and region: ask AWS to raise it, and pause bulk reads until then."
            }
            ("account_limit", true, false) => {
                "Writes exceed the quota of a table in this account and region: ask AWS to raise it, and pause bulk writes until then."
            }
            ("account_limit", false, true) => {
                "Reads of the index exceed the quota of this account and region: ask AWS to raise it, and read less by this index until then."
            }
            ("account_limit", true, true) => {
                "Writes of the index exceed the quota of this account and region: ask AWS to raise it, or make the index sparse."
            }
            _ => "CloudWatch tells no cause yet: compare consumed with provisioned units, and look for a hot key.",
        };
        let manner = match self.pattern {
            "burst" => {
                " It was a burst: burst capacity and tries with exponential back-off and jitter take most of those."
            }
            "sustained" => " It is sustained: trying again makes it worse.",
            "gsi_backpressure" => " The index holds back its table, which has capacity itself.",
            _ => " It comes and goes: look for a job at these minutes.",
        };
        format!("{step}{manner}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::store::{Origin, Point, StoreLimits};

    fn labels(list: &[(&str, &str)]) -> Labels {
        let texts = list
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        texts.collect()
    }

    fn place(index: Option<&str>, cause: &str, pattern: &str, direction: &str) -> Labels {
        let mut all = labels(&[
            ("__name__", MINUTES),
            ("account_id", "1"),
            ("TableName", "orders"),
            ("Cause", cause),
            ("Pattern", pattern),
            ("Inferred", "false"),
            ("Direction", direction),
        ]);
        if let Some(index) = index {
            all.push(("GlobalSecondaryIndexName".to_owned(), index.to_owned()));
        }
        all
    }

    fn filled(places: &[(Labels, i64, f64)]) -> (Store, Throttles) {
        let mut store = Store::new(StoreLimits::default());
        let throttles = Throttles::new(&mut store);
        for (labels, time, minutes) in places {
            let texts: Vec<(&str, &str)> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let id = store.intern(&texts, Origin::default()).unwrap();
            store.push(id, *time, Point::Float(*minutes));
        }
        (store, throttles)
    }

    #[test]
    fn the_place_with_the_most_throttled_minutes_of_the_same_table_is_taken() {
        let now = 100 * 60_000;
        let (store, throttles) = filled(&[
            (place(None, "provisioned_capacity", "burst", "Read"), now, 2.0),
            (place(None, "hot_partition", "sustained", "Write"), now, 7.0),
            (place(None, "account_limit", "sustained", "Write"), now - FRESH, 15.0),
            (place(None, "on_demand_max", "sustained", "Read"), now, 0.0),
        ]);
        let of = |table: &str| throttles.find(&store, &labels(&[("TableName", table), ("severity", "critical")]), now);
        let found = of("orders").unwrap();
        assert_eq!((found.cause, found.pattern), ("hot_partition", "sustained"));
        assert!(found.advice().contains("write sharding") && found.advice().contains("sustained"));
        assert_eq!(of("users"), None);
    }

    #[test]
    fn an_alert_about_an_index_is_not_told_the_cause_of_another_place() {
        let now = 100 * 60_000;
        let mut pressing = place(Some("by-user"), "provisioned_capacity", "burst", "Write");
        pressing.push(("gsi_backpressure".to_owned(), "true".to_owned()));
        let (store, throttles) = filled(&[
            (place(None, "hot_partition", "burst", "Read"), now, 9.0),
            (pressing, now, 2.0),
        ]);
        let index = |name: &str| {
            let labels = labels(&[("TableName", "orders"), ("GlobalSecondaryIndexName", name)]);
            throttles.find(&store, &labels, now)
        };
        let found = index("by-user").unwrap();
        assert_eq!(
            (found.cause, found.pattern),
            ("provisioned_capacity", "gsi_backpressure")
        );
        assert!(found.advice().contains("holds back"));
        assert_eq!(index("by-day"), None);
    }

    #[test]
    fn every_cause_direction_and_place_has_a_step_of_its_own() {
        let mut steps = std::collections::BTreeSet::new();
        for cause in &CAUSES[..4] {
            for (writes, index) in [(false, false), (false, true), (true, false), (true, true)] {
                let (pattern, cause) = ("intermittent", *cause);
                steps.insert(
                    Finding {
                        cause,
                        pattern,
                        writes,
                        index,
                    }
                    .advice(),
                );
            }
        }
        assert_eq!(steps.len(), 16);
    }
}
