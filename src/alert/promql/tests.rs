use super::*;
use crate::alert::store::{Fill, Origin, Point, Store, StoreLimits};
use crate::alert::trial::series;

mod differential;

/// Series in promtool's notation, `interval` milliseconds apart.
pub(crate) fn store_of(expressions: &[&Expression], written: &[(&str, &str)], interval: i64) -> (Store, Vec<Vec<u32>>) {
    filled_store(expressions, written, interval, Origin::default())
}

fn filled_store(
    expressions: &[&Expression],
    written: &[(&str, &str)],
    interval: i64,
    origin: Origin,
) -> (Store, Vec<Vec<u32>>) {
    let mut store = Store::new(StoreLimits::default());
    let mut bindings = Vec::new();
    for expression in expressions {
        let mut ids = Vec::new();
        expression.selectors(&mut |selector| ids.push(store.select(selector.name.as_deref(), &selector.matchers)));
        bindings.push(ids);
    }
    for (labels, values) in written {
        let labels = series::labels(labels).unwrap();
        let texts: Vec<(&str, &str)> = labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let Ok(id) = store.intern(&texts, origin) else { continue };
        for (position, value) in series::values(values).unwrap().into_iter().enumerate() {
            if let Some(value) = value {
                store.push(id, position as i64 * interval, Point::Float(value));
            }
        }
    }
    (store, bindings)
}

fn evaluated(written: &[(&str, &str)], text: &str, minute: i64, origin: Origin) -> Vec<String> {
    let expression = Expression::parse(text).unwrap();
    let (store, bindings) = filled_store(&[&expression], written, 60_000, origin);
    let evaluation = Evaluation::new(&store, &bindings[0]);
    let elements = evaluation.vector(&expression, minute * 60_000).unwrap();
    let mut lines: Vec<String> = elements
        .iter()
        .map(|element| format!("{:?} {}", evaluation.texts(&element.labels), element.value))
        .collect();
    lines.sort();
    lines
}

fn refused(text: &str) -> (usize, String) {
    let error = Expression::parse(text).unwrap_err();
    (error.offset, error.message)
}

#[test]
fn what_is_not_supported_is_refused_where_it_stands() {
    for (text, offset, part) in [
        ("sum(x) + acos(x)", 9, "acos is not supported"),
        ("max(x) / limitk(2, x)", 9, "limitk"),
        ("rat(x[5m])", 0, "did you mean \"rate\""),
        ("x atan2 y", 2, "atan2"),
        ("x @ end()", 4, "@ end()"),
        ("x offset -5m", 2, "negative offset"),
        ("sum(x", 3, "not closed"),
        ("sum(x]]", 5, "closes no"),
        ("x > 1 or y{a=~\"(\"}", 10, ""),
        ("x + ; y", 4, "means nothing"),
        ("sum(rate(x[5m]) by (a)", 3, "not closed"),
        ("x > 1 and rate(y)", 15, ""),
        ("sum(x) + max(y[5m])", 0, ""),
        ("x[5m]", 0, "no condition"),
        ("x[99999999999d]", 2, "neither"),
        ("x[9999d]", 2, "ten years"),
        ("{a=\"\"}", 0, ""),
        ("\"text\"", 0, "no condition"),
        ("", 0, "empty"),
    ] {
        let (found, message) = refused(text);
        assert!(message.contains(part), "{text}: {message}");
        assert!(!message.contains('\n'), "{message}");
        if !part.is_empty() {
            assert_eq!(found, offset, "{text}: {message}");
        }
    }
}

#[test]
fn no_text_takes_the_reader_down() {
    let deep = format!("{}x{}", "(".repeat(65), ")".repeat(65));
    assert!(refused(&deep).1.contains("deeper than 64"));
    assert!(refused(&"x".repeat(9_000)).1.contains("longer than"));
    let chain = format!("x{}", " + x".repeat(300));
    assert!(refused(&chain).1.contains("256 operators"));
    assert!(refused(&format!("{}x", "-".repeat(300))).1.contains("256 operators"));
    assert!(Expression::parse(&format!("x{}", " + x".repeat(250))).is_ok());
    let mut seed = 7_u64;
    let pieces = [
        "x", "(", ")", "{", "}", "[", "]", "5m", ":", "rate", "sum", " by ", ",", "+", "-", "=~", "\"a\"", "1", "@",
        " offset ", "é", "`", "'", "#", "\\", "^", " and ", "bool", "0x", "1e",
    ];
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..10 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        if let Err(error) = Expression::parse(&text) {
            assert!(error.offset <= text.len(), "{text}");
        }
    }
}

