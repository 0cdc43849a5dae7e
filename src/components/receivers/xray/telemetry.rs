//! What the receiver says about itself. No trace id is ever a label.

use crate::component::{Counter, Gauge, Instruments};

/// Counters of one region.
pub struct Counts {
    /// Now minus the cursor.
    pub lag: Gauge,
    pub scanned: Counter,
    pub fetched: Counter,
    pub throttled: Counter,
    pub unprocessed: Counter,
    pub parked: Gauge,
    pub held: Gauge,
    pub remembered: Gauge,
    pub late: Counter,
    pub swept: Counter,
    pub inferred_dropped: Counter,
    pub limit_exceeded: Counter,
    pub cost: Gauge,
    pub short: Gauge,
    pub skipped: Counter,
    pub unknown_parts: Counter,
    pub salvaged: Counter,
    pub dropped: Counter,
    pub given_up: Counter,
}

impl Counts {
    pub fn new(instruments: &Instruments, region: &str) -> Self {
        let labels = [("region", region)];
        let counter = |name, help| instruments.counter(name, help, &labels);
        let gauge = |name, help| instruments.gauge(name, help, &labels);
        Self {
            lag: gauge(
                "xray_receiver_lag_seconds",
                "Now minus the cursor: what is older has been handed on.",
            ),
            scanned: counter(
                "xray_receiver_traces_scanned",
                "Traces that GetTraceSummaries scanned, as they are billed.",
            ),
            fetched: counter(
                "xray_receiver_traces_fetched",
                "Traces that were retrieved, as they are billed.",
            ),
            throttled: counter("xray_receiver_throttled", "Calls that X-Ray throttled."),
            unprocessed: counter(
                "xray_receiver_unprocessed",
                "Traces that BatchGetTraces did not process at once.",
            ),
            parked: gauge(
                "xray_receiver_parked",
                "Traces that wait for another try to be retrieved.",
            ),
            remembered: gauge(
                "xray_receiver_remembered",
                "Traces of which is known what was handed on.",
            ),
            held: gauge(
                "xray_receiver_partial_held",
                "Traces of which segments in progress are held back.",
            ),
            late: counter(
                "xray_receiver_late_segments",
                "Spans that came after others of their trace had been handed on.",
            ),
            swept: counter("xray_receiver_swept", "Traces that only the sweep found."),
            inferred_dropped: counter("xray_receiver_inferred_dropped", "Inferred segments left out."),
            limit_exceeded: counter("xray_receiver_limit_exceeded", "Traces that X-Ray did not give whole."),
            cost: gauge(
                "xray_receiver_estimated_cost_usd",
                "Cost of reading since the start, free reads not taken off.",
            ),
            short: gauge(
                "xray_receiver_budget_exhausted",
                "1 while only a share of the traces is read.",
            ),
            skipped: counter(
                "xray_receiver_budget_skipped",
                "Traces not retrieved because of the budget.",
            ),
            unknown_parts: counter(
                "xray_receiver_reemitted",
                "Traces handed on again as a whole because it could not be told what of them was new.",
            ),
            salvaged: counter("xray_receiver_salvaged", "Fields and nodes of documents that were bad."),
            dropped: counter(
                "xray_receiver_dropped_spans",
                "Spans that the pipeline refused for good.",
            ),
            given_up: counter(
                "xray_receiver_given_up",
                "Traces that could not be retrieved while X-Ray kept them.",
            ),
        }
    }
}
