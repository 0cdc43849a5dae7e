//! Everything that is shown of the store, as typed answers: one library for page, command line, MCP and lints, so that
//! they give equal numbers.
//!
//! Each answer is bounded, says what was left out, and why it is empty. Ids are hexadecimal, times and durations decimal
//! nanoseconds as text (64 bits do not fit a JSON number). A function blocks for as long as it computes: call it off the
//! async workers.

mod common;
mod find;
mod logs;
mod rows;
mod span;
mod status;
mod traces;
mod tree;

pub use common::{Ask, Attr, Failure, Head, Hex8, Hex16, Limits, Ns, SignedNs};
pub use find::{Found, find_rows, trace_named};
pub use logs::{Histogram, HistogramBucket, LogDetail, LogRow, Logs, log, log_histogram, logs, trace_histogram};
pub use rows::{Row, SpanRow, Spans, TraceRows, minimap, search_in_trace, spans, trace_rows};
pub use span::{SpanDetail, span};
pub use status::{StatusAnswer, status};
pub use traces::{Choice, Order, ScatterAnswer, TraceList, TraceRow, row_of_trace, scatter, traces};
pub use tree::{Node, Tree, tree_of};
