//! Receivers: where telemetry comes in.

#[cfg(feature = "aws")]
pub mod awscloudwatch;
#[cfg(feature = "aws")]
pub mod awsfirehose;
#[cfg(feature = "aws")]
pub mod awsxray;
#[cfg(feature = "aws")]
pub mod dynamodb;
pub mod nop;
pub mod otlp;
#[cfg(feature = "aws")]
pub mod sagemaker;
#[cfg(feature = "aws")]
pub mod xray;
