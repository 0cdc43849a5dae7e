//! A segment: up to 16,384 spans, log records or data points as columns, with everything they refer to.
//!
//! Complete in itself: dropping it frees all it holds. While it is written it is searched by looking at every row;
//! [`Segment::complete`] packs the raw items and adds an index from attributes to rows.

use std::sync::Arc;

use bytes::Bytes;

use super::raw::Raw;
use super::table::Table;
use super::texts::{Pairs, Place, Sym, Texts};
use crate::pdata::Signal;
use crate::wire::MetricKind;

/// Rows of a segment. Positions fit 16 bits.
pub const MOST_ROWS: usize = 16_384;

/// Raw bytes of a segment.
const MOST_RAW: usize = 8 << 20;

/// Set in the status of a data point that says that there is no value.
pub const GAP: u8 = 1;
/// Set in the status of a data point that takes the place of the one before, which has the same times.
pub const AGAIN: u8 = 2;

/// 16 bytes.
pub type TraceId = [u8; 16];

/// Who sent a row: the resource group without its scope groups.
#[derive(Debug)]
pub struct ResourceEntry {
    /// The fields of the group but its scope groups, as they came.
    pub header: Bytes,
    pub pairs: Vec<u32>,
    pub service: Sym,
    /// `radiosonde.run.id`.
    pub run: Sym,
}

/// What made a row: the scope group without its items.
#[derive(Debug)]
pub struct ScopeEntry {
    pub header: Bytes,
    pub pairs: Vec<u32>,
    pub name: Sym,
    pub version: Sym,
}

/// The metric of a data point, without its points.
#[derive(Debug)]
pub struct MetricEntry {
    /// The fields of the metric but its data.
    pub header: Bytes,
    /// The fields of its data but its points.
    pub data_header: Bytes,
    pub kind: MetricKind,
    pub name: Sym,
    pub unit: Sym,
    pub description: Sym,
    /// 0 unspecified, 1 delta, 2 cumulative.
    pub temporality: u8,
    pub monotonic: bool,
}

/// An event of a span.
#[derive(Clone, Copy, Debug)]
pub struct EventEntry {
    pub time: u64,
    pub name: Sym,
    pub exception: bool,
}

/// A link of a span, or the span of an exemplar of a data point.
#[derive(Clone, Copy, Debug)]
pub struct LinkEntry {
    pub row: u32,
    pub trace: TraceId,
    pub span: u64,
    /// Exemplars only.
    pub time: u64,
    pub value: f64,
}

/// One row to be written. Texts are numbers of this segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRow {
    pub trace: TraceId,
    pub span: u64,
    /// Spans: the parent. Logs: number of the severity's text. Points: hash of the series.
    pub parent: u64,
    /// Spans: start. Logs: own time, else observed, else arrival. Points: time.
    pub start: u64,
    /// Spans: duration. Logs: observed time. Points: start time.
    pub duration: u64,
    /// Spans: name. Logs: event name. Points: the metric's name.
    pub name: Sym,
    /// Spans: status message. Logs: body. Points: 0.
    pub message: Sym,
    pub resource: u16,
    pub scope: u16,
    /// Spans: kind. Logs: severity number. Points: number of the metric's kind.
    pub kind: u8,
    /// Spans: status code. Logs: kind of the body. Points: [`GAP`] and [`AGAIN`].
    pub status: u8,
    /// Points: position of the metric.
    pub metric: u16,
    /// Points: the value of a number, else the sum.
    pub value: f64,
    /// When it arrived, nanoseconds since the epoch.
    pub arrival: u64,
}

