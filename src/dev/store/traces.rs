//! What is known of each trace without looking at its spans: kept up to date as spans, logs and evictions come.
//!
//! Sharded by trace id: a reader that goes over all of them holds one of 64 locks for microseconds at a time.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::segment::{Segment, TraceId};
use crate::pdata::Signal;

const SHARDS: usize = 64;

/// Services named in one summary; more are left out of it.
const MOST_SERVICES: usize = 32;

/// A row of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowAt {
    pub segment: u32,
    pub row: u32,
}

/// A trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Of its earliest span.
    pub start: u64,
    /// Of its last span.
    pub end: u64,
    /// Stored now.
    pub spans: u32,
    pub errors: u32,
    pub logs: u32,
    /// Spans that were evicted.
    pub lost: u32,
    /// The span without a parent; the earliest, if there are several.
    pub root: Option<RowAt>,
    root_start: u64,
    /// Numbers of [`super::Names`].
    pub services: SmallVec<[u16; 4]>,
    /// Segments with its spans, ascending.
    pub segments: SmallVec<[u32; 2]>,
    /// Segments with its logs, ascending.
    pub log_segments: SmallVec<[u32; 2]>,
    pub first_arrival: u64,
    pub last_arrival: u64,
    /// Number of the run in [`super::Names`]; 0: none.
    pub run: u16,
    /// The root is a health check.
    pub health: bool,
}

/// A span as a summary sees it.
#[derive(Clone, Copy, Debug)]
pub struct SpanNote {
    pub trace: TraceId,
    pub span: u64,
    pub at: RowAt,
    pub start: u64,
    pub end: u64,
    pub is_root: bool,
    pub is_error: bool,
    pub is_health: bool,
    pub service: u16,
    pub run: u16,
    pub arrival: u64,
}

#[derive(Default)]
struct Shard {
    traces: HashMap<TraceId, Trace, RandomState>,
    /// Hashes of trace and span id, to know a span that comes again.
    spans: HashSet<u64, RandomState>,
}

impl Shard {
    fn bytes(&self) -> usize {
        self.traces.capacity() * (size_of::<(TraceId, Trace)>() + 1) + self.spans.capacity() * 9
    }
}

