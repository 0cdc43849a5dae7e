//! Values of attributes and bodies as text: what is searched, compared and shown.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::texts::ValueKind;
use crate::wire::{Value, WireError};

/// Arrays and maps inside each other that are shown; deeper ones are written as `…`.
const MOST_NESTING: usize = 16;

/// Bytes of a text that are indexed; the whole stands in the raw item.
pub const MOST_INDEXED: usize = 32 << 10;

/// The kind of a value and its text.
///
/// # Errors
/// Where the value is malformed.
pub fn text_of<'a>(value: &Value<'a>) -> Result<(ValueKind, Cow<'a, str>), WireError> {
    Ok(match value {
        Value::Empty | Value::StringIndex(_) => (ValueKind::None, Cow::Borrowed("")),
        Value::String(text) => (ValueKind::String, text.lossy()),
        Value::Bool(true) => (ValueKind::Bool, Cow::Borrowed("true")),
        Value::Bool(false) => (ValueKind::Bool, Cow::Borrowed("false")),
        Value::Int(number) => (ValueKind::Int, Cow::Owned(number.to_string())),
        Value::Double(number) => (ValueKind::Double, Cow::Owned(number.to_string())),
        Value::Bytes(bytes) => (ValueKind::Bytes, Cow::Owned(STANDARD.encode(bytes))),
        Value::Array(_) => (ValueKind::Array, Cow::Owned(json_of(value, 0)?.to_string())),
        Value::Map(_) => (ValueKind::Map, Cow::Owned(json_of(value, 0)?.to_string())),
    })
}

/// A value as JSON for people: not OTLP/JSON, which wraps every value in its type.
///
/// # Errors
/// Where the value is malformed.
pub fn json_of(value: &Value<'_>, nesting: usize) -> Result<Json, WireError> {
    if nesting > MOST_NESTING {
        return Ok(Json::String("…".to_owned()));
    }
    Ok(match value {
        Value::Empty | Value::StringIndex(_) => Json::Null,
        Value::String(text) => Json::String(text.lossy().into_owned()),
        Value::Bool(flag) => Json::Bool(*flag),
        // Beyond 2^53 a reader of JSON may round: those go as text.
        Value::Int(number) if number.unsigned_abs() <= 1 << 53 => Json::from(*number),
        Value::Int(number) => Json::String(number.to_string()),
        Value::Double(number) if number.is_finite() => Json::from(*number),
        Value::Double(number) => Json::String(number.to_string()),
        Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Array(values) => {
            let mut list = Vec::new();
            for value in *values {
                list.push(json_of(&value?, nesting + 1)?);
            }
            Json::Array(list)
        }
        Value::Map(attributes) => {
            let mut map = serde_json::Map::new();
            for attribute in *attributes {
                let attribute = attribute?;
                let value = json_of(&attribute.value()?, nesting + 1)?;
                map.insert(attribute.key()?.lossy().into_owned(), value);
            }
            Json::Object(map)
        }
    })
}

/// At most [`MOST_INDEXED`] bytes of a text, whole characters.
pub fn indexed(text: &str) -> &str {
    let mut end = text.len().min(MOST_INDEXED);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
