//! Trying rules out: promtool's test files, and what they have no words for: when points arrive, polls that fail,
//! restarts, and the exact list of notifications.

mod file;
mod run;
pub mod series;
#[cfg(test)]
mod tests;

pub use file::{Extended, TestFile, read_tests};
pub use run::{Failure, run};
