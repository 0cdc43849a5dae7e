//! A rule's expression as one alarm's metrics and math: selectors with their windows become statistics of metrics over a
//! period, arithmetic stays arithmetic. What has no counterpart gives `None`.

use super::metric::{self, Statistic};
use crate::alert::promql::ast::{Aggregate, Binary};
use crate::alert::promql::{Aggregation, Expr, Function, Grouping, MatcherKind, Operator, Selector};

/// CloudWatch's limit for alarms.
const MOST_METRICS: usize = 10;

/// The dimensions that an alarm is for, by name; their values are parameters of the template.
pub type Subject = Vec<String>;

/// The value of a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Parameter,
    Fixed(String),
}

/// One statistic of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub namespace: String,
    pub metric: String,
    pub statistic: String,
    pub dimensions: Vec<(String, Value)>,
    /// Seconds.
    pub period: i64,
    pub is_sparse: bool,
}

/// An alarm's condition.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `m1`, `m2`, ... in this order.
    pub sources: Vec<Source>,
    pub formula: String,
    pub operator: &'static str,
    pub threshold: f64,
    /// So many of so many periods.
    pub points: (i64, i64),
    /// What is not the same as in the rule.
    pub notes: Vec<String>,
}

/// Who is asked for.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub subject: &'a [String],
    /// All operations of the tables, and the one of this alarm where each has its own.
    pub operations: &'a [String],
    pub operation: Option<&'a str>,
}

const OPERATION: &str = "Operation";
/// Labels that are no dimensions: an alarm stands in one account and region.
const PLACE: [&str; 2] = ["account_id", "region"];

/// The branches of a rule: each side of an `or` at the top is an alarm of its own.
pub fn branches(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Binary(binary) if binary.op == Operator::Or => {
            let mut all = branches(&binary.left);
            all.extend(branches(&binary.right));
            all
        }
        other => vec![other],
    }
}

/// The sets of dimensions for which an expression can be asked: from its first selector.
pub fn subjects(expr: &Expr) -> Vec<Subject> {
    let mut found: Vec<Subject> = Vec::new();
    let mut is_first = true;
    let grouped = grouping(expr);
    walk(expr, &mut |selector| {
        if !std::mem::take(&mut is_first) {
            return;
        }
        let Some(statistic) = selector.name.as_deref().and_then(metric::statistic) else {
            return;
        };
        for set in fitting(selector, &statistic) {
            let is_told = |name: &&String| name.as_str() == OPERATION || grouped.contains(name);
            if !set.iter().all(|name| is_told(&name)) {
                continue;
            }
            let subject: Subject = set.iter().filter(|name| grouped.contains(name)).cloned().collect();
            if !found.contains(&subject) {
                found.push(subject);
            }
        }
    });
    found
}

/// The labels of the outermost aggregation, without account and region.
fn grouping(expr: &Expr) -> Vec<String> {
    match expr {
        Expr::Aggregate(aggregate) => match &aggregate.grouping {
            Grouping::By(names) => names
                .iter()
                .filter(|name| !PLACE.contains(&name.as_str()))
                .cloned()
                .collect(),
            Grouping::Without(_) => Vec::new(),
        },
        Expr::Binary(binary) => grouping(&binary.left),
        Expr::Negate(inner) => grouping(inner),
        Expr::Call { args, .. } => args.first().map(grouping).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn walk<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Selector)) {
    match expr {
        Expr::Number(_) | Expr::Text(_) => {}
        Expr::Instant(selector) | Expr::Range { selector, .. } => visit(selector),
        Expr::Subquery(subquery) => walk(&subquery.expr, visit),
        Expr::Negate(inner) => walk(inner, visit),
        Expr::Binary(binary) => {
            walk(&binary.left, visit);
            walk(&binary.right, visit);
        }
        Expr::Aggregate(aggregate) => walk(&aggregate.expr, visit),
        Expr::Call { args, .. } => args.iter().for_each(|arg| walk(arg, visit)),
    }
}

/// The dimension sets of a metric that a selector takes.
fn fitting(selector: &Selector, statistic: &Statistic) -> Vec<&'static Vec<String>> {
    let sets = statistic.metric.dimensions.iter();
    sets.filter(|set| {
        selector.matchers.iter().all(|matcher| {
            let has = set.contains(&matcher.label);
            match &matcher.kind {
                MatcherKind::Equal(value) if value.is_empty() => !has,
                _ => has || PLACE.contains(&matcher.label.as_str()),
            }
        })
    })
    .collect()
}

