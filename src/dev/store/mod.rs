//! The embedded store of dev mode: all signals in memory under an exact byte cap, oldest out first.
//!
//! A ring of [`Segment`]s for each signal. Intake appends to the last segment of its ring; readers take a
//! [`Snapshot`] and hold up nobody (a segment that a reader holds is copied by the next write). [`Store::maintain`]
//! completes full segments and evicts; the exporter `devstore` calls it from a task of its own, intake only where that
//! falls behind. Knows nothing of queries, HTTP or who feeds it.

mod disk;
mod export;
mod intake;
mod keep;
mod names;
mod points;
mod raw;
mod ring;
mod segment;
mod size;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod tombstones;
mod traces;
mod values;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub use disk::{DiskError, Loaded};
pub use export::request_of;
pub use intake::{RUN_KEY, Taken, span_id};
pub use names::Names;
pub use points::{SeriesInfo, SeriesTable};
pub use raw::{Raw, RawReader};
pub use segment::{AGAIN, EventEntry, GAP, LinkEntry, MetricEntry, ResourceEntry, ScopeEntry, Segment, TraceId};
pub use texts::{Pair, Pairs, Place, Sym, Texts, ValueKind};
pub use tombstones::{Reason, Tombstone, Tombstones};
pub use traces::{RowAt, Trace, Traces};
pub use values::{json_of, text_of};

use self::disk::Disk;
use self::intake::Intake;
use self::ring::Ring;
use super::live::{Change, Live};
use crate::component::{Clock, LimitedLog, SystemClock};
use crate::pdata::{Batch, Signal};

/// Bytes that a store may hold where nothing is said.
pub const DEFAULT_CAP: u64 = 512 << 20;

/// Full segments that may wait for being completed before intake does it itself.
const MOST_INCOMPLETE: usize = 3;

/// Counts of one signal.
#[derive(Default)]
pub struct Books {
    received: AtomicU64,
    stored: AtomicU64,
    rejected: AtomicU64,
    dropped: AtomicU64,
    evicted: AtomicU64,
}

/// The same at one moment. `received = stored + rejected + dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BooksNow {
    pub received: u64,
    pub stored: u64,
    pub rejected: u64,
    pub dropped: u64,
    pub evicted: u64,
}

/// What segments of all signals refer to.
#[derive(Default)]
pub(crate) struct Shared {
    pub traces: Traces,
    pub names: Names,
    pub series: SeriesTable,
}

/// What others know of traces and spans: lints and alerts.
pub trait Findings: Send + Sync {
    /// Ids of the rules that found something in this trace, or in this span of it.
    fn rules(&self, trace: &TraceId, span: Option<u64>) -> Vec<String>;
    /// The findings themselves, as the API shows them.
    fn details(&self, trace: &TraceId, span: Option<u64>) -> Vec<serde_json::Value>;
}

/// See the module text.
pub struct Store {
    rings: [Ring; 3],
    shared: Shared,
    books: [Books; 3],
    tombstones: Tombstones,
    live: Live,
    cap: AtomicU64,
    /// How many exporters feed it.
    feeders: AtomicUsize,
    clock: Mutex<Arc<dyn Clock>>,
    started: AtomicU64,
    findings: Mutex<Option<Arc<dyn Findings>>>,
    /// What whoever runs dev mode adds to its status.
    about: Mutex<serde_json::Map<String, serde_json::Value>>,
    work: Notify,
    /// With a data directory.
    disk: Mutex<Option<Disk>>,
    disk_log: LimitedLog,
    /// Answers about one trace that are asked for again: the version of the trace, and what was made of it.
    memo: Mutex<Vec<Memo>>,
}

type Memo = (TraceId, (u32, u64), Arc<dyn std::any::Any + Send + Sync>);

impl Default for Store {
    fn default() -> Self {
        Self {
            rings: Signal::ALL.map(Ring::new),
            shared: Shared::default(),
            books: Default::default(),
            tombstones: Tombstones::default(),
            live: Live::default(),
            cap: AtomicU64::new(DEFAULT_CAP),
            feeders: AtomicUsize::new(0),
            clock: Mutex::new(Arc::new(SystemClock)),
            started: AtomicU64::new(SystemClock.now().0),
            findings: Mutex::new(None),
            about: Mutex::default(),
            work: Notify::new(),
            disk: Mutex::default(),
            disk_log: LimitedLog::default(),
            memo: Mutex::default(),
        }
    }
}

/// The segments of a moment, oldest first.
pub struct Snapshot {
    segments: [Vec<Arc<Segment>>; 3],
}

impl Snapshot {
    /// Of one signal.
    pub fn of(&self, signal: Signal) -> &[Arc<Segment>] {
        &self.segments[index(signal)]
    }

