//! The newest values of the AWS receivers' metrics in the store, by what they are about.

use std::collections::{BTreeMap, HashMap};

use crate::dev::store::{Segment, Store};
use crate::pdata::Signal;

/// Series that are looked at: the newest point of each.
const MOST_SERIES: usize = 20_000;
/// Counts are summed over so much time before the newest point. Nanoseconds.
const RECENT: u64 = 900 * 1_000_000_000;

/// What CloudWatch's metrics are called, without the metric.
const NAMESPACES: [&str; 3] = [
    "amazonaws.com/AWS/DynamoDB/",
    "amazonaws.com/AWS/SageMaker/",
    "amazonaws.com//aws/sagemaker/Endpoints/",
];
/// And those of our own.
const OWN: [&str; 3] = ["aws.dynamodb.", "aws.sagemaker.", "aws.xray."];

/// Attributes that tell series of one subject apart.
const LABELS: [&str; 17] = [
    "Operation",
    "Direction",
    "Basis",
    "Cause",
    "Pattern",
    "Rule",
    "Rank",
    "Key",
    "KeyHash",
    "State",
    "Status",
    "Type",
    "JobType",
    "type",
    "outcome",
    "source",
    "target",
];

/// What a series is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    pub account: String,
    pub region: String,
    /// The table, the endpoint, the job, the pipeline, the service, the rule.
    pub name: String,
    /// The index or the variant.
    pub part: String,
}

/// A metric, without the namespace of AWS, and the labels that tell its series apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric {
    pub name: String,
    labels: Vec<(&'static str, String)>,
}

impl Metric {
    /// Empty where it has none.
    pub fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(have, _)| *have == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// What is known of a series.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Nanoseconds since the epoch.
    pub time: u64,
    pub value: f64,
    /// The oldest that is stored.
    pub first: (u64, f64),
    /// Over the last quarter of an hour.
    pub recent: f64,
}

/// All of them.
#[derive(Default)]
pub struct Newest {
    series: HashMap<(Subject, Metric), Seen>,
    latest: u64,
}

impl Newest {
    /// Reads the store, the newest segments first.
    pub fn of(store: &Store) -> Self {
        let snapshot = store.snapshot();
        let segments = snapshot.of(Signal::Metrics);
        let starts = segments.iter().flat_map(|segment| segment.starts.iter().copied());
        let mut newest = Self {
            latest: starts.max().unwrap_or(0),
            series: HashMap::new(),
        };
        for segment in segments.iter().rev() {
            for row in (0..segment.len()).rev() {
                newest.take(segment, row);
            }
        }
        newest
    }

    fn take(&mut self, segment: &Segment, row: usize) {
        let name = segment.name(row);
        let cut = NAMESPACES.iter().find_map(|namespace| name.strip_prefix(namespace));
        let own = || OWN.iter().any(|prefix| name.starts_with(prefix)).then_some(name);
        let Some(short) = cut.or_else(own) else { return };
        let text = |key: &str| segment.attribute(row, key).unwrap_or_default();
        let first = |keys: &[&str]| keys.iter().map(|key| text(key)).find(|text| !text.is_empty());
        let name = first(&[
            "TableName",
            "EndpointName",
            "JobName",
            "PipelineName",
            "service",
            "rule",
        ]);
        // An edge has two names, which are labels.
        let is_edge = short.starts_with("aws.xray.edge.");
        let Some(name) = name.or(is_edge.then_some("")) else {
            return;
        };
        let subject = Subject {
            account: text("cloud.account.id").to_owned(),
            region: text("cloud.region").to_owned(),
            name: name.to_owned(),
            part: first(&["GlobalSecondaryIndexName", "VariantName"])
                .unwrap_or_default()
                .to_owned(),
        };
        let label = |key: &&'static str| Some((*key, text(key).to_owned())).filter(|(_, value)| !value.is_empty());
        let metric = Metric {
            name: short.to_owned(),
            labels: LABELS.iter().filter_map(label).collect(),
        };
        self.put((subject, metric), segment.starts[row], segment.values[row]);
    }

    fn put(&mut self, key: (Subject, Metric), time: u64, value: f64) {
        if !value.is_finite() || (self.series.len() >= MOST_SERIES && !self.series.contains_key(&key)) {
            return;
        }
        let is_recent = time.saturating_add(RECENT) >= self.latest;
        let seen = self.series.entry(key).or_insert(Seen {
            time,
            value,
            first: (time, value),
            recent: 0.0,
        });
        if is_recent {
            seen.recent += value;
        }
        if time > seen.time {
            (seen.time, seen.value) = (time, value);
        }
        if time < seen.first.0 {
            seen.first = (time, value);
        }
    }

    /// The time of the newest point of all.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// The subjects that have a metric that is wanted, in their order.
    pub fn subjects(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<&Subject, Facts<'_>> {
        let mut subjects: BTreeMap<&Subject, Facts<'_>> = BTreeMap::new();
        for ((subject, metric), seen) in &self.series {
            if is_wanted(&metric.name) {
                let latest = self.latest;
                let facts = subjects.entry(subject).or_insert_with(|| Facts {
                    all: BTreeMap::new(),
                    latest,
                });
                facts.all.insert(metric, seen);
            }
        }
        subjects
    }
}

/// What is known of one subject.
pub struct Facts<'a> {
    pub all: BTreeMap<&'a Metric, &'a Seen>,
    latest: u64,
}

impl<'a> Facts<'a> {
    /// The series of a metric.
    pub fn of(&self, name: &str) -> impl Iterator<Item = (&'a Metric, &'a Seen)> {
        let name = name.to_owned();
        let series = self.all.iter().map(|(metric, seen)| (*metric, *seen));
        series.filter(move |(metric, _)| metric.name == name)
    }

    /// Those of the last quarter of an hour: a status that has passed is none.
    pub fn current(&self, name: &str) -> impl Iterator<Item = (&'a Metric, &'a Seen)> {
        let latest = self.latest;
        self.of(name)
            .filter(move |(_, seen)| seen.time.saturating_add(RECENT) >= latest)
    }

    /// The newest value of a metric, whatever its labels.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.of(name)
            .max_by_key(|(_, seen)| seen.time)
            .map(|(_, seen)| seen.value)
    }

    /// The newest where a label has this value.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        let fits = self.of(name).filter(|(metric, _)| metric.label(label) == value);
        fits.max_by_key(|(_, seen)| seen.time).map(|(_, seen)| seen.value)
    }

    /// The sum of a metric's series over the last quarter of an hour.
    pub fn recent(&self, name: &str) -> f64 {
        self.of(name).map(|(_, seen)| seen.recent).sum()
    }
}
