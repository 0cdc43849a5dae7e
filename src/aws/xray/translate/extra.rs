//! Annotations, metadata, and keys that X-Ray does not document.

use super::MetadataMode;
use super::attributes::{IntoAny, any, number, text};
use super::salvage::{Reason, Salvaged};
use super::span::{Draft, Place};
use super::walk::Fields;
use crate::aws::xray::document::{Kind, NodeId, Tree};
use opentelemetry_proto::tonic::common::v1::any_value::Value;

/// Maps inside each other that `expand` flattens; deeper ones stay JSON.
const DEEPEST: u32 = 8;

/// Each is an attribute of its own name, unless that name is taken; `aws.xray.annotations` says which were.
pub(super) fn annotations(place: &Place, draft: &mut Draft, salvaged: &mut Salvaged) {
    let Some(block) = place.segment.fields.annotations else {
        return;
    };
    let tree = place.walk.tree;
    if tree.kind(block) != Kind::Map {
        draft.salvage(Reason::Annotation, salvaged);
        return;
    }
    let collector = place.walk.options.collector();
    let (mut keys, mut numbers) = (Vec::new(), Vec::new());
    let mut rest = String::new();
    for field in tree.children(block) {
        let key = tree.key(field);
        let value = match tree.kind(field) {
            Kind::True | Kind::False | Kind::Text => any(tree, field),
            Kind::Number => {
                let written = tree.number(field).unwrap_or_default();
                let float = written
                    .parse::<f64>()
                    .ok()
                    .filter(|float| collector && float.is_finite());
                match (float, number(written)) {
                    (Some(float), _) => Value::DoubleValue(float).into_any(),
                    (None, Ok(value)) => value,
                    // Too large for any number of ours: its digits, and a note that they were a number.
                    (None, Err(written)) => {
                        numbers.push(key.to_owned());
                        text(written)
                    }
                }
            }
            Kind::Null | Kind::List | Kind::Map => {
                rest.push(if rest.is_empty() { '{' } else { ',' });
                rest.push_str(&serde_json::Value::from(key).to_string());
                rest.push(':');
                rest.push_str(&tree.compact(field));
                if tree.kind(field) != Kind::Null {
                    draft.salvage(Reason::Annotation, salvaged);
                }
                if collector {
                    keys.push(key.to_owned());
                }
                continue;
            }
        };
        if key.is_empty() || key.starts_with("aws.xray.") || draft.attributes.has(key) {
            draft.attributes.set(format!("aws.xray.annotation.{key}"), value);
        } else {
            draft.attributes.set(key, value);
        }
        keys.push(key.to_owned());
    }
    if !rest.is_empty() {
        rest.push('}');
        draft.attributes.text("aws.xray.metadata.annotations", rest);
    }
    for (key, mut list) in [
        ("aws.xray.annotations", keys),
        ("aws.xray.annotations.numbers", numbers),
    ] {
        if !list.is_empty() {
            list.sort_unstable();
            list.dedup();
            draft.attributes.texts(key, list);
        }
    }
}

/// An attribute a namespace, its value as JSON; or an attribute a value.
pub(super) fn metadata(place: &Place, draft: &mut Draft, salvaged: &mut Salvaged) {
    let Some(block) = place.segment.fields.metadata else {
        return;
    };
    let tree = place.walk.tree;
    let options = place.walk.options;
    let mut left = options.metadata_max_bytes;
    if tree.kind(block) != Kind::Map {
        draft.salvage(Reason::Metadata, salvaged);
        let json = within(tree.compact(block), &mut left);
        draft.attributes.text("aws.xray.metadata", json);
        return;
    }
    let mut cut = false;
    for field in tree.children(block) {
        let key = format!("aws.xray.metadata.{}", tree.key(field));
        if options.metadata == MetadataMode::Expand {
            cut |= !expand(tree, key, field, 0, &mut left, draft);
            continue;
        }
        let json = tree.compact(field);
        cut |= json.len() > left;
        let json = within(json, &mut left);
        if !json.is_empty() {
            draft.attributes.text(key, json);
        }
    }
    if cut {
        draft.salvage(Reason::Metadata, salvaged);
    }
}

/// Cut where the room ends, between two characters.
fn within(mut json: String, left: &mut usize) -> String {
    let mut end = json.len().min(*left);
    while !json.is_char_boundary(end) {
        end -= 1;
    }
    json.truncate(end);
    *left -= end;
    json
}

/// `false` where there was no room for all of it.
fn expand(tree: &Tree, key: String, field: NodeId, depth: u32, left: &mut usize, draft: &mut Draft) -> bool {
    if tree.kind(field) == Kind::Map && depth < DEEPEST {
        let mut fits = true;
        for child in tree.children(field) {
            let key = format!("{key}.{}", tree.key(child));
            fits &= expand(tree, key, child, depth + 1, left, draft);
        }
        return fits;
    }
    let size = tree.raw(field).len();
    if size > *left {
        return false;
    }
    *left -= size;
    if tree.kind(field) != Kind::Null {
        draft.attributes.set(key, any(tree, field));
    }
    true
}

/// With `keep_unknown`: what X-Ray does not document, as JSON.
pub(super) fn unknown(place: &Place, draft: &mut Draft) {
    if place.segment.fields.unknown == 0 {
        return;
    }
    draft.marks.add(Reason::UnknownKey);
    if !place.walk.options.keep_unknown {
        return;
    }
    let tree = place.walk.tree;
    for field in tree.children(place.segment.object) {
        let key = tree.key(field);
        if !Fields::knows(key) && tree.kind(field) != Kind::Null {
            draft
                .attributes
                .text(format!("aws.xray.unknown.{key}"), tree.compact(field));
        }
    }
}
