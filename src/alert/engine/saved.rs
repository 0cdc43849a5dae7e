//! The state of rules as bytes, for the state store: everything that a restart must not forget.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::episodes::Episode;
use super::machine::{Instances, Tick};
use super::watched::{Labels, Watched, nanos};
use super::{Engine, Orphan};
use crate::alert::Told;

/// The form of [`Saved`].
const VERSION: u32 = 1;

/// One rule.
#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    next: Option<i64>,
    begun: Option<i64>,
    base: Instances,
    current: Instances,
    history: Vec<Tick>,
    labels: Vec<(u64, Labels)>,
    episodes: Vec<Episode>,
}

impl Engine {
    /// The state of each rule under its identity.
    pub fn save(&self) -> Vec<(u64, Vec<u8>)> {
        self.watched
            .iter()
            .map(|watched| (watched.identity(), watched.save()))
            .collect()
    }

    /// Takes up the state of one rule. Says whether the rule is there and its state could be read.
    pub fn restore(&mut self, identity: u64, bytes: &[u8]) -> Restored {
        let Some(watched) = self.watched.iter_mut().find(|watched| watched.identity() == identity) else {
            return Restored::NoSuchRule;
        };
        match serde_json::from_slice::<Saved>(bytes) {
            Ok(saved) if saved.version == VERSION => {
                watched.take_up(saved);
                self.last_tick = self.last_tick.max(watched.last_tick().unwrap_or(i64::MIN));
                Restored::Done
            }
            _ => Restored::Unreadable,
        }
    }

    /// The state of a rule that was changed or removed: its alerts end.
    pub fn adopt_orphans(&mut self, identity: u64, bytes: &[u8], now: i64) {
        self.orphans.push(Orphan {
            identity,
            told: orphans(bytes, now),
            shown: false,
            since: now,
        });
    }

    /// Rules whose state is not needed any more: the end of their alerts was told.
    pub fn forgotten(&self) -> Vec<u64> {
        self.orphans
            .iter()
            .filter(|orphan| orphan.shown)
            .map(|orphan| orphan.identity)
            .collect()
    }

    /// What was told will not vanish without an end. Called when the listener has it.
    pub fn mark_told(&mut self) {
        for watched in &mut self.watched {
            watched.mark_shown();
        }
        for orphan in &mut self.orphans {
            orphan.shown = true;
        }
    }
}

/// What became of a saved state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    Done,
    /// The rule was changed or removed.
    NoSuchRule,
    Unreadable,
}

impl Watched {
    fn save(&self) -> Vec<u8> {
        let mut labels: Vec<(u64, Labels)> = self.labels.iter().map(|(key, labels)| (*key, labels.clone())).collect();
        labels.sort();
        let saved = Saved {
            version: VERSION,
            next: self.next,
            begun: self.begun,
            base: self.base.clone(),
            current: self.current.clone(),
            history: self.history.iter().cloned().collect(),
            labels,
            episodes: self.episodes.clone(),
        };
        // Plain numbers, texts and maps by numbers: this does not fail.
        serde_json::to_vec(&saved).unwrap_or_default()
    }

    fn take_up(&mut self, saved: Saved) {
        self.next = saved.next;
        self.begun = saved.begun;
        self.base = saved.base;
        self.current = saved.current;
        self.history = saved.history.into();
        self.labels = saved.labels.into_iter().collect();
        self.episodes = saved.episodes;
    }
}

/// Alerts of a rule that is no more, as they are told for the last time.
pub(super) fn orphans(bytes: &[u8], ended_at: i64) -> Vec<Told> {
    let Ok(saved) = serde_json::from_slice::<Saved>(bytes) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for episode in saved.episodes {
        let labels = saved.labels.iter().find(|(key, _)| *key == episode.key);
        let Some((_, labels)) = labels else { continue };
        if episode.ended_at.is_some() || !episode.shown {
            continue;
        }
        found.push(Told {
            labels: labels.clone(),
            annotations: vec![("reason".to_owned(), "rule_changed".to_owned())],
            starts_at: nanos(episode.fired_at),
            ends_at: Some(nanos(ended_at)),
            value: episode.value,
            guidance: Arc::default(),
            pattern: episode.pattern,
            cause: episode.cause,
            traces: episode.traces,
        });
    }
    found
}
