use super::ResourceFactory;
use crate::component::Factory;
use crate::components::processors::fixtures::*;
use crate::pdata::{Decoded, Signal};

#[test]
fn edits_the_resource_of_every_group_and_nothing_else() {
    let yaml = "attributes: [{key: env, value: prod, action: insert}, {key: host.cpus, action: delete}]";
    let before = traces([
        ("cart", vec![span("a", [("env", text("x"))])]),
        ("shop", vec![span("b", [])]),
    ]);
    let Some(Decoded::Traces(after)) = build(&ResourceFactory, yaml, Signal::Traces).run(&before) else {
        panic!("spans stay");
    };
    let Decoded::Traces(mut expected) = before else {
        unreachable!()
    };
    for group in &mut expected.resource_spans {
        let attributes = &mut group.resource.as_mut().unwrap().attributes;
        attributes.truncate(1);
        attributes.push(attribute("env", text("prod")));
    }
    assert_eq!(after, expected);
}

#[test]
fn a_group_without_resource_gets_one() {
    let Decoded::Logs(mut request) = logs([("cart", vec![log("a", 1, "", [])])]) else {
        unreachable!()
    };
    request.resource_logs[0].resource = None;
    let yaml = "attributes: [{key: env, value: prod, action: upsert}]";
    let Some(Decoded::Logs(after)) = build(&ResourceFactory, yaml, Signal::Logs).run(&Decoded::Logs(request)) else {
        panic!("records stay");
    };
    let resource = after.resource_logs[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes, attributes([("env", text("prod"))]));
}

#[test]
fn works_in_all_signals() {
    let yaml = "attributes: [{key: service.name, value: renamed, action: update}]";
    let telemetry = metrics([("cart", vec![gauge("a", vec![vec![]])])]);
    let Some(Decoded::Metrics(after)) = build(&ResourceFactory, yaml, Signal::Metrics).run(&telemetry) else {
        panic!("metrics stay");
    };
    let resource = after.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes[0], attribute("service.name", text("renamed")));
}

#[test]
fn the_example_loads_and_an_unknown_key_does_not() {
    assert_eq!(
        problems(&ResourceFactory, ResourceFactory.example()),
        Vec::<String>::new()
    );
    let problems = problems(&ResourceFactory, "attribute: []");
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("`attributes` is missing")),
        "{problems:?}"
    );
    assert!(
        problems
            .iter()
            .any(|problem| problem.starts_with("yaml:1:1") && problem.contains("unknown key")),
        "{problems:?}"
    );
}
