//! Metrics of CloudWatch by the names that rules give them.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::alert::rules::aws_metric;
use crate::alert::rules::metrics::base_name;
use crate::aws::catalogue::{Kind, Metric, catalogue};

/// Namespaces of the catalogue that alarms are written for.
const NAMESPACES: [&str; 9] = [
    "AWS/DynamoDB",
    "AWS/SageMaker",
    "AWS/SageMaker/FeatureStore",
    "AWS/SageMaker/LabelingJobs",
    "AWS/Sagemaker/ModelBuildingPipeline",
    "/aws/sagemaker/Endpoints",
    "/aws/sagemaker/InferenceComponents",
    "/aws/sagemaker/ProcessingJobs",
    "/aws/sagemaker/TrainingJobs",
];

/// One statistic of a metric.
#[derive(Clone, Debug)]
pub struct Statistic {
    pub metric: &'static Metric,
    /// As CloudWatch calls it: `Sum`, `Average`, `p99`.
    pub name: String,
}

/// The statistic that a rule calls so; `None` for metrics that CloudWatch does not have.
pub fn statistic(prometheus: &str) -> Option<Statistic> {
    static BY_BASE: OnceLock<HashMap<String, &'static Metric>> = OnceLock::new();
    let by_base = BY_BASE.get_or_init(|| {
        let mut found = HashMap::new();
        for namespace in NAMESPACES {
            for metric in catalogue().of(namespace) {
                found.entry(base_name(namespace, &metric.metric)).or_insert(metric);
            }
        }
        found
    });
    let wanted = aws_metric(prometheus)?;
    let metric = by_base.get(&wanted.base)?;
    let name = match wanted.statistic.as_str() {
        "sum" => "Sum",
        "average" => "Average",
        "minimum" => "Minimum",
        "maximum" => "Maximum",
        "sample_count" => "SampleCount",
        percentile => percentile,
    };
    Some(Statistic {
        metric,
        name: name.to_owned(),
    })
}

impl Statistic {
    /// Whether there is no point where nothing happened.
    pub fn is_sparse(&self) -> bool {
        self.metric.otel_kind == Kind::SumDelta && !self.metric.metric.starts_with("Consumed")
    }

    /// Seconds between points.
    pub fn period(&self) -> i64 {
        i64::from(self.metric.period_s)
    }
}
