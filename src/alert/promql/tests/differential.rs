//! Our evaluator against promtool: generated series and expressions, one answer each. Skipped aloud where there is no
//! promtool. The one in use (2.42) has windows that are closed on the left: it is given windows one millisecond shorter.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;

use super::store_of;
use crate::alert::promql::{Evaluation, Expression};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// Labels and values -> a number; by promtool's spelling of labels.
type Answer = BTreeMap<String, f64>;

/// Selectors of the generated series.
fn selector(dice: &mut Dice) -> String {
    let name = dice.one(&["x", "y", "z"]);
    let matchers = dice.one(&[
        "",
        "",
        "{a=\"1\"}",
        "{a!=\"1\"}",
        "{b=~\"p|q\"}",
        "{b!~\"p.*\"}",
        "{b=\"\"}",
        "{a=\"2\",b=\"q\"}",
    ]);
    format!("{name}{matchers}")
}

fn window(dice: &mut Dice) -> &'static str {
    dice.one(&["1m", "2m", "5m", "7m"])
}

fn shift(dice: &mut Dice) -> &'static str {
    dice.one(&["", "", "", " offset 1m", " offset 90s", " @ 300"])
}

fn vector(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 {
        return format!("{}{}", selector(dice), shift(dice));
    }
    match dice.roll(13) {
        0 | 1 => {
            let function = dice.one(&[
                "rate",
                "increase",
                "delta",
                "irate",
                "idelta",
                "deriv",
                "resets",
                "changes",
                "avg_over_time",
                "min_over_time",
                "max_over_time",
                "sum_over_time",
                "count_over_time",
                "last_over_time",
                "present_over_time",
                "stddev_over_time",
                "stdvar_over_time",
                "absent_over_time",
            ]);
            let (selector, window, shift) = (selector(dice), window(dice), shift(dice));
            format!("{function}({selector}[{window}]{shift})")
        }
        2 => {
            let (q, selector, window) = (dice.one(&["0.5", "0.9", "0", "1"]), selector(dice), window(dice));
            if dice.roll(2) == 0 {
                format!("quantile_over_time({q}, {selector}[{window}])")
            } else {
                format!("predict_linear({selector}[{window}], 600)")
            }
        }
        3 => {
            let function = dice.one(&["sum_over_time", "max_over_time", "avg_over_time", "count_over_time"]);
            format!("{function}(({})[{}:1m])", vector(dice, depth - 1), window(dice))
        }
        4 | 5 => {
            let op = dice.one(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
            let by = dice.one(&["", " by (a)", " by (b)", " by (a, b)", " without (a)", " without (b)"]);
            format!("{op}{by} ({})", vector(dice, depth - 1))
        }
        6 => {
            let by = dice.one(&["", " by (a)"]);
            let inner = vector(dice, depth - 1);
            match dice.roll(2) {
                0 => format!("quantile{by} (0.3, {inner})"),
                _ => format!("count_values{by} (\"v\", floor({inner} / 10))"),
            }
        }
        7 => {
            let op = dice.one(&["+", "-", "*", "/", "%", "^", ">", "<", ">=", "<=", "==", "!=", "> bool"]);
            let number = dice.one(&["2", "0", "-3", "0.5", "10"]);
            let inner = vector(dice, depth - 1);
            if dice.roll(3) == 0 {
                format!("{number} {op} ({inner})")
            } else {
                format!("({inner}) {op} {number}")
            }
        }
        8 => {
            let op = dice.one(&["+", "-", "*", "/", ">", "<=", "== bool"]);
            let matching = dice.one(&[
                "",
                " on(a, b)",
                " ignoring(b)",
                " on(a) group_left()",
                " on(a) group_left(b)",
            ]);
            let (left, right) = (vector(dice, depth - 1), vector(dice, depth - 1));
            let right = if matching.contains("group") {
                format!("sum by (a) ({right})")
            } else {
                format!("({right})")
            };
            format!("({left}) {op}{matching} {right}")
        }
        9 => {
            let op = dice.one(&["and", "or", "unless"]);
            let matching = dice.one(&["", " on(a)", " ignoring(b)"]);
            format!(
                "({}) {op}{matching} ({})",
                vector(dice, depth - 1),
                vector(dice, depth - 1)
            )
        }
        10 => {
            let function = dice.one(&[
                "abs", "ceil", "floor", "round", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sort", "absent", "-",
            ]);
            // What a date makes of no number is nobody's business.
            let date = dice.one(&[
                "minute",
                "hour",
                "day_of_week",
                "days_in_month",
                "year",
                "month",
                "day_of_month",
            ]);
            if dice.roll(4) == 0 {
                return format!("{date}(timestamp({}) * 100000)", selector(dice));
            }
            format!("{function}({})", vector(dice, depth - 1))
        }
        11 => {
            let inner = vector(dice, depth - 1);
            match dice.roll(5) {
                0 => format!("clamp({inner}, 2, 20)"),
                1 => format!("clamp_min({inner}, 5)"),
                2 => format!("clamp_max({inner}, 5)"),
                3 => format!("label_replace({inner}, \"c\", \"$1-x\", \"b\", \"(.).*\")"),
                _ => format!("label_join({inner}, \"c\", \"/\", \"a\", \"b\")"),
            }
        }
        _ => {
            let inner = vector(dice, depth - 1);
            match dice.roll(4) {
                0 => format!("vector(scalar({inner}))"),
                1 => format!("timestamp({})", selector(dice)),
                2 => format!("histogram_quantile(0.{}, sum by (le) (h))", dice.roll(10)),
                _ => format!("({inner}) / (time() - 100)"),
            }
        }
    }
}

fn series(dice: &mut Dice) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in ["x", "y", "z"] {
        for (a, b) in [("1", "p"), ("1", "q"), ("2", "p"), ("2", "q"), ("3", "")] {
            if dice.roll(6) == 0 {
                continue;
            }
            let labels = if b.is_empty() {
                format!("{name}{{a=\"{a}\"}}")
            } else {
                format!("{name}{{a=\"{a}\",b=\"{b}\"}}")
            };
            let mut values = String::new();
            let mut counter = dice.roll(10) as f64;
            for _ in 0..40 {
                let written = match (name, dice.roll(25)) {
                    (_, 0) => "_".to_owned(),
                    ("z", 1) => "stale".to_owned(),
                    ("y", 1) => "NaN".to_owned(),
                    ("x", 1) => {
                        counter = dice.roll(3) as f64;
                        counter.to_string()
                    }
                    ("x", roll) => {
                        counter += roll as f64;
                        counter.to_string()
                    }
                    (_, roll) => (roll as f64 * 1.5 - 9.0).to_string(),
                };
                let _ = write!(values, "{written} ");
            }
            all.push((labels, values));
        }
    }
    let mut total = 0;
    for bound in ["0.1", "1", "10", "+Inf"] {
        total += dice.roll(9);
        all.push((format!("h{{le=\"{bound}\"}}"), format!("0+{total}x40")));
    }
    all
}

