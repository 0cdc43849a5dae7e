//! Connectors: the end of one pipeline and the beginning of another.

pub mod alerts;
#[cfg(feature = "aws")]
pub mod awsclientmetrics;
pub mod forward;
