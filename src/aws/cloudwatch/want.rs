//! What a receiver wants to know: series, statistics, period. Kept small: an agent may watch half a million series, so
//! what all series of a metric have in common stands once ([`Shape`]), and names are shared ([`Names`]).

use std::collections::HashSet;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use crate::aws::catalogue::{Kind, Metric};

/// A name that many series share.
pub type Name = Arc<str>;
/// Name and value of each dimension, sorted by name.
pub type Dimensions = Arc<[(Name, Name)]>;

/// The resource that series without one belong to: the account in its region.
pub const ACCOUNT: &str = "account";

/// A metric with its dimensions, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId {
    pub namespace: Name,
    pub metric: Name,
    pub dimensions: Dimensions,
}

impl SeriesId {
    pub fn new(namespace: &str, metric: &str, dimensions: &[(&str, &str)]) -> Self {
        Names::default().series(namespace, metric, dimensions)
    }

    /// The value of a dimension.
    pub fn dimension(&self, name: &str) -> Option<&str> {
        dimension(&self.dimensions, name)
    }
}

fn dimension<'a>(dimensions: &'a Dimensions, name: &str) -> Option<&'a str> {
    dimensions
        .iter()
        .find(|(have, _)| &**have == name)
        .map(|(_, value)| &**value)
}

/// Makes one copy of every name and every set of dimensions.
#[derive(Debug, Default)]
pub struct Names {
    names: HashSet<Name>,
    sets: HashSet<Dimensions>,
}

impl Names {
    /// The shared copy of a text.
    pub fn name(&mut self, text: &str) -> Name {
        if let Some(known) = self.names.get(text) {
            return Arc::clone(known);
        }
        let name: Name = text.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    /// The shared copy of a set of dimensions; sorts it.
    pub fn dimensions(&mut self, dimensions: &[(&str, &str)]) -> Dimensions {
        let mut set: Vec<(Name, Name)> = Vec::with_capacity(dimensions.len());
        for (name, value) in dimensions {
            set.push((self.name(name), self.name(value)));
        }
        set.sort();
        let set: Dimensions = set.into();
        match self.sets.get(&set) {
            Some(known) => Arc::clone(known),
            None => {
                self.sets.insert(Arc::clone(&set));
                set
            }
        }
    }

    /// A series made of shared copies.
    pub fn series(&mut self, namespace: &str, metric: &str, dimensions: &[(&str, &str)]) -> SeriesId {
        SeriesId {
            namespace: self.name(namespace),
            metric: self.name(metric),
            dimensions: self.dimensions(dimensions),
        }
    }

    /// Forgets what nobody else holds any more.
    pub fn tidy(&mut self) {
        self.sets.retain(|set| Arc::strong_count(set) > 1);
        self.names.retain(|name| Arc::strong_count(name) > 1);
    }
}

/// A statistic that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stat {
    Sum,
    SampleCount,
    Average,
    Minimum,
    Maximum,
    /// By its API name: `p99`, also any other extended statistic (`TM(10%:90%)`).
    Percentile(String),
}

impl Stat {
    /// By the API's name.
    pub fn parse(name: &str) -> Self {
        match name {
            "Sum" => Stat::Sum,
            "SampleCount" => Stat::SampleCount,
            "Average" => Stat::Average,
            "Minimum" => Stat::Minimum,
            "Maximum" => Stat::Maximum,
            other => Stat::Percentile(other.to_owned()),
        }
    }

    /// The API's name.
    pub fn name(&self) -> &str {
        match self {
            Stat::Sum => "Sum",
            Stat::SampleCount => "SampleCount",
            Stat::Average => "Average",
            Stat::Minimum => "Minimum",
            Stat::Maximum => "Maximum",
            Stat::Percentile(name) => name,
        }
    }
}

/// How urgent a series is: sentinels are asked first when the rate is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Sentinel,
    Core,
    Detail,
    /// Published every five minutes or slower.
    Native,
}

impl Class {
    pub const ALL: [Class; 4] = [Class::Sentinel, Class::Core, Class::Detail, Class::Native];

    /// The label value of `cloudwatch_series{class}`.
    pub fn name(self) -> &'static str {
        match self {
            Class::Sentinel => "sentinel",
            Class::Core => "core",
            Class::Detail => "detail",
            Class::Native => "native",
        }
    }
}

/// Which sparse series get a 0 where AWS is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroFill {
    /// Sentinels and account-wide errors.
    #[default]
    Core,
    All,
    None,
}

/// How points leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputForm {
    /// Sums, gauges and histograms by what the metric is.
    #[default]
    Typed,
    /// Summaries, as CloudWatch Metric Streams write them.
    MetricStreams,
    /// A gauge point for each statistic.
    GaugePerStat,
}

