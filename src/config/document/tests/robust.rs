use proptest::prelude::*;
use serde_json::Value;

use super::{Document, environment};
use crate::config::tree::MAX_DEPTH;

/// Loads, reads and prints; the only thing asked is that it comes back.
fn survives(text: &str) {
    match Document::from_text("c", text, &environment()) {
        Ok(document) => {
            document.root().read::<Value>();
            document.to_yaml();
            document.to_json();
            document.problems().render(false);
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.render(false);
        }
    }
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let lists = "[".repeat(100_000);
    let maps = "{a: ".repeat(100_000);
    let blocks: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let paths = format!("{}z: 1", "a::".repeat(1_000));
    let dashes = "- ".repeat(50_000);
    for text in [lists, maps, blocks, paths, dashes] {
        let problems = Document::from_text("c", &text, &environment());
        let lines = match problems {
            Ok(document) => document.problems().lines(),
            Err(problems) => problems.lines(),
        };
        assert!(!lines.is_empty(), "{}", &text[..20]);
    }
    let fits = format!("a: {}1{}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
    assert!(Document::from_text("c", &fits, &environment()).is_ok());
}

#[test]
fn aliases_cannot_blow_up() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let below = format!("*a{}", level - 1);
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", ")));
    }
    let problems = Document::from_text("c", &laughs, &environment()).err().unwrap();
    assert!(problems.lines()[0].contains("more than 250000 values"), "{problems:?}");

    let many = format!("a: &a x\nb: [{}]\n", vec!["*a"; 1_001].join(", "));
    let problems = Document::from_text("c", &many, &environment()).err().unwrap();
    assert!(problems.lines()[0].contains("more than 1000 aliases"), "{problems:?}");
}

#[test]
fn too_long_a_text_is_refused() {
    let text = format!("a: {}", "x".repeat(9 << 20));
    let problems = Document::from_text("c", &text, &environment()).err().unwrap();
    assert_eq!(problems.lines(), ["c:1:1: the text is longer than 8 MiB"]);
}

#[test]
fn variables_cannot_blow_up() {
    // Each doubles the one before: 2^40 bytes if nobody stops it.
    let doubling = |name: &str| {
        let level: usize = name.strip_prefix('D')?.parse().ok()?;
        Some(match level {
            0 => "xxxxxxxx".to_string(),
            _ => format!("${{D{0}}}${{D{0}}}", level - 1),
        })
    };
    let document = Document::from_text("c", "v: a${D40}", &doubling).unwrap();
    assert!(document.problems().has_errors());

    // A map that holds itself.
    let nested = |name: &str| (name == "M").then(|| "{a: [\"${M}\", \"${M}\"]}".to_string());
    let document = Document::from_text("c", "v: ${M}", &nested).unwrap();
    assert!(document.problems().has_errors());

    // Each `${` would look for its end up to the only `}`.
    let open = format!("v: '{}}}'", "${".repeat(20_000));
    let document = Document::from_text("c", &open, &nested).unwrap();
    assert!(document.problems().has_errors());
    let never = format!("v: '{}'", "${".repeat(1_000_000));
    let document = Document::from_text("c", &never, &nested).unwrap();
    assert!(document.problems().is_empty());
}

#[test]
fn thousands_of_bad_values_are_told_in_bounded_time() {
    let text: String = (0..5_000).map(|index| format!("k{index}: ${{{index}}}\n")).collect();
    let document = Document::from_text("c", &text, &environment()).unwrap();
    assert_eq!(document.problems().lines().len(), 1_000);
}

fn yamlish() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a: ".to_string()),
        Just("\n".to_string()),
        Just("\n  ".to_string()),
        Just("- ".to_string()),
        Just("{".to_string()),
        Just("}".to_string()),
        Just("[".to_string()),
        Just("]".to_string()),
        Just(",".to_string()),
        Just("'".to_string()),
        Just("\"".to_string()),
        Just("\\".to_string()),
        Just("&x ".to_string()),
        Just("*x".to_string()),
        Just("<<: ".to_string()),
        Just("!!str ".to_string()),
        Just("!t ".to_string()),
        Just("|\n".to_string()),
        Just(">-\n".to_string()),
        Just("? ".to_string()),
        Just("---\n".to_string()),
        Just("#".to_string()),
        Just("::".to_string()),
        Just("$".to_string()),
        Just("${".to_string()),
        Just("${env:".to_string()),
        Just("${X}".to_string()),
        Just("${M}".to_string()),
        Just("${LOOP}".to_string()),
        Just(":-".to_string()),
        Just("\r\n".to_string()),
        Just("\t".to_string()),
        Just("é".to_string()),
        "[a-z0-9 ]{1,4}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_ends_the_process(text in yamlish()) {
        survives(&text);
    }

    #[test]
    fn no_value_ends_the_process(text in yamlish()) {
        survives(&format!("v: {}\n", Value::from(text.as_str())));
        let environment = |name: &str| (name == "V").then(|| text.clone());
        if let Ok(document) = Document::from_text("c", "v: ${V}\nw: x${V}\n", &environment) {
            document.root().read::<Value>();
        }
    }

    #[test]
    fn what_is_printed_reads_back_the_same(text in yamlish()) {
        if let Ok(document) = Document::from_text("c", &text, &environment()) {
            let has_keys = !document.root().keys().is_empty();
            let printed = document.to_yaml();
            // Printing does not escape what the reading would expand again.
            if has_keys && !printed.contains('$') && !document.problems().has_errors() {
                let again = Document::from_text("again", &printed, &environment());
                prop_assert!(again.is_ok(), "{printed}\n{:?}", again.err());
                prop_assert_eq!(document.to_json(), again.unwrap().to_json(), "{}", printed);
            }
        }
    }
}
