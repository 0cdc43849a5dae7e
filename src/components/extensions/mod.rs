//! Extensions: what serves the agent rather than a pipeline.

pub mod basicauth;
pub mod bearertokenauth;
pub mod file_storage;
pub mod health_check;
mod http_config;
pub mod oauth2client;
pub mod oidc;
#[cfg(feature = "aws")]
pub mod sigv4auth;
mod watched_file;
pub mod zpages;
