//! Spans as rows: the cells in the order of the schema.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::any;
use super::columns::Cell;

const SERVICE: &str = "service.name";
/// Fields of a value, as in the schema.
const VALUES: usize = 7;

fn text(text: &str) -> Cell {
    Cell::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

fn hexed(id: &[u8]) -> Cell {
    Cell::Bytes(hex::encode(id).into())
}

fn count(count: u32) -> Cell {
    Cell::Int(count.cast_signed())
}

/// Nanoseconds beyond 2262 wrap around, and back when they are read.
fn time(nanos: u64) -> Cell {
    Cell::Long(nanos.cast_signed())
}

fn value_cells(value: &AnyValue) -> Cell {
    let (place, cell) = match &value.value {
        Some(Any::StringValue(value)) => (0, text(value)),
        Some(Any::BoolValue(value)) => (1, Cell::Bool(*value)),
        Some(Any::IntValue(value)) => (2, Cell::Long(*value)),
        Some(Any::DoubleValue(value)) => (3, Cell::Double(*value)),
        Some(Any::BytesValue(value)) => (4, Cell::Bytes(Bytes::copy_from_slice(value))),
        Some(Any::ArrayValue(value)) => (5, text(&any::array(value, 0).to_string())),
        Some(Any::KvlistValue(value)) => (6, text(&any::map(value, 0).to_string())),
        // Of profiles: there is no table of strings here.
        Some(Any::StringValueStrindex(_)) | None => (0, Cell::Null),
    };
    let mut cells = vec![Cell::Null; VALUES];
    cells[place] = cell;
    Cell::Group(cells)
}

fn attributes(attributes: &[KeyValue]) -> Cell {
    let entry = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().map_or(Cell::Null, value_cells);
        Cell::Group(vec![text(&attribute.key), value])
    };
    Cell::List(attributes.iter().map(entry).collect())
}

fn event(event: &Event) -> Cell {
    Cell::Group(vec![
        time(event.time_unix_nano),
        text(&event.name),
        attributes(&event.attributes),
        count(event.dropped_attributes_count),
    ])
}

fn link(link: &Link) -> Cell {
    Cell::Group(vec![
        hexed(&link.trace_id),
        hexed(&link.span_id),
        text(&link.trace_state),
        count(link.flags),
        attributes(&link.attributes),
        count(link.dropped_attributes_count),
    ])
}

/// What is the span's own.
pub fn cells(span: &Span) -> Vec<Cell> {
    let has_parent = !span.parent_span_id.is_empty();
    let status = span.status.as_ref();
    vec![
        hexed(&span.trace_id),
        hexed(&span.span_id),
        if has_parent {
            hexed(&span.parent_span_id)
        } else {
            Cell::Null
        },
        text(&span.trace_state),
        count(span.flags),
        text(&span.name),
        Cell::Int(span.kind),
        time(span.start_time_unix_nano),
        time(span.end_time_unix_nano),
        attributes(&span.attributes),
        count(span.dropped_attributes_count),
        Cell::List(span.events.iter().map(event).collect()),
        count(span.dropped_events_count),
        Cell::List(span.links.iter().map(link).collect()),
        count(span.dropped_links_count),
        status.map_or(Cell::Null, |status| Cell::Int(status.code)),
        status.map_or(Cell::Null, |status| text(&status.message)),
    ]
}

/// What stands in the rows of all its spans.
pub fn resource_cells(resource: &ResourceSpans) -> Vec<Cell> {
    let of = resource.resource.as_ref();
    let all = of.map_or(&[][..], |of| &of.attributes);
    let service = all.iter().find(|attribute| attribute.key == SERVICE);
    let service = service.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    vec![
        match service {
            Some(Any::StringValue(name)) => text(name),
            _ => Cell::Null,
        },
        attributes(all),
        count(of.map_or(0, |of| of.dropped_attributes_count)),
        text(&resource.schema_url),
    ]
}

/// Likewise.
pub fn scope_cells(scope: &ScopeSpans) -> Vec<Cell> {
    let of = scope.scope.as_ref();
    vec![
        text(of.map_or("", |of| &of.name)),
        text(of.map_or("", |of| &of.version)),
        attributes(of.map_or(&[], |of| &of.attributes)),
        count(of.map_or(0, |of| of.dropped_attributes_count)),
        text(&scope.schema_url),
    ]
}
