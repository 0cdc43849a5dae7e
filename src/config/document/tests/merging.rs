use serde_json::json;

use super::{Document, Inputs, environment, load, value};

#[test]
fn maps_merge_deep_and_everything_else_is_replaced() {
    let document = load(
        &[
            "yaml:{a: {b: 1, c: [1, 2], d: {e: 1}}, f: x}",
            "yaml:{a: {c: [3], d: {g: 2}}, f: {h: 1}}",
        ],
        &[],
    )
    .unwrap();
    let expected = json!({"a": {"b": 1, "c": [3], "d": {"e": 1, "g": 2}}, "f": {"h": 1}});
    assert_eq!(value(&document), expected);
}

#[test]
fn a_later_null_erases_and_a_later_empty_map_keeps() {
    let erased = load(&["yaml:{a: {b: 1}}", "yaml:{a: null}"], &[]).unwrap();
    assert_eq!(value(&erased), json!({"a": null}));
    let kept = load(&["yaml:{a: {b: 1}}", "yaml:{a: {}}"], &[]).unwrap();
    assert_eq!(value(&kept), json!({"a": {"b": 1}}));
    let refilled = load(&["yaml:{a: null}", "yaml:{a: {}}"], &[]).unwrap();
    assert_eq!(value(&refilled), json!({"a": {}}));
}

#[test]
fn double_colons_are_paths_everywhere_and_dots_are_not() {
    let document = load(
        &["yaml:{'a::b::c': 1, a: {d: 2}, list: [{'x::y': 3}], e.f: 4, '::1': 5}"],
        &[],
    )
    .unwrap();
    let expected = json!({
        "a": {"b": {"c": 1}, "d": 2},
        "list": [{"x": {"y": 3}}],
        "e.f": 4,
        "::1": 5,
    });
    assert_eq!(value(&document), expected);
}

#[test]
fn set_is_above_every_document() {
    let document = load(&["yaml:{a: {b: 1, c: 2}}"], &[" a.b = 7 ", "a.l=[x, y]", "n="]).unwrap();
    assert_eq!(
        value(&document),
        json!({"a": {"b": 7, "c": 2, "l": ["x", "y"]}, "n": null})
    );
    let problems = load(&["yaml:a: 1"], &["a.b"]).err().unwrap();
    assert_eq!(problems.lines(), ["--set #1: \"a.b\" is not of the form key.key=value"]);
}

#[test]
fn documents_come_from_files_variables_and_texts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.yaml");
    std::fs::write(&path, "\u{feff}a: {b: 2}\r\nx:\r\n  - 1\r\n").unwrap();
    let path = path.display().to_string();
    let document = load(&["env:CONTENT", &path, &format!("file:{path}")], &[]).unwrap();
    assert_eq!(value(&document), json!({"a": {"b": 2}, "x": [1]}));
}

#[test]
fn uris_that_cannot_be_read_are_all_told() {
    let problems = load(
        &[
            "/no/such/file",
            "env:U",
            "nope:x",
            "https://h/c",
            "s3://b/k",
            "env:CONTENT",
        ],
        &[],
    )
    .err()
    .unwrap();
    let lines = problems.lines();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[0].starts_with("/no/such/file: cannot be read"));
    assert_eq!(lines[1], "env:U: the environment variable \"U\" is not set");
    assert_eq!(
        lines[2],
        "nope:x: the scheme \"nope\" is not known; known are file, env, yaml"
    );
    assert!(lines[3].contains("not built yet") && lines[4].contains("not built yet"));
    let none = load(&[], &[]).err().unwrap();
    assert_eq!(none.lines(), ["no configuration: give one with --config FILE"]);
}

#[test]
fn duplicate_keys_are_errors_with_both_places() {
    let document = Document::from_text(
        "c",
        "a: 1\nb:\n  x: 1\n  x: 2\na: 2\nd::e: 1\nd: {e: 2}\n",
        &environment(),
    )
    .unwrap();
    assert_eq!(
        document.problems().lines(),
        [
            "c:4:3: the key \"x\" is given twice; first on line 3",
            "c:5:1: the key \"a\" is given twice; first on line 1",
            "c:7:5: the key \"e\" is given twice",
        ]
    );
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "
base: &base {a: 1, b: {c: 2}}
more: &more {a: 5, d: 6}
one: {<<: *base, a: 9}
two: {<<: [*base, *more]}
three: *base
";
    let document = Document::from_text("c", text, &environment()).unwrap();
    let value = value(&document);
    assert_eq!(value["one"], json!({"a": 9, "b": {"c": 2}}));
    assert_eq!(value["two"], json!({"a": 1, "b": {"c": 2}, "d": 6}));
    assert_eq!(value["three"], json!({"a": 1, "b": {"c": 2}}));
    assert!(document.problems().is_empty());
    let bad = Document::from_text("c", "a: {<<: 3}", &environment()).unwrap();
    assert_eq!(
        bad.problems().lines(),
        ["c:1:9: behind << stands a map, or a list of maps"]
    );
}

