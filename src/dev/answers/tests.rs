//! Trees of odd traces, and lists that are read page by page.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::dev::store::{Store, TraceId};
use crate::pdata::{Batch, Decoded, Origin};

const BASE: u64 = 1_700_000_000_000_000_000;
const ID: TraceId = [7; 16];

/// Id, parent, start and end after the trace's start.
fn span((id, parent, start, end): (u64, u64, u64, u64)) -> Span {
    Span {
        trace_id: ID.to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: format!("s{id}"),
        kind: 1,
        start_time_unix_nano: BASE + start,
        end_time_unix_nano: BASE + end,
        ..Span::default()
    }
}

fn take(store: &Store, service: &str, spans: Vec<Span>, arrival: u64) {
    let name = Some(AnyValue {
        value: Some(Any::StringValue(service.to_owned())),
    });
    let attributes = vec![KeyValue {
        key: "service.name".to_owned(),
        value: name,
        ..KeyValue::default()
    }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    store.take_at(
        Batch::from_decoded(Decoded::Traces(request), Origin::internal()),
        BASE + arrival,
    );
}

fn stored(spans: &[(u64, u64, u64, u64)]) -> Store {
    let store = Store::default();
    take(&store, "a", spans.iter().copied().map(span).collect(), 0);
    store
}

fn rows(store: &Store) -> Vec<Row> {
    trace_rows(store, &ID, 0, 100_000, BASE).unwrap().rows
}

fn ids(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.span_id.0).collect()
}

#[test]
fn a_cycle_is_cut_once_and_all_of_it_is_shown() {
    let rows = rows(&stored(&[
        (1, 0, 0, 100),
        (2, 4, 10, 20),
        (3, 2, 12, 18),
        (4, 3, 14, 16),
        (5, 5, 50, 60),
    ]));
    assert_eq!(ids(&rows), [1, 5, 2, 3, 4]);
    let cut: Vec<u64> = rows
        .iter()
        .filter(|row| row.cut_cycle)
        .map(|row| row.span_id.0)
        .collect();
    assert_eq!(cut, [2]);
    assert_eq!(rows.iter().map(|row| row.depth).collect::<Vec<_>>(), [0, 0, 0, 1, 2]);
}

#[test]
fn a_span_without_its_parent_stands_at_the_top_and_says_so() {
    let store = stored(&[(2, 9, 10, 20), (3, 2, 12, 18)]);
    let answer = trace_rows(&store, &ID, 0, 10, BASE).unwrap();
    assert_eq!(
        (
            answer.missing_parents,
            answer.rows[0].missing_parent,
            answer.rows[1].missing_parent
        ),
        (1, true, false)
    );
    assert!(answer.trace.root.is_none());
}

#[test]
fn children_that_run_beside_each_other_are_counted_once_in_the_self_time() {
    let rows = rows(&stored(&[
        (1, 0, 0, 100),
        (2, 1, 10, 40),
        (3, 1, 30, 60),
        (4, 1, 90, 150),
        (5, 1, 20, 25),
    ]));
    assert_eq!(rows[0].self_time, Ns(40));
    assert_eq!(ids(&rows), [1, 2, 5, 3, 4]);
}

#[test]
fn siblings_that_are_alike_are_counted_at_the_first() {
    let mut spans: Vec<Span> = (2..8).map(|id| span((id, 1, id * 10, id * 10 + 5))).collect();
    spans.iter_mut().for_each(|span| span.name = "SELECT".to_owned());
    spans.push(span((1, 0, 0, 100)));
    let store = Store::default();
    take(&store, "a", spans, 0);
    let alike: Vec<Option<u32>> = rows(&store)
        .iter()
        .map(|row| row.alike.map(|alike| alike.count))
        .collect();
    assert_eq!(alike, [None, Some(6), None, None, None, None, None]);
}

#[test]
fn late_spans_and_a_clock_that_is_off_are_told() {
    let store = Store::default();
    let client = Span {
        kind: 3,
        ..span((1, 0, 1_000, 9_000))
    };
    let server = Span {
        kind: 2,
        ..span((2, 1, 400, 8_000))
    };
    take(&store, "a", vec![client], 0);
    take(&store, "b", vec![server], 5_000_000_000);
    let answer = trace_rows(&store, &ID, 0, 10, BASE).unwrap();
    assert_eq!((answer.skew[0].service.as_str(), answer.skew[0].by), ("b", Ns(600)));
    let late: Vec<bool> = answer.rows.iter().map(|row| row.late).collect();
    assert_eq!(late, [false, true]);
}

#[test]
fn a_chain_of_spans_however_long_is_walked_without_recursion() {
    const LONG: u64 = 20_000;
    let store = stored(&(1..=LONG).map(|id| (id, id - 1, id, 2 * LONG - id)).collect::<Vec<_>>());
    let answer = trace_rows(&store, &ID, 19_990, 100, BASE).unwrap();
    assert_eq!(
        (answer.rows_total, answer.max_depth, answer.rows.len()),
        (20_000, 19_999, 10)
    );
    assert_eq!(critical_path(&store, &ID).unwrap().path[0].span_id, Hex8(1));
    let flame = flame_of_trace(&store, &ID).unwrap();
    assert!(flame.truncated && serde_json::to_string(&flame).is_ok());
    let half = minimap(&store, &ID, 2).unwrap();
    assert_eq!(half.buckets[0].spans, 19_999);
}

#[test]
fn pages_of_a_list_have_every_trace_once() {
    let store = Store::default();
    for at in 0..250_u64 {
        let mut one = span((1, 0, at / 3, at / 3 + at % 7));
        one.trace_id = [at.to_be_bytes(), [1; 8]].concat();
        take(&store, "a", vec![one], at);
    }
    for order in [Order::Recent, Order::Duration, Order::Errors, Order::Spans] {
        let choice = Choice {
            order,
            ..Choice::default()
        };
        let mut ask = Ask::all("", 40, BASE).unwrap();
        let mut seen = Vec::new();
        loop {
            let page = traces(&store, &ask, &choice).unwrap();
            assert_eq!(page.head.total, 250);
            seen.extend(page.traces.iter().map(|trace| trace.trace_id));
            ask.cursor = page.head.cursor;
            if ask.cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 250, "{order:?}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 250, "{order:?}");
    }
    let mut ask = Ask::all("name=s1", 60, BASE).unwrap();
    let mut seen = 0;
    loop {
        let page = spans(&store, &ask);
        seen += page.spans.len();
        ask.cursor = page.head.cursor;
        if ask.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, 250);
}
