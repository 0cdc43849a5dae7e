use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as m;

use super::AttributesFactory;
use crate::component::Factory;
use crate::components::processors::fixtures::*;
use crate::pdata::{Decoded, Signal};

const UPSERT: &str = "actions: [{key: env, value: prod, action: upsert}]";

fn has_env(attributes: &[KeyValue]) -> bool {
    attributes.contains(&attribute("env", text("prod")))
}

#[test]
fn edits_spans_log_records_and_every_kind_of_data_point() {
    let built = build(&AttributesFactory, UPSERT, Signal::Traces);
    let Some(Decoded::Traces(request)) =
        built.run(&traces([("svc", vec![span("a", []), span("b", [("env", int(1))])])]))
    else {
        panic!("spans stay");
    };
    assert!(
        request.resource_spans[0].scope_spans[0]
            .spans
            .iter()
            .all(|span| has_env(&span.attributes))
    );

    let built = build(&AttributesFactory, UPSERT, Signal::Logs);
    let Some(Decoded::Logs(request)) = built.run(&logs([("svc", vec![log("x", 1, "", [])])])) else {
        panic!("records stay");
    };
    assert!(has_env(
        &request.resource_logs[0].scope_logs[0].log_records[0].attributes
    ));

    let with = |data| m::Metric {
        name: "m".to_owned(),
        data: Some(data),
        ..m::Metric::default()
    };
    let all = vec![
        gauge("m", vec![vec![], attributes([("env", text("test"))])]),
        with(m::metric::Data::Sum(m::Sum {
            data_points: vec![Default::default()],
            ..Default::default()
        })),
        with(m::metric::Data::Histogram(m::Histogram {
            data_points: vec![Default::default()],
            ..Default::default()
        })),
        with(m::metric::Data::ExponentialHistogram(m::ExponentialHistogram {
            data_points: vec![Default::default()],
            ..Default::default()
        })),
        with(m::metric::Data::Summary(m::Summary {
            data_points: vec![Default::default()],
        })),
    ];
    let built = build(&AttributesFactory, UPSERT, Signal::Metrics);
    let Some(Decoded::Metrics(request)) = built.run(&metrics([("svc", all)])) else {
        panic!("metrics stay")
    };
    for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
        let points: Vec<&Vec<KeyValue>> = match metric.data.as_ref().unwrap() {
            m::metric::Data::Gauge(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
            m::metric::Data::Sum(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
            m::metric::Data::Histogram(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
            m::metric::Data::ExponentialHistogram(data) => {
                data.data_points.iter().map(|point| &point.attributes).collect()
            }
            m::metric::Data::Summary(data) => data.data_points.iter().map(|point| &point.attributes).collect(),
        };
        assert!(
            !points.is_empty() && points.into_iter().all(|point| has_env(point)),
            "{metric:?}"
        );
    }
}

#[test]
fn include_and_exclude_choose_the_items() {
    let edited = |yaml: &str, telemetry: &Decoded| -> Vec<bool> {
        let built = build(&AttributesFactory, &format!("{yaml}\n{UPSERT}"), telemetry.signal());
        match built.run(telemetry).unwrap() {
            Decoded::Traces(request) => (request.resource_spans.iter().flat_map(|group| &group.scope_spans))
                .flat_map(|scope| &scope.spans)
                .map(|span| has_env(&span.attributes))
                .collect(),
            Decoded::Metrics(request) => (request.resource_metrics.iter().flat_map(|group| &group.scope_metrics))
                .flat_map(|scope| &scope.metrics)
                .map(|metric| match metric.data.as_ref().unwrap() {
                    m::metric::Data::Gauge(data) => has_env(&data.data_points[0].attributes),
                    _ => panic!("gauges only"),
                })
                .collect(),
            Decoded::Logs(request) => (request.resource_logs.iter().flat_map(|group| &group.scope_logs))
                .flat_map(|scope| &scope.log_records)
                .map(|record| has_env(&record.attributes))
                .collect(),
        }
    };
    let spans = traces([
        ("cart", vec![span("a", []), span("b", [("k", int(1))])]),
        ("shop", vec![span("c", [])]),
    ]);
    assert_eq!(
        edited("include: {match_type: strict, services: [cart]}", &spans),
        [true, true, false]
    );
    assert_eq!(
        edited("exclude: {match_type: regexp, span_names: ['[ab]']}", &spans),
        [false, false, true]
    );
    let both = "include: {match_type: strict, services: [cart]}\nexclude: {match_type: strict, attributes: [{key: k}]}";
    assert_eq!(edited(both, &spans), [true, false, false]);
    let points = metrics([("cart", vec![gauge("x", vec![vec![]]), gauge("y", vec![vec![]])])]);
    assert_eq!(
        edited("include: {match_type: strict, metric_names: [y]}", &points),
        [false, true]
    );
    let records = logs([("cart", vec![log("one", 9, "INFO", []), log("two", 17, "ERROR", [])])]);
    assert_eq!(
        edited("include: {match_type: strict, log_bodies: [one]}", &records),
        [true, false]
    );
    assert_eq!(
        edited("include: {match_type: strict, log_severity_texts: [ERROR]}", &records),
        [false, true]
    );
    assert_eq!(
        edited(
            "include: {match_type: strict, log_severity_number: {min: WARN}}",
            &records
        ),
        [false, true]
    );
}

#[test]
fn properties_of_another_signal_are_refused_when_the_pipeline_is_built() {
    let yaml = format!("include: {{match_type: strict, span_names: [a]}}\n{UPSERT}");
    assert!(try_build(&AttributesFactory, &yaml, Signal::Traces).is_ok());
    let error = try_build(&AttributesFactory, &yaml, Signal::Logs).err().unwrap();
    assert_eq!(
        error.message,
        "`span_names` of include or exclude cannot be used in a pipeline of logs"
    );
    let mixed = format!("include: {{match_type: strict, span_names: [a], log_bodies: [b]}}\n{UPSERT}");
    let problems = problems(&AttributesFactory, &mixed);
    assert!(
        problems[0].contains("no signal has all of span_names, log_bodies"),
        "{problems:?}"
    );
}

#[test]
fn the_example_loads() {
    assert_eq!(
        problems(&AttributesFactory, AttributesFactory.example()),
        Vec::<String>::new()
    );
}
