//! Receivers: where telemetry comes in.

pub mod nop;
