//! Connectors: the end of one pipeline and the beginning of another.
