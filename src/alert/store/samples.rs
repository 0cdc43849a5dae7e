//! The points of one series, in order of time.

use std::sync::Arc;

use super::Pushed;
use super::histogram::Histogram;

/// Prometheus' mark for "the series has ended here".
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// The value of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// All of one kind: a series that changes its kind begins anew.
#[derive(Debug)]
#[allow(clippy::box_collection)] // The box is what makes it small.
pub enum Samples {
    Floats(Vec<(i64, f64)>),
    /// Boxed: they are rare, and a series is small.
    Histograms(Box<Vec<(i64, Arc<Histogram>)>>),
}

impl Default for Samples {
    fn default() -> Self {
        Samples::Floats(Vec::new())
    }
}

/// Room is made for so many at a time: growing by doubling would leave half of it unused.
const STEP: usize = 8;

impl Samples {
    pub(super) fn push(&mut self, time: i64, point: Point) -> Pushed {
        match (self, point) {
            (Samples::Floats(list), Point::Float(value)) => push(list, time, value, |a, b| a.to_bits() == b.to_bits()),
            (Samples::Histograms(list), Point::Histogram(value)) => push(list, time, value, |a, b| a == b),
            // The end of a series of histograms.
            (Samples::Histograms(_), Point::Float(value)) if is_stale(value) => Pushed::Known,
            (kind, point) => {
                *kind = match point {
                    Point::Float(value) => Samples::Floats(vec![(time, value)]),
                    Point::Histogram(value) => Samples::Histograms(Box::new(vec![(time, value)])),
                };
                Pushed::Newest
            }
        }
    }

    pub fn newest(&self) -> Option<i64> {
        match self {
            Samples::Floats(list) => list.last().map(|(time, _)| *time),
            Samples::Histograms(list) => list.last().map(|(time, _)| *time),
        }
    }

    pub(super) fn expire(&mut self, oldest: i64) {
        match self {
            Samples::Floats(list) => expire(list, oldest),
            Samples::Histograms(list) => expire(list, oldest),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Samples::Floats(list) => list.capacity() * 16,
            Samples::Histograms(list) => {
                let content: usize = list.iter().map(|(_, histogram)| histogram.bytes()).sum();
                list.capacity() * 16 + content
            }
        }
    }
}

fn push<T>(list: &mut Vec<(i64, T)>, time: i64, value: T, same: impl Fn(&T, &T) -> bool) -> Pushed {
    if list.len() == list.capacity() {
        list.reserve_exact(STEP);
    }
    match list.last() {
        Some((newest, _)) if *newest >= time => {}
        _ => {
            list.push((time, value));
            return Pushed::Newest;
        }
    }
    let position = list.partition_point(|(have, _)| *have < time);
    match list.get_mut(position) {
        Some((have, old)) if *have == time => {
            if same(old, &value) {
                return Pushed::Known;
            }
            *old = value;
        }
        _ => list.insert(position, (time, value)),
    }
    Pushed::Changed
}

/// Moves the rest down only when that is worth it.
fn expire<T>(list: &mut Vec<(i64, T)>, oldest: i64) {
    let old = list.partition_point(|(time, _)| *time < oldest);
    if old > 0 && (old * 2 >= list.len() || old >= 64) {
        list.drain(..old);
        if list.capacity() > list.len() + 4 * STEP {
            list.shrink_to(list.len() + STEP);
        }
    }
}
