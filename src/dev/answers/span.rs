//! One span with everything that is known of it.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::logs::{LogRow, log_row};
use super::rows::{LogTicks, Row, row_of};
use super::tree::tree_of;
use super::{Attr, Failure, Hex8, Hex16, Ns};
use crate::dev::store::{RawReader, Segment, Store, TraceId, span_id};
use crate::pdata::{Batch, Origin, Signal};
use crate::wire::{Span, View, WireError, put_len};

/// Logs, links back and exemplars that are listed.
const MOST: usize = 100;

/// `GET /api/v1/traces/{id}/spans/{span_id}`.
#[derive(Debug, Serialize)]
pub struct SpanDetail {
    pub v: u8,
    pub span: Detail,
}

/// A span with all it says.
#[derive(Debug, Serialize)]
pub struct Detail {
    pub trace_id: Hex16,
    /// Nanoseconds since the epoch.
    pub time: Ns,
    /// [`Row`] without its ticks: events, links and logs stand below, whole.
    #[serde(flatten)]
    pub row: serde_json::Map<String, serde_json::Value>,
    pub attributes: Vec<Attr>,
    pub resource: ResourceShown,
    pub scope: ScopeShown,
    pub events: Vec<EventShown>,
    pub links: Vec<LinkShown>,
    pub linked_from: Vec<SpanName>,
    pub trace_state: String,
    pub flags: u32,
    pub dropped: Dropped,
    pub logs: Vec<LogRow>,
    pub exemplars: Vec<ExemplarShown>,
    pub lints: Vec<serde_json::Value>,
    pub raw: serde_json::Value,
}

/// A resource.
#[derive(Debug, Default, Serialize)]
pub struct ResourceShown {
    pub attributes: Vec<Attr>,
    pub dropped: u32,
    pub schema_url: String,
}

/// A scope.
#[derive(Debug, Default, Serialize)]
pub struct ScopeShown {
    pub name: String,
    pub version: String,
    pub attributes: Vec<Attr>,
}

/// An event.
#[derive(Debug, Serialize)]
pub struct EventShown {
    pub time: Ns,
    pub name: String,
    pub attributes: Vec<Attr>,
    pub dropped: u32,
}

/// A link to another span.
#[derive(Debug, Serialize)]
pub struct LinkShown {
    pub trace_id: Hex16,
    pub span_id: Hex8,
    pub attributes: Vec<Attr>,
    /// The other is stored.
    pub known: bool,
}

/// Which span.
#[derive(Debug, Serialize)]
pub struct SpanName {
    pub trace_id: Hex16,
    pub span_id: Hex8,
}

/// What the sender left out.
#[derive(Debug, Default, Serialize)]
pub struct Dropped {
    pub attributes: u32,
    pub events: u32,
    pub links: u32,
}

/// A measurement during the span.
#[derive(Debug, Serialize)]
pub struct ExemplarShown {
    pub metric: String,
    pub time: Ns,
    pub value: f64,
}

/// Everything of one span.
///
/// # Errors
/// Where there is none of this id in this trace.
pub fn span(store: &Store, id: &TraceId, span: &str) -> Result<SpanDetail, Failure> {
    let missing = || Failure::Missing(format!("there is no span {span} in trace {}", hex::encode(id)));
    let wanted = hex::decode(span)
        .ok()
        .and_then(|bytes| span_id(&bytes))
        .ok_or_else(missing)?;
    let (trace, tree) = tree_of(store, id).ok_or_else(missing)?;
    let at = tree.position(wanted).ok_or_else(missing)?;
    let node = &tree.nodes[at];
    let (segment, row) = tree.place(node);
    let ticks = LogTicks::of(store, id, &trace);
    let mut detail = Detail {
        trace_id: Hex16(*id),
        time: Ns(segment.starts[row]),
        row: without_ticks(&row_of(&tree, at, node, trace.start, &ticks)),
        attributes: Vec::new(),
        resource: ResourceShown::default(),
        scope: ScopeShown::default(),
        events: Vec::new(),
        links: Vec::new(),
        linked_from: linked_from(store, id, wanted),
        trace_state: String::new(),
        flags: 0,
        dropped: Dropped::default(),
        logs: logs_of(store, id, wanted, &trace.log_segments),
        exemplars: exemplars_of(store, id, wanted),
        lints: store
            .findings()
            .map(|findings| findings.details(id, Some(wanted)))
            .unwrap_or_default(),
        raw: raw_json(segment, row),
    };
    // What the wire says; it was readable when it came in.
    let mut reader = RawReader::new(&segment.raw);
    let (place, len) = segment.raw_place(row);
    let raw = Bytes::copy_from_slice(reader.read(place, len));
    fill(store, &mut detail, &Span::of(&raw)).map_err(|error| Failure::Missing(format!("span {span}: {error}")))?;
    (detail.resource, detail.scope) = groups_of(segment, row).unwrap_or_default();
    Ok(SpanDetail { v: 1, span: detail })
}

