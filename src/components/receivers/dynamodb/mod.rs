//! Receiver `dynamodb`: capacity, throttles with their causes, latency and errors of every DynamoDB table, read from
//! CloudWatch and DescribeTable, as typed OTLP metrics.
//!
//! Tables are found by themselves. Values are handed on once, when they are settled; the cursor of a series moves when
//! the pipeline has taken them. A missing region, credentials or permission does not stop the agent: the receiver says
//! so, reports itself degraded and tries on.

mod clients;
mod config;
mod derived;
mod discovery;
mod series;
mod shard;
mod tables;
mod telemetry;

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::config::Config;
use self::shard::{Health, Shard, Shared};
use crate::aws::Access;
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Deadline, Factory, Outlet, Outlets, Plan, ReceiverPlan, Running, Stability,
    StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// The registry's entry.
pub struct DynamoDbFactory;

impl Factory for DynamoDbFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "dynamodb"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Metrics]
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "CloudWatch metrics of every DynamoDB table: capacity, throttles, latency, errors."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config = config::check(section)?;
        Some(Plan::Receiver(Box::new(DynamoDbPlan {
            config: Arc::new(config),
        })))
    }
}

/// The IAM actions of the receiver as it is built, with the resources they are for.
pub const IAM_ACTIONS: &[(&str, &[&str], &str)] = &[
    (
        "CloudWatch",
        &["cloudwatch:GetMetricData", "cloudwatch:ListMetrics"],
        "*",
    ),
    ("Discovery", &["dynamodb:ListTables"], "*"),
    ("Tables", &["dynamodb:DescribeTable"], "arn:aws:dynamodb:*:*:table/*"),
];

struct DynamoDbPlan {
    config: Arc<Config>,
}

impl ReceiverPlan for DynamoDbPlan {
    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let receiver = Receiver {
                quit: CancellationToken::new(),
                tasks: TaskTracker::new(),
            };
            if let Some(outlet) = next.metrics {
                let started = Start {
                    config,
                    context,
                    outlet,
                    quit: receiver.quit.clone(),
                    tasks: receiver.tasks.clone(),
                };
                receiver.tasks.spawn(started.run());
            }
            let running: Arc<dyn Running> = Arc::new(receiver);
            Ok(running)
        })
    }
}

/// How long to wait for a region to appear.
const RETRY: Duration = Duration::from_secs(30);

/// Everything the start needs; it runs in the background, because asking for regions and credentials takes time.
struct Start {
    config: Arc<Config>,
    context: BuildContext,
    outlet: Outlet,
    quit: CancellationToken,
    tasks: TaskTracker,
}

impl Start {
    async fn run(self) {
        let stop = self.context.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.open_shards() => {}
        }
    }

    async fn open_shards(&self) {
        let context = &self.context;
        if self.context.state_dir.is_some() {
            tracing::warn!(receiver = %context.id, "cursors are kept in memory: after a restart the last minutes are read again");
        }
        let health = Arc::new(Health::new(context.clone()));
        let (access, places) = loop {
            let loading = Access::load(self.config.access.clone(), Arc::clone(&context.clock));
            let access = tokio::select! {
                () = self.quit.cancelled() => return,
                access = loading => access,
            };
            let places = access.places();
            if !places.is_empty() {
                break (Arc::new(access), places);
            }
            let trouble = "no region: set `regions`, AWS_REGION or a profile";
            tracing::warn!(receiver = %context.id, "{trouble}; trying on");
            health.report("regions", Some(trouble.to_owned()));
            tokio::select! {
                () = self.quit.cancelled() => return,
                () = context.clock.sleep(RETRY) => {}
            }
        };
        health.report("regions", None);
        for place in places {
            let shared = Shared {
                config: Arc::clone(&self.config),
                context: context.clone(),
                outlet: self.outlet.clone(),
                health: Arc::clone(&health),
            };
            let (access, quit) = (Arc::clone(&access), self.quit.clone());
            self.tasks.spawn(async move {
                let stop = shared.context.stop.clone();
                let work = async {
                    if let Some(shard) = Shard::open(shared, access, place, &quit).await {
                        shard.run(quit.clone()).await;
                    }
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = work => {}
                }
            });
        }
    }
}

struct Receiver {
    quit: CancellationToken,
    tasks: TaskTracker,
}

impl Running for Receiver {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.quit.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(deadline.remaining(), self.tasks.wait()).await;
        })
    }
}
