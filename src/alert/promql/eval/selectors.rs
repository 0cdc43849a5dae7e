//! Selectors: which point of a series is meant, and what stands where there is none.

use super::{Element, EvalError, Evaluation};
use crate::alert::promql::ast::{Selector, Subquery};
use crate::alert::store::{Fill, Histogram, LabelSet, Samples, Series, is_stale};
use std::collections::HashMap;
use std::sync::Arc;

/// The points of one series in a window.
#[derive(Default)]
pub(super) struct Window {
    pub labels: LabelSet,
    pub floats: Vec<(i64, f64)>,
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

impl Evaluation<'_> {
    pub(super) fn instant(&self, selector: &Selector, now: i64) -> Result<Vec<Element>, EvalError> {
        let time = selector.shift.apply(now);
        let Some(selection) = self.bindings.get(selector.id).and_then(|id| self.store.selection(*id)) else {
            return Ok(Vec::new());
        };
        let mut elements = Vec::with_capacity(selection.members().len());
        self.work(selection.members().len())?;
        for id in selection.members() {
            let Some(series) = self.store.series(*id) else { continue };
            if let Some((at, value, histogram)) = self.point(series, time) {
                elements.push(Element {
                    labels: series.labels.iter().copied().collect(),
                    value,
                    histogram,
                    time: at,
                });
            }
        }
        self.bounded(elements)
    }

    fn fill_of(&self, series: &Series) -> Fill {
        if series.period == 0 {
            Fill::None
        } else {
            self.fill.unwrap_or(series.fill())
        }
    }

    /// The newest point that still counts at a time.
    fn point(&self, series: &Series, time: i64) -> Option<(i64, f64, Option<Arc<Histogram>>)> {
        let fill = self.fill_of(series);
        // A value for a period is no level: in the next period it is over.
        let age = match (fill, series.period) {
            (Fill::Hold(age), _) => age.max(i64::from(series.period)),
            (_, 0) => self.lookback,
            (_, period) => i64::from(period),
        };
        match &series.samples {
            Samples::Floats(list) => {
                let before = list.partition_point(|(at, _)| *at <= time);
                let found = before.checked_sub(1).and_then(|last| list.get(last));
                match found {
                    Some((at, value)) if *at > time - age => (!is_stale(*value)).then_some((*at, *value, None)),
                    _ if fill == Fill::Zero => {
                        let period = i64::from(series.period);
                        let step = time - time.rem_euclid(period);
                        (step >= series.since()).then_some((step, 0.0, None))
                    }
                    _ => None,
                }
            }
            Samples::Histograms(list) => {
                let before = list.partition_point(|(at, _)| *at <= time);
                let (at, histogram) = before.checked_sub(1).and_then(|last| list.get(last))?;
                (*at > time - age).then(|| (*at, 0.0, Some(Arc::clone(histogram))))
            }
        }
    }

    /// The points of each series in the window that ends at a time.
    pub(super) fn range(&self, selector: &Selector, window: i64, now: i64) -> Result<Vec<Window>, EvalError> {
        let end = selector.shift.apply(now);
        let begin = end.saturating_sub(window);
        let Some(selection) = self.bindings.get(selector.id).and_then(|id| self.store.selection(*id)) else {
            return Ok(Vec::new());
        };
        let mut windows = Vec::with_capacity(selection.members().len());
        for id in selection.members() {
            let Some(series) = self.store.series(*id) else { continue };
            let mut found = Window::default();
            match &series.samples {
                Samples::Floats(list) => self.floats(series, list, (begin, end), &mut found.floats),
                Samples::Histograms(list) => {
                    let points = between(list, begin, end);
                    found.histograms.extend(points.iter().cloned());
                }
            }
            self.work(1 + found.floats.len() + found.histograms.len())?;
            if found.floats.is_empty() && found.histograms.is_empty() {
                continue;
            }
            found.labels = series.labels.iter().copied().collect();
            windows.push(found);
        }
        if windows.len() > self.limits.elements {
            return Err(EvalError::Elements(self.limits.elements));
        }
        Ok(windows)
    }

    fn floats(&self, series: &Series, list: &[(i64, f64)], (begin, end): (i64, i64), found: &mut Vec<(i64, f64)>) {
        let points = between(list, begin, end);
        let period = i64::from(series.period);
        let fill = self.fill_of(series);
        if fill == Fill::None || period == 0 || (end - begin) / period.max(1) > self.limits.steps {
            found.extend(points.iter().filter(|(_, value)| !is_stale(*value)));
            return;
        }
        let mut held = match fill {
            Fill::Hold(age) => {
                let before = list.partition_point(|(at, _)| *at <= begin);
                before
                    .checked_sub(1)
                    .and_then(|last| list.get(last))
                    .copied()
                    .map(|point| (point, age))
            }
            _ => None,
        };
        // Every period of the window that ends in it, in order; points that stand between two steps too.
        let mut points = points.iter().peekable();
        let mut step = begin - begin.rem_euclid(period) + period;
        while step <= end || points.peek().is_some() {
            let next = points.peek().map_or(i64::MAX, |(at, _)| *at);
            if next <= step {
                if let Some(point) = points.next() {
                    found.push(*point);
                    if let Some((last, _)) = &mut held {
                        *last = *point;
                    } else if let Fill::Hold(age) = fill {
                        held = Some((*point, age));
                    }
                }
                if next == step {
                    step += period;
                }
                continue;
            }
            if step <= end {
                // A point inside the period says that the period has one.
                let has_own = found
                    .last()
                    .is_some_and(|(at, _)| *at > step - period && *at % period != 0);
                match (fill, held) {
                    _ if has_own => {}
                    (Fill::Zero, _) if step >= series.since() => found.push((step, 0.0)),
                    (Fill::Hold(_), Some(((at, value), age))) if step - at <= age => found.push((step, value)),
                    _ => {}
                }
            }
            step += period;
        }
    }

    /// The values of an expression at the steps of a subquery.
    pub(super) fn steps(&self, subquery: &Subquery, now: i64) -> Result<Vec<Window>, EvalError> {
        let end = subquery.shift.apply(now);
        let begin = end.saturating_sub(subquery.window);
        let step = subquery.step.unwrap_or(self.interval).max(1);
        if subquery.window / step > self.limits.steps {
            return Err(EvalError::Steps(self.limits.steps));
        }
        let mut windows: Vec<Window> = Vec::new();
        let mut by_labels: HashMap<LabelSet, usize> = HashMap::new();
        let mut time = begin - begin.rem_euclid(step) + step;
        while time <= end {
            for element in self.vector_of(&subquery.expr, time)? {
                let position = *by_labels.entry(element.labels.clone()).or_insert_with(|| {
                    windows.push(Window {
                        labels: element.labels.clone(),
                        ..Window::default()
                    });
                    windows.len() - 1
                });
                self.work(1)?;
                let window = &mut windows[position];
                match element.histogram {
                    Some(histogram) => window.histograms.push((time, histogram)),
                    None => window.floats.push((time, element.value)),
                }
            }
            time += step;
        }
        Ok(windows)
    }
}

/// Points after `begin`, up to `end`.
fn between<T>(list: &[(i64, T)], begin: i64, end: i64) -> &[(i64, T)] {
    let from = list.partition_point(|(at, _)| *at <= begin);
    let to = list.partition_point(|(at, _)| *at <= end);
    list.get(from..to).unwrap_or_default()
}
