use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use crate::components::processors::attributes::AttributesFactory;
use crate::components::processors::fixtures::*;
use crate::pdata::{Auth, Decoded, Origin, Signal};

fn origin() -> Arc<Origin> {
    Arc::new(Origin {
        client: Some(SocketAddr::from(([10, 0, 0, 1], 4711))),
        metadata: vec![("x-tenant".into(), vec!["blue".into(), "red".into()])],
        auth: Some(Auth {
            attributes: vec![("subject".into(), "me".into())],
        }),
        ..Origin::default()
    })
}

/// The attributes of a span after the actions.
fn after(actions: &str) -> Vec<(String, Option<Any>)> {
    let built = build(&AttributesFactory, &format!("actions: [{actions}]"), Signal::Traces);
    let before = span(
        "s",
        [
            ("a", text("one")),
            ("n", int(7)),
            ("d", Any::DoubleValue(2.9)),
            ("t", Any::BoolValue(true)),
            ("digits", text("42")),
            ("email", text("me@example.org")),
        ],
    );
    let Some(Decoded::Traces(request)) = built.run_batch(batch_from(&traces([("svc", vec![before])]), origin())) else {
        panic!("the span stays");
    };
    let attributes = request.resource_spans[0].scope_spans[0].spans[0].attributes.clone();
    attributes
        .into_iter()
        .map(|one| (one.key, one.value.and_then(|value| value.value)))
        .collect()
}

fn value(actions: &str, key: &str) -> Option<Any> {
    after(actions)
        .into_iter()
        .find(|(name, _)| name == key)
        .and_then(|(_, value)| value)
}

#[test]
fn insert_update_and_upsert_look_at_what_is_there() {
    assert_eq!(value("{key: a, value: x, action: insert}", "a"), Some(text("one")));
    assert_eq!(value("{key: z, value: x, action: insert}", "z"), Some(text("x")));
    assert_eq!(value("{key: a, value: x, action: update}", "a"), Some(text("x")));
    assert_eq!(value("{key: z, value: x, action: update}", "z"), None);
    assert_eq!(value("{key: a, value: x, action: upsert}", "a"), Some(text("x")));
    assert_eq!(value("{key: z, value: x, action: upsert}", "z"), Some(text("x")));
}

#[test]
fn a_value_has_the_type_that_it_has_in_yaml() {
    let cases = [
        ("5", int(5)),
        ("'5'", text("5")),
        ("true", Any::BoolValue(true)),
        ("1.5", Any::DoubleValue(1.5)),
        ("-3", int(-3)),
    ];
    for (yaml, expected) in cases {
        assert_eq!(
            value(&format!("{{key: z, value: {yaml}, action: upsert}}"), "z"),
            Some(expected),
            "{yaml}"
        );
    }
    let Some(Any::ArrayValue(list)) = value("{key: z, value: [1, b], action: upsert}", "z") else {
        panic!("a list")
    };
    assert_eq!(list.values.len(), 2);
}

#[test]
fn a_value_comes_from_elsewhere_or_from_the_default() {
    assert_eq!(value("{key: z, from_attribute: n, action: insert}", "z"), Some(int(7)));
    assert_eq!(value("{key: z, from_attribute: missing, action: insert}", "z"), None);
    assert_eq!(
        value(
            "{key: z, from_attribute: missing, default_value: 9, action: insert}",
            "z"
        ),
        Some(int(9))
    );
    assert_eq!(
        value("{key: z, from_attribute: n, default_value: 9, action: insert}", "z"),
        Some(int(7))
    );
    assert_eq!(value("{key: z, default_value: 9, action: insert}", "z"), Some(int(9)));
    assert_eq!(
        value("{key: z, from_context: metadata.X-Tenant, action: upsert}", "z"),
        Some(text("blue;red"))
    );
    assert_eq!(
        value("{key: z, from_context: metadata.other, action: upsert}", "z"),
        None
    );
    assert_eq!(
        value(
            "{key: z, from_context: metadata.other, default_value: d, action: upsert}",
            "z"
        ),
        Some(text("d"))
    );
    assert_eq!(
        value("{key: z, from_context: auth.subject, action: upsert}", "z"),
        Some(text("me"))
    );
    assert_eq!(
        value("{key: z, from_context: client.address, action: upsert}", "z"),
        Some(text("10.0.0.1"))
    );
}

#[test]
fn delete_takes_a_key_and_what_matches_a_pattern() {
    let keys = |actions: &str| after(actions).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys("{key: a, action: delete}"), ["n", "d", "t", "digits", "email"]);
    assert_eq!(keys("{pattern: '^[dt]', action: delete}"), ["a", "n", "email"]);
    assert_eq!(keys("{key: a, pattern: '^[dt]', action: delete}"), ["n", "email"]);
    assert_eq!(keys("{key: missing, action: delete}").len(), 6);
}

