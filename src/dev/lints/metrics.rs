//! Rules about metrics: `cardinality-burst`, `temporality-or-reset`.

use std::collections::{HashMap, HashSet};

use super::book::{Evidence, Report, Severity};
use crate::dev::seen::{ServiceSeen, text_of};
use crate::wire::{Metric, MetricKind, Number, Point, WireError};

/// Values of one attribute of one metric.
const MANY_VALUES: usize = 500;
/// Metrics that are remembered, values over all of them, and series whose last value is.
const MOST_METRICS: usize = 1_000;
const MOST_VALUES: usize = 200_000;
const MOST_SERIES: usize = 50_000;

#[derive(Default)]
struct Known {
    values: HashMap<String, HashSet<u64>>,
    temporality: i32,
}

#[derive(Clone, Copy)]
struct Last {
    start: u64,
    time: u64,
    value: f64,
}

/// What these rules remember.
#[derive(Default)]
pub struct MetricRules {
    metrics: HashMap<(String, String), Known>,
    values: usize,
    series: HashMap<u64, Last>,
}

impl MetricRules {
    /// Looks at one metric.
    pub fn look(&mut self, service: &ServiceSeen, metric: &Metric<'_>) -> Result<Vec<Report>, WireError> {
        let mut found = Vec::new();
        let name = metric.name()?.lossy().into_owned();
        let Some(data) = metric.data()? else { return Ok(found) };
        let temporality = data.aggregation_temporality()?;
        let report = |rule: &'static str, subject: String| Report {
            rule,
            severity: Severity::Warning,
            subject,
            title: String::new(),
            text: String::new(),
            fix: String::new(),
            evidence: Evidence::query("metric", format!("signal=metrics name=\"{name}\""), name.clone()),
            service: service.name.to_string(),
            run: service.run.as_deref().map(str::to_owned),
            times: 1,
        };
        let key = (service.name.to_string(), name.clone());
        if self.metrics.len() >= MOST_METRICS && !self.metrics.contains_key(&key) {
            return Ok(found);
        }
        let known = self.metrics.entry(key).or_default();
        let counts = !matches!(data.kind(), MetricKind::Gauge | MetricKind::Summary);
        if counts && temporality == 0 {
            found.push(Report {
                title: format!("{name} of {} says no temporality", service.name),
                text: "Without it nobody can tell whether its values add up.".to_owned(),
                fix: "Set aggregation_temporality to delta (1) or cumulative (2): OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE."
                    .to_owned(),
                ..report("temporality-or-reset", format!("none\0{}\0{name}", service.name))
            });
        } else if counts && known.temporality != 0 && known.temporality != temporality {
            found.push(Report {
                title: format!("{name} of {} comes as delta and as cumulative", service.name),
                text: "Its values cannot be added up while both come.".to_owned(),
                fix: "Set one OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE for all instances.".to_owned(),
                ..report("temporality-or-reset", format!("mixed\0{}\0{name}", service.name))
            });
        }
        known.temporality = temporality;
        let is_cumulative = temporality == 2 && data.is_monotonic()?;
        for point in data.points() {
            let point = point?;
            if let Some((attribute, count)) = burst(known, &mut self.values, &point)? {
                found.push(Report {
                    title: format!("{attribute} of {name} has more than {count} values"),
                    text: format!(
                        "Each value of {attribute} is a series of {name}: they cost memory here and money elsewhere."
                    ),
                    fix: format!("Leave {attribute} out with a view of the SDK, or record it in spans and exemplars."),
                    ..report("cardinality-burst", format!("{}\0{name}\0{attribute}", service.name))
                });
            }
            if is_cumulative
                && let Point::Number(number) = &point
                && let Some(value) = number.value()?
                && falls(&mut self.series, service, &name, &point, value)?
            {
                found.push(Report {
                    severity: Severity::Info,
                    title: format!("{name} of {} falls without a new start time", service.name),
                    text: "A cumulative sum went down while its start time stayed: rates over it are wrong.".to_owned(),
                    fix: "Two instances may send one series: give each a service.instance.id. After a restart the start time \
                          has to be new."
                        .to_owned(),
                    ..report("temporality-or-reset", format!("reset\0{}\0{name}", service.name))
                });
            }
        }
        Ok(found)
    }
}

/// Whether a cumulative sum went down while its start time stayed.
fn falls(
    all: &mut HashMap<u64, Last>,
    service: &ServiceSeen,
    name: &str,
    point: &Point<'_>,
    value: Number,
) -> Result<bool, WireError> {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(service.name.as_bytes());
    hasher.update(&[0]);
    hasher.update(name.as_bytes());
    for raw in point.attributes() {
        hasher.update(&[0]);
        hasher.update(raw?.raw());
    }
    let series = hasher.digest();
    let now = Last {
        start: point.start_time_unix_nano()?,
        time: point.time_unix_nano()?,
        value: value.as_f64(),
    };
    if all.len() >= MOST_SERIES && !all.contains_key(&series) {
        return Ok(false);
    }
    let before = all.insert(series, now);
    Ok(before.is_some_and(|before| before.start == now.start && now.time > before.time && now.value < before.value))
}

/// The attribute that has become too many, once.
fn burst(known: &mut Known, all: &mut usize, point: &Point<'_>) -> Result<Option<(String, usize)>, WireError> {
    for raw in point.attributes() {
        let attribute = raw?;
        let key = attribute.key()?.lossy().into_owned();
        if known.values.len() >= 64 && !known.values.contains_key(&key) {
            continue;
        }
        let values = known.values.entry(key.clone()).or_default();
        if values.len() > MANY_VALUES || *all >= MOST_VALUES {
            continue;
        }
        let value = xxhash_rust::xxh3::xxh3_64(text_of(&attribute.value()?).as_bytes());
        if values.insert(value) {
            *all += 1;
            if values.len() > MANY_VALUES {
                return Ok(Some((key, MANY_VALUES)));
            }
        }
    }
    Ok(None)
}
