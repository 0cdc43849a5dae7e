//! Whole-store behaviour: books, cap, eviction, readers, duplicates, what comes out again.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::pdata::{Decoded, Origin};

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn span(trace: u64, span: u64, parent: u64) -> Span {
    Span {
        trace_id: [trace.to_be_bytes(), trace.wrapping_mul(7).to_be_bytes()].concat(),
        span_id: span.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: format!("operation {}", span % 7),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + span,
        end_time_unix_nano: 1_700_000_000_000_001_000 + span,
        attributes: vec![text("http.route", "/api"), text("id", &format!("{span:016x}"))],
        ..Span::default()
    }
}

/// One with 200 letters that nothing packs.
fn large_span(trace: u64, id: u64, parent: u64) -> Span {
    let mut number = id;
    let mut noise = String::new();
    for _ in 0..13 {
        number = (number ^ (number >> 29))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(id);
        noise.push_str(&format!("{number:016x}"));
    }
    let mut large = span(trace, id, parent);
    large.attributes.push(text("noise", &noise));
    large
}

fn spans(spans: Vec<Span>) -> Batch {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", "shop")],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Batch::from_decoded(Decoded::Traces(request), Origin::internal())
}

fn logs(from: u64, count: u64) -> Batch {
    let log_records = (from..from + count).map(|at| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + at,
        body: Some(AnyValue {
            value: Some(Any::StringValue(format!("line {at} {}", "x".repeat(100)))),
        }),
        ..LogRecord::default()
    });
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: log_records.collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    Batch::from_decoded(Decoded::Logs(request), Origin::internal())
}

fn trace_id(trace: u64) -> TraceId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&trace.to_be_bytes());
    id[8..].copy_from_slice(&trace.wrapping_mul(7).to_be_bytes());
    id
}

#[test]
fn a_span_that_comes_again_is_kept_once_and_counted() {
    let store = Store::default();
    store.take(spans(vec![span(1, 1, 0), span(1, 2, 1)]));
    store.take(spans(vec![span(1, 2, 1), span(1, 3, 1)]));
    let books = store.books(Signal::Traces);
    assert_eq!((books.received, books.stored, books.dropped), (4, 3, 1));
    assert_eq!(store.traces().get(&trace_id(1)).unwrap().spans, 3);
}

#[test]
fn ids_that_cannot_be_used_cost_their_record_only() {
    let mut bad = span(1, 9, 0);
    bad.trace_id = vec![0; 16];
    let mut short = span(1, 10, 0);
    short.span_id = vec![1; 4];
    let store = Store::default();
    let taken = store.take(spans(vec![bad, span(1, 1, 0), short]));
    assert_eq!((taken.stored, taken.rejected), (1, 2));
}

#[test]
fn a_reader_keeps_what_it_saw_while_more_comes() {
    let store = Store::default();
    store.take(spans(vec![span(1, 1, 0)]));
    let before = store.snapshot();
    store.take(spans(vec![span(1, 2, 1)]));
    assert_eq!(before.of(Signal::Traces)[0].len(), 1);
    assert_eq!(store.snapshot().of(Signal::Traces)[0].len(), 2);
}

#[test]
fn the_cap_holds_the_books_close_and_what_went_is_told() {
    let store = Store::default();
    let cap = 16 << 20;
    store.set_cap(cap);
    let mut sent = 0;
    for request in 0..200_u64 {
        let many = (0..250).map(|at| {
            let id = request * 250 + at + 1;
            large_span(id.div_ceil(10), id, if id % 10 == 1 { 0 } else { id - 1 })
        });
        store.take(spans(many.collect()));
        sent += 250;
        assert!(store.used() <= cap + cap / 20, "{} at {request}", store.used());
        if request % 50 == 0 {
            store.maintain();
        }
    }
    let books = store.books(Signal::Traces);
    assert_eq!((books.received, books.stored), (sent, sent));
    assert!(books.evicted > 0, "the cap was never reached");
    assert_eq!(books.stored - books.evicted, store.rows(Signal::Traces) as u64);
    let in_segments: usize = store
        .snapshot()
        .of(Signal::Traces)
        .iter()
        .map(|segment| segment.len())
        .sum();
    assert_eq!(in_segments, store.rows(Signal::Traces));
    let buried: u64 = store.tombstones().all().iter().map(|stone| stone.spans).sum();
    assert_eq!(buried, books.evicted);
    let mut live = 0;
    store.traces().for_each(|_, trace| live += trace.spans as usize);
    assert_eq!(live, in_segments);
    // The oldest traces are gone, the newest are whole.
    assert!(store.traces().get(&trace_id(1)).is_none());
    assert_eq!(store.traces().get(&trace_id(sent / 10)).unwrap().spans, 10);
}