#[test]
fn hash_is_sha_256_of_the_bytes_of_the_value() {
    let cases = [
        (
            "email",
            "b5f81c34c34de0be9a6a9a3fa7fd8dcc2bd7bd5ff1d8f2e5e7d7ea5de1a1a2b7",
            "me@example.org".as_bytes().to_vec(),
        ),
        ("n", "", 7i64.to_le_bytes().to_vec()),
        ("d", "", 2.9f64.to_le_bytes().to_vec()),
        ("t", "", vec![1]),
    ];
    for (key, _, bytes) in cases {
        use sha2::Digest;
        let expected = hex::encode(sha2::Sha256::digest(&bytes));
        assert_eq!(
            value(&format!("{{key: {key}, action: hash}}"), key),
            Some(text(&expected)),
            "{key}"
        );
    }
    // A digest that was computed elsewhere (the test vector of FIPS 180-2).
    let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        value("{key: z, value: abc, action: insert}, {key: z, action: hash}", "z"),
        Some(text(known))
    );
    let hashed = after("{pattern: '^(a|email)$', action: hash}");
    let lengths: Vec<usize> = hashed
        .iter()
        .map(|(_, value)| match value {
            Some(Any::StringValue(text)) => text.len(),
            _ => 0,
        })
        .collect();
    assert_eq!(lengths, [64, 0, 0, 0, 2, 64]);
}

#[test]
fn extract_makes_attributes_of_named_groups_and_overwrites() {
    let action = r"{key: email, pattern: '^(?P<a>[^@]+)@(?P<host>.+?)(?P<rest>!)?$', action: extract}";
    assert_eq!(value(action, "a"), Some(text("me")));
    assert_eq!(value(action, "host"), Some(text("example.org")));
    assert_eq!(value(action, "rest"), Some(text("")));
    assert_eq!(value(action, "email"), Some(text("me@example.org")));
    assert_eq!(
        value("{key: n, pattern: '(?P<z>.)', action: extract}", "z"),
        None,
        "only texts are matched"
    );
    assert_eq!(value("{key: a, pattern: '(?P<z>X)', action: extract}", "z"), None);
}

#[test]
fn convert_leaves_what_cannot_be_converted() {
    let cases = [
        ("digits", "int", int(42)),
        ("a", "int", text("one")),
        ("d", "int", int(2)),
        ("t", "int", int(1)),
        ("digits", "double", Any::DoubleValue(42.0)),
        ("n", "double", Any::DoubleValue(7.0)),
        ("a", "double", text("one")),
        ("n", "string", text("7")),
        ("d", "string", text("2.9")),
        ("t", "string", text("true")),
        ("a", "string", text("one")),
    ];
    for (key, to, expected) in cases {
        let action = format!("{{key: {key}, action: convert, converted_type: {to}}}");
        assert_eq!(value(&action, key), Some(expected), "{key} to {to}");
    }
}

#[test]
fn actions_run_in_order_on_what_the_earlier_ones_left() {
    let actions = "{key: b, from_attribute: a, action: insert}, {key: a, action: delete}, \
                   {key: c, from_attribute: a, action: insert}, {key: b, value: 1, action: update}";
    let left = after(actions);
    assert_eq!(left.iter().find(|(key, _)| key == "b").unwrap().1, Some(int(1)));
    assert!(!left.iter().any(|(key, _)| key == "a" || key == "c"));
}

#[test]
fn mistakes_have_a_position() {
    let cases = [
        ("{}", "yaml:1:1", "`actions` is missing"),
        ("actions: []", "yaml:1:1", "needs at least one action"),
        ("actions: [{key: a}]", "yaml:1:11", "`action` is missing"),
        (
            "actions: [{key: a, action: inserd, value: 1}]",
            "yaml:1:28",
            "did you mean \"insert\"?",
        ),
        ("actions: [{action: insert, value: 1}]", "yaml:1:11", "`key` is missing"),
        (
            "actions: [{key: a, action: insert}]",
            "yaml:1:11",
            "needs one of `value`",
        ),
        (
            "actions: [{key: a, action: insert, value: 1, from_attribute: b}]",
            "yaml:1:11",
            "only one of `value`",
        ),
        (
            "actions: [{key: a, action: insert, from_context: header.x}]",
            "yaml:1:50",
            "unknown context value `header.x`",
        ),
        (
            "actions: [{key: a, action: insert, value: 1, pattern: x}]",
            "yaml:1:55",
            "`pattern` means nothing to insert",
        ),
        ("actions: [{action: delete}]", "yaml:1:11", "needs `key` or `pattern`"),
        (
            "actions: [{key: a, action: delete, value: 1}]",
            "yaml:1:43",
            "`value` means nothing to delete",
        ),
        (
            "actions: [{pattern: '(', action: hash}]",
            "yaml:1:22",
            "bad regular expression",
        ),
        (
            "actions: [{key: a, action: extract, pattern: '(x)'}]",
            "yaml:1:47",
            "every group of the pattern needs a name",
        ),
        (
            "actions: [{key: a, action: extract, pattern: 'x'}]",
            "yaml:1:47",
            "at least one named group",
        ),
        (
            "actions: [{key: a, action: extract}]",
            "yaml:1:11",
            "`pattern` is missing",
        ),
        (
            "actions: [{key: a, action: convert}]",
            "yaml:1:11",
            "`converted_type` is missing",
        ),
        (
            "actions: [{key: a, action: convert, converted_type: bool}]",
            "yaml:1:53",
            "bool",
        ),
    ];
    let mut wrong = Vec::new();
    for (yaml, place, message) in cases {
        let problems = problems(&AttributesFactory, yaml);
        let found = problems
            .iter()
            .any(|problem| problem.starts_with(place) && problem.contains(message));
        if !found {
            wrong.push(format!("{yaml}\n  expected {place} {message}\n  found {problems:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
