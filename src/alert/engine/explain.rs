//! Why an alert fires or does not: every part of its expression with what it gives, the points behind it, how far its
//! sources are known, and where each of its label sets stands.

use serde_json::{Value as Json, json};

use super::machine::Phase;
use super::watched::{Labels, Watched};
use super::{Engine, Instance, Source, SourceKind};
use crate::alert::promql::ast::Expr;
use crate::alert::promql::{Evaluation, Expression, Selector};
use crate::alert::rules::{Missing, PromDuration};
use crate::alert::store::{Fill, Samples, Series};

/// So many elements, series and points of each are shown; how many there are is said.
const MOST: usize = 20;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub alert: String,
    /// Only what does not contradict these.
    pub labels: Labels,
    /// Milliseconds; `None`: the last tick.
    pub at: Option<i64>,
}

impl Engine {
    /// The names of all rules.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .watched
            .iter()
            .map(|watched| watched.rule().name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Everything that is known of the rules of this name; empty where there is none.
    pub fn explain(&self, question: &Question) -> Vec<Json> {
        let of_name = |watched: &&Watched| watched.rule().name == question.alert;
        let rules = self.watched.iter().filter(of_name);
        rules.map(|watched| self.explain_rule(watched, question)).collect()
    }

    fn explain_rule(&self, watched: &Watched, question: &Question) -> Json {
        let rule = watched.rule();
        let at = question.at.or_else(|| watched.last_tick()).or(watched.next_tick());
        let expressions = [
            ("expr", Some(&rule.expr)),
            ("recover", rule.extra.recover.as_ref().map(|one| &one.expr)),
        ];
        let mut parts = Vec::new();
        let mut points = Vec::new();
        if let Some(at) = at {
            for (of, expression) in expressions {
                let Some(expression) = expression else { continue };
                let evaluation = watched.evaluation_of(&self.store, of == "recover");
                let mut asked = Asked {
                    of,
                    at,
                    question,
                    evaluation,
                    parts: &mut parts,
                };
                asked.part(&expression.root, 0);
                expression.selectors(&mut |selector| {
                    points.push(self.points(watched, of == "recover", selector, (at, question)));
                });
            }
        }
        let mut sources: Vec<u32> = Vec::new();
        for selection in watched.selections().filter_map(|id| self.store.selection(id)) {
            sources.extend(selection.sources());
        }
        sources.sort_unstable();
        sources.dedup();
        let sources = sources
            .iter()
            .filter_map(|number| self.source_of(*number))
            .take(MOST)
            .map(about_source);
        json!({
            "alert": rule.name,
            "group": rule.group,
            "severity": rule.severity(),
            "place": rule.place,
            "expr": rule.expr.text.trim(),
            "at": at.map(time),
            "interval": PromDuration(watched.interval()).to_string(),
            "for": PromDuration(rule.hold).to_string(),
            "keep_firing_for": PromDuration(rule.keep_firing_for).to_string(),
            "datapoints": rule.extra.datapoints.map(|points|
                format!("{} of {}, each {}", points.m, points.n, PromDuration(points.period))),
            "missing": rule.extra.missing.map_or_else(|| "as each metric says".to_owned(), missing),
            "watermark": watched.watermark().map(time),
            "stale": watched.is_stale(),
            "error": watched.error(),
            "sources": sources.collect::<Vec<Json>>(),
            "parts": parts,
            "points": points,
            "alerts": watched.verdicts(question),
        })
    }

    /// The points that a selector reads.
    fn points(&self, watched: &Watched, recover: bool, selector: &Selector, (at, question): (i64, &Question)) -> Json {
        let selection = watched.selection_of(recover, selector.id);
        let members = selection
            .and_then(|id| self.store.selection(id))
            .map(|one| one.members());
        let end = selector.shift.apply(at);
        let begin = end - watched.rule().reach(watched.lookback());
        let mut shown = Vec::new();
        let mut all = 0;
        for series in members
            .unwrap_or_default()
            .iter()
            .filter_map(|id| self.store.series(*id))
        {
            let labels = self.store.texts(&series.labels);
            if !agrees(&labels, &question.labels) {
                continue;
            }
            all += 1;
            if shown.len() < MOST {
                shown.push(about_series(series, &labels, (begin, end)));
            }
        }
        json!({"selector": Expr::Instant(selector.clone()).to_string(), "series": shown, "of": all})
    }
}

/// One walk over an expression.
struct Asked<'a, 'b> {
    of: &'static str,
    at: i64,
    question: &'b Question,
    evaluation: Evaluation<'a>,
    parts: &'b mut Vec<Json>,
}

impl Asked<'_, '_> {
    fn part(&mut self, expr: &Expr, depth: usize) {
        let below: Vec<&Expr> = match expr {
            Expr::Number(_) | Expr::Text(_) => return,
            Expr::Instant(_) | Expr::Range { .. } => Vec::new(),
            Expr::Subquery(subquery) => vec![&subquery.expr],
            Expr::Negate(inner) => vec![inner],
            Expr::Binary(binary) => vec![&binary.left, &binary.right],
            Expr::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
            Expr::Call { args, .. } => args.iter().collect(),
        };
        let is_range = matches!(expr, Expr::Range { .. } | Expr::Subquery(_));
        if !is_range {
            let part = self.value(expr, depth);
            self.parts.push(part);
        }
        for expr in below {
            self.part(expr, depth + usize::from(!is_range));
        }
    }

