use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use proptest::prelude::*;

use super::FilterFactory;
use crate::component::Factory;
use crate::components::processors::fixtures::*;
use crate::pdata::{Batch, Decoded, Origin, Signal};

fn filter(yaml: &str, signal: Signal) -> Built {
    build(&FilterFactory, yaml, signal)
}

fn left(yaml: &str, telemetry: &Decoded) -> Vec<String> {
    names(filter(yaml, telemetry.signal()).run(telemetry))
}

fn some_traces() -> Decoded {
    traces([
        (
            "cart",
            vec![
                span("health", [("route", text("/health"))]),
                span("buy", [("n", int(3))]),
            ],
        ),
        ("shop", vec![span("health", [("route", text("/health"))])]),
    ])
}

fn some_metrics() -> Decoded {
    let pool = |name: &str| attributes([("pool", text(name))]);
    metrics([
        (
            "cart",
            vec![
                gauge("cpu.user", vec![pool("a"), pool("b")]),
                gauge("cpu.idle", vec![pool("b")]),
            ],
        ),
        ("shop", vec![gauge("memory", vec![pool("c")])]),
    ])
}

fn some_logs() -> Decoded {
    logs([(
        "cart",
        vec![
            log("started", 9, "INFO", [("k", text("v"))]),
            log("IMPORTANT", 17, "ERROR", [("k", text("w"))]),
            log("unknown", 0, "", []),
        ],
    )])
}

#[test]
fn any_true_condition_drops_and_empty_parents_go() {
    let filter = filter(
        "traces:\n  span:\n    - 'attributes[\"route\"] == \"/health\"'\n    - 'name == \"nothing\"'",
        Signal::Traces,
    );
    let Some(Decoded::Traces(request)) = filter.run(&some_traces()) else {
        panic!("one span is left")
    };
    assert_eq!(
        request.resource_spans.len(),
        1,
        "the group of `shop` went with its only span"
    );
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "buy");
    assert_eq!(filter.counter("otelcol_processor_filter_spans_filtered"), 2);
    assert_eq!(filter.counter("radiosonde_discarded_items"), 2);
    assert_eq!(filter.counter("otelcol_dropped_items"), 0);
}

#[test]
fn nothing_is_left_when_everything_is_dropped() {
    let filter = filter("traces: {span: ['true']}", Signal::Traces);
    assert!(filter.processor.process(batch(&some_traces())).unwrap().is_none());
    assert_eq!(filter.counter("otelcol_processor_filter_spans_filtered"), 3);
}

#[test]
fn a_batch_that_keeps_everything_keeps_its_bytes() {
    let decoded = some_traces();
    let before = decoded.encode();
    for yaml in ["traces: {span: ['name == \"x\"']}", "metrics: {metric: ['true']}", "{}"] {
        let batch = Batch::from_wire(Signal::Traces, before.clone(), 3, Arc::new(Origin::default()));
        let after = filter(yaml, Signal::Traces)
            .processor
            .process(batch)
            .unwrap()
            .unwrap()
            .into_bytes();
        assert_eq!(after.as_ptr(), before.as_ptr(), "{yaml}");
    }
}

#[test]
fn conditions_of_every_level() {
    let traces = some_traces();
    assert_eq!(
        left(
            "traces: {resource: ['attributes[\"service.name\"] == \"cart\"']}",
            &traces
        ),
        ["health"]
    );
    assert!(left("traces: {scope: ['name == \"lib\"']}", &traces).is_empty());
    assert_eq!(
        left(
            "trace_conditions: ['resource.attributes[\"service.name\"] == \"cart\"']",
            &traces
        ),
        ["health"]
    );
    assert!(left("trace_conditions: ['scope.version == \"1.2\"']", &traces).is_empty());
    assert_eq!(
        left("trace_conditions: ['IsMatch(span.name, \"^h\")']", &traces),
        ["buy"]
    );
    assert_eq!(
        left(
            "trace_conditions: [{context: span, conditions: ['name == \"buy\"']}]",
            &traces
        ),
        ["health", "health"]
    );
    assert_eq!(
        left(
            "trace_conditions: [{conditions: ['span.name == \"buy\"', 'true or span.kind == 1']}]",
            &traces
        )
        .len(),
        0
    );

    let metrics = some_metrics();
    assert_eq!(
        left("metrics: {metric: ['name == \"memory\"']}", &metrics),
        ["cpu.user", "cpu.idle"]
    );
    assert_eq!(
        left("metrics: {metric: ['HasAttrOnDatapoint(\"pool\", \"a\")']}", &metrics),
        ["cpu.idle", "memory"]
    );
    assert_eq!(
        left("metric_conditions: ['HasAttrKeyOnDatapoint(\"pool\")']", &metrics).len(),
        0
    );
    let filter = filter(
        "metrics: {datapoint: ['attributes[\"pool\"] == \"b\"']}",
        Signal::Metrics,
    );
    assert_eq!(
        names(filter.run(&metrics)),
        ["cpu.user", "memory"],
        "a metric without points goes"
    );
    assert_eq!(filter.counter("otelcol_processor_filter_datapoints_filtered"), 2);
    assert_eq!(
        left(
            "metric_conditions: ['datapoint.value_int == 1 and metric.name == \"memory\"']",
            &metrics
        ),
        ["cpu.user", "cpu.idle"]
    );

    let logs = some_logs();
    let yaml = "logs: {log_record: ['severity_number < SEVERITY_NUMBER_WARN', 'IsMatch(body, \"^IMP\")']}";
    assert!(left(yaml, &logs).is_empty());
    assert_eq!(
        left("log_conditions: ['log.severity_text == \"ERROR\"']", &logs),
        ["started", "unknown"]
    );
}

