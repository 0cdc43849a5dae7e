//! The door, case by case.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::wire::put_len;

fn span(trace_id: &[u8], span_id: &[u8]) -> Span {
    Span {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        ..Span::default()
    }
}

fn good_span() -> Span {
    span(&[1; 16], &[2; 8])
}

fn traces(spans: Vec<Span>) -> Bytes {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec().into()
}

fn logs(log_records: Vec<LogRecord>) -> Bytes {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    request.encode_to_vec().into()
}

fn enter(signal: Signal, bytes: impl Into<Bytes>, limits: &DoorLimits) -> Result<Admitted, DoorError> {
    Batch::at_door(signal, bytes.into(), limits, Origin::internal())
}

fn enter_traces(spans: Vec<Span>) -> Result<Admitted, DoorError> {
    enter(Signal::Traces, traces(spans), &DoorLimits::default())
}

fn full() -> DoorLimits {
    DoorLimits {
        check: Check::Full,
        ..DoorLimits::default()
    }
}

#[test]
fn takes_an_empty_request() {
    for signal in Signal::ALL {
        let admitted = enter(signal, Bytes::new(), &full()).unwrap();
        assert_eq!(admitted.batch.items(), 0);
        assert_eq!(admitted.rejected, Rejected::default());
    }
}

#[test]
fn takes_out_spans_with_ids_of_wrong_length_and_keeps_the_rest() {
    let spans = vec![
        span(&[1; 15], &[2; 8]),
        good_span(),
        span(&[1; 16], &[]),
        span(&[], &[]),
    ];
    let mut admitted = enter_traces(spans).unwrap();
    assert_eq!(admitted.rejected.wrong_length_ids, 3);
    assert_eq!(admitted.batch.items(), 1);
    assert_eq!(admitted.batch.decode().unwrap().count_items(), 1);
}

#[test]
fn refuses_a_request_without_a_usable_span_and_says_why() {
    let error = enter_traces(vec![span(&[1; 8], &[2; 8])]).unwrap_err();
    let text = "no record of the request is usable: 1 with a trace id that is not 16 bytes or a span id that is not 8";
    assert_eq!(error.to_string(), text);
}

#[test]
fn takes_out_ids_of_zeroes_without_refusing_the_request() {
    let admitted = enter_traces(vec![span(&[0; 16], &[2; 8]), span(&[1; 16], &[0; 8])]).unwrap();
    assert_eq!(admitted.rejected.zero_ids, 2);
    assert_eq!(admitted.batch.items(), 0);
    assert_eq!(admitted.batch.wire_len(), 0);
    let mixed = enter_traces(vec![span(&[0; 16], &[2; 8]), span(&[1; 16], &[0; 3])]);
    assert!(matches!(mixed, Err(DoorError::NothingUsable(_))));
}

#[test]
fn finds_ids_wherever_they_stand_in_a_span() {
    let mut unusual = Vec::new();
    put_len(&mut unusual, 5, b"name first");
    put_len(&mut unusual, 2, &[2; 8]);
    put_len(&mut unusual, 1, &[1; 16]);
    let mut scope = Vec::new();
    put_len(&mut scope, 2, &unusual);
    let mut group = Vec::new();
    put_len(&mut group, 2, &scope);
    let mut request = Vec::new();
    put_len(&mut request, 1, &group);
    let admitted = enter(Signal::Traces, request, &DoorLimits::default()).unwrap();
    assert_eq!(admitted.batch.items(), 1);
    assert_eq!(admitted.rejected.count(), 0);
}

#[test]
fn lets_log_records_without_ids_in_but_not_with_half_an_id() {
    let record = |trace_id: &[u8], span_id: &[u8]| LogRecord {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        ..LogRecord::default()
    };
    let records = vec![
        record(&[], &[]),
        record(&[1; 16], &[]),
        record(&[0; 16], &[0; 8]),
        record(&[1; 7], &[]),
        record(&[], &[1; 16]),
    ];
    let admitted = enter(Signal::Logs, logs(records), &DoorLimits::default()).unwrap();
    assert_eq!(admitted.batch.items(), 3);
    assert_eq!(admitted.rejected.wrong_length_ids, 2);
}

#[test]
fn refuses_half_a_million_empty_elements_of_any_level() {
    let limits = DoorLimits {
        max_elements: 1_000,
        ..DoorLimits::default()
    };
    let too_many = Err(DoorError::TooManyElements { limit: 1_000 });
    let groups = [0x0a, 0x00].repeat(1_001);
    assert_eq!(enter(Signal::Logs, groups, &limits).map(|_| ()), too_many);
    let mut scopes = Vec::new();
    put_len(&mut scopes, 1, &[0x12, 0x00].repeat(1_000));
    assert_eq!(enter(Signal::Traces, scopes, &limits).map(|_| ()), too_many);
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![metrics::ResourceMetrics {
            scope_metrics: vec![metrics::ScopeMetrics {
                metrics: vec![metrics::Metric {
                    data: Some(metrics::metric::Data::Gauge(metrics::Gauge {
                        data_points: vec![metrics::NumberDataPoint::default(); 998],
                    })),
                    ..metrics::Metric::default()
                }],
                ..metrics::ScopeMetrics::default()
            }],
            ..metrics::ResourceMetrics::default()
        }],
    };
    assert_eq!(
        enter(Signal::Metrics, request.encode_to_vec(), &limits).map(|_| ()),
        too_many
    );
}

