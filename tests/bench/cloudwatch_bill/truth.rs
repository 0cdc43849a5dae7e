//! Compares every point that comes out with what was finally true: none lost, none twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use radiosonde::aws::catalogue::{Kind, catalogue};
use radiosonde::component::{BoxFuture, Clock, Refused, Stage};
use radiosonde::pdata::{Batch, Decoded};
use radiosonde::simulator::{Samples, Series, Statistic, VirtualClock, World};
use xxhash_rust::xxh3::Xxh3Default;

const NAMES: &str = "amazonaws.com/AWS/DynamoDB/";

/// What is remembered of a series: which of its minutes came.
struct Heard {
    series: usize,
    minutes: Vec<u64>,
}

/// Counts over a whole run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub points: u64,
    pub filled: u64,
    pub doubled: u64,
    /// Sent with a value that changed afterwards (or a 0 that turned out to be none).
    pub changed_later: u64,
    pub unknown: u64,
}

struct Books {
    heard: HashMap<u64, Heard>,
    counts: Counts,
    /// Seconds between the end of a minute with throttles and its arrival here.
    throttle_ages: Vec<i64>,
}

/// The end of the pipeline.
pub struct Truth {
    world: Arc<World>,
    clock: VirtualClock,
    /// Unix seconds of the first minute that can come.
    first: i64,
    /// Unix seconds up to which a value that changed later has been counted by the receiver.
    judged_until: i64,
    /// Only counts batches: for measurements of the receiver alone.
    blind: bool,
    books: Mutex<Books>,
}

fn key<'a>(metric: &str, mut dimensions: Vec<(&'a str, &'a str)>) -> u64 {
    dimensions.sort_unstable();
    let mut hash = Xxh3Default::new();
    hash.update(metric.as_bytes());
    for (name, value) in dimensions {
        for part in [name, value] {
            hash.update(&[0xff]);
            hash.update(part.as_bytes());
        }
    }
    hash.digest()
}

fn texts(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
    let text = |entry: &'_ KeyValue| match entry.value.as_ref()?.value.as_ref()? {
        Any::StringValue(_) => Some(()),
        _ => None,
    };
    let mut found = Vec::with_capacity(attributes.len());
    for entry in attributes {
        if text(entry).is_some()
            && let Some(Any::StringValue(value)) = entry.value.as_ref().and_then(|value| value.value.as_ref())
        {
            found.push((entry.key.as_str(), value.as_str()));
        }
    }
    found
}

impl Truth {
    pub fn new(world: Arc<World>, clock: VirtualClock, minutes: i64, blind: bool) -> Self {
        let first = world.scenario.start as i64 - 24 * 3600;
        let judged_until = world.scenario.start as i64 + 60 * minutes - 2 * 3600;
        let words = (minutes as usize + 24 * 60).div_ceil(64) + 1;
        let mut heard = HashMap::new();
        for (position, series) in world.series().iter().enumerate() {
            if blind {
                break;
            }
            let dimensions = series.dimensions.iter();
            let dimensions = dimensions
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let entry = Heard {
                series: position,
                minutes: vec![0; words],
            };
            heard.insert(key(&series.metric, dimensions), entry);
        }
        Self {
            world,
            clock,
            first,
            judged_until,
            blind,
            books: Mutex::new(Books {
                heard,
                counts: Counts::default(),
                throttle_ages: Vec::new(),
            }),
        }
    }

    fn take(&self, mut batch: Batch) {
        if self.blind {
            let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
            books.counts.points += batch.items() as u64;
            return;
        }
        let Ok(Decoded::Metrics(request)) = batch.decode() else {
            return;
        };
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(request, &mut books);
    }

