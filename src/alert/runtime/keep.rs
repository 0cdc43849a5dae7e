//! What a restart must not forget: the state of each rule, and the samples that windows still need. Kept in the state
//! store, under the component's id, in one transaction a round.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Runtime, learned};
use crate::alert::engine::{Engine, Restored, SourceKind};
use crate::alert::rules::metrics::{default_fill, texts_and_name};
use crate::alert::store::{Origin, Point, SeriesId};
use crate::component::{StateChange, StateError, with_state};

const RULES: &str = "alerts.rules";
const SAMPLES: &str = "alerts.samples";
/// Points of one transaction; more are not kept over a restart.
const MOST_POINTS: usize = 500_000;

/// Points that came since samples were kept.
#[derive(Default)]
pub(super) struct Journal {
    points: BTreeMap<SeriesId, Vec<(i64, f64)>>,
    count: usize,
    generation: u64,
    left_out: u64,
}

impl Journal {
    pub fn begin(&mut self, engine: &mut Engine) {
        engine.record(true);
    }

    pub fn end(&mut self, engine: &mut Engine) {
        if self.generation != engine.store().generation() {
            self.generation = engine.store().generation();
            self.points.clear();
            self.count = 0;
        }
        for (id, time, value) in engine.recorded() {
            if self.count >= MOST_POINTS {
                self.left_out += 1;
                continue;
            }
            self.count += 1;
            self.points.entry(id).or_default().push((time, value));
        }
        engine.record(false);
    }
}

/// Points of one series.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The source.
    k: String,
    /// It says how far it is.
    p: bool,
    /// Milliseconds of the period.
    d: u32,
    l: Vec<(String, String)>,
    /// Times, and the bits of the values.
    s: Vec<(i64, u64)>,
}

impl Runtime {
    pub(super) fn key(&self, rest: &[u8]) -> Vec<u8> {
        let mut key = format!("{}/{}", self.context.kind.name(), self.context.id).into_bytes();
        key.push(0);
        key.extend_from_slice(rest);
        key
    }

    /// Reads what was kept. Says whether it could.
    pub(super) async fn load(&self, now: i64) -> bool {
        let prefix = self.key(b"");
        let read = with_state(&self.context.state, move |store| {
            let (mut rules, mut samples) = (Vec::new(), Vec::new());
            store.scan(RULES, &prefix, &mut |key, value| {
                rules.push((key[prefix.len()..].to_vec(), value.to_vec()));
                true
            })?;
            store.scan(SAMPLES, &prefix, &mut |_, value| {
                samples.push(value.to_vec());
                true
            })?;
            let learned = learned::read(store, &prefix)?;
            Ok((rules, samples, learned))
        })
        .await;
        match read {
            Ok((rules, samples, learned)) => {
                self.take_up_learned(learned);
                let mut core = self.core();
                let any_samples = !samples.is_empty();
                for value in samples {
                    load_samples(&value, now, &mut core.engine);
                }
                for (key, value) in rules {
                    let identity = <[u8; 8]>::try_from(key.as_slice()).map_or(0, u64::from_be_bytes);
                    match core.engine.restore(identity, &value) {
                        Restored::Done => {}
                        Restored::NoSuchRule => core.engine.adopt_orphans(identity, &value, now),
                        Restored::Unreadable => {
                            self.own.state_lost.add(1);
                            tracing::error!(component = %self.context.id,
                                "the state of a rule could not be read; its alerts begin anew");
                        }
                    }
                }
                // Samples are written with the state and before it: whatever was decided can be decided again.
                if any_samples {
                    core.engine.recheck();
                }
                true
            }
            Err(error @ StateError::Damaged(_)) => {
                self.own.state_lost.add(1);
                tracing::error!(component = %self.context.id, %error, "the state of alerts is lost; they begin anew");
                true
            }
            Err(error) => {
                if let Some(left_out) = self.log.admit() {
                    tracing::warn!(component = %self.context.id, %error, left_out,
                        "the state of alerts cannot be read; nothing is evaluated before it is");
                }
                false
            }
        }
    }

    /// Writes what has changed. `saved`: hashes of what is there.
    ///
    /// # Errors
    /// When it could not be written: nothing is changed.
    pub(super) async fn keep(&self, saved: &mut HashMap<u64, u64>, is_last: bool, now: i64) -> Result<(), StateError> {
        let mut changes = Vec::new();
        let mut hashes = Vec::new();
        let samples;
        let mut old = 0;
        {
            let mut core = self.core();
            for (identity, bytes) in core.engine.save() {
                let hash = xxhash_rust::xxh3::xxh3_64(&bytes);
                if saved.get(&identity) != Some(&hash) {
                    hashes.push((identity, hash));
                    changes.push(StateChange::put(RULES, self.key(&identity.to_be_bytes()), bytes));
                }
            }
            for identity in core.engine.forgotten() {
                changes.push(StateChange::remove(RULES, self.key(&identity.to_be_bytes())));
            }
            changes.extend(self.learned_changes(&core.engine, is_last));
            samples = encode(&mut core);
            if let Some(oldest) = core.engine.oldest_needed() {
                old = oldest;
            }
        }
        if !samples.is_empty() {
            changes.push(StateChange::put(SAMPLES, self.key(&now.to_be_bytes()), samples));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let prefix = self.key(b"");
        with_state(&self.context.state, move |store| {
            // Samples that no window reaches any more.
            let last = prefix.len();
            store.scan(SAMPLES, &prefix, &mut |key, _| {
                let time = <[u8; 8]>::try_from(&key[last..]).map_or(i64::MIN, i64::from_be_bytes);
                let is_old = time < old;
                if is_old {
                    changes.push(StateChange::remove(SAMPLES, key));
                }
                is_old
            })?;
            store.commit(changes)
        })
        .await?;
        saved.extend(hashes);
        self.learned_is_kept();
        Ok(())
    }
}

fn encode(core: &mut super::Core) -> Vec<u8> {
    let points = std::mem::take(&mut core.journal.points);
    core.journal.count = 0;
    let mut kept = Vec::with_capacity(points.len());
    for (id, points) in points {
        let Some(series) = core.engine.store().series(id) else {
            continue;
        };
        let Some(source) = core.engine.source_of(series.source) else {
            continue;
        };
        kept.push(Kept {
            k: source.key.clone(),
            p: source.kind == SourceKind::Polled,
            d: series.period,
            l: core.engine.store().texts(&series.labels),
            s: points
                .into_iter()
                .map(|(time, value)| (time, value.to_bits()))
                .collect(),
        });
    }
    if kept.is_empty() {
        Vec::new()
    } else {
        serde_json::to_vec(&kept).unwrap_or_default()
    }
}

fn load_samples(bytes: &[u8], now: i64, engine: &mut Engine) {
    let Ok(all) = serde_json::from_slice::<Vec<Kept>>(bytes) else {
        return;
    };
    for kept in all {
        let kind = if kept.p {
            SourceKind::Polled
        } else {
            SourceKind::Pushed {
                cloudwatch: kept.k.starts_with("cloudwatch"),
            }
        };
        let (texts, name) = texts_and_name(&kept.l);
        let origin = Origin {
            period: kept.d,
            source: engine.source(&kept.k, kind),
            fill: default_fill(name),
        };
        let Ok(id) = engine.intern(&texts, origin) else {
            continue;
        };
        for (time, bits) in kept.s {
            engine.load(id, time, Point::Float(f64::from_bits(bits)), now);
        }
    }
}