#[test]
fn only_the_first_document_of_a_file_counts() {
    let document = Document::from_text("c", "a: 1\n---\nb: [\n", &environment()).unwrap();
    assert_eq!(value(&document), json!({"a": 1}));
    for empty in ["", "# nothing", "---\n", "{}", "null"] {
        let document = Document::from_text("c", &format!("{empty}\n"), &environment());
        // An empty text from the environment is refused; a comment is not empty.
        if let Ok(document) = document {
            assert_eq!(value(&document), json!({}), "{empty:?}");
        } else {
            assert_eq!(empty, "");
        }
    }
}

#[test]
fn a_document_is_a_map_in_yaml() {
    for (text, said) in [
        ("- a\n", "c:1:1: a configuration is a map of keys and values"),
        ("text", "c:1:1: a configuration is a map of keys and values"),
        ("a: [1\nb: 2\n", "not valid YAML"),
        ("a: b: c\n", "not valid YAML"),
        ("a: *x\n", "not valid YAML"),
        ("a:\n\t- b\n\t c: 1\n", "not valid YAML"),
        ("? [a]\n: 1\n", "a key is a text, not a list or a map"),
        ("a: &x [*x]\n", "the alias stands inside what it refers to"),
    ] {
        let problems = Document::from_text("c", text, &environment()).err().unwrap();
        assert_eq!(problems.lines().len(), 1, "{text:?}");
        assert!(problems.lines()[0].contains(said), "{text:?}: {problems:?}");
        assert!(problems.lines()[0].starts_with("c:"), "{text:?}: {problems:?}");
    }
}

#[test]
fn a_later_value_is_blamed_at_its_own_place() {
    let document = load(&["yaml:{a: {b: 1}}"], &["a.b=x"]).unwrap();
    #[derive(serde::Deserialize, Default, serde::Serialize)]
    #[serde(default)]
    struct A {
        #[allow(dead_code)] // Only read.
        b: u8,
    }
    document.root().take("a").unwrap().read::<A>();
    assert_eq!(
        document.problems().lines(),
        ["--set #1:1:7: a::b: expected a whole number, found \"x\""]
    );
}

#[test]
fn the_gate_appends_lists_of_components() {
    let inputs = |gates: &[&str]| Inputs {
        uris: vec![
            "yaml:{service: {extensions: [a], pipelines: {traces: {receivers: [r], processors: [p]}}}}".to_string(),
            "yaml:{service: {extensions: [b, a], pipelines: {traces: {receivers: [s], processors: [q]}}}}".to_string(),
        ],
        gates: gates.iter().map(|gate| (*gate).to_string()).collect(),
        ..Inputs::default()
    };
    let plain = Document::load(&inputs(&[]), &environment()).unwrap();
    assert_eq!(value(&plain)["service"]["extensions"], json!(["b", "a"]));
    let joined = Document::load(&inputs(&["confmap.enableMergeAppendOption"]), &environment()).unwrap();
    let service = &value(&joined)["service"];
    assert_eq!(service["extensions"], json!(["a", "b"]));
    let traces = &service["pipelines"]["traces"];
    assert_eq!(traces["receivers"], json!(["r", "s"]));
    assert_eq!(
        traces["processors"],
        json!(["q"]),
        "processors have an order and are replaced"
    );
}

#[test]
fn content_from_the_environment_replaces_everything_and_says_so() {
    let inputs = |text: &str| Inputs {
        uris: vec!["/no/such/file".to_string()],
        sets: vec!["a=2".to_string()],
        content: Some(("AOT_CONFIG_CONTENT".to_string(), text.to_string())),
        gates: Vec::new(),
    };
    let document = Document::load(&inputs("a: 1"), &environment()).unwrap();
    assert_eq!(value(&document), json!({"a": 1}));
    assert_eq!(
        document.problems().lines(),
        ["warning: AOT_CONFIG_CONTENT is set and replaces --config /no/such/file --set a=2"]
    );
    let problems = Document::load(&inputs(" "), &environment()).err().unwrap();
    assert!(
        problems.lines()[0].contains("AOT_CONFIG_CONTENT is set but empty"),
        "{problems:?}"
    );
}
