//! Extensions: what serves the agent rather than a pipeline.

pub mod file_storage;
pub mod health_check;
mod http_config;
#[cfg(feature = "aws")]
pub mod sigv4auth;
pub mod zpages;