/// The condition of an alarm; `None` where CloudWatch's math cannot say it.
pub fn condition(expr: &Expr, about: About<'_>) -> Option<Condition> {
    let mut writer = Writer {
        about,
        sources: Vec::new(),
        notes: Vec::new(),
        points: (1, 1),
        period: None,
    };
    let condition = writer.top(expr)?;
    let same_period = condition
        .sources
        .windows(2)
        .all(|pair| pair[0].period == pair[1].period);
    (same_period && condition.sources.len() <= MOST_METRICS).then_some(condition)
}

struct Writer<'a> {
    about: About<'a>,
    sources: Vec<Source>,
    notes: Vec<String>,
    points: (i64, i64),
    /// Of everything behind an `and`: one alarm has one period.
    period: Option<i64>,
}

impl Writer<'_> {
    fn top(&mut self, expr: &Expr) -> Option<Condition> {
        let Expr::Binary(binary) = expr else { return None };
        if binary.op == Operator::And {
            return self.both(binary);
        }
        let operator = match binary.op {
            Operator::Greater => "GreaterThanThreshold",
            Operator::GreaterOrEqual => "GreaterThanOrEqualToThreshold",
            Operator::Less => "LessThanThreshold",
            Operator::LessOrEqual => "LessThanOrEqualToThreshold",
            _ => return None,
        };
        let Expr::Number(threshold) = binary.right else {
            return None;
        };
        let formula = self
            .any_of_window(&binary.left, operator)
            .or_else(|| self.term(&binary.left))?;
        Some(Condition {
            sources: std::mem::take(&mut self.sources),
            formula,
            operator,
            threshold,
            points: self.points,
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// `a > x and b >= y`: a counts only while b is enough.
    fn both(&mut self, binary: &Binary) -> Option<Condition> {
        let mut condition = self.top(&binary.left)?;
        let period = condition.sources.first()?.period;
        let Expr::Binary(other) = &binary.right else {
            return None;
        };
        let Expr::Number(limit) = other.right else { return None };
        let sign = match other.op {
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            _ => return None,
        };
        self.sources = std::mem::take(&mut condition.sources);
        self.period = Some(period);
        let before = self.sources.len();
        let formula = self.term(&other.left)?;
        let window = window_of(&other.left)?;
        let is_sum = self.sources[before..].iter().all(|source| source.statistic == "Sum");
        if window != period && !is_sum {
            return None;
        }
        let scaled = limit * period as f64 / window as f64;
        if window != period {
            condition.notes.push(format!(
                "at least {scaled} in each {period} s stands for {limit} in {window} s: an alarm has one period"
            ));
        }
        condition.sources = std::mem::take(&mut self.sources);
        condition.formula = format!("IF({formula} {sign} {scaled}, {}, 0)", condition.formula);
        Some(condition)
    }

    /// `max(max_over_time(x[5m])) > y` is one of five points.
    fn any_of_window(&mut self, expr: &Expr, operator: &str) -> Option<String> {
        let Expr::Aggregate(aggregate) = expr else { return None };
        let Expr::Call { function, args } = &aggregate.expr else {
            return None;
        };
        let (Function::MaxOverTime, Some(Expr::Range { selector, window })) = (function, args.first()) else {
            return None;
        };
        if aggregate.op != Aggregation::Maximum || !operator.starts_with("Greater") {
            return None;
        }
        let period = metric::statistic(selector.name.as_deref()?)?.period();
        self.points = (1, window / 1_000 / period);
        self.series(selector, period, Aggregation::Maximum)
    }

    fn term(&mut self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Number(number) => Some(number.to_string()),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Call { function, args } => self.call(*function, args, Aggregation::Sum),
            _ => None,
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Option<String> {
        if !matches!(
            aggregate.op,
            Aggregation::Sum | Aggregation::Maximum | Aggregation::Minimum
        ) {
            return None;
        }
        match &aggregate.expr {
            Expr::Call { function, args } => self.call(*function, args, aggregate.op),
            // Two metrics told apart by a label that `label_replace` gave them: nothing is counted twice.
            Expr::Binary(binary) if binary.op == Operator::Or && aggregate.op == Aggregation::Sum => {
                let left = self.labelled(&binary.left)?;
                let right = self.labelled(&binary.right)?;
                Some(format!("({left} + {right})"))
            }
            other => self.term(other),
        }
    }

    fn labelled(&mut self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Call { function, args } if *function == Function::LabelReplace => self.term(args.first()?),
            _ => None,
        }
    }

    fn binary(&mut self, binary: &Binary) -> Option<String> {
        let sign = match binary.op {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            // `x > 0` as a divisor keeps what can be divided by.
            Operator::Greater if matches!(binary.right, Expr::Number(0.0)) => return self.term(&binary.left),
            Operator::Or => {
                self.notes
                    .push("only the first of two ways to know the capacity: the provisioned one".to_owned());
                return self.term(&binary.left);
            }
            _ => return None,
        };
        let left = self.term(&binary.left)?;
        let right = self.term(&binary.right)?;
        Some(format!("({left} {sign} {right})"))
    }

    fn call(&mut self, function: Function, args: &[Expr], by: Aggregation) -> Option<String> {
        let Some(Expr::Range { selector, window }) = args.first() else {
            return None;
        };
        let statistic = metric::statistic(selector.name.as_deref()?)?;
        let window = window / 1_000;
        let period = match (function, statistic.name.as_str()) {
            (Function::SumOverTime, "Sum" | "SampleCount") | (Function::AvgOverTime, "Average") => window,
            (Function::LastOverTime, _) if window >= statistic.period() => statistic.period(),
            _ => return None,
        };
        self.series(selector, self.period.unwrap_or(period), by)
    }

    /// The series of a selector: one, or one for each operation.
    fn series(&mut self, selector: &Selector, period: i64, by: Aggregation) -> Option<String> {
        if selector.shift.offset != 0 || selector.shift.at.is_some() {
            return None;
        }
        let statistic = metric::statistic(selector.name.as_deref()?)?;
        let about = self.about;
        let told = |name: &String| about.subject.contains(name);
        let set = fitting(selector, &statistic).into_iter().find(|set| {
            let own: Vec<&String> = set.iter().filter(|name| told(name)).collect();
            own.len() == about.subject.len() && set.iter().all(|name| told(name) || name == OPERATION)
        })?;
        let mut dimensions: Vec<(String, Value)> = Vec::new();
        for name in set.iter().filter(|name| name.as_str() != OPERATION || told(name)) {
            let fixed = about.operation.filter(|_| name == OPERATION);
            let value = fixed.map_or(Value::Parameter, |operation| Value::Fixed(operation.to_owned()));
            dimensions.push((name.clone(), value));
        }
        let source = Source {
            namespace: statistic.metric.namespace.clone(),
            metric: statistic.metric.metric.clone(),
            statistic: statistic.name.clone(),
            dimensions,
            period,
            is_sparse: statistic.is_sparse(),
        };
        let over_operations =
            set.iter().any(|name| name == OPERATION) && !about.subject.iter().any(|name| name == OPERATION);
        if !over_operations {
            return Some(self.add(source));
        }
        if about.operations.len() > MOST_METRICS {
            return self.throttle_events(&source);
        }
        let mut terms = Vec::new();
        for operation in about.operations {
            let mut of_operation = source.clone();
            of_operation
                .dimensions
                .push((OPERATION.to_owned(), Value::Fixed(operation.clone())));
            terms.push(self.add(of_operation));
        }
        match by {
            Aggregation::Sum => Some(format!("({})", terms.join(" + "))),
            Aggregation::Maximum => Some(format!("MAX([{}])", terms.join(", "))),
            _ => None,
        }
    }

    /// In place of more operations than an alarm can hold: events of the table, one for each item.
    fn throttle_events(&mut self, source: &Source) -> Option<String> {
        if source.metric != "ThrottledRequests" {
            return None;
        }
        self.notes.push(format!(
            "throttle events stand for throttled requests: an alarm holds {MOST_METRICS} metrics, and there are more operations"
        ));
        let terms = ["ReadThrottleEvents", "WriteThrottleEvents"].map(|metric| {
            let mut events = source.clone();
            metric.clone_into(&mut events.metric);
            self.add(events)
        });
        Some(format!("({})", terms.join(" + ")))
    }

    /// The id of a source in the formula; a sparse one is 0 where it has no point.
    fn add(&mut self, source: Source) -> String {
        let position = self.sources.iter().position(|have| *have == source).unwrap_or_else(|| {
            self.sources.push(source.clone());
            self.sources.len() - 1
        });
        let id = format!("m{}", position + 1);
        if source.is_sparse { format!("FILL({id}, 0)") } else { id }
    }
}

/// The window of the first range, in seconds.
fn window_of(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Range { window, .. } => Some(window / 1_000),
        Expr::Aggregate(aggregate) => window_of(&aggregate.expr),
        Expr::Call { args, .. } => window_of(args.first()?),
        Expr::Binary(binary) => window_of(&binary.left),
        _ => None,
    }
}
