//! Documents that were spans before: our exporter leaves in `metadata.default` what a segment has no place for, under
//! `otel.*`, and everything is put back from there.
//!
//! `otel.span.kind` is on each of them and on no other. The keys are in [`keys`].

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};

use super::attributes::any;
use super::span::Place;
use super::walk::Walk;
use crate::aws::xray::document::{Kind, NodeId, Tree};
use crate::aws::xray::keys;

/// The way back of one span.
pub(super) struct Restored {
    /// `metadata.default`.
    map: NodeId,
    kind: SpanKind,
}

fn default_metadata(walk: &Walk, segment: usize) -> Option<NodeId> {
    let metadata = walk.segments.get(segment)?.fields.metadata;
    walk.get(metadata, "default")
}

/// Scope and resource of the document, from its outermost segment.
pub(super) fn scope_and_resource(walk: &Walk, spans: &mut ResourceSpans) {
    let Some(map) = default_metadata(walk, 0) else { return };
    if walk.get(Some(map), keys::KIND).is_none() {
        return;
    }
    let tree = walk.tree;
    let mut attributes = Vec::new();
    for field in tree.children(map) {
        if let Some(key) = tree.key(field).strip_prefix(keys::RESOURCE) {
            attributes.push(key_value(key, restored_value(tree, field)));
        }
    }
    if let Some(resource) = &mut spans.resource
        && !attributes.is_empty()
    {
        resource.attributes = attributes;
    }
    let text = |key| walk.get_text(Some(map), key).unwrap_or_default().to_owned();
    spans.schema_url = text(keys::RESOURCE_SCHEMA);
    let scope = walk.get(Some(map), keys::SCOPE);
    for scope_spans in &mut spans.scope_spans {
        scope_spans.schema_url = text(keys::SCOPE_SCHEMA);
        let of_scope = |key| walk.get_text(scope, key).unwrap_or_default().to_owned();
        scope_spans.scope = scope.map(|scope| InstrumentationScope {
            name: of_scope("name"),
            version: of_scope("version"),
            attributes: walk
                .get(Some(scope), "attributes")
                .map(|map| map_values(tree, map))
                .unwrap_or_default(),
            ..InstrumentationScope::default()
        });
    }
}

impl Restored {
    /// `None` for documents that were no spans.
    pub(super) fn read(place: &Place) -> Option<Self> {
        let map = place.walk.get(place.segment.fields.metadata, "default")?;
        let kind = place.walk.get_text(Some(map), keys::KIND)?;
        let kind = SpanKind::from_str_name(&format!("SPAN_KIND_{kind}"))?;
        Some(Self { map, kind })
    }

    /// Puts back what the span was.
    pub(super) fn apply(self, place: &Place, span: &mut Span) {
        let walk = place.walk;
        let tree = walk.tree;
        let get = |key| walk.get(Some(self.map), key);
        let number = |key| {
            get(key)
                .and_then(|field| tree.number(field))
                .and_then(|text| text.parse::<u32>().ok())
        };
        let names = annotation_names(place);
        let mut attributes: Vec<KeyValue> = Vec::new();
        for field in tree.children(self.map) {
            let key = tree.key(field);
            if let Some(own) = key.strip_prefix(keys::ATTRIBUTE) {
                attributes.push(key_value(own, restored_value(tree, field)));
            } else if !keys::is_ours(key) {
                attributes.push(key_value(key, restored_value(tree, field)));
            }
        }
        for have in std::mem::take(&mut span.attributes) {
            let is_wanted = keys::READ_BACK.contains(&have.key.as_str()) || names.contains(&have.key.as_str());
            if is_wanted && !attributes.iter().any(|restored| restored.key == have.key) {
                attributes.push(have);
            }
        }
        span.attributes = attributes;
        span.kind = self.kind as i32;
        let name = walk.text(get(keys::NAME)).unwrap_or_else(|| walk.name(place.segment));
        name.clone_into(&mut span.name);
        if let Some(flags) = number(keys::FLAGS) {
            span.flags = flags;
        }
        walk.text(get(keys::TRACE_STATE))
            .unwrap_or_default()
            .clone_into(&mut span.trace_state);
        span.dropped_attributes_count = number(keys::DROPPED_ATTRIBUTES).unwrap_or(0);
        span.dropped_events_count = number(keys::DROPPED_EVENTS).unwrap_or(0);
        span.dropped_links_count = number(keys::DROPPED_LINKS).unwrap_or(0);
        span.status = get(keys::STATUS).map(|status| Status {
            code: walk
                .get(Some(status), "code")
                .and_then(|code| tree.number(code))
                .and_then(|code| code.parse().ok())
                .unwrap_or(0),
            message: walk.get_text(Some(status), "message").unwrap_or_default().to_owned(),
        });
        span.events = self.events(place, std::mem::take(&mut span.events));
        self.links(place, span);
    }

