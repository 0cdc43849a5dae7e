//! Keys of attributes: what they are, how many values they have, whether the conventions know them.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::common::cut;
use super::groups::head;
use super::{Ask, Head};
use crate::dev::store::{Place, Store};
use crate::pdata::Signal;

/// `GET /api/v1/keys`.
#[derive(Debug, Serialize)]
pub struct Keys {
    #[serde(flatten)]
    pub head: Head,
    pub keys: Vec<KeyRow>,
    /// Instrumentation scopes: name, version, rows.
    pub scopes: Vec<(String, String, u64)>,
}

/// An attribute key.
#[derive(Debug, Serialize)]
pub struct KeyRow {
    pub key: String,
    /// `resource`, `span`, `log`, `metric`, `event` or `scope`.
    pub scope: &'static str,
    pub types: Vec<&'static str>,
    /// Rows that have it: themselves, or by their resource or scope.
    pub count: u64,
    /// Distinct values, at most what is counted.
    pub values: usize,
    pub examples: Vec<String>,
    /// `known`, `deprecated` or `custom`.
    pub semconv: &'static str,
    /// What stands in the place of a deprecated key.
    pub instead: Option<&'static str>,
}

#[derive(Default)]
struct KeySum {
    types: BTreeSet<&'static str>,
    count: u64,
    /// Hashes: values may be long.
    values: BTreeSet<u64>,
    examples: Vec<String>,
}

/// Instrumentation scopes that are listed.
const MOST_SCOPES: usize = 1_000;
/// Values that are told apart for a key.
const MOST_VALUES: usize = 10_000;

/// The keys of all attributes stored whose name contains this.
pub fn keys(store: &Store, ask: &Ask, part: &str) -> Keys {
    let snapshot = store.snapshot();
    let mut all: HashMap<(String, &'static str), KeySum> = HashMap::new();
    let mut scopes: HashMap<(String, String), u64> = HashMap::new();
    for signal in Signal::ALL {
        for segment in snapshot.of(signal) {
            for (pair, rows) in segment.pairs.all().iter().zip(segment.rows_by_pair()) {
                let scope = match (pair.place, signal) {
                    (Place::Resource, _) => "resource",
                    (Place::Scope, _) => "scope",
                    (Place::Event, _) => "event",
                    (Place::Own, Signal::Traces) => "span",
                    (Place::Own, Signal::Metrics) => "metric",
                    (Place::Own, Signal::Logs) => "log",
                };
                let value = segment.texts.get(pair.value);
                let sum = all.entry((segment.texts.get(pair.key).to_owned(), scope)).or_default();
                sum.types.insert(pair.kind.name());
                sum.count += u64::from(rows);
                if sum.values.len() < MOST_VALUES {
                    sum.values.insert(xxhash_rust::xxh3::xxh3_64(value.as_bytes()));
                }
                let example = cut(value, 80);
                if sum.examples.len() < 3 && !sum.examples.contains(&example) {
                    sum.examples.push(example);
                }
            }
            let mut counts = vec![0_u64; segment.scopes.len()];
            for scope in &segment.scope {
                counts[usize::from(*scope)] += 1;
            }
            for (entry, count) in segment.scopes.iter().zip(counts) {
                let text = |sym| segment.texts.get(sym).to_owned();
                let key = (text(entry.name), text(entry.version));
                if scopes.len() < MOST_SCOPES || scopes.contains_key(&key) {
                    *scopes.entry(key).or_default() += count;
                }
            }
        }
    }
    let wanted = part.to_lowercase();
    let mut keys: Vec<KeyRow> = all
        .into_iter()
        .filter(|((key, _), _)| key.to_lowercase().contains(&wanted))
        .map(|((key, scope), sum)| {
            let (semconv, instead) = super::semconv::verdict(&key);
            KeyRow {
                key,
                scope,
                types: sum.types.into_iter().collect(),
                count: sum.count,
                values: sum.values.len(),
                examples: sum.examples,
                semconv,
                instead,
            }
        })
        .collect();
    keys.sort_by(|a, b| (&a.key, a.scope).cmp(&(&b.key, b.scope)));
    let head = head(store, ask, Signal::Traces, keys.len(), false);
    keys.truncate(ask.limit);
    let mut scopes: Vec<(String, String, u64)> = scopes
        .into_iter()
        .map(|((name, version), count)| (name, version, count))
        .collect();
    scopes.sort_by(|a, b| (b.2, &a.0).cmp(&(a.2, &b.0)));
    Keys { head, keys, scopes }
}
