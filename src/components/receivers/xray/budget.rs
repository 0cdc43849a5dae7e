//! What reading may cost a day: traces scanned and traces retrieved, counted by UTC day. A budget that would not last is
//! stretched over the rest of the day by taking a share of the traces.

use super::seen::trace_key;

const DAY_S: u64 = 86_400;
/// Below this share nothing useful is left; it is the floor so that the receiver still sees that there is something.
const LEAST: f64 = 0.001;
/// USD per trace scanned or retrieved.
const USD_PER_TRACE: f64 = 0.50 / 1e6;

/// Bounds of a day; zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub scanned: u64,
    pub retrieved: u64,
}

/// What was spent on the present day.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    limits: Limits,
    day: u64,
    scanned: u64,
    retrieved: u64,
    /// Unix seconds of the first counted read of the day.
    since: u64,
}

impl Budget {
    /// With what was spent on `day` before a restart.
    pub fn new(limits: Limits, day: u64, scanned: u64, retrieved: u64) -> Self {
        Self {
            limits,
            day,
            scanned,
            retrieved,
            since: day * DAY_S,
        }
    }

    /// The day, and what was spent on it.
    pub fn spent(&self) -> (u64, u64, u64) {
        (self.day, self.scanned, self.retrieved)
    }

    /// Counts reads at a moment (unix seconds).
    pub fn add(&mut self, now: u64, scanned: u64, retrieved: u64) {
        if self.day != now / DAY_S {
            self.day = now / DAY_S;
            self.scanned = 0;
            self.retrieved = 0;
            self.since = now;
        }
        self.scanned += scanned;
        self.retrieved += retrieved;
    }

    /// The share of the traces that may be scanned: 1 while the budget lasts.
    pub fn scan_share(&self, now: u64) -> f64 {
        self.share(now, self.limits.scanned, self.scanned)
    }

    /// Whether this trace may be fetched: a share of all by their ids, so that whole traces stay whole.
    pub fn may_fetch(&self, now: u64, trace: &str) -> bool {
        let share = self.share(now, self.limits.retrieved, self.retrieved);
        share >= 1.0 || (trace_key(trace) as f64 / u64::MAX as f64) < share
    }

    /// Whether something is left out at a moment.
    pub fn is_short(&self, now: u64) -> bool {
        let retrieved = self.share(now, self.limits.retrieved, self.retrieved);
        self.scan_share(now) < 1.0 || retrieved < 1.0
    }

    fn share(&self, now: u64, limit: u64, spent: u64) -> f64 {
        if limit == 0 || self.day != now / DAY_S || spent == 0 {
            return 1.0;
        }
        let left = limit.saturating_sub(spent) as f64;
        // Half of it is free: early in a day too little is known to slow anybody down.
        if spent * 2 < limit {
            return 1.0;
        }
        let elapsed = now.saturating_sub(self.since).max(60) as f64;
        let rest = (DAY_S - now % DAY_S) as f64;
        let expected = spent as f64 / elapsed * rest;
        if expected <= left {
            1.0
        } else {
            (left / expected).clamp(LEAST, 1.0)
        }
    }
}

/// What so many reads cost beyond the free ones, USD.
pub fn cost(reads: u64) -> f64 {
    reads as f64 * USD_PER_TRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_lasts_through_the_day_and_begins_anew_at_midnight() {
        let limits = Limits {
            scanned: 10_000,
            retrieved: 0,
        };
        let mut budget = Budget::new(limits, 0, 0, 0);
        let mut scanned = 0;
        for minute in 0..1440 {
            let share = budget.scan_share(minute * 60);
            let taken = (50.0 * share).round() as u64;
            scanned += taken;
            budget.add(minute * 60, taken, 0);
        }
        assert!((9_000..=10_600).contains(&scanned), "{scanned}");
        assert!(budget.is_short(1439 * 60));
        assert_eq!(budget.scan_share(DAY_S + 60), 1.0);
        let unlimited = Budget::new(Limits::default(), 0, 1 << 40, 1 << 40);
        assert!(!unlimited.is_short(5) && unlimited.may_fetch(5, "1-a"));
    }
}
