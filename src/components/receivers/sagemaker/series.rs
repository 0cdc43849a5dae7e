//! Which series there are to poll, how each is polled, and which resource each belongs to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::config::Config;
use super::fleet::{Fleet, Kind};
use super::gpus::gpus;
use crate::aws::catalogue::{Metric, catalogue};
use crate::aws::cloudwatch::{
    ACCOUNT, Class, Dimensions, Name, Names, SeriesId, Shape, Stat, Want, ZeroFill, statistics,
};

pub const INVOCATIONS: &str = "AWS/SageMaker";
pub const ENDPOINTS: &str = "/aws/sagemaker/Endpoints";

pub const ENDPOINT: &str = "EndpointName";
pub const VARIANT: &str = "VariantName";
const COMPONENT: &str = "InferenceComponentName";

/// Periods that CloudWatch has below a minute.
const SHORT: &[i64] = &[10, 20, 30];

/// How the series of a metric are polled, by namespace, name, period and set of dimension names.
#[derive(Default)]
pub struct Shapes(HashMap<(Name, Name, i64, usize), Arc<Shape>>);

impl Shapes {
    fn get(
        &mut self,
        metric: &Metric,
        series: &SeriesId,
        period: i64,
        config: &Config,
        names: &mut Names,
    ) -> Arc<Shape> {
        let width = series.dimensions.len();
        let key = (Arc::clone(&series.namespace), Arc::clone(&series.metric), period, width);
        let made = || {
            let mut shape = shape(metric, config, names);
            shape.namespace = Arc::clone(&series.namespace);
            shape.metric = Arc::clone(&series.metric);
            shape.period = period;
            shape.heartbeat &= width == 2;
            Arc::new(shape)
        };
        Arc::clone(self.0.entry(key).or_insert_with(made))
    }
}

/// A period that CloudWatch takes, no shorter than the publish frequency.
pub fn period_of(publish_s: i64, high_resolution: bool) -> i64 {
    let short = SHORT.iter().find(|period| publish_s <= **period);
    match short {
        Some(period) if high_resolution => *period,
        _ => (publish_s.max(60) + 59) / 60 * 60,
    }
}

fn shape(metric: &Metric, config: &Config, names: &mut Names) -> Shape {
    let mut statistics = statistics(metric, &config.common.taste);
    let mut also = |stat: Stat| {
        if config.common.derived && metric.lists(stat.name()) && !statistics.contains(&stat) {
            statistics.push(stat);
        }
    };
    // What our own signals are computed from; inside the five that count once.
    match metric.metric.as_str() {
        "CPUUtilization" if metric.namespace == ENDPOINTS => also(Stat::SampleCount),
        "Invocation4XXErrors" | "Invocation5XXErrors" | "InvocationModelErrors" | "ModelCacheHit" => {
            also(Stat::Average)
        }
        _ => {}
    }
    Shape {
        namespace: names.name(&metric.namespace),
        metric: names.name(&metric.metric),
        kind: metric.otel_kind,
        unit: names.name(&metric.unit),
        statistics,
        period: i64::from(metric.period_s),
        class: class_of(metric),
        fill: config.common.zero_fill == ZeroFill::All && is_sparse(metric),
        heartbeat: metric.namespace == ENDPOINTS && metric.metric == "CPUUtilization",
    }
}

fn class_of(metric: &Metric) -> Class {
    let name = metric.metric.as_str();
    let busy = [
        "CPUUtilization",
        "MemoryUtilization",
        "GPUUtilization",
        "GPUMemoryUtilization",
    ];
    let core = match metric.namespace.as_str() {
        INVOCATIONS => {
            matches!(
                name,
                "Invocations" | "Invocation4XXErrors" | "Invocation5XXErrors" | "ModelLatency" | "OverheadLatency"
            ) || name.starts_with("ApproximateBacklog")
        }
        _ => busy.iter().any(|busy| name.trim_end_matches("Normalized") == *busy),
    };
    match (metric.period_s >= 300, core) {
        (true, _) => Class::Native,
        (false, true) => Class::Core,
        (false, false) => Class::Detail,
    }
}

