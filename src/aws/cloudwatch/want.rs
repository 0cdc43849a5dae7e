//! What a receiver wants to know: series, statistics, period.

use crate::aws::catalogue::{Kind, Metric};

/// A metric with its dimensions, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId {
    pub namespace: String,
    pub metric: String,
    pub dimensions: Vec<(String, String)>,
}

impl SeriesId {
    pub fn new(namespace: &str, metric: &str, dimensions: &[(&str, &str)]) -> Self {
        let mut dimensions: Vec<(String, String)> = dimensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        dimensions.sort();
        Self {
            namespace: namespace.to_owned(),
            metric: metric.to_owned(),
            dimensions,
        }
    }

    /// The value of a dimension.
    pub fn dimension(&self, name: &str) -> Option<&str> {
        self.dimensions
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
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
    /// By its API name: `p99`.
    Percentile(String),
}

impl Stat {
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroFill {
    /// Sentinels and account-wide errors.
    #[default]
    Core,
    All,
    None,
}

/// One series to poll.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    pub series: SeriesId,
    pub kind: Kind,
    /// CloudWatch's unit.
    pub unit: String,
    pub statistics: Vec<Stat>,
    /// Seconds.
    pub period: i64,
    pub class: Class,
    /// Emit 0 for minutes that are certainly empty.
    pub fill: bool,
    /// The resource it belongs to: an ARN, or the account.
    pub resource: String,
    /// Unix seconds from which the resource exists, where known: nothing is filled before.
    pub exists_from: i64,
}

/// The statistics worth asking for: never Average where Sum and SampleCount give it, at most three percentiles, five in
/// all (more cost a second unit).
pub fn statistics(metric: &Metric, percentiles: &[String], min_max: bool) -> Vec<Stat> {
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
            if !metric.lists_percentiles() || min_max {
                add(Stat::Minimum);
                add(Stat::Maximum);
            }
        }
    }
    if metric.otel_kind == Kind::Histogram && metric.lists_percentiles() {
        wanted.extend(percentiles.iter().take(3).cloned().map(Stat::Percentile));
    }
    wanted
}
