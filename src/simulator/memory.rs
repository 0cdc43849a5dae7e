//! What was computed lately, kept so that the next request need not compute it again. Never changes an answer.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Minutes kept of each.
const KEPT: usize = 96;

/// One `T` for each series (or table), each behind its own lock.
pub struct PerSeries<T>(Vec<Mutex<T>>);

impl<T: Default> PerSeries<T> {
    pub fn new(length: usize) -> Self {
        Self((0..length).map(|_| Mutex::default()).collect())
    }

    /// `None` where there is no such position.
    pub fn with<R>(&self, position: usize, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let place = self.0.get(position)?;
        Some(work(&mut place.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The last minutes of something, in a row.
pub struct Ring<T> {
    first: i64,
    minutes: VecDeque<Option<T>>,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            first: 0,
            minutes: VecDeque::new(),
        }
    }
}

impl<T: Clone> Ring<T> {
    /// What is known of a minute.
    pub fn find(&self, minute: i64) -> Option<T> {
        let place = usize::try_from(minute - self.first).ok()?;
        self.minutes.get(place).cloned().flatten()
    }

    /// Remembers a minute, unless it lies before all that is kept.
    pub fn put(&mut self, minute: i64, value: T) {
        if self.minutes.is_empty() || minute - self.first >= 2 * KEPT as i64 {
            self.minutes.clear();
            self.first = minute;
        }
        let Ok(place) = usize::try_from(minute - self.first) else {
            return;
        };
        while self.minutes.len() <= place {
            self.minutes.push_back(None);
        }
        self.minutes[place] = Some(value);
        while self.minutes.len() > KEPT {
            self.minutes.pop_front();
            self.first += 1;
        }
    }

    /// What is known of a minute, else what `compute` says.
    pub fn get(&mut self, minute: i64, compute: impl FnOnce(i64) -> T) -> T {
        if let Some(known) = self.find(minute) {
            return known;
        }
        let value = compute(minute);
        self.put(minute, value.clone());
        value
    }
}

/// How far a series was looked through, and what was found.
#[derive(Default)]
pub struct Listing {
    pub scanned: Option<i64>,
    found: Option<(i64, i64)>,
}

impl Listing {
    /// There is a point at `at`.
    pub fn note(&mut self, at: i64) {
        let (first, last) = self.found.get_or_insert((at, at));
        *first = (*first).min(at);
        *last = (*last).max(at);
    }

    pub fn first_and_last(&self) -> Option<(i64, i64)> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_last_minutes_and_computes_the_others_anew() {
        let mut ring = Ring::default();
        let mut computed = Vec::new();
        for minute in [0, 1, 2, 1, 0, 300, 299, 301, 300, -5, 350, 299] {
            let value = ring.get(minute, |minute| {
                computed.push(minute);
                minute * 10
            });
            assert_eq!(value, minute * 10);
        }
        assert_eq!(computed, [0, 1, 2, 300, 299, 301, -5, 350, 299]);
        for minute in 0..10_000 {
            ring.get(minute, |minute| minute);
            assert!(ring.minutes.len() <= KEPT);
        }
    }
}