#[test]
fn span_events_go_and_their_span_stays() {
    let mut with_events = span("a", []);
    for name in ["keep", "debug.1", "debug.2"] {
        with_events.events.push(Event {
            name: name.to_owned(),
            time_unix_nano: 1,
            ..Event::default()
        });
    }
    let mut only_debug = span("b", []);
    only_debug.events.push(Event {
        name: "debug.1".to_owned(),
        ..Event::default()
    });
    let telemetry = traces([("cart", vec![with_events, only_debug])]);
    let filter = filter(
        "traces: {spanevent: ['IsMatch(name, \"^debug\") and span.kind == SPAN_KIND_SERVER']}",
        Signal::Traces,
    );
    let Some(Decoded::Traces(request)) = filter.run(&telemetry) else {
        panic!("spans stay")
    };
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    let events = |index: usize| {
        spans[index]
            .events
            .iter()
            .map(|event| event.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!((events(0), events(1)), (vec!["keep"], vec![]));
    assert_eq!(filter.counter("otelcol_processor_filter_spans_filtered"), 0);
}

#[test]
fn an_error_is_ignored_or_refuses_the_batch() {
    let condition = "traces: {span: ['Len(attributes[\"missing\"]) == 1', 'name == \"buy\"']}";
    assert_eq!(left(condition, &some_traces()), ["health", "health"]);
    assert_eq!(
        left(&format!("error_mode: silent\n{condition}"), &some_traces()),
        ["health", "health"]
    );
    let propagate = filter(&format!("error_mode: propagate\n{condition}"), Signal::Traces);
    let refused = propagate.processor.process(batch(&some_traces())).unwrap_err();
    assert!(refused.permanent);
    assert_eq!(
        refused.message,
        "filter \"filter/test\": condition `Len(attributes[\"missing\"]) == 1` failed: Len: expected string, list or map, found nil"
    );
    let mixed = "error_mode: propagate\ntrace_conditions: [{context: span, error_mode: ignore, conditions: ['Len(attributes[\"missing\"]) == 1']}]";
    assert_eq!(left(mixed, &some_traces()).len(), 3);
}

#[test]
fn malformed_items_are_dropped_and_counted() {
    // One group, one scope, two spans: the first with an attribute that claims more bytes than there are.
    let bytes: &[u8] = &[0x0a, 11, 0x12, 9, 0x12, 2, 0x4a, 9, 0x12, 3, 0x2a, 1, b'x'];
    let filter = filter("traces: {span: ['attributes[\"a\"] == \"b\"']}", Signal::Traces);
    let batch = Batch::from_wire(Signal::Traces, bytes.to_vec().into(), 2, Arc::new(Origin::default()));
    assert_eq!(names(filter.run_batch(batch)), ["x"]);
    assert_eq!(filter.counter("otelcol_dropped_items"), 1);
    assert_eq!(filter.counter("radiosonde_discarded_items"), 0);
}

#[test]
fn older_properties_of_metrics() {
    let cases: &[(&str, &[&str])] = &[
        (
            "include: {match_type: strict, metric_names: [memory, cpu.idle]}",
            &["cpu.idle", "memory"],
        ),
        (
            "exclude: {match_type: strict, metric_names: [memory, cpu]}",
            &["cpu.user", "cpu.idle"],
        ),
        (
            "include: {match_type: regexp, metric_names: ['^cpu\\.', nothing]}",
            &["cpu.user", "cpu.idle"],
        ),
        ("exclude: {match_type: regexp, metric_names: [e]}", &[]),
        (
            "include: {match_type: strict, resource_attributes: [{key: service.name, value: shop}]}",
            &["memory"],
        ),
        (
            "include: {match_type: regexp, resource_attributes: [{key: service.name, value: '^(shop|mall)$'}]}",
            &["memory"],
        ),
        (
            "include: {match_type: strict, resource_attributes: [{key: host.cpus, value: 4}]}",
            &["cpu.user", "cpu.idle", "memory"],
        ),
        (
            "include: {match_type: strict, resource_attributes: [{key: host.cpus, value: '4'}]}",
            &[],
        ),
        (
            "include: {match_type: regexp, resource_attributes: [{key: host.cpus, value: '^4$'}]}",
            &["cpu.user", "cpu.idle", "memory"],
        ),
        // The resource and the name are judged apart: a resource that is excluded goes whatever its metrics are called.
        (
            "exclude: {match_type: strict, metric_names: [cpu.user], resource_attributes: [{key: service.name, value: shop}]}",
            &["cpu.idle"],
        ),
        (
            "include: {match_type: regexp, metric_names: [cpu]}\n  exclude: {match_type: strict, metric_names: [cpu.idle]}",
            &["cpu.user"],
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(
            left(&format!("metrics:\n  {yaml}"), &some_metrics()),
            *expected,
            "{yaml}"
        );
    }
}

#[test]
fn older_properties_of_logs() {
    let cases: &[(&str, &[&str])] = &[
        ("include: {match_type: strict, bodies: [started]}", &["started"]),
        (
            "include: {match_type: regexp, bodies: ['^IMPORTANT', nope]}",
            &["IMPORTANT"],
        ),
        (
            "exclude: {match_type: regexp, bodies: ['a']}",
            &["IMPORTANT", "unknown"],
        ),
        (
            "include: {match_type: regexp, severity_texts: ['INFO[2-4]?', 'ERROR[2-4]?']}",
            &["started", "IMPORTANT"],
        ),
        ("include: {severity_number: {min: INFO}}", &["started", "IMPORTANT"]),
        (
            "include: {severity_number: {min: warn, match_undefined: true}}",
            &["IMPORTANT", "unknown"],
        ),
        ("include: {severity_number: {min: 10}}", &["IMPORTANT"]),
        (
            "exclude: {severity_number: {min: ERROR2}}",
            &["started", "IMPORTANT", "unknown"],
        ),
        (
            "include: {match_type: strict, record_attributes: [{key: k, value: w}]}",
            &["IMPORTANT"],
        ),
        (
            "include: {match_type: strict, record_attributes: [{key: k}]}",
            &["started", "IMPORTANT"],
        ),
        (
            "include: {match_type: strict, record_attributes: [{key: k}, {key: z}]}",
            &[],
        ),
        (
            "exclude: {match_type: strict, resource_attributes: [{key: service.name, value: cart}]}",
            &[],
        ),
        (
            "include: {match_type: strict, bodies: [started, IMPORTANT], severity_texts: [INFO]}",
            &["started"],
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(left(&format!("logs:\n  {yaml}"), &some_logs()), *expected, "{yaml}");
    }
}

#[test]
fn older_properties_of_spans() {
    let cases: &[(&str, &[&str])] = &[
        ("include: {match_type: strict, services: [shop]}", &["health"]),
        ("exclude: {match_type: regexp, services: ['^c']}", &["health"]),
        ("include: {match_type: strict, span_names: [buy]}", &["buy"]),
        ("include: {match_type: strict, span_kinds: [SPAN_KIND_CLIENT]}", &[]),
        (
            "include: {match_type: strict, span_kinds: [SPAN_KIND_SERVER]}",
            &["health", "buy", "health"],
        ),
        (
            "include: {match_type: strict, attributes: [{key: n, value: 3}]}",
            &["buy"],
        ),
        (
            "include: {match_type: regexp, attributes: [{key: n, value: '[0-9]'}]}",
            &["buy"],
        ),
        (
            "include: {match_type: strict, resources: [{key: service.name, value: cart}], span_names: [health]}",
            &["health"],
        ),
        (
            "include: {match_type: strict, libraries: [{name: lib}]}",
            &["health", "buy", "health"],
        ),
        (
            "exclude: {match_type: strict, libraries: [{name: lib, version: '1.3'}, {name: other}]}",
            &["health", "buy", "health"],
        ),
        (
            "exclude: {match_type: regexp, libraries: [{name: '^l', version: '^1'}]}",
            &[],
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(left(&format!("spans:\n  {yaml}"), &some_traces()), *expected, "{yaml}");
    }
}

#[test]
fn mistakes_have_a_position() {
    let cases = [
        (
            "traces:\n  span:\n    - 'atributes[\"a\"] == 1'",
            "yaml:3:8",
            "unknown path `atributes`; did you mean `attributes`?",
        ),
        (
            "traces:\n  span:\n    - name == 'x'",
            "yaml:3:15",
            "strings stand in double quotes",
        ),
        ("traces:\n  spam: []", "yaml:2:3", "unknown key"),
        ("error_mode: ignor", "yaml:1:13", "ignor"),
        (
            "trace_conditions:\n  - 'name == \"x\"'",
            "yaml:2:6",
            "cannot tell which context is meant",
        ),
        (
            "trace_conditions:\n  - 'log.body == \"x\"'",
            "yaml:2:6",
            "the log context is none of traces",
        ),
        (
            "trace_conditions:\n  - context: spam\n    conditions: ['true']",
            "yaml:2:14",
            "unknown context `spam`",
        ),
        (
            "trace_conditions: ['span.kind == 1']\ntraces: {span: ['true']}",
            "yaml:1:1",
            "not both",
        ),
        (
            "metrics: {include: {match_type: expr, expressions: ['a']}}",
            "yaml:1:33",
            "match_type expr is not built yet",
        ),
        (
            "metrics: {include: {metric_names: ['a']}}",
            "yaml:1:11",
            "`match_type` is missing",
        ),
        (
            "metrics: {include: {match_type: regexp, metric_names: ['(']}}",
            "yaml:1:57",
            "bad regular expression",
        ),
        (
            "metrics: {include: {match_type: regexp, resource_attributes: [{key: a, value: 5}]}}",
            "yaml:1:79",
            "put it in quotes",
        ),
        (
            "metrics: {include: {match_type: strict, metric_names: [a]}, metric: ['true']}",
            "yaml:1:1",
            "cannot stand beside OTTL",
        ),
        (
            "logs: {include: {severity_number: {min: LOUD}}}",
            "yaml:1:41",
            "`min` is a severity",
        ),
        (
            "spans: {include: {match_type: strict, log_bodies: [a]}}",
            "yaml:1:39",
            "spans have no such property",
        ),
        (
            "spans: {include: {match_type: strict}}",
            "yaml:1:9",
            "needs at least one of",
        ),
        ("profiles: {}", "yaml:1:1", "profiles are not built yet"),
    ];
    let mut wrong = Vec::new();
    for (yaml, place, message) in cases {
        let problems = problems(&FilterFactory, yaml);
        let found = problems
            .iter()
            .any(|problem| problem.starts_with(place) && problem.contains(message));
        if !found {
            wrong.push(format!("{yaml}\n  expected {place} {message}\n  found {problems:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_example_loads() {
    assert_eq!(problems(&FilterFactory, FilterFactory.example()), Vec::<String>::new());
}

proptest! {
    #[test]
    fn filters_as_the_decoded_form_would(groups in prop::collection::vec(prop::collection::vec(0i64..4, 0..4), 0..4)) {
        let mut decoded = Decoded::Traces(Default::default());
        let Decoded::Traces(request) = &mut decoded else { unreachable!() };
        for values in &groups {
            let spans = values.iter().map(|value| span("s", [("other", text("x")), ("n", int(*value))])).collect();
            let Decoded::Traces(one) = traces([("svc", spans)]) else { unreachable!() };
            request.resource_spans.extend(one.resource_spans);
        }
        let mut expected = request.clone();
        expected.resource_spans.retain_mut(|group| {
            group.scope_spans.retain_mut(|scope| {
                let before = scope.spans.len();
                scope.spans.retain(|span| span.attributes[1].value.as_ref().unwrap().value != Some(Any::IntValue(2)));
                before == scope.spans.len() || !scope.spans.is_empty()
            });
            !group.scope_spans.is_empty()
        });
        let found = filter("traces: {span: ['attributes[\"n\"] == 2']}", Signal::Traces).run(&decoded);
        let found = found.unwrap_or(Decoded::Traces(Default::default()));
        prop_assert_eq!(found, Decoded::Traces(expected));
    }
}
