//! The recent minutes of one table.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Direction, MINUTE, Seen};
use crate::aws::cloudwatch::derived::operations::Operation;
use crate::aws::cloudwatch::derived::throttle::{Cause, Minute, Verdict, WINDOW};

/// Minutes that are remembered at most, judged or not: two hours.
const MOST: usize = 120;
/// Operations that DynamoDB has, and some to come.
const MOST_OPERATIONS: usize = 40;
/// Indexes that a table may have, twice.
const MOST_PLACES: usize = 84;

/// The table itself or an index, in one direction.
pub type Place = (Option<String>, Direction);

/// One direction of the table or an index in one minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    pub minute: Minute,
}

/// One minute of the table.
#[derive(Clone, Debug, Default)]
pub struct TableMinute {
    pub parts: BTreeMap<Place, Part>,
    pub operations: BTreeMap<String, Operation>,
}

/// What was said of throttling last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    pub verdict: Verdict,
    /// The index holds back its table.
    pub presses: bool,
}

impl Told {
    /// Whether both have the same attributes.
    pub fn is_like(&self, other: &Told) -> bool {
        let of = |told: &Told| {
            let verdict = told.verdict;
            (verdict.cause, verdict.pattern, verdict.inferred, told.presses)
        };
        of(self) == of(other)
    }
}

/// The recent past of one table.
#[derive(Default)]
pub struct Minutes {
    minutes: BTreeMap<i64, TableMinute>,
    places: BTreeSet<Place>,
    operations: BTreeSet<String>,
    pub told: HashMap<Place, Told>,
    /// The last minute that was judged.
    pub throttling_until: Option<i64>,
    pub operations_until: Option<i64>,
}

impl Minutes {
    pub fn see(&mut self, seen: &Seen<'_>) {
        match seen.operation {
            Some(operation) => self.see_operation(operation, seen),
            None => self.see_part(seen),
        }
        while self.minutes.len() > MOST {
            self.minutes.pop_first();
        }
    }

    fn see_part(&mut self, seen: &Seen<'_>) {
        let Some((direction, what)) = split(seen.metric) else {
            return;
        };
        let place = (seen.index.map(str::to_owned), direction);
        if !self.places.contains(&place) {
            if self.places.len() >= MOST_PLACES {
                return;
            }
            self.places.insert(place.clone());
        }
        let part = self.minutes.entry(seen.at).or_default().parts.entry(place).or_default();
        match what {
            What::Throttles => part.minute.throttles = seen.sum,
            What::Caused(position) => part.minute.causes[position] = seen.sum,
            What::Consumed => part.minute.utilization = seen.utilization,
        }
    }

    fn see_operation(&mut self, name: &str, seen: &Seen<'_>) {
        if !matches!(
            seen.metric,
            "SuccessfulRequestLatency" | "ThrottledRequests" | "SystemErrors"
        ) {
            return;
        }
        if !self.operations.contains(name) {
            if self.operations.len() >= MOST_OPERATIONS {
                return;
            }
            self.operations.insert(name.to_owned());
        }
        let minute = self.minutes.entry(seen.at).or_default();
        let operation = minute.operations.entry(name.to_owned()).or_default();
        match seen.metric {
            "SuccessfulRequestLatency" => {
                operation.successes = seen.count;
                operation.latency_sum = seen.sum;
                operation.latency_p99 = seen.p99;
            }
            "ThrottledRequests" => operation.throttled = seen.sum,
            _ => operation.system_errors = seen.sum,
        }
    }

    pub fn at(&self, at: i64) -> Option<&TableMinute> {
        self.minutes.get(&at)
    }

    /// Zeros where nothing was seen.
    pub fn part(&self, at: i64, place: &Place) -> Minute {
        let found = self.minutes.get(&at).and_then(|minute| minute.parts.get(place));
        found.map(|part| part.minute).unwrap_or_default()
    }

    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter()
    }

    pub fn operations(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().map(String::as_str)
    }

    /// Minutes after the last judged one up to `until`; none before the first that was seen.
    pub fn to_judge(&self, until: i64, oldest: i64) -> Vec<i64> {
        self.after(self.throttling_until, until, oldest)
    }

    pub fn to_add_up(&self, until: i64, oldest: i64) -> Vec<i64> {
        self.after(self.operations_until, until, oldest)
    }

    fn after(&self, last: Option<i64>, until: i64, oldest: i64) -> Vec<i64> {
        let first_seen = self.minutes.keys().next().copied();
        let Some(mut at) = last.map(|last| last + MINUTE).or(first_seen) else {
            return Vec::new();
        };
        at = at.max(oldest + (-oldest).rem_euclid(MINUTE));
        let mut minutes = Vec::new();
        while at <= until {
            minutes.push(at);
            at += MINUTE;
        }
        minutes
    }

    /// Forgets what no judgement will look at.
    pub fn tidy(&mut self) {
        let (Some(throttling), Some(operations)) = (self.throttling_until, self.operations_until) else {
            return;
        };
        let needed = operations.min(throttling - WINDOW as i64 * MINUTE);
        self.minutes = self.minutes.split_off(&needed);
    }
}

enum What {
    Throttles,
    /// Position in [`Cause::TOLD`].
    Caused(usize),
    Consumed,
}

/// `WriteKeyRangeThroughputThrottleEvents`: write, caused by the key range.
fn split(metric: &str) -> Option<(Direction, What)> {
    for direction in Direction::BOTH {
        if let Some(rest) = metric.strip_prefix(direction.name()) {
            let middle = rest.strip_suffix("ThrottleEvents")?;
            if middle.is_empty() {
                return Some((direction, What::Throttles));
            }
            let position = Cause::TOLD.iter().position(|cause| cause.metric() == middle)?;
            return Some((direction, What::Caused(position)));
        }
        let consumed = metric.strip_prefix("Consumed");
        if consumed.and_then(|rest| rest.strip_suffix("CapacityUnits")) == Some(direction.name()) {
            return Some((direction, What::Consumed));
        }
    }
    None
}
