//! From acknowledged deliveries to rows of the ledger.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem::Finder;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::archive::{Day, TraceId};
use super::ledger::{Ledger, Mark, Row, key_of};
use crate::component::{Counter, DeliveryObserver, LimitedLog, UnixNanos};
use crate::pdata::Batch;
use crate::wire::{Fields, Value, View, WireError, resources};

const OPEN: &str = "aws.xray.inprogress";
const LIMITED: &str = "aws.xray.limit_exceeded";

/// Traces whose acknowledgement somebody waits for, by key.
#[derive(Default)]
pub struct Awaited {
    /// How many: asked for every delivery, nearly always none.
    count: AtomicUsize,
    /// The archive that has acknowledged it, once one has.
    traces: Mutex<HashMap<u64, Option<usize>>>,
}

impl Awaited {
    /// From now on the acknowledgement of this trace is noted.
    pub fn expect(&self, key: u64) {
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        traces.entry(key).or_default();
        self.count.store(traces.len(), Ordering::Relaxed);
    }

    /// Which archive has acknowledged the trace; `None`: none has.
    pub fn seen(&self, key: u64) -> Option<usize> {
        let traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        traces.get(&key).copied().flatten()
    }

    /// Nobody waits any more.
    pub fn forget(&self) {
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        traces.clear();
        self.count.store(0, Ordering::Relaxed);
    }

    fn note(&self, archive: usize, rows: &[(Day, Row)]) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, row) in rows {
            if let Some(seen) = traces.get_mut(&row.key) {
                *seen = Some(archive);
            }
        }
    }
}

/// Notes what one exporter's far end has acknowledged.
pub struct Noter {
    pub ledger: Arc<Ledger>,
    /// Its place in the ledger.
    pub archive: usize,
    /// Its number among all archives.
    pub number: usize,
    pub awaited: Arc<Awaited>,
    /// Nobody writes the ledger down any more.
    pub stopped: CancellationToken,
    /// Batches that could not be read.
    pub errors: Counter,
    pub log: LimitedLog,
}

impl DeliveryObserver for Noter {
    fn delivered(&self, batch: &Batch) {
        let mut traces = Traces::default();
        for part in batch.clone().into_parts() {
            if traces.read(&part).is_err() {
                self.errors.add(1);
                if let Some(left_out) = self.log.admit() {
                    tracing::warn!(
                        left_out,
                        "delivered spans cannot be read and are not in the retention ledger"
                    );
                }
            }
        }
        let rows = traces.into_rows();
        self.awaited.note(self.number, &rows);
        self.ledger.add(self.archive, rows);
        // Deliveries of the drain: there are few left, and nobody comes after them.
        if self.stopped.is_cancelled() && self.ledger.flush().is_err() {
            self.errors.add(1);
        }
    }
}

/// Traces of a batch in the order in which they come.
#[derive(Default)]
struct Traces {
    all: Vec<Trace>,
    /// Only where there are many: a few are found by looking.
    by_id: HashMap<TraceId, usize, foldhash::fast::FixedState>,
    last: usize,
}

struct Trace {
    id: TraceId,
    /// Nanoseconds; the earliest.
    start: u64,
    xor: u64,
    mark: Mark,
    /// Ids of its spans while they are few: one that stands twice in a batch counts once.
    ids: SmallVec<[u64; 16]>,
}

/// Beyond it spans of one trace in a batch are not compared with each other any more.
const COMPARED: usize = 64;

impl Traces {
    fn read(&mut self, part: &[u8]) -> Result<(), WireError> {
        // Nearly no batch has these: one search instead of a look at the attributes of every span.
        let is_marked = Finder::new(OPEN).find(part).is_some() || Finder::new(LIMITED).find(part).is_some();
        for resource in resources(part) {
            for scope in resource?.scopes() {
                for span in scope?.items() {
                    self.span(span?, is_marked)?;
                }
            }
        }
        Ok(())
    }

    fn span(&mut self, span: &[u8], is_marked: bool) -> Result<(), WireError> {
        let (mut id, mut span_id, mut start): (&[u8], &[u8], u64) = (&[], &[], 0);
        let mut fields = Fields::new(span);
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => id = field.len()?,
                2 => span_id = field.len()?,
                7 => start = field.fixed64()?,
                _ => {}
            }
        }
        // The door has looked at their lengths; what this process made itself has them too.
        let (Ok(id), Ok(span_id)) = (<[u8; 16]>::try_from(id), <[u8; 8]>::try_from(span_id)) else {
            return Ok(());
        };
        let mark = if is_marked { mark_of(span)? } else { Mark::default() };
        let position = self.position(TraceId(id), start);
        let trace = &mut self.all[position];
        trace.start = trace.start.min(start);
        trace.mark = trace.mark.and(mark);
        // What is open is not in the copy yet: it comes again when it has ended.
        if !mark.is_open() {
            trace.add(u64::from_be_bytes(span_id));
        }
        Ok(())
    }

    fn position(&mut self, id: TraceId, start: u64) -> usize {
        // Spans of a trace nearly always stand together.
        if self.all.get(self.last).is_some_and(|trace| trace.id == id) {
            return self.last;
        }
        let next = self.all.len();
        self.last = *self.by_id.entry(id).or_insert(next);
        if self.last == next {
            self.all.push(Trace {
                id,
                start,
                xor: 0,
                mark: Mark::default(),
                ids: SmallVec::new(),
            });
        }
        self.last
    }

    fn into_rows(self) -> Vec<(Day, Row)> {
        let row = |trace: Trace| {
            let row = Row {
                key: key_of(trace.id),
                mark: trace.mark,
                xor: trace.xor,
            };
            (Day::of(UnixNanos(trace.start)), row)
        };
        self.all.into_iter().map(row).collect()
    }
}

impl Trace {
    fn add(&mut self, span: u64) {
        if self.ids.len() < COMPARED {
            if self.ids.contains(&span) {
                return;
            }
            self.ids.push(span);
        }
        self.xor ^= span;
    }
}

/// What the attributes of a span say of it.
fn mark_of(span: &[u8]) -> Result<Mark, WireError> {
    let span = crate::wire::Span::of(span);
    let is_set = |key: &str| -> Result<bool, WireError> {
        let value = span.attribute(key)?;
        Ok(matches!(value, Some(Value::Bool(true))))
    };
    let mut mark = Mark::default();
    if is_set(OPEN)? {
        mark = mark.and(Mark::OPEN);
    }
    if is_set(LIMITED)? {
        mark = mark.and(Mark::LIMITED);
    }
    Ok(mark)
}
