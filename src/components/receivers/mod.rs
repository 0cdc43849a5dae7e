//! Receivers: where telemetry comes in.
