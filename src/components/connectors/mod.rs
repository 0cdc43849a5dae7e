//! Connectors: the end of one pipeline and the beginning of another.

pub mod forward;
