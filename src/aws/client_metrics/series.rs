//! Adding calls up: one series for each combination of service, table, index and operation, within a limit.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use super::ClientCall;
use super::capacity::reads;
use super::output::Output;

/// Upper bounds of the duration's buckets, seconds. DynamoDB answers in single milliseconds.
pub const BOUNDS: [f64; 13] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Kinds of error of one series; further ones are counted as `other`.
const MOST_ERRORS: usize = 20;
/// A series without a call for so long makes room for others.
const FORGET_NANOS: u64 = 3_600_000_000_000;
/// Where calls go that would make a series too many.
const OTHER: &str = "other";

/// What is added up, and how far.
#[derive(Clone, Debug)]
pub struct AggregateSettings {
    /// Calls that take this long are slow, seconds.
    pub slow: f64,
    /// Series at the same time.
    pub series_limit: usize,
    /// Names of the attributes in [`Caller::dimensions`].
    pub dimensions: Vec<String>,
}

/// Who makes the calls.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// `service.name`
    pub service_name: String,
    /// Values of the settings' dimensions; `None`: not set.
    pub dimensions: Vec<Option<String>>,
}

/// What adding a call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Points of the call that went to `other`.
    pub overflowed: u64,
    /// An item collection is full: do not wait with this.
    pub urgent: bool,
}

/// What tells series apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) service_name: String,
    pub(super) is_dynamodb: bool,
    /// Empty for DynamoDB.
    pub(super) service: String,
    pub(super) table: String,
    pub(super) index: Option<String>,
    pub(super) operation: String,
    pub(super) region: String,
    pub(super) dimensions: Vec<Option<String>>,
}

/// The span of one call.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) seconds: f64,
    pub(super) at: u64,
    pub(super) trace_id: Vec<u8>,
    pub(super) span_id: Vec<u8>,
}

/// What was added up since the last flush.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    /// The latest call of each bucket.
    pub(super) examples: [Option<Box<Example>>; BOUNDS.len() + 1],
    pub(super) errors: BTreeMap<String, u64>,
    /// The latest failed call.
    pub(super) failed: Option<Box<Example>>,
    pub(super) throttles: u64,
    pub(super) retries: u64,
    pub(super) slow: u64,
    pub(super) read_units: f64,
    pub(super) write_units: f64,
    pub(super) collection_limit: u64,
    /// The largest item collection seen.
    pub(super) collection_bytes: Option<f64>,
}

#[derive(Default)]
struct Series {
    sums: Option<Box<Sums>>,
    /// When a call came last.
    used: u64,
}

/// Calls added up since the last flush.
pub struct Aggregate {
    settings: AggregateSettings,
    series: HashMap<Key, Series, foldhash::fast::RandomState>,
    /// When the time began that is being added up, nanoseconds since the epoch.
    since: u64,
}

impl Aggregate {
    /// Begins at `now`, nanoseconds since the epoch.
    pub fn new(settings: AggregateSettings, now: u64) -> Self {
        Self {
            settings,
            series: HashMap::default(),
            since: now,
        }
    }

    /// Series that are known.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// No series is known.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds one call that was seen at `now`.
    pub fn add(&mut self, call: &ClientCall, caller: &Caller, now: u64) -> Added {
        let mut added = Added {
            urgent: call.collection_limit,
            ..Added::default()
        };
        let tables = match call.tables.as_slice() {
            [] => &[String::new()][..],
            tables => tables,
        };
        for table in tables {
            let key = key(call, caller, table, call.index.clone());
            let slow = call.seconds >= self.settings.slow;
            let sums = self.sums(key, now, &mut added);
            sums.count(call, slow);
            for collection in &call.collections {
                let of_table = collection.table.as_ref().is_none_or(|have| have == table);
                if of_table {
                    let largest = sums.collection_bytes.unwrap_or(0.0).max(collection.bytes);
                    sums.collection_bytes = Some(largest);
                }
            }
        }
        let direction = reads(&call.operation);
        for consumed in &call.consumed {
            let table = consumed.table.as_ref().unwrap_or(&tables[0]);
            // Where the indexes are told apart, the rest is the table's own.
            let index = call.index.clone().filter(|_| consumed.indexes.is_empty());
            let mut parts = vec![(index, consumed.own)];
            parts.extend(
                consumed
                    .indexes
                    .iter()
                    .map(|(name, units)| (Some(name.clone()), *units)),
            );
            for (index, units) in parts {
                let (read, write) = units.by_direction(direction);
                if read + write > 0.0 {
                    let sums = self.sums(key(call, caller, table, index), now, &mut added);
                    sums.read_units += read;
                    sums.write_units += write;
                }
            }
        }
        added
    }

    fn sums(&mut self, key: Key, now: u64, added: &mut Added) -> &mut Sums {
        let fits = self.series.len() < self.settings.series_limit;
        let key = if fits || self.series.contains_key(&key) {
            key
        } else {
            added.overflowed += 1;
            other(&key)
        };
        let series = self.series.entry(key).or_default();
        series.used = now;
        series.sums.get_or_insert_default()
    }

    /// Everything since the last flush, as delta metrics up to `now`; `None` where nothing happened.
    pub fn flush(&mut self, now: u64) -> Option<ExportMetricsServiceRequest> {
        let mut output = Output::new(self.since, now, &self.settings.dimensions);
        self.since = now;
        for (key, series) in &mut self.series {
            if let Some(sums) = series.sums.take() {
                output.add(key, &sums);
            }
        }
        self.series
            .retain(|_, series| now.saturating_sub(series.used) < FORGET_NANOS);
        output.finish()
    }
}

fn key(call: &ClientCall, caller: &Caller, table: &str, index: Option<String>) -> Key {
    Key {
        service_name: caller.service_name.clone(),
        is_dynamodb: call.is_dynamodb,
        service: if call.is_dynamodb {
            String::new()
        } else {
            call.service.clone()
        },
        table: table.to_owned(),
        index,
        operation: call.operation.clone(),
        region: call.region.clone(),
        dimensions: caller.dimensions.clone(),
    }
}

/// The series that takes what does not fit.
fn other(key: &Key) -> Key {
    Key {
        service_name: OTHER.to_owned(),
        is_dynamodb: key.is_dynamodb,
        service: if key.is_dynamodb {
            String::new()
        } else {
            OTHER.to_owned()
        },
        table: if key.is_dynamodb {
            OTHER.to_owned()
        } else {
            String::new()
        },
        operation: OTHER.to_owned(),
        ..Key::default()
    }
}

impl Sums {
    fn count(&mut self, call: &ClientCall, slow: bool) {
        self.minimum = if self.requests == 0 {
            call.seconds
        } else {
            self.minimum.min(call.seconds)
        };
        self.maximum = self.maximum.max(call.seconds);
        self.requests += 1;
        self.seconds += call.seconds;
        let bucket = BOUNDS.partition_point(|bound| *bound < call.seconds);
        self.buckets[bucket] += 1;
        let example = || {
            Box::new(Example {
                seconds: call.seconds,
                at: call.end,
                trace_id: call.trace_id.clone(),
                span_id: call.span_id.clone(),
            })
        };
        self.examples[bucket] = Some(example());
        if let Some(error) = &call.error {
            let known = self.errors.contains_key(error) || self.errors.len() < MOST_ERRORS;
            let name = if known { error.as_str() } else { OTHER };
            *self.errors.entry(name.to_owned()).or_default() += 1;
            self.failed = Some(example());
        }
        self.throttles += u64::from(call.throttled);
        self.retries += call.retries;
        self.slow += u64::from(slow);
        self.collection_limit += u64::from(call.collection_limit);
    }
}
