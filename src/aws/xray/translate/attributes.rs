//! A list of attributes under construction, and JSON values as attribute values.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use crate::aws::xray::document::{Kind, NodeId, Tree};

/// Maps and lists inside each other that become attribute values; what lies deeper stays JSON text.
const DEEPEST_VALUE: u32 = 16;

/// Attributes in the order they were set; no key twice.
#[derive(Default)]
pub(super) struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    /// Sets a key unless it is set.
    pub(super) fn set(&mut self, key: impl Into<String>, value: AnyValue) {
        let key = key.into();
        if !self.has(&key) {
            self.0.push(KeyValue {
                key,
                value: Some(value),
                ..KeyValue::default()
            });
        }
    }

    pub(super) fn text(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.set(key, text(value));
    }

    pub(super) fn int(&mut self, key: impl Into<String>, value: i64) {
        self.set(key, Value::IntValue(value).into_any());
    }

    pub(super) fn flag(&mut self, key: impl Into<String>, value: bool) {
        self.set(key, Value::BoolValue(value).into_any());
    }

    pub(super) fn texts(&mut self, key: impl Into<String>, values: Vec<String>) {
        let values = values.into_iter().map(text).collect();
        self.set(key, Value::ArrayValue(ArrayValue { values }).into_any());
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|have| have.key == key)
    }

    /// The integer under a key.
    pub(super) fn get_int(&self, key: &str) -> Option<i64> {
        let found = self.0.iter().find(|have| have.key == key)?;
        match &found.value.as_ref()?.value {
            Some(Value::IntValue(int)) => Some(*int),
            _ => None,
        }
    }

    /// The text under a key.
    pub(super) fn get_text(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|have| have.key == key)?;
        match &found.value.as_ref()?.value {
            Some(Value::StringValue(text)) => Some(text),
            _ => None,
        }
    }
}

/// Something that is the content of an [`AnyValue`].
pub(super) trait IntoAny {
    fn into_any(self) -> AnyValue;
}

impl IntoAny for Value {
    fn into_any(self) -> AnyValue {
        AnyValue { value: Some(self) }
    }
}

pub(super) fn text(value: impl Into<String>) -> AnyValue {
    Value::StringValue(value.into()).into_any()
}

/// A JSON number: an integer where it is written as one and fits, else a float, else (too large for either) its text;
/// `Err` gives that text.
pub(super) fn number(written: &str) -> Result<AnyValue, &str> {
    if let Ok(whole) = written.parse::<i64>() {
        return Ok(Value::IntValue(whole).into_any());
    }
    let is_integer = !written.contains(['.', 'e', 'E']);
    match written.parse::<f64>() {
        Ok(float) if float.is_finite() && !is_integer => Ok(Value::DoubleValue(float).into_any()),
        _ => Err(written),
    }
}

/// Any JSON value as an attribute's.
pub(super) fn any(tree: &Tree, id: NodeId) -> AnyValue {
    any_at(tree, id, 0)
}

fn any_at(tree: &Tree, id: NodeId, depth: u32) -> AnyValue {
    match tree.kind(id) {
        Kind::Null => AnyValue { value: None },
        Kind::True => Value::BoolValue(true).into_any(),
        Kind::False => Value::BoolValue(false).into_any(),
        Kind::Text => text(tree.text(id).unwrap_or_default()),
        Kind::Number => {
            let written = tree.number(id).unwrap_or_default();
            number(written).unwrap_or_else(text)
        }
        Kind::List | Kind::Map if depth >= DEEPEST_VALUE => text(tree.compact(id)),
        Kind::List => {
            let values = tree.children(id).map(|child| any_at(tree, child, depth + 1)).collect();
            Value::ArrayValue(ArrayValue { values }).into_any()
        }
        Kind::Map => {
            let mut values: Vec<KeyValue> = Vec::new();
            for child in tree.children(id) {
                let key = tree.key(child);
                values.retain(|have| have.key != key);
                values.push(KeyValue {
                    key: key.to_owned(),
                    value: Some(any_at(tree, child, depth + 1)),
                    ..KeyValue::default()
                });
            }
            Value::KvlistValue(KeyValueList { values }).into_any()
        }
    }
}
