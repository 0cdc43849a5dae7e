//! SageMaker: endpoints, jobs and pipelines as the page lists them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::MOST_ROWS;
use super::newest::{Facts, Newest, Subject};
use crate::dev::store::Store;
use crate::pdata::Signal;

/// Metrics that make an endpoint's row.
const ENDPOINT: [&str; 11] = [
    "Invocation",
    "Invocations",
    "ModelLatency",
    "OverheadLatency",
    "CPUUtilization",
    "MemoryUtilization",
    "GPUUtilization",
    "GPUMemoryUtilization",
    "DiskUtilization",
    "aws.sagemaker.endpoint.",
    "aws.sagemaker.instances",
];
/// Log records that are looked at for reasons.
const MOST_RECORDS: usize = 5_000;

/// Endpoints and their variants. `alerts`: those that fire for one.
pub fn endpoints(newest: &Newest, alerts: impl Fn(&Subject) -> Vec<Value>) -> Vec<Value> {
    let is_wanted = |metric: &str| {
        let is_own = [
            "aws.sagemaker.latency.",
            "aws.sagemaker.error_ratio",
            "aws.sagemaker.gpu.",
        ];
        ENDPOINT.iter().chain(&is_own).any(|start| metric.starts_with(start))
    };
    let subjects = newest.subjects(is_wanted);
    // The status is the endpoint's, and is shown with each of its variants.
    let status = |wanted: &Subject| {
        let of_endpoint = subjects.iter().filter(|(subject, _)| {
            (&subject.account, &subject.region, &subject.name) == (&wanted.account, &wanted.region, &wanted.name)
        });
        of_endpoint
            .flat_map(|(_, facts)| status_of(facts, "aws.sagemaker.endpoint.status"))
            .next()
    };
    let has_variants = |wanted: &Subject| {
        let same = |subject: &Subject| subject.name == wanted.name && subject.region == wanted.region;
        subjects.keys().any(|subject| same(subject) && !subject.part.is_empty())
    };
    let shown = subjects
        .iter()
        .filter(|(subject, _)| !subject.part.is_empty() || !has_variants(subject));
    let rows = shown.take(MOST_ROWS).map(|(subject, facts)| {
        let metrics: Map<String, Value> = facts
            .all
            .iter()
            .map(|(metric, seen)| (metric.name.clone(), seen.value.into()))
            .collect();
        let instances = ["observed", "current", "desired"];
        let instances = instances
            .iter()
            .find_map(|state| facts.labelled("aws.sagemaker.instances", "State", state));
        json!({
            "account": subject.account,
            "region": subject.region,
            "endpoint": subject.name,
            "variant": subject.part,
            "status": status(subject),
            "invocations": facts.value("Invocations"),
            "errors_4xx": facts.value("Invocation4XXErrors"),
            "errors_5xx": facts.value("Invocation5XXErrors"),
            "model_latency_p99": facts.value("ModelLatency.p99"),
            "overhead_latency_p99": facts.value("OverheadLatency.p99"),
            "total_latency_mean": facts.value("aws.sagemaker.latency.total_mean"),
            "cpu": facts.value("CPUUtilization"),
            "memory": facts.value("MemoryUtilization"),
            "gpu": facts.value("aws.sagemaker.gpu.utilization").or(facts.value("GPUUtilization")),
            "gpu_memory": facts.value("GPUMemoryUtilization"),
            "instances": instances,
            "metrics": metrics,
            "alerts": alerts(subject),
        })
    });
    rows.collect()
}

/// The status it has now.
fn status_of(facts: &Facts<'_>, metric: &str) -> Option<String> {
    let current = facts.current(metric).filter(|(_, seen)| seen.value > 0.0);
    current
        .max_by_key(|(_, seen)| seen.time)
        .map(|(metric, _)| metric.label("Status").to_owned())
}

/// Training, processing and transform jobs, the newest first.
pub fn jobs(newest: &Newest, reasons: &Reasons) -> Vec<Value> {
    let subjects = newest.subjects(|metric| metric.starts_with("aws.sagemaker.job."));
    let mut rows: Vec<(u64, Value)> = Vec::new();
    for (subject, facts) in &subjects {
        let statuses = facts
            .of("aws.sagemaker.job.status")
            .filter(|(_, seen)| seen.value > 0.0);
        let Some((metric, seen)) = statuses.max_by_key(|(_, seen)| seen.time) else {
            continue;
        };
        let seconds = facts.value("aws.sagemaker.job.duration").unwrap_or(0.0).max(0.0);
        let row = json!({
            "account": subject.account,
            "region": subject.region,
            "name": subject.name,
            "kind": metric.label("JobType").replace('_', " "),
            "status": metric.label("Status"),
            "duration": ((seconds * 1e9) as u64).to_string(),
            "last": seen.time.to_string(),
            "reason": reasons.of_job(&subject.name),
        });
        rows.push((seen.time, row));
    }
    rows.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    rows.into_iter().take(MOST_ROWS).map(|(_, row)| row).collect()
}

/// Pipelines with what became of their executions, and the steps that failed.
pub fn pipelines(newest: &Newest, reasons: &Reasons) -> Vec<Value> {
    let subjects = newest.subjects(|metric| metric == "aws.sagemaker.pipeline.success_ratio");
    let rows = subjects.iter().take(MOST_ROWS).map(|(subject, facts)| {
        let ratio = facts.value("aws.sagemaker.pipeline.success_ratio");
        json!({
            "account": subject.account,
            "region": subject.region,
            "name": subject.name,
            "success_ratio": ratio,
            "status": if ratio.is_some_and(|ratio| ratio < 1.0) { "Failed" } else { "Succeeded" },
            "steps": reasons.of_pipeline(&subject.name),
        })
    });
    rows.collect()
}

/// Why jobs and steps failed, from the receiver's log records.
#[derive(Default)]
pub struct Reasons {
    jobs: HashMap<String, String>,
    steps: HashMap<String, Vec<Value>>,
}

impl Reasons {
    /// Of the newest records.
    pub fn of(store: &Store) -> Self {
        let mut reasons = Self::default();
        let snapshot = store.snapshot();
        let mut left = MOST_RECORDS;
        for segment in snapshot.of(Signal::Logs).iter().rev() {
            for row in (0..segment.len()).rev() {
                if left == 0 {
                    return reasons;
                }
                left -= 1;
                let Some(why) = segment.attribute(row, "FailureReason") else {
                    continue;
                };
                if let Some(job) = segment.attribute(row, "JobName") {
                    reasons.jobs.entry(job.to_owned()).or_insert_with(|| why.to_owned());
                } else if let Some(pipeline) = segment.attribute(row, "PipelineName") {
                    let steps = reasons.steps.entry(pipeline.to_owned()).or_default();
                    if steps.len() < 5 {
                        let step = segment.attribute(row, "StepName");
                        steps.push(json!({"name": step.unwrap_or("(no step)"), "reason": why}));
                    }
                }
            }
        }
        reasons
    }

    fn of_job(&self, name: &str) -> Option<&String> {
        self.jobs.get(name)
    }

    fn of_pipeline(&self, name: &str) -> &[Value] {
        self.steps.get(name).map_or(&[], Vec::as_slice)
    }
}
