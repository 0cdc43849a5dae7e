//! Which requests a queue has taken lately, by their ids: a sender that got no answer brings them again.
//!
//! Ids of the last ten minutes, a million at most, less where the memory budget is small. Only those that came with a
//! request: what has no id is never asked for again under one.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::component::UnixNanos;
use crate::pdata::BatchId;

/// How long a request may be brought again and is known.
pub const KEPT: Duration = Duration::from_secs(600);
/// Ids, however much memory there is.
const MOST: usize = 1_000_000;
/// What an id takes in memory, set and list together.
const BYTES_EACH: u64 = 64;
/// The part of the memory budget that ids may take.
const PART_OF_MEMORY: u64 = 16;

/// See the module text.
#[derive(Debug)]
pub struct Repeats {
    known: HashSet<BatchId, foldhash::fast::RandomState>,
    /// Oldest first.
    in_order: VecDeque<(BatchId, UnixNanos)>,
    /// Being written: nobody knows yet whether they will be taken.
    on_the_way: HashSet<BatchId, foldhash::fast::RandomState>,
    most: usize,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is on the way now, until [`Repeats::taken`] or [`Repeats::refused`].
    Nothing,
    Taken,
    OnTheWay,
}

impl Repeats {
    /// Within a memory budget of `limit` bytes.
    pub fn within(limit: u64) -> Self {
        let most = usize::try_from(limit / PART_OF_MEMORY / BYTES_EACH).unwrap_or(usize::MAX);
        Self {
            known: HashSet::default(),
            in_order: VecDeque::new(),
            on_the_way: HashSet::default(),
            most: most.clamp(1, MOST),
        }
    }

    /// A request with this id wants to be taken.
    pub fn begin(&mut self, id: BatchId) -> Known {
        if self.known.contains(&id) {
            Known::Taken
        } else if self.on_the_way.insert(id) {
            Known::Nothing
        } else {
            Known::OnTheWay
        }
    }

    /// The request is in the log since `at`.
    pub fn taken(&mut self, id: BatchId, at: UnixNanos) {
        self.on_the_way.remove(&id);
        if self.known.insert(id) {
            self.in_order.push_back((id, at));
        }
        self.forget(at);
    }

    /// It was not taken, and may come again.
    pub fn refused(&mut self, id: BatchId) {
        self.on_the_way.remove(&id);
    }

    /// What is known and still counts at `now`, oldest first.
    pub fn list(&mut self, now: UnixNanos) -> Vec<(BatchId, UnixNanos)> {
        self.forget(now);
        self.in_order.iter().copied().collect()
    }

    fn forget(&mut self, now: UnixNanos) {
        let oldest = now.0.saturating_sub(KEPT.as_nanos() as u64);
        while let Some((id, at)) = self.in_order.front()
            && (at.0 < oldest || self.in_order.len() > self.most)
        {
            self.known.remove(id);
            self.in_order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_request_is_known_for_ten_minutes_and_not_before_it_was_taken() {
        let mut repeats = Repeats::within(1 << 30);
        let id = BatchId(1);
        assert_eq!(repeats.begin(id), Known::Nothing);
        assert_eq!(repeats.begin(id), Known::OnTheWay);
        repeats.refused(id);
        assert_eq!(repeats.begin(id), Known::Nothing, "it may come again");
        repeats.taken(id, UnixNanos(SECOND));
        assert_eq!(repeats.begin(id), Known::Taken);
        repeats.taken(BatchId(2), UnixNanos(601 * SECOND));
        assert_eq!(repeats.begin(id), Known::Taken, "ten minutes, not less");
        repeats.taken(BatchId(3), UnixNanos(602 * SECOND));
        assert_eq!(repeats.begin(id), Known::Nothing);
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many() {
        let mut repeats = Repeats::within(PART_OF_MEMORY * BYTES_EACH * 3);
        for id in 0..5 {
            repeats.taken(BatchId(id), UnixNanos(SECOND));
        }
        let left = repeats.list(UnixNanos(SECOND));
        assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(repeats.known.len(), 3);
    }
}
