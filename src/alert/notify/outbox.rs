//! The queue of messages: a lane for each outlet and subject (an alert, a group, the digests), in order; a newer message
//! takes the place of one that waits. Lives in the small state and not in `queue::log`: entries are replaced and
//! withdrawn, and a message has to appear in the same transaction as the mark that it was told.

use std::collections::BTreeMap;

use super::message::{Kind, Message};
use super::state::{Changes, Entry, Key};

/// An outlet and a subject.
pub type Lane = (String, String);

const SECOND: u64 = 1_000_000_000;
const FIRST_PAUSE: u64 = SECOND;
const LONGEST_PAUSE: u64 = 60 * SECOND;

/// The queue.
#[derive(Debug, Default)]
pub struct Outbox {
    /// At most two in a lane: the first may be on its way.
    lanes: BTreeMap<Lane, Vec<Entry>>,
    /// What is on its way.
    flying: BTreeMap<Lane, u64>,
    /// Outlets that have failed: how often in a row, and until when they are left alone.
    pauses: BTreeMap<String, (u32, u64)>,
    next: u64,
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Another try can help, after this time (nanoseconds) where the receiver says one.
    Retry { after: Option<u64>, why: String },
    /// No try will help.
    Refused { why: String },
}

impl Outbox {
    /// With what an earlier run left, in its order.
    pub fn load(entries: Vec<Entry>) -> Self {
        let mut outbox = Self::default();
        for mut entry in entries {
            outbox.next = outbox.next.max(entry.sequence + 1);
            entry.is_left = true;
            let lane = (entry.out.clone(), entry.lane.clone());
            outbox.lanes.entry(lane).or_default().push(entry);
        }
        outbox
    }

    /// Queues a message.
    pub fn push(&mut self, out: &str, lane: &str, message: Message, now: u64, changes: &mut Changes) {
        self.push_refused((out, lane), message, &[], now, changes);
    }

    /// Queues a message that other receivers have refused.
    pub fn push_refused(
        &mut self,
        (out, lane): (&str, &str),
        message: Message,
        refused_by: &[String],
        now: u64,
        changes: &mut Changes,
    ) {
        let place: Lane = (out.to_owned(), lane.to_owned());
        let flies = self.flying.contains_key(&place);
        let mut entry = Entry {
            sequence: self.next,
            out: out.to_owned(),
            lane: lane.to_owned(),
            message,
            queued_at: now,
            refused_by: refused_by.to_vec(),
            attempts: 0,
            next_try: 0,
            is_left: false,
        };
        self.next += 1;
        let entries = self.lanes.entry(place).or_default();
        // The first may have arrived: then it must be tried again as it is, under the same key.
        let is_first = entries.len() == 1;
        let stays = |old: &Entry| is_first && (flies || (old.is_left && old.attempts == 0));
        if let Some(old) = entries.pop_if(|old| !stays(old)) {
            changes.remove(Key::Entry(old.sequence));
            take_over(&mut entry, old);
        }
        changes.put(Key::Entry(entry.sequence), &entry);
        entries.push(entry);
    }

    /// The next message for an outlet, which is on its way from now on: the critical ones first.
    pub fn take(&mut self, out: &str, now: u64) -> Option<Entry> {
        if self.pauses.get(out).is_some_and(|(_, until)| *until > now) {
            return None;
        }
        let mut best: Option<(bool, u64, &Entry)> = None;
        for (lane, entries) in self.of(out) {
            let Some(entry) = entries.first() else { continue };
            if self.flying.contains_key(lane) || entry.next_try > now {
                continue;
            }
            let rank = (!entry.message.is_critical(), entry.sequence);
            if best.is_none_or(|(critical, sequence, _)| rank < (critical, sequence)) {
                best = Some((rank.0, rank.1, entry));
            }
        }
        let entry = best.map(|(_, _, entry)| entry.clone())?;
        self.flying
            .insert((entry.out.clone(), entry.lane.clone()), entry.sequence);
        Some(entry)
    }

    /// It has arrived.
    pub fn delivered(&mut self, entry: &Entry, changes: &mut Changes) {
        self.pauses.remove(&entry.out);
        self.remove(entry, changes);
    }

