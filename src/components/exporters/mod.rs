//! Exporters: where telemetry leaves.

mod client_auth;
pub mod delivery_config;
mod delivery_shown;

mod answer;
#[cfg(feature = "aws")]
pub mod awss3;
#[cfg(feature = "aws")]
pub mod awsxray;
pub mod debug;
pub mod devstore;
pub mod file;
#[cfg(feature = "aws")]
pub mod mlflow_dynamodb;
pub mod nop;
pub mod otlp;
pub mod otlphttp;
pub mod terminal;
