//! Operators between scalars and vectors.

use std::collections::HashMap;
use std::sync::Arc;

use super::aggregate::Keys;
use super::{Element, EvalError, Evaluation, Value, drop_name, set_label, value_of};
use crate::alert::promql::ast::{Binary, Cardinality, Grouping, Operator};
use crate::alert::store::LabelSet;

/// What an operator makes of two numbers.
pub(super) enum Answer {
    Number(f64),
    /// A comparison that holds, or not.
    Holds(bool),
}

pub(super) fn answer(op: Operator, left: f64, right: f64) -> Answer {
    match op {
        Operator::Add => Answer::Number(left + right),
        Operator::Subtract => Answer::Number(left - right),
        Operator::Multiply => Answer::Number(left * right),
        Operator::Divide => Answer::Number(left / right),
        // As C's fmod: the sign of the left side.
        Operator::Modulo => Answer::Number(left % right),
        Operator::Power => Answer::Number(left.powf(right)),
        Operator::Equal => Answer::Holds(left == right),
        Operator::NotEqual => Answer::Holds(left != right),
        Operator::Less => Answer::Holds(left < right),
        Operator::LessOrEqual => Answer::Holds(left <= right),
        Operator::Greater => Answer::Holds(left > right),
        Operator::GreaterOrEqual => Answer::Holds(left >= right),
        Operator::And | Operator::Or | Operator::Unless => Answer::Holds(false),
    }
}

impl Evaluation<'_> {
    pub(super) fn binary(&self, binary: &Binary, time: i64) -> Result<Value, EvalError> {
        let (left, right) = (self.expr(&binary.left, time)?, self.expr(&binary.right, time)?);
        match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => Ok(Value::Scalar(match answer(binary.op, left, right) {
                Answer::Number(value) => value,
                Answer::Holds(holds) => f64::from(u8::from(holds)),
            })),
            (Value::Vector(elements), Value::Scalar(scalar)) => {
                let made = elements
                    .into_iter()
                    .filter_map(|element| with_scalar(binary, element, scalar, false));
                Ok(Value::Vector(made.collect()))
            }
            (Value::Scalar(scalar), Value::Vector(elements)) => {
                let made = elements
                    .into_iter()
                    .filter_map(|element| with_scalar(binary, element, scalar, true));
                Ok(Value::Vector(made.collect()))
            }
            (Value::Vector(left), Value::Vector(right)) => {
                let elements = if binary.op.is_set() {
                    self.sets(binary, left, right)
                } else {
                    self.matched(binary, left, right)?
                };
                self.bounded(elements).map(Value::Vector)
            }
        }
    }

    fn sets(&self, binary: &Binary, left: Vec<Element>, right: Vec<Element>) -> Vec<Element> {
        let keys = self.keys(&binary.matching);
        let keys_of = |elements: &[Element]| -> std::collections::HashSet<LabelSet> {
            elements.iter().map(|element| keys.of(&element.labels)).collect()
        };
        match binary.op {
            Operator::Or => {
                let there = keys_of(&left);
                let added = right
                    .into_iter()
                    .filter(|element| !there.contains(&keys.of(&element.labels)));
                let mut all = left;
                all.extend(added);
                all
            }
            op => {
                let other = keys_of(&right);
                let wanted = op == Operator::And;
                let stays = |element: &Element| other.contains(&keys.of(&element.labels)) == wanted;
                left.into_iter().filter(stays).collect()
            }
        }
    }

    fn matched(&self, binary: &Binary, left: Vec<Element>, right: Vec<Element>) -> Result<Vec<Element>, EvalError> {
        if left.is_empty() || right.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.keys(&binary.matching);
        let swapped = matches!(binary.cardinality, Cardinality::OneToMany(_));
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let by_key = self.unique(&keys, &one, if swapped { "left" } else { "right" })?;
        let mut taken: HashMap<LabelSet, ()> = HashMap::new();
        let mut results = Vec::new();
        for element in many {
            let key = keys.of(&element.labels);
            let Some(other) = by_key.get(&key).and_then(|position| one.get(*position)) else {
                continue;
            };
            let (a, b) = if swapped { (other, &element) } else { (&element, other) };
            let Some((value, histogram)) = made(binary, a, b) else {
                continue;
            };
            let labels = self.result_labels(binary, &keys, &element.labels, &other.labels);
            if taken.insert(labels.clone(), ()).is_some() {
                let message = if binary.cardinality == Cardinality::OneToOne {
                    "several elements of the left side match one of the right side; use group_left, on(..) or \
                     ignoring(..)"
                } else {
                    "several matches give the same labels; the labels of group_left or group_right must tell them apart"
                };
                return Err(EvalError::Matching(message.to_owned()));
            }
            results.push(Element {
                labels,
                value,
                histogram,
                time: element.time,
            });
        }
        Ok(results)
    }

    fn unique(&self, keys: &Keys, one: &[Element], side: &str) -> Result<HashMap<LabelSet, usize>, EvalError> {
        let mut by_key = HashMap::with_capacity(one.len());
        for (position, element) in one.iter().enumerate() {
            let key = keys.of(&element.labels);
            if by_key.insert(key, position).is_some() {
                return Err(EvalError::Matching(format!(
                    "several elements of the {side} side have the same matching labels"
                )));
            }
        }
        Ok(by_key)
    }

    fn result_labels(&self, binary: &Binary, keys: &Keys, many: &LabelSet, one: &LabelSet) -> LabelSet {
        let mut labels = many.clone();
        if !binary.op.is_comparison() || binary.is_bool {
            drop_name(&mut labels);
        }
        match &binary.cardinality {
            Cardinality::OneToOne => match &binary.matching {
                Grouping::By(_) => keys.of(&labels),
                Grouping::Without(names) => {
                    let names: Vec<_> = names.iter().map(|name| self.intern(name)).collect();
                    labels.retain(|(name, _)| !names.contains(name));
                    labels
                }
            },
            Cardinality::ManyToOne(included) | Cardinality::OneToMany(included) => {
                for name in included {
                    let name = self.intern(name);
                    set_label(&mut labels, name, value_of(one, name));
                }
                labels
            }
        }
    }
}