#[test]
fn windows_are_open_on_the_left() {
    let written = &[("x", "1+1x20")][..];
    assert_eq!(
        evaluated(written, "count_over_time(x[5m])", 10, Origin::default()),
        ["[] 5"]
    );
    assert_eq!(
        evaluated(written, "count_over_time(x[5m:1m])", 10, Origin::default()),
        ["[] 5"]
    );
    assert_eq!(
        evaluated(written, "sum_over_time(x[1m])", 10, Origin::default()),
        ["[] 11"]
    );
}

#[test]
fn a_period_without_a_point_is_filled_as_the_metric_says() {
    let written = &[("x{t=\"a\"}", "1 _ _ 4 _ 6"), ("x{t=\"b\"}", "_ _ _ _ 5")][..];
    let with = |fill| Origin {
        period: 60_000,
        source: 0,
        fill,
    };
    let count = "count_over_time(x[5m])";
    assert_eq!(
        evaluated(written, count, 5, with(Fill::None)).join(" "),
        "[(\"t\", \"a\")] 2 [(\"t\", \"b\")] 1"
    );
    assert_eq!(
        evaluated(written, count, 5, with(Fill::Zero)).join(" "),
        "[(\"t\", \"a\")] 5 [(\"t\", \"b\")] 2"
    );
    let sum = "sum_over_time(x{t=\"a\"}[5m])";
    assert_eq!(evaluated(written, sum, 5, with(Fill::Zero)), ["[(\"t\", \"a\")] 10"]);
    // 1 1 4 4 6
    assert_eq!(
        evaluated(written, sum, 5, with(Fill::Hold(3_600_000))),
        ["[(\"t\", \"a\")] 16"]
    );
    assert_eq!(
        evaluated(written, sum, 5, with(Fill::Hold(60_000))),
        ["[(\"t\", \"a\")] 15"]
    );
    // An instant value counts for its own period only, unless it is held.
    let now = "x{t=\"a\"}";
    assert_eq!(evaluated(written, now, 4, with(Fill::None)), Vec::<String>::new());
    assert_eq!(
        evaluated(written, "x{t=\"a\"} + 0", 4, with(Fill::Zero)),
        ["[(\"t\", \"a\")] 0"]
    );
    assert_eq!(
        evaluated(written, "x{t=\"a\"} + 0", 4, with(Fill::Hold(120_000))),
        ["[(\"t\", \"a\")] 4"]
    );
    assert_eq!(
        evaluated(written, "x{t=\"a\"} + 0", 4, Origin::default()),
        ["[(\"t\", \"a\")] 4"]
    );
}

#[test]
fn what_is_new_since_2_42_is_computed() {
    let written = &[("x", "1 2 3 4 100")][..];
    assert_eq!(
        evaluated(written, "mad_over_time(x[5m])", 4, Origin::default()),
        ["[] 1"]
    );
}

#[test]
fn a_condition_tells_calm_from_absent() {
    let expression = Expression::parse("x > 5 and on() (y > 0)").unwrap();
    let written = &[("x{t=\"a\"}", "9"), ("x{t=\"b\"}", "1"), ("y", "1")][..];
    let (store, bindings) = store_of(&[&expression], written, 60_000);
    let evaluation = Evaluation::new(&store, &bindings[0]);
    let outcomes = evaluation.condition(&expression, 0).unwrap();
    let holds: Vec<(f64, bool)> = outcomes.iter().map(|one| (one.element.value, one.holds)).collect();
    assert_eq!(holds, [(9.0, true), (1.0, false)]);
}

#[test]
fn limits_hold() {
    let expression = Expression::parse("count_over_time(x[30d:1s])").unwrap();
    let (store, bindings) = store_of(&[&expression], &[("x", "1")], 60_000);
    let evaluation = Evaluation::new(&store, &bindings[0]);
    assert_eq!(evaluation.vector(&expression, 0).unwrap_err(), EvalError::Steps(11_000));
    let nested = "max_over_time(max_over_time(max_over_time(x[3h:1s])[3h:1s])[3h:1s])";
    let expression = Expression::parse(nested).unwrap();
    let (store, bindings) = store_of(&[&expression], &[("x", "1x1000")], 60_000);
    let mut evaluation = Evaluation::new(&store, &bindings[0]);
    evaluation.limits.work = 1_000_000;
    assert_eq!(evaluation.vector(&expression, 3_600_000).unwrap_err(), EvalError::Work);
    let many: Vec<(String, &str)> = (0..20).map(|n| (format!("x{{n=\"{n}\"}}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(labels, values)| (labels.as_str(), *values)).collect();
    let expression = Expression::parse("x").unwrap();
    let (store, bindings) = store_of(&[&expression], &many, 60_000);
    let mut evaluation = Evaluation::new(&store, &bindings[0]);
    evaluation.limits.elements = 10;
    assert_eq!(evaluation.vector(&expression, 0).unwrap_err(), EvalError::Elements(10));
}