    fn read(&self, request: &ExportMetricsServiceRequest, books: &mut Books) {
        let scopes = request
            .resource_metrics
            .iter()
            .flat_map(|resource| &resource.scope_metrics);
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            let Some(name) = metric.name.strip_prefix(NAMES) else {
                continue;
            };
            // Percentiles and maxima come with the point that has the plain name.
            if name.contains('.') {
                continue;
            }
            match &metric.data {
                Some(Data::Sum(sum)) => {
                    for point in &sum.data_points {
                        let value = number(point.value);
                        self.point(name, &point.attributes, point.start_time_unix_nano, value, books);
                    }
                }
                Some(Data::Gauge(gauge)) => {
                    for point in &gauge.data_points {
                        let value = number(point.value);
                        self.point(name, &point.attributes, point.start_time_unix_nano, value, books);
                    }
                }
                Some(Data::Histogram(histogram)) => {
                    for point in &histogram.data_points {
                        let value = point.sum.unwrap_or_default();
                        self.point(name, &point.attributes, point.start_time_unix_nano, value, books);
                    }
                }
                _ => {}
            }
        }
    }

    fn point(&self, name: &str, attributes: &[KeyValue], start: u64, value: f64, books: &mut Books) {
        let at = (start / 1_000_000_000) as i64;
        let minute = (at - self.first).div_euclid(60);
        let heard = books.heard.get_mut(&key(name, texts(attributes)));
        let Some((heard, minute)) = heard.zip(usize::try_from(minute).ok()) else {
            books.counts.unknown += 1;
            return;
        };
        let Some(word) = heard.minutes.get_mut(minute / 64) else {
            books.counts.unknown += 1;
            return;
        };
        let bit = 1u64 << (minute % 64);
        books.counts.points += 1;
        books.counts.doubled += u64::from(*word & bit != 0);
        *word |= bit;
        let Some(series) = self.world.series().get(heard.series) else {
            return;
        };
        match expected(series, &self.world.final_samples(series, at)) {
            None => {
                books.counts.filled += u64::from(value == 0.0);
                books.counts.unknown += u64::from(value != 0.0);
            }
            Some(expected) => {
                let judged = at < self.judged_until;
                books.counts.changed_later += u64::from(judged && value != expected);
            }
        }
        if value > 0.0 && matches!(name, "ReadThrottleEvents" | "WriteThrottleEvents") {
            let now = self.clock.now().seconds() as i64;
            books.throttle_ages.push(now - at - 60);
        }
    }

    pub fn counts(&self) -> Counts {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).counts
    }

    /// Seconds: the median and the 90th percentile of the age of throttle points, and how many there were.
    pub fn throttle_ages(&self) -> (i64, i64, usize) {
        let mut ages = self
            .books
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .throttle_ages
            .clone();
        ages.sort_unstable();
        let at = |share: f64| {
            let position = (ages.len() as f64 * share) as usize;
            ages.get(position).copied().unwrap_or(-1)
        };
        (at(0.5), at(0.9), ages.len())
    }

    /// Points of the time from `from` to `to` (unix seconds) that never came: how many, by metric.
    pub fn lost(&self, from: i64, to: i64) -> (u64, Vec<(String, u64)>) {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_metric: HashMap<&str, u64> = HashMap::new();
        let mut expected = 0;
        for heard in books.heard.values() {
            let Some(series) = self.world.series().get(heard.series) else {
                continue;
            };
            let mut at = from + (-from).rem_euclid(series.period);
            while at < to {
                let minute = (at - self.first).div_euclid(60) as usize;
                let came = heard.minutes[minute / 64] >> (minute % 64) & 1 == 1;
                let exists = came || !self.world.final_samples(series, at).is_empty();
                expected += u64::from(exists);
                if exists && !came {
                    *by_metric.entry(&series.metric).or_default() += 1;
                }
                at += series.period;
            }
        }
        let mut lost: Vec<(String, u64)> = by_metric.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        lost.sort();
        (expected, lost)
    }
}

/// The value that the receiver gives a point, from its samples.
fn expected(series: &Series, samples: &Samples) -> Option<f64> {
    let metric = catalogue().find(&series.namespace, &series.metric)?;
    let statistic = match metric.otel_kind {
        Kind::Gauge if metric.lists("Average") => Statistic::Average,
        Kind::Gauge => Statistic::Maximum,
        Kind::SumDelta | Kind::Histogram => Statistic::Sum,
    };
    samples.get(statistic)
}

fn number(value: Option<Number>) -> f64 {
    match value {
        Some(Number::AsDouble(value)) => value,
        Some(Number::AsInt(value)) => value as f64,
        None => f64::NAN,
    }
}

impl Stage for Truth {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        self.take(batch);
        Box::pin(std::future::ready(Ok(())))
    }
}