/// See the module text.
pub struct Traces {
    shards: Vec<Mutex<Shard>>,
    bytes: AtomicUsize,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl Traces {
    fn shard(&self, id: &TraceId) -> MutexGuard<'_, Shard> {
        // Ids may be counters: all bytes take part.
        let mixed = id.iter().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
        });
        self.lock(mixed % SHARDS)
    }

    fn lock(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account(&self, before: usize, after: usize) {
        if after >= before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Whether this span is stored already.
    pub fn has_span(&self, trace: &TraceId, span: u64) -> bool {
        self.shard(trace).spans.contains(&span_hash(trace, span))
    }

    /// Takes a span into the summary of its trace.
    pub fn note_span(&self, note: &SpanNote) {
        let mut shard = self.shard(&note.trace);
        let before = shard.bytes();
        shard.spans.insert(span_hash(&note.trace, note.span));
        let trace = shard.traces.entry(note.trace).or_default();
        let is_first = trace.spans == 0 && trace.lost == 0;
        trace.start = if is_first {
            note.start
        } else {
            trace.start.min(note.start)
        };
        trace.end = trace.end.max(note.end);
        if trace.first_arrival == 0 {
            trace.first_arrival = note.arrival;
        }
        trace.last_arrival = trace.last_arrival.max(note.arrival);
        trace.spans += 1;
        trace.errors += u32::from(note.is_error);
        if note.is_root && (trace.root.is_none() || note.start < trace.root_start) {
            trace.root = Some(note.at);
            trace.root_start = note.start;
            trace.health = note.is_health;
        }
        if note.run != 0 {
            trace.run = note.run;
        }
        if !trace.services.contains(&note.service) && trace.services.len() < MOST_SERVICES {
            trace.services.push(note.service);
        }
        if trace.segments.last() != Some(&note.at.segment) {
            trace.segments.push(note.at.segment);
        }
        let after = shard.bytes();
        self.account(before, after);
    }

    /// Takes a log record into the summary of its trace.
    pub fn note_log(&self, trace: &TraceId, segment: u32, arrival: u64) {
        let mut shard = self.shard(trace);
        let before = shard.bytes();
        let trace = shard.traces.entry(*trace).or_default();
        trace.logs += 1;
        trace.last_arrival = trace.last_arrival.max(arrival);
        if trace.log_segments.last() != Some(&segment) {
            trace.log_segments.push(segment);
        }
        let after = shard.bytes();
        self.account(before, after);
    }

    /// Takes out what an evicted segment held.
    pub fn forget(&self, segment: &Segment) {
        for row in 0..segment.len() {
            let id = segment.trace(row);
            if id == TraceId::default() {
                continue;
            }
            let mut shard = self.shard(&id);
            let before = shard.bytes();
            if segment.signal == Signal::Traces {
                shard.spans.remove(&span_hash(&id, segment.span(row)));
            }
            let Some(trace) = shard.traces.get_mut(&id) else {
                continue;
            };
            if segment.signal == Signal::Traces {
                trace.spans = trace.spans.saturating_sub(1);
                trace.errors -= u32::from(segment.statuses[row] == 2).min(trace.errors);
                trace.lost += 1;
                trace.segments.retain(|number| *number != segment.seq);
                if trace.root.is_some_and(|root| root.segment == segment.seq) {
                    trace.root = None;
                }
            } else {
                trace.logs = trace.logs.saturating_sub(1);
                trace.log_segments.retain(|number| *number != segment.seq);
            }
            if trace.spans == 0 && trace.logs == 0 {
                shard.traces.remove(&id);
            }
            if shard.traces.capacity() > 4 * shard.traces.len().max(64) {
                shard.traces.shrink_to_fit();
            }
            if shard.spans.capacity() > 4 * shard.spans.len().max(64) {
                shard.spans.shrink_to_fit();
            }
            let after = shard.bytes();
            self.account(before, after);
        }
    }

    /// The summary of a trace.
    pub fn get(&self, id: &TraceId) -> Option<Trace> {
        self.shard(id).traces.get(id).cloned()
    }

    /// Calls for every trace. Nothing is evicted or added in its shard meanwhile: be quick.
    pub fn for_each(&self, mut call: impl FnMut(&TraceId, &Trace)) {
        for number in 0..SHARDS {
            for (id, trace) in &self.lock(number).traces {
                call(id, trace);
            }
        }
    }

    /// Calls for each of these that is known.
    pub fn visit<'i>(&self, ids: impl Iterator<Item = &'i TraceId>, mut call: impl FnMut(&TraceId, &Trace)) {
        for id in ids {
            if let Some(trace) = self.shard(id).traces.get(id) {
                call(id, trace);
            }
        }
    }

    /// Ids that begin with these hexadecimal digits (lower case), at most `most`.
    pub fn with_prefix(&self, prefix: &str, most: usize) -> Vec<TraceId> {
        let mut found = Vec::new();
        self.for_each(|id, trace| {
            if trace.spans > 0 && found.len() < most && hex::encode(id).starts_with(prefix) {
                found.push(*id);
            }
        });
        found.sort_unstable();
        found
    }

    /// How many traces with spans there are.
    pub fn count(&self) -> usize {
        let mut count = 0;
        self.for_each(|_, trace| count += usize::from(trace.spans > 0));
        count
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for number in 0..SHARDS {
            let mut shard = self.lock(number);
            let before = shard.bytes();
            *shard = Shard::default();
            self.account(before, 0);
        }
    }
}

fn span_hash(trace: &TraceId, span: u64) -> u64 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(trace);
    bytes[16..].copy_from_slice(&span.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}
