//! What is known of SageMaker in one account and region.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::cloudwatch::Name;

/// The kinds of resource; `kinds` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Endpoints,
    InferenceComponents,
    TrainingJobs,
    ProcessingJobs,
    TransformJobs,
    Pipelines,
    FeatureGroups,
    InferenceRecommendations,
    Monitoring,
    Labeling,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Endpoints,
        Kind::InferenceComponents,
        Kind::TrainingJobs,
        Kind::ProcessingJobs,
        Kind::TransformJobs,
        Kind::Pipelines,
        Kind::FeatureGroups,
        Kind::InferenceRecommendations,
        Kind::Monitoring,
        Kind::Labeling,
    ];

    /// The namespaces its metrics stand in.
    pub fn namespaces(self) -> &'static [&'static str] {
        match self {
            Kind::Endpoints => &["AWS/SageMaker", "/aws/sagemaker/Endpoints"],
            Kind::InferenceComponents => &["AWS/SageMaker", "/aws/sagemaker/InferenceComponents"],
            Kind::TrainingJobs => &["/aws/sagemaker/TrainingJobs"],
            Kind::ProcessingJobs => &["/aws/sagemaker/ProcessingJobs"],
            Kind::TransformJobs => &["/aws/sagemaker/TransformJobs"],
            Kind::Pipelines => &["AWS/Sagemaker/ModelBuildingPipeline"],
            Kind::FeatureGroups => &["AWS/SageMaker/FeatureStore"],
            Kind::InferenceRecommendations => &["/aws/sagemaker/InferenceRecommendationsJobs"],
            Kind::Monitoring => &[
                "/aws/sagemaker/Endpoints/data-metric",
                "/aws/sagemaker/ModelMonitoring/data-metric",
            ],
            Kind::Labeling => &["AWS/SageMaker/Workteam", "AWS/SageMaker/LabelingJobs"],
        }
    }

    /// The type of tagging's resources, where they can be asked by it.
    pub fn tagged_as(self) -> &'static str {
        match self {
            Kind::Endpoints => "sagemaker:endpoint",
            Kind::InferenceComponents => "sagemaker:inference-component",
            Kind::TrainingJobs => "sagemaker:training-job",
            Kind::ProcessingJobs => "sagemaker:processing-job",
            Kind::TransformJobs => "sagemaker:transform-job",
            Kind::Pipelines => "sagemaker:pipeline",
            Kind::FeatureGroups => "sagemaker:feature-group",
            Kind::InferenceRecommendations => "sagemaker:inference-recommendations-job",
            Kind::Monitoring => "sagemaker:monitoring-schedule",
            Kind::Labeling => "sagemaker:labeling-job",
        }
    }
}

/// A variant of an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VariantInfo {
    pub current: Option<f64>,
    pub desired: Option<f64>,
    /// `None`: not known (yet), or serverless.
    pub instance_type: Option<String>,
    pub serverless: bool,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointInfo {
    pub arn: Name,
    pub status: String,
    /// Unix seconds.
    pub since: i64,
    pub modified: i64,
    /// Described at least once.
    pub described: bool,
    pub config: String,
    pub asynchronous: bool,
    /// Seconds between its points.
    pub publish_s: i64,
    pub variants: BTreeMap<String, VariantInfo>,
}

/// A resource of which only its being there counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    pub arn: Name,
    pub since: i64,
}

/// A job of any kind.
#[derive(Clone, Debug, PartialEq)]
pub struct JobInfo {
    pub arn: Name,
    /// As the API says it.
    pub status: String,
    pub reason: Option<String>,
    pub created: i64,
    /// Unix seconds; `None` while it runs.
    pub ended: Option<i64>,
    /// Its series are polled until then once it has ended: later than `ended + max_late` where they were found late.
    pub polled_until: i64,
    /// Hosts with series.
    pub hosts: BTreeSet<String>,
}

/// What ended, of any API's words for it.
pub fn is_over(status: &str) -> bool {
    matches!(
        status.to_ascii_lowercase().as_str(),
        "completed" | "failed" | "stopped" | "deleted"
    )
}

/// An execution of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionInfo {
    pub status: String,
    /// Unix seconds; when it was seen to have ended.
    pub ended: Option<i64>,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineInfo {
    pub arn: Name,
    pub last_execution: Option<i64>,
    /// Executions are to be asked for.
    pub due: bool,
    pub executions: BTreeMap<String, ExecutionInfo>,
}

/// Everything that was found, by name.
#[derive(Default)]
pub struct Fleet {
    pub endpoints: BTreeMap<String, EndpointInfo>,
    pub components: BTreeMap<String, ComponentInfo>,
    /// By kind.
    pub jobs: BTreeMap<Kind, BTreeMap<String, JobInfo>>,
    pub pipelines: BTreeMap<String, PipelineInfo>,
    pub feature_groups: BTreeMap<String, Plain>,
    pub schedules: BTreeMap<String, Plain>,
}

/// An inference component.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentInfo {
    pub arn: Name,
    pub endpoint: String,
    pub variant: String,
    pub since: i64,
}

impl Fleet {
    /// A job.
    pub fn job(&self, kind: Kind, name: &str) -> Option<&JobInfo> {
        self.jobs.get(&kind)?.get(name)
    }
}
