//! Groups: when one is due, what its outlets have not been told yet.

use std::sync::Arc;

use super::super::config::{Out, Route};
use super::super::counts::Suppressed;
use super::super::message::Kind;
use super::super::state::Key;
use super::{Dispatcher, alert_lane};

/// What a group has to say to one outlet.
#[derive(Default)]
struct News {
    /// All that fire and may be told.
    firing: Vec<u64>,
    /// Those among them that the outlet does not know.
    new: Vec<u64>,
    /// Those that it was told of and that have ended.
    resolved: Vec<u64>,
}

impl Dispatcher {
    pub(super) fn flush_due(&mut self, now: u64) {
        let due = self.groups.iter().filter(|(_, group)| group.timers.next_flush <= now);
        let due: Vec<String> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            self.flush(&key, now);
        }
    }

    fn flush(&mut self, key: &str, now: u64) {
        let Some(group) = self.groups.get(key) else { return };
        let Some(route) = self.route_of_group(group.route.clone(), &group.members) else {
            // The configuration is another one: its alerts have other groups.
            self.groups.remove(key);
            self.changes.remove(Key::Group(key.to_owned()));
            return;
        };
        let is_mute = route.is_mute(now, &self.settings.intervals);
        let outs = self
            .settings
            .receiver(&route.receiver)
            .map_or_else(Vec::new, |receiver| receiver.outs.clone());
        for out in &outs {
            let news = self.news(key, out, now);
            if is_mute {
                self.counts
                    .suppressed_many(Suppressed::Mute, news.new.len() + news.resolved.len());
            } else if out.target.is_synced() {
                // Peers of an Alertmanager are told at once and do the grouping.
            } else {
                self.tell_news(key, &route, out, news, now);
            }
        }
        let ends = self.is_over(key, &outs, is_mute);
        if ends {
            self.groups.remove(key);
            self.changes.remove(Key::Group(key.to_owned()));
        } else if let Some(group) = self.groups.get_mut(key) {
            group.timers.next_flush = now + route.group_interval;
            self.changes.put(Key::Group(key.to_owned()), &group.timers);
        }
    }

    fn route_of_group(&self, id: String, members: &std::collections::BTreeSet<u64>) -> Option<Arc<Route>> {
        let first = members.iter().find_map(|fingerprint| self.incidents.get(fingerprint))?;
        let routes = self.routes_of(&first.facts.labels);
        routes.into_iter().find(|route| route.id == id)
    }

    fn news(&mut self, key: &str, out: &Out, now: u64) -> News {
        let mut news = News::default();
        let mut held: Vec<Suppressed> = Vec::new();
        let mut unheard = Vec::new();
        let Some(group) = self.groups.get(key) else { return news };
        for fingerprint in &group.members {
            let Some(incident) = self.incidents.get(fingerprint) else {
                continue;
            };
            let mark = incident.told.get(&out.id);
            let facts = &incident.facts;
            let is_known = mark.is_some_and(|mark| mark.starts_at == facts.starts_at);
            if incident.flapping.is_some() {
                if facts.fires() != mark.is_some_and(|mark| mark.fires) {
                    held.push(Suppressed::Flapping);
                }
            } else if !facts.fires() {
                if mark.is_some_and(|mark| mark.fires) {
                    if out.send_resolved {
                        news.resolved.push(*fingerprint);
                    } else {
                        unheard.push(*fingerprint);
                    }
                }
            } else if out.target.is_pager() && facts.severity() == "info" {
                if !is_known {
                    held.push(Suppressed::Info);
                }
            } else if let Some(reason) = self.suppression(incident, now) {
                if !is_known {
                    held.push(reason);
                }
            } else {
                news.firing.push(*fingerprint);
                if !is_known {
                    news.new.push(*fingerprint);
                }
            }
        }
        for reason in held {
            self.counts.suppressed(reason);
        }
        for fingerprint in unheard {
            self.mark(fingerprint, &out.id, None);
        }
        news
    }

    fn tell_news(&mut self, key: &str, route: &Route, out: &Out, news: News, now: u64) {
        let last = self
            .groups
            .get(key)
            .and_then(|group| group.timers.last.get(&out.id))
            .copied();
        let has_news = !news.new.is_empty() || !news.resolved.is_empty();
        let is_repeat =
            !has_news && !news.firing.is_empty() && last.is_none_or(|(at, _)| at + route.repeat_interval <= now);
        if !has_news && !is_repeat {
            return;
        }
        let repeat = if is_repeat {
            last.map_or(0, |(_, repeat)| repeat + 1)
        } else {
            0
        };
        if let Some(group) = self.groups.get_mut(key) {
            group.timers.last.insert(out.id.clone(), (now, repeat));
        }
        let told: Vec<u64> = if is_repeat {
            news.firing.clone()
        } else {
            news.new.iter().chain(&news.resolved).copied().collect()
        };
        let lane = format!("group/{key}");
        if out.target.is_per_alert() {
            for fingerprint in &told {
                self.tell_one(out, route, *fingerprint, repeat, now);
            }
        } else if self.admit(out, &told, now) {
            let all: Vec<u64> = news.firing.iter().chain(&news.resolved).copied().collect();
            let mut message = self.message(Kind::Alert, &route.receiver, &all);
            message.group_key = key.to_owned();
            message.group_labels = self
                .groups
                .get(key)
                .map(|group| group.labels.clone())
                .unwrap_or_default();
            message.repeat = repeat;
            self.outbox.push(&out.id, &lane, message, now, &mut self.changes);
            self.mark_all(&told, &out.id);
        } else {
            self.mark_all(&told, &out.id);
        }
        for fingerprint in news.new {
            self.first_told(fingerprint, now);
        }
    }

    fn tell_one(&mut self, out: &Out, route: &Route, fingerprint: u64, repeat: u32, now: u64) {
        if self.ends_with_digest(out, fingerprint, now) {
            return;
        }
        if self.admit(out, &[fingerprint], now) {
            let mut message = self.message(Kind::Alert, &route.receiver, &[fingerprint]);
            message.group_key = alert_lane(fingerprint);
            message.repeat = repeat;
            self.outbox
                .push(&out.id, &alert_lane(fingerprint), message, now, &mut self.changes);
        }
        self.mark(fingerprint, &out.id, None);
    }

    fn mark_all(&mut self, fingerprints: &[u64], out: &str) {
        for fingerprint in fingerprints {
            self.mark(*fingerprint, out, None);
        }
    }

    /// Takes the members out that have ended and of which everybody knows; whether none is left.
    fn is_over(&mut self, key: &str, outs: &[Out], is_mute: bool) -> bool {
        let incidents = &self.incidents;
        let Some(group) = self.groups.get_mut(key) else {
            return true;
        };
        group.members.retain(|fingerprint| {
            let Some(incident) = incidents.get(fingerprint) else {
                return false;
            };
            let waits = outs.iter().filter(|out| !out.target.is_synced()).any(|out| {
                let mark = incident.told.get(&out.id);
                mark.is_some_and(|mark| mark.fires)
            });
            incident.facts.fires() || incident.flapping.is_some() || (waits && is_mute)
        });
        group.members.is_empty()
    }

    /// Those who were told outside the groups (escalations, fallbacks) hear of the end at once.
    pub(super) fn end_outside_groups(&mut self, fingerprint: u64, now: u64) {
        let Some(incident) = self.incidents.get(&fingerprint) else {
            return;
        };
        if incident.flapping.is_some() {
            return;
        }
        let routes = self.routes_of(&incident.facts.labels);
        let told = incident
            .told
            .iter()
            .filter(|(_, mark)| mark.fires)
            .map(|(out, _)| out.clone());
        for id in told.collect::<Vec<String>>() {
            let Some((receiver, out)) = self.settings.out(&id) else {
                continue;
            };
            let in_group = routes.iter().any(|route| route.receiver == receiver.name);
            if in_group || out.target.is_synced() {
                continue;
            }
            let (receiver, out) = (receiver.name.clone(), out.clone());
            if out.send_resolved && self.admit(&out, &[fingerprint], now) {
                let mut message = self.message(Kind::Alert, &receiver, &[fingerprint]);
                message.group_key = alert_lane(fingerprint);
                self.outbox
                    .push(&id, &alert_lane(fingerprint), message, now, &mut self.changes);
            }
            self.mark(fingerprint, &id, None);
        }
    }
}
