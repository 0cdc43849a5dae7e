//! Receiver `xray`: traces that are in AWS X-Ray, read by its API, as OTLP spans.
//!
//! Segments of API Gateway, Step Functions and Lambda's front exist only in X-Ray. Windows of changes are read one after
//! the other; what has been handed on is remembered for a week, so that every span is given once, late ones too. The
//! cursor moves when the pipeline has taken a window.

pub mod answers;
mod budget;
mod config;
mod emit;
pub mod forecast;
mod seen;
mod shard;
mod signals;
mod state;
mod steps;
mod telemetry;
mod windows;

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::config::{Config, Mode, Processed};
use self::shard::{Shard, Shared};
use self::steps::Steps;
use crate::aws::permission::{GET_METRIC_DATA, Permission};
use crate::aws::shards::{Health, ShardTasks};
use crate::aws::{Access, AccessSettings};
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Factory, Outlets, Plan, ReceiverPlan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// The counter of its calls.
const CALLS: &str = "xray_receiver_api_calls";

/// The registry's entry.
pub struct XRayFactory;

impl Factory for XRayFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "xray"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Traces, Signal::Metrics]
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "Traces read from AWS X-Ray; its service graph and sampling as metrics."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config = config::check(section)?;
        Some(Plan::Receiver(Box::new(XRayPlan {
            config: Arc::new(config),
        })))
    }
}

/// What a configured receiver asks of AWS, and whose roles it takes. Reading traces cannot be narrowed to a resource.
pub fn permissions(section: &Section) -> Option<(AccessSettings, Vec<Permission>)> {
    let config = config::check(section)?;
    let traces = [
        "xray:GetTraceSummaries",
        "xray:BatchGetTraces",
        "xray:GetTraceSegmentDestination",
        "xray:GetIndexingRules",
        "xray:StartTraceRetrieval",
        "xray:ListRetrievedTraces",
        "xray:CancelTraceRetrieval",
    ];
    let mut permissions: Vec<Permission> = traces.map(|action| Permission::on_all("XRay", action)).to_vec();
    let mut signal = |wanted: bool, action| {
        permissions.extend(wanted.then(|| Permission::on_all("XRaySignals", action)));
    };
    signal(config.graph.is_some(), "xray:GetServiceGraph");
    signal(config.rules.is_some(), "xray:GetSamplingRules");
    signal(config.rules.is_some(), "xray:GetSamplingStatisticSummaries");
    permissions.extend((config.traces_processed == Processed::CloudWatch).then_some(GET_METRIC_DATA));
    if config.mode != Mode::Summaries && !config.spans_log_group.is_empty() {
        permissions.push(Permission {
            sid: "XRayLogs",
            action: "logs:FilterLogEvents",
            resource: format!("arn:aws:logs:*:*:log-group:{}:*", config.spans_log_group).into(),
        });
    }
    Some((config.access, permissions))
}

struct XRayPlan {
    config: Arc<Config>,
}

impl ReceiverPlan for XRayPlan {
    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let receiver = ShardTasks::default();
            let shared = Shared {
                config,
                health: Arc::new(Health::new(context.clone())),
                context,
                outlets: next,
                steps: Steps::default(),
            };
            let (quit, tasks) = (receiver.quit.clone(), receiver.tasks.clone());
            let stop = shared.context.stop.clone();
            receiver.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = open_shards(shared, quit, tasks) => {}
                }
            });
            let running: Arc<dyn Running> = Arc::new(receiver);
            Ok(running)
        })
    }
}

/// How long to wait for a region to appear, or for a state file that cannot be opened.
const RETRY: Duration = Duration::from_secs(30);

/// In the background, because asking for regions and credentials takes time.
async fn open_shards(shared: Shared, quit: CancellationToken, tasks: TaskTracker) {
    let context = shared.context.clone();
    let (access, places) = loop {
        let loading = Access::load(shared.config.access.clone(), Arc::clone(&context.clock));
        let access = tokio::select! {
            () = quit.cancelled() => return,
            access = loading => access,
        };
        let places = access.places();
        if !places.is_empty() {
            break (Arc::new(access), places);
        }
        let trouble = "no region: set `regions`, AWS_REGION or a profile";
        tracing::warn!(receiver = %context.id, "{trouble}; trying on");
        shared.health.report("regions", Some(trouble.to_owned()));
        tokio::select! {
            () = quit.cancelled() => return,
            () = context.clock.sleep(RETRY) => {}
        }
    };
    shared.health.report("regions", None);
    for place in places {
        let (shared, access, quit) = (shared.clone(), Arc::clone(&access), quit.clone());
        tasks.spawn(async move {
            let stop = shared.context.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = run_shard(shared, access, place, quit) => {}
            }
        });
    }
}

async fn run_shard(shared: Shared, access: Arc<Access>, place: crate::aws::Place, quit: CancellationToken) {
    loop {
        let opened = Shard::open(shared.clone(), Arc::clone(&access), place.clone(), quit.clone()).await;
        match opened {
            Ok(shard) => return shard.run().await,
            Err(error) => {
                tracing::error!(receiver = %shared.context.id, region = %place.region, trouble = %error,
                    "the state cannot be opened; nothing is read, trying on");
                shared.health.report(&place.name(), Some(error.to_string()));
            }
        }
        tokio::select! {
            () = quit.cancelled() => return,
            () = shared.context.clock.sleep(RETRY) => {}
        }
    }
}
