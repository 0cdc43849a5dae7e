//! What is kept of alerts, groups, messages and silences, and how it lies in the small state: space `alert.notify`, keys
//! that begin with the component's id, JSON with a version.

use std::collections::{BTreeMap, VecDeque};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::SilenceRequest;
use super::message::{Facts, Message};
use crate::component::{StateChange, StateError, StateStore};

const SPACE: &str = "alert.notify";
const VERSION: u8 = 1;

/// What is known of the alerts of one fingerprint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Incident {
    pub facts: Facts,
    /// When its end was told here, by our clock.
    pub ended_at: Option<u64>,
    /// The latest changes.
    pub transitions: VecDeque<u64>,
    pub flapping: Option<Flapping>,
    pub acknowledged: Option<Acknowledged>,
    /// When somebody was first told of it.
    pub first_told: Option<u64>,
    /// Steps of the escalation that have been taken.
    pub steps_taken: usize,
    /// By the id of the outlet.
    pub told: BTreeMap<String, Mark>,
}

/// What an outlet was told last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub starts_at: u64,
    pub fires: bool,
    /// Told by this digest, which ends when all its alerts have.
    pub digest: Option<String>,
}

/// Held back because it changes too often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flapping {
    pub next_digest: u64,
}

/// Somebody has taken it on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub by: String,
    pub comment: String,
    pub at: u64,
}

/// The timers of a group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Timers {
    pub next_flush: u64,
    /// By outlet: when it was last told something, and how often that was said again.
    pub last: BTreeMap<String, (u64, u32)>,
}

/// How much an outlet was told lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rate {
    pub sent: VecDeque<u64>,
    /// Fingerprints that wait for a digest.
    pub overflow: Vec<u64>,
    /// Since when one that is critical waits.
    pub critical_since: Option<u64>,
    /// Digests so far.
    pub digests: u64,
}

/// A message in the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub sequence: u64,
    pub out: String,
    pub lane: String,
    pub message: Message,
    pub queued_at: u64,
    /// Receivers that have refused it for good.
    pub refused_by: Vec<String>,
    #[serde(skip)]
    pub attempts: u32,
    #[serde(skip)]
    pub next_try: u64,
    /// An earlier run left it: it may have arrived.
    #[serde(skip)]
    pub is_left: bool,
}

/// What a record of the state is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Incident(u64),
    Group(String),
    Rate(String),
    Entry(u64),
    Silence(String),
    /// What an outlet keeps of a lane: where Slack has the message.
    Place(String, String),
}

impl Key {
    fn bytes(&self, id: &str) -> Vec<u8> {
        let rest = match self {
            Key::Incident(fingerprint) => format!("incident/{fingerprint:016x}"),
            Key::Group(key) => format!("group/{key}"),
            Key::Rate(out) => format!("rate/{out}"),
            Key::Entry(sequence) => format!("entry/{sequence:016x}"),
            Key::Silence(silence) => format!("silence/{silence}"),
            Key::Place(out, lane) => format!("place/{out}\0{lane}"),
        };
        format!("{id}\0{rest}").into_bytes()
    }
}

/// Changes that are not on the disk yet. A failed commit leaves them for the next.
#[derive(Debug, Default)]
pub struct Changes(BTreeMap<Key, Option<Vec<u8>>>);

impl Changes {
    /// Sets a record.
    pub fn put<T: Serialize>(&mut self, key: Key, record: &T) {
        let mut bytes = vec![VERSION];
        // Maps with texts for keys and plain data: nothing that JSON cannot say.
        if serde_json::to_writer(&mut bytes, record).is_ok() {
            self.0.insert(key, Some(bytes));
        }
    }

    /// Removes a record.
    pub fn remove(&mut self, key: Key) {
        self.0.insert(key, None);
    }

    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The transaction of a component.
    pub fn to_commit(&self, id: &str) -> Vec<StateChange> {
        let changes = self.0.iter().map(|(key, value)| match value {
            Some(value) => StateChange::put(SPACE, key.bytes(id), value.clone()),
            None => StateChange::remove(SPACE, key.bytes(id)),
        });
        changes.collect()
    }
}

/// All that was kept.
#[derive(Debug, Default)]
pub struct Kept {
    pub incidents: BTreeMap<u64, Incident>,
    pub groups: BTreeMap<String, Timers>,
    pub rates: BTreeMap<String, Rate>,
    pub entries: Vec<Entry>,
    pub silences: Vec<SilenceRequest>,
    pub places: BTreeMap<(String, String), String>,
    /// Records that could not be read: of a later version, or damaged.
    pub unreadable: usize,
}

impl Kept {
    /// Reads the records of a component.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn load(store: &dyn StateStore, id: &str) -> Result<Self, StateError> {
        let mut kept = Self::default();
        let prefix = format!("{id}\0").into_bytes();
        store.scan(SPACE, &prefix, &mut |key, value| {
            let name = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            if kept.take(&name, value).is_none() {
                kept.unreadable += 1;
            }
            true
        })?;
        kept.entries.sort_by_key(|entry| entry.sequence);
        Ok(kept)
    }

    fn take(&mut self, name: &str, value: &[u8]) -> Option<()> {
        let (kind, name) = name.split_once('/')?;
        match kind {
            "incident" => {
                let incident: Incident = read(value)?;
                self.incidents.insert(incident.facts.fingerprint, incident);
            }
            "group" => {
                self.groups.insert(name.to_owned(), read(value)?);
            }
            "rate" => {
                self.rates.insert(name.to_owned(), read(value)?);
            }
            "entry" => self.entries.push(read(value)?),
            "silence" => self.silences.push(read(value)?),
            "place" => {
                let (out, lane) = name.split_once('\0')?;
                self.places.insert((out.to_owned(), lane.to_owned()), read(value)?);
            }
            _ => return None,
        }
        Some(())
    }
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    let (version, json) = value.split_first()?;
    (*version == VERSION)
        .then(|| serde_json::from_slice(json).ok())
        .flatten()
}
