//! Decides who is told what and when. No task, no clock and no network of its own: `tell` takes what the engine says,
//! `tick` does what is due, both at a time that the caller gives; what follows from them is put into `changes`, and only
//! what has been committed may leave.

mod digest;
mod escalate;
mod flush;
mod incidents;
mod inhibit;
mod silences;
#[cfg(test)]
mod tests;

pub use escalate::AckError;
pub use silences::SilenceError;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::inhibit::Sources;
use super::super::Labels;
use super::config::{Out, Route, Settings, Silence};
use super::counts::{Counts, Suppressed};
use super::message::{Facts, Kind, Line, Message};
use super::outbox::{Failed, Outbox};
use super::state::{Changes, Entry, Incident, Kept, Key, Rate, Timers};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 3600 * SECOND;
/// Messages that nobody could be given are kept so long after the end of their alerts.
const KEPT_AFTER_END: u64 = 24 * HOUR;

/// Alerts that are followed; more are not told, and counted.
const MOST_INCIDENTS: usize = 20_000;

/// A group of alerts of one route.
#[derive(Debug)]
struct Group {
    route: String,
    labels: Labels,
    members: BTreeSet<u64>,
    timers: Timers,
}

/// See the module.
pub struct Dispatcher {
    settings: Arc<Settings>,
    counts: Counts,
    incidents: BTreeMap<u64, Incident>,
    /// By route and labels.
    groups: BTreeMap<String, Group>,
    rates: BTreeMap<String, Rate>,
    silences: BTreeMap<String, Silence>,
    /// Which of them came by the API and are kept in the state.
    own_silences: BTreeSet<String>,
    outbox: Outbox,
    places: BTreeMap<(String, String), String>,
    sources: Sources,
    changes: Changes,
}

impl Dispatcher {
    /// Goes on where an earlier run stopped.
    pub fn load(settings: Arc<Settings>, counts: Counts, kept: Kept, now: u64) -> Self {
        let mut dispatcher = Self {
            outbox: Outbox::load(kept.entries),
            incidents: kept.incidents,
            rates: kept.rates,
            places: kept.places,
            groups: BTreeMap::new(),
            silences: settings
                .silences
                .iter()
                .map(|one| (one.id.clone(), one.clone()))
                .collect(),
            own_silences: BTreeSet::new(),
            sources: Sources::default(),
            changes: Changes::default(),
            settings,
            counts,
        };
        dispatcher.load_silences(kept.silences, now);
        let fingerprints: Vec<u64> = dispatcher.incidents.keys().copied().collect();
        for fingerprint in fingerprints {
            dispatcher.join_groups(fingerprint, now, &kept.groups);
        }
        for key in kept.groups.keys() {
            if !dispatcher.groups.contains_key(key) {
                dispatcher.changes.remove(Key::Group(key.clone()));
            }
        }
        dispatcher
            .sources
            .rebuild(&dispatcher.settings.inhibit, &dispatcher.incidents);
        dispatcher.drop_orphans();
        dispatcher
    }

    /// Messages for outlets that the configuration no longer has.
    fn drop_orphans(&mut self) {
        let settings = &self.settings;
        let gone = self
            .outbox
            .expire(|entry| settings.out(&entry.out).is_none(), &mut self.changes);
        self.counts.dropped("", "receiver_removed", gone.len());
    }

    /// What has to be on the disk before anything of it may leave.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// They are on the disk.
    pub fn committed(&mut self) {
        self.changes = Changes::default();
    }

    /// Does what is due.
    pub fn tick(&mut self, now: u64) {
        self.flush_due(now);
        self.escalate_due(now);
        self.digests_due(now);
        self.flapping_due(now);
        self.expire(now);
    }

    /// When `tick` has something to do again. Nothing waits without one.
    pub fn next_due(&self) -> Option<u64> {
        let groups = self.groups.values().map(|group| group.timers.next_flush);
        let incidents = self
            .incidents
            .values()
            .filter_map(|incident| self.incident_due(incident));
        let digests = self.rates.values().filter_map(digest::due);
        groups.chain(incidents).chain(digests).min()
    }

    fn incident_due(&self, incident: &Incident) -> Option<u64> {
        let flap = incident.flapping.as_ref().map(|flapping| flapping.next_digest);
        [flap, escalate::due(incident)].into_iter().flatten().min()
    }

