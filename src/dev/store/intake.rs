//! Telemetry to rows. The bytes are read by views; what is below an item and cannot be read costs that item only.

use std::borrow::Cow;

use bytes::Bytes;

use super::Shared;
use super::ring::RingState;
use super::segment::{EventEntry, LinkEntry, NewRow, ResourceEntry, ScopeEntry, Segment, TraceId};
use super::texts::{Pair, Place, ValueKind};
use super::traces::{RowAt, SpanNote};
use super::values::{indexed, text_of};
use crate::pdata::Signal;
use crate::wire::{self, Attributes, Fields, LogRecord, ResourceGroup, ScopeGroup, Span, View, WireError};

/// The resource attribute that names a run of `dev -- CMD`.
pub const RUN_KEY: &str = "radiosonde.run.id";

/// What became of the items of a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub stored: u64,
    /// Cannot be read, or have no usable id.
    pub rejected: u64,
    /// There already: kept once.
    pub dropped: u64,
}

impl std::ops::AddAssign for Taken {
    fn add_assign(&mut self, other: Self) {
        self.stored += other.stored;
        self.rejected += other.rejected;
        self.dropped += other.dropped;
    }
}

/// Takes items of one part into the segments of their signal.
pub(super) struct Intake<'a> {
    pub shared: &'a Shared,
    pub ring: &'a mut RingState,
    pub arrival: u64,
    pub taken: Taken,
    /// Buffers that stay.
    pub(super) attributes: Vec<u32>,
    events: Vec<EventEntry>,
}

/// Where the groups of an item stand in the segment that is written.
#[derive(Clone, Copy)]
pub(super) struct Groups {
    segment: u32,
    pub resource: u16,
    pub scope: u16,
}

