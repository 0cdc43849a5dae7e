//! What an expression evaluates to. Borrowed from the telemetry or from the condition wherever that is possible; maps
//! and lists of the telemetry stay as they are on the wire until somebody looks inside.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;

use super::EvalError;
use crate::wire;

/// How deep maps and lists are followed: a stranger's nesting must not cost us the stack.
pub(super) const MAX_VALUE_DEPTH: usize = 64;

#[derive(Clone, Debug, Default)]
pub enum Value<'a> {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Nanoseconds since the Unix epoch.
    Time(i64),
    /// Nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
}

#[derive(Clone, Debug)]
pub enum List<'a> {
    Wire(wire::Values<'a>),
    Borrowed(&'a [Value<'a>]),
    Owned(Vec<Value<'a>>),
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    Wire(wire::Attributes<'a>),
    Borrowed(&'a [(Cow<'a, str>, Value<'a>)]),
    Owned(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> From<wire::Value<'a>> for Value<'a> {
    fn from(value: wire::Value<'a>) -> Self {
        match value {
            wire::Value::Empty | wire::Value::StringIndex(_) => Value::Nil,
            wire::Value::String(text) => Value::Text(text.lossy()),
            wire::Value::Bool(value) => Value::Bool(value),
            wire::Value::Int(value) => Value::Int(value),
            wire::Value::Double(value) => Value::Double(value),
            wire::Value::Array(values) => Value::List(List::Wire(values)),
            wire::Value::Map(attributes) => Value::Map(Map::Wire(attributes)),
            wire::Value::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        }
    }
}

impl<'a> Value<'a> {
    /// A text that is borrowed.
    pub fn text(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }

    /// The name of the type in messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Double(_) => "float",
            Value::Text(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Time(_) => "time",
            Value::Duration(_) => "duration",
            Value::List(_) => "list",
            Value::Map(_) => "map",
        }
    }

    /// The same value, borrowing what this one owns.
    pub fn borrowed(&'a self) -> Value<'a> {
        match self {
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            Value::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Value::List(List::Owned(elements)) => Value::List(List::Borrowed(elements)),
            Value::Map(Map::Owned(entries)) => Value::Map(Map::Borrowed(entries)),
            other => other.clone(),
        }
    }

    /// The element under a text key.
    ///
    /// # Errors
    /// Where this is no map. A key that is not there gives nil.
    pub fn at_key(&self, key: &str) -> Result<Value<'a>, EvalError> {
        match self {
            Value::Map(map) => map.get(key),
            other => Err(EvalError::Index {
                container: other.type_name(),
                key: "string",
            }),
        }
    }

    /// The element at an index.
    ///
    /// # Errors
    /// Where this is no list, or the index lies outside.
    pub fn at_index(&self, index: i64) -> Result<Value<'a>, EvalError> {
        let Value::List(list) = self else {
            return Err(EvalError::Index {
                container: self.type_name(),
                key: "int",
            });
        };
        let index = usize::try_from(index).map_err(|_| EvalError::IndexOutOfRange)?;
        list.iter().nth(index).unwrap_or(Err(EvalError::IndexOutOfRange))
    }

    /// As the Collector turns values into strings: numbers in decimal, bytes in base64, lists and maps as JSON. Nil
    /// gives nothing.
    pub fn to_text(&self) -> Result<Option<Cow<'a, str>>, EvalError> {
        Ok(Some(match self {
            Value::Nil => return Ok(None),
            Value::Text(text) => text.clone(),
            Value::Bool(true) => Cow::Borrowed("true"),
            Value::Bool(false) => Cow::Borrowed("false"),
            Value::Int(value) => value.to_string().into(),
            Value::Double(value) => double_text(*value).into(),
            Value::Bytes(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
            Value::Time(nanos) => super::time::rfc3339(*nanos).into(),
            Value::Duration(nanos) => super::time::duration_text(*nanos).into(),
            Value::List(_) | Value::Map(_) => {
                let mut json = String::new();
                write_json(self, &mut json, MAX_VALUE_DEPTH)?;
                json.into()
            }
        }))
    }
}

impl<'a> List<'a> {
    /// The elements, as far as they can be read.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + use<'a, '_> {
        let (wire, held): (Option<wire::Values<'a>>, &[Value<'a>]) = match self {
            List::Wire(values) => (Some(*values), &[]),
            List::Borrowed(elements) => (None, elements),
            List::Owned(elements) => (None, elements),
        };
        let read = wire.into_iter().flatten().map(|value| Ok(Value::from(value?)));
        read.chain(held.iter().map(|value| Ok(value.clone())))
    }
}

impl<'a> Map<'a> {
    /// The value under a key: the first where a sender wrote it twice; nil where it is not there.
    ///
    /// # Errors
    /// Where the bytes up to it are malformed.
    pub fn get(&self, key: &str) -> Result<Value<'a>, EvalError> {
        let entries: &[(Cow<'a, str>, Value<'a>)] = match self {
            Map::Wire(attributes) => return Ok(attributes.get(key)?.map_or(Value::Nil, Value::from)),
            Map::Borrowed(entries) => entries,
            Map::Owned(entries) => entries,
        };
        let found = entries.iter().find(|(name, _)| name == key);
        Ok(found.map_or(Value::Nil, |(_, value)| value.clone()))
    }

    /// Keys and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = Result<(Cow<'a, str>, Value<'a>), EvalError>> + use<'a, '_> {
        let (wire, held): (Option<wire::Attributes<'a>>, &[(Cow<'a, str>, Value<'a>)]) = match self {
            Map::Wire(attributes) => (Some(*attributes), &[]),
            Map::Borrowed(entries) => (None, entries),
            Map::Owned(entries) => (None, entries),
        };
        let read = wire.into_iter().flatten().map(|attribute| {
            let attribute = attribute?;
            Ok((attribute.key()?.lossy(), Value::from(attribute.value()?)))
        });
        read.chain(held.iter().map(|entry| Ok(entry.clone())))
    }
}

/// A float as the Collector shows it: decimal, with an exponent only for very small and very large ones.
pub fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
            _ => text,
        };
    }
    format!("{value}")
}

/// JSON with sorted keys.
fn write_json(value: &Value<'_>, out: &mut String, depth: usize) -> Result<(), EvalError> {
    if depth == 0 {
        return Err(EvalError::TooDeep);
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(_) | Value::Int(_) => out.push_str(&value.to_text()?.unwrap_or_default()),
        Value::Double(number) if number.is_finite() => out.push_str(&double_text(*number)),
        Value::List(list) => {
            out.push('[');
            for (index, element) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(&element?, out, depth - 1)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            let mut entries = map.iter().collect::<Result<Vec<_>, _>>()?;
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            out.push('{');
            for (index, (key, element)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_text(key, out);
                out.push(':');
                write_json(element, out, depth - 1)?;
            }
            out.push('}');
        }
        other => write_json_text(&other.to_text()?.unwrap_or_default(), out),
    }
    Ok(())
}

fn write_json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
