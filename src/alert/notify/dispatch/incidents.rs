//! What the engine tells, taken in: what is new, what has ended, what is gone; which groups it belongs to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::super::Told;
use super::super::counts::Suppressed;
use super::super::message::Facts;
use super::super::state::{Flapping, Incident, Key, Mark, Timers};
use super::{Dispatcher, Group, HOUR, KEPT_AFTER_END, MOST_INCIDENTS, alert_lane};

/// More changes than this in an hour are flapping.
const MOST_TRANSITIONS: usize = 6;

impl Dispatcher {
    /// Takes in everything that fires now and what ended lately.
    pub fn tell(&mut self, now: u64, alerts: &[Told]) {
        // Of one alert the newest: it may have ended and begun again.
        let mut newest: BTreeMap<u64, &Told> = BTreeMap::new();
        for told in alerts {
            let kept = newest.entry(told.fingerprint()).or_insert(told);
            if told.starts_at >= kept.starts_at {
                *kept = told;
            }
        }
        let mut missed = Vec::new();
        let mut changed = false;
        for (fingerprint, told) in &newest {
            changed |= self.take_in(*fingerprint, told, now, &mut missed);
        }
        // What fired and is not told any more has ended without our being told when.
        let known = self.incidents.iter();
        let gone = known.filter(|(fingerprint, incident)| incident.facts.fires() && !newest.contains_key(fingerprint));
        let gone: Vec<u64> = gone.map(|(fingerprint, _)| *fingerprint).collect();
        for fingerprint in gone {
            self.end(fingerprint, now, now);
            changed = true;
        }
        if changed {
            self.sources.rebuild(&self.settings.inhibit, &self.incidents);
        }
        self.sync_new(now);
        self.tell_missed(&missed, now);
    }

    fn take_in(&mut self, fingerprint: u64, told: &Told, now: u64, missed: &mut Vec<u64>) -> bool {
        let facts = Facts::of(told);
        let Some(incident) = self.incidents.get_mut(&fingerprint) else {
            if self.incidents.len() >= MOST_INCIDENTS {
                self.counts.suppressed(Suppressed::TooMany);
                return false;
            }
            let has_ended = told.ends_at.is_some();
            self.incidents.insert(fingerprint, begun(facts));
            if has_ended {
                // It came and went while we did not look.
                if let Some(incident) = self.incidents.get_mut(&fingerprint) {
                    incident.ended_at = Some(now);
                }
                missed.push(fingerprint);
                self.save(fingerprint);
            } else {
                self.began(fingerprint, now);
            }
            return true;
        };
        if told.starts_at < incident.facts.starts_at {
            return false;
        }
        let fired = incident.facts.fires();
        let is_new = told.starts_at > incident.facts.starts_at;
        let ends_at = incident.facts.ends_at;
        incident.facts = facts;
        if is_new {
            incident.acknowledged = None;
            incident.first_told = None;
            incident.steps_taken = 0;
            if fired {
                incident.transitions.push_back(now);
            }
            incident.ended_at = None;
            self.began(fingerprint, now);
            if let Some(ended) = told.ends_at {
                self.end(fingerprint, ended, now);
                let marks = self.incidents.get(&fingerprint).map(|incident| &incident.told);
                if !marks.is_some_and(|marks| marks.values().any(|mark| mark.fires)) {
                    missed.push(fingerprint);
                }
            }
            return true;
        }
        match (fired, told.ends_at) {
            (true, Some(ended)) => {
                // `end` sees it as it was.
                incident.facts.ends_at = None;
                self.end(fingerprint, ended, now);
                true
            }
            (false, None) => {
                // It never ended: whoever was told so will be told with the next repetition.
                incident.ended_at = None;
                self.changed(fingerprint, now);
                self.join_groups(fingerprint, now, &BTreeMap::new());
                true
            }
            (false, Some(_)) => {
                incident.facts.ends_at = ends_at;
                false
            }
            (true, None) => false,
        }
    }

    /// It has begun to fire.
    fn began(&mut self, fingerprint: u64, now: u64) {
        self.changed(fingerprint, now);
        self.join_groups(fingerprint, now, &BTreeMap::new());
    }

    /// It has ended.
    fn end(&mut self, fingerprint: u64, ends_at: u64, now: u64) {
        let Some(incident) = self.incidents.get_mut(&fingerprint) else {
            return;
        };
        incident.facts.ends_at = Some(ends_at);
        incident.ended_at = Some(now);
        // An escalation that has not left is not needed any more.
        let lane = alert_lane(fingerprint);
        for out in self.outbox.withdraw_escalations(&lane, &mut self.changes) {
            incident.told.remove(&out);
        }
        self.changed(fingerprint, now);
        self.end_outside_groups(fingerprint, now);
    }

