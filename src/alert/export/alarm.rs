//! A rule as alarms of CloudWatch, in the words of CloudFormation: one for each subject (table, index, endpoint, ...) and,
//! where each has a latency of its own, for each operation. What metrics and math cannot say becomes a PromQL alarm.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::Options;
use super::math::{self, About, Condition, Source, Value};
use crate::alert::promql::Expr;
use crate::alert::rules::metrics::default_missing;
use crate::alert::rules::{Group, Missing, Rule};

/// CloudWatch's limit, in characters.
const LONGEST_DESCRIPTION: usize = 1_024;
const OPERATION: &str = "Operation";

/// An alarm.
pub struct Alarm {
    /// Letters and digits.
    pub id: String,
    /// Names of dimensions whose values are parameters of the template.
    pub parameters: BTreeSet<String>,
    pub properties: Json,
}

/// What cannot be said, by kind, so that it is listed once and not for each rule.
#[derive(Default)]
pub struct Losses {
    pub single: Vec<String>,
    promql: BTreeSet<String>,
    keep: BTreeSet<String>,
    pairs: BTreeSet<String>,
    history: BTreeSet<String>,
    shortened: BTreeSet<String>,
}

impl Losses {
    /// One line for each.
    pub fn lines(self) -> Vec<String> {
        let mut lines = self.single;
        let listed = [
            (
                self.promql,
                "are PromQL alarms: they need these metrics in CloudWatch's OTLP store, under the names of the query",
            ),
            (self.keep, "end at once where the rule keeps firing for a while"),
            (
                self.pairs,
                "do not silence each other: levels of a pair, alerts that make others unnecessary",
            ),
            (self.history, "do not wait until there is enough history"),
            (
                self.shortened,
                "have a shortened description: CloudWatch takes 1,024 characters",
            ),
        ];
        for (names, what) in listed {
            if !names.is_empty() {
                let names: Vec<String> = names.into_iter().collect();
                lines.push(format!("{}: {what}", names.join(", ")));
            }
        }
        lines
    }
}

/// The alarms of a rule.
pub fn alarms(group: &Group, rule: &Rule, options: &Options, losses: &mut Losses) -> Vec<Alarm> {
    if rule.extra.enabled == Some(false) {
        losses.single.push(format!("{}: is switched off", rule.name));
        return Vec::new();
    }
    if rule.extra.anomaly.is_some() {
        let why = "left out; it compares with what is usual at this hour of the week";
        losses.single.push(format!("{}: {why}", rule.name));
        return Vec::new();
    }
    if rule.extra.pair.is_some() || !rule.extra.inhibits.is_empty() {
        losses.pairs.insert(rule.name.clone());
    }
    if rule.extra.min_state.is_some() {
        losses.history.insert(rule.name.clone());
    }
    let mut alarms = Vec::new();
    let mut is_all = true;
    for branch in math::branches(&rule.expr.root) {
        let of_branch = of_branch(rule, branch, options, losses);
        is_all &= !of_branch.is_empty();
        alarms.extend(of_branch);
    }
    for (number, alarm) in alarms.iter_mut().enumerate() {
        alarm.id = format!("{}{}{}", rule.name, capitalized(rule.severity()), number + 1);
    }
    if rule.keep_firing_for > 0 && !alarms.is_empty() {
        losses.keep.insert(rule.name.clone());
    }
    if !is_all {
        // What metrics and math could not say of an `or`: the whole rule as a query, beside what they could.
        losses.promql.insert(rule.name.clone());
        alarms.push(by_query(group, rule, losses));
    }
    alarms
}