    /// It has not arrived. `Some` where it never will: the message is out of the queue.
    pub fn failed(&mut self, entry: &Entry, failed: &Failed, now: u64, changes: &mut Changes) -> Option<Entry> {
        let place: Lane = (entry.out.clone(), entry.lane.clone());
        let Failed::Retry { after, .. } = failed else {
            self.pauses.remove(&entry.out);
            return self.remove(entry, changes);
        };
        let times = self.pauses.get(&entry.out).map_or(0, |(times, _)| *times) + 1;
        let until = now + pause(times).max(after.unwrap_or(0));
        self.pauses.insert(entry.out.clone(), (times, until));
        self.flying.remove(&place);
        let entries = self.lanes.get_mut(&place)?;
        let first = entries.first_mut().filter(|first| first.sequence == entry.sequence)?;
        first.attempts += 1;
        first.next_try = now + pause(first.attempts).max(after.unwrap_or(0));
        if entries.len() > 1 {
            let old = entries.remove(0);
            changes.remove(Key::Entry(old.sequence));
            if let Some(newer) = entries.first_mut() {
                newer.attempts = old.attempts;
                newer.next_try = old.next_try;
                take_over(newer, old);
                changes.put(Key::Entry(newer.sequence), newer);
            }
        }
        None
    }

    fn remove(&mut self, entry: &Entry, changes: &mut Changes) -> Option<Entry> {
        let place: Lane = (entry.out.clone(), entry.lane.clone());
        if self.flying.get(&place) == Some(&entry.sequence) {
            self.flying.remove(&place);
        }
        let entries = self.lanes.get_mut(&place)?;
        let at = entries.iter().position(|have| have.sequence == entry.sequence)?;
        let removed = entries.remove(at);
        if entries.is_empty() {
            self.lanes.remove(&place);
        }
        changes.remove(Key::Entry(removed.sequence));
        Some(removed)
    }

    /// Takes back the escalations of a lane that have certainly not arrived. Returns their outlets.
    pub fn withdraw_escalations(&mut self, lane: &str, changes: &mut Changes) -> Vec<String> {
        let mut found = Vec::new();
        for (place, entries) in &self.lanes {
            let [entry] = entries.as_slice() else { continue };
            let is_meant = place.1 == lane && entry.message.kind == Kind::Escalation;
            if is_meant && entry.attempts == 0 && !entry.is_left && !self.flying.contains_key(place) {
                found.push(entry.clone());
            }
        }
        for entry in &found {
            self.remove(entry, changes);
        }
        found.into_iter().map(|entry| entry.out).collect()
    }

    /// Takes out what is no longer worth telling and is not on its way.
    pub fn expire(&mut self, is_over: impl Fn(&Entry) -> bool, changes: &mut Changes) -> Vec<Entry> {
        let mut over = Vec::new();
        for (lane, entries) in &self.lanes {
            let flying = self.flying.get(lane);
            over.extend(
                entries
                    .iter()
                    .filter(|entry| flying != Some(&entry.sequence) && is_over(entry))
                    .cloned(),
            );
        }
        for entry in &over {
            self.remove(entry, changes);
        }
        over
    }

    /// When an outlet has something to do next; `None`: nothing waits.
    pub fn next_due(&self, out: &str) -> Option<u64> {
        let waiting = self.of(out).filter(|(lane, _)| !self.flying.contains_key(*lane));
        let due = waiting
            .filter_map(|(_, entries)| entries.first().map(|entry| entry.next_try))
            .min()?;
        let paused = self.pauses.get(out).map_or(0, |(_, until)| *until);
        Some(due.max(paused))
    }

    /// Messages in the queue.
    pub fn len(&self) -> usize {
        self.lanes.values().map(Vec::len).sum()
    }

    /// When the oldest was queued.
    pub fn oldest(&self) -> Option<u64> {
        self.lanes.values().flatten().map(|entry| entry.queued_at).min()
    }

    /// For each outlet that fails: how often in a row.
    pub fn failing(&self, out: &str) -> u32 {
        self.pauses.get(out).map_or(0, |(times, _)| *times)
    }

    fn of(&self, out: &str) -> impl Iterator<Item = (&Lane, &Vec<Entry>)> {
        let from = (out.to_owned(), String::new());
        let out = out.to_owned();
        self.lanes.range(from..).take_while(move |((of, _), _)| *of == out)
    }
}

/// 1 s, 2 s, ... 60 s.
fn pause(times: u32) -> u64 {
    (FIRST_PAUSE << times.saturating_sub(1).min(6)).min(LONGEST_PAUSE)
}

fn take_over(newer: &mut Entry, older: Entry) {
    newer.queued_at = older.queued_at;
    newer.refused_by.extend(older.refused_by);
    newer.message.supersede(older.message);
}