fn without_ticks(row: &Row) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(row) {
        Ok(serde_json::Value::Object(mut map)) => {
            map.retain(|key, _| !matches!(key.as_str(), "events" | "links" | "logs"));
            map
        }
        _ => serde_json::Map::new(),
    }
}

fn fill(store: &Store, detail: &mut Detail, span: &Span<'_>) -> Result<(), WireError> {
    detail.attributes = Attr::of_wire(span.attributes())?;
    detail.trace_state = span.trace_state()?.lossy().into_owned();
    detail.flags = span.flags()?;
    detail.dropped = Dropped {
        attributes: span.dropped_attributes_count()?,
        events: span.dropped_events_count()?,
        links: span.dropped_links_count()?,
    };
    for event in span.events() {
        let event = event?;
        detail.events.push(EventShown {
            time: Ns(event.time_unix_nano()?),
            name: event.name()?.lossy().into_owned(),
            attributes: Attr::of_wire(event.attributes())?,
            dropped: event.dropped_attributes_count()?,
        });
    }
    for link in span.links() {
        let link = link?;
        let trace: TraceId = link.trace_id()?.try_into().unwrap_or_default();
        let other = span_id(link.span_id()?).unwrap_or_default();
        detail.links.push(LinkShown {
            trace_id: Hex16(trace),
            span_id: Hex8(other),
            attributes: Attr::of_wire(link.attributes())?,
            known: store.traces().has_span(&trace, other),
        });
    }
    Ok(())
}

/// Resource and scope of a row, from the bytes they came as.
pub(super) fn groups_of(segment: &Segment, row: usize) -> Result<(ResourceShown, ScopeShown), WireError> {
    let (resource, scope) = (segment.resource_of(row), segment.scope_of(row));
    let mut request = Vec::new();
    let mut group = resource.header.to_vec();
    put_len(&mut group, 2, &scope.header);
    put_len(&mut request, 1, &group);
    let mut shown = (ResourceShown::default(), ScopeShown::default());
    for group in crate::wire::resources(&request) {
        let group = group?;
        let resource = group.resource()?;
        shown.0 = ResourceShown {
            attributes: Attr::of_wire(resource.attributes())?,
            dropped: resource.dropped_attributes_count()?,
            schema_url: group.schema_url()?.lossy().into_owned(),
        };
        for scope in group.scopes() {
            let scope = scope?.scope()?;
            shown.1 = ScopeShown {
                name: scope.name()?.lossy().into_owned(),
                version: scope.version()?.lossy().into_owned(),
                attributes: Attr::of_wire(scope.attributes())?,
            };
        }
    }
    Ok(shown)
}

/// One row as an OTLP/JSON request of its own.
pub(super) fn raw_json(segment: &Segment, row: usize) -> serde_json::Value {
    let request = crate::dev::store::request_of(segment, [row].into_iter());
    let batch = Batch::from_wire(segment.signal, request, 1, Origin::internal());
    let text = batch.to_json().unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn linked_from(store: &Store, id: &TraceId, span: u64) -> Vec<SpanName> {
    let snapshot = store.snapshot();
    let mut found = Vec::new();
    for segment in snapshot.of(Signal::Traces) {
        for link in segment
            .links
            .iter()
            .filter(|link| link.span == span && link.trace == *id)
        {
            let row = link.row as usize;
            found.push(SpanName {
                trace_id: Hex16(segment.trace(row)),
                span_id: Hex8(segment.span(row)),
            });
            if found.len() >= MOST {
                return found;
            }
        }
    }
    found
}

fn logs_of(store: &Store, id: &TraceId, span: u64, segments: &[u32]) -> Vec<LogRow> {
    let snapshot = store.snapshot();
    let mut rows = Vec::new();
    for segment in segments.iter().filter_map(|seq| snapshot.get(Signal::Logs, *seq)) {
        let of_span = (0..segment.len()).filter(|row| segment.span(*row) == span && segment.trace(*row) == *id);
        rows.extend(of_span.map(|row| log_row(segment, row)));
    }
    rows.sort_by_key(|row| row.time);
    rows.truncate(MOST);
    rows
}

fn exemplars_of(store: &Store, id: &TraceId, span: u64) -> Vec<ExemplarShown> {
    let snapshot = store.snapshot();
    let mut found = Vec::new();
    let of_span = |segment: &Arc<Segment>| -> Vec<ExemplarShown> {
        let links = segment
            .links
            .iter()
            .filter(|link| link.span == span && link.trace == *id);
        let shown = links.map(|link| ExemplarShown {
            metric: segment.name(link.row as usize).to_owned(),
            time: Ns(link.time),
            value: link.value,
        });
        shown.collect()
    };
    for segment in snapshot.of(Signal::Metrics).iter().rev() {
        found.extend(of_span(segment));
        if found.len() >= MOST {
            found.truncate(MOST);
            break;
        }
    }
    found
}
