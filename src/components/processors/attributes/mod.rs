//! `attributes`: edits the attributes of spans, log records and metric data points.
//!
//! Works on the wire bytes: an item that no action changes is not touched. `include` and `exclude` choose the items.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tracing::warn;

use super::actions::{Actions, Run};
use super::select::Selector;
use crate::component::{
    BuildContext, BuiltProcessor, ComponentId, ComponentKind, Counter, DropReason, Factory, LimitedLog, Outlet, Plan,
    Processor, ProcessorPlan, Refused, Removed, Stability, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Edit, Place, Rewriter, Signal, Visit};
use crate::wire::{LogRecord, Metric, MetricKind, Span, View, WireError};

/// The registry's entry.
pub struct AttributesFactory;

impl Factory for AttributesFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Processor
    }

    fn type_name(&self) -> &'static str {
        "attributes"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Edits the attributes of spans, log records and data points."
    }

    fn example(&self) -> &'static str {
        r#"
include:
  match_type: strict
  services: [checkout]
actions:
  - key: deployment.environment
    value: production
    action: upsert
  - key: user.email
    action: hash
  - pattern: ^internal\.
    action: delete
"#
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let selector = Selector::check(section);
        let actions = Actions::check(section, "actions")?;
        let settings = Arc::new(Settings { selector, actions });
        Some(Plan::Processor(Box::new(AttributesPlan { settings })))
    }
}

struct Settings {
    selector: Selector,
    actions: Actions,
}

struct AttributesPlan {
    settings: Arc<Settings>,
}

impl ProcessorPlan for AttributesPlan {
    fn build(&self, context: BuildContext, signal: Signal, _next: Outlet) -> Result<BuiltProcessor, StartError> {
        if let Some(key) = self.settings.selector.misplaced(signal) {
            let message = format!("`{key}` of include or exclude cannot be used in a pipeline of {signal}");
            return Err(StartError::new(&context, message));
        }
        Ok(BuiltProcessor::Pure(Arc::new(EditAttributes {
            id: context.id.clone(),
            signal,
            settings: Arc::clone(&self.settings),
            invalid: context.instruments.dropped(signal, DropReason::Invalid),
            invalid_log: LimitedLog::default(),
        })))
    }
}

/// The processor of one pipeline.
struct EditAttributes {
    id: ComponentId,
    signal: Signal,
    settings: Arc<Settings>,
    invalid: Counter,
    invalid_log: LimitedLog,
}

impl Processor for EditAttributes {
    fn process_noting(&self, batch: Batch, removed: &mut Removed) -> Result<Option<Batch>, Refused> {
        let mut walk = Walk {
            signal: self.signal,
            selector: &self.settings.selector,
            run: self.settings.actions.for_batch(batch.origin()),
        };
        let rewritten = batch
            .rewrite(&mut walk)
            .map_err(|error| Refused::permanent(format!("malformed {}: {error}", self.signal)))?;
        if rewritten.malformed > 0 {
            removed.note(&self.invalid, rewritten.malformed as u64);
            if let Some(left_out) = self.invalid_log.admit() {
                let items = rewritten.malformed;
                warn!(processor = %self.id, items, left_out, "dropped malformed {}", self.signal.items_name());
            }
        }
        Ok(rewritten.batch)
    }
}

struct Walk<'p> {
    signal: Signal,
    selector: &'p Selector,
    run: Run<'p>,
}

impl Rewriter for Walk<'_> {
    fn item(&mut self, place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let raw = edit.original();
        let selected = self.selector.is_all()
            || match self.signal {
                Signal::Traces => self.selector.selects_span(place, Span::of(raw))?,
                Signal::Metrics => self.selector.selects_metric(place, Metric::of(raw))?,
                Signal::Logs => self.selector.selects_log(place, LogRecord::of(raw))?,
            };
        if !selected {
            return Ok(Visit::Keep);
        }
        if self.signal == Signal::Metrics {
            return Ok(Visit::Inside);
        }
        edit.edit_attributes(|list| self.run.apply(list))?;
        Ok(Visit::Keep)
    }

    fn point(
        &mut self,
        _place: Place<'_>,
        _metric: Metric<'_>,
        _kind: MetricKind,
        edit: &mut Edit<'_>,
    ) -> Result<Visit, WireError> {
        edit.edit_attributes(|list| self.run.apply(list))?;
        Ok(Visit::Keep)
    }
}
