//! Spans as OTLP's bytes, document by document, while they are still in the processor's cache.
//!
//! What most of the bytes are (attributes that are texts, numbers and flags) is written here in one pass; prost would ask
//! each for its length once for every message around it. Everything else is left to prost, with the attributes taken out.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

use crate::wire::{put_varint, varint_len};

/// Field numbers of `opentelemetry/proto/trace/v1/trace.proto` and `.../resource.proto`.
const GROUPS: u8 = 1;
const RESOURCE: u8 = 1;
const SCOPES: u8 = 2;
const GROUP_SCHEMA: u8 = 3;
const SCOPE: u8 = 1;
const SPANS: u8 = 2;
const SCOPE_SCHEMA: u8 = 3;
const RESOURCE_ATTRIBUTES: u8 = 1;
const SPAN_ATTRIBUTES: u8 = 9;
/// Wire type of texts and messages.
const LEN: u8 = 2;

/// Writes Export requests; its buffers are used again.
#[derive(Debug, Default)]
pub struct Encoder {
    message: Vec<u8>,
    scope: Vec<u8>,
    group: Vec<u8>,
}

impl Encoder {
    /// Appends one group of a traces Export request.
    pub fn write(&mut self, mut spans: ResourceSpans, out: &mut Vec<u8>) {
        self.group.clear();
        if let Some(mut resource) = spans.resource.take() {
            self.message.clear();
            for attribute in std::mem::take(&mut resource.attributes) {
                put_attribute(RESOURCE_ATTRIBUTES, &attribute, &mut self.message);
            }
            put_rest(&resource, &mut self.message);
            put_message(RESOURCE, &self.message, &mut self.group);
        }
        for mut scope in spans.scope_spans {
            self.scope.clear();
            if let Some(scope) = &scope.scope {
                put_whole(SCOPE, scope, &mut self.scope);
            }
            for mut span in scope.spans.drain(..) {
                self.message.clear();
                for attribute in std::mem::take(&mut span.attributes) {
                    put_attribute(SPAN_ATTRIBUTES, &attribute, &mut self.message);
                }
                put_rest(&span, &mut self.message);
                put_message(SPANS, &self.message, &mut self.scope);
            }
            put_text(SCOPE_SCHEMA, &scope.schema_url, &mut self.scope);
            put_message(SCOPES, &self.scope, &mut self.group);
        }
        put_text(GROUP_SCHEMA, &spans.schema_url, &mut self.group);
        put_message(GROUPS, &self.group, out);
    }
}

fn put_rest(message: &impl Message, out: &mut Vec<u8>) {
    message.encode(out).expect("a Vec has room for everything");
}

fn put_tag(field: u8, len: usize, out: &mut Vec<u8>) {
    out.push(field << 3 | LEN);
    put_varint(out, len as u64);
}

fn put_message(field: u8, message: &[u8], out: &mut Vec<u8>) {
    put_tag(field, message.len(), out);
    out.extend_from_slice(message);
}

/// An empty text is not written, as protobuf says of fields that have no presence.
fn put_text(field: u8, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        put_message(field, text.as_bytes(), out);
    }
}

fn with_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn put_whole(field: u8, message: &impl Message, out: &mut Vec<u8>) {
    put_tag(field, message.encoded_len(), out);
    put_rest(message, out);
}

fn put_attribute(field: u8, attribute: &KeyValue, out: &mut Vec<u8>) {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    // Of the value's one field, with its tag.
    let value_len = match value {
        // An attribute of a profile, whose key stands elsewhere.
        _ if attribute.key_strindex != 0 => return put_whole(field, attribute, out),
        Some(Value::StringValue(text)) => with_len(text.len()),
        Some(Value::IntValue(int)) => 1 + varint_len(*int as u64),
        Some(Value::BoolValue(_)) => 2,
        // Doubles, lists, nothing.
        _ => return put_whole(field, attribute, out),
    };
    let key_len = if attribute.key.is_empty() {
        0
    } else {
        with_len(attribute.key.len())
    };
    put_tag(field, key_len + with_len(value_len), out);
    put_text(1, &attribute.key, out);
    put_tag(2, value_len, out);
    match value {
        Some(Value::StringValue(text)) => put_message(1, text.as_bytes(), out),
        Some(Value::IntValue(int)) => {
            out.push(3 << 3);
            put_varint(out, *int as u64);
        }
        Some(Value::BoolValue(flag)) => out.extend_from_slice(&[2 << 3, u8::from(*flag)]),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span, Status};

    use super::*;

    fn attribute(key: &str, value: Option<Value>) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value }),
            ..KeyValue::default()
        }
    }

    #[test]
    fn prost_reads_what_was_written() {
        let values = [
            Some(Value::StringValue(String::new())),
            Some(Value::StringValue("x".repeat(300))),
            Some(Value::IntValue(-1)),
            Some(Value::IntValue(0)),
            Some(Value::IntValue(i64::MAX)),
            Some(Value::BoolValue(false)),
            Some(Value::BoolValue(true)),
            Some(Value::DoubleValue(1.5)),
            Some(Value::ArrayValue(ArrayValue {
                values: vec![AnyValue { value: None }],
            })),
            None,
        ];
        let mut attributes: Vec<KeyValue> = values
            .into_iter()
            .enumerate()
            .map(|(index, value)| attribute(&"k".repeat(index), value))
            .collect();
        attributes.push(KeyValue::default());
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "n".to_owned(),
            kind: 3,
            start_time_unix_nano: 5,
            attributes: attributes.clone(),
            events: vec![Event::default()],
            links: vec![Link::default()],
            status: Some(Status::default()),
            flags: 0x301,
            ..Span::default()
        };
        let spans = ResourceSpans {
            resource: Some(Resource {
                attributes,
                dropped_attributes_count: 7,
                ..Resource::default()
            }),
            scope_spans: vec![
                ScopeSpans {
                    scope: Some(super::super::scope()),
                    spans: vec![span, Span::default()],
                    schema_url: "s".to_owned(),
                },
                ScopeSpans::default(),
            ],
            schema_url: "r".to_owned(),
        };
        let (mut encoder, mut bytes) = (Encoder::default(), Vec::new());
        encoder.write(spans.clone(), &mut bytes);
        encoder.write(ResourceSpans::default(), &mut bytes);
        let read = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
        assert_eq!(read.resource_spans, [spans, ResourceSpans::default()]);
        // No byte more than prost would write.
        assert_eq!(bytes.len(), read.encoded_len());
    }
}
