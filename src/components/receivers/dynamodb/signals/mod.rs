//! Signals of a whole table, out of the settled points of many series: throttling with its cause and pattern, errors and
//! latency over all operations. What is computed stands in `aws::cloudwatch::derived`; this remembers the minutes.
//!
//! A minute is judged once, when the series that it needs are settled there. Settled points may be shown several times.

mod minutes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use minutes::{Minutes, Place, Told};

use crate::aws::cloudwatch::derived::operations::{error_ratios, table};
use crate::aws::cloudwatch::derived::throttle::{Verdict, WINDOW, is_backpressure, judge};

/// Seconds.
const MINUTE: i64 = 60;
/// Minutes that are judged in one round, should there be a gap; older ones are left out.
const MOST_MINUTES: i64 = 60;

/// A direction of throughput, as in names of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    Read,
    Write,
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::Read, Direction::Write];

    pub fn name(self) -> &'static str {
        match self {
            Direction::Read => "Read",
            Direction::Write => "Write",
        }
    }
}

/// A settled point of a series that belongs to a table.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub table: &'a str,
    pub metric: &'a str,
    pub index: Option<&'a str>,
    pub operation: Option<&'a str>,
    /// Start of the minute, unix seconds.
    pub at: i64,
    pub sum: f64,
    pub count: f64,
    pub p99: Option<f64>,
    /// Percent of what is provisioned or allowed, for consumed units.
    pub utilization: Option<f64>,
}

/// A number that came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub name: &'static str,
    pub unit: &'static str,
    pub attributes: Vec<(&'static str, String)>,
    /// Start of what it is about, unix seconds.
    pub start: i64,
    pub time: i64,
    pub value: f64,
}

/// How far a table is known.
pub struct Progress<'a> {
    /// The newest minute that is settled for its throttle events and consumption.
    pub watermark: i64,
    /// Values that are not there by then will not come, seconds.
    pub max_late: i64,
    pub now: i64,
    /// Whether the series of a metric and operation is settled up to a minute, or is not asked for at all.
    pub is_decided: &'a dyn Fn(&str, &str, i64) -> bool,
    /// The same for throttle events by cause, of a metric and index.
    pub is_cause_decided: &'a dyn Fn(&str, Option<&str>, i64) -> bool,
}

/// What is remembered of all tables of one account and region.
#[derive(Default)]
pub struct Signals {
    tables: Mutex<HashMap<String, Minutes>>,
}

impl Signals {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Minutes>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a point. Seen again it changes nothing.
    pub fn see(&self, seen: &Seen<'_>) {
        let mut tables = self.lock();
        match tables.get_mut(seen.table) {
            Some(minutes) => minutes.see(seen),
            None => tables.entry(seen.table.to_owned()).or_default().see(seen),
        }
    }

    /// Forgets tables that are gone.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().retain(|table, _| is_there(table));
    }

    /// Judges every minute of the table that can be judged now.
    pub fn judge(&self, name: &str, progress: &Progress<'_>) -> Vec<Point> {
        let mut points = Vec::new();
        let mut tables = self.lock();
        let Some(minutes) = tables.get_mut(name) else {
            return points;
        };
        let oldest = progress.watermark - MOST_MINUTES * MINUTE;
        for at in minutes.to_judge(progress.watermark, oldest) {
            if !causes_are_known(minutes, at, progress) {
                break;
            }
            throttling(name, minutes, at, &mut points);
            minutes.throttling_until = Some(at);
        }
        for at in minutes.to_add_up(progress.watermark, oldest) {
            if !operations_are_known(minutes, at, progress) {
                break;
            }
            operations(name, minutes, at, &mut points);
            minutes.added_up(at);
        }
        minutes.tidy();
        points
    }
}

/// A throttled minute waits for its causes, but not longer than values are late.
fn causes_are_known(minutes: &Minutes, at: i64, progress: &Progress<'_>) -> bool {
    if progress.now - (at + MINUTE) >= progress.max_late + MINUTE {
        return true;
    }
    minutes.parts_at(at).all(|((index, direction), minute)| {
        minute.throttles == 0.0
            || minute.causes.iter().any(|events| *events > 0.0)
            || (progress.is_cause_decided)(direction.name(), index.as_deref(), at)
    })
}

