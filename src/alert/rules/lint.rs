//! What can be read and still cannot work, or is not what one thinks: metrics that AWS does not have, dimensions that a
//! metric never has, alerts that nobody could act on.

use super::{AwsMetric, Rule, RuleFile, aws_metric};
use crate::alert::promql::ast::{Aggregate, Aggregation, Expr, Function, Operator, Selector};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The rule cannot work, or nobody could act on it.
    Error,
    /// The rule says something else than one would think.
    Warning,
    /// A warning that `--strict` makes an error.
    Placeholder,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub weight: Weight,
    /// `file:line:column` of the alert.
    pub place: String,
    pub alert: String,
    pub message: String,
}

struct Findings<'a> {
    rule: &'a Rule,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, weight: Weight, message: impl Into<String>) {
        self.list.push(Finding {
            weight,
            place: self.rule.place.clone(),
            alert: self.rule.name.clone(),
            message: message.into(),
        });
    }
}

/// Everything that is found in a file.
pub fn lint(file: &RuleFile) -> Vec<Finding> {
    let mut list = Vec::new();
    for group in &file.groups {
        for rule in &group.rules {
            list.extend(lint_rule(rule));
        }
    }
    list
}

/// Everything that is found in one rule.
pub fn lint_rule(rule: &Rule) -> Vec<Finding> {
    let mut findings = Findings { rule, list: Vec::new() };
    guidance(rule, &mut findings);
    rule.expr
        .selectors(&mut |selector| known_metric(selector, &mut findings));
    walk(&rule.expr.root, &Context::default(), &mut findings);
    fires_late(rule, &mut findings);
    let mut list = findings.list;
    list.dedup();
    list
}

fn guidance(rule: &Rule, findings: &mut Findings<'_>) {
    if !rule.annotations.iter().any(|(name, _)| name == "summary") {
        findings.add(Weight::Error, "has no annotation `summary`");
    }
    if rule.guidance.resolution_steps.is_empty() {
        findings.add(Weight::Error, "has no resolution_steps in x-radiosonde: say what to do");
    }
    let contact = rule.guidance.contact.as_str();
    if contact.is_empty() || contact.contains("example.com") || contact.contains("${") {
        findings.add(
            Weight::Placeholder,
            "has no contact in x-radiosonde (or a placeholder): say who is to be asked",
        );
    }
    if rule.severity() == "critical" && rule.guidance.escalation.is_empty() {
        findings.add(Weight::Error, "is critical and has no escalation in x-radiosonde");
    }
}

/// `sum_over_time(x[5m]) > 0` with `for: 5m` fires on one event, five minutes late.
fn fires_late(rule: &Rule, findings: &mut Findings<'_>) {
    let Expr::Binary(binary) = &rule.expr.root else { return };
    if binary.op != Operator::Greater || rule.hold == 0 || !matches!(binary.right, Expr::Number(limit) if limit == 0.0)
    {
        return;
    }
    let mut longest = 0;
    each(&binary.left, &mut |expr| {
        if let Expr::Call { function, args } = expr
            && matches!(function, Function::SumOverTime | Function::Increase | Function::Rate)
            && let Some(Expr::Range { window, .. }) = args.first()
        {
            longest = longest.max(*window);
        }
    });
    if longest >= rule.hold {
        findings.add(
            Weight::Warning,
            "one event stays in the window for the whole of `for`: this fires on one event, late; use `datapoints` or a \
             window of one period",
        );
    }
}

fn each<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    visit(expr);
    match expr {
        Expr::Number(_) | Expr::Text(_) | Expr::Instant(_) | Expr::Range { .. } => {}
        Expr::Subquery(subquery) => each(&subquery.expr, visit),
        Expr::Negate(inner) => each(inner, visit),
        Expr::Binary(binary) => {
            each(&binary.left, visit);
            each(&binary.right, visit);
        }
        Expr::Aggregate(aggregate) => each(&aggregate.expr, visit),
        Expr::Call { args, .. } => args.iter().for_each(|arg| each(arg, visit)),
    }
}

/// What stands around a selector.
#[derive(Clone, Copy, Default)]
struct Context<'a> {
    aggregate: Option<&'a Aggregate>,
    function: Option<Function>,
}

