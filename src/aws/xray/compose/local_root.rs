//! A service whose only span is a call (AWS's `aws.span.kind=LOCAL_ROOT` on a client, producer or consumer) is two
//! documents: a segment of the service, and below it the call as a subsegment.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use sha2::{Digest, Sha256};

/// What tells of the call and not of the service.
const OF_THE_CALL: [&str; 6] = ["http.", "url.", "db.", "rpc.", "aws.remote.", "messaging."];

pub(super) struct Split {
    pub(super) service: Span,
    pub(super) dependency: Span,
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// `None` for all other spans.
pub(super) fn split(span: &Span, resource: &[KeyValue]) -> Option<Split> {
    let is_call = matches!(span.kind(), SpanKind::Client | SpanKind::Producer | SpanKind::Consumer);
    if !is_call || text(&span.attributes, "aws.span.kind") != Some("LOCAL_ROOT") {
        return None;
    }
    // The same span gives the same segment: a second delivery makes no second service.
    let hash = Sha256::new()
        .chain_update(&span.trace_id)
        .chain_update(&span.span_id)
        .finalize();
    let service_id = hash[..8].to_vec();
    let is_of_service = |attribute: &&KeyValue| {
        let key = attribute.key.as_str();
        let is_aws_call = key.starts_with("aws.") && !key.starts_with("aws.local.") && key != "aws.span.kind";
        !is_aws_call && !OF_THE_CALL.iter().any(|prefix| key.starts_with(prefix)) && key != "peer.service"
    };
    let name = text(&span.attributes, "aws.local.service").or(text(resource, "service.name"));
    let is_consumer = span.kind() == SpanKind::Consumer;
    let service = Span {
        span_id: service_id.clone(),
        kind: SpanKind::Server as i32,
        name: name.unwrap_or(&span.name).to_owned(),
        attributes: span.attributes.iter().filter(is_of_service).cloned().collect(),
        events: Vec::new(),
        links: if is_consumer { span.links.clone() } else { Vec::new() },
        ..span.clone()
    };
    let dependency = Span {
        parent_span_id: service_id,
        // Its parent is in this process, whatever was said of the span.
        flags: span.flags & !0x200 | 0x100,
        kind: if is_consumer {
            SpanKind::Client as i32
        } else {
            span.kind
        },
        links: if is_consumer { Vec::new() } else { span.links.clone() },
        ..span.clone()
    };
    Some(Split { service, dependency })
}
