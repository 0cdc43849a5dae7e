//! Receiver `awscloudwatch`: any CloudWatch metric, named in the configuration or found by ListMetrics. Takes the
//! `metrics` section of the Collector's receiver of the same name; polls as the other CloudWatch receivers do, so that
//! late values are not lost and none comes twice.

mod config;
mod source;

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;

use std::sync::Arc;

use self::config::{Chosen, Config};
use self::source::Queries;
use crate::aws::AccessSettings;
use crate::aws::cloudwatch::engine;
use crate::aws::permission::{GET_METRIC_DATA, LIST_METRICS, Permission};
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Factory, NothingToStop, Outlets, Plan, ReceiverPlan, Running, Stability,
    StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// The registry's entry.
pub struct AwsCloudWatchFactory;

impl Factory for AwsCloudWatchFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "awscloudwatch"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Metrics]
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "Any CloudWatch metric, by query or by discovery; the Collector's configuration."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config = config::check(section)?;
        Some(Plan::Receiver(Box::new(AwsCloudWatchPlan {
            config: Arc::new(config),
        })))
    }
}

/// What a configuration asks of AWS; `None`: it is not accepted.
pub fn permissions(section: &Section) -> Option<(AccessSettings, Vec<Permission>)> {
    let config = config::check(section)?;
    let mut permissions = vec![GET_METRIC_DATA];
    permissions.extend(matches!(config.chosen, Chosen::Discovery(_)).then_some(LIST_METRICS));
    Some((config.engine.access.clone(), permissions))
}

/// The receiver's part of the polling engine, from its section. Problems are reported to the section.
pub fn blueprint(section: &Section) -> Option<Arc<dyn engine::Blueprint>> {
    let config = Arc::new(config::check(section)?);
    Some(Arc::new(Queries { config }))
}

struct AwsCloudWatchPlan {
    config: Arc<Config>,
}

impl ReceiverPlan for AwsCloudWatchPlan {
    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let running: Arc<dyn Running> = match next.metrics {
                Some(outlet) => engine::start(Arc::new(Queries { config }), context, outlet),
                None => Arc::new(NothingToStop),
            };
            Ok(running)
        })
    }
}