/// What all series of one metric have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub namespace: Name,
    pub metric: Name,
    pub kind: Kind,
    /// CloudWatch's unit.
    pub unit: Name,
    pub statistics: Vec<Stat>,
    /// Seconds.
    pub period: i64,
    pub class: Class,
    /// Emit 0 for minutes that are certainly empty.
    pub fill: bool,
    /// As long as it shows, silence of the other series of its resource is silence and not blindness.
    pub heartbeat: bool,
}

/// One series to poll.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    pub shape: Arc<Shape>,
    pub dimensions: Dimensions,
    /// The resource it belongs to: an ARN, or [`ACCOUNT`].
    pub resource: Name,
    /// Unix seconds from which the resource exists, where known: nothing is filled before.
    pub exists_from: i64,
}

impl Want {
    /// The value of a dimension.
    pub fn dimension(&self, name: &str) -> Option<&str> {
        dimension(&self.dimensions, name)
    }

    /// Metric and dimensions.
    pub fn series(&self) -> SeriesId {
        SeriesId {
            namespace: Arc::clone(&self.shape.namespace),
            metric: Arc::clone(&self.shape.metric),
            dimensions: Arc::clone(&self.dimensions),
        }
    }

    /// The same for the same series in every process: what a series is found by.
    pub fn identity(&self) -> u64 {
        let dimensions = self.dimensions.iter().map(|(name, value)| (&**name, &**value));
        identity(&self.shape.namespace, &self.shape.metric, dimensions)
    }

    /// Metrics that one question for it is billed as: five statistics count once.
    pub fn units(&self) -> u64 {
        self.shape.statistics.len().div_ceil(5) as u64
    }
}

/// Of a series by its parts; dimensions sorted by name.
pub fn identity<'a>(namespace: &str, metric: &str, dimensions: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut hash = Xxh3Default::new();
    let mut part = |text: &str| {
        hash.update(text.as_bytes());
        // No name has it: parts cannot run into each other.
        hash.update(&[0xff]);
    };
    part(namespace);
    part(metric);
    for (name, value) in dimensions {
        part(name);
        part(value);
    }
    hash.digest()
}

/// Which statistics a receiver cares for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taste {
    /// API names; at most three are asked for.
    pub percentiles: Vec<String>,
    /// Minimum and maximum of distributions that have percentiles.
    pub min_max: bool,
    pub output: OutputForm,
}

/// The statistics worth asking for: never Average where Sum and SampleCount give it, at most three percentiles, five in
/// all (more cost a second unit). A summary needs the same four of every metric.
pub fn statistics(metric: &Metric, taste: &Taste) -> Vec<Stat> {
    let percentiles = || taste.percentiles.iter().take(3).cloned().map(Stat::Percentile);
    if taste.output == OutputForm::MetricStreams {
        let mut wanted = vec![Stat::SampleCount, Stat::Sum, Stat::Minimum, Stat::Maximum];
        if metric.lists_percentiles() {
            wanted.extend(percentiles());
        }
        return wanted;
    }
    let mut wanted = Vec::new();
    let mut add = |stat: Stat| {
        if metric.lists(stat.name()) && !wanted.contains(&stat) {
            wanted.push(stat);
            return true;
        }
        false
    };
    match metric.otel_kind {
        Kind::SumDelta => {
            if !add(Stat::Sum) && add(Stat::Average) {
                add(Stat::SampleCount);
            }
        }
        Kind::Gauge => {
            let found = add(Stat::Average);
            // The maximum is what a percentage is watched for.
            if !found || metric.unit == "Percent" {
                let found = add(Stat::Maximum) || found;
                if !found {
                    add(Stat::Sum);
                }
            }
        }
        Kind::Histogram => {
            if !add(Stat::Sum) {
                add(Stat::Average);
            }
            add(Stat::SampleCount);
            if !metric.lists_percentiles() || taste.min_max {
                add(Stat::Minimum);
                add(Stat::Maximum);
            }
        }
    }
    if metric.otel_kind == Kind::Histogram && metric.lists_percentiles() {
        wanted.extend(percentiles());
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shared_and_forgotten_when_nobody_holds_them() {
        let mut names = Names::default();
        let one = names.series("n", "m", &[("b", "2"), ("a", "1")]);
        let other = names.series("n", "m2", &[("a", "1"), ("b", "2")]);
        assert!(Arc::ptr_eq(&one.dimensions, &other.dimensions));
        assert_eq!(one.dimension("b"), Some("2"));
        drop((one, other));
        names.tidy();
        assert!(names.names.is_empty() && names.sets.is_empty());
    }

    #[test]
    fn the_parts_of_an_identity_do_not_run_into_each_other() {
        let none = || std::iter::empty::<(&str, &str)>();
        assert_ne!(identity("ab", "c", none()), identity("a", "bc", none()));
        assert_ne!(
            identity("a", "b", [("c", "d")].into_iter()),
            identity("a", "b", [("cd", "")].into_iter())
        );
    }
}
