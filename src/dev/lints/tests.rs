//! For each rule something that makes it speak and something like it that does not.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::*;
use crate::component::{Incident, IncidentKind};
use crate::pdata::Origin;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const NOW: u64 = 1_800_000_000 * SECOND;

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn resource(service: &str, run: &str) -> Option<Resource> {
    let mut attributes = Vec::new();
    if !service.is_empty() {
        attributes.push(text("service.name", service));
    }
    if !run.is_empty() {
        attributes.push(text("radiosonde.run.id", run));
    }
    Some(Resource {
        attributes,
        ..Resource::default()
    })
}

fn batch(signal: Signal, request: &impl Message) -> Batch {
    Batch::from_wire(signal, request.encode_to_vec().into(), 1, Arc::new(Origin::default()))
}

fn sends(lints: &Lints, service: &str, run: &str, spans: Vec<Span>) {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(service, run),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    lints.take(&mut batch(Signal::Traces, &request), NOW);
}

/// A span of trace `trace`, from `from` to `to` milliseconds.
fn span(trace: u8, id: u8, parent: u8, name: &str, (from, to): (u64, u64)) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: name.to_owned(),
        kind: 3,
        start_time_unix_nano: NOW + from * MS,
        end_time_unix_nano: NOW + to * MS,
        ..Span::default()
    }
}

fn with(mut span: Span, key: &str, value: &str) -> Span {
    span.attributes.push(text(key, value));
    span
}

fn found(lints: &Lints) -> Vec<&'static str> {
    lints.tick(NOW + 2 * SECOND);
    let mut rules: Vec<&'static str> = lints.all(NOW).iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn one(lints: &Lints, rule: &str) -> Finding {
    let all = lints.all(NOW);
    let finding = all.into_iter().find(|finding| finding.rule == rule);
    let finding = finding.unwrap_or_else(|| panic!("no {rule} in {:?}", found(lints)));
    assert!(
        !finding.title.is_empty() && !finding.text.is_empty() && !finding.fix.is_empty(),
        "{finding:?}"
    );
    assert!(
        !finding.evidence.is_empty() && RULES.contains(&finding.rule),
        "{finding:?}"
    );
    finding
}

fn after_spans(service: &str, spans: Vec<Span>) -> Lints {
    let lints = Lints::default();
    sends(&lints, service, "", spans);
    lints
}

#[test]
fn what_is_well_made_is_not_remarked_on() {
    let mut spans = vec![span(1, 1, 0, "GET /users/{id}", (0, 100))];
    for call in 0..4 {
        spans.push(with(
            span(1, 2 + call, 1, "SELECT users", (10, 20)),
            "db.query.text",
            "SELECT 1",
        ));
    }
    assert_eq!(found(&after_spans("web", spans)), Vec::<&str>::new());
}

#[test]
fn an_error_is_one_finding_however_often_it_happens() {
    let failed = |trace| Span {
        status: Some(Status {
            code: 2,
            message: "no route".to_owned(),
        }),
        ..span(trace, 1, 0, "GET /", (0, 1))
    };
    let lints = after_spans("web", vec![failed(1), failed(2), failed(3)]);
    let finding = one(&lints, "error-span");
    assert_eq!((finding.count, finding.evidence.len()), (3, 3));
    assert_eq!(lints.of_trace(&hex::encode([2; 16]), None, NOW).len(), 1);
    assert_eq!(lints.of_trace(&hex::encode([9; 16]), None, NOW).len(), 0);
    assert_eq!(lints.news().len(), 1);
    assert_eq!(lints.news().len(), 0);
}

#[test]
fn five_alike_calls_below_one_parent_are_n_plus_one() {
    let mut spans = vec![span(1, 1, 0, "GET /cart", (0, 100))];
    for call in 0..6 {
        spans.push(with(
            span(1, 10 + call, 1, "SELECT rate", (10, 20)),
            "db.query.text",
            "SELECT rate",
        ));
    }
    let lints = after_spans("web", spans);
    let finding = one(&lints, "n-plus-one");
    assert!(
        finding.title.contains("one statement 6 times in GET /cart"),
        "{}",
        finding.title
    );
    assert_eq!(found(&lints), ["n-plus-one"]);
}

