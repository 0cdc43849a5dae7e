//! Processors: what is done to telemetry inside a pipeline.

mod actions;
pub mod alerts;
pub mod attributes;
pub mod batch;
pub mod filter;
#[cfg(test)]
mod fixtures;
pub mod memory_limiter;
pub mod resource;
mod select;
#[cfg(feature = "aws")]
pub mod span_retention;
