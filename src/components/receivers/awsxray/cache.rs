//! Answers to GetSamplingRules, shared by all clients: a thousand pods make one call a minute, and keep the last rules
//! while AWS does not answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::proxy::Upstream;

/// How long an answer is fresh.
pub(super) const FRESH: Duration = Duration::from_secs(60);
/// Bodies that answers are kept for: SDKs send an empty one or a page's token.
const MOST_KEYS: usize = 64;

/// An answer and when it came.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) answer: Upstream,
    pub(super) at: Instant,
    /// The rules have changed since.
    outdated: bool,
}

impl Kept {
    pub(super) fn new(answer: Upstream) -> Self {
        Self {
            answer,
            at: Instant::now(),
            outdated: false,
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        !self.outdated && self.at.elapsed() < FRESH
    }
}

/// Whoever holds its lock asks AWS; the others wait for the answer.
pub(super) type Slot = Arc<tokio::sync::Mutex<Option<Kept>>>;

/// By the body of the request.
#[derive(Default)]
pub(super) struct Cache(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    slots: HashMap<Bytes, Slot>,
    /// The newest `LastRuleModification` that was seen, seconds since the epoch.
    last_modification: f64,
}

impl Cache {
    pub(super) fn slot(&self, body: &Bytes) -> Slot {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.slots.len() >= MOST_KEYS && !inside.slots.contains_key(body) {
            // Nobody sends so many different ones in earnest.
            inside.slots.clear();
        }
        Arc::clone(inside.slots.entry(body.clone()).or_default())
    }

    /// Looks into an answer to SamplingTargets. Rules that have changed are asked for again by the next client; the old
    /// ones are kept for the case that AWS does not answer.
    pub(super) async fn look_at_targets(&self, answer: &[u8]) {
        let Ok(answer) = serde_json::from_slice::<serde_json::Value>(answer) else {
            return;
        };
        let Some(modified) = answer.get("LastRuleModification").and_then(serde_json::Value::as_f64) else {
            return;
        };
        let slots: Vec<Slot> = {
            let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The first one tells what is known, not that anything has changed.
            let is_newer = modified > inside.last_modification && inside.last_modification > 0.0;
            inside.last_modification = inside.last_modification.max(modified);
            if !is_newer {
                return;
            }
            inside.slots.values().cloned().collect()
        };
        for slot in slots {
            if let Some(kept) = slot.lock().await.as_mut() {
                kept.outdated = true;
            }
        }
    }
}
