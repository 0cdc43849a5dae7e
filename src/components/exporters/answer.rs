//! What both OTLP exporters do with a partial success: say it and count it. Never offered again, counted as sent.

use crate::component::{BuildContext, ComponentId, Counter, Instruments, taken_in_part};
use crate::net::client::status::PartialSuccess;
use crate::pdata::Signal;

/// Bound once when an exporter is built.
pub struct Rejections {
    exporter: ComponentId,
    items: [Counter; 3],
}

impl Rejections {
    /// For the exporter that `context` belongs to.
    pub fn new(context: &BuildContext) -> Self {
        let counter = |signal: Signal| rejected_items(&context.instruments, signal);
        Self {
            exporter: context.id.clone(),
            items: Signal::ALL.map(counter),
        }
    }

    /// Takes the far end's answer to an accepted request.
    pub fn record(&self, signal: Signal, answer: Option<PartialSuccess>) {
        let Some(partial) = answer else {
            return;
        };
        if partial.rejected > 0 {
            taken_in_part();
        }
        let message = partial.message.as_str();
        let exporter = self.exporter.as_str();
        match signal {
            Signal::Traces => {
                tracing::warn!(
                    exporter,
                    message,
                    dropped_spans = partial.rejected,
                    "Partial success response"
                );
            }
            Signal::Metrics => {
                tracing::warn!(
                    exporter,
                    message,
                    dropped_data_points = partial.rejected,
                    "Partial success response"
                );
            }
            Signal::Logs => {
                tracing::warn!(
                    exporter,
                    message,
                    dropped_log_records = partial.rejected,
                    "Partial success response"
                );
            }
        }
        self.items[signal as usize].add(partial.rejected);
    }
}

fn rejected_items(instruments: &Instruments, signal: Signal) -> Counter {
    instruments.counter(
        "radiosonde_exporter_rejected_items",
        "Items that the far end answered for with a partial success: sent, and not taken there.",
        &[("signal", signal.name())],
    )
}