/// No point means nothing happened.
fn is_sparse(metric: &Metric) -> bool {
    let name = metric.metric.as_str();
    let counts = |name: &str| name.starts_with("Execution") || name.starts_with("Step");
    match metric.namespace.as_str() {
        "AWS/Sagemaker/ModelBuildingPipeline" => counts(name) && !name.ends_with("Duration"),
        _ => name == "Invocations" || name.ends_with("Errors") || name.ends_with("Failures"),
    }
}

/// Everything to poll. `listed`: the series of ListMetrics.
pub fn wants<'a>(
    fleet: &Fleet,
    listed: impl Iterator<Item = &'a SeriesId>,
    config: &Config,
    shapes: &mut Shapes,
    names: &mut Names,
) -> Vec<Want> {
    let mut wanted: BTreeMap<SeriesId, (Name, i64)> = BTreeMap::new();
    for series in described(fleet, config, names) {
        if let Some(owner) = owner(fleet, config, &series, names) {
            wanted.insert(series, owner);
        }
    }
    for series in listed {
        if let Some(owner) = owner(fleet, config, series, names) {
            wanted.entry(series.clone()).or_insert(owner);
        }
    }
    let mut wants = Vec::new();
    for (series, (resource, since)) in wanted {
        let dimensions: Vec<&str> = series.dimensions.iter().map(|(name, _)| &**name).collect();
        let metric = catalogue().lookup(&series.namespace, &series.metric, &dimensions);
        let Some(metric) = metric.filter(|_| config.common.metrics.take(&series.metric)) else {
            continue;
        };
        let period = match publish_s(fleet, &series) {
            Some(publish_s) if follows(metric, &dimensions) => period_of(publish_s, config.high_resolution),
            _ => i64::from(metric.period_s),
        };
        wants.push(Want {
            shape: shapes.get(metric, &series, period, config, names),
            dimensions: Dimensions::clone(&series.dimensions),
            resource,
            exists_from: since,
        });
    }
    wants
}

/// Utilisation and the enhanced sets follow MetricPublishFrequencyInSeconds.
fn follows(metric: &Metric, dimensions: &[&str]) -> bool {
    let utilisation = metric.namespace != INVOCATIONS;
    let enhanced = ["InstanceId", "ContainerId", "ContainerName", "AvailabilityZone"];
    metric.period_s == 60 && (utilisation || dimensions.iter().any(|name| enhanced.contains(name)))
}

fn publish_s(fleet: &Fleet, series: &SeriesId) -> Option<i64> {
    let endpoint = match (series.dimension(ENDPOINT), series.dimension(COMPONENT)) {
        (_, Some(component)) => fleet.components.get(component)?.endpoint.as_str(),
        (Some(endpoint), None) => endpoint,
        _ => return None,
    };
    Some(fleet.endpoints.get(endpoint)?.publish_s)
}

