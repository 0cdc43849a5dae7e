//! `filter`: drops spans, span events, metrics, data points and log records, by OTTL conditions or by the older
//! include/exclude properties.
//!
//! Works on the wire bytes: what stays is copied as it came, and a batch of which nothing goes is not touched at all.
//! Whatever is dropped is counted as discarded, since the configuration asked for it.

mod config;
mod legacy;
mod rules;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tracing::warn;

use self::config::{Checked, Rules};
use self::rules::Trouble;
use self::walk::Walk;
use crate::component::{
    BuildContext, BuiltProcessor, Clock, ComponentId, ComponentKind, Counter, DropReason, Factory, LimitedLog, Outlet,
    Plan, Processor, ProcessorPlan, Refused, Removed, Stability, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Signal};

/// The registry's entry.
pub struct FilterFactory;

impl Factory for FilterFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Processor
    }

    fn type_name(&self) -> &'static str {
        "filter"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "Drops telemetry by OTTL conditions or include/exclude properties."
    }

    fn example(&self) -> &'static str {
        r#"
error_mode: ignore
traces:
  span:
    - 'attributes["http.route"] == "/health"'
  spanevent:
    - 'IsMatch(name, "^debug")'
metrics:
  metric:
    - 'type == METRIC_DATA_TYPE_SUMMARY'
  datapoint:
    - 'attributes["pool"] == nil'
log_conditions:
  - 'log.severity_number < SEVERITY_NUMBER_WARN'
"#
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let checked = Arc::new(config::check(section)?);
        Some(Plan::Processor(Box::new(FilterPlan { checked })))
    }
}

struct FilterPlan {
    checked: Arc<Checked>,
}

impl ProcessorPlan for FilterPlan {
    fn build(&self, context: BuildContext, signal: Signal, _next: Outlet) -> Result<BuiltProcessor, StartError> {
        Ok(BuiltProcessor::Pure(Arc::new(Filter::new(
            Arc::clone(&self.checked),
            &context,
            signal,
        ))))
    }
}

/// The filter of one pipeline.
struct Filter {
    id: ComponentId,
    signal: Signal,
    checked: Arc<Checked>,
    clock: Arc<dyn Clock>,
    filtered: Counter,
    discarded: Counter,
    invalid: Counter,
    invalid_log: LimitedLog,
}

impl Filter {
    fn new(checked: Arc<Checked>, context: &BuildContext, signal: Signal) -> Self {
        let name = match signal {
            Signal::Traces => "otelcol_processor_filter_spans_filtered",
            Signal::Metrics => "otelcol_processor_filter_datapoints_filtered",
            Signal::Logs => "otelcol_processor_filter_logs_filtered",
        };
        let instruments = &context.instruments;
        Self {
            id: context.id.clone(),
            signal,
            checked,
            clock: Arc::clone(&context.clock),
            filtered: instruments.counter_under("filter", name, "Items that the filter dropped."),
            discarded: instruments.discarded(signal),
            invalid: instruments.dropped(signal, DropReason::Invalid),
            invalid_log: LimitedLog::default(),
        }
    }

    fn rules(&self) -> &Rules {
        &self.checked.rules[self.signal as usize]
    }

    /// Says what conditions ran into: once for a batch, since every item may have the same trouble.
    fn report(&self, trouble: &Trouble<'_>) -> Result<(), Refused> {
        if let Some((condition, error)) = trouble.refused {
            return Err(Refused::permanent(format!(
                "filter \"{}\": condition `{condition}` failed: {error}",
                self.id
            )));
        }
        if let Some((condition, error)) = trouble.ignored {
            let times = trouble.times_ignored;
            if let Some(left_out) = self.invalid_log.admit() {
                warn!(processor = %self.id, condition, %error, times, left_out, "condition failed, counts as false");
            }
        }
        Ok(())
    }
}

impl Processor for Filter {
    fn process_noting(&self, batch: Batch, removed: &mut Removed) -> Result<Option<Batch>, Refused> {
        if matches!(self.rules(), Rules::Conditions(levels) if levels.is_empty()) {
            return Ok(Some(batch));
        }
        let origin = Arc::clone(batch.origin());
        let mut walk = Walk {
            rules: self.rules(),
            signal: self.signal,
            origin: &origin,
            clock: &*self.clock,
            trouble: Trouble::default(),
        };
        let rewritten = batch
            .rewrite(&mut walk)
            .map_err(|error| Refused::permanent(format!("malformed {}: {error}", self.signal)))?;
        self.report(&walk.trouble)?;
        if rewritten.dropped > 0 {
            self.filtered.add(rewritten.dropped as u64);
            removed.note(&self.discarded, rewritten.dropped as u64);
        }
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
