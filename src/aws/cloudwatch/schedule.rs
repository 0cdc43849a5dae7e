//! When a series is asked again. The engine knows nothing of it: it asks the schedule after every answer.

use super::want::{Class, Want};

/// What is known of a series when it is decided when to ask again. Times are unix seconds, `None` where nothing was seen
/// in this process' life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The newest minute with a value.
    pub newest: Option<i64>,
    /// The newest minute whose first statistic was not 0.
    pub nonzero: Option<i64>,
    /// The newest minute whose first statistic differed from the one before.
    pub changed: Option<i64>,
}

/// When to ask, and the name of the tier for `cloudwatch_series{tier}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Unix seconds.
    pub at: i64,
    pub tier: &'static str,
}

/// Decides how often series are asked.
pub trait Schedule: Send + Sync {
    /// How often the engine looks for what is due, seconds.
    fn tick(&self) -> i64;

    /// When a series is asked again that was answered in the round that began at `now`.
    fn next(&mut self, want: &Want, facts: Facts, now: i64) -> Next;
}

/// Every series each interval, slower ones each of their periods. Times are multiples, so that restarts keep them.
#[derive(Clone, Copy, Debug)]
pub struct Uniform {
    /// Seconds.
    pub interval: i64,
}

impl Schedule for Uniform {
    fn tick(&self) -> i64 {
        self.interval.max(1)
    }

    fn next(&mut self, want: &Want, _facts: Facts, now: i64) -> Next {
        let interval = self.tick().max(want.shape.period);
        debug_assert!(
            want.shape.class != Class::Native || want.shape.period >= 300,
            "native is slow"
        );
        Next {
            at: now - now.rem_euclid(interval) + interval,
            tier: "uniform",
        }
    }
}
