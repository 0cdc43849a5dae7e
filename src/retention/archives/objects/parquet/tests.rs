use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;

use super::{decode, encode};

const LONGEST: usize = 64 << 20;

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        "[a-zäß\\u{1F600}\\u{0}]{0,8}".prop_map(|text| Some(Any::StringValue(text))),
        any::<bool>().prop_map(|flag| Some(Any::BoolValue(flag))),
        any::<i64>().prop_map(|number| Some(Any::IntValue(number))),
        // NaN is not equal to itself.
        any::<f64>()
            .prop_filter("comparable", |number| !number.is_nan())
            .prop_map(|number| Some(Any::DoubleValue(number))),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| Some(Any::BytesValue(bytes))),
    ];
    let leaf = leaf.prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| Any::ArrayValue(ArrayValue { values })),
            prop::collection::vec(("[a-c]{0,2}", prop::option::of(inner)), 0..4).prop_map(|entries| {
                let values = entries.into_iter().map(|(key, value)| KeyValue {
                    key,
                    value,
                    ..KeyValue::default()
                });
                Any::KvlistValue(KeyValueList {
                    values: values.collect(),
                })
            }),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let one = ("[a-z.]{0,8}", prop::option::of(any_value()));
    prop::collection::vec(one, 0..4).prop_map(|all| {
        let of = |(key, value)| KeyValue {
            key,
            value,
            ..KeyValue::default()
        };
        all.into_iter().map(of).collect()
    })
}

fn an_event() -> impl Strategy<Value = Event> {
    (any::<u64>(), "[a-z]{0,4}", attributes(), any::<u32>()).prop_map(|(time_unix_nano, name, attributes, dropped)| {
        Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count: dropped,
        }
    })
}

fn a_link() -> impl Strategy<Value = Link> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>());
    (ids, "[a-z=]{0,4}", attributes(), any::<u32>(), any::<u32>()).prop_map(
        |((trace, span), trace_state, attributes, dropped, flags)| Link {
            trace_id: trace.to_vec(),
            span_id: span.to_vec(),
            trace_state,
            attributes,
            dropped_attributes_count: dropped,
            flags,
        },
    )
}

fn a_span() -> impl Strategy<Value = Span> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), prop::option::of(any::<[u8; 8]>()));
    let lists = (
        attributes(),
        prop::collection::vec(an_event(), 0..3),
        prop::collection::vec(a_link(), 0..3),
    );
    let status = prop::option::of(("[a-z]{0,4}", any::<i32>()));
    let numbers = any::<(u32, i32, u64, u64, u32, u32, u32)>();
    (ids, "[a-zé ]{0,8}", "[a-z]{0,3}", lists, numbers, status).prop_map(
        |((trace, span, parent), name, trace_state, (attributes, events, links), numbers, status)| Span {
            trace_id: trace.to_vec(),
            span_id: span.to_vec(),
            parent_span_id: parent.map(Vec::from).unwrap_or_default(),
            trace_state,
            name,
            flags: numbers.0,
            kind: numbers.1,
            start_time_unix_nano: numbers.2,
            end_time_unix_nano: numbers.3,
            attributes,
            dropped_attributes_count: numbers.4,
            events,
            dropped_events_count: numbers.5,
            links,
            dropped_links_count: numbers.6,
            status: status.map(|(message, code)| Status { message, code }),
        },
    )
}

fn a_scope() -> impl Strategy<Value = ScopeSpans> {
    let scope = ("[a-z]{0,3}", "[0-9]{0,2}", attributes(), any::<u32>());
    (scope, prop::collection::vec(a_span(), 1..4), "[a-z]{0,3}").prop_map(
        |((name, version, attributes, dropped), spans, schema_url)| ScopeSpans {
            scope: Some(InstrumentationScope {
                name,
                version,
                attributes,
                dropped_attributes_count: dropped,
            }),
            spans,
            schema_url,
        },
    )
}

fn a_request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let resource = (attributes(), any::<u32>(), "[a-z]{0,3}");
    let resource = (resource, prop::collection::vec(a_scope(), 1..3)).prop_map(
        |((attributes, dropped, schema_url), scope_spans)| ResourceSpans {
            resource: Some(Resource {
                attributes,
                dropped_attributes_count: dropped,
                ..Resource::default()
            }),
            scope_spans,
            schema_url,
        },
    );
    prop::collection::vec(resource, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// Each span with its resource and scope, in order: neighbours that are the same may have been put together.
fn flat(request: &ExportTraceServiceRequest) -> Vec<(&Resource, &str, &InstrumentationScope, &str, &Span)> {
    let mut flat = Vec::new();
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let of = (resource.resource.as_ref().unwrap(), scope.scope.as_ref().unwrap());
                flat.push((
                    of.0,
                    resource.schema_url.as_str(),
                    of.1,
                    scope.schema_url.as_str(),
                    span,
                ));
            }
        }
    }
    flat
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn spans_come_back_as_they_were(request in a_request(), is_compressed in any::<bool>()) {
        let file = Bytes::from(encode(&request, is_compressed).unwrap());
        let back = decode(&file, LONGEST).unwrap();
        prop_assert_eq!(flat(&back), flat(&request));
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_and_never_ends_anything(
        request in a_request(),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
        is_cut in any::<bool>(),
    ) {
        let mut file = encode(&request, true).unwrap();
        let at = at.index(file.len());
        file[at] ^= 1_u8 << bit;
        if is_cut {
            file.truncate(at);
        }
        // As it is read: on a thread of its own, where a panic of the crate is an error.
        let read = std::panic::catch_unwind(|| decode(&Bytes::from(file), LONGEST));
        prop_assert!(!is_cut || !matches!(read, Ok(Ok(_))));
    }
}

#[test]
fn many_spans_are_many_row_groups_and_deep_values_are_kept_as_bytes() {
    let mut deep = AnyValue {
        value: Some(Any::IntValue(7)),
    };
    for _ in 0..60 {
        deep = AnyValue {
            value: Some(Any::ArrayValue(ArrayValue { values: vec![deep] })),
        };
    }
    let span = |number: u64| Span {
        trace_id: vec![7; 16],
        span_id: number.to_be_bytes().to_vec(),
        name: "GET".to_owned(),
        ..Span::default()
    };
    let mut spans: Vec<Span> = (1..70_000).map(span).collect();
    spans[3].attributes.push(KeyValue {
        key: "deep".to_owned(),
        value: Some(deep),
        ..KeyValue::default()
    });
    let of_resource = ResourceSpans {
        resource: Some(Resource::default()),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope::default()),
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![of_resource],
    };
    let file = Bytes::from(encode(&request, true).unwrap());
    let back = decode(&file, LONGEST).unwrap();
    let [resource] = &back.resource_spans[..] else { panic!() };
    let [scope] = &resource.scope_spans[..] else { panic!() };
    assert_eq!(scope.spans.len(), 69_999);
    assert_eq!(scope.spans[69_998].span_id, 69_999_u64.to_be_bytes());
    assert_eq!(
        scope.spans[3].attributes.len(),
        1,
        "the value is there, its depths as bytes"
    );
    // A file that says that it is large is not unpacked.
    assert!(decode(&file, 1_000).unwrap_err().contains("when unpacked"));
}
