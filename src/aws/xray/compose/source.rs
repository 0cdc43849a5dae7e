//! A span with its resource, as the blocks of a document ask it: by key, and remembering what was asked for.

use std::cell::RefCell;
use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::Options;
use crate::aws::xray::ids::{SpanId, TraceId};

/// Where a span came from besides itself.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) resource: &'a [KeyValue],
    pub(super) resource_schema: &'a str,
    pub(super) scope: Option<&'a InstrumentationScope>,
    pub(super) scope_schema: &'a str,
    /// Its parent is in the same batch, which then has the resource.
    pub(super) parent_is_here: bool,
}

pub(super) struct Source<'a> {
    pub(super) span: &'a Span,
    pub(super) around: Surroundings<'a>,
    pub(super) options: &'a Options,
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) kind: SpanKind,
    /// It was an X-Ray segment before: nothing is derived that a segment says itself.
    pub(super) was_segment: bool,
    /// Becomes a segment of its own, not a subsegment.
    pub(super) is_segment: bool,
    /// Keys of annotations, which mean nothing else.
    pub(super) annotations: HashSet<&'a str>,
    used: RefCell<HashSet<&'a str>>,
}

impl<'a> Source<'a> {
    /// `None` for ids that X-Ray refuses.
    pub(super) fn new(span: &'a Span, around: Surroundings<'a>, options: &'a Options) -> Option<Self> {
        let trace_id: TraceId = span.trace_id.as_slice().try_into().ok()?;
        let span_id: SpanId = span.span_id.as_slice().try_into().ok()?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        let mut source = Self {
            span,
            around,
            options,
            trace_id,
            span_id,
            kind: span.kind(),
            was_segment: false,
            is_segment: false,
            annotations: HashSet::new(),
            used: RefCell::default(),
        };
        source.was_segment = source.text("aws.xray.segment.name").is_some();
        source.is_segment = source.is_segment_by_kind();
        if source.was_segment {
            // One whose name was taken stands under another.
            let is_plain = |key: &&str| source.text_or_any(&format!("aws.xray.annotation.{key}")).is_none();
            let plain = source
                .texts("aws.xray.annotations")
                .into_iter()
                .filter(is_plain)
                .collect();
            source.annotations = plain;
        }
        Some(source)
    }

    fn is_segment_by_kind(&self) -> bool {
        if let Some(doc_type) = self.text("aws.xray.doc_type") {
            return doc_type != "subsegment";
        }
        let is_entry = matches!(self.kind, SpanKind::Server | SpanKind::Consumer);
        // What was a subsegment stays one whatever it served.
        let is_remote = self.span.flags & 0x300 == 0x300;
        if self.was_segment && self.span.flags & 0x100 != 0 {
            return is_remote;
        }
        is_entry || self.span.parent_span_id.is_empty() || is_remote
    }

    /// Whether it calls somebody.
    pub(super) fn is_call(&self) -> bool {
        matches!(self.kind, SpanKind::Client | SpanKind::Producer)
    }

    /// The resource belongs into this document.
    pub(super) fn has_resource(&self) -> bool {
        let collector = self.options.collector();
        self.is_segment || (!self.was_segment && !collector && !self.around.parent_is_here)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        if self.annotations.contains(key) {
            return None;
        }
        let found = self.span.attributes.iter().find(|attribute| attribute.key == key)?;
        self.used.borrow_mut().insert(&found.key);
        found.value.as_ref()?.value.as_ref()
    }

    fn text_or_any(&self, key: &str) -> Option<&'a KeyValue> {
        self.span.attributes.iter().find(|attribute| attribute.key == key)
    }

    /// The first of several keys that has a text.
    pub(super) fn first_text(&self, keys: &[&str]) -> Option<&'a str> {
        // All of them are asked for: each is accounted for, whichever wins.
        let found: Vec<&'a str> = keys.iter().filter_map(|key| self.text(key)).collect();
        found.first().copied()
    }

    pub(super) fn first_int(&self, keys: &[&str]) -> Option<i64> {
        let found: Vec<i64> = keys.iter().filter_map(|key| self.int(key)).collect();
        found.first().copied()
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        as_text(self.get(key)?)
    }

    /// An integer, also one that is written as text.
    pub(super) fn int(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Value::IntValue(int) => Some(*int),
            Value::StringValue(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::BoolValue(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A list of texts, or one text.
    pub(super) fn texts(&self, key: &str) -> Vec<&'a str> {
        self.get(key).map(as_texts).unwrap_or_default()
    }

    pub(super) fn resource(&self, key: &str) -> Option<&'a Value> {
        let found = self.around.resource.iter().find(|attribute| attribute.key == key)?;
        found.value.as_ref()?.value.as_ref()
    }

    pub(super) fn resource_text(&self, key: &str) -> Option<&'a str> {
        as_text(self.resource(key)?)
    }

    pub(super) fn resource_texts(&self, key: &str) -> Vec<&'a str> {
        self.resource(key).map(as_texts).unwrap_or_default()
    }

    /// Whether some block has asked for this attribute.
    pub(super) fn was_used(&self, key: &str) -> bool {
        self.used.borrow().contains(key)
    }
}

pub(super) fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn as_texts(value: &Value) -> Vec<&str> {
    match value {
        Value::StringValue(text) => vec![text],
        Value::ArrayValue(array) => {
            let values = array.values.iter().filter_map(|value| value.value.as_ref());
            values.filter_map(as_text).collect()
        }
        _ => Vec::new(),
    }
}
