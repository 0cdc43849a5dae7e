//! What a simulated account holds of SageMaker, and what happens to it. Minutes count from the scenario's start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The `sagemaker` section of a scenario: all of it in one account and region.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SageMaker {
    pub region: String,
    /// Account, where it is not the scenario's.
    pub account: Option<String>,
    pub endpoints: Vec<Endpoint>,
    pub inference_components: Vec<Component>,
    pub training_jobs: Vec<Job>,
    pub processing_jobs: Vec<Job>,
    pub transform_jobs: Vec<Job>,
    pub recommendation_jobs: Vec<Job>,
    pub pipelines: Vec<Pipeline>,
    pub feature_groups: Vec<FeatureGroup>,
    pub monitoring_schedules: Vec<Schedule>,
    pub labeling_jobs: Vec<LabelingJob>,
    pub workteams: Vec<Workteam>,
}

impl Default for SageMaker {
    fn default() -> Self {
        Self {
            region: "eu-central-1".to_owned(),
            account: None,
            endpoints: Vec::new(),
            inference_components: Vec::new(),
            training_jobs: Vec::new(),
            processing_jobs: Vec::new(),
            transform_jobs: Vec::new(),
            recommendation_jobs: Vec::new(),
            pipelines: Vec::new(),
            feature_groups: Vec::new(),
            monitoring_schedules: Vec::new(),
            labeling_jobs: Vec::new(),
            workteams: Vec::new(),
        }
    }
}

/// A number over time.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Level {
    pub value: f64,
    /// Share by which a minute may differ: 0.1 is +-10 %.
    pub noise: f64,
    pub events: Vec<LevelEvent>,
}

/// Another number between two minutes (from inclusive, to exclusive).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LevelEvent {
    pub from: i64,
    pub to: i64,
    pub value: f64,
}

impl Level {
    /// Without noise and events.
    pub fn of(value: f64) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }

    /// The number at a minute; `chance` is between 0 and 1.
    pub fn at(&self, minute: i64, chance: f64) -> f64 {
        let event = self
            .events
            .iter()
            .rev()
            .find(|event| event.from <= minute && minute < event.to);
        let value = event.map_or(self.value, |event| event.value);
        (value * (1.0 + self.noise * (2.0 * chance - 1.0))).max(0.0)
    }
}

/// A stretch of minutes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub from: i64,
    pub to: i64,
}

impl Window {
    pub fn holds(&self, minute: i64) -> bool {
        self.from <= minute && minute < self.to
    }
}

/// A real-time, serverless or asynchronous endpoint.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub name: String,
    /// Minute from which it exists; absent: always.
    pub created: Option<i64>,
    pub deleted: Option<i64>,
    /// Minutes of `Creating`.
    #[serde(default = "five")]
    pub creating: i64,
    /// `Creating` ends in `Failed`.
    #[serde(default)]
    pub fails: bool,
    #[serde(default)]
    pub updating: Vec<Window>,
    #[serde(default)]
    pub asynchronous: bool,
    #[serde(default)]
    pub multi_model: bool,
    /// Answers in chunks.
    #[serde(default)]
    pub streaming: bool,
    /// MetricPublishFrequencyInSeconds, 10 to 300.
    #[serde(default = "sixty")]
    pub publish_s: i64,
    /// EnableEnhancedMetrics: by instance, container and accelerator.
    #[serde(default)]
    pub enhanced: bool,
    /// Availability zones with series of their own.
    #[serde(default)]
    pub zones: Vec<String>,
    pub variants: Vec<Variant>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A production variant.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    pub name: String,
    /// Empty: serverless.
    pub instance_type: String,
    pub instances: u64,
    /// Other counts between two minutes; while the desired differs from the current the endpoint is `Updating`.
    pub scaling: Vec<Scaling>,
    /// GPUs of an instance.
    pub gpus: u64,
    /// Names, of a multi-container endpoint.
    pub containers: Vec<String>,
    /// Per second.
    pub requests: Level,
    /// Median, milliseconds.
    pub latency_ms: Level,
    /// Standard deviation of the logarithm.
    pub spread: f64,
    pub overhead_ms: f64,
    /// Shares of the requests.
    pub errors_4xx: Level,
    pub errors_5xx: Level,
    pub model_errors: Level,
    /// Percent, of one instance or one GPU.
    pub cpu: Level,
    pub memory: Level,
    pub disk: Level,
    pub gpu: Level,
    pub gpu_memory: Level,
    /// Models in memory and the share of requests that find theirs there (multi-model).
    pub models: u64,
    pub cache_hit: f64,
    /// Requests that wait (asynchronous).
    pub backlog: Level,
}

