//! Asking for the type of a value, and changing it.

use super::{Frame, Spec, required, spec};
use crate::ottl::EvalError;
use crate::ottl::value::{List, Map, Value};

pub(super) const SPECS: &[Spec] = &[
    spec("IsString", &[required("value")], |frame| {
        Ok(Value::Bool(matches!(frame.value(0)?, Value::Text(_))))
    }),
    spec("IsInt", &[required("value")], |frame| {
        Ok(Value::Bool(matches!(frame.value(0)?, Value::Int(_))))
    }),
    spec("IsDouble", &[required("value")], |frame| {
        Ok(Value::Bool(matches!(frame.value(0)?, Value::Double(_))))
    }),
    spec("IsBool", &[required("value")], |frame| {
        Ok(Value::Bool(matches!(frame.value(0)?, Value::Bool(_))))
    }),
    spec("IsMap", &[required("value")], |frame| {
        Ok(Value::Bool(matches!(frame.value(0)?, Value::Map(_))))
    }),
    spec("IsList", &[required("value")], |frame| {
        Ok(Value::Bool(matches!(frame.value(0)?, Value::List(_))))
    }),
    spec("Int", &[required("value")], |frame| Ok(to_int(&frame.value(0)?))),
    spec("Double", &[required("value")], |frame| Ok(to_double(&frame.value(0)?))),
    spec("Bool", &[required("value")], to_bool),
    spec("String", &[required("value")], |frame| {
        Ok(frame.value(0)?.to_text()?.map_or(Value::Nil, Value::Text))
    }),
    spec("Len", &[required("target")], len),
];

/// Nil for what is no number.
fn to_int(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::Int(value) => Value::Int(*value),
        Value::Double(value) => Value::Int(*value as i64),
        Value::Bool(value) => Value::Int((*value).into()),
        Value::Text(text) => text.parse().map_or(Value::Nil, Value::Int),
        _ => Value::Nil,
    }
}

fn to_double(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::Int(value) => Value::Double(*value as f64),
        Value::Double(value) => Value::Double(*value),
        Value::Bool(value) => Value::Double(f64::from(u8::from(*value))),
        Value::Text(text) => text.parse().map_or(Value::Nil, Value::Double),
        _ => Value::Nil,
    }
}

fn to_bool<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    Ok(match frame.value(0)? {
        Value::Nil => Value::Nil,
        Value::Bool(value) => Value::Bool(value),
        Value::Int(value) => Value::Bool(value != 0),
        Value::Double(value) => Value::Bool(value != 0.0),
        Value::Text(text) => match &*text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Value::Bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Value::Bool(false),
            _ => return Err(frame.failed("the string is neither true nor false")),
        },
        other => return Err(frame.wrong("bool, number or string", &other)),
    })
}

/// Bytes of a string, elements of a list, entries of a map.
fn len<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let count = match frame.value(0)? {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(List::Owned(elements)) => elements.len(),
        Value::List(list) => count(list.iter())?,
        Value::Map(Map::Owned(entries)) => entries.len(),
        Value::Map(map) => count(map.iter())?,
        other => return Err(frame.wrong("string, list or map", &other)),
    };
    Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn count<T>(elements: impl Iterator<Item = Result<T, EvalError>>) -> Result<usize, EvalError> {
    let mut count = 0;
    for element in elements {
        element?;
        count += 1;
    }
    Ok(count)
}
