//! What the engine tells the notifying side: the alerts that are active now, and those that ended a short while ago. It
//! is told again and again (every evaluation and after each start), so telling is idempotent: who is told finds out by
//! `fingerprint` and `starts_at` what is new. Nothing is lost between the two when the process ends.

use std::sync::Arc;

use crate::component::{BoxFuture, StateError};

/// Names and values, sorted by name.
pub type Labels = Vec<(String, String)>;

/// One alert, as it stands at the time it is told. Pending alerts are never told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// All labels, `alertname` and `severity` among them, sorted by name.
    pub labels: Labels,
    /// Rendered annotations (`summary`, `description`, ...), sorted by name.
    pub annotations: Labels,
    /// When the alert began to fire, in event time. Nanoseconds since the epoch.
    pub starts_at: u64,
    /// When it ended, in event time; `None` while it fires. Nanoseconds since the epoch.
    pub ends_at: Option<u64>,
    /// The value of the rule's expression at the last evaluation that had one.
    pub value: f64,
    /// What the rule says besides: the same for all its alerts.
    pub guidance: Arc<Guidance>,
    /// `burst`, `sustained`, `intermittent`, `gsi_backpressure`: alerts.md section 6. Empty where it does not apply.
    pub pattern: String,
    /// `hot_partition`, `provisioned_capacity`, `on_demand_max`, `account_limit`. Empty where it does not apply.
    pub cause: String,
    /// Hex trace ids of exemplars, newest first, at most 10.
    pub traces: Vec<String>,
}

/// What to do about an alert, from the rule's `x-radiosonde` block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Guidance {
    pub resolution_steps: Vec<String>,
    pub contact: String,
    pub escalation: Vec<EscalationStep>,
    pub runbook_url: String,
}

/// Who else is told when nobody has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EscalationStep {
    /// Nanoseconds after the first notification.
    pub after: u64,
    /// The name of a notification receiver.
    pub to: String,
}

impl Told {
    /// The identity of an alert in deduplication keys: 64 bits over its labels, names and values each ended by a byte
    /// that cannot be in UTF-8.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for (name, value) in &self.labels {
            for part in [name, value] {
                hasher.update(part.as_bytes());
                hasher.update(&[0xff]);
            }
        }
        hasher.digest()
    }
}

/// Who is told: the notifying side, implemented by `alert::notify`.
pub trait Listener: Send + Sync {
    /// `alerts` is everything that fires now and everything that ended in the last 15 minutes of event time, of one
    /// engine. `now` is the engine's clock, nanoseconds since the epoch. When it returns `Ok`, what follows from it is
    /// on the disk (where there is one); after an `Err` the engine tells again at its next evaluation.
    ///
    /// # Errors
    /// When the state could not be written.
    fn tell(&self, now: u64, alerts: Vec<Told>) -> BoxFuture<'_, Result<(), StateError>>;
}
