//! A span as the table has it: MLflow's dictionary (written by `log_spans`, and by us), or the one that the store makes
//! of an X-Ray segment. Both ways.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::Event};
use serde_json::{Map, Value as Json, json};

use crate::aws::xray::ids;
use crate::retention::archive::TraceId;

/// Arrays and maps inside each other that are read.
const DEEPEST: usize = 64;
const TYPE: &str = "mlflow.spanType";
const REQUEST_ID: &str = "mlflow.traceRequestId";

/// What an audit asks of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub id: [u8; 8],
    pub is_open: bool,
}

/// Facts of a dictionary; `None`: it is no span of this trace.
pub fn facts(dict: &Json, trace: TraceId) -> Option<Facts> {
    let id = id_of(&dict["span_id"])?;
    let named = ["otel_trace_id", "trace_id"]
        .iter()
        .find_map(|key| trace_of(&dict[*key]));
    if named.is_some_and(|named| named != trace) {
        return None;
    }
    let end = nanos(dict, &["end_time_unix_nano", "end_time_ns"]);
    Some(Facts { id, is_open: end == 0 })
}

fn id_of(value: &Json) -> Option<[u8; 8]> {
    let text = value.as_str()?;
    ids::span_id(text).or_else(|| BASE64.decode(text).ok()?.try_into().ok())
}

fn trace_of(value: &Json) -> Option<TraceId> {
    let text = value.as_str()?;
    let bytes = || <[u8; 16]>::try_from(BASE64.decode(text).ok()?).ok();
    TraceId::parse(text).or_else(|| bytes().map(TraceId))
}

fn nanos(dict: &Json, keys: &[&str]) -> u64 {
    let value = keys.iter().map(|key| &dict[*key]).find(|value| !value.is_null());
    match value {
        Some(Json::String(text)) => text.parse().unwrap_or_default(),
        Some(value) => value.as_u64().unwrap_or_default(),
        None => 0,
    }
}

/// The dictionary of a span, in MLflow's third form, which all of its readers know.
pub fn to_dict(span: &Span, form: &str) -> Json {
    let mut attributes = Map::new();
    for attribute in &span.attributes {
        let value = attribute.value.as_ref().map_or(Json::Null, |value| to_json(value, 0));
        // Each is kept as its JSON.
        let text = match &value {
            // What came from MLflow is JSON already.
            Json::String(text) if attribute.key.starts_with("mlflow.") && is_json(text) => text.clone(),
            value => value.to_string(),
        };
        attributes.insert(attribute.key.clone(), Json::String(text));
    }
    attributes.insert(REQUEST_ID.to_owned(), Json::String(json!(form).to_string()));
    attributes
        .entry(TYPE)
        .or_insert_with(|| Json::String(json!("UNKNOWN").to_string()));
    let events: Vec<Json> = span.events.iter().map(event_to_dict).collect();
    let status = span.status.clone().unwrap_or_default();
    let parent = (!span.parent_span_id.is_empty()).then(|| BASE64.encode(&span.parent_span_id));
    json!({
        "trace_id": BASE64.encode(&span.trace_id),
        "span_id": BASE64.encode(&span.span_id),
        "parent_span_id": parent,
        "name": span.name,
        "start_time_unix_nano": span.start_time_unix_nano,
        "end_time_unix_nano": Some(span.end_time_unix_nano).filter(|end| *end > 0),
        "events": events,
        "status": {"code": status_code(status.code), "message": status.message},
        "attributes": attributes,
    })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn event_to_dict(event: &Event) -> Json {
    let mut attributes = Map::new();
    for attribute in &event.attributes {
        let value = attribute.value.as_ref().map_or(Json::Null, |value| to_json(value, 0));
        attributes.insert(attribute.key.clone(), value);
    }
    json!({"name": event.name, "time_unix_nano": event.time_unix_nano, "attributes": attributes})
}

/// As OTLP's JSON names them.
fn status_code(code: i32) -> &'static str {
    match code {
        1 => "STATUS_CODE_OK",
        2 => "STATUS_CODE_ERROR",
        _ => "STATUS_CODE_UNSET",
    }
}

