//! `otlp` (`otlp_grpc`): OTLP over gRPC.
//!
//! One attempt a `consume`: the batch's parts become the message without being joined (or are compressed part by part),
//! go out on a channel of ours, and the answer's status decides. Queue, retry and timeout stand in front of it. Knows no
//! other protocol.

mod config;
mod far_end;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::component::{
    BoxFuture, BuildContext, BuiltExporter, ComponentId, ComponentKind, Deadline, Delivery, ExporterPlan, Factory,
    Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::pdata::Signal;
use config::Config;
use far_end::FarEnd;

/// The registry's entry.
pub struct OtlpFactory;

impl Factory for OtlpFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
    }

    fn type_name(&self) -> &'static str {
        "otlp"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["otlp_grpc"]
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Sends OTLP over gRPC."
    }

    fn example(&self) -> &'static str {
        "endpoint: gateway.example:4317\nheaders:\n  x-tenant: shop\ncompression: zstd\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config = Config::read(section)?;
        Some(Plan::Exporter(Box::new(OtlpPlan(Arc::new(config)))))
    }
}

struct OtlpPlan(Arc<Config>);

impl ExporterPlan for OtlpPlan {
    fn delivery(&self) -> Delivery {
        self.0.delivery.clone()
    }

    fn authenticator(&self) -> Option<&ComponentId> {
        self.0.auth.as_ref()
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        let far_end = FarEnd::open(&self.0, &context).map_err(|problem| StartError::new(&context, problem))?;
        let far_end = Arc::new(far_end);
        Ok(BuiltExporter {
            running: Arc::new(Closing(Arc::clone(&far_end))),
            far_end,
        })
    }
}

/// Closes the connections when the queues have drained.
struct Closing(Arc<FarEnd>);

impl Running for Closing {
    fn stop(&self, _deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(self.0.close())
    }
}
