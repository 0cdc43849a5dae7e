//! An expression at one time over the series store.
//!
//! Windows are left-open, as in Prometheus 3. A period without a point is filled as the rule or the metric says. Work
//! is bounded: every point looked at counts, so that what a rule may cost does not depend on the machine.

mod aggregate;
mod binary;
mod classic;
mod condition;
mod functions;
mod selectors;
mod windows;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

pub use condition::Outcome;

use super::Expression;
use super::ast::Expr;
use crate::alert::store::{Fill, Histogram, LabelSet, NAME, SelectionId, Store, Sym};

/// What an evaluation may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Elements of one vector.
    pub elements: usize,
    /// Points that are looked at: 100 million are about a second.
    pub work: u64,
    /// Steps of one subquery.
    pub steps: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            elements: 50_000,
            work: 100_000_000,
            steps: 11_000,
        }
    }
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("the result has more than {0} elements")]
    Elements(usize),
    #[error("the evaluation looks at more points than it may (about a second's worth)")]
    Work,
    #[error("a subquery has more than {0} steps")]
    Steps(i64),
    #[error("{0}")]
    Matching(String),
    #[error("{0}")]
    Argument(String),
}

/// One element of a vector.
#[derive(Clone, Debug)]
pub struct Element {
    pub labels: LabelSet,
    pub value: f64,
    /// In place of the value.
    pub histogram: Option<Arc<Histogram>>,
    /// When the point behind it was.
    pub time: i64,
}

/// What a part of an expression gives.
#[derive(Clone, Debug)]
pub enum Value {
    Scalar(f64),
    Vector(Vec<Element>),
}

/// Numbers of texts that only this evaluation knows lie above this.
const EXTRA: Sym = 1 << 31;

#[derive(Default)]
struct Extra {
    texts: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, Sym>,
}

/// One evaluation.
pub struct Evaluation<'a> {
    pub store: &'a Store,
    /// The selection of each selector, by its number.
    pub bindings: &'a [SelectionId],
    /// Of the group, in milliseconds: the step of subqueries without one.
    pub interval: i64,
    /// How old a point without a period may be.
    pub lookback: i64,
    /// What the rule says of missing points.
    pub fill: Option<Fill>,
    pub limits: Limits,
    work: Cell<u64>,
    extra: RefCell<Extra>,
}

impl<'a> Evaluation<'a> {
    pub fn new(store: &'a Store, bindings: &'a [SelectionId]) -> Self {
        Self {
            store,
            bindings,
            interval: 60_000,
            lookback: 300_000,
            fill: None,
            limits: Limits::default(),
            work: Cell::new(0),
            extra: RefCell::default(),
        }
    }

    /// The vector of an expression at a time (milliseconds). A scalar is one element without labels.
    ///
    /// # Errors
    /// Where it is too much, or series match in more than one way.
    pub fn vector(&self, expression: &Expression, time: i64) -> Result<Vec<Element>, EvalError> {
        let elements = match self.expr(&expression.root, time)? {
            Value::Vector(elements) => elements,
            Value::Scalar(value) => vec![self.element(value, time)],
        };
        self.check_unique(&elements)?;
        Ok(elements)
    }

    /// The labels of an element as texts, sorted by name.
    pub fn texts(&self, labels: &LabelSet) -> Vec<(String, String)> {
        let mut texts: Vec<(String, String)> = labels
            .iter()
            .map(|(name, value)| (self.text(*name).to_string(), self.text(*value).to_string()))
            .collect();
        texts.sort();
        texts
    }

    fn element(&self, value: f64, time: i64) -> Element {
        Element {
            labels: LabelSet::new(),
            value,
            histogram: None,
            time,
        }
    }

    fn check_unique(&self, elements: &[Element]) -> Result<(), EvalError> {
        let mut seen = std::collections::HashSet::with_capacity(elements.len());
        if elements.iter().all(|element| seen.insert(&element.labels)) {
            return Ok(());
        }
        Err(EvalError::Matching(
            "two elements of the result have the same labels".to_owned(),
        ))
    }

