//! What was pruned: window, counts, reason. Bounded by merging neighbours.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::segment::Segment;
use crate::dev::answers::Ns;
use crate::pdata::Signal;

/// Tombstones that are kept apart.
const MOST: usize = 64;

/// Evictions of one reason this close together are one tombstone, nanoseconds.
const NEIGHBOURS: u64 = 60_000_000_000;

/// Why rows went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    Cap,
    Age,
    Clear,
}

/// Rows that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Tombstone {
    pub from: Ns,
    pub to: Ns,
    pub spans: u64,
    pub metric_points: u64,
    pub log_records: u64,
    pub reason: Reason,
    pub at: Ns,
}

/// All of them, oldest first.
#[derive(Default)]
pub struct Tombstones(Mutex<Vec<Tombstone>>);

impl Tombstones {
    /// Notes that a segment went.
    pub fn add(&self, segment: &Segment, reason: Reason, at: u64) {
        if segment.is_empty() {
            return;
        }
        let rows = (segment.len() - segment.again) as u64;
        let of = |signal: Signal| if segment.signal == signal { rows } else { 0 };
        self.put(Tombstone {
            from: Ns(segment.first_time),
            to: Ns(segment.last_time),
            spans: of(Signal::Traces),
            metric_points: of(Signal::Metrics),
            log_records: of(Signal::Logs),
            reason,
            at: Ns(at),
        });
    }

    /// Puts one at the end.
    pub fn put(&self, new: Tombstone) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.last_mut() {
            Some(last) if last.reason == new.reason && new.at.0.saturating_sub(last.at.0) < NEIGHBOURS => {
                merge(last, &new);
            }
            _ => all.push(new),
        }
        if all.len() > MOST {
            let oldest = all.remove(0);
            merge(&mut all[0], &oldest);
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Tombstone> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those whose window touches this one.
    pub fn touching(&self, from: u64, to: u64) -> Vec<Tombstone> {
        let mut all = self.all();
        all.retain(|stone| stone.from.0 < to && stone.to.0 >= from);
        all
    }
}

fn merge(into: &mut Tombstone, other: &Tombstone) {
    into.from.0 = into.from.0.min(other.from.0);
    into.to.0 = into.to.0.max(other.to.0);
    into.at.0 = into.at.0.max(other.at.0);
    into.spans += other.spans;
    into.metric_points += other.metric_points;
    into.log_records += other.log_records;
}
