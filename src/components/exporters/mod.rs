//! Exporters: where telemetry leaves.
