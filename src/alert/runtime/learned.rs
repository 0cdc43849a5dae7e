//! What rules with `anomaly` have learned, in the state store: a value for each label set, written when an hour is over,
//! and which series' past was read, so that a restart does not pay for it again.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Runtime;
use crate::alert::engine::Engine;
use crate::component::{StateChange, StateError, StateStore};

/// Under the rule's measure and the hash of the labels.
const USUAL: &str = "alerts.usual";
/// Under [`History::rules`] and the resource: the numbers of its series.
const ASKED: &str = "alerts.asked";

/// The past that was read at once.
#[derive(Default)]
pub(super) struct History {
    /// The state has been read.
    pub loaded: CancellationToken,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Series that need not be asked for.
    series: Vec<u64>,
    /// Resources and their series that are not kept yet.
    fresh: Vec<(u64, Vec<u64>)>,
    /// Kept for other rules, or of rules that are no more.
    outdated: Vec<StateChange>,
}

/// Keys without what all of them begin with, and values.
pub(super) struct Read {
    usual: Vec<(Vec<u8>, Vec<u8>)>,
    asked: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) fn read(store: &dyn StateStore, prefix: &[u8]) -> Result<Read, StateError> {
    let of = |space: &str| {
        let mut list = Vec::new();
        store.scan(space, prefix, &mut |key, value| {
            list.push((key[prefix.len()..].to_vec(), value.to_vec()));
            true
        })?;
        Ok(list)
    };
    Ok(Read {
        usual: of(USUAL)?,
        asked: of(ASKED)?,
    })
}

fn two_numbers(key: &[u8]) -> Option<(u64, u64)> {
    let (first, second) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*first), u64::from_be_bytes(second.try_into().ok()?)))
}

fn key_of(first: u64, second: u64) -> Vec<u8> {
    [first.to_be_bytes(), second.to_be_bytes()].concat()
}

impl Runtime {
    /// Changes when other things are measured: their past has to be read then.
    fn measures(&self) -> u64 {
        let rules = self.settings.groups.iter().flat_map(|group| &group.rules);
        let learning = rules.filter(|rule| rule.extra.anomaly.is_some());
        let mut measures: Vec<u64> = learning.map(|rule| rule.measure()).collect();
        measures.sort_unstable();
        let bytes: Vec<u8> = measures.iter().flat_map(|measure| measure.to_be_bytes()).collect();
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.history.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_up_learned(&self, read: Read) {
        let mut outdated = Vec::new();
        {
            let mut core = self.core();
            for (key, bytes) in read.usual {
                let taken = two_numbers(&key).and_then(|(measure, labels)| {
                    let taken = core.engine.take_up_learned(measure, labels, &bytes)?;
                    if !taken {
                        self.own.state_lost.add(1);
                        tracing::error!(component = %self.context.id,
                            "what was usual for an alert could not be read; it is learned anew");
                    }
                    Some(taken)
                });
                if taken != Some(true) {
                    outdated.push(StateChange::remove(USUAL, self.key(&key)));
                }
            }
        }
        let rules = self.measures();
        let mut known = self.known();
        for (key, bytes) in read.asked {
            if two_numbers(&key).is_some_and(|(of, _)| of == rules) {
                let numbers = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
                known.series.extend(numbers.map(u64::from_be_bytes));
            } else {
                outdated.push(StateChange::remove(ASKED, self.key(&key)));
            }
        }
        known.outdated = outdated;
    }

    /// Series whose past need not be asked for.
    #[cfg(feature = "aws")]
    pub(super) fn asked_before(&self) -> Vec<u64> {
        std::mem::take(&mut self.known().series)
    }

    /// The past of a resource has been learned.
    #[cfg(feature = "aws")]
    pub(super) fn learned_past_of(&self, resource: u64, series: Vec<u64>) {
        self.known().fresh.push((resource, series));
    }

    pub(super) fn learned_changes(&self, engine: &Engine, is_last: bool) -> Vec<StateChange> {
        let mut changes = Vec::new();
        for learned in engine.learned(is_last) {
            let key = self.key(&key_of(learned.measure, learned.key));
            changes.push(match learned.bytes {
                Some(bytes) => StateChange::put(USUAL, key, bytes),
                None => StateChange::remove(USUAL, key),
            });
        }
        let known = self.known();
        changes.extend(known.outdated.iter().cloned());
        if known.fresh.is_empty() {
            return changes;
        }
        let rules = self.measures();
        for (resource, series) in &known.fresh {
            // A series that was found later stands under a number of its own.
            let key = resource ^ series.first().copied().unwrap_or(0);
            let bytes: Vec<u8> = series.iter().flat_map(|number| number.to_be_bytes()).collect();
            changes.push(StateChange::put(ASKED, self.key(&key_of(rules, key)), bytes));
        }
        changes
    }

    pub(super) fn learned_is_kept(&self) {
        self.core().engine.learned_is_kept();
        let mut known = self.known();
        known.fresh.clear();
        known.outdated.clear();
    }
}
