//! The recent minutes of one table.

use std::collections::{BTreeMap, HashMap};

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

/// One direction of the table or an index in one minute: small, since thousands of tables keep a quarter of an hour.
#[derive(Clone, Debug, Default)]
struct Part {
    throttles: f64,
    /// Where some are known.
    causes: Option<Box<[f64; 4]>>,
    /// Percent, where it is known.
    utilization: Option<f32>,
}

impl Part {
    fn minute(&self) -> Minute {
        Minute {
            throttles: self.throttles,
            causes: self.causes.as_deref().copied().unwrap_or_default(),
            utilization: self.utilization.map(f64::from),
        }
    }
}

/// One minute of the table. Places and operations are numbers of [`Minutes`].
#[derive(Clone, Debug, Default)]
struct TableMinute {
    parts: Vec<(u8, Part)>,
    /// Empty once it has been added up.
    operations: Vec<(u8, Operation)>,
}

/// The entry with this number; a new one where there is none.
fn entry<T: Default>(of: &mut Vec<(u8, T)>, number: u8) -> &mut T {
    let position = match of.iter().position(|(other, _)| *other == number) {
        Some(position) => position,
        None => {
            of.reserve_exact(1);
            of.push((number, T::default()));
            of.len() - 1
        }
    };
    &mut of[position].1
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
    places: Vec<Place>,
    operations: Vec<String>,
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

    fn place(&self, index: Option<&str>, direction: Direction) -> Option<u8> {
        let is_it = |place: &Place| place.0.as_deref() == index && place.1 == direction;
        self.places.iter().position(is_it).map(|number| number as u8)
    }

    fn see_part(&mut self, seen: &Seen<'_>) {
        let Some((direction, what)) = split(seen.metric) else {
            return;
        };
        let place = match self.place(seen.index, direction) {
            Some(place) => place,
            None if self.places.len() >= MOST_PLACES => return,
            None => {
                self.places.push((seen.index.map(str::to_owned), direction));
                (self.places.len() - 1) as u8
            }
        };
        let part = entry(&mut self.minutes.entry(seen.at).or_default().parts, place);
        match what {
            What::Throttles => part.throttles = seen.sum,
            What::Caused(_) if seen.sum == 0.0 && part.causes.is_none() => {}
            What::Caused(position) => part.causes.get_or_insert_default()[position] = seen.sum,
            What::Consumed => part.utilization = seen.utilization.map(|percent| percent as f32),
        }
    }

    fn see_operation(&mut self, name: &str, seen: &Seen<'_>) {
        if !matches!(
            seen.metric,
            "SuccessfulRequestLatency" | "ThrottledRequests" | "SystemErrors"
        ) {
            return;
        }
        let number = match self.operations.iter().position(|known| known == name) {
            Some(number) => number,
            None if self.operations.len() >= MOST_OPERATIONS => return,
            None => {
                self.operations.push(name.to_owned());
                self.operations.len() - 1
            }
        };
        if self.operations_until.is_some_and(|until| seen.at <= until) {
            // Added up already.
            return;
        }
        let operation = entry(&mut self.minutes.entry(seen.at).or_default().operations, number as u8);
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

    /// Every part of a minute that was seen.
    pub fn parts_at(&self, at: i64) -> impl Iterator<Item = (&Place, Minute)> {
        let parts = self.minutes.get(&at).map_or(&[][..], |minute| minute.parts.as_slice());
        parts
            .iter()
            .filter_map(|(number, part)| Some((self.places.get(usize::from(*number))?, part.minute())))
    }

    /// Every operation of a minute that was seen and not added up, by name.
    pub fn operations_at(&self, at: i64) -> Vec<(&str, Operation)> {
        let operations = self
            .minutes
            .get(&at)
            .map_or(&[][..], |minute| minute.operations.as_slice());
        let mut named: Vec<(&str, Operation)> = operations
            .iter()
            .filter_map(|(number, operation)| Some((self.operations.get(usize::from(*number))?.as_str(), *operation)))
            .collect();
        named.sort_by_key(|(name, _)| *name);
        named
    }

    /// A minute has been added up: of its operations nothing is needed any more.
    pub fn added_up(&mut self, at: i64) {
        self.operations_until = Some(at);
        if let Some(minute) = self.minutes.get_mut(&at) {
            minute.operations = Vec::new();
        }
    }

    /// Zeros where nothing was seen.
    pub fn part(&self, at: i64, place: &Place) -> Minute {
        let number = self.place(place.0.as_deref(), place.1);
        let parts = self.minutes.get(&at).map_or(&[][..], |minute| minute.parts.as_slice());
        let found = parts.iter().find(|(other, _)| Some(*other) == number);
        found.map(|(_, part)| part.minute()).unwrap_or_default()
    }

    /// Whether anything was refused between two minutes, both included.
    pub fn is_throttled_between(&self, from: i64, to: i64) -> bool {
        let mut parts = self.minutes.range(from..=to).flat_map(|(_, minute)| &minute.parts);
        parts.any(|(_, part)| part.throttles > 0.0 || part.causes.is_some())
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
