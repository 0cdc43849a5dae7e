//! Receiver `sagemaker`: endpoints, inference components, jobs, pipelines, feature groups and Model Monitor, read from
//! CloudWatch and the SageMaker API, as typed OTLP metrics, with log records of what changed.
//!
//! Resources are found by themselves. Values are handed on once, when they are settled (see `aws::cloudwatch::engine`).
//! A missing region, credentials or permission does not stop the agent.

mod config;
mod discovery;
mod events;
mod fleet;
mod gpus;
mod series;
mod signals;
mod source;

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;

use std::sync::Arc;

use self::config::Config;
use self::source::SageMakerFleet;
use crate::aws::AccessSettings;
use crate::aws::cloudwatch::engine;
use crate::aws::json::sagemaker::Operation;
use crate::aws::permission::{GET_METRIC_DATA, GET_METRIC_STATISTICS, GET_RESOURCES, LIST_METRICS, Permission};
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Factory, NothingToStop, Outlet, Outlets, Plan, ReceiverPlan, Refused,
    Running, Stability, Stage, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Signal};

pub use self::fleet::Kind;

/// The registry's entry.
pub struct SageMakerFactory;

impl Factory for SageMakerFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "sagemaker"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Metrics, Signal::Logs]
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "CloudWatch metrics of SageMaker: endpoints, jobs, pipelines, features, monitoring; status changes as logs."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config = config::check(section)?;
        Some(Plan::Receiver(Box::new(SageMakerPlan {
            config: Arc::new(config),
        })))
    }
}

/// What a configuration asks of AWS; `None`: it is not accepted.
pub fn permissions(section: &Section) -> Option<(AccessSettings, Vec<Permission>)> {
    let config = config::check(section)?;
    let mut permissions = vec![GET_METRIC_DATA, GET_METRIC_STATISTICS, LIST_METRICS];
    permissions.extend(config.common.reads_tags().then_some(GET_RESOURCES));
    for operation in config.kinds.iter().flat_map(|kind| of_kind(*kind)) {
        let action = operation.action();
        permissions.push(match operation {
            Operation::DescribeEndpoint
            | Operation::DescribeEndpointConfig
            | Operation::ListPipelineExecutions
            | Operation::ListPipelineExecutionSteps => Permission {
                sid: "Models",
                action,
                resource: "arn:aws:sagemaker:*:*:*".into(),
            },
            _ => Permission::on_all("Discovery", action),
        });
    }
    Some((config.common.engine.access.clone(), permissions))
}

/// What a kind asks of the API.
fn of_kind(kind: Kind) -> &'static [Operation] {
    match kind {
        Kind::Endpoints => &[
            Operation::ListEndpoints,
            Operation::DescribeEndpoint,
            Operation::DescribeEndpointConfig,
        ],
        Kind::InferenceComponents => &[Operation::ListInferenceComponents],
        Kind::TrainingJobs => &[Operation::ListTrainingJobs],
        Kind::ProcessingJobs => &[Operation::ListProcessingJobs],
        Kind::TransformJobs => &[Operation::ListTransformJobs],
        Kind::Pipelines => &[
            Operation::ListPipelines,
            Operation::ListPipelineExecutions,
            Operation::ListPipelineExecutionSteps,
        ],
        Kind::FeatureGroups => &[Operation::ListFeatureGroups],
        Kind::InferenceRecommendations => &[Operation::ListInferenceRecommendationsJobs],
        Kind::Monitoring => &[Operation::ListMonitoringSchedules, Operation::ListMonitoringExecutions],
        Kind::Labeling => &[Operation::ListLabelingJobs],
    }
}

/// The receiver's part of the polling engine, from its section: what its metrics cost. Problems are reported to the
/// section.
pub fn blueprint(section: &Section) -> Option<Arc<dyn engine::Blueprint>> {
    let config = Arc::new(config::check(section)?);
    Some(Arc::new(SageMakerFleet {
        config,
        logs: None,
        metrics: true,
    }))
}

struct SageMakerPlan {
    config: Arc<Config>,
}

/// Takes what nobody wants: the engine's word on how it goes where only logs are read.
struct Nobody;

impl Stage for Nobody {
    fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl ReceiverPlan for SageMakerPlan {
    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            if next.metrics.is_none() && next.logs.is_none() {
                let nothing: Arc<dyn Running> = Arc::new(NothingToStop);
                return Ok(nothing);
            }
            let fleet = SageMakerFleet {
                config,
                logs: next.logs,
                metrics: next.metrics.is_some(),
            };
            let outlet = next.metrics.unwrap_or_else(|| Outlet::to(Arc::new(Nobody)));
            Ok(engine::start(Arc::new(fleet), context, outlet))
        })
    }
}
