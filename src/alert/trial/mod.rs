//! Trying rules out: promtool's test files, and histories.

pub mod series;
