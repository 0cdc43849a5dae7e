//! Extensions: what serves the agent rather than a pipeline.

pub mod health_check;
mod http_config;
pub mod zpages;
