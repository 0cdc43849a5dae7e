//! The fifteen SageMaker operations that discovery needs, and of their answers what it reads. Members that are not here
//! are ignored.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{JsonClient, Listing, Page, request, seconds};
use crate::aws::rate::Limits;
use crate::aws::{Calls, Failure};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    ListEndpoints,
    DescribeEndpoint,
    DescribeEndpointConfig,
    ListInferenceComponents,
    ListTrainingJobs,
    ListProcessingJobs,
    ListTransformJobs,
    ListPipelines,
    ListPipelineExecutions,
    ListPipelineExecutionSteps,
    ListFeatureGroups,
    ListMonitoringSchedules,
    ListMonitoringExecutions,
    ListInferenceRecommendationsJobs,
    ListLabelingJobs,
}

impl Operation {
    pub const ALL: [Operation; 15] = [
        Operation::ListEndpoints,
        Operation::DescribeEndpoint,
        Operation::DescribeEndpointConfig,
        Operation::ListInferenceComponents,
        Operation::ListTrainingJobs,
        Operation::ListProcessingJobs,
        Operation::ListTransformJobs,
        Operation::ListPipelines,
        Operation::ListPipelineExecutions,
        Operation::ListPipelineExecutionSteps,
        Operation::ListFeatureGroups,
        Operation::ListMonitoringSchedules,
        Operation::ListMonitoringExecutions,
        Operation::ListInferenceRecommendationsJobs,
        Operation::ListLabelingJobs,
    ];

    /// The IAM action.
    pub fn action(self) -> &'static str {
        match self {
            Operation::ListEndpoints => "sagemaker:ListEndpoints",
            Operation::DescribeEndpoint => "sagemaker:DescribeEndpoint",
            Operation::DescribeEndpointConfig => "sagemaker:DescribeEndpointConfig",
            Operation::ListInferenceComponents => "sagemaker:ListInferenceComponents",
            Operation::ListTrainingJobs => "sagemaker:ListTrainingJobs",
            Operation::ListProcessingJobs => "sagemaker:ListProcessingJobs",
            Operation::ListTransformJobs => "sagemaker:ListTransformJobs",
            Operation::ListPipelines => "sagemaker:ListPipelines",
            Operation::ListPipelineExecutions => "sagemaker:ListPipelineExecutions",
            Operation::ListPipelineExecutionSteps => "sagemaker:ListPipelineExecutionSteps",
            Operation::ListFeatureGroups => "sagemaker:ListFeatureGroups",
            Operation::ListMonitoringSchedules => "sagemaker:ListMonitoringSchedules",
            Operation::ListMonitoringExecutions => "sagemaker:ListMonitoringExecutions",
            Operation::ListInferenceRecommendationsJobs => "sagemaker:ListInferenceRecommendationsJobs",
            Operation::ListLabelingJobs => "sagemaker:ListLabelingJobs",
        }
    }

    /// The API's name of it.
    pub fn name(self) -> &'static str {
        self.action().trim_start_matches("sagemaker:")
    }
}

/// SageMaker in one account and region, with the rate and the count of each operation.
pub struct SageMaker {
    pub client: JsonClient,
    calls: Vec<Calls>,
}

impl SageMaker {
    /// `calls` makes the calls of an operation: its name, its action, its rate.
    pub fn new(client: JsonClient, calls: impl Fn(&'static str, &'static str, Limits) -> Calls) -> Self {
        let of = |operation: &Operation| calls(operation.name(), operation.action(), Limits::SAGEMAKER);
        Self {
            client,
            calls: Operation::ALL.iter().map(of).collect(),
        }
    }

    fn calls(&self, operation: Operation) -> Result<&Calls, Failure> {
        // As many as operations, in their order: an absent one is a mistake of ours and no reason to end the process.
        self.calls.get(operation as usize).ok_or_else(|| Failure::Refused {
            code: "unknown operation".to_owned(),
            message: operation.name().to_owned(),
        })
    }

    /// One answer.
    ///
    /// # Errors
    /// The classified failure.
    pub async fn describe<A>(&self, operation: Operation, member: &str, name: &str) -> Result<A, Failure>
    where
        A: serde::de::DeserializeOwned + Send,
    {
        let request = request([(member, json!(name))]);
        self.client
            .call(self.calls(operation)?, operation.name(), &request)
            .await
    }

    /// All pages, a hundred a page.
    ///
    /// # Errors
    /// That of the first page that failed.
    pub async fn list<P: Page>(
        &self,
        operation: Operation,
        mut request: Map<String, Value>,
    ) -> Result<Listing<P::Item>, Failure> {
        request.insert("MaxResults".to_owned(), json!(100));
        self.client
            .list::<P>(self.calls(operation)?, operation.name(), request, "NextToken")
            .await
    }
}

macro_rules! page {
    ($page:ident, $item:ty, $member:literal) => {
        #[doc = concat!("A page of `", $member, "`.")]
        #[derive(Deserialize)]
        pub struct $page {
            #[serde(rename = $member, default)]
            items: Vec<$item>,
            #[serde(rename = "NextToken")]
            next: Option<String>,
        }

        impl Page for $page {
            type Item = $item;
            fn open(self) -> (Vec<$item>, Option<String>) {
                (self.items, self.next)
            }
        }
    };
}