#[test]
fn refuses_broken_framing_with_the_place() {
    let whole = traces(vec![good_span()]);
    let cut = whole.slice(..whole.len() - 1);
    let text = enter(Signal::Traces, cut, &DoorLimits::default())
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "the request is no OTLP traces: in the request: a field is longer than the message it stands in"
    );
    let four_gib = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(enter(Signal::Logs, four_gib.to_vec(), &DoorLimits::default()).is_err());
}

#[test]
fn cuts_unknown_top_level_fields_out() {
    let good = traces(vec![good_span()]);
    let mut request = vec![0x10, 5];
    request.extend_from_slice(&good);
    put_len(&mut request, 15, b"unknown");
    request.extend_from_slice(&good);
    let admitted = enter(Signal::Traces, request, &DoorLimits::default()).unwrap();
    assert_eq!(admitted.batch.items(), 2);
    assert_eq!(admitted.batch.into_bytes(), [good.clone(), good].concat());
}

fn nested(depth: usize) -> common::AnyValue {
    let mut value = common::AnyValue::default();
    for _ in 0..depth {
        value = common::AnyValue {
            value: Some(Any::ArrayValue(common::ArrayValue { values: vec![value] })),
        };
    }
    value
}

fn span_with(key: &str, value: common::AnyValue) -> Span {
    Span {
        attributes: vec![common::KeyValue {
            key: key.to_owned(),
            value: Some(value),
            ..common::KeyValue::default()
        }],
        ..good_span()
    }
}

#[test]
fn refuses_values_nested_too_deep_only_in_a_full_check() {
    let deepest = traces(vec![span_with("k", nested(64))]);
    assert!(enter(Signal::Traces, deepest, &full()).is_ok());
    let too_deep = traces(vec![good_span(), span_with("k", nested(65))]);
    let error = enter(Signal::Traces, too_deep.clone(), &full()).map(|_| ());
    assert_eq!(error, Err(DoorError::TooDeep { limit: 64 }));
    assert!(enter(Signal::Traces, too_deep, &DoorLimits::default()).is_ok());
}

#[test]
fn does_not_follow_a_hundred_thousand_levels() {
    let mut value = Vec::new();
    for _ in 0..20_000 {
        let mut array = Vec::new();
        put_len(&mut array, 1, &value);
        value.clear();
        put_len(&mut value, 5, &array);
    }
    let mut attribute = Vec::new();
    put_len(&mut attribute, 2, &value);
    let mut span = good_span().encode_to_vec();
    put_len(&mut span, 9, &attribute);
    let mut scope = Vec::new();
    put_len(&mut scope, 2, &span);
    let mut group = Vec::new();
    put_len(&mut group, 2, &scope);
    let mut request = Vec::new();
    put_len(&mut request, 1, &group);
    assert!(estimate_decoded(Signal::Traces, &request) >= request.len());
    assert!(enter(Signal::Traces, request, &full()).is_err());
}

/// The first `x` of the bytes gives way to a byte that is no UTF-8.
fn break_utf8(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = bytes.iter().position(|byte| *byte == b'x').unwrap();
    bytes[at] = 0xff;
    bytes.into()
}

#[test]
fn repairs_strings_or_rejects_their_record_as_it_is_told() {
    let named = Span {
        name: "x".to_owned(),
        ..good_span()
    };
    let request = break_utf8(&traces(vec![named, good_span()]));
    let mut repaired = enter(Signal::Traces, request.clone(), &full()).unwrap();
    assert_eq!(repaired.rejected.count(), 0);
    assert_eq!(repaired.rejected.repaired_strings, 1);
    assert!(repaired.rejected.has_message());
    let crate::pdata::Decoded::Traces(decoded) = repaired.batch.decode().unwrap() else {
        panic!("no traces");
    };
    assert_eq!(decoded.resource_spans[0].scope_spans[0].spans[0].name, "\u{fffd}");

    let reject = DoorLimits {
        utf8: Utf8::Reject,
        ..full()
    };
    let rejected = enter(Signal::Traces, request, &reject).unwrap();
    assert_eq!(rejected.rejected.invalid_utf8, 1);
    assert_eq!(rejected.batch.items(), 1);
}

#[test]
fn rejects_records_with_too_many_attributes_or_too_long_a_key() {
    let mut many = good_span();
    many.attributes = vec![common::KeyValue::default(); 1_001];
    let long = span_with(&"k".repeat(1_025), common::AnyValue::default());
    let admitted = enter(Signal::Traces, traces(vec![many, good_span(), long]), &full()).unwrap();
    assert_eq!(admitted.rejected.over_limit, 2);
    assert_eq!(admitted.batch.items(), 1);
}

