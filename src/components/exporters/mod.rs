//! Exporters: where telemetry leaves.

pub mod delivery_config;

mod answer;
pub mod debug;
pub mod file;
pub mod nop;
pub mod otlp;
pub mod otlphttp;
pub mod terminal;