fn to_json(value: &AnyValue, depth: usize) -> Json {
    if depth > DEEPEST {
        return Json::Null;
    }
    match &value.value {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(flag)) => json!(flag),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::BytesValue(bytes)) => json!(BASE64.encode(bytes)),
        Some(Any::ArrayValue(list)) => list.values.iter().map(|value| to_json(value, depth + 1)).collect(),
        Some(Any::KvlistValue(map)) => {
            let entries = map.values.iter().map(|entry| {
                let value = entry.value.as_ref();
                (
                    entry.key.clone(),
                    value.map_or(Json::Null, |value| to_json(value, depth + 1)),
                )
            });
            Json::Object(entries.collect())
        }
        _ => Json::Null,
    }
}

/// The span of a dictionary of either form; `None`: it has no id.
pub fn from_dict(dict: &Json, trace: TraceId) -> Option<Span> {
    let facts = facts(dict, trace)?;
    let text = |key: &str| dict[key].as_str().unwrap_or_default().to_owned();
    let mut attributes = Vec::new();
    for (key, value) in dict["attributes"].as_object().into_iter().flatten() {
        let parsed = match value {
            Json::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
            value => value.clone(),
        };
        attributes.push(pair(key, &parsed));
    }
    // Of the store's own form.
    for (key, name) in [
        ("span_type", TYPE),
        ("inputs", "mlflow.spanInputs"),
        ("outputs", "mlflow.spanOutputs"),
    ] {
        if !dict[key].is_null() {
            attributes.push(pair(name, &dict[key]));
        }
    }
    let events = dict["events"].as_array().into_iter().flatten();
    Some(Span {
        trace_id: trace.0.to_vec(),
        span_id: facts.id.to_vec(),
        parent_span_id: id_of(&dict["parent_span_id"]).map(Vec::from).unwrap_or_default(),
        name: text("name"),
        start_time_unix_nano: nanos(dict, &["start_time_unix_nano", "start_time_ns"]),
        end_time_unix_nano: nanos(dict, &["end_time_unix_nano", "end_time_ns"]),
        attributes,
        events: events.map(event_from_dict).collect(),
        status: status_of(&dict["status"]),
        ..Span::default()
    })
}

fn event_from_dict(dict: &Json) -> Event {
    let attributes = dict["attributes"].as_object().into_iter().flatten();
    Event {
        name: dict["name"].as_str().unwrap_or_default().to_owned(),
        time_unix_nano: nanos(dict, &["time_unix_nano"]),
        attributes: attributes.map(|(key, value)| pair(key, value)).collect(),
        ..Event::default()
    }
}

/// A map with `code` and `message`, or a word.
fn status_of(status: &Json) -> Option<Status> {
    let code = status["code"].as_str().or_else(|| status.as_str())?;
    let code = match code.trim_start_matches("STATUS_CODE_") {
        "OK" => 1,
        "ERROR" => 2,
        _ => 0,
    };
    let message = status["message"].as_str().unwrap_or_default().to_owned();
    (code != 0 || !message.is_empty()).then_some(Status { message, code })
}

fn pair(key: &str, value: &Json) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(from_json(value, 0)),
        ..KeyValue::default()
    }
}

fn from_json(value: &Json, depth: usize) -> AnyValue {
    let value = match value {
        _ if depth > DEEPEST => None,
        Json::Null => None,
        Json::Bool(flag) => Some(Any::BoolValue(*flag)),
        Json::String(text) => Some(Any::StringValue(text.clone())),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Some(Any::IntValue(number)),
            None => number.as_f64().map(Any::DoubleValue),
        },
        Json::Array(list) => Some(Any::ArrayValue(ArrayValue {
            values: list.iter().map(|value| from_json(value, depth + 1)).collect(),
        })),
        Json::Object(map) => {
            let entries = map.iter().map(|(key, value)| KeyValue {
                key: key.clone(),
                value: Some(from_json(value, depth + 1)),
                ..KeyValue::default()
            });
            Some(Any::KvlistValue(KeyValueList {
                values: entries.collect(),
            }))
        }
    };
    AnyValue { value }
}

