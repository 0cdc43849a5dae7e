//! Rows of the specification's tables, one test each, and a corpus of odd documents with what comes out of them.

mod corpus;
mod rows;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::*;

const RECEIVED: u64 = 1_700_000_000_000_000_000;

fn read_with(options: Options, document: &str) -> (Spans, Salvaged) {
    let mut out = Spans::default();
    let salvaged = Reader::new(options).segments(document.as_bytes(), RECEIVED, &mut out);
    (out, salvaged)
}

/// A segment with these fields beside the required ones.
fn segment(fields: &str) -> String {
    format!(
        r#"{{"name":"shop","id":"70de5b6f19ff9a0a","trace_id":"1-581cf771-a006649127e371903a2de979","start_time":10,"end_time":11.5{}{fields}}}"#,
        if fields.is_empty() { "" } else { "," }
    )
}

/// The spans of a document in the default options, which must be clean.
fn spans(document: &str) -> Vec<Span> {
    let (out, salvaged) = read_with(Options::default(), document);
    assert!(salvaged.is_clean(), "{salvaged:?}");
    out.documents
        .iter()
        .flat_map(|document| document.spans().to_vec())
        .collect()
}

fn show(value: &AnyValue) -> String {
    match &value.value {
        None => "null".to_owned(),
        Some(Value::StringValue(text)) => format!("{text:?}"),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::IntValue(int)) => int.to_string(),
        Some(Value::DoubleValue(double)) => format!("{double:?}f"),
        Some(Value::ArrayValue(array)) => {
            let values: Vec<String> = array.values.iter().map(show).collect();
            format!("[{}]", values.join(", "))
        }
        Some(Value::KvlistValue(list)) => format!("{{{}}}", shown(&list.values).join(", ")),
        Some(other) => format!("{other:?}"),
    }
}

fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let show = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().map(show).unwrap_or_default();
        format!("{}={value}", attribute.key)
    };
    attributes.iter().map(show).collect()
}

fn has(attributes: &[KeyValue], wanted: &str) -> bool {
    shown(attributes).iter().any(|have| have == wanted)
}
