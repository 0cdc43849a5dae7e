//! Metrics: the catalogue, and values, rates, quantiles and heat maps over time.
//!
//! `collect` gathers the points of each series in order, `bins` merges histograms of both kinds, `query` reduces what
//! there is to what can be drawn without losing an extreme.

mod bins;
mod collect;
mod query;
mod shown;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::{Ask, Head, find_rows};
use crate::dev::store::{AGAIN, GAP, Store};
use crate::pdata::Signal;
use crate::wire::MetricKind;

pub use query::{As, MetricAsk, query};
pub use shown::MetricSeries;

/// `GET /api/v1/metrics`.
#[derive(Debug, Serialize)]
pub struct Metrics {
    #[serde(flatten)]
    pub head: Head,
    pub metrics: Vec<MetricRow>,
}

/// A metric in the catalogue.
#[derive(Debug, Serialize)]
pub struct MetricRow {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub unit: String,
    pub description: String,
    pub temporality: &'static str,
    pub monotonic: bool,
    pub services: Vec<String>,
    pub series: usize,
    pub points: u64,
    /// The newest value; of a histogram its sum.
    pub last: Option<f64>,
}

#[derive(Default)]
struct Gathered {
    unit: String,
    description: String,
    services: BTreeSet<String>,
    series: HashSet<u64>,
    points: u64,
    last: Option<(u64, f64)>,
}

/// Name of a kind of metric.
pub(super) fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Sum => "sum",
        MetricKind::Histogram => "histogram",
        MetricKind::ExponentialHistogram => "exponential_histogram",
        MetricKind::Summary => "summary",
    }
}

/// Name of an aggregation temporality.
pub(super) fn temporality_name(temporality: u8) -> &'static str {
    match temporality {
        1 => "delta",
        2 => "cumulative",
        _ => "",
    }
}

/// The metrics of which a point fits, by name.
pub fn metrics(store: &Store, ask: &Ask) -> Metrics {
    let snapshot = store.snapshot();
    let (found, late) = find_rows(store, &snapshot, ask, Signal::Metrics);
    let mut all: HashMap<(String, &'static str, &'static str, bool), Gathered> = HashMap::new();
    for found in &found {
        let segment = &found.segment;
        // Points of one metric stand together: its texts are looked at once for each.
        let mut by_metric: HashMap<u16, Vec<usize>> = HashMap::new();
        for row in found.rows.rows().filter(|row| segment.statuses[*row] & AGAIN == 0) {
            by_metric.entry(segment.metric[row]).or_default().push(row);
        }
        for rows in by_metric.into_values() {
            let Some(entry) = rows.first().and_then(|row| segment.metric_of(*row)) else {
                continue;
            };
            let name = segment.texts.get(entry.name).to_owned();
            let key = (
                name,
                kind_name(entry.kind),
                temporality_name(entry.temporality),
                entry.monotonic,
            );
            let sum = all.entry(key).or_default();
            segment.texts.get(entry.unit).clone_into(&mut sum.unit);
            segment.texts.get(entry.description).clone_into(&mut sum.description);
            sum.points += rows.len() as u64;
            for row in rows {
                sum.series.insert(segment.parents[row]);
                if !sum.services.contains(segment.service(row)) {
                    sum.services.insert(segment.service(row).to_owned());
                }
                let is_newer = sum.last.is_none_or(|(time, _)| segment.starts[row] >= time);
                if is_newer && segment.statuses[row] & GAP == 0 {
                    sum.last = Some((segment.starts[row], segment.values[row]));
                }
            }
        }
    }
    let mut metrics: Vec<MetricRow> = all
        .into_iter()
        .map(|((name, kind, temporality, monotonic), sum)| MetricRow {
            name,
            kind,
            unit: sum.unit,
            description: sum.description,
            temporality,
            monotonic,
            services: sum.services.into_iter().collect(),
            series: sum.series.len(),
            points: sum.points,
            last: sum.last.map(|(_, value)| value),
        })
        .collect();
    metrics.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
    let total = metrics.len();
    let offset = ask.offset();
    let metrics: Vec<MetricRow> = metrics.into_iter().skip(offset).take(ask.limit).collect();
    let mut head = Head::new(store, ask, Signal::Metrics, total as u64, offset + metrics.len());
    head.cursor = head.truncated.then(|| (offset + metrics.len()).to_string());
    head.truncated |= late;
    Metrics { head, metrics }
}