    /// Counts a change, and holds an alert that has too many.
    fn changed(&mut self, fingerprint: u64, now: u64) {
        if let Some(incident) = self.incidents.get_mut(&fingerprint) {
            incident.transitions.push_back(now);
            forget_old(&mut incident.transitions, now);
            if incident.transitions.len() > MOST_TRANSITIONS && incident.flapping.is_none() {
                incident.flapping = Some(Flapping {
                    next_digest: now + HOUR,
                });
            }
        }
        self.save(fingerprint);
    }

    /// Makes an alert a member of the groups of its routes. `kept`: timers of an earlier run.
    pub(super) fn join_groups(&mut self, fingerprint: u64, now: u64, kept: &BTreeMap<String, Timers>) {
        let Some(incident) = self.incidents.get(&fingerprint) else {
            return;
        };
        let is_told = incident.told.values().any(|mark| mark.fires);
        if !incident.facts.fires() && !is_told {
            return;
        }
        let labels = incident.facts.labels.clone();
        for route in self.routes_of(&labels) {
            let group_labels = route.group_of(&labels);
            let key = group_key(&route.id, &group_labels);
            let group = self.groups.entry(key.clone()).or_insert_with(|| Group {
                route: route.id.clone(),
                labels: group_labels,
                members: BTreeSet::new(),
                timers: kept.get(&key).cloned().unwrap_or_else(|| Timers {
                    next_flush: now + route.group_wait,
                    last: BTreeMap::new(),
                }),
            });
            if group.members.insert(fingerprint) {
                self.changes.put(Key::Group(key), &group.timers);
            }
        }
    }

    /// Peers of an Alertmanager know of an alert from its first moment: they do the rest themselves.
    fn sync_new(&mut self, now: u64) {
        let firing = self.incidents.values().filter(|incident| incident.facts.fires());
        let mut new = Vec::new();
        for incident in firing {
            let mut wanted = Vec::new();
            for route in self.routes_of(&incident.facts.labels) {
                let Some(receiver) = self.settings.receiver(&route.receiver) else {
                    continue;
                };
                if route.is_mute(now, &self.settings.intervals) {
                    continue;
                }
                for out in receiver.outs.iter().filter(|out| out.target.is_synced()) {
                    let mark = incident.told.get(&out.id);
                    if !mark.is_some_and(|mark| mark.fires && mark.starts_at == incident.facts.starts_at) {
                        wanted.push(out.id.clone());
                    }
                }
            }
            if !wanted.is_empty() && self.suppression(incident, now).is_none() {
                new.push((incident.facts.fingerprint, wanted));
            }
        }
        for (fingerprint, outs) in new {
            for out in outs {
                self.mark(fingerprint, &out, None);
            }
            self.first_told(fingerprint, now);
        }
    }

    /// From here on the escalation runs.
    pub(super) fn first_told(&mut self, fingerprint: u64, now: u64) {
        if let Some(incident) = self.incidents.get_mut(&fingerprint)
            && incident.first_told.is_none()
        {
            incident.first_told = Some(now);
            self.save(fingerprint);
        }
    }

    pub(super) fn expire_incidents(&mut self, now: u64) {
        let mut over = Vec::new();
        for (fingerprint, incident) in &self.incidents {
            let Some(ended) = incident.ended_at else { continue };
            let waits = incident.told.values().any(|mark| mark.fires) || incident.flapping.is_some();
            // An hour of memory for counting changes; a day for those who still have to be told.
            let kept = if waits { KEPT_AFTER_END } else { HOUR };
            if ended + kept <= now {
                over.push(*fingerprint);
            }
        }
        for fingerprint in over {
            self.incidents.remove(&fingerprint);
            self.changes.remove(Key::Incident(fingerprint));
            for group in self.groups.values_mut() {
                group.members.remove(&fingerprint);
            }
        }
    }
}

/// What is new here: told to nobody.
fn begun(facts: Facts) -> Incident {
    Incident {
        facts,
        ended_at: None,
        transitions: VecDeque::new(),
        flapping: None,
        acknowledged: None,
        first_told: None,
        steps_taken: 0,
        told: BTreeMap::<String, Mark>::new(),
    }
}

pub(super) fn forget_old(transitions: &mut VecDeque<u64>, now: u64) {
    while transitions.front().is_some_and(|first| first + HOUR <= now) {
        transitions.pop_front();
    }
    // Whoever changes more often than that needs no exact count.
    while transitions.len() > 1_000 {
        transitions.pop_front();
    }
}

/// The same for the same route and labels; readable, as Alertmanager's.
pub(super) fn group_key(route: &str, labels: &crate::alert::Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{route}:{{{}}}", pairs.join(", "))
}
