//! [`ConfigValue`]: an attribute value as a configuration writes it, typed by its YAML.

use std::fmt;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use prost::Message;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::wire;

/// A value without position; the section it was read from has that. A plain `5` is an int, `"5"` a string.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    Null,
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(Vec<ConfigValue>),
    Map(Vec<(String, ConfigValue)>),
}

impl Serialize for ConfigValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ConfigValue::Null => serializer.serialize_unit(),
            ConfigValue::Text(text) => serializer.serialize_str(text),
            ConfigValue::Bool(value) => serializer.serialize_bool(*value),
            ConfigValue::Int(value) => serializer.serialize_i64(*value),
            ConfigValue::Double(value) => serializer.serialize_f64(*value),
            ConfigValue::List(values) => serializer.collect_seq(values),
            ConfigValue::Map(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
        }
    }
}

impl ConfigValue {
    /// The payload of an `AnyValue` with this value.
    pub fn encode(&self) -> Vec<u8> {
        self.to_any().encode_to_vec()
    }

    fn to_any(&self) -> AnyValue {
        let value = match self {
            ConfigValue::Null => None,
            ConfigValue::Text(text) => Some(Any::StringValue(text.clone())),
            ConfigValue::Bool(value) => Some(Any::BoolValue(*value)),
            ConfigValue::Int(value) => Some(Any::IntValue(*value)),
            ConfigValue::Double(value) => Some(Any::DoubleValue(*value)),
            ConfigValue::List(values) => Some(Any::ArrayValue(ArrayValue {
                values: values.iter().map(ConfigValue::to_any).collect(),
            })),
            ConfigValue::Map(entries) => {
                let entry = |(key, value): &(String, ConfigValue)| KeyValue {
                    key: key.clone(),
                    value: Some(value.to_any()),
                    ..KeyValue::default()
                };
                Some(Any::KvlistValue(KeyValueList {
                    values: entries.iter().map(entry).collect(),
                }))
            }
        };
        AnyValue { value }
    }

    /// Whether an attribute has this value, of this type.
    pub fn is(&self, value: &wire::Value<'_>) -> bool {
        match (self, value) {
            (ConfigValue::Text(text), wire::Value::String(have)) => have.as_bytes() == text.as_bytes(),
            (ConfigValue::Bool(value), wire::Value::Bool(have)) => value == have,
            (ConfigValue::Int(value), wire::Value::Int(have)) => value == have,
            (ConfigValue::Double(value), wire::Value::Double(have)) => value == have,
            _ => false,
        }
    }
}

impl<'de> de::Deserialize<'de> for ConfigValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = ConfigValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<ConfigValue, E> {
        let value = i64::try_from(value).map_err(|_| E::custom("the number does not fit into a 64-bit int"))?;
        Ok(ConfigValue::Int(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Double(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ConfigValue, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(ConfigValue::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConfigValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(ConfigValue::Map(entries))
    }
}
