//! The layout `mlflow-dynamodbstore`: a DynamoDB table in which MLflow's store keeps traces, and copies of their spans.
//!
//! `keys.rs` has the names, `span.rs` the two forms of a span there, `table.rs` the calls, their cost and their pace;
//! `read.rs` answers an audit, `write.rs` stores what the exporter was given. What the store itself gets wrong (copies
//! that are empty, partial, or expire with their source) is seen here; its own words are never believed.

pub mod keys;
mod read;
mod span;
pub mod table;
#[cfg(feature = "simulator")]
#[cfg(test)]
mod tests;
pub mod write;

pub use read::{Experiments, MlflowArchive};
