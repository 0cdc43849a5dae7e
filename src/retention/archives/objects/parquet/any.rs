//! Arrays and maps among the attributes as OTLP/JSON, and back. Numbers are text in it, so that none is rounded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use prost::Message;
use serde_json::{Value as Json, json};

/// What is nested deeper is kept as the bytes of its protobuf: readers of JSON have limits.
const DEEPEST: usize = 24;

pub fn array(array: &ArrayValue, depth: usize) -> Json {
    let values: Vec<Json> = array.values.iter().map(|value| any(value, depth + 1)).collect();
    json!({"values": values})
}

pub fn map(map: &KeyValueList, depth: usize) -> Json {
    let entry = |entry: &KeyValue| {
        let value = entry.value.as_ref().map_or(Json::Null, |value| any(value, depth + 1));
        json!({"key": entry.key, "value": value})
    };
    json!({"values": map.values.iter().map(entry).collect::<Vec<_>>()})
}

fn any(value: &AnyValue, depth: usize) -> Json {
    match &value.value {
        Some(Any::StringValue(text)) => json!({"stringValue": text}),
        Some(Any::BoolValue(flag)) => json!({"boolValue": flag}),
        Some(Any::IntValue(number)) => json!({"intValue": number.to_string()}),
        Some(Any::DoubleValue(number)) => json!({"doubleValue": double(*number)}),
        Some(Any::BytesValue(bytes)) => json!({"bytesValue": BASE64.encode(bytes)}),
        Some(Any::ArrayValue(_) | Any::KvlistValue(_)) if depth > DEEPEST => {
            json!({"bytesValue": BASE64.encode(value.encode_to_vec())})
        }
        Some(Any::ArrayValue(values)) => json!({"arrayValue": array(values, depth)}),
        Some(Any::KvlistValue(values)) => json!({"kvlistValue": map(values, depth)}),
        Some(Any::StringValueStrindex(_)) | None => json!({}),
    }
}

fn double(number: f64) -> String {
    match number {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        number => number.to_string(),
    }
}

/// What [`array`] has written.
pub fn array_of(json: &Json) -> ArrayValue {
    let values = json["values"].as_array().into_iter().flatten();
    ArrayValue {
        values: values.map(any_of).collect(),
    }
}

/// What [`map`] has written.
pub fn map_of(json: &Json) -> KeyValueList {
    let entry = |entry: &Json| KeyValue {
        key: entry["key"].as_str().unwrap_or_default().to_owned(),
        value: entry.get("value").filter(|value| !value.is_null()).map(any_of),
        ..KeyValue::default()
    };
    let values = json["values"].as_array().into_iter().flatten();
    KeyValueList {
        values: values.map(entry).collect(),
    }
}

fn any_of(json: &Json) -> AnyValue {
    let first = json.as_object().and_then(|fields| fields.iter().next());
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let value = first.and_then(|(kind, value)| match kind.as_str() {
        "stringValue" => Some(Any::StringValue(text(value))),
        "boolValue" => value.as_bool().map(Any::BoolValue),
        "intValue" => text(value).parse().ok().map(Any::IntValue),
        "doubleValue" => text(value).parse().ok().map(Any::DoubleValue),
        "bytesValue" => BASE64.decode(text(value)).ok().map(Any::BytesValue),
        "arrayValue" => Some(Any::ArrayValue(array_of(value))),
        "kvlistValue" => Some(Any::KvlistValue(map_of(value))),
        _ => None,
    });
    AnyValue { value }
}
