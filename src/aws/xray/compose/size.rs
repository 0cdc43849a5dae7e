//! Documents that are too large: shortened where it hurts least, in a fixed order.

use super::extra::add_to_default;
use super::json::{Fields, Json, write_map};
use crate::aws::xray::keys;

/// Room for the note of what was shortened.
const NOTE: usize = 160;

/// What can be shortened; the `part` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Annotations,
    Events,
    Metadata,
    Stack,
    Exceptions,
    Sql,
}

impl Part {
    /// Every part.
    pub const ALL: [Part; 6] = [
        Part::Annotations,
        Part::Events,
        Part::Metadata,
        Part::Stack,
        Part::Exceptions,
        Part::Sql,
    ];

    /// The `part` label.
    pub fn name(self) -> &'static str {
        match self {
            Part::Annotations => "annotations",
            Part::Events => "events",
            Part::Metadata => "metadata",
            Part::Stack => "stack",
            Part::Exceptions => "exceptions",
            Part::Sql => "sql",
        }
    }
}

/// The document as text of at most `limit` bytes, and what was shortened for it. `None`: too large whatever is left out.
pub(super) fn written(mut document: Fields, limit: usize) -> Option<(String, Vec<Part>)> {
    let text = write(&document);
    if text.len() <= limit {
        return Some((text, Vec::new()));
    }
    let goal = limit.saturating_sub(NOTE);
    let mut excess = text.len().saturating_sub(goal);
    let mut parts = Vec::new();
    type Step = fn(&mut Fields, usize) -> bool;
    let steps: [(Part, Step); 5] = [
        (Part::Events, drop_events),
        (Part::Metadata, drop_largest_metadata),
        (Part::Stack, halve_stacks),
        (Part::Exceptions, drop_exceptions),
        (Part::Sql, cut_sql),
    ];
    for (part, step) in steps {
        // Each call makes it smaller or says that it cannot.
        while excess > 0 && step(&mut document, excess) {
            if !parts.contains(&part) {
                parts.push(part);
            }
            excess = write(&document).len().saturating_sub(goal);
        }
    }
    if excess > 0 {
        return None;
    }
    let names = parts.iter().map(|part| Json::text(part.name())).collect();
    let note = vec![(keys::TRUNCATED.to_owned(), Json::List(names))];
    match field(&mut document, "metadata") {
        Some(Json::Map(namespaces)) => add_to_default(namespaces, note),
        _ => {
            document.retain(|(key, _)| key != "metadata");
            let default = ("default".to_owned(), Json::Map(note));
            document.push(("metadata".to_owned(), Json::Map(vec![default])));
        }
    }
    Some((write(&document), parts))
}

fn write(document: &Fields) -> String {
    let mut text = String::with_capacity(1024);
    write_map(document, &mut text);
    text
}

fn field<'f>(fields: &'f mut Fields, key: &str) -> Option<&'f mut Json> {
    fields.iter_mut().find(|(have, _)| have == key).map(|(_, value)| value)
}

fn map<'f>(fields: &'f mut Fields, key: &str) -> Option<&'f mut Fields> {
    match field(fields, key)? {
        Json::Map(inside) => Some(inside),
        _ => None,
    }
}

fn drop_events(document: &mut Fields, _excess: usize) -> bool {
    let Some(default) = map(document, "metadata").and_then(|metadata| map(metadata, "default")) else {
        return false;
    };
    let before = default.len();
    default.retain(|(key, _)| key != keys::EVENTS);
    default.len() < before
}

/// The largest value of any namespace; a namespace that is one text goes as a whole. What tells a span from a segment
/// stays.
fn drop_largest_metadata(document: &mut Fields, _excess: usize) -> bool {
    if let Some(Json::Raw(_) | Json::Text(_)) = field(document, "metadata") {
        document.retain(|(key, _)| key != "metadata");
        return true;
    }
    let Some(namespaces) = map(document, "metadata") else {
        return false;
    };
    let mut largest: Option<(usize, usize, Option<usize>)> = None;
    for (at, (_, value)) in namespaces.iter().enumerate() {
        match value {
            Json::Map(fields) => {
                for (inside, (key, value)) in fields.iter().enumerate() {
                    let size = value.size();
                    if key != keys::KIND && largest.is_none_or(|(most, _, _)| size > most) {
                        largest = Some((size, at, Some(inside)));
                    }
                }
            }
            other => {
                let size = other.size();
                if largest.is_none_or(|(most, _, _)| size > most) {
                    largest = Some((size, at, None));
                }
            }
        }
    }
    match largest {
        Some((_, at, Some(inside))) => {
            if let Json::Map(fields) = &mut namespaces[at].1 {
                fields.remove(inside);
            }
            true
        }
        Some((_, at, None)) => {
            namespaces.remove(at);
            true
        }
        None => false,
    }
}

fn exceptions(document: &mut Fields) -> Option<&mut Vec<Json>> {
    match field(map(document, "cause")?, "exceptions")? {
        Json::List(list) => Some(list),
        _ => None,
    }
}

/// Adds to a count that may be there.
fn raise(fields: &mut Fields, key: &str, by: usize) {
    let by = i64::try_from(by).unwrap_or(i64::MAX);
    match field(fields, key) {
        Some(Json::Int(count)) => *count = count.saturating_add(by),
        Some(other) => *other = Json::Int(by),
        None => fields.push((key.to_owned(), Json::Int(by))),
    }
}

fn halve_stacks(document: &mut Fields, _excess: usize) -> bool {
    let mut shortened = false;
    for exception in exceptions(document).into_iter().flatten() {
        let Json::Map(fields) = exception else { continue };
        let removed = match field(fields, "stack") {
            Some(Json::List(frames)) if !frames.is_empty() => {
                let keep = frames.len() / 2;
                frames.drain(keep..).count()
            }
            Some(Json::Raw(_)) => {
                fields.retain(|(key, _)| key != "stack");
                1
            }
            _ => continue,
        };
        raise(fields, "truncated", removed);
        shortened = true;
    }
    shortened
}

fn drop_exceptions(document: &mut Fields, _excess: usize) -> bool {
    let Some(list) = exceptions(document).filter(|list| list.len() > 1) else {
        return false;
    };
    let keep = list.len() / 2;
    let dropped = list.drain(keep..).count();
    if let Some(Json::Map(last)) = list.last_mut() {
        raise(last, "skipped", dropped);
    }
    true
}

fn cut_sql(document: &mut Fields, excess: usize) -> bool {
    let Some(Json::Text(query)) = map(document, "sql").and_then(|sql| field(sql, "sanitized_query")) else {
        return false;
    };
    if query.is_empty() {
        return false;
    }
    let mut end = query.len().saturating_sub(excess);
    while !query.is_char_boundary(end) {
        end -= 1;
    }
    query.truncate(end);
    true
}