/// The alarms of one side of an `or`; empty where one of them cannot be said.
fn of_branch(rule: &Rule, branch: &Expr, options: &Options, losses: &mut Losses) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for subject in math::subjects(branch) {
        let each = subject.iter().any(|name| name == OPERATION);
        let operations: Vec<Option<&str>> = if each {
            options
                .operations
                .iter()
                .map(|operation| Some(operation.as_str()))
                .collect()
        } else {
            vec![None]
        };
        for operation in operations {
            let about = About {
                subject: &subject,
                operations: &options.operations,
                operation,
            };
            let Some(condition) = math::condition(branch, about) else {
                return Vec::new();
            };
            for note in &condition.notes {
                let line = format!("{}: {note}", rule.name);
                if !losses.single.contains(&line) {
                    losses.single.push(line);
                }
            }
            alarms.push(by_metrics(rule, &condition, operation, losses));
        }
    }
    alarms
}

fn by_metrics(rule: &Rule, condition: &Condition, operation: Option<&str>, losses: &mut Losses) -> Alarm {
    let parameters: BTreeSet<String> = condition
        .sources
        .iter()
        .flat_map(|source| &source.dimensions)
        .filter(|(_, value)| *value == Value::Parameter)
        .map(|(name, _)| name.clone())
        .collect();
    let period = condition.sources.first().map_or(60, |source| source.period);
    let (m, n) = match rule.extra.datapoints {
        Some(points) => (i64::from(points.m), i64::from(points.n)),
        None if rule.hold > 0 => {
            let n = rule.hold / 1_000 / period + 1;
            (n, n)
        }
        None => condition.points,
    };
    let mut name = format!("{}-{}", rule.name, rule.severity());
    for part in operation
        .into_iter()
        .map(str::to_owned)
        .chain(parameters.iter().map(|name| format!("${{{name}}}")))
    {
        name = format!("{name}-{part}");
    }
    let mut properties = common(rule, losses);
    let mut set = |key: &str, value: Json| properties.insert(key.to_owned(), value);
    set(
        "AlarmName",
        if parameters.is_empty() {
            json!(name)
        } else {
            json!({ "Fn::Sub": name })
        },
    );
    set("ComparisonOperator", json!(condition.operator));
    set("Threshold", json!(condition.threshold));
    set("EvaluationPeriods", json!(n));
    set("DatapointsToAlarm", json!(m));
    set("TreatMissingData", json!(missing(rule)));
    match &condition.sources[..] {
        [only] if condition.formula == "m1" => {
            set("Namespace", json!(only.namespace));
            set("MetricName", json!(only.metric));
            set("Dimensions", dimensions(only));
            set("Period", json!(only.period));
            let is_percentile = only.statistic.starts_with('p');
            set(
                if is_percentile {
                    "ExtendedStatistic"
                } else {
                    "Statistic"
                },
                json!(only.statistic),
            );
        }
        sources => {
            let mut metrics: Vec<Json> = sources
                .iter()
                .enumerate()
                .map(|(number, source)| query(number, source))
                .collect();
            metrics.push(json!({"Id": "e1", "Expression": condition.formula, "Label": rule.name, "ReturnData": true}));
            set("Metrics", Json::Array(metrics));
        }
    }
    Alarm {
        id: String::new(),
        parameters,
        properties: Json::Object(properties),
    }
}

fn query(number: usize, source: &Source) -> Json {
    json!({
        "Id": format!("m{}", number + 1),
        "MetricStat": {
            "Metric": {
                "Namespace": source.namespace,
                "MetricName": source.metric,
                "Dimensions": dimensions(source),
            },
            "Period": source.period,
            "Stat": source.statistic,
        },
        "ReturnData": false,
    })
}

fn dimensions(source: &Source) -> Json {
    let of = |(name, value): &(String, Value)| match value {
        Value::Parameter => json!({"Name": name, "Value": {"Ref": name}}),
        Value::Fixed(value) => json!({"Name": name, "Value": value}),
    };
    source.dimensions.iter().map(of).collect()
}

