//! What is told: an alert as it stands, and a message about one or more of them. Both are kept in the state, so that a
//! message says the same after a restart.

use serde::{Deserialize, Serialize};

use super::super::{Labels, Told};
use super::config::label;

/// One alert, as far as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub fingerprint: u64,
    pub labels: Labels,
    pub annotations: Labels,
    /// Nanoseconds since the epoch.
    pub starts_at: u64,
    pub ends_at: Option<u64>,
    /// As text: JSON has no NaN.
    pub value: String,
    pub resolution_steps: Vec<String>,
    pub contact: String,
    /// Nanoseconds after the first message, and the receiver.
    pub escalation: Vec<(u64, String)>,
    pub runbook_url: String,
    pub pattern: String,
    pub cause: String,
    pub traces: Vec<String>,
}

impl Facts {
    /// Of what the engine tells.
    pub fn of(told: &Told) -> Self {
        let escalation = told.guidance.escalation.iter();
        Self {
            fingerprint: told.fingerprint(),
            labels: told.labels.clone(),
            annotations: told.annotations.clone(),
            starts_at: told.starts_at,
            ends_at: told.ends_at,
            value: told.value.to_string(),
            resolution_steps: told.guidance.resolution_steps.clone(),
            contact: told.guidance.contact.clone(),
            escalation: escalation.map(|step| (step.after, step.to.clone())).collect(),
            runbook_url: told.guidance.runbook_url.clone(),
            pattern: told.pattern.clone(),
            cause: told.cause.clone(),
            traces: told.traces.clone(),
        }
    }

    /// Whether it fires.
    pub fn fires(&self) -> bool {
        self.ends_at.is_none()
    }

    /// `critical`, `warning`, `info`.
    pub fn severity(&self) -> &str {
        label(&self.labels, "severity")
    }

    /// `alertname`.
    pub fn name(&self) -> &str {
        label(&self.labels, "alertname")
    }

    /// Act now.
    pub fn is_critical(&self) -> bool {
        self.severity() == "critical"
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Alerts that fire or have ended.
    Alert,
    /// Many alerts at once, because there were too many messages, or they came and went while nobody looked.
    Digest,
    /// An alert that fires and ends again and again.
    Flapping,
    /// Nobody has acknowledged.
    Escalation,
}

impl Kind {
    /// Lower case.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Alert => "alert",
            Kind::Digest => "digest",
            Kind::Flapping => "flapping",
            Kind::Escalation => "escalation",
        }
    }
}

/// An alert in a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub facts: Facts,
    /// Who has taken it on; empty for nobody.
    pub acknowledged_by: String,
    /// Changes in the last hour, where it flaps.
    pub transitions: usize,
}

/// A message for one outlet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub kind: Kind,
    pub receiver: String,
    /// What Alertmanager calls `groupKey`: the same for all messages of a group.
    pub group_key: String,
    pub group_labels: Labels,
    pub lines: Vec<Line>,
    /// Alerts that were left out.
    pub truncated: usize,
    /// The step of an escalation, from 1.
    pub step: usize,
    /// How often the same was said before.
    pub repeat: u32,
}

/// Alerts in one message; the others are counted.
pub const MOST_LINES: usize = 500;

impl Message {
    /// Whether any of its alerts fires.
    pub fn fires(&self) -> bool {
        self.lines.iter().any(|line| line.facts.fires())
    }

    /// Whether a critical one is among those that fire.
    pub fn is_critical(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.facts.fires() && line.facts.is_critical())
    }

    /// `firing` or `resolved`.
    pub fn status(&self) -> &'static str {
        if self.fires() { "firing" } else { "resolved" }
    }

    /// The same for the same message, also after a restart: a receiver that knows it has seen the message.
    pub fn key(&self) -> String {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for text in [self.kind.name(), &self.receiver, &self.group_key] {
            hasher.update(text.as_bytes());
            hasher.update(&[0xff]);
        }
        hasher.update(&(self.step as u64).to_le_bytes());
        hasher.update(&self.repeat.to_le_bytes());
        for line in &self.lines {
            let facts = &line.facts;
            hasher.update(&facts.fingerprint.to_le_bytes());
            hasher.update(&facts.starts_at.to_le_bytes());
            hasher.update(&[u8::from(facts.fires()), u8::from(line.acknowledged_by.is_empty())]);
        }
        format!("{:032x}", hasher.digest128())
    }

    /// Puts what another, older message of the same lane said into this one, where this one says nothing newer.
    pub fn supersede(&mut self, older: Message) {
        // For one alert, or the same set, there is nothing to keep.
        for line in older.lines {
            let is_known = self
                .lines
                .iter()
                .any(|have| have.facts.fingerprint == line.facts.fingerprint);
            if !is_known {
                self.lines.push(line);
            }
        }
        self.truncated += older.truncated;
        self.cut();
    }

    /// Leaves out what is too much, the least urgent first.
    pub fn cut(&mut self) {
        if self.lines.len() > MOST_LINES {
            self.lines
                .sort_by_key(|line| (!line.facts.fires(), !line.facts.is_critical(), line.facts.starts_at));
            self.truncated += self.lines.len() - MOST_LINES;
            self.lines.truncate(MOST_LINES);
        }
    }

    /// Labels or annotations that all alerts have in common.
    pub fn common(&self, of: fn(&Facts) -> &Labels) -> Labels {
        let mut lines = self.lines.iter();
        let Some(first) = lines.next() else {
            return Labels::new();
        };
        let mut common = of(&first.facts).clone();
        for line in lines {
            common.retain(|pair| of(&line.facts).contains(pair));
        }
        common
    }
}
