//! Extensions: what serves the agent rather than a pipeline.
