//! Everything that is shown of the store, as typed answers: one library for page, command line, MCP and lints, so that
//! they give equal numbers.
//!
//! Each answer is bounded, says what was left out, and why it is empty. Ids are hexadecimal, times and durations decimal
//! nanoseconds as text (64 bits do not fit a JSON number). A function blocks for as long as it computes: call it off the
//! async workers.

mod common;
mod compare;
mod find;
mod flame;
mod groups;
mod keys;
mod logs;
mod map;
mod metrics;
mod path;
mod rows;
mod semconv;
mod span;
mod status;
#[cfg(test)]
mod tests;
mod traces;
mod tree;

pub use common::{Ask, Attr, Failure, Head, Hex8, Hex16, Limits, Ns, SignedNs};
pub use compare::{Comparison, compare};
pub use find::{Found, StoreExtras, find_rows, newest_rows, trace_named};
pub use flame::{Flame, flame, flame_of_trace};
pub use groups::{Errors, Figures, Services, Slow, Stats, errors, services, slow, stats, value_of, what_failed};
pub use keys::{Keys, keys};
pub use logs::{
    Histogram, HistogramBucket, LogDetail, LogRow, Logs, log, log_histogram, log_row, logs, trace_histogram,
};
pub use map::{Map, map};
pub use metrics::{As, MetricAsk, MetricSeries, Metrics, metrics, query as query_metric};
pub use path::{CriticalPath, critical_path};
pub use rows::{GenAi, Row, SpanRow, Spans, TraceRows, gen_ai, minimap, search_in_trace, spans, trace_rows};
pub use span::{SpanDetail, span};
pub use status::{StatusAnswer, status};
pub use traces::{Choice, Order, ScatterAnswer, TraceList, TraceRow, row_of_trace, scatter, traces};
pub use tree::{Node, Tree, tree_of};