#[test]
fn a_parent_is_missing_after_ten_seconds_and_not_before() {
    let lints = after_spans("web", vec![span(1, 2, 1, "work", (0, 1))]);
    lints.tick(NOW + 9 * SECOND);
    assert_eq!(found(&lints), Vec::<&str>::new());
    sends(&lints, "web", "", vec![span(1, 1, 0, "root", (0, 2))]);
    lints.tick(NOW + 60 * SECOND);
    assert_eq!(found(&lints), Vec::<&str>::new());
    sends(&lints, "web", "", vec![span(2, 2, 1, "work", (0, 1))]);
    lints.tick(NOW + 10 * SECOND);
    one(&lints, "orphan-span");
}

#[test]
fn a_service_without_a_name_is_told_how_to_get_one() {
    for name in ["", "unknown_service:node"] {
        let lints = after_spans(name, vec![span(1, 1, 0, "x", (0, 1))]);
        assert!(one(&lints, "unknown-service").fix.contains("OTEL_SERVICE_NAME"));
    }
}

#[test]
fn an_answer_before_its_call_is_clock_skew() {
    let answered = |from, to| {
        let lints = after_spans("web", vec![span(1, 1, 0, "GET /rates", (0, 100))]);
        let mut answer = span(1, 2, 1, "GET /rates", (from, to));
        answer.kind = 2;
        sends(&lints, "fx", "", vec![answer]);
        found(&lints)
    };
    assert_eq!(answered(10, 90), Vec::<&str>::new());
    assert_eq!(answered(0, 101), Vec::<&str>::new(), "within what clocks differ");
    assert_eq!(answered(200, 250), ["clock-skew"]);
}

#[test]
fn a_renamed_key_is_named_with_its_new_name() {
    let lints = after_spans("web", vec![with(span(1, 1, 0, "GET /", (0, 1)), "http.method", "GET")]);
    let finding = one(&lints, "deprecated-semconv");
    assert!(finding.fix.contains("http.request.method"), "{}", finding.fix);
    assert_eq!(finding.evidence[0].q.as_deref(), Some("has(http.method)"));
    let lints = after_spans(
        "web",
        vec![with(span(1, 1, 0, "GET /", (0, 1)), "http.request.method", "GET")],
    );
    assert_eq!(found(&lints), Vec::<&str>::new());
}

#[test]
fn duplicates_and_cycles_are_told_apart_from_a_tree() {
    let lints = after_spans("web", vec![span(1, 1, 0, "x", (0, 1)), span(1, 1, 0, "x", (0, 1))]);
    assert!(one(&lints, "duplicate-span").title.contains("twice"));
    let lints = after_spans("web", vec![span(1, 1, 2, "x", (0, 1)), span(1, 2, 1, "y", (0, 1))]);
    assert!(one(&lints, "duplicate-span").title.contains("each other's parents"));
}

#[test]
fn ids_in_names_need_three_names_of_one_form() {
    let named = |count: u32| {
        let spans = (0..count).map(|at| span(1 + at as u8, 1, 0, &format!("GET /users/{}", 1_000 + at), (0, 1)));
        found(&after_spans("web", spans.collect()))
    };
    assert_eq!(named(2), Vec::<&str>::new());
    assert_eq!(named(3), ["ids-in-span-name"]);
    assert_eq!(
        spans::form_of("GET /a/3f2504e0-4f89-11d3-9a0c-0305e82c3301/b").as_deref(),
        Some("GET /a/{id}/b")
    );
    assert_eq!(spans::form_of("GET /v1/cart"), None);
}

#[test]
fn what_the_sdk_left_out_is_told() {
    let cut = Span {
        dropped_events_count: 2,
        ..span(1, 1, 0, "x", (0, 1))
    };
    one(&after_spans("web", vec![cut]), "sdk-limits");
}