/// The series that an endpoint makes because it is there: an error that never happened is not listed, and new ones are
/// not for 15 minutes. Everything else is polled when ListMetrics names it.
fn described(fleet: &Fleet, config: &Config, names: &mut Names) -> Vec<SeriesId> {
    let mut series = Vec::new();
    for (name, endpoint) in &fleet.endpoints {
        if !config.kinds.contains(&Kind::Endpoints) || !endpoint.described {
            continue;
        }
        for (variant, info) in &endpoint.variants {
            let dimensions = [(ENDPOINT, name.as_str()), (VARIANT, variant.as_str())];
            let mut add = |namespace, metric| series.push(names.series(namespace, metric, &dimensions));
            for metric in [
                "Invocations",
                "Invocation4XXErrors",
                "Invocation5XXErrors",
                "InvocationModelErrors",
                "ModelLatency",
                "OverheadLatency",
            ] {
                add(INVOCATIONS, metric);
            }
            add(ENDPOINTS, "MemoryUtilization");
            if info.serverless {
                continue;
            }
            add(INVOCATIONS, "InvocationsPerInstance");
            add(ENDPOINTS, "CPUUtilization");
            add(ENDPOINTS, "DiskUtilization");
            // Of a type that is not known the listing tells.
            let instance_type = info.instance_type.as_deref().unwrap_or_default();
            if gpus(instance_type).is_some_and(|gpus| gpus > 0) {
                add(ENDPOINTS, "GPUUtilization");
                add(ENDPOINTS, "GPUMemoryUtilization");
            }
        }
        if endpoint.asynchronous {
            for metric in [
                "ApproximateBacklogSize",
                "ApproximateBacklogSizePerInstance",
                "ApproximateAgeOfOldestRequest",
                "HasBacklogWithoutCapacity",
            ] {
                series.push(names.series(INVOCATIONS, metric, &[(ENDPOINT, name.as_str())]));
            }
        }
    }
    series
}

/// The resource a series belongs to and since when that exists; `None`: gone, left out, or of a kind that is not asked.
fn owner(fleet: &Fleet, config: &Config, series: &SeriesId, names: &mut Names) -> Option<(Name, i64)> {
    let kinds = config
        .kinds
        .iter()
        .filter(|kind| kind.namespaces().contains(&&*series.namespace));
    let kinds: BTreeSet<Kind> = kinds.copied().collect();
    let mut account = |found: bool| found.then(|| (names.name(ACCOUNT), 0));
    if let Some(component) = series.dimension(COMPONENT) {
        let info = fleet.components.get(component)?;
        return kinds
            .contains(&Kind::InferenceComponents)
            .then(|| (Arc::clone(&info.arn), info.since));
    }
    if let Some(host) = series.dimension("Host") {
        let job = host.split('/').next().unwrap_or_default();
        let info = kinds.iter().find_map(|kind| fleet.job(*kind, job))?;
        return Some((Arc::clone(&info.arn), info.created));
    }
    if let Some(job) = series.dimension("JobName").or(series.dimension("LabelingJobName")) {
        let info = kinds.iter().find_map(|kind| fleet.job(*kind, job))?;
        return Some((Arc::clone(&info.arn), info.created));
    }
    if let Some(pipeline) = series.dimension("PipelineName") {
        let info = fleet
            .pipelines
            .get(pipeline)
            .filter(|_| kinds.contains(&Kind::Pipelines))?;
        return Some((Arc::clone(&info.arn), 0));
    }
    if let Some(group) = series.dimension("FeatureGroupName") {
        let info = fleet.feature_groups.get(group)?;
        return Some((Arc::clone(&info.arn), info.since));
    }
    if let Some(schedule) = series
        .dimension("ScheduleName")
        .or(series.dimension("MonitoringSchedule"))
    {
        let info = fleet.schedules.get(schedule)?;
        return Some((Arc::clone(&info.arn), info.since));
    }
    if let Some(endpoint) = series.dimension(ENDPOINT) {
        if kinds.contains(&Kind::InferenceRecommendations) {
            // The endpoints of a recommendation live for minutes and carry its name.
            let jobs = fleet.jobs.get(&Kind::InferenceRecommendations);
            return account(jobs.is_some_and(|jobs| !jobs.is_empty()));
        }
        let info = fleet
            .endpoints
            .get(endpoint)
            .filter(|_| kinds.contains(&Kind::Endpoints))?;
        return Some((Arc::clone(&info.arn), info.since));
    }
    // Of the account: all pipelines, all labeling jobs, work teams, BatchGetRecord.
    let of_account = series
        .dimension("Workteam")
        .is_none_or(|team| config.common.resources.take(team));
    account(!kinds.is_empty() && of_account)
}
