//! Processor `span_retention`: notes which traces exporters have delivered, and checks on schedule which traces X-Ray will
//! forget before a complete copy of them stands elsewhere. Spans pass on, with stamps where they are asked for, and
//! without those that are too old.
//!
//! The ledger is written when the far end of an exporter has acknowledged, not when a queue has taken the data: the graph
//! puts the observer between the two.

mod stamps;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::stamps::{Age, Stamps};
use crate::aws::AccessSettings;
use crate::aws::access::AccountSettings;
use crate::aws::permission::{GET_METRIC_DATA, Permission};
use crate::component::{
    BoxFuture, BuildContext, BuiltProcessor, Clock, ComponentId, ComponentKind, Counter, DeliveryObserver, DropReason,
    Factory, Outlet, PipelineHeads, Plan, ProcessorPlan, Refused, Running, Stability, Stage, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Signal};
use crate::retention::runtime::Runtime;
use crate::retention::settings::Settings;

/// The registry's entry.
pub struct SpanRetentionFactory;

impl Factory for SpanRetentionFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Processor
    }

    fn type_name(&self) -> &'static str {
        "span_retention"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Traces]
    }

    fn stability(&self) -> Stability {
        Stability::Development
    }

    fn summary(&self) -> &'static str {
        "Knows which traces X-Ray will forget before a complete copy stands elsewhere, and archives them."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let settings = Arc::new(Settings::read(section)?);
        Some(Plan::Processor(Box::new(RetentionPlan { settings })))
    }
}

/// What a configured processor asks of AWS, and whose roles it takes.
pub fn permissions(section: &Section) -> Option<(AccessSettings, Vec<Permission>)> {
    let settings = Settings::read(section)?;
    let actions = [
        "xray:GetTraceSummaries",
        "xray:BatchGetTraces",
        "xray:GetTraceSegmentDestination",
        "xray:GetIndexingRules",
        "xray:GetSamplingRules",
        "xray:GetSamplingStatisticSummaries",
    ];
    let mut permissions: Vec<Permission> = actions.map(|action| Permission::on_all("XRay", action)).to_vec();
    permissions.push(GET_METRIC_DATA);
    let mut access = settings.access;
    for archive in &settings.asked {
        permissions.extend(archive.permissions());
        if !archive.role().is_empty() {
            access.accounts.push(AccountSettings {
                role_arn: archive.role().to_owned(),
                ..AccountSettings::default()
            });
        }
    }
    Some((access, permissions))
}

struct RetentionPlan {
    settings: Arc<Settings>,
}

impl ProcessorPlan for RetentionPlan {
    fn observes(&self) -> Vec<(String, ComponentId)> {
        self.settings.observed()
    }

    fn observer(&self, context: BuildContext, exporter: &ComponentId) -> Result<Arc<dyn DeliveryObserver>, StartError> {
        Ok(Runtime::of(&self.settings, &context)?.observer(exporter))
    }

    fn feeds(&self) -> Vec<(String, String)> {
        let archive = self.settings.archive_pipeline.iter();
        let mut feeds: Vec<_> = archive
            .map(|name| ("archive_pipeline".to_owned(), name.clone()))
            .collect();
        let route = self.settings.max_age.as_ref().and_then(|max_age| max_age.route.clone());
        feeds.extend(route.map(|name| ("max_age::pipeline".to_owned(), name)));
        feeds
    }

    fn build(&self, context: BuildContext, _signal: Signal, next: Outlet) -> Result<BuiltProcessor, StartError> {
        let runtime = Runtime::of(&self.settings, &context)?;
        runtime.enter();
        let heads = context.commons.get::<PipelineHeads>();
        let max_age = self.settings.max_age.as_ref();
        let tap = Tap {
            next,
            clock: Arc::clone(&context.clock),
            stamps: self.settings.stamp.then_some(Stamps {
                policy: self.settings.policy,
            }),
            limit: max_age.map(|max_age| max_age.limit),
            route: max_age
                .and_then(|max_age| max_age.route.as_ref())
                .map(|name| heads.of(name)),
            too_old: context.instruments.counter(
                "aws_xray_retention_max_age_dropped_total",
                "Spans that were dropped because they are older than max_age.",
                &[],
            ),
            discarded: context.instruments.discarded(Signal::Traces),
            invalid: context.instruments.dropped(Signal::Traces, DropReason::Invalid),
        };
        Ok(BuiltProcessor::Active {
            stage: Arc::new(tap),
            running: runtime as Arc<dyn Running>,
        })
    }
}

/// The processor in one pipeline. Keeps nothing: what it is given it hands on in the same call.
struct Tap {
    next: Outlet,
    clock: Arc<dyn Clock>,
    stamps: Option<Stamps>,
    limit: Option<std::time::Duration>,
    /// Where spans go that are too old; `None`: nowhere.
    route: Option<Outlet>,
    too_old: Counter,
    discarded: Counter,
    invalid: Counter,
}

impl Stage for Tap {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let mut dropped = 0;
            let mut malformed = 0;
            let mut left = Some(batch);
            if let Some(limit) = self.limit
                && let Some(batch) = left.take()
            {
                let age = Age {
                    now: self.clock.now(),
                    limit,
                };
                if let Some(route) = &self.route {
                    let (old, _) = age.older(batch.clone())?;
                    if let Some(old) = old {
                        // First: if they are refused all of it comes again.
                        route.consume(old).await?;
                    }
                }
                let younger = age.younger(batch)?;
                (left, malformed) = (younger.batch, younger.malformed);
                dropped = if self.route.is_some() { 0 } else { younger.dropped };
            }
            if let Some(stamps) = &self.stamps
                && let Some(batch) = left.take()
            {
                let stamped = stamps.put(self.clock.now(), batch)?;
                left = stamped.batch;
                malformed += stamped.malformed;
            }
            if let Some(batch) = left {
                self.next.consume(batch).await?;
            }
            // What was taken out counts when the rest has been taken: else all of it comes again.
            self.too_old.add(dropped as u64);
            self.discarded.add(dropped as u64);
            self.invalid.add(malformed as u64);
            Ok(())
        })
    }
}
