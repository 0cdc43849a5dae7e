//! The segments of one signal, oldest first. New rows go to the last; eviction takes the first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::segment::Segment;
use crate::pdata::Signal;

/// Segments of one signal.
pub(super) struct Ring(Mutex<RingState>);

/// What the lock guards. It is held while a request is taken or a segment is put in or out, never while one is read.
pub(super) struct RingState {
    pub signal: Signal,
    /// All but the one that is written. Some at the end may not be complete yet.
    closed: Arc<Vec<Arc<Segment>>>,
    /// Cloned by the next write if a reader holds it: readers hold up nobody.
    active: Arc<Segment>,
    closed_bytes: usize,
    /// Of those not complete: how many.
    incomplete: usize,
    /// Rows there are.
    rows: usize,
    /// The file that is written now.
    pub file: u64,
}

impl Ring {
    pub fn new(signal: Signal) -> Self {
        Self(Mutex::new(RingState {
            signal,
            closed: Arc::default(),
            active: Arc::new(Segment::new(signal, 1)),
            closed_bytes: 0,
            incomplete: 0,
            rows: 0,
            file: 0,
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, RingState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All segments with rows, oldest first.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        let state = self.lock();
        let mut all = Vec::with_capacity(state.closed.len() + 1);
        all.extend(state.closed.iter().cloned());
        if !state.active.is_empty() {
            all.push(Arc::clone(&state.active));
        }
        all
    }

    /// Completes the oldest segment that is closed and not complete. Tells whether there was one.
    pub fn complete_one(&self) -> bool {
        let found = {
            let state = self.lock();
            state.closed.iter().find(|segment| !segment.complete).cloned()
        };
        let Some(segment) = found else { return false };
        let complete = Arc::new(Segment::clone(&segment).complete());
        self.lock().replace(&segment, complete);
        true
    }
}

impl RingState {
    /// The segment for the next row.
    pub fn writable(&mut self) -> &mut Segment {
        if self.active.is_full() {
            self.roll();
        }
        self.current()
    }

    /// The segment of the row before.
    pub fn current(&mut self) -> &mut Segment {
        let file = self.file;
        let segment = Arc::make_mut(&mut self.active);
        // Requests may come here in another order than they were written down.
        if segment.is_empty() || file < segment.file {
            segment.file = file;
        }
        segment
    }

    /// Closes the segment that is written.
    pub fn roll(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let next = Arc::new(Segment::new(self.signal, self.active.seq + 1));
        let full = std::mem::replace(&mut self.active, next);
        self.closed_bytes += full.bytes();
        self.incomplete += 1;
        Arc::make_mut(&mut self.closed).push(full);
    }

    fn replace(&mut self, before: &Arc<Segment>, after: Arc<Segment>) {
        // It may have been evicted meanwhile.
        let Some(at) = self.closed.iter().position(|segment| Arc::ptr_eq(segment, before)) else {
            return;
        };
        self.closed_bytes = self.closed_bytes + after.bytes() - before.bytes();
        self.incomplete = self.incomplete.saturating_sub(1);
        Arc::make_mut(&mut self.closed)[at] = after;
    }

    /// Takes the oldest segment out; the one that is written only if there is no other.
    pub fn evict(&mut self) -> Option<Arc<Segment>> {
        if self.closed.is_empty() {
            self.roll();
        }
        if self.closed.is_empty() {
            return None;
        }
        let oldest = Arc::make_mut(&mut self.closed).remove(0);
        self.closed_bytes -= oldest.bytes();
        self.incomplete -= usize::from(!oldest.complete);
        self.rows -= oldest.len() - oldest.again;
        Some(oldest)
    }

    /// Position of the next row: the segment that is written and its length.
    pub fn position(&self) -> (u32, usize) {
        (self.active.seq, self.active.len())
    }

    /// Rows that came since a position, by segment.
    pub fn since(&self, position: (u32, usize)) -> Vec<(u32, std::ops::Range<usize>)> {
        let mut ranges = Vec::new();
        for segment in self.closed.iter().rev().take_while(|segment| segment.seq >= position.0) {
            ranges.push((segment.seq, 0..segment.len()));
        }
        ranges.reverse();
        ranges.push((self.active.seq, 0..self.active.len()));
        for (seq, rows) in &mut ranges {
            if *seq == position.0 {
                rows.start = position.1;
            }
        }
        ranges.retain(|(_, rows)| !rows.is_empty());
        ranges
    }

    /// Counts rows that were pushed.
    pub fn add_rows(&mut self, count: usize) {
        self.rows += count;
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn incomplete(&self) -> usize {
        self.incomplete
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.closed_bytes + self.active.bytes() + self.closed.capacity() * size_of::<Arc<Segment>>()
    }

    /// When the oldest row that could be evicted arrived.
    pub fn oldest_arrival(&self) -> Option<u64> {
        let oldest = self.closed.first().unwrap_or(&self.active);
        oldest.arrivals.first().copied()
    }

    /// The oldest file that holds something that is stored.
    pub fn oldest_file(&self) -> Option<u64> {
        let oldest = self.closed.first().unwrap_or(&self.active);
        (!oldest.is_empty()).then_some(oldest.file)
    }

    /// Time of the oldest and the newest row.
    pub fn span(&self) -> Option<(u64, u64)> {
        let all = self
            .closed
            .iter()
            .chain([&self.active])
            .filter(|segment| !segment.is_empty());
        all.map(|segment| (segment.first_time, segment.last_time))
            .reduce(|sum, one| (sum.0.min(one.0), sum.1.max(one.1)))
    }
}