/// The same with windows as promtool 2.42 needs them.
fn for_promtool(text: &str) -> String {
    let mut out = text.to_owned();
    for (ours, theirs) in [
        ("1m", "59999ms"),
        ("2m", "119999ms"),
        ("5m", "299999ms"),
        ("7m", "419999ms"),
    ] {
        out = out.replace(&format!("[{ours}]"), &format!("[{theirs}]"));
        out = out.replace(&format!("[{ours}:"), &format!("[{theirs}:"));
    }
    out
}

fn ours(expression: &Expression, written: &[(&str, &str)], time: i64) -> Option<Answer> {
    let (store, bindings) = store_of(&[expression], written, 30_000);
    let evaluation = Evaluation::new(&store, &bindings[0]);
    let elements = evaluation.vector(expression, time).ok()?;
    let mut answer = Answer::new();
    for element in elements {
        let labels: Vec<String> = evaluation
            .texts(&element.labels)
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        answer.insert(format!("{{{}}}", labels.join(", ")), element.value);
    }
    Some(answer)
}

/// `{a="1"} 1E+02, {a="2"} NaN`
fn theirs(text: &str) -> Answer {
    let mut answer = Answer::new();
    let mut rest = text.trim();
    while let Some(end) = rest.find('}') {
        let labels = rest[..=end].to_owned();
        let after = &rest[end + 1..];
        let stop = after.find(", {").unwrap_or(after.len());
        answer.insert(labels, after[..stop].trim().parse().unwrap_or(f64::NAN));
        rest = after[stop..].trim_start_matches(", ");
    }
    answer
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-4 * a.abs().max(b.abs()).max(1e-3)
}

