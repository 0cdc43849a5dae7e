//! What the auditor remembers between runs: for each day of trace start what was listed of it and what was found, what
//! was spent today, and where a run stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::component::{StateChange, StateError, StateStore, with_state};
use crate::retention::archive::Day;
use crate::retention::state::{Counts, State};

const SPACE: &str = "retention";

/// One day of trace start in one account and region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bucket {
    /// How often all of it has been listed.
    pub listings: u8,
    /// Traces of the last listing.
    pub listed: u64,
    /// As CloudWatch has counted them.
    pub expected: Option<u64>,
    /// Traces whose copies are complete and kept long enough: nobody looks at them again before the next listing.
    pub settled: u64,
    /// The others, by state, when they were last looked at; in the order of [`State::ALL`].
    pub counts: [u64; 9],
    pub urgent: u64,
    /// Start of the oldest trace that X-Ray still has and that has no complete copy, unix seconds.
    pub oldest: Option<u64>,
    /// The run that has looked at it last.
    pub run: u64,
    /// Why it could not be read.
    pub trouble: Option<String>,
    /// Copies that were acknowledged are gone: the ledger proves nothing here, every trace is probed.
    pub distrusted: bool,
}

impl Bucket {
    /// Takes over what a look has found.
    pub fn found(&mut self, counts: &Counts, settled: u64, oldest: Option<u64>) {
        for (have, state) in self.counts.iter_mut().zip(State::ALL) {
            *have = counts.of(state);
        }
        self.urgent = counts.urgent;
        self.settled = settled;
        self.oldest = oldest;
    }

    /// Its traces by state. Where it could not be read what nobody has looked at is unknown.
    pub fn states(&self) -> Counts {
        let mut counts = Counts::default();
        for (count, state) in self.counts.iter().zip(State::ALL) {
            counts.add_many(state, *count);
        }
        counts.urgent = self.urgent;
        if self.trouble.is_none() {
            counts.add_many(State::Archived, self.settled);
            return counts;
        }
        let unseen = self.expected.unwrap_or(0).saturating_sub(self.counts.iter().sum());
        counts.add_many(State::Unknown, self.settled.max(unseen).max(1));
        counts
    }
}

/// What was read today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spend {
    /// Days since the epoch, UTC.
    pub day: u32,
    pub scanned: u64,
    pub retrieved: u64,
}

impl Spend {
    /// Of a day; what was spent on another is of no matter.
    pub fn on(self, day: Day) -> Self {
        if self.day == day.0 {
            return self;
        }
        Self {
            day: day.0,
            ..Self::default()
        }
    }
}

/// Where the runs stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// The present or last one began, unix seconds.
    pub started: u64,
    /// It has ended.
    pub finished: bool,
}

/// What is required and what archives promise, as it was when days were settled by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Promises {
    /// Seconds; 0: nothing.
    pub required: u64,
    /// How long each archive keeps copies, seconds; `None`: for ever.
    pub lifetimes: BTreeMap<String, Option<u64>>,
}

impl Promises {
    /// Something that was kept long enough by `before` may not be by this.
    pub fn is_weaker_than(&self, before: &Self) -> bool {
        let kept = |promises: &Self, name: &str| {
            let lifetime = promises.lifetimes.get(name).copied();
            lifetime.map_or(0, |lifetime| lifetime.unwrap_or(u64::MAX))
        };
        let is_shorter = before
            .lifetimes
            .keys()
            .any(|name| kept(self, name) < kept(before, name));
        self.required > before.required || (is_shorter && self.required > 0)
    }
}

/// Sampling rules as they were last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// By rule.
    pub rates: BTreeMap<String, f64>,
    /// As long as traces may be there from before.
    pub lowered: Vec<Lowered>,
}

/// A rule whose rate was lowered by more than half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lowered {
    pub rule: String,
    /// When it was seen, unix seconds.
    pub at: u64,
    pub before: f64,
    pub rate: f64,
}

/// The books of one processor.
#[derive(Clone)]
pub struct Books {
    store: Arc<dyn StateStore>,
    id: String,
}

impl Books {
    pub fn new(store: Arc<dyn StateStore>, id: &str) -> Self {
        Self {
            store,
            id: id.to_owned(),
        }
    }

    fn key(&self, what: &str, place: &str, day: &str) -> Vec<u8> {
        [self.id.as_str(), what, place, day].join("\0").into_bytes()
    }

    async fn read<T: for<'a> Deserialize<'a> + Default + Send + 'static>(&self, key: Vec<u8>) -> Result<T, StateError> {
        let bytes = with_state(&self.store, move |store| store.get(SPACE, &key)).await?;
        // What another version has written counts as nothing.
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default())
    }

    async fn write(&self, key: Vec<u8>, value: &impl Serialize) -> Result<(), StateError> {
        let value = serde_json::to_vec(value).unwrap_or_default();
        let change = StateChange::put(SPACE, key, value);
        with_state(&self.store, move |store| store.commit(vec![change])).await
    }

    /// All days of a place.
    ///
    /// # Errors
    /// Those of the store; so for all below.
    pub async fn buckets(&self, place: &str) -> Result<BTreeMap<Day, Bucket>, StateError> {
        let prefix = self.key("day", place, "");
        let found = with_state(&self.store, move |store| {
            let mut found = BTreeMap::new();
            store.scan(SPACE, &prefix, &mut |key, value| {
                let day = std::str::from_utf8(&key[prefix.len()..]).ok().and_then(Day::parse);
                if let (Some(day), Ok(bucket)) = (day, serde_json::from_slice(value)) {
                    found.insert(day, bucket);
                }
                true
            })?;
            Ok(found)
        });
        found.await
    }

    pub async fn save(&self, place: &str, day: Day, bucket: &Bucket) -> Result<(), StateError> {
        self.write(self.key("day", place, &day.to_string()), bucket).await
    }

    pub async fn forget(&self, place: &str, day: Day) -> Result<(), StateError> {
        let change = StateChange::remove(SPACE, self.key("day", place, &day.to_string()));
        with_state(&self.store, move |store| store.commit(vec![change])).await
    }

    pub async fn spend(&self) -> Result<Spend, StateError> {
        self.read(self.key("spend", "", "")).await
    }

    pub async fn save_spend(&self, spend: &Spend) -> Result<(), StateError> {
        self.write(self.key("spend", "", ""), spend).await
    }

    /// `None`: nothing was settled yet.
    pub async fn promises(&self, place: &str) -> Result<Option<Promises>, StateError> {
        self.read(self.key("promises", place, "")).await
    }

    pub async fn save_promises(&self, place: &str, promises: &Promises) -> Result<(), StateError> {
        self.write(self.key("promises", place, ""), promises).await
    }

    pub async fn sampling(&self, place: &str) -> Result<Sampling, StateError> {
        self.read(self.key("sampling", place, "")).await
    }

    pub async fn save_sampling(&self, place: &str, sampling: &Sampling) -> Result<(), StateError> {
        self.write(self.key("sampling", place, ""), sampling).await
    }

    pub async fn runs(&self) -> Result<Runs, StateError> {
        self.read(self.key("runs", "", "")).await
    }

    pub async fn save_runs(&self, runs: &Runs) -> Result<(), StateError> {
        self.write(self.key("runs", "", ""), runs).await
    }
}