/// The value of a match; `None` where a comparison does not hold.
fn made(
    binary: &Binary,
    left: &Element,
    right: &Element,
) -> Option<(f64, Option<Arc<crate::alert::store::Histogram>>)> {
    match (&left.histogram, &right.histogram) {
        (None, None) => {}
        (Some(a), Some(b)) => {
            let combined = match binary.op {
                Operator::Add => a.combine(b, |a, b| a + b),
                Operator::Subtract => a.combine(b, |a, b| a - b),
                _ => return None,
            };
            return Some((0.0, Some(Arc::new(combined))));
        }
        (Some(histogram), None) => return scaled(binary.op, histogram, right.value),
        (None, Some(histogram)) if binary.op == Operator::Multiply => {
            return scaled(binary.op, histogram, left.value);
        }
        _ => return None,
    }
    match answer(binary.op, left.value, right.value) {
        Answer::Number(value) => Some((value, None)),
        Answer::Holds(holds) if binary.is_bool => Some((f64::from(u8::from(holds)), None)),
        Answer::Holds(true) => Some((left.value, None)),
        Answer::Holds(false) => None,
    }
}

fn scaled(
    op: Operator,
    histogram: &crate::alert::store::Histogram,
    by: f64,
) -> Option<(f64, Option<Arc<crate::alert::store::Histogram>>)> {
    let factor = match op {
        Operator::Multiply => by,
        Operator::Divide => 1.0 / by,
        _ => return None,
    };
    Some((0.0, Some(Arc::new(histogram.scaled(factor)))))
}

fn with_scalar(binary: &Binary, mut element: Element, scalar: f64, scalar_is_left: bool) -> Option<Element> {
    if let Some(histogram) = &element.histogram {
        if scalar_is_left && binary.op != Operator::Multiply {
            return None;
        }
        element.histogram = scaled(binary.op, histogram, scalar)?.1;
        drop_name(&mut element.labels);
        return Some(element);
    }
    let (left, right) = if scalar_is_left {
        (scalar, element.value)
    } else {
        (element.value, scalar)
    };
    match answer(binary.op, left, right) {
        Answer::Number(value) => element.value = value,
        Answer::Holds(holds) if binary.is_bool => element.value = f64::from(u8::from(holds)),
        Answer::Holds(true) => return Some(element),
        Answer::Holds(false) => return None,
    }
    drop_name(&mut element.labels);
    Some(element)
}
