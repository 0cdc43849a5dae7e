//! Against floods: at most 20 messages an outlet in 10 minutes, the rest in a digest; hourly digests of alerts that flap;
//! one digest of what came and went while nobody looked.

use std::collections::BTreeMap;

use super::super::config::Out;
use super::super::counts::Suppressed;
use super::super::message::{Kind, Message};
use super::super::state::{Key, Mark, Rate};
use super::incidents::forget_old;
use super::{Dispatcher, HOUR, MINUTE, SECOND, alert_lane};

/// Messages of an outlet ...
const MOST: usize = 20;
/// ... in so long.
const WINDOW: u64 = 10 * MINUTE;
/// A critical alert must be told within a minute; this leaves time to deliver.
const CRITICAL: u64 = 45 * SECOND;

/// When the digest of an outlet is due.
pub fn due(rate: &Rate) -> Option<u64> {
    if rate.overflow.is_empty() {
        return None;
    }
    let room = match rate.sent.len().checked_sub(MOST) {
        // Digests of critical alerts may have gone beyond the limit.
        Some(beyond) => rate.sent.get(beyond).map_or(0, |oldest| oldest + WINDOW),
        None => 0,
    };
    Some(rate.critical_since.map_or(room, |since| room.min(since + CRITICAL)))
}

impl Dispatcher {
    /// Whether an outlet may be told now; else the alerts wait for its digest.
    pub(super) fn admit(&mut self, out: &Out, fingerprints: &[u64], now: u64) -> bool {
        let incidents = &self.incidents;
        let is_critical = fingerprints.iter().any(|fingerprint| {
            let incident = incidents.get(fingerprint);
            incident.is_some_and(|incident| incident.facts.fires() && incident.facts.is_critical())
        });
        let rate = self.rates.entry(out.id.clone()).or_default();
        while rate.sent.front().is_some_and(|first| first + WINDOW <= now) {
            rate.sent.pop_front();
        }
        let is_admitted = rate.sent.len() < MOST && rate.overflow.is_empty();
        if is_admitted {
            rate.sent.push_back(now);
        } else {
            for fingerprint in fingerprints {
                if !rate.overflow.contains(fingerprint) {
                    rate.overflow.push(*fingerprint);
                }
            }
            if is_critical && rate.critical_since.is_none() {
                rate.critical_since = Some(now);
            }
            self.counts.suppressed_many(Suppressed::Rate, fingerprints.len());
        }
        self.changes.put(Key::Rate(out.id.clone()), rate);
        is_admitted
    }

    pub(super) fn digests_due(&mut self, now: u64) {
        let due = self
            .rates
            .iter()
            .filter(|(_, rate)| due(rate).is_some_and(|due| due <= now));
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<String>>() {
            let Some(rate) = self.rates.get_mut(&id) else { continue };
            let held = std::mem::take(&mut rate.overflow);
            rate.critical_since = None;
            rate.digests += 1;
            let name = format!("digest/{}", rate.digests);
            rate.sent.push_back(now);
            while rate.sent.front().is_some_and(|first| first + WINDOW <= now) {
                rate.sent.pop_front();
            }
            self.changes.put(Key::Rate(id.clone()), rate);
            let Some((receiver, out)) = self.settings.out(&id) else {
                continue;
            };
            let (receiver, out) = (receiver.name.clone(), out.clone());
            self.send_digest(&out, &receiver, &name, &held, now);
        }
    }

    /// One message about many alerts as they stand now.
    fn send_digest(&mut self, out: &Out, receiver: &str, name: &str, fingerprints: &[u64], now: u64) {
        let mut message = self.message(Kind::Digest, receiver, fingerprints);
        message.group_key = name.to_owned();
        if message.lines.is_empty() {
            return;
        }
        if out.target.is_pager() {
            if !message.fires() {
                return;
            }
            message.lines.retain(|line| line.facts.fires());
        }
        // A pager opens an incident for each digest, which has a lane and an end of its own.
        let lane = if out.target.is_pager() { name } else { "digest" };
        self.outbox.push(&out.id, lane, message, now, &mut self.changes);
        for fingerprint in fingerprints {
            let digest = out.target.is_pager().then(|| name.to_owned());
            self.mark(*fingerprint, &out.id, digest);
        }
    }

