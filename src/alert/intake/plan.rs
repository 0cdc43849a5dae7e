//! What a metric becomes: decided once for a name, unit and kind.

use super::names;
use crate::alert::rules::metrics::default_fill;
use crate::alert::store::{Fill, Store};
use crate::wire::{Metric, MetricKind, WireError};

/// Statistics of CloudWatch that one point can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stat {
    Sum,
    SampleCount,
    Average,
    Minimum,
    Maximum,
}

/// A name under which points of the metric are kept, and what of the metric that is.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub name: String,
    pub fill: Fill,
}

#[derive(Clone, Debug)]
pub(super) enum MetricPlan {
    /// No rule asks for it.
    Unwanted,
    /// `aws.cloudwatch.watermark` and `aws.cloudwatch.blind`: how far a poller is. The second name is also a metric.
    Watermark,
    Blind(Option<Output>),
    /// A number of CloudWatch: one statistic; `None`: the point says which.
    CloudWatch {
        base: String,
        outputs: Vec<(Stat, Output)>,
        percentiles: bool,
        beside: Option<Output>,
    },
    /// A number, as it is or adding up.
    Number {
        output: Output,
        is_delta: bool,
    },
    /// `_bucket`, `_sum`, `_count`.
    Histogram {
        bucket: Option<Output>,
        sum: Option<Output>,
        count: Option<Output>,
        is_delta: bool,
    },
    Native {
        output: Output,
        is_delta: bool,
    },
    /// Quantiles, `_sum`, `_count`.
    Summary {
        quantile: Option<Output>,
        sum: Option<Output>,
        count: Option<Output>,
    },
}

impl MetricPlan {
    pub fn is_wanted(&self) -> bool {
        !matches!(self, MetricPlan::Unwanted)
    }
}

const DELTA: i32 = 1;

pub(super) fn plan_of(metric: &Metric<'_>, store: &Store) -> Result<MetricPlan, WireError> {
    let name = metric.name()?.lossy();
    let unit = metric.unit()?.lossy();
    let Some(data) = metric.data()? else {
        return Ok(MetricPlan::Unwanted);
    };
    let output = |name: String| {
        store.wants(&name).then(|| Output {
            fill: default_fill(&name),
            name,
        })
    };
    match name.as_ref() {
        "aws.cloudwatch.watermark" => return Ok(MetricPlan::Watermark),
        "aws.cloudwatch.blind" => {
            return Ok(MetricPlan::Blind(output("aws_cloudwatch_blind".to_owned())));
        }
        _ => {}
    }
    if let Some(found) = names::cloudwatch(&name) {
        return Ok(cloudwatch(&found, data.kind(), store, &output));
    }
    let is_delta = data.aggregation_temporality()? == DELTA;
    let base = names::standard(&name, &unit, data.kind(), data.is_monotonic()?);
    let part = |suffix: &str| output(format!("{base}_{suffix}"));
    let plan = match data.kind() {
        MetricKind::Gauge => output(base.clone()).map(|output| MetricPlan::Number {
            output,
            is_delta: false,
        }),
        MetricKind::Sum => output(base.clone()).map(|output| MetricPlan::Number { output, is_delta }),
        MetricKind::ExponentialHistogram => output(base.clone()).map(|output| MetricPlan::Native { output, is_delta }),
        MetricKind::Histogram => {
            let (bucket, sum, count) = (part("bucket"), part("sum"), part("count"));
            let wanted = bucket.is_some() || sum.is_some() || count.is_some();
            wanted.then_some(MetricPlan::Histogram {
                bucket,
                sum,
                count,
                is_delta,
            })
        }
        MetricKind::Summary => {
            let (quantile, sum, count) = (output(base.clone()), part("sum"), part("count"));
            let wanted = quantile.is_some() || sum.is_some() || count.is_some();
            wanted.then_some(MetricPlan::Summary { quantile, sum, count })
        }
    };
    Ok(plan.unwrap_or(MetricPlan::Unwanted))
}

fn cloudwatch(
    found: &names::CloudWatchName,
    kind: MetricKind,
    store: &Store,
    output: &dyn Fn(String) -> Option<Output>,
) -> MetricPlan {
    let base = found.base.clone();
    let of = |stat: Stat, suffix: &str| output(format!("{base}_{suffix}")).map(|output| (stat, output));
    let mut outputs = Vec::new();
    let mut beside = None;
    match (kind, found.beside.as_str()) {
        (MetricKind::Sum, _) => outputs.extend(of(Stat::Sum, "sum")),
        (MetricKind::Gauge, "") => outputs.extend(match main_statistic(found) {
            Stat::Maximum => of(Stat::Maximum, "maximum"),
            Stat::Sum => of(Stat::Sum, "sum"),
            _ => of(Stat::Average, "average"),
        }),
        (MetricKind::Gauge, "max") => beside = output(format!("{base}_maximum")),
        (MetricKind::Gauge, "min") => beside = output(format!("{base}_minimum")),
        (MetricKind::Gauge, statistic) => beside = output(format!("{base}_{statistic}")),
        _ => {
            outputs.extend(of(Stat::Sum, "sum"));
            outputs.extend(of(Stat::SampleCount, "sample_count"));
            outputs.extend(of(Stat::Average, "average"));
            outputs.extend(of(Stat::Minimum, "minimum"));
            outputs.extend(of(Stat::Maximum, "maximum"));
        }
    }
    let prefix = format!("{base}_p");
    let has_own = |name: &str| name.starts_with(&prefix);
    let percentiles = kind == MetricKind::Summary && store.wanted_names().any(has_own);
    // With a gauge for each statistic the point's own `stat` says which one it is.
    let any_statistic = kind == MetricKind::Gauge
        && found.beside.is_empty()
        && store
            .wanted_names()
            .any(|name| name.strip_prefix(&base).is_some_and(|rest| rest.starts_with('_')));
    if outputs.is_empty() && beside.is_none() && !percentiles && !any_statistic {
        return MetricPlan::Unwanted;
    }
    MetricPlan::CloudWatch {
        base,
        outputs,
        percentiles,
        beside,
    }
}

/// What the one number of a level is: the average, where AWS computes one.
fn main_statistic(found: &names::CloudWatchName) -> Stat {
    #[cfg(feature = "aws")]
    if let Some(metric) = crate::aws::catalogue::catalogue().find(&found.namespace, &found.metric) {
        if metric.lists("Average") {
            return Stat::Average;
        }
        if metric.lists("Maximum") {
            return Stat::Maximum;
        }
        return Stat::Sum;
    }
    let _ = found;
    Stat::Average
}