/// What META repeats of its spans: types, names, statuses.
pub fn labels(dict: &Json) -> [String; 3] {
    let of_type = dict["attributes"][TYPE]
        .as_str()
        .and_then(|text| serde_json::from_str::<String>(text).ok());
    let of_type = of_type.or_else(|| dict["span_type"].as_str().map(str::to_owned));
    let status = dict["status"]["code"]
        .as_str()
        .or_else(|| dict["status"].as_str())
        .unwrap_or("UNSET");
    [
        of_type
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "UNKNOWN".to_owned()),
        dict["name"].as_str().unwrap_or_default().to_owned(),
        status.trim_start_matches("STATUS_CODE_").to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> TraceId {
        TraceId::parse("5759e988bd862e3fe1be46a994272793").unwrap()
    }

    #[test]
    fn a_span_survives_the_way_into_a_dictionary_and_back() {
        let span = Span {
            trace_id: trace().0.to_vec(),
            span_id: vec![1; 8],
            parent_span_id: vec![2; 8],
            name: "chat".to_owned(),
            start_time_unix_nano: 1_795_176_000_000_000_001,
            end_time_unix_nano: 1_795_176_001_000_000_002,
            attributes: vec![pair("a", &json!("x")), pair("n", &json!([1, 2.5, {"k": true}]))],
            events: vec![Event {
                name: "e".to_owned(),
                time_unix_nano: 7,
                attributes: vec![pair("k", &json!("v"))],
                ..Event::default()
            }],
            status: Some(Status {
                message: "no".to_owned(),
                code: 2,
            }),
            ..Span::default()
        };
        let dict = to_dict(&span, "tr-5759e988bd862e3fe1be46a994272793");
        assert_eq!(dict["attributes"]["a"], "\"x\"");
        assert_eq!(dict["attributes"][TYPE], "\"UNKNOWN\"");
        let mut back = from_dict(&dict, trace()).unwrap();
        back.attributes
            .retain(|attribute| !attribute.key.starts_with("mlflow."));
        assert_eq!(back, span);
        assert_eq!(labels(&dict), ["UNKNOWN", "chat", "ERROR"]);
    }

    #[test]
    fn the_store_s_own_form_of_a_segment_is_read() {
        let dict = json!({"span_id": "70de5b6f19ff9a0a", "trace_id": "1-5759e988-bd862e3fe1be46a994272793", "parent_span_id": null,
            "name": "api", "start_time_ns": 5, "end_time_ns": 9, "status": "OK", "span_type": "LLM", "inputs": {"q": 1},
            "outputs": null, "attributes": {"mlflow.llm.model": "m"}});
        let span = from_dict(&dict, trace()).unwrap();
        assert_eq!(
            (span.start_time_unix_nano, span.end_time_unix_nano, span.name.as_str()),
            (5, 9, "api")
        );
        assert_eq!(span.status.as_ref().unwrap().code, 1);
        assert_eq!(span.attributes.len(), 3);
        assert!(!facts(&dict, trace()).unwrap().is_open);
        assert_eq!(facts(&dict, TraceId([1; 16])), None);
    }

    #[test]
    fn what_is_no_span_has_no_facts() {
        for dict in [
            json!(null),
            json!({}),
            json!({"span_id": ""}),
            json!({"span_id": 7}),
            json!([1]),
        ] {
            assert_eq!(facts(&dict, trace()), None, "{dict}");
        }
        assert!(
            facts(&json!({"span_id": "70de5b6f19ff9a0a", "end_time_ns": 0}), trace())
                .unwrap()
                .is_open
        );
    }
}
