//! Hashes, encodings, JSON, and questions about spans and metrics.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::{Context, Frame, Spec, required, spec};
use crate::ottl::EvalError;
use crate::ottl::value::{List, Map, Value};
use crate::wire;

pub(super) const SPECS: &[Spec] = &[
    spec("SHA256", &[required("value")], |frame| {
        Ok(Value::Text(
            hex::encode(Sha256::digest(frame.text(0)?.as_bytes())).into(),
        ))
    }),
    spec("Hex", &[required("value")], |frame| {
        let value = frame.value(0)?;
        let bytes = bytes_of(&value).ok_or_else(|| frame.wrong("number, bool, string or bytes", &value))?;
        Ok(Value::Text(hex::encode(bytes).into()))
    }),
    spec("TraceID", &[required("bytes")], |frame| id(frame, 16)),
    spec("SpanID", &[required("bytes")], |frame| id(frame, 8)),
    spec("ParseJSON", &[required("target")], |frame| {
        let parsed = serde_json::from_str(&frame.text(0)?).map_err(|_| frame.failed("the string is no JSON"))?;
        Ok(from_json(parsed))
    }),
    spec("ContainsValue", &[required("target"), required("item")], contains_value),
    Spec {
        name: "IsRootSpan",
        parameters: &[],
        contexts: &[Context::Span, Context::SpanEvent],
        eval: |frame| {
            let parent = frame.target.parent_span_id()?.unwrap_or_default();
            Ok(Value::Bool(parent.iter().all(|byte| *byte == 0)))
        },
    },
    Spec {
        name: "HasAttrKeyOnDatapoint",
        parameters: &[required("key")],
        contexts: &[Context::Metric],
        eval: |frame| {
            let key = frame.text(0)?;
            any_point(frame, |attributes| attributes.contains(&key))
        },
    },
    Spec {
        name: "HasAttrOnDatapoint",
        parameters: &[required("key"), required("value")],
        contexts: &[Context::Metric],
        eval: |frame| {
            let (key, wanted) = (frame.text(0)?, frame.text(1)?);
            any_point(frame, |attributes| {
                let found = attributes.get(&key)?;
                Ok(matches!(found, Some(wire::Value::String(text)) if text.as_bytes() == wanted.as_bytes()))
            })
        },
    },
];

fn any_point<'v>(
    frame: &Frame<'v, '_>,
    matches: impl Fn(wire::Attributes<'v>) -> Result<bool, wire::WireError>,
) -> Result<Value<'v>, EvalError> {
    if let Some(metric) = frame.target.metric()
        && let Some(data) = metric.data()?
    {
        for point in data.points() {
            if matches(point?.attributes())? {
                return Ok(Value::Bool(true));
            }
        }
    }
    Ok(Value::Bool(false))
}

/// Big-endian bytes of numbers, the bytes of everything else.
fn bytes_of<'a>(value: &'a Value<'_>) -> Option<Cow<'a, [u8]>> {
    Some(match value {
        Value::Int(value) => Cow::Owned(value.to_be_bytes().to_vec()),
        Value::Double(value) => Cow::Owned(value.to_be_bytes().to_vec()),
        Value::Bool(value) => Cow::Owned(vec![u8::from(*value)]),
        Value::Text(text) => Cow::Borrowed(text.as_bytes()),
        Value::Bytes(bytes) => Cow::Borrowed(&**bytes),
        _ => return None,
    })
}

/// An id from its bytes, or from its hexadecimal digits.
fn id<'v>(frame: &Frame<'v, '_>, len: usize) -> Result<Value<'v>, EvalError> {
    let bytes = match frame.value(0)? {
        Value::Bytes(bytes) => bytes,
        Value::Text(text) => match hex::decode(&*text) {
            Ok(bytes) => Cow::Owned(bytes),
            Err(_) => return Err(frame.failed("the string is not hexadecimal")),
        },
        other => return Err(frame.wrong("bytes or string", &other)),
    };
    if bytes.len() != len {
        return Err(frame.failed("an id of the wrong length"));
    }
    Ok(Value::Bytes(bytes))
}

/// Numbers become floats, as in the Collector. serde_json bounds the depth.
fn from_json(json: serde_json::Value) -> Value<'static> {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::Text(text.into()),
        serde_json::Value::Array(elements) => Value::List(List::Owned(elements.into_iter().map(from_json).collect())),
        serde_json::Value::Object(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (key.into(), from_json(value)));
            Value::Map(Map::Owned(entries.collect()))
        }
    }
}

fn contains_value<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let list = match frame.value(0)? {
        Value::List(list) => list,
        other => return Err(frame.wrong("list", &other)),
    };
    let wanted = frame.value(1)?;
    for element in list.iter() {
        if crate::ottl::compare::compare(crate::ottl::ast::CompareOp::Equal, &element?, &wanted)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
