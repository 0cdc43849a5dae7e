//! What follows from CloudWatch's points: pure functions, without a poller, a receiver or a clock.
//!
//! Receivers feed them with settled minutes, alert rules with the same points from wherever they come.

pub mod collections;
pub mod growth;
pub mod operations;
pub mod throttle;