    /// The next message for an outlet.
    pub fn take(&mut self, out: &str, now: u64) -> Option<Entry> {
        self.outbox.take(out, now)
    }

    /// When an outlet has something to do.
    pub fn out_due(&self, out: &str) -> Option<u64> {
        self.outbox.next_due(out)
    }

    /// A message has arrived. `place`: where the outlet can find it again.
    pub fn delivered(&mut self, entry: &Entry, place: Option<String>) {
        self.counts.sent(&entry.out);
        self.outbox.delivered(entry, &mut self.changes);
        if let Some(place) = place {
            let key = (entry.out.clone(), entry.lane.clone());
            self.changes.put(Key::Place(key.0.clone(), key.1.clone()), &place);
            self.places.insert(key, place);
        }
        if !entry.message.fires() {
            self.forget_place(&entry.out, &entry.lane);
        }
    }

    /// Where an outlet has put the last message of a lane.
    pub fn place(&self, out: &str, lane: &str) -> Option<&String> {
        self.places.get(&(out.to_owned(), lane.to_owned()))
    }

    fn forget_place(&mut self, out: &str, lane: &str) {
        let key = (out.to_owned(), lane.to_owned());
        if self.places.remove(&key).is_some() {
            self.changes.remove(Key::Place(key.0, key.1));
        }
    }

    /// A message has not arrived. Where it never will, the next receiver gets it.
    pub fn failed(&mut self, entry: &Entry, failed: &Failed, now: u64) {
        self.counts.failed(&entry.out);
        let Some(refused) = self.outbox.failed(entry, failed, now, &mut self.changes) else {
            return;
        };
        let Some((receiver, _)) = self.settings.out(&refused.out) else {
            return;
        };
        self.counts.dropped(&receiver.name, "refused", 1);
        let root = self.settings.route.as_ref().map_or("", |route| route.receiver.as_str());
        let next = if receiver.fallback.is_empty() {
            root
        } else {
            &receiver.fallback
        };
        let mut refused_by = refused.refused_by;
        refused_by.push(receiver.name.clone());
        if next.is_empty() || refused_by.iter().any(|name| name == next) {
            return;
        }
        let Some(next) = self.settings.receiver(next).cloned() else {
            return;
        };
        let fingerprints: Vec<u64> = refused
            .message
            .lines
            .iter()
            .map(|line| line.facts.fingerprint)
            .collect();
        for out in next.outs.iter().filter(|out| !out.target.is_synced()) {
            let message = Message {
                receiver: next.name.clone(),
                ..refused.message.clone()
            };
            self.queue_refused(out, &refused.lane, message, &refused_by, now);
            for fingerprint in &fingerprints {
                self.mark(*fingerprint, &out.id, None);
            }
        }
    }

    fn queue_refused(&mut self, out: &Out, lane: &str, message: Message, refused_by: &[String], now: u64) {
        if !out.target.is_per_alert() {
            self.outbox
                .push_refused((&out.id, lane), message, refused_by, now, &mut self.changes);
            return;
        }
        for line in &message.lines {
            let alone = Message {
                lines: vec![line.clone()],
                ..message.clone()
            };
            let lane = alert_lane(line.facts.fingerprint);
            self.outbox
                .push_refused((&out.id, &lane), alone, refused_by, now, &mut self.changes);
        }
    }

    /// Takes out what is over: messages too old to tell, alerts that nobody waits for, silences.
    fn expire(&mut self, now: u64) {
        let incidents = &self.incidents;
        let is_over = |entry: &Entry| {
            !entry
                .message
                .lines
                .iter()
                .any(|line| match incidents.get(&line.facts.fingerprint) {
                    Some(incident) => incident.ended_at.is_none_or(|ended| ended + KEPT_AFTER_END > now),
                    None => line.facts.ends_at.is_none_or(|ended| ended + KEPT_AFTER_END > now),
                })
        };
        let over = self.outbox.expire(is_over, &mut self.changes);
        for entry in &over {
            let receiver = self
                .settings
                .out(&entry.out)
                .map_or("", |(receiver, _)| receiver.name.as_str());
            self.counts.dropped(receiver, "too_old", 1);
        }
        self.expire_incidents(now);
        self.expire_silences(now);
    }

