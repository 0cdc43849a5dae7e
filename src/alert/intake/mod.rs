//! From batches to samples: OTLP metrics read by views, under their Prometheus names, into the engine.
//!
//! Most points are selected by no rule. Whether a metric is, is known by its name before a point is looked at; whether a
//! series is, by a hash of its raw attributes, which remembers what was found out the first time.

pub mod names;
mod plan;
mod points;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use self::plan::{MetricPlan, plan_of};
use super::engine::{Engine, SourceKind};
use super::store::{NotKept, SeriesId};
use crate::wire::{self, Resource, Value, WireError};

/// Distinct metrics whose plans are remembered.
const MOST_PLANS: usize = 20_000;
/// Distinct series, selected or not, that are remembered.
const MOST_SERIES: usize = 500_000;
/// A longer value of a label is cut.
const LONGEST_VALUE: usize = 1_024;

/// What became of a series the last time.
#[derive(Clone, Copy, Debug)]
enum Known {
    Is(SeriesId),
    Unselected,
}

/// What a delta adds up to.
#[derive(Default)]
pub(super) struct Totals {
    numbers: HashMap<SeriesId, f64>,
    histograms: HashMap<SeriesId, std::sync::Arc<super::store::Histogram>>,
}

/// Reads batches into one engine.
pub struct Intake {
    resource_labels: Vec<String>,
    plans: HashMap<u64, MetricPlan, foldhash::fast::FixedState>,
    known: HashMap<u64, Known, foldhash::fast::FixedState>,
    totals: Totals,
    hasher: foldhash::fast::FixedState,
    /// Of the store: numbers of series mean others after one went.
    generation: u64,
}

/// What is the same for all points of a resource.
struct Place {
    /// Labels that the resource gives to all its points.
    labels: Vec<(String, String)>,
    hash: u64,
    /// `account|region|resource`, for the key of the source.
    key: String,
    /// Of an ARN: `dynamodb`.
    service: Option<String>,
}

impl Intake {
    /// `resource_labels`: attributes of resources that become labels besides account, region and service.
    pub fn new(resource_labels: Vec<String>) -> Self {
        Self {
            resource_labels,
            plans: HashMap::default(),
            known: HashMap::default(),
            totals: Totals::default(),
            hasher: foldhash::fast::FixedState::default(),
            generation: 0,
        }
    }

    /// Reads one part of a batch of metrics that arrived at `now` (milliseconds).
    ///
    /// # Errors
    /// Where it is malformed; what was read before counts.
    pub fn metrics(&mut self, part: &[u8], now: i64, engine: &mut Engine) -> Result<(), WireError> {
        if self.generation != engine.store().generation() {
            self.generation = engine.store().generation();
            self.known.clear();
            let store = engine.store();
            self.totals.numbers.retain(|id, _| store.series(*id).is_some());
            self.totals.histograms.retain(|id, _| store.series(*id).is_some());
        }
        for group in wire::resources(part) {
            let group = group?;
            // Built for the first point that is wanted.
            let mut place: Option<Place> = None;
            for scope in group.scopes() {
                let scope = scope?;
                for metric in scope.metrics() {
                    let metric = metric?;
                    let key = self.metric_key(&metric)?;
                    if let Some(plan) = self.plans.get(&key)
                        && !plan.is_wanted()
                    {
                        continue;
                    }
                    if !self.plans.contains_key(&key) {
                        if self.plans.len() >= MOST_PLANS {
                            self.plans.clear();
                        }
                        let plan = plan_of(&metric, engine.store())?;
                        let wanted = plan.is_wanted();
                        self.plans.insert(key, plan);
                        if !wanted {
                            continue;
                        }
                    }
                    if place.is_none() {
                        place = Some(self.place(&group.resource()?)?);
                    }
                    let Some(place) = &place else { continue };
                    let is_poller = scope.scope()?.name()?.as_bytes().starts_with(b"radiosonde/");
                    self.points(&metric, key, place, is_poller, now, engine)?;
                }
            }
        }
        Ok(())
    }

    /// What a metric's plan depends on.
    fn metric_key(&self, metric: &wire::Metric<'_>) -> Result<u64, WireError> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(metric.name()?.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(metric.unit()?.as_bytes());
        match metric.data()? {
            None => hasher.write_u8(0),
            Some(data) => {
                hasher.write_u32(data.kind().field());
                hasher.write_i32(data.aggregation_temporality()?);
                hasher.write_u8(u8::from(data.is_monotonic()?));
            }
        }
        Ok(hasher.finish())
    }

    fn place(&self, resource: &Resource<'_>) -> Result<Place, WireError> {
        let mut hasher = self.hasher.build_hasher();
        let mut labels = Vec::new();
        let (mut account, mut region) = (String::new(), String::new());
        let mut service = None;
        for attribute in resource.attributes() {
            let attribute = attribute?;
            hasher.write(attribute.raw());
            let key = attribute.key()?.lossy();
            let name = match key.as_ref() {
                "cloud.resource_id" => {
                    let arn = text_of(&attribute.value()?).unwrap_or_default();
                    service = arn
                        .split(':')
                        .nth(2)
                        .filter(|_| arn.starts_with("arn:"))
                        .map(str::to_owned);
                    continue;
                }
                "cloud.account.id" => "account_id".to_owned(),
                "cloud.region" => "region".to_owned(),
                "service.name" => "service_name".to_owned(),
                other if self.resource_labels.iter().any(|wanted| wanted == other) => names::label(other),
                _ => continue,
            };
            let Some(text) = text_of(&attribute.value()?) else {
                continue;
            };
            match name.as_str() {
                "account_id" => account = text.clone(),
                "region" => region = text.clone(),
                _ => {}
            }
            labels.push((name, text));
        }
        let hash = hasher.finish();
        Ok(Place {
            labels,
            hash,
            key: format!("{account}|{region}|{hash:016x}"),
            service,
        })
    }

    /// The series of some labels, by a hash of what they were made of.
    fn series(&mut self, hash: u64, find: impl FnOnce() -> Result<SeriesId, NotKept>) -> Option<SeriesId> {
        match self.known.get(&hash) {
            Some(Known::Is(id)) => return Some(*id),
            Some(Known::Unselected) => return None,
            None => {}
        }
        if self.known.len() >= MOST_SERIES {
            self.known.clear();
        }
        match find() {
            Ok(id) => {
                self.known.insert(hash, Known::Is(id));
                Some(id)
            }
            Err(NotKept::Unselected) => {
                self.known.insert(hash, Known::Unselected);
                None
            }
            // There may be room the next time.
            Err(NotKept::Full) => None,
        }
    }
}

/// Texts, numbers and truths; lists and maps make no label.
pub(super) fn text_of(value: &Value<'_>) -> Option<String> {
    let mut text = match value {
        Value::String(text) => text.lossy().into_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        _ => return None,
    };
    text.truncate(text.floor_char_boundary(LONGEST_VALUE));
    Some(text)
}

/// Who a source is, and whether it says how far it is.
pub(super) fn source_kind(is_poller: bool, is_cloudwatch: bool) -> SourceKind {
    if is_poller && is_cloudwatch {
        SourceKind::Polled
    } else {
        SourceKind::Pushed {
            cloudwatch: is_cloudwatch,
        }
    }
}