    /// Whether an alert that has ended was told to a pager by a digest. The last one ends the digest.
    pub(super) fn ends_with_digest(&mut self, out: &Out, fingerprint: u64, now: u64) -> bool {
        let Some(incident) = self.incidents.get(&fingerprint) else {
            return false;
        };
        let digest = incident.told.get(&out.id).and_then(|mark| mark.digest.clone());
        let (Some(digest), false) = (digest, incident.facts.fires()) else {
            return false;
        };
        let receiver = self
            .settings
            .out(&out.id)
            .map_or_else(String::new, |(receiver, _)| receiver.name.clone());
        self.mark(fingerprint, &out.id, None);
        let is_of_it = |mark: Option<&Mark>| {
            mark.is_some_and(|mark| mark.fires && mark.digest.as_deref() == Some(digest.as_str()))
        };
        if !self.incidents.values().any(|other| is_of_it(other.told.get(&out.id))) {
            let mut message: Message = self.message(Kind::Digest, &receiver, &[fingerprint]);
            message.group_key = digest.clone();
            self.outbox.push(&out.id, &digest, message, now, &mut self.changes);
        }
        true
    }

    pub(super) fn flapping_due(&mut self, now: u64) {
        let due = self.incidents.iter().filter(|(_, incident)| {
            let flapping = incident.flapping.as_ref();
            flapping.is_some_and(|flapping| flapping.next_digest <= now)
        });
        for fingerprint in due.map(|(fingerprint, _)| *fingerprint).collect::<Vec<u64>>() {
            let Some(incident) = self.incidents.get_mut(&fingerprint) else {
                continue;
            };
            forget_old(&mut incident.transitions, now);
            if incident.transitions.is_empty() {
                // Calm for an hour: from here on as any other; the groups tell what is left to be told.
                incident.flapping = None;
                self.save(fingerprint);
                self.join_groups(fingerprint, now, &BTreeMap::new());
                self.end_if_over(fingerprint, now);
                continue;
            }
            if let Some(flapping) = &mut incident.flapping {
                flapping.next_digest = now + HOUR;
            }
            self.save(fingerprint);
            self.tell_flapping(fingerprint, now);
        }
    }

    fn end_if_over(&mut self, fingerprint: u64, now: u64) {
        if self
            .incidents
            .get(&fingerprint)
            .is_some_and(|incident| !incident.facts.fires())
        {
            self.end_outside_groups(fingerprint, now);
        }
    }

    fn tell_flapping(&mut self, fingerprint: u64, now: u64) {
        let Some(incident) = self.incidents.get(&fingerprint) else {
            return;
        };
        if self.suppression(incident, now).is_some() {
            return;
        }
        let is_info = incident.facts.severity() == "info";
        for route in self.routes_of(&incident.facts.labels.clone()) {
            if route.is_mute(now, &self.settings.intervals) {
                continue;
            }
            let outs = self
                .settings
                .receiver(&route.receiver)
                .map_or_else(Vec::new, |receiver| receiver.outs.clone());
            for out in outs.iter().filter(|out| !out.target.is_synced()) {
                if out.target.is_pager() && is_info {
                    continue;
                }
                if self.admit(out, &[fingerprint], now) {
                    let mut message = self.message(Kind::Flapping, &route.receiver, &[fingerprint]);
                    message.group_key = alert_lane(fingerprint);
                    // Each hour's is another one.
                    message.repeat = u32::try_from(now / HOUR).unwrap_or(0);
                    self.outbox
                        .push(&out.id, &alert_lane(fingerprint), message, now, &mut self.changes);
                }
                self.mark(fingerprint, &out.id, None);
            }
        }
    }

    /// One digest an outlet about alerts that began and ended before we heard of them.
    pub(super) fn tell_missed(&mut self, fingerprints: &[u64], now: u64) {
        let mut by_out: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for fingerprint in fingerprints {
            let Some(incident) = self.incidents.get(fingerprint) else {
                continue;
            };
            if let Some(reason) = self.suppression(incident, now) {
                self.counts.suppressed(reason);
                continue;
            }
            for route in self.routes_of(&incident.facts.labels) {
                if route.is_mute(now, &self.settings.intervals) {
                    continue;
                }
                let Some(receiver) = self.settings.receiver(&route.receiver) else {
                    continue;
                };
                let outs = receiver
                    .outs
                    .iter()
                    .filter(|out| !out.target.is_synced() && !out.target.is_pager());
                for out in outs {
                    by_out.entry(out.id.clone()).or_default().push(*fingerprint);
                }
            }
        }
        for (id, missed) in by_out {
            let Some((receiver, out)) = self.settings.out(&id) else {
                continue;
            };
            let (receiver, out) = (receiver.name.clone(), out.clone());
            if self.admit(&out, &missed, now) {
                self.send_digest(&out, &receiver, "digest/missed", &missed, now);
            }
        }
    }
}
