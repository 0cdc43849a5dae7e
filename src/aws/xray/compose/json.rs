//! A document under construction: JSON whose keys keep their order and whose numbers are written as they were.

use base64::Engine;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use crate::aws::xray::document::{Arena, Tree};
use crate::aws::xray::keys;

/// Lists and maps inside each other that are written as such; what is deeper becomes text.
const DEEPEST: u32 = 16;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    /// Written as it stands.
    Raw(String),
    Text(String),
    Int(i64),
    Flag(bool),
    List(Vec<Json>),
    Map(Fields),
}

/// A map's fields in their order.
pub(super) type Fields = Vec<(String, Json)>;

impl Json {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Json::Text(text.into())
    }

    /// An attribute's value. What JSON has not stands in a map of one key that the way back knows.
    pub(super) fn of(value: &Value) -> Self {
        of_at(value, 0)
    }

    pub(super) fn write(&self, out: &mut String) {
        match self {
            Json::Raw(raw) => out.push_str(raw),
            Json::Text(text) => write_text(text, out),
            Json::Int(int) => out.push_str(&int.to_string()),
            Json::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Json::List(list) => {
                out.push('[');
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Json::Map(fields) => write_map(fields, out),
        }
    }

    /// How long it is when written.
    pub(super) fn size(&self) -> usize {
        let mut text = String::new();
        self.write(&mut text);
        text.len()
    }
}

/// Writes a map.
pub(super) fn write_map(fields: &Fields, out: &mut String) {
    out.push('{');
    for (index, (key, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        value.write(out);
    }
    out.push('}');
}

fn write_text(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

fn of_at(value: &Value, depth: u32) -> Json {
    let inside = |value: &AnyValue| match &value.value {
        Some(value) if depth < DEEPEST => of_at(value, depth + 1),
        Some(_) => Json::text("nested too deep"),
        None => Json::Raw("null".to_owned()),
    };
    match value {
        Value::StringValue(text) => Json::text(text),
        Value::BoolValue(flag) => Json::Flag(*flag),
        Value::IntValue(int) => Json::Int(*int),
        // `{:?}` writes the shortest text that reads back equal, and always with a dot or an exponent.
        Value::DoubleValue(double) if double.is_finite() => Json::Raw(format!("{double:?}")),
        Value::DoubleValue(double) => Json::Map(vec![(keys::DOUBLE.to_owned(), Json::text(double.to_string()))]),
        Value::BytesValue(bytes) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            Json::Map(vec![(keys::BYTES.to_owned(), Json::text(text))])
        }
        Value::ArrayValue(array) => Json::List(array.values.iter().map(inside).collect()),
        Value::KvlistValue(list) => {
            let field = |entry: &KeyValue| (entry.key.clone(), entry.value.as_ref().map_or_else(null, inside));
            Json::Map(list.values.iter().map(field).collect())
        }
        // An index into a table that traces have not.
        Value::StringValueStrindex(index) => Json::Int(i64::from(*index)),
    }
}

pub(super) fn null() -> Json {
    Json::Raw("null".to_owned())
}

/// Attributes as a map.
pub(super) fn map_of(attributes: &[KeyValue]) -> Fields {
    let field = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        (attribute.key.clone(), value.map_or_else(null, Json::of))
    };
    attributes.iter().map(field).collect()
}

/// JSON text as it stands if it is one JSON value, else as a text.
pub(super) fn raw_or_text(text: &str) -> Json {
    let mut arena = Arena::default();
    match Tree::read(text, &mut arena) {
        // Python's NaN is read and must not be written.
        Ok(tree) if tree.end == text.len() && !text.contains("NaN") && !text.contains("Infinity") => {
            Json::Raw(text.to_owned())
        }
        _ => Json::text(text),
    }
}

/// The fields of a JSON object in a text, values as they stand; `None` if it is none.
pub(super) fn fields_of(text: &str) -> Option<Fields> {
    let mut arena = Arena::default();
    let tree = Tree::read(text, &mut arena).ok()?;
    let is_map = tree.kind(tree.root()) == crate::aws::xray::document::Kind::Map;
    if !is_map || tree.end != text.len() {
        return None;
    }
    let fields = tree.children(tree.root());
    Some(
        fields
            .map(|field| (tree.key(field).to_owned(), Json::Raw(tree.compact(field))))
            .collect(),
    )
}

/// Adds a field that has a value.
pub(super) trait Put {
    fn put(&mut self, key: &str, value: Option<Json>);
    fn put_text(&mut self, key: &str, value: Option<&str>) {
        self.put(key, value.map(Json::text));
    }
    /// Adds a map that is not empty.
    fn put_map(&mut self, key: &str, fields: Fields) {
        self.put(key, (!fields.is_empty()).then_some(Json::Map(fields)));
    }
}

impl Put for Fields {
    fn put(&mut self, key: &str, value: Option<Json>) {
        if let Some(value) = value {
            self.push((key.to_owned(), value));
        }
    }
}
