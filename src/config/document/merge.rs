//! One document over another, and the `a::b: v` form of keys.

use crate::config::problem::Problem;
use crate::config::tree::{self, Entry, MAX_DEPTH, Node, Scalar, Value};

/// Makes a document of what was read: a map whose `a::b` keys are paths. `None` where it is no map.
pub(super) fn as_document(mut node: Node, problems: &mut Vec<Problem>) -> Option<Node> {
    if let Value::Null = node.value {
        return Some(Node::empty_map(node.span));
    }
    if !matches!(node.value, Value::Map(_)) {
        problems.push(Problem::error(node.span, "a configuration is a map of keys and values"));
        return None;
    }
    split_paths(&mut node, problems);
    if node.depth() > MAX_DEPTH {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        problems.push(Problem::error(node.span, message));
        return None;
    }
    Some(node)
}

/// `a::b: v` -> `a: {b: v}`, everywhere. The tree is at most `MAX_DEPTH` deep.
fn split_paths(node: &mut Node, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::Null | Value::Scalar(_) => {}
        Value::List(elements) => {
            for element in elements {
                split_paths(element, problems);
            }
        }
        Value::Map(entries) => {
            for entry in entries.iter_mut() {
                split_paths(&mut entry.node, problems);
            }
            let has_paths = entries.iter().any(|entry| path_parts(&entry.key).is_some());
            if has_paths {
                let mut joined = Vec::with_capacity(entries.len());
                for entry in std::mem::take(entries) {
                    insert(&mut joined, nest(entry, problems), problems);
                }
                *entries = joined;
            }
        }
    }
}

/// The parts of a key that is a path. A key with an empty part (an IPv6 address) is a key.
fn path_parts(key: &str) -> Option<Vec<&str>> {
    if !key.contains("::") {
        return None;
    }
    let parts: Vec<&str> = key.split("::").collect();
    let usable = parts.iter().all(|part| !part.is_empty());
    usable.then_some(parts)
}

/// An entry whose key is a path, as nested maps of one entry each.
fn nest(entry: Entry, problems: &mut Vec<Problem>) -> Entry {
    let Some(parts) = path_parts(&entry.key) else {
        return entry;
    };
    if parts.len() > MAX_DEPTH {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        problems.push(Problem::error(entry.key_span, message));
        return entry;
    }
    let parts: Vec<String> = parts.into_iter().map(str::to_string).collect();
    let key_span = entry.key_span;
    let mut node = entry.node;
    let mut key = String::new();
    for (index, part) in parts.into_iter().rev().enumerate() {
        if index > 0 {
            let inner = Entry { key, key_span, node };
            node = Node {
                value: Value::Map(vec![inner]),
                span: key_span,
                expanded: None,
            };
        }
        key = part;
    }
    Entry { key, key_span, node }
}

/// Adds an entry to the map of the same document: maps grow together, anything else twice is an error.
fn insert(entries: &mut Vec<Entry>, entry: Entry, problems: &mut Vec<Problem>) {
    let Some(there) = entries.iter_mut().find(|there| there.key == entry.key) else {
        entries.push(entry);
        return;
    };
    match (&mut there.node.value, entry.node.value) {
        (Value::Map(below), Value::Map(more)) => {
            for inner in more {
                insert(below, inner, problems);
            }
        }
        _ => {
            let message = format!("the key \"{}\" is given twice", entry.key);
            problems.push(Problem::error(entry.key_span, message));
        }
    }
}

/// `over` on top of `below`: maps deep, lists and scalars replaced, a null erases.
pub(super) fn merge(below: Node, over: Node, append_lists: bool) -> Node {
    merge_at(below, over, &mut Vec::new(), append_lists)
}

fn merge_at(below: Node, over: Node, path: &mut Vec<String>, append_lists: bool) -> Node {
    match (below.value, over.value) {
        (Value::Map(mut entries), Value::Map(more)) => {
            for entry in more {
                let Some(index) = entries.iter().position(|there| there.key == entry.key) else {
                    entries.push(entry);
                    continue;
                };
                let there = &mut entries[index];
                let before = std::mem::replace(&mut there.node, Node::null(entry.key_span));
                let is_map = matches!(entry.node.value, Value::Map(_)) && matches!(before.value, Value::Map(_));
                if !is_map {
                    // The later document says what the value is: point there.
                    there.key_span = entry.key_span;
                }
                path.push(entry.key);
                there.node = merge_at(before, entry.node, path, append_lists);
                path.pop();
            }
            Node {
                value: Value::Map(entries),
                span: below.span,
                expanded: None,
            }
        }
        (Value::List(mut elements), Value::List(more)) if append_lists && is_appended(path) => {
            for element in more {
                let is_new = !elements.iter().any(|there| same_scalar(there, &element));
                if is_new {
                    elements.push(element);
                }
            }
            Node {
                value: Value::List(elements),
                span: over.span,
                expanded: None,
            }
        }
        (_, value) => Node { value, ..over },
    }
}

/// `service::extensions` and `service::**::{receivers,exporters}`.
fn is_appended(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["service", "extensions"] => true,
        ["service", .., last] => matches!(*last, "receivers" | "exporters"),
        _ => false,
    }
}

fn same_scalar(a: &tree::Node, b: &tree::Node) -> bool {
    let text = |node: &tree::Node| match &node.value {
        Value::Scalar(Scalar { text, .. }) => Some(text.clone()),
        _ => None,
    };
    text(a).is_some() && text(a) == text(b)
}