/// Instance counts between two minutes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    pub from: i64,
    pub to: i64,
    pub current: u64,
    pub desired: u64,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            name: "AllTraffic".to_owned(),
            instance_type: "ml.m5.xlarge".to_owned(),
            instances: 1,
            scaling: Vec::new(),
            gpus: 0,
            containers: Vec::new(),
            requests: Level::default(),
            latency_ms: Level::of(20.0),
            spread: 0.4,
            overhead_ms: 3.0,
            errors_4xx: Level::default(),
            errors_5xx: Level::default(),
            model_errors: Level::default(),
            cpu: Level::of(20.0),
            memory: Level::of(30.0),
            disk: Level::of(10.0),
            gpu: Level::default(),
            gpu_memory: Level::default(),
            models: 5,
            cache_hit: 0.9,
            backlog: Level::default(),
        }
    }
}

/// An inference component on an endpoint.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    pub name: String,
    pub endpoint: String,
    #[serde(default = "all_traffic")]
    pub variant: String,
    #[serde(default = "one")]
    pub copies: u64,
    /// Per second.
    #[serde(default)]
    pub requests: Level,
    #[serde(default)]
    pub latency_ms: Level,
    #[serde(default)]
    pub cpu: Level,
    #[serde(default)]
    pub memory: Level,
    #[serde(default)]
    pub gpu: Level,
    #[serde(default)]
    pub gpu_memory: Level,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A training, processing, transform or inference recommendations job.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// With `every` each run gets its number behind it.
    pub name: String,
    pub created: i64,
    /// How long it runs.
    pub minutes: i64,
    #[serde(default)]
    pub outcome: Outcome,
    #[serde(default)]
    pub failure_reason: String,
    /// Run again after so many minutes, `times` in all.
    pub every: Option<i64>,
    #[serde(default = "one")]
    pub times: u64,
    #[serde(default = "one")]
    pub hosts: u64,
    #[serde(default)]
    pub gpus: u64,
    #[serde(default)]
    pub cpu: Level,
    #[serde(default)]
    pub memory: Level,
    #[serde(default)]
    pub disk: Level,
    #[serde(default)]
    pub gpu: Level,
    #[serde(default)]
    pub gpu_memory: Level,
    /// Of an inference recommendations job, per second.
    #[serde(default)]
    pub requests: Level,
    #[serde(default)]
    pub latency_ms: Level,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// How a job ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Outcome {
    #[default]
    Completed,
    Failed,
    Stopped,
}

/// A pipeline that runs every so often; its steps follow one another.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    pub name: String,
    /// Minute of the first execution, and minutes between two.
    #[serde(default)]
    pub first: i64,
    pub every: i64,
    pub steps: Vec<Step>,
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// Numbers of executions that somebody stops in their first step.
    #[serde(default)]
    pub stopped: Vec<i64>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub name: String,
    pub minutes: i64,
}

/// A step that fails, in the execution of this number (from 0).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub execution: i64,
    pub step: String,
    pub reason: String,
}

/// A feature group of the online store.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureGroup {
    pub name: String,
    /// PutRecord, GetRecord, DeleteRecord, BatchGetRecord: per second.
    pub operations: BTreeMap<String, Level>,
    #[serde(default)]
    pub provisioned: bool,
    #[serde(default)]
    pub errors: f64,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A Model Monitor schedule, on an endpoint or (without) on batch transform.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub name: String,
    pub endpoint: Option<String>,
    /// Minute of the first execution, minutes between two, and of one.
    #[serde(default)]
    pub first: i64,
    #[serde(default = "sixty")]
    pub every: i64,
    #[serde(default = "five")]
    pub minutes: i64,
    #[serde(default)]
    pub features: Vec<String>,
    /// Distance from the baseline.
    #[serde(default)]
    pub drift: Level,
    /// Executions that start in these minutes find violations.
    #[serde(default)]
    pub violations: Vec<Window>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A Ground Truth labeling job.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LabelingJob {
    pub name: String,
    pub created: i64,
    pub minutes: i64,
    #[serde(default)]
    pub outcome: Outcome,
    pub objects: u64,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A team of labelers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workteam {
    pub workforce: String,
    pub name: String,
    /// Per minute.
    pub tasks: Level,
}

fn one() -> u64 {
    1
}

fn five() -> i64 {
    5
}

fn sixty() -> i64 {
    60
}

fn all_traffic() -> String {
    "AllTraffic".to_owned()
}