page!(Endpoints, Endpoint, "Endpoints");
page!(InferenceComponents, InferenceComponent, "InferenceComponents");
page!(TrainingJobs, TrainingJob, "TrainingJobSummaries");
page!(ProcessingJobs, ProcessingJob, "ProcessingJobSummaries");
page!(TransformJobs, TransformJob, "TransformJobSummaries");
page!(Pipelines, Pipeline, "PipelineSummaries");
page!(PipelineExecutions, PipelineExecution, "PipelineExecutionSummaries");
page!(PipelineSteps, PipelineStep, "PipelineExecutionSteps");
page!(FeatureGroups, FeatureGroup, "FeatureGroupSummaries");
page!(MonitoringSchedules, MonitoringSchedule, "MonitoringScheduleSummaries");
page!(
    MonitoringExecutions,
    MonitoringExecution,
    "MonitoringExecutionSummaries"
);
page!(RecommendationJobs, RecommendationJob, "InferenceRecommendationsJobs");
page!(LabelingJobs, LabelingJob, "LabelingJobSummaryList");

/// Of ListEndpoints.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Endpoint {
    pub endpoint_name: String,
    pub endpoint_arn: String,
    /// `InService`, `Creating`, `Updating`, `Failed`, ...
    pub endpoint_status: String,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub last_modified_time: Option<i64>,
}

/// Of DescribeEndpoint.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndpointDescription {
    pub endpoint_config_name: String,
    pub endpoint_status: String,
    pub failure_reason: Option<String>,
    pub production_variants: Option<Vec<Variant>>,
    pub metrics_config: Option<MetricsConfig>,
    pub async_inference_config: Option<Value>,
}

/// `ProductionVariants` of DescribeEndpoint.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Variant {
    pub variant_name: String,
    pub current_instance_count: Option<f64>,
    pub desired_instance_count: Option<f64>,
    pub current_serverless_config: Option<Value>,
}

/// How often and how fine an endpoint publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MetricsConfig {
    pub enable_enhanced_metrics: Option<bool>,
    /// 10 to 300.
    pub metric_publish_frequency_in_seconds: Option<i64>,
}

/// Of DescribeEndpointConfig.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndpointConfig {
    pub production_variants: Option<Vec<ConfiguredVariant>>,
    pub metrics_config: Option<MetricsConfig>,
    pub async_inference_config: Option<Value>,
}

/// `ProductionVariants` of DescribeEndpointConfig.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ConfiguredVariant {
    pub variant_name: String,
    pub instance_type: Option<String>,
    pub serverless_config: Option<Value>,
}

/// Of ListInferenceComponents.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct InferenceComponent {
    pub inference_component_name: String,
    pub inference_component_arn: String,
    pub endpoint_name: String,
    pub variant_name: String,
    pub inference_component_status: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
}

/// A training job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TrainingJob {
    pub training_job_name: String,
    pub training_job_arn: String,
    pub training_job_status: String,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub training_end_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub last_modified_time: Option<i64>,
}

/// A processing job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ProcessingJob {
    pub processing_job_name: String,
    pub processing_job_arn: String,
    pub processing_job_status: String,
    pub failure_reason: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub processing_end_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub last_modified_time: Option<i64>,
}

/// A batch transform job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TransformJob {
    pub transform_job_name: String,
    pub transform_job_arn: String,
    pub transform_job_status: String,
    pub failure_reason: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub transform_end_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub last_modified_time: Option<i64>,
}

/// A pipeline.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Pipeline {
    pub pipeline_name: String,
    pub pipeline_arn: String,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub last_execution_time: Option<i64>,
}

/// An execution of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PipelineExecution {
    pub pipeline_execution_arn: String,
    /// `Executing`, `Stopping`, `Stopped`, `Failed`, `Succeeded`.
    pub pipeline_execution_status: String,
    pub pipeline_execution_failure_reason: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub start_time: Option<i64>,
}

/// A step of an execution.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PipelineStep {
    pub step_name: String,
    /// `Starting`, `Executing`, `Stopping`, `Stopped`, `Failed`, `Succeeded`.
    pub step_status: String,
    pub failure_reason: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub start_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub end_time: Option<i64>,
}

/// A feature group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FeatureGroup {
    pub feature_group_name: String,
    pub feature_group_arn: String,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
}

/// A monitoring schedule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MonitoringSchedule {
    pub monitoring_schedule_name: String,
    pub monitoring_schedule_arn: String,
    pub endpoint_name: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
}

/// An execution of a monitoring schedule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MonitoringExecution {
    pub monitoring_schedule_name: String,
    /// `Pending`, `InProgress`, `Completed`, `CompletedWithViolations`, `Failed`, `Stopping`, `Stopped`.
    pub monitoring_execution_status: String,
    pub endpoint_name: Option<String>,
    pub failure_reason: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub scheduled_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub last_modified_time: Option<i64>,
}

/// An inference recommendations job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RecommendationJob {
    pub job_name: String,
    pub job_arn: String,
    /// `PENDING`, `IN_PROGRESS`, `COMPLETED`, `FAILED`, `STOPPED`, ...
    pub status: String,
    pub failure_reason: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub completion_time: Option<i64>,
}

/// A labeling job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LabelingJob {
    pub labeling_job_name: String,
    pub labeling_job_arn: String,
    /// `Initializing`, `InProgress`, `Completed`, `Failed`, `Stopping`, `Stopped`.
    pub labeling_job_status: String,
    pub failure_reason: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub creation_time: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub last_modified_time: Option<i64>,
}