/// See the module text. Columns are public to the modules of `dev` that read them; all have one length.
#[derive(Clone)]
pub struct Segment {
    pub signal: Signal,
    pub seq: u32,
    pub complete: bool,
    pub texts: Texts,
    pub pairs: Pairs,
    pub resources: Vec<Arc<ResourceEntry>>,
    pub scopes: Vec<Arc<ScopeEntry>>,
    pub metrics: Vec<Arc<MetricEntry>>,
    pub traces: Vec<TraceId>,
    pub spans: Vec<u64>,
    pub parents: Vec<u64>,
    pub starts: Vec<u64>,
    pub durations: Vec<u64>,
    pub names: Vec<Sym>,
    pub messages: Vec<Sym>,
    pub resource: Vec<u16>,
    pub scope: Vec<u16>,
    pub kinds: Vec<u8>,
    pub statuses: Vec<u8>,
    /// Points only.
    pub metric: Vec<u16>,
    /// Points only.
    pub values: Vec<f64>,
    pub arrivals: Vec<u64>,
    /// End of each row's attributes in `attributes`: own ones and those of its events.
    pub(super) attribute_ends: Vec<u32>,
    pub(super) attributes: Vec<u32>,
    pub(super) event_ends: Vec<u32>,
    pub(super) events: Vec<EventEntry>,
    pub links: Vec<LinkEntry>,
    pub(super) raw_at: Vec<u32>,
    pub(super) raw_len: Vec<u32>,
    pub raw: Raw,
    /// Of a complete segment: rows by attribute.
    pub(super) posting_ends: Vec<u32>,
    pub(super) postings: Vec<u16>,
    pub(super) by_header: Table,
    pub(super) entry_bytes: usize,
    pub first_time: u64,
    pub last_time: u64,
    pub longest: u64,
    /// Data points that take the place of another.
    pub again: usize,
    /// The oldest file that holds something of it; 0 without a data directory.
    pub file: u64,
}