#[test]
fn a_secret_is_found_and_not_repeated() {
    let lints = after_spans("web", vec![with(span(1, 1, 0, "x", (0, 1)), "db.password", "hunter2")]);
    let finding = one(&lints, "secret-in-attribute");
    assert_eq!(finding.severity, Severity::Critical);
    assert!(!serde_json::to_string(&finding).unwrap().contains("hunter2"));
}

#[test]
fn times_that_cannot_be_are_told() {
    let backwards = span(1, 1, 0, "x", (5, 1));
    one(&after_spans("web", vec![backwards]), "bad-span-time");
    let mut seconds = span(1, 1, 0, "x", (0, 1));
    seconds.start_time_unix_nano = 0;
    one(&after_spans("web", vec![seconds]), "bad-span-time");
}

#[test]
fn call_and_answer_in_two_traces_are_broken_propagation_after_three_times() {
    let lints = Lints::default();
    let call = |trace, from| with(span(trace, 1, 0, "GET", (from, from + 100)), "url.path", "/rates");
    let answer = |trace, from| {
        let mut answer = with(
            span(trace, 1, 0, "GET /rates", (from + 10, from + 90)),
            "url.path",
            "/rates",
        );
        answer.kind = 2;
        answer
    };
    for number in 0..3_u8 {
        assert_eq!(found(&lints), Vec::<&str>::new());
        sends(&lints, "web", "", vec![call(10 + number, u64::from(number) * 1_000)]);
        sends(&lints, "fx", "", vec![answer(100 + number, u64::from(number) * 1_000)]);
    }
    assert!(one(&lints, "broken-propagation").title.contains("web to fx"));
    // In one trace nothing is open.
    let lints = Lints::default();
    for number in 0..5_u8 {
        sends(&lints, "web", "", vec![call(10 + number, 0)]);
        let mut answer = answer(10 + number, 0);
        answer.span_id = vec![2; 8];
        answer.parent_span_id = vec![1; 8];
        sends(&lints, "fx", "", vec![answer]);
    }
    assert_eq!(found(&lints), Vec::<&str>::new());
}

#[test]
fn a_run_twice_as_slow_as_the_one_before_is_told() {
    let lints = Lints::default();
    let run = |name: &str, ms: u64| {
        for number in 0..20_u8 {
            sends(&lints, "web", name, vec![span(number + 1, 1, 0, "GET /quote", (0, ms))]);
        }
    };
    run("r-1", 48);
    run("r-2", 60);
    assert!(!found(&lints).contains(&"slow-vs-baseline"));
    run("r-3", 210);
    let finding = one(&lints, "slow-vs-baseline");
    assert_eq!(finding.title, "GET /quote p95 210ms, run r-2 60ms (x3.5)");
    assert!(finding.fix.contains("radiosonde diff r-2 r-3"));
}

