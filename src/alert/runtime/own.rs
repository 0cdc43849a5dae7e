//! What the engine says of itself, and what the agent says of itself as data for its rules.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::alert::engine::{Counts, Engine, SourceKind};
use crate::alert::store::{Origin, Point};
use crate::component::{BuildContext, Counter, Gauge, Registry, SampleValue};

/// Own metrics become samples so often, in milliseconds.
const SAMPLE_EVERY: i64 = 15_000;

pub(super) struct Own {
    registry: Registry,
    pub unreadable: Counter,
    pub rounds: Counter,
    pub state_lost: Counter,
    #[cfg(feature = "aws")]
    pub past_resources: Counter,
    points: Counter,
    late: Counter,
    too_late: Counter,
    series_refused: Counter,
    points_refused: Counter,
    evaluations: Counter,
    fired: Counter,
    resolved: Counter,
    errors: HashMap<u64, Counter>,
    firing: Gauge,
    pending: Gauge,
    rules: Gauge,
    stale: Gauge,
    learning: Gauge,
    series: Gauge,
    sample_bytes: Gauge,
    blind: Gauge,
    lag: Gauge,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    counts: Counts,
    errors: HashMap<u64, u64>,
    sampled_at: i64,
}

impl Own {
    pub fn new(engine: &Engine, context: &BuildContext) -> Self {
        let id = context.id.as_str();
        let alerts = ("alerts", id);
        let counter = |name, help| context.instruments.counter(name, help, &[alerts]);
        let gauge = |name, help| context.instruments.gauge(name, help, &[alerts]);
        let late = |outcome| {
            let help = "Points that came after their time was decided, by what became of them.";
            context.instruments.counter(
                "radiosonde_alerts_late_points_total",
                help,
                &[alerts, ("outcome", outcome)],
            )
        };
        let errors = engine.rules().map(|watched| {
            let help = "Evaluations of a rule that failed.";
            let of = ("alertname_of", watched.rule().name.as_str());
            let counter = context
                .instruments
                .counter("radiosonde_alerts_rule_errors_total", help, &[alerts, of]);
            (watched.identity(), counter)
        });
        Self {
            registry: context.instruments.registry().clone(),
            unreadable: counter(
                "radiosonde_alerts_unreadable_total",
                "Parts of batches that are malformed.",
            ),
            rounds: counter(
                "radiosonde_alerts_rounds_total",
                "Rounds of the engine: each looks at every rule.",
            ),
            state_lost: counter(
                "radiosonde_alerts_state_lost_total",
                "States of rules that could not be read.",
            ),
            #[cfg(feature = "aws")]
            past_resources: counter(
                "radiosonde_alerts_past_resources_total",
                "Resources whose past was read from CloudWatch, to know what is usual.",
            ),
            points: counter("radiosonde_alerts_points_total", "Points that a rule selects."),
            late: late("evaluated"),
            too_late: late("ignored"),
            series_refused: counter(
                "radiosonde_alerts_series_refused_total",
                "Times that a series was not taken because the store is full.",
            ),
            points_refused: counter(
                "radiosonde_alerts_points_refused_total",
                "Points that were not taken because the store is full.",
            ),
            evaluations: counter("radiosonde_alerts_evaluations_total", "Evaluations of rules."),
            fired: counter("radiosonde_alerts_fired_total", "Alerts that began to fire."),
            resolved: counter("radiosonde_alerts_resolved_total", "Alerts that ended."),
            errors: errors.collect(),
            firing: gauge("radiosonde_alerts_firing", "Alerts that fire now."),
            pending: gauge("radiosonde_alerts_pending", "Alerts whose `for` is not over."),
            rules: gauge("radiosonde_alerts_rules", "Rules that are evaluated."),
            stale: gauge(
                "radiosonde_alerts_stale_rules",
                "Rules whose data does not come: nothing is decided.",
            ),
            learning: gauge(
                "radiosonde_alerts_learning_sets",
                "Label sets of rules with `anomaly` of which it is not known yet what is usual.",
            ),
            series: gauge("radiosonde_alerts_series", "Series in the store."),
            sample_bytes: gauge("radiosonde_alerts_sample_bytes", "Bytes of samples in the store."),
            blind: gauge("radiosonde_alerts_blind_sources", "Sources whose silence says nothing."),
            lag: gauge(
                "radiosonde_alerts_evaluation_lag_seconds",
                "How far evaluation is behind the data that is there.",
            ),
            last: Mutex::default(),
        }
    }

    /// After a round.
    pub fn note(&self, engine: &Engine, _now: i64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, before) = (engine.counts(), last.counts);
        for (counter, now, before) in [
            (&self.points, now.points, before.points),
            (&self.late, now.late, before.late),
            (&self.too_late, now.too_late, before.too_late),
            (&self.series_refused, now.refused_series, before.refused_series),
            (&self.points_refused, now.refused_points, before.refused_points),
            (&self.evaluations, now.evaluations, before.evaluations),
            (&self.fired, now.fired, before.fired),
            (&self.resolved, now.resolved, before.resolved),
        ] {
            counter.add(now - before);
        }
        last.counts = now;
        let (mut rules, mut stale, mut lag) = (0, 0, 0);
        for watched in engine.rules() {
            rules += 1;
            stale += u32::from(watched.is_stale());
            lag = lag.max(watched.lag());
            let before = last.errors.entry(watched.identity()).or_default();
            if let Some(counter) = self.errors.get(&watched.identity()) {
                counter.add(watched.errors() - *before);
            }
            *before = watched.errors();
        }
        let states = engine.states();
        let firing = states.iter().filter(|state| state.instance.fires()).count();
        let pending = states.iter().filter(|state| state.instance.is_pending()).count();
        let blind = engine.sources().filter(|source| source.blind).count();
        for (gauge, value) in [
            (&self.rules, f64::from(rules)),
            (&self.stale, f64::from(stale)),
            (&self.learning, engine.learning().0 as f64),
            (&self.lag, lag as f64 / 1_000.0),
            (&self.firing, firing as f64),
            (&self.pending, pending as f64),
            (&self.blind, blind as f64),
            (&self.series, engine.store().len() as f64),
            (&self.sample_bytes, engine.store().sample_bytes() as f64),
        ] {
            gauge.set(value);
        }
    }

    /// The agent's own metrics, as far as rules ask for them.
    pub fn sample(&self, engine: &mut Engine, now: i64) {
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if now - last.sampled_at < SAMPLE_EVERY {
                return;
            }
            last.sampled_at = now;
        }
        let source = engine.source("self|", SourceKind::Polled);
        let samples = self.registry.gather();
        for sample in samples {
            let value = match sample.value {
                SampleValue::Counter(value) => value as f64,
                SampleValue::Gauge(value) => value,
                SampleValue::Histogram { .. } => continue,
            };
            if !engine.store().wants(sample.name) {
                continue;
            }
            let mut labels: Vec<(&str, &str)> = sample
                .labels
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            labels.push(("__name__", sample.name));
            let origin = Origin {
                source,
                ..Origin::default()
            };
            if let Ok(id) = engine.intern(&labels, origin) {
                engine.push(id, now, Point::Float(value), now);
            }
        }
        engine.cover(source, now, now);
    }
}