    fn value(&self, expr: &Expr, depth: usize) -> Json {
        let expression = Expression {
            text: expr.to_string(),
            root: expr.clone(),
        };
        let mut values = Vec::new();
        let (mut all, mut error) = (0, None);
        match self.evaluation.vector(&expression, self.at) {
            Ok(elements) => {
                for element in elements {
                    let labels = self.evaluation.texts(&element.labels);
                    if !agrees(&labels, &self.question.labels) {
                        continue;
                    }
                    all += 1;
                    if values.len() < MOST {
                        values.push(json!({"labels": object(&labels), "value": number(element.value)}));
                    }
                }
            }
            Err(found) => error = Some(found.to_string()),
        }
        json!({"in": self.of, "depth": depth, "expr": expression.text, "values": values, "of": all, "error": error})
    }
}

impl Watched {
    fn verdicts(&self, question: &Question) -> Vec<Json> {
        let mut found: Vec<(&Labels, Json)> = Vec::new();
        for (key, labels) in &self.labels {
            if !agrees(labels, &question.labels) {
                continue;
            }
            let instance = self.current.get(key);
            let band = self.last_tick().and_then(|at| self.usuals.as_ref()?.band(*key, at));
            let usual = band.map(|band| json!({"expected": band.expected, "half": band.half}));
            let why = match (&self.usuals, band) {
                (Some(_), None) => {
                    "it is still learned what is usual (two weeks, or the past that is read from CloudWatch)".to_owned()
                }
                _ => self.why(instance),
            };
            let about = json!({
                "labels": object(labels),
                "state": state(instance),
                "value": instance.map(|instance| number(instance.value)),
                "usual": usual,
                "why": why,
            });
            found.push((labels, about));
        }
        found.sort_by(|a, b| a.0.cmp(b.0));
        found.into_iter().take(MOST).map(|(_, about)| about).collect()
    }

    fn why(&self, instance: Option<&Instance>) -> String {
        if self.is_stale() {
            return "its data does not come: nothing is decided, nothing resolves".to_owned();
        }
        if let Some(error) = self.error() {
            return format!("the last evaluation failed: {error}; the state stays as it is");
        }
        let rule = self.rule();
        let Some(instance) = instance else {
            return "the condition does not hold".to_owned();
        };
        match instance.phase {
            Phase::Inactive => "the condition does not hold, or not in as many results as are asked for".to_owned(),
            Phase::Pending => format!(
                "the condition holds since {}; it fires if it does until {}",
                time(instance.active_at),
                time(instance.active_at + rule.hold)
            ),
            Phase::Firing => format!("it fires since {}: the condition holds", time(instance.fired_at)),
            Phase::Recovering => format!(
                "the condition does not hold since {}; it is over at {} if that stays so",
                time(instance.since),
                time(instance.since + rule.keep_firing_for)
            ),
            Phase::NoData => format!("there is no data since {}", time(instance.seen_at)),
        }
    }
}

fn state(instance: Option<&Instance>) -> &'static str {
    match instance.map(|instance| instance.phase) {
        None | Some(Phase::Inactive) => "inactive",
        Some(Phase::Pending) => "pending",
        Some(Phase::Firing) => "firing",
        Some(Phase::Recovering) => "recovering",
        Some(Phase::NoData) => "nodata",
    }
}

fn about_source(source: &Source) -> Json {
    json!({
        "source": source.key,
        "kind": match source.kind {
            SourceKind::Polled => "polled: known up to where the last good poll asked",
            SourceKind::Pushed { .. } => "pushed: known up to its newest point, less how late its points are",
        },
        "known_until": source.covered.map(time),
        "delay": PromDuration(source.delay()).to_string(),
        "last_arrival": time(source.heard_at()),
        "blind": source.blind,
    })
}

fn about_series(series: &Series, labels: &Labels, (begin, end): (i64, i64)) -> Json {
    let mut points = Vec::new();
    match &series.samples {
        Samples::Floats(list) => {
            let inside = list.iter().filter(|(at, _)| *at > begin && *at <= end);
            points.extend(inside.map(|(at, value)| json!([time(*at), number(*value)])));
        }
        Samples::Histograms(list) => {
            let inside = list.iter().filter(|(at, _)| *at > begin && *at <= end);
            points.extend(inside.map(|(at, histogram)| json!([time(*at), format!("{} values", histogram.count)])));
        }
    }
    let of = points.len();
    let newest = points.split_off(of.saturating_sub(MOST));
    let missing = match (series.period, series.fill()) {
        (0, _) | (_, Fill::None) => "nothing".to_owned(),
        (_, Fill::Zero) => "0".to_owned(),
        (_, Fill::Hold(age)) => format!("the last value, for {}", PromDuration(age)),
    };
    json!({
        "labels": object(labels),
        "period": PromDuration(i64::from(series.period)).to_string(),
        "a_missing_point_is": missing,
        "points": newest,
        "of": of,
    })
}

fn missing(policy: Missing) -> String {
    match policy {
        Missing::Zero => "zero".to_owned(),
        Missing::Hold(age) => format!("hold: {}", PromDuration(age)),
        Missing::Ignore => "ignore".to_owned(),
        Missing::Ok => "ok".to_owned(),
        Missing::Breach => "breach".to_owned(),
        Missing::NoData(after) => format!("nodata: {}", PromDuration(after)),
    }
}

/// Labels that both have are equal.
fn agrees(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(name, value)| {
        let own = labels.iter().find(|(have, _)| have == name);
        own.is_none_or(|(_, have)| have == value)
    })
}

fn object(labels: &Labels) -> Json {
    let pairs = labels
        .iter()
        .map(|(name, value)| (name.clone(), Json::from(value.as_str())));
    Json::Object(pairs.collect())
}

/// JSON knows neither infinity nor NaN.
fn number(value: f64) -> Json {
    if value.is_finite() {
        Json::from(value)
    } else {
        Json::from(value.to_string())
    }
}

fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}
