//! Escalation: who else is told when nobody has acknowledged; and acknowledgement.

use std::collections::BTreeMap;

use super::super::counts::Suppressed;
use super::super::message::Kind;
use super::super::state::{Acknowledged, Incident};
use super::{Dispatcher, alert_lane};

/// Why an alert cannot be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    #[error("there is no such alert")]
    Unknown,
    #[error("the alert does not fire any more")]
    Over,
}

/// When the next step is due.
pub fn due(incident: &Incident) -> Option<u64> {
    let facts = &incident.facts;
    if !facts.fires() || incident.acknowledged.is_some() || incident.flapping.is_some() || facts.severity() == "info" {
        return None;
    }
    let (after, _) = facts.escalation.get(incident.steps_taken)?;
    Some(incident.first_told?.saturating_add(*after))
}

impl Dispatcher {
    pub(super) fn escalate_due(&mut self, now: u64) {
        let due = self
            .incidents
            .iter()
            .filter(|(_, incident)| due(incident).is_some_and(|due| due <= now));
        for fingerprint in due.map(|(fingerprint, _)| *fingerprint).collect::<Vec<u64>>() {
            self.escalate(fingerprint, now);
        }
    }

    fn escalate(&mut self, fingerprint: u64, now: u64) {
        let Some(incident) = self.incidents.get_mut(&fingerprint) else {
            return;
        };
        let step = incident.steps_taken;
        let Some((_, to)) = incident.facts.escalation.get(step).cloned() else {
            return;
        };
        incident.steps_taken += 1;
        self.save(fingerprint);
        let suppression = self
            .incidents
            .get(&fingerprint)
            .and_then(|incident| self.suppression(incident, now));
        if let Some(reason) = suppression {
            // Whoever silences knows of it.
            self.counts.suppressed(reason);
            return;
        }
        let Some(receiver) = self.settings.receiver(&to).cloned() else {
            self.counts.suppressed(Suppressed::UnknownReceiver);
            tracing::warn!(receiver = %to, step = step + 1, "An escalation names a receiver that is not configured.");
            return;
        };
        for out in &receiver.outs {
            if !out.target.is_synced() && self.admit(out, &[fingerprint], now) {
                let mut message = self.message(Kind::Escalation, &receiver.name, &[fingerprint]);
                message.group_key = alert_lane(fingerprint);
                message.step = step + 1;
                self.outbox
                    .push(&out.id, &alert_lane(fingerprint), message, now, &mut self.changes);
            }
            self.mark(fingerprint, &out.id, None);
        }
    }

    /// Somebody has taken an alert on: no further step of its escalation is taken.
    ///
    /// # Errors
    /// When there is nothing to take on.
    pub fn acknowledge(&mut self, fingerprint: u64, by: &str, comment: &str, now: u64) -> Result<(), AckError> {
        let incident = self.incidents.get_mut(&fingerprint).ok_or(AckError::Unknown)?;
        if !incident.facts.fires() {
            return Err(AckError::Over);
        }
        if incident.acknowledged.is_some() {
            return Ok(());
        }
        incident.acknowledged = Some(Acknowledged {
            by: by.to_owned(),
            comment: comment.to_owned(),
            at: now,
        });
        let lane = alert_lane(fingerprint);
        for out in self.outbox.withdraw_escalations(&lane, &mut self.changes) {
            incident.told.remove(&out);
        }
        self.save(fingerprint);
        self.show_acknowledgement(fingerprint, now);
        Ok(())
    }

    /// Outlets that can, show who it is.
    fn show_acknowledgement(&mut self, fingerprint: u64, now: u64) {
        let Some(incident) = self.incidents.get(&fingerprint) else {
            return;
        };
        let told: BTreeMap<String, bool> = incident
            .told
            .iter()
            .map(|(out, mark)| (out.clone(), mark.fires))
            .collect();
        for (id, _) in told.into_iter().filter(|(_, fires)| *fires) {
            let Some((receiver, out)) = self.settings.out(&id) else {
                continue;
            };
            if !out.target.shows_acknowledgement() {
                continue;
            }
            let receiver = receiver.name.clone();
            if out.target.is_per_alert() {
                let mut message = self.message(Kind::Alert, &receiver, &[fingerprint]);
                message.group_key = alert_lane(fingerprint);
                self.outbox
                    .push(&id, &alert_lane(fingerprint), message, now, &mut self.changes);
            } else {
                self.show_group_again(&id, &receiver, fingerprint, now);
            }
        }
    }

    fn show_group_again(&mut self, out: &str, receiver: &str, fingerprint: u64, now: u64) {
        let groups = self
            .groups
            .iter()
            .filter(|(_, group)| group.members.contains(&fingerprint));
        let keys: Vec<String> = groups.map(|(key, _)| key.clone()).collect();
        for key in keys {
            let lane = format!("group/{key}");
            if self.place(out, &lane).is_none() {
                continue;
            }
            let Some(group) = self.groups.get(&key) else { continue };
            let labels = group.labels.clone();
            let is_told = |fingerprint: &&u64| {
                let incident = self.incidents.get(fingerprint);
                incident.is_some_and(|incident| incident.told.get(out).is_some_and(|mark| mark.fires))
            };
            let members: Vec<u64> = group.members.iter().filter(is_told).copied().collect();
            let mut message = self.message(Kind::Alert, receiver, &members);
            message.group_key = key;
            message.group_labels = labels;
            self.outbox.push(out, &lane, message, now, &mut self.changes);
        }
    }
}