struct Case {
    text: String,
    answer: Option<Answer>,
}

/// What promtool says to each expression, by how often the expression comes; nothing means an empty vector.
fn ask_promtool(written: &[(String, String)], cases: &[Case], time: i64) -> BTreeMap<String, Option<Answer>> {
    let mut file = String::from("evaluation_interval: 1m\ntests:\n- interval: 30s\n  input_series:\n");
    for (labels, values) in written {
        let _ = writeln!(file, "  - series: '{labels}'\n    values: '{values}'");
    }
    file.push_str("  promql_expr_test:\n");
    for case in cases {
        let text = for_promtool(&case.text);
        let _ = writeln!(file, "  - expr: '{text}'\n    eval_time: {time}ms\n    exp_samples: []");
    }
    let mut path = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    path.write_all(file.as_bytes()).unwrap();
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(path.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let mut said = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(rest) = line.trim().strip_prefix("expr: ") else {
            continue;
        };
        let quoted = rest.split("\", time:").next().unwrap_or_default();
        let expression = quoted.trim_start_matches('"').replace("\\\"", "\"");
        if rest.contains(", err: ") {
            said.insert(expression, None);
            continue;
        }
        let _expected = lines.next();
        let got = lines.next().unwrap_or_default().trim();
        let got = got.strip_prefix("got:").unwrap_or_else(|| panic!("{text}"));
        said.insert(expression, Some(theirs(got)));
    }
    said
}

#[test]
fn promtool_gives_the_same_answers() {
    if Command::new("promtool").arg("--version").output().is_err() {
        #[allow(clippy::print_stderr)] // Whoever runs the tests must see what was not tested.
        {
            eprintln!("SKIPPED: promtool is not installed; the evaluator was compared with nothing");
        }
        return;
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut compared, mut filled, mut failed) = (0, 0, Vec::new());
    for round in 0..28 {
        let written = series(&mut dice);
        let borrowed: Vec<(&str, &str)> = written.iter().map(|(l, v)| (l.as_str(), v.as_str())).collect();
        // On the grid of the points and off it.
        let time = 600_000 + 60_000 * (round % 5) + if round % 2 == 0 { 0 } else { 7_000 };
        let mut cases = Vec::new();
        for _ in 0..200 {
            let depth = 1 + dice.roll(3);
            let text = vector(&mut dice, depth);
            let expression = Expression::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            cases.push(Case {
                answer: ours(&expression, &borrowed, time),
                text,
            });
        }
        let said = ask_promtool(&written, &cases, time);
        for case in &cases {
            // Prometheus 3, and we, say NaN where 2.42 says 0.
            let deviates = case.text.contains("stddev ") || case.text.contains("stdvar ");
            if deviates && ["y{", "(y ", "(y)", "y["].iter().any(|part| case.text.contains(part)) {
                continue;
            }
            let theirs = said
                .get(&for_promtool(&case.text))
                .cloned()
                .unwrap_or(Some(Answer::new()));
            compared += 1;
            filled += usize::from(theirs.as_ref().is_some_and(|answer| !answer.is_empty()));
            let same = match (&case.answer, &theirs) {
                (Some(a), Some(b)) => {
                    a.len() == b.len()
                        && a.iter()
                            .all(|(labels, value)| b.get(labels).is_some_and(|b| close(*value, *b)))
                }
                (None, None) => true,
                _ => false,
            };
            if !same {
                failed.push(format!(
                    "{} at {time}\n  ours   {:?}\n  theirs {theirs:?}",
                    case.text, case.answer
                ));
            }
        }
    }
    assert!(compared >= 5_000 && filled >= 2_000, "{compared} {filled}");
    let shown: Vec<&String> = failed.iter().take(12).collect();
    assert!(
        failed.is_empty(),
        "{} of {compared} differ:\n{}",
        failed.len(),
        shown.iter().map(|s| s.as_str()).collect::<Vec<_>>().join("\n")
    );
}
