//! Processors: what is done to telemetry inside a pipeline.