    /// Messages in the queue.
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// What is on and what waits, for telemetry.
    pub fn observe(&self, now: u64) {
        let firing = self
            .incidents
            .values()
            .filter(|incident| incident.facts.fires())
            .count();
        let oldest = self.outbox.oldest().map_or(0, |queued| now.saturating_sub(queued));
        let silences = self
            .silences
            .values()
            .filter(|one| one.starts_at <= now && now < one.ends_at)
            .count();
        self.counts.observe(firing, silences, self.outbox.len(), oldest);
        for receiver in &self.settings.receivers {
            for out in &receiver.outs {
                self.counts.failing(&out.id, self.outbox.failing(&out.id));
            }
        }
    }

    /// Why an alert is not told now, if it is not.
    fn suppression(&self, incident: &Incident, now: u64) -> Option<Suppressed> {
        let labels = &incident.facts.labels;
        if self.silences.values().any(|silence| silence.covers(labels, now)) {
            return Some(Suppressed::Silence);
        }
        if self.sources.inhibits(&self.settings.inhibit, incident) {
            return Some(Suppressed::Inhibition);
        }
        None
    }

    fn routes_of(&self, labels: &Labels) -> Vec<Arc<Route>> {
        let route = self.settings.route.as_ref();
        route.map_or_else(Vec::new, |route| route.of(labels))
    }

    fn line(&self, fingerprint: u64) -> Option<Line> {
        let incident = self.incidents.get(&fingerprint)?;
        let acknowledged = incident.acknowledged.as_ref();
        Some(Line {
            facts: incident.facts.clone(),
            acknowledged_by: acknowledged.map_or_else(String::new, |acknowledged| acknowledged.by.clone()),
            transitions: if incident.flapping.is_some() {
                incident.transitions.len()
            } else {
                0
            },
        })
    }

    /// A message about some alerts, for a receiver.
    fn message(&self, kind: Kind, receiver: &str, fingerprints: &[u64]) -> Message {
        let lines = fingerprints.iter().filter_map(|fingerprint| self.line(*fingerprint));
        let mut message = Message {
            kind,
            receiver: receiver.to_owned(),
            group_key: String::new(),
            group_labels: Labels::new(),
            lines: lines.collect(),
            truncated: 0,
            step: 0,
            repeat: 0,
        };
        message.cut();
        message
    }

    fn save(&mut self, fingerprint: u64) {
        if let Some(incident) = self.incidents.get(&fingerprint) {
            self.changes.put(Key::Incident(fingerprint), incident);
        }
    }

    /// Notes what an outlet has been told: the alert as it stands.
    fn mark(&mut self, fingerprint: u64, out: &str, digest: Option<String>) {
        let Some(incident) = self.incidents.get_mut(&fingerprint) else {
            return;
        };
        let mark = super::state::Mark {
            starts_at: incident.facts.starts_at,
            fires: incident.facts.fires(),
            digest,
        };
        incident.told.insert(out.to_owned(), mark);
        self.save(fingerprint);
    }

    /// What fires and what ended lately, with what was done about it.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    /// The alerts that a peer of an Alertmanager is to know of: those that fire, and those whose end it has not heard.
    pub fn synced(&self, out: &str) -> Vec<Facts> {
        let told = self.incidents.values().filter(|incident| {
            let mark = incident.told.get(out);
            mark.is_some_and(|mark| mark.fires)
        });
        told.map(|incident| incident.facts.clone()).collect()
    }

    /// A peer has taken these.
    pub fn synced_to(&mut self, out: &str, sent: &[Facts]) {
        self.counts.sent(out);
        for facts in sent.iter().filter(|facts| !facts.fires()) {
            let is_same = self
                .incidents
                .get(&facts.fingerprint)
                .is_some_and(|incident| incident.facts.ends_at == facts.ends_at);
            if is_same {
                self.mark(facts.fingerprint, out, None);
            }
        }
    }

    /// A peer has not.
    pub fn sync_failed(&mut self, out: &str) {
        self.counts.failed(out);
    }
}

/// The lane of one alert alone.
fn alert_lane(fingerprint: u64) -> String {
    format!("alert/{fingerprint:016x}")
}
