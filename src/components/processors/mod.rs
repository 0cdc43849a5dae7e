//! Processors: what is done to telemetry inside a pipeline.

pub mod batch;
pub mod memory_limiter;
