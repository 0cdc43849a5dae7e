//! Messages, good and bad, and their compressed forms.

use std::io::Write;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// One span with good ids.
pub fn span(number: usize) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        name: format!("span {number}"),
        ..Span::default()
    }
}

pub fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope = ScopeSpans {
        spans,
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![resource],
    };
    request.encode_to_vec()
}

pub fn spans(count: usize) -> Vec<u8> {
    request((0..count).map(span).collect())
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A length-delimited field.
pub fn field(number: u64, payload: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2)[..], &varint(payload.len() as u64), payload].concat()
}

/// A request of one span whose fields are these bytes, behind good ids.
pub fn span_of(fields: &[u8]) -> Vec<u8> {
    let span = [&field(1, &[7; 16])[..], &field(2, &[8; 8]), fields].concat();
    in_span(&span)
}

/// A request of one span of exactly these bytes.
pub fn in_span(span: &[u8]) -> Vec<u8> {
    field(1, &field(2, &field(2, span)))
}

/// An attribute of a span.
pub fn attribute(key: &[u8], value: &[u8]) -> Vec<u8> {
    field(9, &[field(1, key), field(2, value)].concat())
}

/// A value of arrays inside each other.
pub fn nested_arrays(depth: usize) -> Vec<u8> {
    nested(depth, |inner| field(5, &field(1, inner)))
}

/// A value of maps inside each other.
pub fn nested_maps(depth: usize) -> Vec<u8> {
    nested(depth, |inner| {
        field(6, &field(1, &[field(1, b"k"), field(2, inner)].concat()))
    })
}

fn nested(depth: usize, wrap: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut value = field(1, b"bottom");
    for _ in 0..depth {
        value = wrap(&value);
    }
    value
}

/// Attributes with text that is no UTF-8.
pub fn bad_utf8() -> Vec<u8> {
    span_of(&attribute(b"key", &field(1, b"\xff\xfe broken \xc3")))
}

/// `count` empty records of field `number`, inside `depth` levels of groups.
pub fn empty_elements(count: usize, depth: usize) -> Vec<u8> {
    let number: u64 = if depth == 0 { 1 } else { 2 };
    let mut out = [varint(number << 3 | 2), vec![0]].concat().repeat(count);
    for level in (0..depth).rev() {
        out = field(if level == 0 { 1 } else { 2 }, &out);
    }
    out
}

pub fn good_attributes(count: usize) -> Vec<u8> {
    let attributes = (0..count).map(|n| KeyValue {
        key: format!("key {n}"),
        value: Some(AnyValue {
            value: Some(any_value::Value::IntValue(n as i64)),
        }),
        ..KeyValue::default()
    });
    let mut one = span(0);
    one.attributes = attributes.collect();
    request(vec![one])
}

/// With its gRPC prefix.
pub fn framed(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat().into()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

/// Without the size in the header, and with a window of 2^`window_log`: what a decoder has to allocate.
pub fn zstd_stream(bytes: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

pub fn snappy_framed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

pub fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
