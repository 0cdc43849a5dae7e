//! Exporters: where telemetry leaves.

pub mod delivery_config;
pub mod nop;