impl<'a> Intake<'a> {
    pub fn new(shared: &'a Shared, ring: &'a mut RingState, arrival: u64) -> Self {
        Self {
            shared,
            ring,
            arrival,
            taken: Taken::default(),
            attributes: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes all of a part.
    pub fn part(&mut self, part: &[u8]) {
        for resource in wire::resources(part) {
            // The door checked the framing down to the items: nothing follows a malformed group.
            let Ok(resource) = resource else { return };
            for scope in resource.scopes() {
                let Ok(scope) = scope else { break };
                let mut groups = None;
                for item in scope.items() {
                    let Ok(item) = item else { break };
                    self.item(resource, scope, item, &mut groups);
                }
            }
        }
    }

    fn item(&mut self, resource: ResourceGroup<'_>, scope: ScopeGroup<'_>, item: &[u8], groups: &mut Option<Groups>) {
        if self.ring.signal == Signal::Metrics {
            self.metric(resource, scope, item, groups);
            return;
        }
        let Ok(groups) = self.groups(resource, scope, groups) else {
            self.taken.rejected += 1;
            return;
        };
        let taken = match self.ring.signal {
            Signal::Traces => self.span(groups, Span::of(item)),
            _ => self.log(groups, LogRecord::of(item)),
        };
        match taken {
            Ok(true) => self.taken.stored += 1,
            Ok(false) => self.taken.dropped += 1,
            Err(_) => self.taken.rejected += 1,
        }
    }

    /// The groups in the segment that is written now, which may be another than for the item before.
    pub fn groups(
        &mut self,
        resource: ResourceGroup<'_>,
        scope: ScopeGroup<'_>,
        groups: &mut Option<Groups>,
    ) -> Result<Groups, WireError> {
        let segment = self.ring.writable();
        if let Some(groups) = *groups
            && groups.segment == segment.seq
        {
            return Ok(groups);
        }
        let found = Groups {
            segment: segment.seq,
            resource: put_resource(segment, resource)?,
            scope: put_scope(segment, scope)?,
        };
        *groups = Some(found);
        Ok(found)
    }

    fn span(&mut self, groups: Groups, span: Span<'_>) -> Result<bool, Unusable> {
        let trace: TraceId = span.trace_id()?.try_into().map_err(|_| Unusable)?;
        let id = span_id(span.span_id()?).ok_or(Unusable)?;
        if trace == TraceId::default() || id == 0 {
            return Err(Unusable);
        }
        if self.shared.traces.has_span(&trace, id) {
            return Ok(false);
        }
        let start = span.start_time_unix_nano()?;
        let end = span.end_time_unix_nano()?;
        let status = span.status()?;
        let code = status.code()?;
        let parent = span_id(span.parent_span_id()?).unwrap_or_default();
        let segment = self.ring.current();
        self.attributes.clear();
        self.events.clear();
        put_attributes(segment, span.attributes(), Place::Own, &mut self.attributes)?;
        put_events(segment, &span, &mut self.attributes, &mut self.events)?;
        let row = NewRow {
            trace,
            span: id,
            parent,
            start,
            duration: end.saturating_sub(start),
            name: segment.texts.put(indexed(&span.name()?.lossy())),
            message: segment.texts.put(indexed(&status.message()?.lossy())),
            resource: groups.resource,
            scope: groups.scope,
            kind: u8::try_from(span.kind()?).unwrap_or(0),
            status: u8::try_from(code).unwrap_or(0).min(2),
            arrival: self.arrival,
            ..NewRow::default()
        };
        let at = segment.len() as u32;
        let links = links_of(&span, at)?;
        segment.links.extend_from_slice(&links);
        segment.push(&row, &self.attributes, &self.events, span.raw());
        let entry = &segment.resources[usize::from(groups.resource)];
        let is_health = parent == 0 && is_health_check(segment, at as usize);
        self.shared.traces.note_span(&SpanNote {
            trace,
            span: id,
            at: RowAt {
                segment: segment.seq,
                row: at,
            },
            start,
            end: end.max(start),
            is_root: parent == 0,
            is_error: code == 2,
            is_health,
            service: self.shared.names.number(segment.texts.get(entry.service)),
            run: self.shared.names.number(segment.texts.get(entry.run)),
            arrival: self.arrival,
        });
        Ok(true)
    }

    fn log(&mut self, groups: Groups, log: LogRecord<'_>) -> Result<bool, Unusable> {
        let trace: TraceId = log.trace_id()?.try_into().unwrap_or_default();
        let observed = log.observed_time_unix_nano()?;
        let own = log.time_unix_nano()?;
        let body = log.body()?;
        let (kind, body) = text_of(&body)?;
        let segment = self.ring.current();
        self.attributes.clear();
        put_attributes(segment, log.attributes(), Place::Own, &mut self.attributes)?;
        let row = NewRow {
            trace,
            span: span_id(log.span_id()?).unwrap_or_default(),
            parent: u64::from(segment.texts.put(indexed(&log.severity_text()?.lossy()))),
            start: [own, observed, self.arrival]
                .into_iter()
                .find(|time| *time != 0)
                .unwrap_or_default(),
            duration: observed,
            name: segment.texts.put(indexed(&log.event_name()?.lossy())),
            message: segment.texts.put(indexed(&body)),
            resource: groups.resource,
            scope: groups.scope,
            kind: u8::try_from(log.severity_number()?).unwrap_or(0),
            status: kind as u8,
            arrival: self.arrival,
            ..NewRow::default()
        };
        segment.push(&row, &self.attributes, &[], log.raw());
        if trace != TraceId::default() {
            self.shared.traces.note_log(&trace, segment.seq, self.arrival);
        }
        Ok(true)
    }
}

/// An item that cannot be stored.
pub(super) struct Unusable;

impl From<WireError> for Unusable {
    fn from(_: WireError) -> Self {
        Unusable
    }
}

/// A span id as a number; `None` where it has another length.
pub fn span_id(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// All fields of a message but those of this number, as they stand.
pub(super) fn without(message: &[u8], number: u32) -> Result<Vec<u8>, WireError> {
    let mut kept = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((field, record)) = fields.next_with_record()? {
        if field.number != number {
            kept.extend_from_slice(record);
        }
    }
    Ok(kept)
}

fn put_resource(segment: &mut Segment, group: ResourceGroup<'_>) -> Result<u16, WireError> {
    let header = without(group.raw(), 2)?;
    if let Some(known) = segment.find_resource(&header) {
        return Ok(known);
    }
    let resource = group.resource()?;
    let mut pairs = Vec::new();
    put_attributes(segment, resource.attributes(), Place::Resource, &mut pairs)?;
    let text = |key| -> Result<Cow<'_, str>, WireError> {
        let value = resource.attribute(key)?.and_then(|value| value.as_text());
        Ok(value.map(|text| text.lossy()).unwrap_or_default())
    };
    let service = segment.texts.put(indexed(&text("service.name")?));
    let run = segment.texts.put(indexed(&text(RUN_KEY)?));
    Ok(segment.add_resource(ResourceEntry {
        header: Bytes::from(header),
        pairs,
        service,
        run,
    }))
}

fn put_scope(segment: &mut Segment, group: ScopeGroup<'_>) -> Result<u16, WireError> {
    let header = without(group.raw(), 2)?;
    if let Some(known) = segment.find_scope(&header) {
        return Ok(known);
    }
    let scope = group.scope()?;
    let mut pairs = Vec::new();
    put_attributes(segment, scope.attributes(), Place::Scope, &mut pairs)?;
    let name = segment.texts.put(indexed(&scope.name()?.lossy()));
    let version = segment.texts.put(indexed(&scope.version()?.lossy()));
    Ok(segment.add_scope(ScopeEntry {
        header: Bytes::from(header),
        pairs,
        name,
        version,
    }))
}

/// Interns attributes and appends their numbers.
pub(super) fn put_attributes(
    segment: &mut Segment,
    attributes: Attributes<'_>,
    place: Place,
    out: &mut Vec<u32>,
) -> Result<(), WireError> {
    for attribute in attributes {
        let attribute = attribute?;
        let (kind, text) = text_of(&attribute.value()?)?;
        let pair = Pair {
            place,
            kind,
            key: segment.texts.put(indexed(&attribute.key()?.lossy())),
            value: segment.texts.put(indexed(&text)),
        };
        out.push(segment.pairs.put(pair));
    }
    Ok(())
}

fn put_events(
    segment: &mut Segment,
    span: &Span<'_>,
    attributes: &mut Vec<u32>,
    events: &mut Vec<EventEntry>,
) -> Result<(), WireError> {
    for event in span.events() {
        let event = event?;
        let name = event.name()?.lossy();
        let pair = Pair {
            place: Place::Event,
            kind: ValueKind::String,
            key: segment.texts.put("name"),
            value: segment.texts.put(indexed(&name)),
        };
        attributes.push(segment.pairs.put(pair));
        events.push(EventEntry {
            time: event.time_unix_nano()?,
            name: pair.value,
            exception: name == "exception",
        });
        put_attributes(segment, event.attributes(), Place::Event, attributes)?;
    }
    Ok(())
}

/// The links whose ids can be used.
fn links_of(span: &Span<'_>, row: u32) -> Result<Vec<LinkEntry>, WireError> {
    let mut links = Vec::new();
    for link in span.links() {
        let link = link?;
        if let (Ok(trace), Some(span)) = (link.trace_id()?.try_into(), span_id(link.span_id()?)) {
            links.push(LinkEntry {
                row,
                trace,
                span,
                time: 0,
                value: 0.0,
            });
        }
    }
    Ok(links)
}

/// Paths that load balancers and orchestrators ask for all day.
const HEALTH_PATHS: [&str; 11] = [
    "/health",
    "/healthz",
    "/health_check",
    "/healthcheck",
    "/live",
    "/livez",
    "/ready",
    "/readyz",
    "/ping",
    "/-/healthy",
    "/-/ready",
];

fn is_health_check(segment: &Segment, row: usize) -> bool {
    // A server span, or one whose sender did not say.
    if !matches!(segment.kinds[row], 0 | 2) {
        return false;
    }
    if segment
        .attribute(row, "rpc.service")
        .is_some_and(|name| name == "grpc.health.v1.Health")
    {
        return true;
    }
    let name = segment.name(row);
    let path = ["http.route", "url.path", "http.target"]
        .into_iter()
        .find_map(|key| segment.attribute(row, key))
        .or_else(|| name.split_whitespace().last())
        .unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    HEALTH_PATHS.contains(&path)
}
