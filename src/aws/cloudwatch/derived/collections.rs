//! Sizes of item collections (everything under one partition key): with local indexes one may not exceed 10 GB, and no
//! metric tells how large it is.

use serde::{Deserialize, Serialize};

/// Bytes that a collection may have in a table with local indexes.
pub const LIMIT: f64 = 1e10;

/// What is known of the data, where it is that of an experiment tracker: runs with tags, parameters and metrics, metrics
/// with a history of steps, traces with their spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Model {
    pub runs: f64,
    /// Of one run, like the two that follow.
    pub tags: f64,
    pub params: f64,
    pub metrics: f64,
    /// Of one metric.
    pub steps: f64,
    pub traces: f64,
    /// Of one trace.
    pub cached_span_bytes: f64,
}

/// A run or a trace by itself.
const HEAD: f64 = 2_000.0;
/// A tag, a parameter or a metric.
const ENTRY: f64 = 300.0;
/// One step of a metric's history.
const STEP: f64 = 150.0;

impl Model {
    /// Bytes of the collection.
    pub fn bytes(&self) -> f64 {
        let runs = self.runs * (HEAD + ENTRY * (self.tags + self.params + self.metrics));
        let history = self.runs * self.metrics * self.steps * STEP;
        let traces = self.traces * (HEAD + self.cached_span_bytes);
        runs + history + traces
    }

    /// Whether every number is one that can be counted with.
    pub fn is_sound(&self) -> bool {
        let numbers = [
            self.runs,
            self.tags,
            self.params,
            self.metrics,
            self.steps,
            self.traces,
            self.cached_span_bytes,
        ];
        numbers.iter().all(|number| number.is_finite() && *number >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_runs_with_a_hundred_steps_are_240_megabytes() {
        let mut model = Model {
            runs: 1_000.0,
            tags: 10.0,
            params: 20.0,
            metrics: 15.0,
            steps: 100.0,
            ..Model::default()
        };
        assert_eq!(model.bytes(), 240.5e6);
        model.steps = 0.0;
        assert_eq!(model.bytes(), 15.5e6);
        model.traces = 10.0;
        model.cached_span_bytes = 8_000.0;
        assert_eq!(model.bytes(), 15.6e6);
        model.tags = -1.0;
        assert!(!model.is_sound());
    }
}
