//! A test file: promtool's format, and `x-radiosonde` in a test for what promtool has no words for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::series::{self, Written};
use crate::alert::promql::Expression;
use crate::alert::rules::PromDuration;
use crate::config::{Document, Problems, Section};

type Labels = Vec<(String, String)>;

/// What a file asks for. Times are milliseconds from the start of a test.
#[derive(Debug, Default)]
pub struct TestFile {
    pub rule_files: Vec<String>,
    pub interval: i64,
    pub tests: Vec<Test>,
}

#[derive(Debug, Default)]
pub struct Test {
    pub name: String,
    pub interval: i64,
    pub series: Vec<InputSeries>,
    pub alerts: Vec<AlertCase>,
    pub expressions: Vec<ExprCase>,
    pub extended: Extended,
}

#[derive(Debug)]
pub struct InputSeries {
    pub labels: Labels,
    pub values: Vec<Written>,
}

#[derive(Debug)]
pub struct AlertCase {
    pub at: i64,
    pub alert: String,
    pub expected: Vec<ExpectedAlert>,
    pub place: String,
}

#[derive(Debug, PartialEq)]
pub struct ExpectedAlert {
    pub labels: Labels,
    pub annotations: Labels,
}

#[derive(Debug)]
pub struct ExprCase {
    pub at: i64,
    pub expr: Expression,
    pub expected: Vec<(Labels, f64)>,
    pub place: String,
}

/// What promtool has no words for.
#[derive(Debug, Default)]
pub struct Extended {
    /// Points are CloudWatch's: each stands for so long, and missing ones mean what the metric says.
    pub period: Option<i64>,
    pub late: Vec<Late>,
    /// From and to: polls fail; what they would have found is found afterwards.
    pub poll_failures: Vec<(i64, i64)>,
    pub restarts: Vec<i64>,
    /// Every alert that is told as new or as over, in order. `None`: not looked at.
    pub notifications: Option<Vec<Expected>>,
}

