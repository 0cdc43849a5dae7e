//! What the notifying side counts of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::Settings;
use crate::component::{Counter, Gauge, Instruments};

/// Why somebody was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suppressed {
    Silence,
    Inhibition,
    Mute,
    Flapping,
    /// Over the limit of an outlet: it gets a digest.
    Rate,
    /// Nobody is woken for information.
    Info,
    UnknownReceiver,
    TooMany,
}

impl Suppressed {
    const ALL: [Self; 8] = [
        Self::Silence,
        Self::Inhibition,
        Self::Mute,
        Self::Flapping,
        Self::Rate,
        Self::Info,
        Self::UnknownReceiver,
        Self::TooMany,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Inhibition => "inhibition",
            Self::Mute => "mute",
            Self::Flapping => "flapping",
            Self::Rate => "rate_limit",
            Self::Info => "info",
            Self::UnknownReceiver => "unknown_receiver",
            Self::TooMany => "too_many_alerts",
        }
    }
}

struct OfOut {
    sent: Counter,
    failed: Counter,
    failing: Gauge,
}

/// Bound once.
#[derive(Clone)]
pub struct Counts(Arc<Bound>);

struct Bound {
    outs: BTreeMap<String, OfOut>,
    suppressed: Vec<Counter>,
    /// By receiver, in the order of `DROPPED`; those of receivers that are not configured under no name.
    dropped: BTreeMap<String, Vec<Counter>>,
    firing: Gauge,
    silences: Gauge,
    pending: Gauge,
    oldest: Gauge,
}

const DROPPED: [&str; 4] = ["refused", "receiver_removed", "too_old", "unreadable"];

impl Counts {
    /// For the outlets of a configuration.
    ///
    /// `id`: of the component, as in the engine's own metrics.
    pub fn new(id: &str, instruments: &Instruments, settings: &Settings) -> Self {
        let alerts = ("alerts", id);
        let mut outs = BTreeMap::new();
        let all = settings.receivers.iter();
        for (receiver, out) in all.flat_map(|receiver| receiver.outs.iter().map(move |out| (receiver, out))) {
            let labels = [
                alerts,
                ("receiver_name", receiver.name.as_str()),
                ("out", out.id.as_str()),
            ];
            let counter = |name, help| instruments.counter(name, help, &labels);
            outs.insert(
                out.id.clone(),
                OfOut {
                    sent: counter(
                        "radiosonde_notifications_sent_total",
                        "Messages that a receiver has taken.",
                    ),
                    failed: counter(
                        "radiosonde_notifications_failed_total",
                        "Attempts to deliver a message that did not succeed.",
                    ),
                    failing: instruments.gauge(
                        "radiosonde_notifications_failing",
                        "Attempts that failed in a row.",
                        &labels,
                    ),
                },
            );
        }
        let with_reason = |name, help, reason| instruments.counter(name, help, &[alerts, ("reason", reason)]);
        let suppressed = Suppressed::ALL.iter().map(|reason| {
            let help = "Changes of alerts that a receiver was not told of, by reason.";
            with_reason("radiosonde_notifications_suppressed_total", help, reason.name())
        });
        let names = settings.receivers.iter().map(|receiver| receiver.name.as_str());
        let dropped = names.chain([""]).map(|receiver| {
            let counters = DROPPED.iter().map(|reason| {
                let help = "Messages that were given up, by receiver and reason.";
                let labels = [alerts, ("receiver_name", receiver), ("reason", *reason)];
                instruments.counter("radiosonde_notifications_dropped_total", help, &labels)
            });
            (receiver.to_owned(), counters.collect())
        });
        let gauge = |name, help| instruments.gauge(name, help, &[alerts]);
        Self(Arc::new(Bound {
            outs,
            suppressed: suppressed.collect(),
            dropped: dropped.collect(),
            firing: gauge(
                "radiosonde_alerts_known_firing",
                "Alerts that fire, as the notifying side knows them.",
            ),
            silences: gauge("radiosonde_silences_active", "Silences that are on."),
            pending: gauge("radiosonde_notifications_pending", "Messages in the queue."),
            oldest: gauge(
                "radiosonde_notifications_oldest_seconds",
                "Age of the oldest message in the queue.",
            ),
        }))
    }

    pub fn sent(&self, out: &str) {
        if let Some(of) = self.0.outs.get(out) {
            of.sent.add(1);
        }
    }

    pub fn failed(&self, out: &str) {
        if let Some(of) = self.0.outs.get(out) {
            of.failed.add(1);
        }
    }

    pub fn failing(&self, out: &str, times: u32) {
        if let Some(of) = self.0.outs.get(out) {
            of.failing.set(f64::from(times));
        }
    }

    pub fn suppressed(&self, reason: Suppressed) {
        self.suppressed_many(reason, 1);
    }

    pub fn suppressed_many(&self, reason: Suppressed, times: usize) {
        let at = Suppressed::ALL.iter().position(|one| *one == reason);
        if let Some(counter) = at.and_then(|at| self.0.suppressed.get(at)) {
            counter.add(times as u64);
        }
    }

    /// `receiver`: empty for one that is not configured.
    pub fn dropped(&self, receiver: &str, reason: &'static str, times: usize) {
        debug_assert!(DROPPED.contains(&reason), "one of the known reasons");
        let counters = self.0.dropped.get(receiver).or_else(|| self.0.dropped.get(""));
        let at = DROPPED.iter().position(|one| *one == reason);
        if let Some(counter) = counters.zip(at).and_then(|(counters, at)| counters.get(at)) {
            counter.add(times as u64);
        }
    }

    /// `oldest`: nanoseconds.
    pub fn observe(&self, firing: usize, silences: usize, pending: usize, oldest: u64) {
        self.0.firing.set(firing as f64);
        self.0.silences.set(silences as f64);
        self.0.pending.set(pending as f64);
        self.0.oldest.set(oldest as f64 / 1e9);
    }
}