fn logs(lints: &Lints, count: usize, trace: bool) {
    let record = LogRecord {
        trace_id: if trace { vec![1; 16] } else { Vec::new() },
        severity_number: 9,
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource("web", ""),
            scope_logs: vec![ScopeLogs {
                log_records: vec![record; count],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    lints.take(&mut batch(Signal::Logs, &request), NOW);
}

#[test]
fn logs_of_a_service_with_spans_should_have_a_trace() {
    let lints = Lints::default();
    logs(&lints, 20, false);
    assert_eq!(found(&lints), Vec::<&str>::new(), "it has no spans");
    sends(&lints, "web", "", vec![span(1, 1, 0, "x", (0, 1))]);
    logs(&lints, 1, false);
    one(&lints, "log-without-trace");
    let lints = after_spans("web", vec![span(1, 1, 0, "x", (0, 1))]);
    logs(&lints, 1, true);
    logs(&lints, 20, false);
    assert_eq!(found(&lints), Vec::<&str>::new(), "some have one");
}

#[test]
fn a_flood_of_logs_is_a_thousand_in_a_second() {
    let lints = Lints::default();
    logs(&lints, 999, false);
    assert_eq!(found(&lints), Vec::<&str>::new());
    logs(&lints, 1, false);
    one(&lints, "log-flood");
}

/// A cumulative sum with one point for each attribute value.
fn sum(lints: &Lints, temporality: i32, points: &[(String, u64, f64)]) {
    let points = points.iter().map(|(user, time, value)| NumberDataPoint {
        attributes: vec![text("user.id", user)],
        start_time_unix_nano: NOW,
        time_unix_nano: NOW + time * SECOND,
        value: Some(number_data_point::Value::AsDouble(*value)),
        ..NumberDataPoint::default()
    });
    let metric = Metric {
        name: "requests".to_owned(),
        data: Some(metric::Data::Sum(Sum {
            data_points: points.collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        })),
        ..Metric::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource("web", ""),
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    lints.take(&mut batch(Signal::Metrics, &request), NOW);
}

#[test]
fn an_attribute_with_too_many_values_is_named() {
    let users = |count: usize| -> Vec<(String, u64, f64)> { (0..count).map(|at| (at.to_string(), 1, 1.0)).collect() };
    let lints = Lints::default();
    sum(&lints, 2, &users(500));
    assert_eq!(found(&lints), Vec::<&str>::new());
    sum(&lints, 2, &users(501));
    let finding = one(&lints, "cardinality-burst");
    assert!(finding.title.contains("user.id of requests"), "{}", finding.title);
}

#[test]
fn temporality_has_to_be_said_and_kept_and_sums_do_not_fall() {
    let point = |time, value| vec![("a".to_owned(), time, value)];
    let lints = Lints::default();
    sum(&lints, 2, &point(1, 5.0));
    sum(&lints, 2, &point(2, 7.0));
    assert_eq!(found(&lints), Vec::<&str>::new());
    sum(&lints, 2, &point(3, 6.0));
    assert!(one(&lints, "temporality-or-reset").title.contains("falls"));
    let lints = Lints::default();
    sum(&lints, 0, &point(1, 5.0));
    assert!(one(&lints, "temporality-or-reset").title.contains("no temporality"));
    let lints = Lints::default();
    sum(&lints, 1, &point(1, 5.0));
    sum(&lints, 2, &point(2, 5.0));
    assert!(
        one(&lints, "temporality-or-reset")
            .title
            .contains("delta and as cumulative")
    );
}

#[test]
fn what_receivers_tell_becomes_a_finding_with_its_remedy() {
    let lints = Lints::default();
    let tell = |kind, subject: &str, text: &str| Incident {
        kind,
        subject: subject.to_owned(),
        text: text.to_owned(),
        items: 2,
    };
    let told = vec![
        tell(
            IncidentKind::OtherProtocol,
            "HTTP on the grpc port",
            "HTTP came to the port of grpc",
        ),
        tell(IncidentKind::ForeignOrigin, "https://shop.example", "a page of it"),
        tell(IncidentKind::Rejected, "spans", "2 spans have a trace id of 3 bytes"),
        tell(IncidentKind::Refused, "metrics", "not protobuf"),
    ];
    lints.note(incidents::reports(told), NOW);
    assert!(
        one(&lints, "cors-refused")
            .fix
            .contains("--cors-origin https://shop.example")
    );
    assert_eq!(
        found(&lints),
        ["bad-ids", "cors-refused", "partial-success", "wrong-port-or-protocol"]
    );
}

#[test]
fn a_finding_is_muted_and_resolves_and_the_book_is_bounded() {
    let lints = after_spans("", vec![span(1, 1, 0, "x", (0, 1))]);
    let finding = one(&lints, "unknown-service");
    assert_eq!(finding.state, "firing");
    assert!(lints.mute(&finding.id, Some(SECOND), "known", NOW));
    assert!(!lints.mute("no-such", None, "", NOW));
    assert_eq!(one(&lints, "unknown-service").state, "muted");
    assert_eq!(lints.all(NOW + 2 * SECOND)[0].state, "firing");
    assert_eq!(lints.all(NOW + 700 * SECOND)[0].state, "resolved");
    for number in 0..1_200_u32 {
        let name = format!("service-{number}");
        sends(
            &lints,
            &name,
            "",
            vec![with(span(2, 1, 0, "x", (0, 1)), "http.method", "GET")],
        );
    }
    assert_eq!(lints.all(NOW).len(), 1_000);
}