    /// Every event stands in the metadata with its time; an exception's type, message and stack may stand in the cause.
    fn events(&self, place: &Place, causes: Vec<Event>) -> Vec<Event> {
        let walk = place.walk;
        let tree = walk.tree;
        let Some(list) = walk.get(Some(self.map), keys::EVENTS) else {
            return Vec::new();
        };
        let mut events = Vec::new();
        for entry in tree.children(list) {
            let number = |key| {
                let field = walk.get(Some(entry), key)?;
                tree.number(field)?.parse::<u64>().ok()
            };
            let own = walk.get(Some(entry), "attributes");
            let mut attributes = own.map(|map| map_values(tree, map)).unwrap_or_default();
            let cause = number("cause").and_then(|index| causes.get(usize::try_from(index).ok()?));
            for told in cause.into_iter().flat_map(|event| &event.attributes) {
                let is_standard = told.key.starts_with("exception.");
                if is_standard && !attributes.iter().any(|have| have.key == told.key) {
                    attributes.push(told.clone());
                }
            }
            let is_mark = |attribute: &KeyValue| {
                let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
                attribute.key == "exception.stacktrace" && value.is_none()
            };
            attributes.retain(|attribute| !is_mark(attribute));
            events.push(Event {
                time_unix_nano: number("time").unwrap_or(0),
                name: walk.get_text(Some(entry), "name").unwrap_or_default().to_owned(),
                attributes,
                dropped_attributes_count: number("dropped").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            });
        }
        events
    }

    /// Trace states and flags of links, which X-Ray's have not, by their position.
    fn links(&self, place: &Place, span: &mut Span) {
        let walk = place.walk;
        let Some(list) = walk.get(Some(self.map), keys::LINKS) else {
            return;
        };
        for (entry, link) in walk.tree.children(list).zip(&mut span.links) {
            let number = |key| walk.tree.number(walk.get(Some(entry), key)?)?.parse::<u32>().ok();
            link.flags = number("flags").unwrap_or(0);
            link.dropped_attributes_count = number("dropped").unwrap_or(0);
            walk.get_text(Some(entry), "trace_state")
                .unwrap_or_default()
                .clone_into(&mut link.trace_state);
            if let Some(map) = walk.get(Some(entry), "attributes") {
                link.attributes = map_values(walk.tree, map);
            }
        }
    }
}

/// Keys of annotations that are attributes: what was copied from the resource is not.
fn annotation_names<'p>(place: &Place<'p, '_>) -> Vec<&'p str> {
    let tree = place.walk.tree;
    let block = place.segment.fields.annotations;
    let names = block
        .into_iter()
        .flat_map(|block| tree.children(block))
        .map(|field| tree.key(field));
    names.filter(|name| !name.starts_with(keys::RESOURCE)).collect()
}

fn key_value(key: &str, value: AnyValue) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn map_values(tree: &Tree, map: NodeId) -> Vec<KeyValue> {
    let fields = tree.children(map);
    fields
        .map(|field| key_value(tree.key(field), restored_value(tree, field)))
        .collect()
}

/// As [`any`], and what JSON has no value for from `{"otel.bytes": "<base64>"}` and `{"otel.double": "NaN"}`.
fn restored_value(tree: &Tree, field: NodeId) -> AnyValue {
    if tree.kind(field) == Kind::Map {
        let mut children = tree.children(field);
        if let (Some(child), None) = (children.next(), children.next())
            && let Some(value) = special(tree.key(child), tree.text(child))
        {
            return AnyValue { value: Some(value) };
        }
    }
    let mut value = any(tree, field);
    restore_inside(&mut value, 0);
    value
}

fn special(key: &str, text: Option<&str>) -> Option<Value> {
    use base64::Engine;
    match key {
        keys::BYTES => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text?).ok()?;
            Some(Value::BytesValue(bytes))
        }
        keys::DOUBLE => text?.parse().ok().map(Value::DoubleValue),
        _ => None,
    }
}

/// `any` stops at a fixed depth, so this does too.
fn restore_inside(value: &mut AnyValue, depth: u32) {
    if depth > 32 {
        return;
    }
    match &mut value.value {
        Some(Value::ArrayValue(array)) => array
            .values
            .iter_mut()
            .for_each(|value| restore_inside(value, depth + 1)),
        Some(Value::KvlistValue(list)) => {
            if let [only] = list.values.as_slice()
                && let Some(Value::StringValue(text)) = only.value.as_ref().and_then(|value| value.value.as_ref())
                && let Some(found) = special(&only.key, Some(text))
            {
                value.value = Some(found);
                return;
            }
            for entry in &mut list.values {
                if let Some(value) = &mut entry.value {
                    restore_inside(value, depth + 1);
                }
            }
        }
        _ => {}
    }
}
