//! `histogram_quantile` over the `_bucket` series of classic histograms.

use std::collections::HashMap;

use super::{Element, EvalError, Evaluation, drop_name};
use crate::alert::store::LabelSet;

impl Evaluation<'_> {
    pub(super) fn histogram_quantile(
        &self,
        q: f64,
        elements: Vec<Element>,
        time: i64,
    ) -> Result<Vec<Element>, EvalError> {
        let bound_label = self.intern("le");
        let mut groups: Vec<(LabelSet, Vec<(f64, f64)>)> = Vec::new();
        let mut by_labels: HashMap<LabelSet, usize> = HashMap::new();
        let mut results = Vec::new();
        for mut element in elements {
            drop_name(&mut element.labels);
            if let Some(histogram) = element.histogram.take() {
                element.value = histogram.quantile(q);
                results.push(element);
                continue;
            }
            let bound = super::value_of(&element.labels, bound_label).and_then(|bound| bound_of(&self.text(bound)));
            let Some(bound) = bound else { continue };
            element.labels.retain(|(name, _)| *name != bound_label);
            let position = *by_labels.entry(element.labels.clone()).or_insert_with(|| {
                groups.push((element.labels.clone(), Vec::new()));
                groups.len() - 1
            });
            groups[position].1.push((bound, element.value));
        }
        for (labels, buckets) in groups {
            results.push(Element {
                labels,
                value: quantile_of_buckets(q, buckets),
                histogram: None,
                time,
            });
        }
        self.bounded(results)
    }
}

fn bound_of(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        text => text.parse().ok(),
    }
}

fn quantile_of_buckets(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        return f64::NAN;
    }
    // The same bound twice adds up; counts that shrink on the way up are an artefact of the scrape.
    let mut merged: Vec<(f64, f64)> = Vec::with_capacity(buckets.len());
    for (bound, count) in buckets {
        match merged.last_mut() {
            Some((last, total)) if *last == bound => *total += count,
            _ => merged.push((bound, count)),
        }
    }
    let mut most = f64::NEG_INFINITY;
    for (_, count) in &mut merged {
        most = if *count > most { *count } else { most };
        *count = most;
    }
    let [.., (before_last, _), (_, total)] = merged[..] else {
        return f64::NAN;
    };
    if total == 0.0 || total.is_nan() {
        return f64::NAN;
    }
    let rank = q * total;
    let position = merged[..merged.len() - 1].partition_point(|(_, count)| *count < rank);
    if position == merged.len() - 1 {
        return before_last;
    }
    let (end, count) = merged[position];
    if position == 0 {
        return if end <= 0.0 { end } else { end * (rank / count) };
    }
    let (start, below) = merged[position - 1];
    start + (end - start) * ((rank - below) / (count - below))
}
