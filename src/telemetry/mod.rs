//! Our own logs, metrics and traces.
//!
//! The registry of instruments lives in `component`; here it gets a form: Prometheus text on :8888, or OTLP.

pub mod logs;
pub mod process;
pub mod prometheus;