#[test]
fn a_flood_of_logs_does_not_push_the_traces_out() {
    let store = Store::default();
    store.set_cap(8 << 20);
    store.take(spans((1..=2_000).map(|at| span(at, at, 0)).collect()));
    for request in 0..60 {
        store.take(logs(request * 1_000, 1_000));
    }
    store.maintain();
    assert_eq!(store.rows(Signal::Traces), 2_000);
    assert!(store.books(Signal::Logs).evicted > 0);
}

#[test]
fn a_request_larger_than_a_segment_is_split_over_several() {
    let store = Store::default();
    let many = (1..=40_000).map(|at| span(1, at, 0));
    store.take(spans(many.collect()));
    store.maintain();
    let snapshot = store.snapshot();
    assert_eq!(
        snapshot
            .of(Signal::Traces)
            .iter()
            .map(|segment| segment.len())
            .sum::<usize>(),
        40_000
    );
    assert!(snapshot.of(Signal::Traces).len() >= 3);
    assert!(snapshot.of(Signal::Traces)[0].complete);
    assert_eq!(
        store.traces().get(&trace_id(1)).unwrap().segments.len(),
        snapshot.of(Signal::Traces).len()
    );
}

#[test]
fn what_comes_out_is_what_came_in() {
    let store = Store::default();
    let batch = spans((1..=100).map(|at| span(at / 5 + 1, at, 0)).collect());
    let sent = batch.clone().into_bytes();
    store.take(batch);
    for complete in [false, true] {
        if complete {
            store.rings[0].lock().roll();
            store.maintain();
        }
        let segment = store.snapshot().of(Signal::Traces)[0].clone();
        assert_eq!(segment.complete, complete);
        assert_eq!(request_of(&segment, 0..segment.len()), sent);
    }
}

#[test]
fn subscribers_hear_which_rows_are_new_and_what_they_missed() {
    let store = Store::default();
    let mut subscription = store.live().subscribe();
    store.take(spans(vec![span(1, 1, 0), span(1, 2, 1)]));
    store.take(spans(vec![span(1, 3, 1)]));
    let mut heard = Vec::new();
    while let Some(crate::dev::live::Heard::New(change)) = subscription.try_next() {
        heard.push((change.segment, change.rows));
    }
    assert_eq!(heard, [(1, 0..2), (1, 2..3)]);
    for at in 0..3_000 {
        store.take(spans(vec![span(2, 10 + at, 0)]));
    }
    assert!(matches!(subscription.try_next(), Some(crate::dev::live::Heard::Missed(missed)) if missed > 1_000));
}

#[test]
fn a_data_directory_has_everything_again_also_after_a_torn_write() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::default();
    first.open_dir(dir.path()).unwrap();
    for request in 0..20 {
        first.take_at(
            spans((1..=50).map(|at| span(request + 1, request * 50 + at, 0)).collect()),
            77 + request,
        );
    }
    first.take(logs(0, 30));
    // Another process may read, not write.
    assert!(matches!(
        Store::default().open_dir(dir.path()),
        Err(DiskError::Taken { .. })
    ));
    let reader = Store::default();
    reader.read_dir(dir.path()).unwrap();
    assert_eq!((reader.rows(Signal::Traces), reader.rows(Signal::Logs)), (1_000, 30));
    // Killed: neither flushed nor stopped.
    drop(first);
    let file = dir.path().join("store-00000001.rsd");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(length - 5)
        .unwrap();
    let second = Store::default();
    let loaded = second.open_dir(dir.path()).unwrap();
    assert_eq!((loaded.requests, loaded.cut > 0), (20, true));
    assert_eq!((second.rows(Signal::Traces), second.rows(Signal::Logs)), (1_000, 0));
    assert_eq!(second.snapshot().of(Signal::Traces)[0].arrivals[0], 77);
    second.clear();
    second.flush();
    drop(second);
    let third = Store::default();
    assert_eq!(third.open_dir(dir.path()).unwrap(), Loaded::default());
    assert_eq!(third.tombstones().all()[0].spans, 1_000);
}

#[test]
fn files_of_which_nothing_is_stored_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::default();
    store.set_cap(16 << 20);
    store.open_dir(dir.path()).unwrap();
    let files = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".rsd"))
    };
    for request in 0..140_u64 {
        store.take(spans(
            (1..=250)
                .map(|at| large_span(request + 1, request * 250 + at, 0))
                .collect(),
        ));
        if request % 20 == 0 {
            store.on_disk(Disk::roll);
            store.maintain();
        }
    }
    store.maintain();
    assert!(store.books(Signal::Traces).evicted > 0);
    assert!(files().count() <= 6, "{}", files().count());
    let again = Store::default();
    again.read_dir(dir.path()).unwrap();
    assert!(again.rows(Signal::Traces) >= store.rows(Signal::Traces));
}
