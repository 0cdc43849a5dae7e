//! The catalogue of AWS metrics: what exists, its unit, statistics, dimension sets and period. It drives planning, units
//! and mapping; nothing else in the code repeats it.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// How a metric becomes OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A sum over the period.
    SumDelta,
    /// A level.
    Gauge,
    /// A distribution over the period, without buckets.
    Histogram,
}

/// One metric.
#[derive(Clone, Debug, Deserialize)]
pub struct Metric {
    pub namespace: String,
    pub metric: String,
    pub unit: String,
    /// API names of the statistics that make sense for it.
    pub statistics: Vec<String>,
    /// The sets of dimension names it is published with.
    pub dimensions: Vec<Vec<String>>,
    /// Seconds between points.
    pub period_s: u32,
    pub otel_kind: Kind,
}

impl Metric {
    /// Whether AWS computes this statistic.
    pub fn lists(&self, statistic: &str) -> bool {
        self.statistics.iter().any(|have| have == statistic)
    }

    /// Whether it has any percentile.
    pub fn lists_percentiles(&self) -> bool {
        self.statistics.iter().any(|have| have.starts_with('p'))
    }

    /// Whether a series with exactly these dimension names (sorted) exists.
    pub fn has_dimensions(&self, sorted: &[&str]) -> bool {
        self.dimensions.iter().any(|set| {
            let mut names: Vec<&str> = set.iter().map(String::as_str).collect();
            names.sort_unstable();
            names == sorted
        })
    }
}

/// All metrics by namespace and name.
pub struct Catalogue {
    metrics: Vec<Metric>,
    by_name: HashMap<(String, String), usize>,
}

impl Catalogue {
    fn load() -> Self {
        // A test reads the same text: it cannot be wrong in a build that passed.
        let metrics: Vec<Metric> = serde_json::from_str(include_str!("catalogue.json")).unwrap_or_default();
        let by_name = metrics
            .iter()
            .enumerate()
            .map(|(position, metric)| ((metric.namespace.clone(), metric.metric.clone()), position))
            .collect();
        Self { metrics, by_name }
    }

    /// The metric of this name.
    pub fn find(&self, namespace: &str, metric: &str) -> Option<&Metric> {
        let position = self.by_name.get(&(namespace.to_owned(), metric.to_owned()))?;
        self.metrics.get(*position)
    }

    /// The metric of a series with exactly these dimension names (sorted). Knows metrics that differ by their dimensions,
    /// and those whose name holds the name of a feature.
    pub fn lookup(&self, namespace: &str, metric: &str, sorted: &[&str]) -> Option<&Metric> {
        let fits = |known: &&Metric| {
            let same = match known.metric.split_once('{') {
                None => known.metric == metric,
                Some((prefix, _)) => metric.len() > prefix.len() && metric.starts_with(prefix),
            };
            same && known.has_dimensions(sorted)
        };
        self.of(namespace).find(fits)
    }

    /// Every metric of a namespace.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = &Metric> {
        self.metrics.iter().filter(move |metric| metric.namespace == namespace)
    }
}

/// The catalogue of this build.
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(Catalogue::load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_catalogue_is_read_whole() {
        assert_eq!(catalogue().metrics.len(), 157);
        let latency = catalogue().find("AWS/DynamoDB", "SuccessfulRequestLatency").unwrap();
        assert_eq!(latency.otel_kind, Kind::Histogram);
        assert!(latency.lists_percentiles());
        assert!(latency.has_dimensions(&["Operation", "TableName"]));
        assert!(!latency.has_dimensions(&["TableName"]));
        assert!(catalogue().find("AWS/DynamoDB", "ItemCount").is_none());
    }

    #[test]
    fn a_metric_is_found_by_its_dimensions_and_by_the_name_of_its_feature() {
        let endpoints = "/aws/sagemaker/Endpoints";
        let cpu = |dimensions: &[&str]| catalogue().lookup(endpoints, "CPUUtilization", dimensions);
        assert!(cpu(&["EndpointName", "VariantName"]).unwrap().lists("SampleCount"));
        assert!(
            !cpu(&["ContainerName", "EndpointName", "VariantName"])
                .unwrap()
                .lists("SampleCount")
        );
        assert!(cpu(&["EndpointName"]).is_none());
        let monitored = ["EndpointName", "ScheduleName"];
        let data = "/aws/sagemaker/Endpoints/data-metric";
        let drift = catalogue()
            .lookup(data, "feature_baseline_drift_age", &monitored)
            .unwrap();
        assert_eq!(drift.metric, "feature_baseline_drift_{feature_name}");
        assert!(
            catalogue()
                .lookup(data, "feature_baseline_drift_", &monitored)
                .is_none()
        );
    }
}
