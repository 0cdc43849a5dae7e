//! SageMaker's operations, as far as discovery asks them: awsJson 1.1, in pages, with the filters of each.

use super::super::answer::{ApiError, Caller};
use super::super::value::Value;
use super::super::world::World;
use super::life::{self, LONG_AGO, Run, endpoint_modified, endpoint_status, instances, labeling_run, runs};
use super::scenario::{Endpoint, Outcome, SageMaker};
use super::series::JobKind;

/// Summaries on a page, unless the caller wants fewer.
const PAGE: i64 = 100;

/// Everything an operation looks at.
struct Context<'a> {
    world: &'a World,
    sagemaker: &'a SageMaker,
    caller: &'a Caller,
    request: &'a Value,
    minute: i64,
}

/// One summary with what filters and orders it.
struct Summary {
    value: Value,
    created: f64,
    modified: f64,
    status: &'static str,
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::sender("ValidationException", message)
}

fn missing(what: &str, name: &str) -> ApiError {
    invalid(format!("Could not find {what} \"{name}\"."))
}

/// Answers one operation at `now` (unix seconds).
pub fn call(world: &World, caller: &Caller, operation: &str, request: &Value, now: f64) -> Result<Value, ApiError> {
    let sagemaker = &world.scenario.sagemaker;
    let account = sagemaker.account.as_deref().unwrap_or(&world.scenario.account);
    let empty = SageMaker::default();
    let here = account == caller.account && sagemaker.region == caller.region;
    let context = Context {
        world,
        sagemaker: if here { sagemaker } else { &empty },
        caller,
        request,
        minute: world.minute_of(now as i64),
    };
    match operation {
        "ListEndpoints" => context.page("Endpoints", context.endpoints()),
        "DescribeEndpoint" => context.describe_endpoint(),
        "DescribeEndpointConfig" => context.describe_endpoint_config(),
        "ListInferenceComponents" => context.page("InferenceComponents", context.components()),
        "ListTrainingJobs" => context.page("TrainingJobSummaries", context.jobs(JobKind::Training, "TrainingJob")),
        "ListProcessingJobs" => context.page(
            "ProcessingJobSummaries",
            context.jobs(JobKind::Processing, "ProcessingJob"),
        ),
        "ListTransformJobs" => context.page(
            "TransformJobSummaries",
            context.jobs(JobKind::Transform, "TransformJob"),
        ),
        "ListInferenceRecommendationsJobs" => {
            context.page("InferenceRecommendationsJobs", context.recommendation_jobs())
        }
        "ListPipelines" => context.page("PipelineSummaries", context.pipelines()),
        "ListPipelineExecutions" => context.page("PipelineExecutionSummaries", context.pipeline_executions()?),
        "ListPipelineExecutionSteps" => context.page("PipelineExecutionSteps", context.pipeline_steps()?),
        "ListFeatureGroups" => context.page("FeatureGroupSummaries", context.feature_groups()),
        "ListMonitoringSchedules" => context.page("MonitoringScheduleSummaries", context.schedules()),
        "ListMonitoringExecutions" => context.page("MonitoringExecutionSummaries", context.monitoring_executions()),
        "ListLabelingJobs" => context.page("LabelingJobSummaryList", context.labeling_jobs()),
        other => Err(ApiError::sender(
            "UnknownOperationException",
            format!("the simulator does not know {other}"),
        )),
    }
}

/// The ARN of a resource here.
pub fn arn(region: &str, account: &str, kind: &str, name: &str) -> String {
    format!("arn:aws:sagemaker:{region}:{account}:{kind}/{name}")
}

