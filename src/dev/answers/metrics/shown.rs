//! One metric over time, as it is shown.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::dev::answers::common::WindowShown;
use crate::dev::answers::{Hex8, Hex16, Ns};

/// `GET /api/v1/metrics/query`.
#[derive(Debug, Serialize)]
pub struct MetricSeries {
    pub v: u8,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub unit: String,
    pub temporality: &'static str,
    pub monotonic: bool,
    pub window: WindowShown,
    pub total: usize,
    pub truncated: bool,
    pub series: Vec<SeriesShown>,
    pub heatmap: Option<Heatmap>,
    pub exemplars: Vec<Exemplar>,
}

/// A line.
#[derive(Debug, Serialize)]
pub struct SeriesShown {
    pub labels: BTreeMap<String, String>,
    /// `null` for a gap.
    pub points: Vec<(Ns, Option<f64>)>,
    /// Where counting began anew.
    pub resets: Vec<Ns>,
}

/// Counts by time and value.
#[derive(Debug, Default, Serialize)]
pub struct Heatmap {
    /// Upper bounds of the rows; the last is the largest measurement, where the bucket has none.
    pub bounds: Vec<f64>,
    pub columns: Vec<Column>,
}

/// A stretch of time of a heat map.
#[derive(Debug, Serialize)]
pub struct Column {
    pub t: Ns,
    pub counts: Vec<f64>,
}

/// A measurement with its span.
#[derive(Debug, Serialize)]
pub struct Exemplar {
    pub t: Ns,
    pub value: f64,
    pub trace_id: Hex16,
    pub span_id: Hex8,
}