fn walk<'a>(expr: &'a Expr, context: &Context<'a>, findings: &mut Findings<'_>) {
    match expr {
        Expr::Instant(selector) => of_selector(selector, None, context, findings),
        Expr::Range { selector, window } => of_selector(selector, Some(*window), context, findings),
        Expr::Aggregate(aggregate) => {
            let context = Context {
                aggregate: Some(aggregate),
                ..*context
            };
            walk(&aggregate.expr, &context, findings);
        }
        Expr::Call { function, args } => {
            let context = Context {
                function: Some(*function),
                ..*context
            };
            args.iter().for_each(|arg| walk(arg, &context, findings));
        }
        Expr::Binary(binary) => {
            walk(&binary.left, context, findings);
            walk(&binary.right, context, findings);
        }
        Expr::Negate(inner) => walk(inner, context, findings),
        Expr::Subquery(subquery) => walk(&subquery.expr, context, findings),
        Expr::Number(_) | Expr::Text(_) => {}
    }
}

fn of_selector(selector: &Selector, window: Option<i64>, context: &Context<'_>, findings: &mut Findings<'_>) {
    let Some(name) = &selector.name else { return };
    let Some(metric) = aws_metric(name) else { return };
    if let Some(function @ (Function::Rate | Function::Increase | Function::Irate)) = context.function {
        findings.add(
            Weight::Warning,
            format!(
                "{name} has one value a period and does not grow: {function:?} of it means nothing; use sum_over_time"
            ),
        );
    }
    let combines = context
        .aggregate
        .filter(|aggregate| matches!(aggregate.op, Aggregation::Sum | Aggregation::Average));
    if combines.is_some() && metric.statistic.starts_with('p') && metric.statistic != "p" {
        findings.add(
            Weight::Warning,
            format!("percentiles do not add up: a sum or average of {name} is no percentile; use max"),
        );
    }
    in_catalogue(selector, &metric, window, combines, findings);
}

