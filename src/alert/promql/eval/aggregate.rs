//! Aggregations over label sets.

use std::collections::HashMap;
use std::sync::Arc;

use super::functions::number_text;
use super::windows::{larger, quantile, smaller};
use super::{Element, EvalError, Evaluation, set_label};
use crate::alert::promql::ast::{Aggregate, Aggregation, Expr, Grouping};
use crate::alert::store::{Histogram, LabelSet, NAME, Sym};

/// A grouping with its labels as numbers.
pub(super) struct Keys {
    is_by: bool,
    names: Vec<Sym>,
}

impl Keys {
    /// The labels that two elements are compared by.
    pub fn of(&self, labels: &LabelSet) -> LabelSet {
        let wanted = |name: &Sym| {
            if self.is_by {
                self.names.contains(name)
            } else {
                *name != NAME && !self.names.contains(name)
            }
        };
        labels.iter().filter(|(name, _)| wanted(name)).copied().collect()
    }
}

struct Group {
    labels: LabelSet,
    elements: Vec<Element>,
}

impl Evaluation<'_> {
    pub(super) fn keys(&self, grouping: &Grouping) -> Keys {
        let (is_by, names) = match grouping {
            Grouping::By(names) => (true, names),
            Grouping::Without(names) => (false, names),
        };
        Keys {
            is_by,
            names: names.iter().map(|name| self.intern(name)).collect(),
        }
    }

    pub(super) fn aggregate(&self, aggregate: &Aggregate, time: i64) -> Result<Vec<Element>, EvalError> {
        let elements = self.vector_of(&aggregate.expr, time)?;
        let keys = self.keys(&aggregate.grouping);
        let mut groups: Vec<Group> = Vec::new();
        let mut by_labels: HashMap<LabelSet, usize, foldhash::fast::FixedState> = HashMap::default();
        for element in elements {
            let labels = keys.of(&element.labels);
            match by_labels.get(&labels) {
                Some(position) => groups[*position].elements.push(element),
                None => {
                    by_labels.insert(labels.clone(), groups.len());
                    groups.push(Group {
                        labels,
                        elements: vec![element],
                    });
                }
            }
        }
        if aggregate.op == Aggregation::CountValues {
            return self.count_values(aggregate, groups, time);
        }
        let param = match &aggregate.param {
            Some(param) => self.scalar_of(param, time)?,
            None => 0.0,
        };
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            match aggregate.op {
                Aggregation::Top | Aggregation::Bottom => {
                    results.extend(extremes(group.elements, param, aggregate.op == Aggregation::Top));
                }
                op => results.extend(one(op, param, group, time)),
            }
        }
        self.bounded(results)
    }

    fn count_values(&self, aggregate: &Aggregate, groups: Vec<Group>, time: i64) -> Result<Vec<Element>, EvalError> {
        let Some(Expr::Text(label)) = &aggregate.param else {
            return Err(EvalError::Argument("count_values needs the name of a label".to_owned()));
        };
        let label = self.intern(label);
        let mut results: Vec<Element> = Vec::new();
        for group in groups {
            let mut counts: Vec<(String, f64)> = Vec::new();
            for element in group.elements {
                let text = number_text(element.value);
                match counts.iter_mut().find(|(have, _)| *have == text) {
                    Some((_, count)) => *count += 1.0,
                    None => counts.push((text, 1.0)),
                }
                self.work(counts.len())?;
            }
            for (text, count) in counts {
                let mut labels = group.labels.clone();
                set_label(&mut labels, label, Some(self.intern(&text)));
                results.push(Element {
                    labels,
                    value: count,
                    histogram: None,
                    time,
                });
            }
        }
        self.bounded(results)
    }
}

fn one(op: Aggregation, param: f64, group: Group, time: i64) -> Option<Element> {
    let count = group.elements.len() as f64;
    let result = |value: f64, histogram: Option<Arc<Histogram>>| {
        Some(Element {
            labels: group.labels.clone(),
            value,
            histogram,
            time,
        })
    };
    match op {
        Aggregation::Count => return result(count, None),
        Aggregation::Group => return result(1.0, None),
        _ => {}
    }
    let histograms: Vec<&Arc<Histogram>> = group
        .elements
        .iter()
        .filter_map(|element| element.histogram.as_ref())
        .collect();
    if let Some((first, rest)) = histograms.split_first() {
        // Numbers and histograms do not add up, and histograms have no order.
        let all = histograms.len() == group.elements.len();
        if !all || !matches!(op, Aggregation::Sum | Aggregation::Average) {
            return None;
        }
        let mut total = Histogram::clone(first);
        for histogram in rest {
            total = total.combine(histogram, |a, b| a + b);
        }
        if op == Aggregation::Average {
            total = total.scaled(1.0 / count);
        }
        return result(0.0, Some(Arc::new(total)));
    }
    let mut values: Vec<f64> = group.elements.iter().map(|element| element.value).collect();
    let value = match op {
        Aggregation::Sum => values.iter().sum(),
        Aggregation::Average => values.iter().sum::<f64>() / count,
        Aggregation::Minimum => values.iter().copied().reduce(smaller)?,
        Aggregation::Maximum => values.iter().copied().reduce(larger)?,
        Aggregation::Variance | Aggregation::StandardDeviation => {
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            if op == Aggregation::Variance {
                variance
            } else {
                variance.sqrt()
            }
        }
        Aggregation::Quantile => quantile(param, &mut values),
        _ => return None,
    };
    result(value, None)
}

/// The largest or smallest; what is no number comes last.
fn extremes(mut elements: Vec<Element>, count: f64, largest: bool) -> Vec<Element> {
    elements.retain(|element| element.histogram.is_none());
    if count.is_nan() || count < 1.0 {
        return Vec::new();
    }
    elements.sort_by(|a, b| {
        let (a, b) = (a.value, b.value);
        let by_value = if largest { b.total_cmp(&a) } else { a.total_cmp(&b) };
        a.is_nan().cmp(&b.is_nan()).then(by_value)
    });
    elements.truncate(count.min(1e9) as usize);
    elements
}