#[derive(Debug)]
pub struct Late {
    pub labels: Labels,
    /// Times of the points.
    pub points: Vec<i64>,
    pub by: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub at: i64,
    pub alert: String,
    pub resolved: bool,
    /// These at least.
    pub labels: Labels,
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Head {
    rule_files: Vec<String>,
    evaluation_interval: PromDuration,
    group_eval_order: Vec<String>,
    fuzzy_compare: bool,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            rule_files: Vec::new(),
            evaluation_interval: PromDuration(60_000),
            group_eval_order: Vec::new(),
            fuzzy_compare: false,
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct TestHead {
    interval: PromDuration,
    name: String,
    external_labels: BTreeMap<String, String>,
    external_url: String,
}

impl Default for TestHead {
    fn default() -> Self {
        Self {
            interval: PromDuration(60_000),
            name: String::new(),
            external_labels: BTreeMap::new(),
            external_url: String::new(),
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct CaseHead {
    eval_time: PromDuration,
    alertname: String,
    expr: String,
}

/// Reads a test file.
///
/// # Errors
/// Every problem with its place.
pub fn read_tests(name: &str, text: &str) -> Result<TestFile, Problems> {
    let document = Document::plain(name, text)?;
    let root = document.root();
    let mut file = TestFile::default();
    if root.require_map() {
        read_file(root, &mut file, name);
    }
    root.report_untaken();
    let problems = document.problems();
    if problems.has_errors() { Err(problems) } else { Ok(file) }
}

fn read_file(root: &Section, file: &mut TestFile, name: &str) {
    let head: Head = root.read().unwrap_or_default();
    if head.evaluation_interval.0 < 1_000 {
        root.error_at("evaluation_interval", "must be at least 1s");
    }
    file.rule_files = head.rule_files;
    file.interval = head.evaluation_interval.0.max(1_000);
    let Some(tests) = root.take("tests") else {
        root.error("a test file has `tests:`");
        return;
    };
    for section in tests.elements() {
        if section.require_map() {
            file.tests.push(read_test(&section, name));
        }
    }
}

fn read_test(section: &Section, name: &str) -> Test {
    let head: TestHead = section.read().unwrap_or_default();
    if !head.external_labels.is_empty() {
        section.error_at("external_labels", "are not supported");
    }
    let mut test = Test {
        name: head.name,
        interval: head.interval.0.max(1),
        ..Test::default()
    };
    for input in section
        .take("input_series")
        .map(|list| list.elements())
        .unwrap_or_default()
    {
        #[derive(Default, Deserialize, Serialize)]
        #[serde(default)]
        struct Input {
            series: String,
            values: String,
        }
        let written: Input = input.read().unwrap_or_default();
        match (series::labels(&written.series), series::values(&written.values)) {
            (Ok(labels), Ok(values)) => test.series.push(InputSeries { labels, values }),
            (Err(message), _) => input.error_at("series", message),
            (_, Err((offset, message))) => input.error_in_text("values", offset, message),
        }
    }
    for case in section
        .take("alert_rule_test")
        .map(|list| list.elements())
        .unwrap_or_default()
    {
        let head: CaseHead = case.read().unwrap_or_default();
        let mut expected = Vec::new();
        for alert in case.take("exp_alerts").map(|list| list.elements()).unwrap_or_default() {
            if alert.is_null() {
                continue;
            }
            let mut labels = texts(&alert, "exp_labels");
            labels.push(("alertname".to_owned(), head.alertname.clone()));
            labels.sort();
            expected.push(ExpectedAlert {
                labels,
                annotations: texts(&alert, "exp_annotations"),
            });
        }
        test.alerts.push(AlertCase {
            at: head.eval_time.0,
            alert: head.alertname,
            expected,
            place: format!("{name}:{}", case.place_at("")),
        });
    }
    for case in section
        .take("promql_expr_test")
        .map(|list| list.elements())
        .unwrap_or_default()
    {
        if let Some(case) = read_expr(&case, name) {
            test.expressions.push(case);
        }
    }
    if let Some(extended) = section.take("x-radiosonde") {
        test.extended = read_extended(&extended);
    }
    test
}

fn read_expr(case: &Section, name: &str) -> Option<ExprCase> {
    #[derive(Default, Deserialize, Serialize)]
    #[serde(default)]
    struct Sample {
        labels: String,
        value: f64,
    }
    let head: CaseHead = case.read().unwrap_or_default();
    let mut expected = Vec::new();
    for sample in case.take("exp_samples").map(|list| list.elements()).unwrap_or_default() {
        if sample.is_null() {
            continue;
        }
        let written: Sample = sample.read().unwrap_or_default();
        let labels = match written.labels.trim() {
            "" | "{}" => Ok(Vec::new()),
            text => series::labels(text),
        };
        match labels {
            Ok(labels) => expected.push((labels, written.value)),
            Err(message) => sample.error_at("labels", message),
        }
    }
    match Expression::parse(&head.expr) {
        Ok(expr) => Some(ExprCase {
            at: head.eval_time.0,
            expr,
            expected,
            place: format!("{name}:{}", case.place_at("")),
        }),
        Err(error) => {
            case.error_in_text("expr", error.offset, error.message);
            None
        }
    }
}

fn texts(section: &Section, key: &str) -> Labels {
    let mut labels = Vec::new();
    let Some(map) = section.take(key) else { return labels };
    for name in map.keys() {
        if let Some(value) = map.take(&name).and_then(|value| value.read::<String>()) {
            labels.push((name, value));
        }
    }
    labels.sort();
    labels
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ExtendedHead {
    period: Option<PromDuration>,
    restarts: Vec<PromDuration>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Times {
    from: PromDuration,
    to: PromDuration,
    series: String,
    points: Vec<PromDuration>,
    by: PromDuration,
    at: PromDuration,
    alert: String,
    state: String,
}

fn read_extended(section: &Section) -> Extended {
    if !section.require_map() {
        return Extended::default();
    }
    let head: ExtendedHead = section.read().unwrap_or_default();
    let mut extended = Extended {
        period: head.period.map(|period| period.0.max(1_000)),
        restarts: head.restarts.iter().map(|time| time.0).collect(),
        ..Extended::default()
    };
    for late in section.take("late").map(|list| list.elements()).unwrap_or_default() {
        let times: Times = late.read().unwrap_or_default();
        match series::labels(&times.series) {
            Ok(labels) => extended.late.push(Late {
                labels,
                points: times.points.iter().map(|time| time.0).collect(),
                by: times.by.0,
            }),
            Err(message) => late.error_at("series", message),
        }
    }
    for failure in section
        .take("poll_failures")
        .map(|list| list.elements())
        .unwrap_or_default()
    {
        let times: Times = failure.read().unwrap_or_default();
        if times.to <= times.from {
            failure.error_at("to", "must be after `from`");
        }
        extended.poll_failures.push((times.from.0, times.to.0));
    }
    if let Some(list) = section.take("notifications") {
        let mut expected = Vec::new();
        for one in list.elements() {
            let times: Times = one.read().unwrap_or_default();
            let resolved = match times.state.as_str() {
                "firing" => false,
                "resolved" => true,
                _ => {
                    one.error_at("state", "is firing or resolved");
                    false
                }
            };
            expected.push(Expected {
                at: times.at.0,
                alert: times.alert,
                resolved,
                labels: texts(&one, "labels"),
            });
        }
        extended.notifications = Some(expected);
    }
    extended
}