fn operations_are_known(minutes: &Minutes, at: i64, progress: &Progress<'_>) -> bool {
    if progress.now - (at + MINUTE) >= progress.max_late + 5 * MINUTE {
        return true;
    }
    let metrics = ["SuccessfulRequestLatency", "ThrottledRequests", "SystemErrors"];
    minutes.operations().all(|operation| {
        metrics
            .iter()
            .all(|metric| (progress.is_decided)(metric, operation, at))
    })
}

fn throttling(name: &str, minutes: &mut Minutes, at: i64, points: &mut Vec<Point>) {
    let first = at - (WINDOW as i64 - 1) * MINUTE;
    if minutes.told.is_empty() && !minutes.is_throttled_between(first, at) {
        // Nothing to say, as nearly always.
        return;
    }
    let places: Vec<Place> = minutes.places().cloned().collect();
    let table_now = minutes.part(at, &(None, Direction::Write));
    for place in places {
        let window: Vec<_> = (0..WINDOW as i64)
            .rev()
            .map(|back| minutes.part(at - back * MINUTE, &place))
            .collect();
        let presses = place.0.is_some()
            && place.1 == Direction::Write
            && (0..WINDOW as i64).any(|back| {
                let then = at - back * MINUTE;
                let table = if back == 0 {
                    table_now
                } else {
                    minutes.part(then, &(None, Direction::Write))
                };
                is_backpressure(&minutes.part(then, &place), &table)
            });
        let told = judge(&window).map(|verdict| Told { verdict, presses });
        let before = minutes.told.get(&place).copied();
        // A level of other attributes has ended: it would stand for ever.
        if let Some(before) = before.filter(|before| told.is_none_or(|told| !told.is_like(before))) {
            points.push(throttle_point(name, &place, at, before, 0));
        }
        match told {
            Some(told) => {
                points.push(throttle_point(name, &place, at, told, told.verdict.minutes));
                minutes.told.insert(place, told);
            }
            None => {
                minutes.told.remove(&place);
            }
        }
    }
}

fn throttle_point(name: &str, place: &Place, at: i64, told: Told, minutes: u32) -> Point {
    let Verdict {
        cause,
        pattern,
        inferred,
        ..
    } = told.verdict;
    let mut attributes = of_table(name);
    attributes.extend(place.0.clone().map(|index| ("GlobalSecondaryIndexName", index)));
    attributes.push(("Direction", place.1.name().to_owned()));
    attributes.push(("Cause", cause.name().to_owned()));
    attributes.push(("Pattern", pattern.name().to_owned()));
    attributes.push(("Inferred", inferred.to_string()));
    if told.presses {
        attributes.push(("gsi_backpressure", "true".to_owned()));
    }
    Point {
        name: "aws.dynamodb.throttle.minutes",
        unit: "min",
        attributes,
        start: at - (WINDOW as i64 - 1) * MINUTE,
        time: at + MINUTE,
        value: f64::from(minutes),
    }
}

fn of_table(name: &str) -> Vec<(&'static str, String)> {
    vec![("TableName", name.to_owned())]
}

fn operations(name: &str, minutes: &Minutes, at: i64, points: &mut Vec<Point>) {
    let of_minute = minutes.operations_at(at);
    let mut add = |metric: &'static str, unit: &'static str, more: &[(&'static str, &str)], value: f64| {
        let mut attributes = of_table(name);
        attributes.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        points.push(Point {
            name: metric,
            unit,
            attributes,
            start: at,
            time: at + MINUTE,
            value,
        });
    };
    let whole = table(of_minute.iter().map(|(_, operation)| operation));
    add("aws.dynamodb.requests.throttled", "{Count}", &[], whole.throttled);
    add("aws.dynamodb.system_errors", "{Count}", &[], whole.system_errors);
    if let Some(mean) = whole.latency_mean {
        add("aws.dynamodb.latency.mean", "ms", &[], mean);
    }
    if let Some(p99) = whole.latency_p99_max {
        add("aws.dynamodb.latency.p99_max", "ms", &[], p99);
    }
    for (operation, of) in &of_minute {
        if let Some((throttled, system)) = error_ratios(of) {
            for (kind, ratio) in [("throttle", throttled), ("system", system)] {
                let attributes = [("Operation", *operation), ("Type", kind)];
                add("aws.dynamodb.error_ratio", "1", &attributes, ratio);
            }
        }
    }
}
