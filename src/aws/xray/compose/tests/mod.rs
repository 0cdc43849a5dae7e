//! Rows of the table, and both round trips over generated input.

mod from_segments;
mod from_spans;
mod rows;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::aws::xray::translate::{Options as ReadOptions, Reader, Spans};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    /// One time in `n`.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn text(&mut self) -> String {
        let letters: Vec<char> = "abcXYZ019 _.:/%&#=+\\-@\"'(){}\n\t\u{e9}\u{1f600}".chars().collect();
        (0..1 + self.below(12))
            .map(|_| letters[self.below(letters.len())])
            .collect()
    }

    fn word(&mut self) -> String {
        let letters: Vec<char> = "abcdefgXYZ0123456789_-".chars().collect();
        (0..1 + self.below(10))
            .map(|_| letters[self.below(letters.len())])
            .collect()
    }
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, text: &str) -> KeyValue {
    key_value(key, Value::StringValue(text.to_owned()))
}

fn request(resource: Vec<KeyValue>, spans: Vec<Span>) -> Vec<ResourceSpans> {
    vec![ResourceSpans {
        resource: Some(Resource {
            attributes: resource,
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }]
}

/// Segment documents to OTLP.
fn read(document: &str) -> Vec<ResourceSpans> {
    let mut out = Spans::default();
    let salvaged = Reader::new(ReadOptions::default()).segments(document.as_bytes(), 0, &mut out);
    assert!(salvaged.rejected.is_empty(), "{salvaged:?}: {document}");
    out.documents
        .into_iter()
        .map(|document| document.resource_spans)
        .collect()
}
