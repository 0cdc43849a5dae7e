//! Which documents of a batch X-Ray has taken already, for the case that the batch comes again.
//!
//! A batch is known by its bytes, so that it is the same one after it waited in a queue. The table is bounded: what falls
//! out of it is sent again as a whole, and X-Ray keeps one segment of an id.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3;

use crate::pdata::Batch;

/// Batches that wait for another try at the same time.
const MOST_BATCHES: usize = 1024;

/// What is known of one batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Ids of documents that were taken, or will never be.
    pub(super) finished: HashSet<String>,
    /// How often documents were refused with a code that nobody documents.
    pub(super) tries: HashMap<String, u32>,
    /// Some were taken.
    pub(super) any_sent: bool,
}

#[derive(Default)]
pub(super) struct Delivered(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    batches: HashMap<u128, Progress>,
    order: VecDeque<u128>,
}

/// What a batch is known by.
pub(super) fn key(batch: &mut Batch) -> u128 {
    let mut hash = Xxh3::new();
    for part in batch.parts() {
        hash.update(part);
    }
    hash.digest128()
}

impl Delivered {
    /// Takes what is known of a batch; nothing of a new one.
    pub(super) fn take(&self, key: u128) -> Progress {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = inside.batches.remove(&key);
        if found.is_some() {
            inside.order.retain(|have| *have != key);
        }
        found.unwrap_or_default()
    }

    /// Keeps it for the next try.
    pub(super) fn keep(&self, key: u128, progress: Progress) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.batches.insert(key, progress).is_none() {
            inside.order.push_back(key);
        }
        while inside.order.len() > MOST_BATCHES {
            if let Some(oldest) = inside.order.pop_front() {
                inside.batches.remove(&oldest);
            }
        }
    }
}
