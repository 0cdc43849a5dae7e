use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Document, environment};

#[derive(Deserialize, Default, serde::Serialize)]
#[serde(default)]
struct AsText {
    v: Option<String>,
}

/// What a value becomes in a string field and in an untyped one. The problems are those of loading.
fn expand(text: &str) -> (Option<String>, Value, Vec<String>) {
    // Double quotes: the scanner of `${` must not depend on how YAML wrote the text.
    let yaml = format!("v: {}\n", Value::from(text));
    let document = Document::from_text("c", &yaml, &environment()).unwrap();
    let problems = document.problems().lines();
    let as_text: AsText = document.root().read().unwrap();
    let untyped: BTreeMap<String, Value> = document.root().read().unwrap();
    (as_text.v, untyped["v"].clone(), problems)
}

fn same(text: &str, expected: &str) {
    let (as_text, untyped, _) = expand(text);
    assert_eq!(as_text.as_deref(), Some(expected), "string field of {text}");
    assert_eq!(untyped, json!(expected), "untyped field of {text}");
}

fn both(text: &str, expected: &str, untyped_expected: Value) {
    let (as_text, untyped, _) = expand(text);
    assert_eq!(as_text.as_deref(), Some(expected), "string field of {text}");
    assert_eq!(untyped, untyped_expected, "untyped field of {text}");
}

#[test]
fn variables_alone_and_joined() {
    same("${env:X}", "val");
    same("${X}", "val");
    same("a${X}${N}", "aval42");
}

#[test]
fn a_number_is_a_number_alone_and_a_text_when_joined() {
    both("${N}", "42", json!(42));
    same("x${Z}", "x0123");
    both("${Z}", "0123", json!(83));
    let document = Document::from_text("c", "v: ${Z}", &environment()).unwrap();
    document.root().read::<Value>();
    let lines = document.problems().lines();
    assert_eq!(
        lines,
        ["c:1:4: warning: v: 0123 is octal and means 83; the value comes from environment variable Z"]
    );
}

#[test]
fn a_map_is_a_map_alone_and_its_text_in_a_string_field() {
    both("${M}", "{k: v}", json!({"k": "v"}));
    same("x${M}", "x{k: v}");
}

#[test]
fn bad_yaml_and_quoted_values_are_taken_verbatim() {
    same("${BAD}", "[1, {");
    same("${QUOTED}", "\"q\"");
}

#[test]
fn unset_is_empty_or_null_with_a_warning() {
    both("${U}", "", Value::Null);
    same("a${U}b", "ab");
    let (_, _, problems) = expand("${U}");
    assert_eq!(
        problems,
        ["c:1:4: warning: v: Configuration references unset environment variable \"U\""]
    );
}

#[test]
fn a_default_serves_unset_only() {
    both("${E}", "", Value::Null);
    both("${env:E:-d}", "", Value::Null);
    let (_, _, problems) = expand("${E}");
    assert_eq!(
        problems,
        ["c:1:4: info: v: Configuration references empty environment variable \"E\""]
    );
    same("${env:U:-d}", "d");
    same("${env:U:-a:b}", "a:b");
    same("${env:U:-}", "");
    both("${env:U:-7}", "7", json!(7));
    same("${U:-d}", "d");
    let (_, _, problems) = expand("${env:U:-d}");
    assert!(problems.is_empty());
}

#[test]
fn inner_expansions_come_first() {
    same("${env:U:-${X}}", "val");
    same("${env:${Y}}", "val");
    same("${CHAIN}", "val");
    same("a${CHAIN}", "aval");
    both("${TYPED_CHAIN}", "42", json!(42));
    both(
        "${MAP_CHAIN}",
        "{a: \"42\", b: [\"val\"]}",
        json!({"a": 42, "b": ["val"]}),
    );
}

#[test]
fn endless_expansion_is_an_error() {
    for text in ["${LOOP}", "a${LOOP}", "${WIDE}"] {
        let (_, untyped, problems) = expand(text);
        assert_eq!(untyped, Value::Null);
        assert!(
            problems[0].contains("refer to each other without end"),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn dollars_are_escaped_by_doubling() {
    same("a$$b", "a$b");
    same("${DOLLARS}", "a$b");
    same("x${DOLLARS}", "xa$b");
    same("$${X}", "${X}");
    same("$$${X}", "$val");
    same("$$$${X}", "$${X}");
    same("$${1}:$${2}", "${1}:${2}");
}

#[test]
fn what_is_no_expansion_stays_as_it_is() {
    same("$X", "$X");
    same("$1", "$1");
    same("$(S)", "$(S)");
    same("${X", "${X");
    same("100$", "100$");
    let (_, _, problems) = expand("$X and $NOT_SET");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("warning: v: $X is not expanded"), "{problems:?}");
}

#[test]
fn names_and_schemes_that_cannot_be_are_errors() {
    for (text, said) in [
        ("${1}", "\"1\" is not the name of a variable"),
        ("${a-b}", "\"a-b\" is not the name of a variable"),
        ("${}", "\"\" is not the name of a variable"),
        ("${env:a b}", "\"a b\" is not the name of a variable"),
        ("${nope:v}", "the scheme \"nope\" is not known"),
        ("${evn:X}", "did you mean \"env\"?"),
        ("x${1}", "\"1\" is not the name of a variable"),
        ("${https://h/x}", "not built yet"),
        ("${s3://b/x}", "not built yet"),
        ("${file:/does/not/exist}", "/does/not/exist: cannot be read"),
    ] {
        let (_, untyped, problems) = expand(text);
        assert_eq!(untyped, Value::Null, "{text}");
        assert!(problems[0].starts_with("c:1:4: v: "), "{text}: {problems:?}");
        assert!(problems[0].contains(said), "{text}: {problems:?}");
    }
}

#[test]
fn files_and_yaml_texts_are_expanded_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "s3\n").unwrap();
    same(&format!("${{file:{}}}", path.display()), "s3\n");
    std::fs::write(&path, "[1, 2]\n").unwrap();
    both(&format!("${{file:{}}}", path.display()), "[1, 2]\n", json!([1, 2]));
    both("${yaml:[a, 1]}", "[a, 1]", json!(["a", 1]));
}

#[test]
fn keys_are_never_expanded() {
    let document = Document::from_text("c", "\"${X}\": 1", &environment()).unwrap();
    assert_eq!(super::value(&document), json!({"${X}": 1}));
}

#[test]
fn errors_name_the_variable() {
    #[derive(Deserialize, Default, serde::Serialize)]
    #[serde(default)]
    struct Number {
        v: u16,
    }
    let document = Document::from_text("c", "v: ${X}", &environment()).unwrap();
    assert_eq!(document.root().read::<Number>().unwrap().v, 0);
    assert_eq!(
        document.problems().lines(),
        ["c:1:4: v: expected a whole number, found \"val\"; the value comes from environment variable X"]
    );
}

#[test]
fn an_unset_variable_leaves_a_number_at_its_default() {
    #[derive(Deserialize, serde::Serialize)]
    #[serde(default)]
    struct Number {
        v: u16,
    }
    impl Default for Number {
        fn default() -> Self {
            Self { v: 7 }
        }
    }
    for text in ["v: ${U}", "v: ${E}", "v:"] {
        let document = Document::from_text("c", text, &environment()).unwrap();
        assert_eq!(document.root().read::<Number>().unwrap().v, 7, "{text}");
        assert!(!document.problems().has_errors(), "{text}");
    }
}