impl Segment {
    /// An empty one.
    pub fn new(signal: Signal, seq: u32) -> Self {
        Self {
            signal,
            seq,
            complete: false,
            texts: Texts::default(),
            pairs: Pairs::default(),
            resources: Vec::new(),
            scopes: Vec::new(),
            metrics: Vec::new(),
            traces: Vec::new(),
            spans: Vec::new(),
            parents: Vec::new(),
            starts: Vec::new(),
            durations: Vec::new(),
            names: Vec::new(),
            messages: Vec::new(),
            resource: Vec::new(),
            scope: Vec::new(),
            kinds: Vec::new(),
            statuses: Vec::new(),
            metric: Vec::new(),
            values: Vec::new(),
            arrivals: Vec::new(),
            attribute_ends: Vec::new(),
            attributes: Vec::new(),
            event_ends: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            raw_at: Vec::new(),
            raw_len: Vec::new(),
            raw: Raw::default(),
            posting_ends: Vec::new(),
            postings: Vec::new(),
            by_header: Table::default(),
            entry_bytes: 0,
            first_time: u64::MAX,
            last_time: 0,
            longest: 0,
            again: 0,
            file: 0,
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Whether another row belongs into the next segment.
    pub fn is_full(&self) -> bool {
        // Entries are numbered with 16 bits; a request adds at most one of each before this is asked again.
        let entries = self.resources.len().max(self.scopes.len()).max(self.metrics.len());
        self.len() >= MOST_ROWS
            || self.raw.written() >= MOST_RAW
            || self.texts.buffer().len() >= MOST_RAW
            || entries >= 60_000
    }

    /// The resource with this header, if it is known.
    pub fn find_resource(&self, header: &[u8]) -> Option<u16> {
        let hash = self.by_header.hash(&(0_u8, header));
        let found = self.by_header.find(hash, |at| {
            let entry = self.resources.get(at as usize >> 2);
            at & 3 == 0 && entry.is_some_and(|entry| entry.header == header)
        });
        found.map(|at| (at >> 2) as u16)
    }

    /// Adds a resource.
    pub fn add_resource(&mut self, entry: ResourceEntry) -> u16 {
        let at = self.resources.len() as u32;
        self.entry_bytes += size_of::<ResourceEntry>() + entry.header.len() + entry.pairs.capacity() * 4 + 32;
        let hash = self.by_header.hash(&(0_u8, &entry.header[..]));
        self.resources.push(Arc::new(entry));
        self.index_header(hash, at << 2);
        at as u16
    }

    /// The scope with this header, if it is known.
    pub fn find_scope(&self, header: &[u8]) -> Option<u16> {
        let hash = self.by_header.hash(&(1_u8, header));
        let found = self.by_header.find(hash, |at| {
            let entry = self.scopes.get(at as usize >> 2);
            at & 3 == 1 && entry.is_some_and(|entry| entry.header == header)
        });
        found.map(|at| (at >> 2) as u16)
    }

    /// Adds a scope.
    pub fn add_scope(&mut self, entry: ScopeEntry) -> u16 {
        let at = self.scopes.len() as u32;
        self.entry_bytes += size_of::<ScopeEntry>() + entry.header.len() + entry.pairs.capacity() * 4 + 32;
        let hash = self.by_header.hash(&(1_u8, &entry.header[..]));
        self.scopes.push(Arc::new(entry));
        self.index_header(hash, at << 2 | 1);
        at as u16
    }

    /// The metric with these headers, if it is known.
    pub fn find_metric(&self, header: &[u8], data_header: &[u8], kind: MetricKind) -> Option<u16> {
        let hash = self.by_header.hash(&(2_u8, header));
        let found = self.by_header.find(hash, |at| {
            let entry = self.metrics.get(at as usize >> 2);
            at & 3 == 2
                && entry.is_some_and(|entry| {
                    entry.header == header && entry.data_header == data_header && entry.kind == kind
                })
        });
        found.map(|at| (at >> 2) as u16)
    }

    /// Adds a metric.
    pub fn add_metric(&mut self, entry: MetricEntry) -> u16 {
        let at = self.metrics.len() as u32;
        self.entry_bytes += size_of::<MetricEntry>() + entry.header.len() + entry.data_header.len() + 32;
        let hash = self.by_header.hash(&(2_u8, &entry.header[..]));
        self.metrics.push(Arc::new(entry));
        self.index_header(hash, at << 2 | 2);
        at as u16
    }

    fn index_header(&mut self, hash: u64, position: u32) {
        let (resources, scopes, metrics) = (&self.resources, &self.scopes, &self.metrics);
        self.by_header.insert(hash, position, |state, at| {
            use std::hash::BuildHasher;
            let entry = at as usize >> 2;
            match at & 3 {
                0 => state.hash_one((0_u8, &resources[entry].header[..])),
                1 => state.hash_one((1_u8, &scopes[entry].header[..])),
                _ => state.hash_one((2_u8, &metrics[entry].header[..])),
            }
        });
    }

    /// Appends a row with its attributes, its events and its original bytes.
    pub fn push(&mut self, row: &NewRow, attributes: &[u32], events: &[EventEntry], item: &[u8]) {
        if self.signal == Signal::Metrics {
            self.again += usize::from(row.status & AGAIN != 0);
            self.metric.push(row.metric);
            self.values.push(row.value);
        } else {
            self.traces.push(row.trace);
            self.spans.push(row.span);
            self.event_ends.push((self.events.len() + events.len()) as u32);
            self.events.extend_from_slice(events);
        }
        self.parents.push(row.parent);
        self.starts.push(row.start);
        self.durations.push(row.duration);
        self.names.push(row.name);
        self.messages.push(row.message);
        self.resource.push(row.resource);
        self.scope.push(row.scope);
        self.kinds.push(row.kind);
        self.statuses.push(row.status);
        self.arrivals.push(row.arrival);
        self.attributes.extend_from_slice(attributes);
        self.attribute_ends.push(self.attributes.len() as u32);
        self.raw_at.push(self.raw.push(item));
        self.raw_len.push(item.len() as u32);
        self.first_time = self.first_time.min(row.start);
        self.last_time = self.last_time.max(row.start);
        if self.signal == Signal::Traces {
            self.longest = self.longest.max(row.duration);
        }
    }

    /// The trace of a row; zero for data points.
    pub fn trace(&self, row: usize) -> TraceId {
        self.traces.get(row).copied().unwrap_or_default()
    }

    /// The span of a row; zero for data points.
    pub fn span(&self, row: usize) -> u64 {
        self.spans.get(row).copied().unwrap_or_default()
    }

    /// Numbers of a row's own attributes and those of its events.
    pub fn attributes(&self, row: usize) -> &[u32] {
        slice_of(&self.attribute_ends, &self.attributes, row)
    }

    /// A row's events.
    pub fn events(&self, row: usize) -> &[EventEntry] {
        slice_of(&self.event_ends, &self.events, row)
    }

    /// The links or exemplars of a row.
    pub fn links(&self, row: usize) -> &[LinkEntry] {
        let from = self.links.partition_point(|link| (link.row as usize) < row);
        let to = self.links.partition_point(|link| link.row as usize <= row);
        &self.links[from..to]
    }

    /// Where a row's item stands in `raw`, and its length.
    pub fn raw_place(&self, row: usize) -> (u32, u32) {
        (self.raw_at[row], self.raw_len[row])
    }

    /// The resource of a row.
    pub fn resource_of(&self, row: usize) -> &ResourceEntry {
        &self.resources[usize::from(self.resource[row])]
    }

    /// The scope of a row.
    pub fn scope_of(&self, row: usize) -> &ScopeEntry {
        &self.scopes[usize::from(self.scope[row])]
    }

    /// The metric of a data point.
    pub fn metric_of(&self, row: usize) -> Option<&MetricEntry> {
        let at = self.metric.get(row)?;
        self.metrics.get(usize::from(*at)).map(|entry| &**entry)
    }

    /// The service of a row.
    pub fn service(&self, row: usize) -> &str {
        self.texts.get(self.resource_of(row).service)
    }

    /// The name of a row.
    pub fn name(&self, row: usize) -> &str {
        self.texts.get(self.names[row])
    }

    /// The text of a row's own attribute, or of its resource's.
    pub fn attribute(&self, row: usize, key: &str) -> Option<&str> {
        let key = self.texts.find(key)?;
        let of = |list: &[u32], place: Place| {
            list.iter()
                .map(|at| self.pairs.get(*at))
                .find(|pair| pair.key == key && pair.place == place)
                .map(|pair| self.texts.get(pair.value))
        };
        of(self.attributes(row), Place::Own).or_else(|| of(&self.resource_of(row).pairs, Place::Resource))
    }

    /// Rows with an attribute of this number, of a complete segment; `None` while it is written.
    pub fn rows_with(&self, pair: u32) -> Option<&[u16]> {
        self.complete
            .then(|| slice_of(&self.posting_ends, &self.postings, pair as usize))
    }

    /// How many rows have each attribute: themselves, or by their resource or scope.
    pub fn rows_by_pair(&self) -> Vec<u32> {
        let mut counts = vec![0; self.pairs.all().len()];
        for pair in &self.attributes {
            counts[*pair as usize] += 1;
        }
        let mut by_resource = vec![0; self.resources.len()];
        let mut by_scope = vec![0; self.scopes.len()];
        for (resource, scope) in self.resource.iter().zip(&self.scope) {
            by_resource[usize::from(*resource)] += 1;
            by_scope[usize::from(*scope)] += 1;
        }
        let of_resources = self.resources.iter().map(|entry| &entry.pairs).zip(by_resource);
        let of_scopes = self.scopes.iter().map(|entry| &entry.pairs).zip(by_scope);
        for (pairs, rows) in of_resources.chain(of_scopes) {
            for pair in pairs {
                counts[*pair as usize] += rows;
            }
        }
        counts
    }

    /// Packs the raw items, adds the index from attributes to rows, gives back what was kept for growing.
    pub fn complete(mut self) -> Self {
        self.raw.pack();
        let mut counts = vec![0_u32; self.pairs.all().len()];
        for pair in &self.attributes {
            counts[*pair as usize] += 1;
        }
        let mut starts = Vec::with_capacity(counts.len());
        let mut sum = 0;
        for count in &mut counts {
            starts.push(sum);
            sum += *count;
            *count = sum;
        }
        let mut postings = vec![0_u16; self.attributes.len()];
        for row in 0..self.len() {
            for pair in slice_of(&self.attribute_ends, &self.attributes, row) {
                let next = &mut starts[*pair as usize];
                postings[*next as usize] = row as u16;
                *next += 1;
            }
        }
        self.posting_ends = counts;
        self.postings = postings;
        self.complete = true;
        self.shrink();
        self
    }
}

fn slice_of<'a, T>(ends: &[u32], list: &'a [T], at: usize) -> &'a [T] {
    let Some(end) = ends.get(at) else { return &[] };
    let start = if at == 0 { 0 } else { ends[at - 1] };
    list.get(start as usize..*end as usize).unwrap_or_default()
}