impl Context<'_> {
    fn at(&self, minute: i64) -> f64 {
        (self.world.scenario.start as i64 + 60 * minute) as f64
    }

    fn arn(&self, kind: &str, name: &str) -> Value {
        Value::Text(arn(&self.caller.region, &self.caller.account, kind, name))
    }

    fn summary(&self, created: i64, modified: i64, status: &'static str, mut value: Value) -> Summary {
        let (created, modified) = (self.at(created), self.at(modified));
        value.push("CreationTime", Value::Time(created));
        value.push("LastModifiedTime", Value::Time(modified));
        Summary {
            value,
            created,
            modified,
            status,
        }
    }

    /// Filters, orders and cuts a list. The token is the position, bound to the operation by its member.
    fn page(&self, member: &str, mut summaries: Vec<Summary>) -> Result<Value, ApiError> {
        let request = self.request;
        let size = request.int("MaxResults").unwrap_or(PAGE);
        if !(1..=PAGE).contains(&size) {
            return Err(invalid(format!("MaxResults must be between 1 and {PAGE}")));
        }
        summaries.retain(|summary| {
            request
                .str("StatusEquals")
                .is_none_or(|status| status == summary.status)
                && request
                    .time("LastModifiedTimeAfter")
                    .is_none_or(|after| summary.modified > after)
                && request
                    .time("LastModifiedTimeBefore")
                    .is_none_or(|before| summary.modified < before)
                && request
                    .time("CreationTimeAfter")
                    .is_none_or(|after| summary.created > after)
                && request.time("CreatedAfter").is_none_or(|after| summary.created > after)
        });
        if request.str("SortOrder") == Some("Ascending") {
            summaries.sort_by(|a, b| a.created.total_cmp(&b.created));
        } else {
            summaries.sort_by(|a, b| b.created.total_cmp(&a.created));
        }
        let from: usize = match request.str("NextToken") {
            None => 0,
            Some(token) => token
                .strip_prefix(member)
                .and_then(|rest| rest.strip_prefix('-')?.parse().ok())
                .ok_or_else(|| invalid("Invalid NextToken"))?,
        };
        let to = from + size as usize;
        let more = summaries.len() > to;
        let page = summaries.into_iter().skip(from).take(size as usize);
        let mut answer = Value::map([(member, Value::List(page.map(|summary| summary.value).collect()))]);
        if more {
            answer.push("NextToken", Value::Text(format!("{member}-{to}")));
        }
        Ok(answer)
    }

    fn existing(&self) -> impl Iterator<Item = (&Endpoint, &'static str)> {
        let minute = self.minute;
        let all = self.sagemaker.endpoints.iter();
        all.filter_map(move |endpoint| Some((endpoint, endpoint_status(endpoint, minute)?)))
    }

    fn endpoints(&self) -> Vec<Summary> {
        self.existing()
            .map(|(endpoint, status)| {
                let value = Value::map([
                    ("EndpointName", Value::text(endpoint.name.as_str())),
                    ("EndpointArn", self.arn("endpoint", &endpoint.name)),
                    ("EndpointStatus", Value::text(status)),
                ]);
                let created = endpoint.created.unwrap_or(LONG_AGO);
                self.summary(created, endpoint_modified(endpoint, self.minute), status, value)
            })
            .collect()
    }

    fn metrics_config(endpoint: &Endpoint) -> Value {
        Value::map([
            ("EnableEnhancedMetrics", Value::Bool(endpoint.enhanced)),
            ("MetricPublishFrequencyInSeconds", Value::Int(endpoint.publish_s)),
        ])
    }

    fn describe_endpoint(&self) -> Result<Value, ApiError> {
        let name = self.request.str("EndpointName").unwrap_or_default();
        let found = self.existing().find(|(endpoint, _)| endpoint.name == name);
        let (endpoint, status) = found.ok_or_else(|| missing("endpoint", name))?;
        let variants = endpoint.variants.iter().map(|variant| {
            let (current, desired) = instances(variant, self.minute);
            let mut value = Value::map([
                ("VariantName", Value::text(variant.name.as_str())),
                ("CurrentWeight", Value::Float(1.0)),
                ("DesiredWeight", Value::Float(1.0)),
            ]);
            if variant.instance_type.is_empty() {
                value.push("CurrentServerlessConfig", serverless());
            } else {
                value.push("CurrentInstanceCount", Value::Int(current as i64));
                value.push("DesiredInstanceCount", Value::Int(desired as i64));
            }
            value
        });
        let mut answer = Value::map([
            ("EndpointName", Value::text(name)),
            ("EndpointArn", self.arn("endpoint", name)),
            ("EndpointConfigName", Value::Text(format!("{name}-config"))),
            ("EndpointStatus", Value::text(status)),
            ("ProductionVariants", Value::List(variants.collect())),
            ("MetricsConfig", Self::metrics_config(endpoint)),
            (
                "CreationTime",
                Value::Time(self.at(endpoint.created.unwrap_or(LONG_AGO))),
            ),
            (
                "LastModifiedTime",
                Value::Time(self.at(endpoint_modified(endpoint, self.minute))),
            ),
        ]);
        if status == "Failed" {
            let reason = "The primary container for production variant AllTraffic did not pass the ping health check.";
            answer.push("FailureReason", Value::text(reason));
        }
        if endpoint.asynchronous {
            answer.push("AsyncInferenceConfig", asynchronous());
        }
        Ok(answer)
    }

    fn describe_endpoint_config(&self) -> Result<Value, ApiError> {
        let name = self.request.str("EndpointConfigName").unwrap_or_default();
        let found = self
            .existing()
            .find(|(endpoint, _)| format!("{}-config", endpoint.name) == name);
        let (endpoint, _) = found.ok_or_else(|| missing("endpoint configuration", name))?;
        let variants = endpoint.variants.iter().map(|variant| {
            let mut value = Value::map([("VariantName", Value::text(variant.name.as_str()))]);
            if variant.instance_type.is_empty() {
                value.push("ServerlessConfig", serverless());
            } else {
                value.push("InstanceType", Value::text(variant.instance_type.as_str()));
                value.push("InitialInstanceCount", Value::Int(variant.instances as i64));
            }
            value
        });
        let mut answer = Value::map([
            ("EndpointConfigName", Value::text(name)),
            ("EndpointConfigArn", self.arn("endpoint-config", name)),
            ("ProductionVariants", Value::List(variants.collect())),
            ("MetricsConfig", Self::metrics_config(endpoint)),
            (
                "CreationTime",
                Value::Time(self.at(endpoint.created.unwrap_or(LONG_AGO))),
            ),
        ]);
        if endpoint.asynchronous {
            answer.push("AsyncInferenceConfig", asynchronous());
        }
        Ok(answer)
    }

    fn components(&self) -> Vec<Summary> {
        let components = self.sagemaker.inference_components.iter().filter_map(|component| {
            let (endpoint, _) = self
                .existing()
                .find(|(endpoint, _)| endpoint.name == component.endpoint)?;
            let value = Value::map([
                ("InferenceComponentName", Value::text(component.name.as_str())),
                (
                    "InferenceComponentArn",
                    self.arn("inference-component", &component.name),
                ),
                ("EndpointName", Value::text(component.endpoint.as_str())),
                ("EndpointArn", self.arn("endpoint", &component.endpoint)),
                ("VariantName", Value::text(component.variant.as_str())),
                ("InferenceComponentStatus", Value::text("InService")),
            ]);
            let created = endpoint.created.unwrap_or(LONG_AGO);
            Some(self.summary(created, created, "InService", value))
        });
        components.collect()
    }

    fn runs_of(&self, kind: JobKind) -> Vec<(Run, &'static str, String)> {
        let mut found = Vec::new();
        for job in kind.of(self.sagemaker) {
            for run in runs(job) {
                let reason = if run.outcome == Outcome::Failed && self.minute >= run.ends {
                    job.failure_reason.clone()
                } else {
                    String::new()
                };
                if let Some(status) = run.status(self.minute) {
                    found.push((run, status, reason));
                }
            }
        }
        found
    }

    fn jobs(&self, kind: JobKind, prefix: &str) -> Vec<Summary> {
        let arn_kind = match kind {
            JobKind::Training => "training-job",
            JobKind::Processing => "processing-job",
            _ => "transform-job",
        };
        let end = format!("{}EndTime", prefix.trim_end_matches("Job"));
        let summaries = self.runs_of(kind).into_iter().map(|(run, status, reason)| {
            let mut value = Value::Map(vec![
                (format!("{prefix}Name"), Value::text(run.name.as_str())),
                (format!("{prefix}Arn"), self.arn(arn_kind, &run.name)),
                (format!("{prefix}Status"), Value::text(status)),
            ]);
            if self.minute >= run.ends {
                value.push(&end, Value::Time(self.at(run.ends)));
            }
            // Training jobs tell the reason only when they are described.
            if !reason.is_empty() && kind != JobKind::Training {
                value.push("FailureReason", Value::Text(reason));
            }
            self.summary(run.created, run.modified(self.minute), status, value)
        });
        summaries.collect()
    }

    fn recommendation_jobs(&self) -> Vec<Summary> {
        let summaries = self
            .runs_of(JobKind::Recommendation)
            .into_iter()
            .map(|(run, status, reason)| {
                let status = match status {
                    "InProgress" => "IN_PROGRESS",
                    "Completed" => "COMPLETED",
                    "Failed" => "FAILED",
                    _ => "STOPPED",
                };
                let mut value = Value::map([
                    ("JobName", Value::text(run.name.as_str())),
                    ("JobArn", self.arn("inference-recommendations-job", &run.name)),
                    ("JobType", Value::text("Default")),
                    ("Status", Value::text(status)),
                ]);
                if self.minute >= run.ends {
                    value.push("CompletionTime", Value::Time(self.at(run.ends)));
                }
                if !reason.is_empty() {
                    value.push("FailureReason", Value::Text(reason));
                }
                self.summary(run.created, run.modified(self.minute), status, value)
            });
        summaries.collect()
    }

    fn pipelines(&self) -> Vec<Summary> {
        let summaries = self.sagemaker.pipelines.iter().map(|pipeline| {
            let mut value = Value::map([
                ("PipelineName", Value::text(pipeline.name.as_str())),
                ("PipelineArn", self.arn("pipeline", &pipeline.name)),
            ]);
            if let Some(last) = life::executions(pipeline, i64::MIN, self.minute).first() {
                value.push("LastExecutionTime", Value::Time(self.at(last.from)));
            }
            self.summary(LONG_AGO, LONG_AGO, "", value)
        });
        summaries.collect()
    }

    fn pipeline_executions(&self) -> Result<Vec<Summary>, ApiError> {
        let name = self.request.str("PipelineName").unwrap_or_default();
        // The name may be the ARN.
        let name = name.rsplit('/').next().unwrap_or_default();
        let found = self.sagemaker.pipelines.iter().find(|pipeline| pipeline.name == name);
        let pipeline = found.ok_or_else(|| missing("pipeline", name))?;
        let executions = life::executions(pipeline, i64::MIN, self.minute)
            .into_iter()
            .map(|execution| {
                let status = execution.status(self.minute);
                let mut value = Value::map([
                    (
                        "PipelineExecutionArn",
                        self.arn("pipeline", &format!("{name}/execution/{:012x}", execution.number)),
                    ),
                    ("StartTime", Value::Time(self.at(execution.from))),
                    ("PipelineExecutionStatus", Value::text(status)),
                ]);
                if let Some(reason) = execution.reason().filter(|_| status == "Failed") {
                    let reason = format!("Step failure: {reason}");
                    value.push("PipelineExecutionFailureReason", Value::Text(reason));
                }
                Summary {
                    value,
                    created: self.at(execution.from),
                    modified: self.at(execution.to.min(self.minute)),
                    status,
                }
            });
        Ok(executions.collect())
    }

    fn pipeline_steps(&self) -> Result<Vec<Summary>, ApiError> {
        let arn = self.request.str("PipelineExecutionArn").unwrap_or_default();
        let unknown = || missing("pipeline execution", arn);
        let (_, path) = arn.split_once(":pipeline/").ok_or_else(unknown)?;
        let (name, number) = path.split_once("/execution/").ok_or_else(unknown)?;
        let number = i64::from_str_radix(number, 16).map_err(|_| unknown())?;
        let found = self.sagemaker.pipelines.iter().find(|pipeline| pipeline.name == name);
        let pipeline = found.ok_or_else(unknown)?;
        let steps = life::execution(pipeline, number).steps.into_iter();
        let steps = steps.filter(|step| step.from <= self.minute).map(|step| {
            let status = if self.minute < step.to { "Executing" } else { step.ends };
            let mut value = Value::map([
                ("StepName", Value::text(step.name.as_str())),
                ("StartTime", Value::Time(self.at(step.from))),
                ("StepStatus", Value::text(status)),
            ]);
            if self.minute >= step.to {
                value.push("EndTime", Value::Time(self.at(step.to)));
                if let Some(reason) = &step.reason {
                    value.push("FailureReason", Value::text(reason.as_str()));
                }
            }
            Summary {
                value,
                created: self.at(step.from),
                modified: self.at(step.to.min(self.minute)),
                status,
            }
        });
        Ok(steps.collect())
    }

    fn feature_groups(&self) -> Vec<Summary> {
        let summaries = self.sagemaker.feature_groups.iter().map(|group| {
            let value = Value::map([
                ("FeatureGroupName", Value::text(group.name.as_str())),
                ("FeatureGroupArn", self.arn("feature-group", &group.name)),
                ("FeatureGroupStatus", Value::text("Created")),
            ]);
            self.summary(LONG_AGO, LONG_AGO, "Created", value)
        });
        summaries.collect()
    }

    fn schedules(&self) -> Vec<Summary> {
        let summaries = self.sagemaker.monitoring_schedules.iter().map(|schedule| {
            let mut value = Value::map([
                ("MonitoringScheduleName", Value::text(schedule.name.as_str())),
                ("MonitoringScheduleArn", self.arn("monitoring-schedule", &schedule.name)),
                ("MonitoringScheduleStatus", Value::text("Scheduled")),
                ("MonitoringType", Value::text("DataQuality")),
            ]);
            if let Some(endpoint) = &schedule.endpoint {
                value.push("EndpointName", Value::text(endpoint.as_str()));
            }
            self.summary(LONG_AGO, LONG_AGO, "Scheduled", value)
        });
        summaries.collect()
    }

    fn monitoring_executions(&self) -> Vec<Summary> {
        let mut summaries = Vec::new();
        for schedule in &self.sagemaker.monitoring_schedules {
            let wanted = self.request.str("MonitoringScheduleName");
            if wanted.is_some_and(|name| name != schedule.name) {
                continue;
            }
            for check in life::checks(schedule, i64::MIN, self.minute) {
                let status = check.status(self.minute);
                let mut value = Value::map([
                    ("MonitoringScheduleName", Value::text(schedule.name.as_str())),
                    ("ScheduledTime", Value::Time(self.at(check.from))),
                    ("MonitoringExecutionStatus", Value::text(status)),
                ]);
                if let Some(endpoint) = &schedule.endpoint {
                    value.push("EndpointName", Value::text(endpoint.as_str()));
                }
                let modified = if self.minute < check.to { check.from } else { check.to };
                summaries.push(self.summary(check.from, modified, status, value));
            }
        }
        summaries
    }

    fn labeling_jobs(&self) -> Vec<Summary> {
        let summaries = self.sagemaker.labeling_jobs.iter().filter_map(|job| {
            let run = labeling_run(job);
            let status = run.status(self.minute)?;
            let value = Value::map([
                ("LabelingJobName", Value::text(run.name.as_str())),
                ("LabelingJobArn", self.arn("labeling-job", &run.name)),
                ("LabelingJobStatus", Value::text(status)),
            ]);
            Some(self.summary(run.created, run.modified(self.minute), status, value))
        });
        summaries.collect()
    }
}

fn serverless() -> Value {
    Value::map([("MemorySizeInMB", Value::Int(2048)), ("MaxConcurrency", Value::Int(20))])
}

fn asynchronous() -> Value {
    Value::map([(
        "OutputConfig",
        Value::map([("S3OutputPath", Value::text("s3://simulated/answers"))]),
    )])
}
