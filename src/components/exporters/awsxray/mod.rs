//! `awsxray` exporter: spans as segment documents to X-Ray's PutTraceSegments.
//!
//! `aws::xray::compose` makes the documents. Here they are put into calls of at most 50, and what each call left
//! unprocessed is tried again or counted. Queue, retry and timeout stand in front of it: a batch that comes again sends
//! only what had not been taken.

mod config;
mod delivered;
mod far_end;
mod http;
mod records;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::config::Config;
use self::far_end::FarEnd;
use crate::component::{
    BoxFuture, BuildContext, BuiltExporter, ComponentKind, Deadline, Delivery, ExporterPlan, Factory, Plan, Running,
    Stability, StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// The registry's entry.
pub struct AwsXrayFactory;

impl Factory for AwsXrayFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
    }

    fn type_name(&self) -> &'static str {
        "awsxray"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Traces]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Sends spans to AWS X-Ray as segments."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        Some(Plan::Exporter(Box::new(AwsXrayPlan(Arc::new(Config::check(section)?)))))
    }
}

struct AwsXrayPlan(Arc<Config>);

impl ExporterPlan for AwsXrayPlan {
    fn delivery(&self) -> Delivery {
        self.0.delivery.clone()
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        let far_end = Arc::new(FarEnd::new(Arc::clone(&self.0), &context));
        let running = Reporting {
            quit: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        if self.0.telemetry.is_some() {
            let far_end = Arc::clone(&far_end);
            let (quit, stop) = (running.quit.clone(), context.stop.clone());
            running.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = records::report(far_end, quit) => {}
                }
            });
        }
        Ok(BuiltExporter {
            far_end,
            running: Arc::new(running),
        })
    }
}

/// The task that sends telemetry records; ended when the queues have drained.
struct Reporting {
    quit: CancellationToken,
    tasks: TaskTracker,
}

impl Running for Reporting {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.quit.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(deadline.remaining(), self.tasks.wait()).await;
        })
    }
}