#[test]
fn refuses_a_resource_over_the_limits_as_it_belongs_to_all_its_records() {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![common::KeyValue::default(); 1_001],
                ..Resource::default()
            }),
            ..ResourceSpans::default()
        }],
    };
    let answer = enter(Signal::Traces, request.encode_to_vec(), &full()).map(|_| ());
    assert_eq!(answer, Err(DoorError::TooManyAttributes { limit: 1_000 }));
}

#[test]
fn takes_out_a_record_whose_inside_is_broken_when_it_looks() {
    let mut broken = good_span().encode_to_vec();
    broken.extend([0x4a, 0x05, 0x0a]);
    let mut scope = Vec::new();
    put_len(&mut scope, 2, &good_span().encode_to_vec());
    put_len(&mut scope, 2, &broken);
    let mut group = Vec::new();
    put_len(&mut group, 2, &scope);
    let mut request = Vec::new();
    put_len(&mut request, 1, &group);
    let at_frame = enter(Signal::Traces, request.clone(), &DoorLimits::default()).unwrap();
    assert_eq!(at_frame.batch.items(), 2);
    let at_full = enter(Signal::Traces, request, &full()).unwrap();
    assert_eq!(at_full.batch.items(), 1);
    assert_eq!(at_full.rejected.malformed, 1);
}

#[test]
fn estimates_no_less_than_the_structs_take() {
    use crate::wire::schema;
    use std::mem::size_of;
    let table = [
        (schema::ANY_VALUE.memory, size_of::<common::AnyValue>()),
        (schema::KEY_VALUE.memory, size_of::<common::KeyValue>()),
        (
            schema::INSTRUMENTATION_SCOPE.memory,
            size_of::<common::InstrumentationScope>(),
        ),
        (schema::RESOURCE.memory, size_of::<Resource>()),
        (schema::SPAN.memory, size_of::<Span>()),
        (schema::METRIC.memory, size_of::<metrics::Metric>()),
        (schema::LOG_RECORD.memory, size_of::<LogRecord>()),
        (schema::TRACES_REQUEST.memory, size_of::<ExportTraceServiceRequest>()),
        (memory_of("ResourceSpans"), size_of::<ResourceSpans>()),
        (memory_of("ScopeSpans"), size_of::<ScopeSpans>()),
        (memory_of("Event"), size_of::<trace::span::Event>()),
        (memory_of("Link"), size_of::<trace::span::Link>()),
        (memory_of("Status"), size_of::<trace::Status>()),
        (memory_of("ResourceMetrics"), size_of::<metrics::ResourceMetrics>()),
        (memory_of("ScopeMetrics"), size_of::<metrics::ScopeMetrics>()),
        (memory_of("NumberDataPoint"), size_of::<metrics::NumberDataPoint>()),
        (
            memory_of("HistogramDataPoint"),
            size_of::<metrics::HistogramDataPoint>(),
        ),
        (
            memory_of("ExponentialHistogramDataPoint"),
            size_of::<metrics::ExponentialHistogramDataPoint>(),
        ),
        (memory_of("SummaryDataPoint"), size_of::<metrics::SummaryDataPoint>()),
        (
            memory_of("ValueAtQuantile"),
            size_of::<metrics::summary_data_point::ValueAtQuantile>(),
        ),
        (memory_of("Exemplar"), size_of::<metrics::Exemplar>()),
        (memory_of("EntityRef"), size_of::<common::EntityRef>()),
        (memory_of("ResourceLogs"), size_of::<ResourceLogs>()),
        (memory_of("ScopeLogs"), size_of::<ScopeLogs>()),
    ];
    for (at, (reckoned, real)) in table.into_iter().enumerate() {
        assert!(reckoned >= real, "row {at}: {reckoned} < {real}");
    }
}

/// Looks a message up by name, from the requests down.
fn memory_of(name: &str) -> usize {
    use crate::wire::schema::{Kind, MessageSpec, Role};
    fn find(spec: &'static MessageSpec, name: &str) -> Option<usize> {
        if spec.name == name {
            return Some(spec.memory);
        }
        spec.fields.iter().find_map(|field| match field.kind {
            Kind::Message(child) if child.role != Role::Value => find(child, name),
            _ => None,
        })
    }
    let found = Signal::ALL
        .into_iter()
        .find_map(|signal| find(full::request_spec(signal), name));
    found.unwrap_or_else(|| panic!("no message {name}"))
}

#[test]
fn charges_empty_elements_for_their_structs() {
    let empty_spans = traces(vec![Span::default(); 1_000]);
    let estimate = estimate_decoded(Signal::Traces, &empty_spans);
    assert!(estimate >= 1_000 * std::mem::size_of::<Span>());
}
