//! The agent's own logs, metrics and traces.
