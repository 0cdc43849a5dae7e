//! What happened, as log records: a job or an endpoint that changed its status, a step that failed a pipeline. Kept until
//! the pipeline has taken them, up to a bound.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;

use super::discovery::Check;
use super::fleet::{JobInfo, Kind};
use crate::aws::cloudwatch::{Name, Resource};

/// Records kept while nobody takes them; older ones go.
const MOST: usize = 10_000;
/// Executions of monitoring that are remembered, so that none is told twice.
const CHECKS: usize = 10_000;

/// The records that are still to be handed on.
#[derive(Default)]
pub struct Events {
    waiting: VecDeque<(Name, LogRecord)>,
    /// Nobody wants records.
    pub off: bool,
    /// Records given up because nobody took them.
    pub lost: u64,
    checks: BTreeSet<(i64, String)>,
}

/// What kind of job, as the attribute `JobType` says it.
pub fn job_type(kind: Kind) -> &'static str {
    match kind {
        Kind::ProcessingJobs => "processing",
        Kind::TransformJobs => "transform",
        Kind::InferenceRecommendations => "inference_recommendation",
        Kind::Labeling => "labeling",
        _ => "training",
    }
}

fn severity(status: &str) -> SeverityNumber {
    match status.to_ascii_lowercase().as_str() {
        "failed" | "outofservice" | "updaterollbackfailed" => SeverityNumber::Error,
        "stopped" | "stopping" | "rollingback" => SeverityNumber::Warn,
        _ => SeverityNumber::Info,
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any(value)),
        ..KeyValue::default()
    }
}

fn any(value: &str) -> AnyValue {
    AnyValue {
        value: Some(Any::StringValue(value.to_owned())),
    }
}

impl Events {
    /// `what`: the event's name and the status that it is about. `at`: when it happened, and now.
    fn add(&mut self, resource: &Name, what: (&str, &str), body: &str, attributes: Vec<KeyValue>, at: (i64, i64)) {
        if self.off {
            return;
        }
        let (happened, now) = at;
        let (event, status) = what;
        let severity = severity(status);
        let nanos = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000);
        let record = LogRecord {
            time_unix_nano: nanos(happened),
            observed_time_unix_nano: nanos(now),
            severity_number: severity as i32,
            severity_text: match severity {
                SeverityNumber::Error => "ERROR",
                SeverityNumber::Warn => "WARN",
                _ => "INFO",
            }
            .to_owned(),
            body: Some(any(body)),
            attributes,
            event_name: event.to_owned(),
            ..LogRecord::default()
        };
        if self.waiting.len() == MOST {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back((Name::clone(resource), record));
    }

    /// An endpoint changed from one status to another.
    pub fn endpoint(&mut self, arn: &Name, name: &str, change: (&str, &str), now: i64) {
        let (from, to) = change;
        let mut attributes = vec![text("EndpointName", name), text("Status", to)];
        let body = if from.is_empty() {
            format!("endpoint {name} is {to}")
        } else {
            attributes.push(text("PreviousStatus", from));
            format!("endpoint {name} was {from} and is {to}")
        };
        self.add(
            arn,
            ("aws.sagemaker.endpoint.status", to),
            &body,
            attributes,
            (now, now),
        );
    }

    /// A job began or ended.
    pub fn job(&mut self, kind: Kind, name: &str, job: &JobInfo, now: i64) {
        let mut attributes = vec![
            text("JobType", job_type(kind)),
            text("JobName", name),
            text("Status", &job.status),
        ];
        let mut body = format!("{} job {name} is {}", job_type(kind).replace('_', " "), job.status);
        if let Some(reason) = job.reason.as_deref().filter(|reason| !reason.is_empty()) {
            attributes.push(text("FailureReason", reason));
            body = format!("{body}: {reason}");
        }
        let at = (job.ended.unwrap_or(job.created), now);
        let what = ("aws.sagemaker.job.status", job.status.as_str());
        self.add(&job.arn, what, &body, attributes, at);
    }

    /// An execution of a pipeline failed in these steps.
    pub fn pipeline(
        &mut self,
        arn: &Name,
        execution: (&str, &str),
        steps: &[(String, Option<String>)],
        reason: Option<&str>,
        now: i64,
    ) {
        let (pipeline, execution) = execution;
        let common = || vec![text("PipelineName", pipeline), text("PipelineExecutionArn", execution)];
        let event = "aws.sagemaker.pipeline.step_failed";
        for (step, why) in steps {
            let why = why.as_deref().or(reason).unwrap_or("no reason is given");
            let mut attributes = common();
            attributes.push(text("StepName", step));
            attributes.push(text("FailureReason", why));
            let body = format!("pipeline {pipeline} failed in step {step}: {why}");
            self.add(arn, (event, "failed"), &body, attributes, (now, now));
        }
        if steps.is_empty() {
            let why = reason.unwrap_or("no reason is given");
            let mut attributes = common();
            attributes.push(text("FailureReason", why));
            let body = format!("pipeline {pipeline} failed: {why}");
            self.add(arn, (event, "failed"), &body, attributes, (now, now));
        }
    }

    /// Notes an execution of monitoring that ended, once.
    pub fn check(&mut self, check: Check, into: &mut Vec<Check>) {
        let key = (check.scheduled, check.schedule.clone());
        if !self.checks.insert(key) {
            return;
        }
        while self.checks.len() > CHECKS {
            self.checks.pop_first();
        }
        into.push(check);
    }

    /// How many records wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Everything that waits as one request; `resource` says what a resource id stands for.
    pub fn request(&self, resource: impl Fn(&str) -> Resource) -> Option<ExportLogsServiceRequest> {
        if self.waiting.is_empty() {
            return None;
        }
        let mut by_resource: BTreeMap<&Name, Vec<LogRecord>> = BTreeMap::new();
        for (name, record) in &self.waiting {
            by_resource.entry(name).or_default().push(record.clone());
        }
        let resource_logs = by_resource.into_iter().map(|(name, log_records)| ResourceLogs {
            resource: Some(OtlpResource {
                attributes: resource(name)
                    .attributes
                    .iter()
                    .map(|(name, value)| text(name, value))
                    .collect(),
                ..OtlpResource::default()
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: "radiosonde/sagemaker".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        });
        Some(ExportLogsServiceRequest {
            resource_logs: resource_logs.collect(),
        })
    }

    /// The pipeline has taken what waited.
    pub fn taken(&mut self, records: usize) {
        self.waiting.drain(..records.min(self.waiting.len()));
    }
}