#[cfg(not(feature = "aws"))]
fn in_catalogue(_: &Selector, _: &AwsMetric, _: Option<i64>, _: Option<&Aggregate>, _: &mut Findings<'_>) {}

#[cfg(not(feature = "aws"))]
fn known_metric(_: &Selector, _: &mut Findings<'_>) {}

#[cfg(feature = "aws")]
use of_aws::{in_catalogue, known_metric};

#[cfg(feature = "aws")]
mod of_aws {
    use std::collections::HashMap;
    use std::sync::OnceLock;

    use super::{Aggregate, AwsMetric, Findings, Selector, Weight, aws_metric};
    use crate::alert::promql::ast::{Grouping, MatcherKind};
    use crate::alert::rules::metrics::base_name;
    use crate::aws::catalogue::{Metric, catalogue};
    use crate::aws::cloudwatch::lint::{Query, lint};
    use crate::config::suggest_among;

    const NAMESPACES: [&str; 14] = [
        "AWS/DynamoDB",
        "AWS/SageMaker",
        "AWS/SageMaker/FeatureStore",
        "AWS/SageMaker/LabelingJobs",
        "AWS/SageMaker/Workteam",
        "AWS/Sagemaker/ModelBuildingPipeline",
        "/aws/sagemaker/Endpoints",
        "/aws/sagemaker/InferenceComponents",
        "/aws/sagemaker/InferenceRecommendationsJobs",
        "/aws/sagemaker/ProcessingJobs",
        "/aws/sagemaker/TrainingJobs",
        "/aws/sagemaker/TransformJobs",
        "/aws/sagemaker/Endpoints/data-metric",
        "/aws/sagemaker/ModelMonitoring/data-metric",
    ];

    fn by_base() -> &'static HashMap<String, &'static Metric> {
        static BY_BASE: OnceLock<HashMap<String, &'static Metric>> = OnceLock::new();
        BY_BASE.get_or_init(|| {
            let mut found = HashMap::new();
            for namespace in NAMESPACES {
                for metric in catalogue().of(namespace) {
                    found.entry(base_name(namespace, &metric.metric)).or_insert(metric);
                }
            }
            found
        })
    }

    /// Metrics whose name holds the name of a feature stand in the catalogue by what comes before it.
    fn find(base: &str) -> Option<&'static Metric> {
        if let Some(metric) = by_base().get(base) {
            return Some(metric);
        }
        let open = by_base().iter().find(|(known, metric)| {
            let prefix = metric.metric.split_once('{').map_or("", |(prefix, _)| prefix);
            !prefix.is_empty() && base.starts_with(&base_name(&metric.namespace, prefix)) && !known.is_empty()
        });
        open.map(|(_, metric)| *metric)
    }

    pub(super) fn known_metric(selector: &Selector, findings: &mut Findings<'_>) {
        let Some(name) = &selector.name else { return };
        let Some(metric) = aws_metric(name) else { return };
        if !metric.base.starts_with("dynamodb_") && !metric.base.starts_with("sagemaker_") {
            return;
        }
        if find(&metric.base).is_some() {
            return;
        }
        // The words of somebody who has read a guide: AWS/DynamoDB's ItemCount, GetLatency.
        let camel = camel(metric.base.trim_start_matches("dynamodb_"));
        let query = Query {
            metric: &camel,
            ..Query::default()
        };
        let known: Vec<&str> = by_base().keys().map(String::as_str).collect();
        let told = lint(&query)
            .into_iter()
            .next()
            .filter(|_| metric.base.starts_with("dynamodb_"));
        let message = match told {
            Some(told) if !told.instead.starts_with("one of") => format!("{}; use {}", told.truth, told.instead),
            _ => {
                let near = suggest_among(&metric.base, &known);
                format!("AWS has no metric that would be called {name}{near}")
            }
        };
        findings.add(Weight::Error, message);
    }

    fn camel(snake: &str) -> String {
        let words = snake.split('_').filter(|word| !word.is_empty());
        words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
    }

    pub(super) fn in_catalogue(
        selector: &Selector,
        metric: &AwsMetric,
        window: Option<i64>,
        combined: Option<&Aggregate>,
        findings: &mut Findings<'_>,
    ) {
        let Some(known) = find(&metric.base) else { return };
        let name = selector.name.as_deref().unwrap_or_default();
        let period = i64::from(known.period_s) * 1_000;
        if window.is_some_and(|window| window < period) {
            findings.add(
                Weight::Warning,
                format!("{name} has a point every {} s: this window is shorter", known.period_s),
            );
        }
        let is_dimension = |label: &str| label.starts_with(|first: char| first.is_ascii_uppercase());
        let mut wanted = Vec::new();
        let mut unwanted = Vec::new();
        for matcher in selector.matchers.iter().filter(|matcher| is_dimension(&matcher.label)) {
            let only_empty = matches!(&matcher.kind, MatcherKind::Equal(value) if value.is_empty());
            if only_empty {
                unwanted.push(matcher.label.as_str());
            } else if !matcher.accepts("") {
                wanted.push(matcher.label.as_str());
            }
        }
        let fits = |set: &&Vec<String>| {
            let has = |label: &&str| set.iter().any(|name| name == label);
            wanted.iter().all(has) && !unwanted.iter().any(has)
        };
        let fitting: Vec<&Vec<String>> = known.dimensions.iter().filter(fits).collect();
        if fitting.is_empty() {
            let query = Query {
                metric: &known.metric,
                dimensions: &wanted,
                ..Query::default()
            };
            let told = lint(&query)
                .into_iter()
                .next()
                .filter(|_| known.namespace == "AWS/DynamoDB");
            let reason = match told {
                Some(told) => format!("{}; use {}", told.truth, told.instead),
                None => {
                    let sets: Vec<String> = known
                        .dimensions
                        .iter()
                        .map(|set| format!("[{}]", set.join(", ")))
                        .collect();
                    format!("its series have the dimensions {}", sets.join(", "))
                }
            };
            findings.add(
                Weight::Error,
                format!("{name} has no series that this selector takes: {reason}"),
            );
            return;
        }
        let Some(aggregate) = combined else { return };
        // Sets of which one holds the other, both taken and not told apart: they count twice.
        let kept = |label: &String| match &aggregate.grouping {
            Grouping::By(names) => names.contains(label),
            Grouping::Without(names) => !names.contains(label),
        };
        for (position, set) in fitting.iter().enumerate() {
            for other in &fitting[position + 1..] {
                let (small, large) = if set.len() < other.len() {
                    (set, other)
                } else {
                    (other, set)
                };
                let extra: Vec<&String> = large.iter().filter(|label| !small.contains(label)).collect();
                let is_inside = small.iter().all(|label| large.contains(label));
                if is_inside && !extra.is_empty() && !extra.iter().any(|label| kept(label)) {
                    let narrow: Vec<String> = extra.iter().map(|label| format!("{label}=\"\"")).collect();
                    findings.add(
                        Weight::Warning,
                        format!(
                            "{name} comes with and without {}: they count twice; add {}",
                            extra.iter().map(|label| label.as_str()).collect::<Vec<_>>().join(", "),
                            narrow.join(", ")
                        ),
                    );
                    return;
                }
            }
        }
    }
}
