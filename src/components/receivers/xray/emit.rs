//! From the documents of a trace to the spans of it that have not been handed on.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use super::seen::{Emitted, span_key};
use super::state::{Known, REVISION_UNKNOWN};
use crate::aws::xray::api::fetch::Fetched;
use crate::aws::xray::translate::{Options, Reader, Spans};
use crate::pdata::BatchId;

/// Marks a span of a segment without end.
const OPEN: &str = "aws.xray.inprogress";

/// What the receiver wants of a trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub keep_inferred: bool,
    /// A span that changed is handed on again.
    pub reemit: bool,
    /// Spans in progress are handed on as they are.
    pub open_too: bool,
}

/// What is new of a trace.
#[derive(Clone, Debug, Default)]
pub struct Fresh {
    pub resource_spans: Vec<ResourceSpans>,
    pub spans: usize,
    pub bytes: usize,
    /// What these spans are known by: the same whenever the same spans of the trace are handed on.
    pub id: BatchId,
    /// To be remembered once the spans have been taken.
    pub emitted: Emitted,
    /// Spans in progress that are held back.
    pub held: usize,
    /// Spans that came after others of the trace had been handed on.
    pub late: usize,
    /// It could not be told what is new: all of it is here.
    pub whole_again: bool,
    pub inferred_dropped: usize,
    pub salvaged: u64,
}

/// Translates and sorts.
pub struct Emitter {
    reader: Reader,
    spans: Spans,
}

impl Emitter {
    pub fn new(options: Options) -> Self {
        Self {
            reader: Reader::new(options),
            spans: Spans::default(),
        }
    }

    /// The spans of a trace that have not been handed on. `now_ns` stands in for times that nothing tells.
    pub fn fresh(&mut self, fetched: &Fetched, known: Option<&Known>, wanted: Wanted, now_ns: u64) -> Fresh {
        let mut fresh = Fresh::default();
        self.spans.documents.clear();
        for document in &fetched.documents {
            let salvaged = self.reader.segments(document.as_bytes(), now_ns, &mut self.spans);
            let counted: u64 = salvaged.reasons().map(|(_, count)| u64::from(count)).sum();
            fresh.salvaged += counted + salvaged.rejected.len() as u64;
        }
        if !wanted.keep_inferred {
            fresh.inferred_dropped = self.spans.drop_inferred();
        }
        let mut found = self.keys(wanted);
        let keys: Vec<u64> = found.iter().map(|entry| entry.key).collect();
        let before = known.map(|known| &known.emitted).cloned().unwrap_or_default();
        match before.among(&keys) {
            Some(emitted) => {
                for (entry, emitted) in found.iter_mut().zip(emitted) {
                    entry.emitted = emitted;
                }
            }
            None => fresh.whole_again = true,
        }
        let is_known = before != Emitted::default();
        let mut all = Vec::new();
        for entry in &mut found {
            entry.taken = !entry.emitted && (!entry.open || wanted.open_too);
            if entry.taken || entry.emitted {
                all.push(entry.key);
            }
            fresh.held += usize::from(entry.open && !entry.taken && !entry.emitted);
            fresh.late += usize::from(entry.taken && is_known && !fresh.whole_again);
        }
        fresh.emitted = Emitted::of(&all);
        fresh.id = id_of(&fetched.id, &found);
        self.take(&found, fetched.limit_exceeded, &mut fresh);
        fresh
    }

    /// Every span once; where an id stands twice the complete one counts.
    fn keys(&self, wanted: Wanted) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut by_id = std::collections::HashMap::new();
        for (document, translated) in self.spans.documents.iter().enumerate() {
            for (position, span) in translated.spans().iter().enumerate() {
                let entry = Entry {
                    document,
                    position,
                    key: span_key(&span.span_id, if wanted.reemit { version(span) } else { 0 }),
                    open: is_open(span),
                    emitted: false,
                    taken: false,
                };
                match by_id.get(&span.span_id) {
                    None => {
                        by_id.insert(&span.span_id, entries.len());
                        entries.push(entry);
                    }
                    Some(have) => {
                        let have: &mut Entry = &mut entries[*have];
                        if have.open && !entry.open {
                            *have = entry;
                        }
                    }
                }
            }
        }
        entries
    }

    fn take(&mut self, entries: &[Entry], limit_exceeded: bool, fresh: &mut Fresh) {
        let mut wanted: Vec<Vec<usize>> = vec![Vec::new(); self.spans.documents.len()];
        for entry in entries.iter().filter(|entry| entry.taken) {
            wanted[entry.document].push(entry.position);
        }
        for (document, positions) in self.spans.documents.drain(..).zip(wanted) {
            if positions.is_empty() {
                continue;
            }
            let mut resource_spans = document.resource_spans;
            for scope in &mut resource_spans.scope_spans {
                let spans = std::mem::take(&mut scope.spans);
                let taken = spans.into_iter().enumerate();
                let taken = taken.filter(|(position, _)| positions.contains(position));
                scope.spans = taken.map(|(_, span)| span).collect();
                if limit_exceeded {
                    for span in &mut scope.spans {
                        span.attributes.push(flag("aws.xray.limit_exceeded"));
                    }
                }
                fresh.spans += scope.spans.len();
            }
            fresh.bytes += resource_spans.encoded_len();
            fresh.resource_spans.push(resource_spans);
        }
    }
}

/// One span of the trace.
struct Entry {
    document: usize,
    position: usize,
    key: u64,
    open: bool,
    emitted: bool,
    taken: bool,
}

fn id_of(trace: &str, found: &[Entry]) -> BatchId {
    let mut keys: Vec<u64> = found
        .iter()
        .filter(|entry| entry.taken)
        .map(|entry| entry.key)
        .collect();
    batch_id(trace.as_bytes(), &mut keys)
}

/// What spans of a trace are known by: the same whenever the same of them are new. Sorts the keys.
pub fn batch_id(trace: &[u8], keys: &mut [u64]) -> BatchId {
    keys.sort_unstable();
    let keys = keys.iter().flat_map(|key| key.to_le_bytes());
    let bytes: Vec<u8> = trace.iter().copied().chain(keys).collect();
    BatchId(xxhash_rust::xxh3::xxh3_128(&bytes))
}

/// What makes a span another one where changes count.
fn version(span: &Span) -> u64 {
    let status = span.status.as_ref().map_or(0, |status| status.code as u64);
    span.end_time_unix_nano ^ status << 60 ^ u64::from(is_open(span)) << 63
}

fn is_open(span: &Span) -> bool {
    span.attributes.iter().any(|attribute| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        attribute.key == OPEN && value == Some(&Value::BoolValue(true))
    })
}

fn flag(key: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::BoolValue(true)),
        }),
        ..KeyValue::default()
    }
}

/// A revision as it is remembered.
pub fn short_revision(revision: Option<i64>) -> u16 {
    let revision = revision.and_then(|revision| u16::try_from(revision).ok());
    revision.filter(|revision| *revision != 0).unwrap_or(REVISION_UNKNOWN)
}