    /// Counts points that were looked at.
    fn work(&self, points: usize) -> Result<(), EvalError> {
        let done = self.work.get() + points as u64;
        self.work.set(done);
        if done > self.limits.work {
            Err(EvalError::Work)
        } else {
            Ok(())
        }
    }

    fn bounded(&self, elements: Vec<Element>) -> Result<Vec<Element>, EvalError> {
        self.work(elements.len())?;
        if elements.len() > self.limits.elements {
            return Err(EvalError::Elements(self.limits.elements));
        }
        Ok(elements)
    }

    fn text(&self, id: Sym) -> Arc<str> {
        if id >= EXTRA {
            let extra = self.extra.borrow();
            return extra
                .texts
                .get((id - EXTRA) as usize)
                .cloned()
                .unwrap_or_else(|| "".into());
        }
        self.store.symbols().text(id).into()
    }

    fn intern(&self, text: &str) -> Sym {
        if let Some(id) = self.store.symbols().get(text) {
            return id;
        }
        let mut extra = self.extra.borrow_mut();
        if let Some(id) = extra.ids.get(text) {
            return *id;
        }
        let id = EXTRA + extra.texts.len() as Sym;
        let text: Arc<str> = text.into();
        extra.texts.push(Arc::clone(&text));
        extra.ids.insert(text, id);
        id
    }

    fn expr(&self, expr: &Expr, time: i64) -> Result<Value, EvalError> {
        match expr {
            Expr::Number(value) => Ok(Value::Scalar(*value)),
            Expr::Text(_) => Err(EvalError::Argument("a text is no value".to_owned())),
            Expr::Instant(selector) => self.instant(selector, time).map(Value::Vector),
            Expr::Range { .. } | Expr::Subquery(_) => {
                Err(EvalError::Argument("a range of values is no vector".to_owned()))
            }
            Expr::Negate(inner) => Ok(match self.expr(inner, time)? {
                Value::Scalar(value) => Value::Scalar(-value),
                Value::Vector(mut elements) => {
                    for element in &mut elements {
                        element.value = -element.value;
                        element.histogram = element
                            .histogram
                            .take()
                            .map(|histogram| Arc::new(histogram.scaled(-1.0)));
                        drop_name(&mut element.labels);
                    }
                    Value::Vector(elements)
                }
            }),
            Expr::Binary(binary) => self.binary(binary, time),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, time).map(Value::Vector),
            Expr::Call { function, args } => self.call(*function, args, time),
        }
    }

    fn vector_of(&self, expr: &Expr, time: i64) -> Result<Vec<Element>, EvalError> {
        match self.expr(expr, time)? {
            Value::Vector(elements) => Ok(elements),
            Value::Scalar(value) => Ok(vec![self.element(value, time)]),
        }
    }

    fn scalar_of(&self, expr: &Expr, time: i64) -> Result<f64, EvalError> {
        match self.expr(expr, time)? {
            Value::Scalar(value) => Ok(value),
            Value::Vector(elements) => match &elements[..] {
                [element] => Ok(element.value),
                _ => Ok(f64::NAN),
            },
        }
    }
}

fn drop_name(labels: &mut LabelSet) {
    labels.retain(|(name, _)| *name != NAME);
}

/// The value of a label; `None` where it is absent.
fn value_of(labels: &LabelSet, name: Sym) -> Option<Sym> {
    labels.iter().find(|(have, _)| *have == name).map(|(_, value)| *value)
}

/// Sets a label, keeping the order. The empty text (the second symbol) is absence.
fn set_label(labels: &mut LabelSet, name: Sym, value: Option<Sym>) {
    labels.retain(|(have, _)| *have != name);
    if let Some(value) = value {
        let position = labels.partition_point(|(have, _)| *have < name);
        labels.insert(position, (name, value));
    }
}
