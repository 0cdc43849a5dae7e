//! What everything that talks to AWS shares: access (credentials, regions, one HTTP client), rate limits, the metric
//! catalogue, and the CloudWatch poller. Knows no receiver and no pipeline.

pub mod access;
pub mod calls;
pub mod catalogue;
pub mod client_metrics;
pub mod cloudwatch;
pub mod failure;
pub mod globs;
pub mod json;
pub mod permission;
pub mod rate;
pub mod shards;
pub mod sign;
mod time;
pub mod unit;
pub mod xray;

pub use access::{Access, AccessSettings, Place};
pub use calls::Calls;
pub use failure::Failure;
pub use time::ServerTime;
