//! The `cause` block: exceptions as events, or the id of an exception elsewhere in the document.

use std::collections::HashMap;

use opentelemetry_proto::tonic::trace::v1::span::Event;
use sha2::{Digest, Sha256};

use super::attributes::Attributes;
use super::salvage::{Reason, Salvaged};
use super::span::{Draft, Messages, Place};
use super::walk::Walk;
use crate::aws::xray::document::{Kind, NodeId};
use crate::aws::xray::ids::{self, SpanId, TraceId};
use crate::aws::xray::stack::{self, Frame};

pub(super) fn translate(
    place: &Place,
    id: SpanId,
    draft: &mut Draft,
    salvaged: &mut Salvaged,
    messages: &mut Messages,
) -> Vec<Event> {
    let Some(cause) = place.segment.fields.cause else {
        return Vec::new();
    };
    let tree = place.walk.tree;
    match tree.kind(cause) {
        Kind::Text => {
            reference(place, tree.text(cause).unwrap_or_default(), draft, salvaged, messages);
            Vec::new()
        }
        Kind::Map => exceptions(place, id, cause, draft, salvaged),
        _ => {
            draft.salvage(Reason::Cause, salvaged);
            Vec::new()
        }
    }
}

fn reference(place: &Place, id: &str, draft: &mut Draft, salvaged: &mut Salvaged, messages: &mut Messages) {
    if ids::span_id(id).is_none() {
        draft.salvage(Reason::Cause, salvaged);
    }
    draft.attributes.text("aws.xray.cause.id", id);
    draft.cause_message = if place.walk.options.collector() {
        Some(id.to_owned())
    } else {
        let messages = messages.get_or_insert_with(|| messages_of(place.walk));
        messages.get(&id.to_ascii_lowercase()).cloned()
    };
}

fn messages_of(walk: &Walk) -> HashMap<String, String> {
    let mut messages = HashMap::new();
    for segment in &walk.segments {
        let list = walk.get(segment.fields.cause, "exceptions");
        for exception in list.into_iter().flat_map(|list| walk.tree.children(list)) {
            let id = walk.get_text(Some(exception), "id");
            let message = walk.get_text(Some(exception), "message");
            if let (Some(id), Some(message)) = (id, message) {
                messages.insert(id.to_ascii_lowercase(), message.to_owned());
            }
        }
    }
    messages
}

fn exceptions(place: &Place, id: SpanId, cause: NodeId, draft: &mut Draft, salvaged: &mut Salvaged) -> Vec<Event> {
    let walk = place.walk;
    let tree = walk.tree;
    if let Some(directory) = walk.get_text(Some(cause), "working_directory") {
        draft.attributes.text("aws.xray.cause.working_directory", directory);
    }
    if let Some(paths) = walk.get(Some(cause), "paths") {
        let texts = tree.children(paths).filter_map(|path| tree.text(path));
        let texts: Vec<String> = texts.map(str::to_owned).collect();
        if !texts.is_empty() {
            draft.attributes.texts("aws.xray.cause.paths", texts);
        }
    }
    let mut events = Vec::new();
    let list = walk.get(Some(cause), "exceptions");
    for (index, exception) in list.into_iter().flat_map(|list| tree.children(list)).enumerate() {
        if tree.kind(exception) != Kind::Map {
            draft.salvage(Reason::Cause, salvaged);
            continue;
        }
        let kind = walk.get_text(Some(exception), "type");
        draft
            .exception
            .get_or_insert_with(|| kind.unwrap_or_default().to_owned());
        let collector = walk.options.collector();
        events.push(Event {
            time_unix_nano: if collector { 0 } else { place.segment.end },
            name: "exception".to_owned(),
            attributes: attributes(place, id, exception, index).0,
            ..Event::default()
        });
    }
    events
}

fn attributes(place: &Place, span: SpanId, exception: NodeId, index: usize) -> Attributes {
    let walk = place.walk;
    let tree = walk.tree;
    let get = |key| walk.get(Some(exception), key);
    let kind = walk.text(get("type"));
    let message = walk.text(get("message"));
    let mut attributes = Attributes::default();
    if let Some(kind) = kind {
        attributes.text("exception.type", kind);
    }
    if let Some(message) = message {
        attributes.text("exception.message", message);
    }
    if let Some(list) = get("stack") {
        stack_trace(place, list, (kind, message), &mut attributes);
    }
    let id = match walk.text(get("id")) {
        Some(id) if ids::span_id(id).is_some() => id.to_ascii_lowercase(),
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => exception_id(place.trace_id, span, index),
    };
    attributes.text("aws.xray.exception.id", id);
    if walk.is_true(get("remote")) {
        attributes.flag("aws.xray.exception.remote", true);
    }
    for (field, key) in [
        ("truncated", "aws.xray.exception.truncated"),
        ("skipped", "aws.xray.exception.skipped"),
    ] {
        if let Some(count) = get(field)
            .and_then(|count| tree.number(count))
            .and_then(|text| text.parse().ok())
        {
            attributes.int(key, count);
        }
    }
    if let Some(cause) = walk.text(get("cause")) {
        attributes.text("aws.xray.exception.cause", cause);
    }
    attributes
}

/// An id for an exception without one: the same for the same place.
pub(in crate::aws::xray) fn exception_id(trace_id: &TraceId, span: SpanId, index: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(trace_id);
    hash.update(span);
    hash.update((index as u64).to_be_bytes());
    hex::encode(&hash.finalize()[..8])
}

fn stack_trace(place: &Place, list: NodeId, head: (Option<&str>, Option<&str>), attributes: &mut Attributes) {
    let walk = place.walk;
    let tree = walk.tree;
    let mut frames = Vec::new();
    let mut plain = tree.kind(list) == Kind::List;
    for entry in tree.children(list) {
        let field = |key| walk.get(Some(entry), key);
        let line = field("line").and_then(|line| tree.number(line));
        plain &= tree.kind(entry) == Kind::Map
            && tree.children(entry).all(|field| match tree.key(field) {
                "path" | "label" => matches!(tree.kind(field), Kind::Text | Kind::Null),
                "line" => matches!(tree.kind(field), Kind::Number | Kind::Null),
                _ => false,
            });
        frames.push(Frame {
            path: walk.text(field("path")),
            line: line.and_then(|line| line.parse().ok()),
            label: walk.text(field("label")),
        });
    }
    if frames.is_empty() && plain {
        return;
    }
    let (kind, message) = (head.0.unwrap_or_default(), head.1.unwrap_or_default());
    let text = stack::write(kind, message, &frames, walk.options.collector());
    attributes.text("exception.stacktrace", text);
    if !plain || !frames.iter().all(Frame::reads_back) {
        attributes.text("aws.xray.exception.stack", tree.compact(list));
    }
}