/// The rule's own expression: `for` and `keep_firing_for` have their places there.
fn by_query(group: &Group, rule: &Rule, losses: &mut Losses) -> Alarm {
    let interval = group.interval.unwrap_or(60_000);
    let (mut every, mut hold, mut query) = (interval, rule.hold, rule.expr.text.trim().to_owned());
    if let Some(points) = rule.extra.datapoints {
        every = points.period;
        if points.m == points.n {
            hold = i64::from(points.n - 1) * points.period;
        } else {
            let window = i64::from(points.n) * points.period / 1_000;
            query = format!(
                "count_over_time(({query})[{window}s:{}s]) >= {}",
                points.period / 1_000,
                points.m
            );
        }
    }
    // What CloudWatch takes: 10 s to an hour, and at most a day.
    let seconds = |millis: i64, least: i64, most: i64| (millis / 1_000).clamp(least, most);
    for (what, millis) in [("for", hold), ("keep_firing_for", rule.keep_firing_for)] {
        if millis > 86_400_000 {
            losses.single.push(format!(
                "{}: {what} is a day, the most that CloudWatch takes",
                rule.name
            ));
        }
    }
    let mut properties = common(rule, losses);
    let mut set = |key: &str, value: Json| properties.insert(key.to_owned(), value);
    set("AlarmName", json!(format!("{}-{}", rule.name, rule.severity())));
    set("EvaluationInterval", json!(seconds(every, 10, 3_600)));
    let criteria = json!({
        "Query": query,
        "PendingPeriod": seconds(hold, 0, 86_400),
        "RecoveryPeriod": seconds(rule.keep_firing_for, 0, 86_400),
    });
    set("EvaluationCriteria", json!({ "PromQLCriteria": criteria }));
    Alarm {
        id: format!("{}{}", rule.name, capitalized(rule.severity())),
        parameters: BTreeSet::new(),
        properties: Json::Object(properties),
    }
}

/// Description and actions.
fn common(rule: &Rule, losses: &mut Losses) -> Map<String, Json> {
    let actions = format!("{}Actions", capitalized(rule.severity()));
    let actions = json!({"Fn::If": [format!("Has{actions}"), {"Ref": actions}, {"Ref": "AWS::NoValue"}]});
    let mut properties = Map::new();
    properties.insert("AlarmDescription".to_owned(), json!(description(rule, losses)));
    properties.insert("AlarmActions".to_owned(), actions.clone());
    properties.insert("OKActions".to_owned(), actions);
    properties
}

fn description(rule: &Rule, losses: &mut Losses) -> String {
    let said = rule.annotations.iter().find(|(name, _)| name == "description");
    let mut text = said.map_or(String::new(), |(_, text)| text.source().trim().to_owned());
    let guidance = &rule.guidance;
    let mut ends = Vec::new();
    if !guidance.contact.is_empty() {
        ends.push(format!("Contact: {}", guidance.contact));
    }
    for step in &guidance.escalation {
        ends.push(format!("After {} to {}", super::prometheus::after(step), step.to));
    }
    let end = ends.join(". ");
    for (number, step) in guidance.resolution_steps.iter().enumerate() {
        text.push_str(&format!("\n{}. {step}", number + 1));
    }
    let room = LONGEST_DESCRIPTION.saturating_sub(end.chars().count() + 6);
    if text.chars().count() > room {
        losses.shortened.insert(rule.name.clone());
        text = text.chars().take(room).collect();
        text.push_str(" ...");
    }
    if !end.is_empty() {
        text = format!("{text}\n{end}");
    }
    text
}

fn missing(rule: &Rule) -> &'static str {
    let mut of_metric = None;
    rule.expr.selectors(&mut |selector| {
        if of_metric.is_none() {
            of_metric = selector.name.as_deref().and_then(default_missing);
        }
    });
    match rule.extra.missing.or(of_metric) {
        Some(Missing::Zero | Missing::Ok) => "notBreaching",
        Some(Missing::Breach) => "breaching",
        Some(Missing::Hold(_)) => "ignore",
        Some(Missing::Ignore | Missing::NoData(_)) | None => "missing",
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