    /// One segment.
    pub fn get(&self, signal: Signal, seq: u32) -> Option<&Arc<Segment>> {
        let all = self.of(signal);
        let at = all.binary_search_by_key(&seq, |segment| segment.seq).ok()?;
        all.get(at)
    }
}

fn index(signal: Signal) -> usize {
    match signal {
        Signal::Traces => 0,
        Signal::Metrics => 1,
        Signal::Logs => 2,
    }
}

impl Store {
    /// Sets the byte cap; the next maintenance holds to it.
    pub fn set_cap(&self, bytes: u64) {
        self.cap.store(bytes, Ordering::Relaxed);
        self.work.notify_one();
    }

    /// The byte cap.
    pub fn cap(&self) -> u64 {
        self.cap.load(Ordering::Relaxed)
    }

    /// Takes its time from another clock.
    pub fn set_clock(&self, clock: Arc<dyn Clock>) {
        self.started.store(clock.now().0, Ordering::Relaxed);
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }

    /// Nanoseconds since the epoch.
    pub fn now(&self) -> u64 {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).now().0
    }

    /// When the store began, nanoseconds since the epoch.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Whether something feeds it: else there is no dev mode.
    pub fn is_fed(&self) -> bool {
        self.feeders.load(Ordering::Relaxed) > 0
    }

    /// Counts a feeder in or out.
    pub fn feed(&self, begins: bool) {
        if begins {
            self.feeders.fetch_add(1, Ordering::Relaxed);
        } else {
            self.feeders.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Who knows of lints and alerts.
    pub fn set_findings(&self, findings: Arc<dyn Findings>) {
        *self.findings.lock().unwrap_or_else(PoisonError::into_inner) = Some(findings);
    }

    /// Who knows of lints and alerts, if anybody.
    pub fn findings(&self) -> Option<Arc<dyn Findings>> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds to the status: where telemetry is taken (`otlp`), where the page is (`ui`).
    pub fn set_about(&self, fields: serde_json::Map<String, serde_json::Value>) {
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = fields;
    }

    /// What was added to the status.
    pub fn about(&self) -> serde_json::Map<String, serde_json::Value> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a batch. Never refuses: what is too old goes instead.
    pub fn take(&self, batch: Batch) -> Taken {
        let now = self.now();
        self.take_at(batch, now)
    }

    /// The same for what arrived at another time.
    pub fn take_at(&self, batch: Batch, arrival: u64) -> Taken {
        let (batch, file) = self.write_down(batch, arrival);
        self.admit(batch, arrival, file)
    }

    fn admit(&self, batch: Batch, arrival: u64, file: u64) -> Taken {
        let (signal, items) = (batch.signal(), batch.items() as u64);
        let parts = batch.into_parts();
        let ring = &self.rings[index(signal)];
        let mut state = ring.lock();
        state.file = file;
        let before = state.position();
        let mut intake = Intake::new(&self.shared, &mut state, arrival);
        for part in &parts {
            intake.part(part);
        }
        let mut taken = intake.taken;
        let ranges = state.since(before);
        state.add_rows(taken.stored as usize);
        let incomplete = state.incomplete();
        drop(state);
        // Items of groups that cannot be read were not reached.
        taken.rejected += items.saturating_sub(taken.stored + taken.rejected + taken.dropped);
        self.book(signal, &taken);
        for (segment, rows) in ranges {
            self.live.tell(Change {
                signal,
                segment,
                rows,
                arrival,
            });
        }
        self.keep_up(ring, incomplete);
        taken
    }

    fn book(&self, signal: Signal, taken: &Taken) {
        let books = &self.books[index(signal)];
        let received = taken.stored + taken.rejected + taken.dropped;
        books.received.fetch_add(received, Ordering::Relaxed);
        books.stored.fetch_add(taken.stored, Ordering::Relaxed);
        books.rejected.fetch_add(taken.rejected, Ordering::Relaxed);
        books.dropped.fetch_add(taken.dropped, Ordering::Relaxed);
    }

    /// Wakes maintenance where there is work, and does it here where it has fallen behind.
    fn keep_up(&self, ring: &Ring, incomplete: usize) {
        if incomplete > MOST_INCOMPLETE {
            ring.complete_one();
        }
        let (used, cap) = (self.used(), self.cap());
        if used > cap + cap / 50 {
            self.evict_to(cap);
        }
        if incomplete > 0 || used > cap - cap / 50 {
            self.work.notify_one();
        }
    }

    /// Completes full segments and evicts what is over the cap. Blocks for some 20 ms a segment.
    pub fn maintain(&self) {
        for ring in &self.rings {
            while ring.complete_one() {}
        }
        self.evict_to(self.cap() - self.cap() / 50);
        self.tidy_files();
    }

    /// Waits until [`Store::maintain`] has something to do.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Bytes held by everything.
    pub fn used(&self) -> u64 {
        let segments: usize = self.rings.iter().map(|ring| ring.lock().bytes()).sum();
        let shared = self.shared.traces.bytes() + self.shared.names.bytes() + self.shared.series.bytes();
        (segments + shared) as u64
    }

    fn evict_to(&self, limit: u64) {
        while self.used() > limit {
            if !self.evict_one() {
                return;
            }
        }
    }

    /// Evicts the oldest segment among the signals that hold more than is reserved for them.
    fn evict_one(&self) -> bool {
        // Traces half of the cap, metrics and logs a sixth each: a flood of one evicts itself.
        let reserved = [self.cap() / 2, self.cap() / 6, self.cap() / 6];
        let mut candidates = Vec::new();
        for (at, ring) in self.rings.iter().enumerate() {
            let state = ring.lock();
            let Some(oldest) = state.oldest_arrival() else { continue };
            let shared = match state.signal {
                Signal::Traces => self.shared.traces.bytes(),
                Signal::Metrics => self.shared.series.bytes(),
                Signal::Logs => 0,
            };
            let is_within = (state.bytes() + shared) as u64 <= reserved[at];
            candidates.push((is_within, oldest, at));
        }
        let Some((_, _, at)) = candidates.into_iter().min() else {
            return false;
        };
        let Some(segment) = self.rings[at].lock().evict() else {
            return false;
        };
        self.bury(&segment, Reason::Cap);
        true
    }

    fn bury(&self, segment: &Segment, reason: Reason) {
        match segment.signal {
            Signal::Metrics => self.shared.series.forget(segment),
            Signal::Traces | Signal::Logs => self.shared.traces.forget(segment),
        }
        self.tombstones.add(segment, reason, self.now());
        let evicted = &self.books[index(segment.signal)].evicted;
        evicted.fetch_add((segment.len() - segment.again) as u64, Ordering::Relaxed);
    }

    /// Empties the store and leaves a tombstone.
    pub fn clear(&self) {
        for ring in &self.rings {
            loop {
                let evicted = ring.lock().evict();
                let Some(segment) = evicted else { break };
                self.bury(&segment, Reason::Clear);
            }
        }
        self.on_disk(|disk| {
            let rolled = disk.roll();
            disk.keep_from(disk.number(), 0);
            rolled
        });
    }

    /// Everything that is stored now.
    pub fn snapshot(&self) -> Snapshot {
        let [traces, metrics, logs] = &self.rings;
        Snapshot {
            segments: [traces.segments(), metrics.segments(), logs.segments()],
        }
    }

    /// One segment as it is now.
    pub fn segment(&self, signal: Signal, seq: u32) -> Option<Arc<Segment>> {
        let all = self.rings[index(signal)].segments();
        let at = all.binary_search_by_key(&seq, |segment| segment.seq).ok()?;
        all.get(at).cloned()
    }

    /// Rows stored of a signal.
    pub fn rows(&self, signal: Signal) -> usize {
        self.rings[index(signal)].lock().rows()
    }

    /// Time of the oldest and the newest row of all signals.
    pub fn span(&self) -> Option<(u64, u64)> {
        let spans = self.rings.iter().filter_map(|ring| ring.lock().span());
        spans.reduce(|sum, one| (sum.0.min(one.0), sum.1.max(one.1)))
    }

    /// The books of a signal.
    pub fn books(&self, signal: Signal) -> BooksNow {
        let books = &self.books[index(signal)];
        let [stored, rejected, dropped] =
            [&books.stored, &books.rejected, &books.dropped].map(|count| count.load(Ordering::Relaxed));
        BooksNow {
            // Read together they always add up, also while a batch is being booked.
            received: stored + rejected + dropped,
            stored,
            rejected,
            dropped,
            evicted: books.evicted.load(Ordering::Relaxed),
        }
    }

    /// What was pruned.
    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// What is known of each trace.
    pub fn traces(&self) -> &Traces {
        &self.shared.traces
    }

    /// Services and runs by number.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// The series of metrics.
    pub fn series(&self) -> &SeriesTable {
        &self.shared.series
    }

    /// What was made of this version of a trace before, kept for the last few traces.
    pub fn remembered<T: Send + Sync + 'static>(&self, id: &TraceId, version: (u32, u64)) -> Option<Arc<T>> {
        let memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        let found = memo.iter().find(|(trace, of, _)| trace == id && *of == version)?;
        Arc::clone(&found.2).downcast().ok()
    }

    /// Keeps what was made of a version of a trace.
    pub fn remember<T: Send + Sync + 'static>(&self, id: TraceId, version: (u32, u64), value: &Arc<T>) {
        const MOST: usize = 3;
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        memo.retain(|(trace, ..)| *trace != id);
        memo.truncate(MOST - 1);
        memo.insert(0, (id, version, Arc::clone(value) as _));
    }

    /// Subscriptions to what comes in.
    pub fn live(&self) -> &Live {
        &self.live
    }
}
