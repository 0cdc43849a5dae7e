use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<serde_json::Value, NotJson> {
    let mut arena = Arena::default();
    let tree = Tree::read(text, &mut arena)?;
    if !text[tree.end..].trim().is_empty() {
        return Err(NotJson { at: tree.end });
    }
    Ok(value(&tree, tree.root()))
}

fn value(tree: &Tree, id: NodeId) -> serde_json::Value {
    match tree.kind(id) {
        Kind::Null => serde_json::Value::Null,
        Kind::True => true.into(),
        Kind::False => false.into(),
        Kind::Number => serde_json::from_str(tree.number(id).unwrap()).unwrap(),
        Kind::Text => tree.text(id).unwrap().into(),
        Kind::List => tree.children(id).map(|child| value(tree, child)).collect(),
        Kind::Map => {
            let entries = tree
                .children(id)
                .map(|child| (tree.key(child).to_owned(), value(tree, child)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

#[test]
fn reads_what_serde_json_reads() {
    for text in [
        "{}",
        " [ ] ",
        r#"{"a":1,"b":[true,false,null,{"c":"d"}],"e":-1.5e-3}"#,
        r#"["\u00e9\ud83d\ude00\n\"\\\/ x","é"]"#,
        "\"text\"",
        "-0",
        r#"{"a":{"b":{}},"c":[]}"#,
    ] {
        assert_eq!(
            read(text).unwrap(),
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        );
    }
}

#[test]
fn refuses_what_is_no_json() {
    for text in [
        "",
        "{",
        "[1",
        "{\"a\"}",
        "{\"a\":}",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "tru",
        "01",
        "1.",
        "1e",
        "-",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "[1}",
        "{]",
        "}",
        "\"\\",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn takes_what_sdks_send_and_json_forbids() {
    assert_eq!(read(r#""\ud800x""#).unwrap(), "\u{fffd}x");
    assert_eq!(read(r#""\udc00\ud800A""#).unwrap(), "\u{fffd}\u{fffd}A");
    assert_eq!(read("\"a\u{1}\nb\\u0000\"").unwrap(), "a\u{1}\nb\0");
    assert_eq!(
        read("[NaN,-Infinity,Infinity]").unwrap(),
        serde_json::json!([null, null, null])
    );
}

#[test]
fn a_nest_of_any_depth_needs_no_stack() {
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let mut arena = Arena::default();
    let tree = Tree::read(&deep, &mut arena).unwrap();
    assert_eq!(tree.end, deep.len());
    assert!(Tree::read(&"{\"a\":".repeat(100_000), &mut Arena::default()).is_err());
}

#[test]
fn keeps_the_text_of_numbers_the_order_of_keys_and_the_last_of_two() {
    let mut arena = Arena::default();
    let tree = Tree::read(
        r#"{"z":1.478293361271E9,"a": 12345678901234567890123 ,"z":2}"#,
        &mut arena,
    )
    .unwrap();
    let keys: Vec<&str> = tree.children(tree.root()).map(|child| tree.key(child)).collect();
    assert_eq!(keys, ["z", "a", "z"]);
    let texts: Vec<&str> = tree
        .children(tree.root())
        .filter_map(|child| tree.number(child))
        .collect();
    assert_eq!(texts, ["1.478293361271E9", "12345678901234567890123", "2"]);
    assert_eq!(tree.number(tree.get(tree.root(), "z").unwrap()), Some("2"));
}

#[test]
fn compact_leaves_strings_alone() {
    let mut arena = Arena::default();
    let tree = Tree::read("{ \"a b\" : [ 1 , \"\\\" x \" ] }", &mut arena).unwrap();
    assert_eq!(tree.compact(tree.root()), r#"{"a b":[1,"\" x "]}"#);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\",:\\\\u0-9a-f\\-.eE tn\u{e9}]{0,60}") {
        let ours = read(&text);
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        if let Ok(theirs) = theirs {
            prop_assert_eq!(ours.unwrap(), theirs);
        }
    }
}
