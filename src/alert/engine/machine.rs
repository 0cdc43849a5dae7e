//! One alert's states as a fold: a tick's findings go in, what changes comes out. Knows no store and no source.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::alert::rules::{Datapoints, Missing, Rule};

/// What one evaluation found of one label set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Hash of the labels.
    pub key: u64,
    #[serde(with = "bits")]
    pub value: f64,
    /// The condition holds; else the element is there and it does not.
    pub holds: bool,
    /// What `recover` asks for holds.
    pub recovered: bool,
}

/// Numbers as their bits: JSON knows neither NaN nor infinity.
pub(super) mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Event time, milliseconds.
    pub at: i64,
    pub found: Vec<Found>,
    /// The evaluation failed: nothing is known of this tick.
    pub failed: bool,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    #[default]
    Inactive,
    /// The condition holds, `for` is not over.
    Pending,
    Firing,
    /// It does not hold any more, `keep_firing_for` is not over.
    Recovering,
    /// There is no data for longer than the rule takes for granted.
    NoData,
}

/// One label set of a rule. Times are event time in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub phase: Phase,
    pub active_at: i64,
    pub fired_at: i64,
    /// Since when it recovers.
    pub since: i64,
    #[serde(with = "bits")]
    pub value: f64,
    /// When it was there last.
    pub seen_at: i64,
    results: VecDeque<(i64, bool)>,
    recoveries: VecDeque<(i64, bool)>,
}

impl Instance {
    /// Its `for` is not over.
    pub fn is_pending(&self) -> bool {
        self.phase == Phase::Pending
    }

    /// It is told: it fires, even if it is recovering.
    pub fn fires(&self) -> bool {
        matches!(self.phase, Phase::Firing | Phase::Recovering)
    }
}

pub type Instances = BTreeMap<u64, Instance>;

/// What changed at a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub key: u64,
    pub at: i64,
    pub fired: bool,
    pub value: f64,
}

/// Rules for the machine, read off a [`Rule`].
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub hold: i64,
    pub keep_firing_for: i64,
    pub datapoints: Option<Datapoints>,
    pub recover: Option<Option<Datapoints>>,
    pub missing: Option<Missing>,
    /// Milliseconds between ticks.
    pub interval: i64,
}

impl Plan {
    pub fn of(rule: &Rule, missing: Option<Missing>, interval: i64) -> Self {
        Self {
            hold: rule.hold,
            keep_firing_for: rule.keep_firing_for,
            datapoints: rule.extra.datapoints,
            recover: rule.extra.recover.as_ref().map(|recover| recover.datapoints),
            missing,
            interval,
        }
    }

    /// Whether it must know elements for which the condition does not hold.
    pub fn needs_calm(&self) -> bool {
        let policy = matches!(
            self.missing,
            Some(Missing::Ignore | Missing::NoData(_) | Missing::Breach | Missing::Ok)
        );
        self.datapoints.is_some() || self.recover.is_some() || policy
    }
}

/// What a tick says of one label set.
#[derive(Clone, Copy)]
enum Seen {
    There { value: f64, holds: bool, recovered: bool },
    Absent,
}

/// Takes one tick into the state.
pub fn step(instances: &mut Instances, tick: &Tick, plan: &Plan, changes: &mut Vec<Change>) {
    if tick.failed {
        return;
    }
    for found in &tick.found {
        let seen = Seen::There {
            value: found.value,
            holds: found.holds,
            recovered: found.recovered,
        };
        let instance = instances.entry(found.key).or_default();
        one(instance, found.key, tick.at, seen, plan, changes);
    }
    let there: std::collections::HashSet<u64> = tick.found.iter().map(|found| found.key).collect();
    for (key, instance) in instances.iter_mut() {
        if !there.contains(key) {
            one(instance, *key, tick.at, Seen::Absent, plan, changes);
        }
    }
    instances.retain(|_, instance| instance.phase != Phase::Inactive || !is_forgotten(instance, tick.at, plan));
}

/// Nothing that is remembered of it can matter any more.
fn is_forgotten(instance: &Instance, now: i64, plan: &Plan) -> bool {
    if !plan.needs_calm() {
        return true;
    }
    let memory = plan
        .datapoints
        .map_or(plan.interval, |points| 3 * i64::from(points.n) * points.period);
    // For `nodata` it is enough to have been there.
    let memory = match plan.missing {
        Some(Missing::NoData(after)) => memory.max(after + plan.interval),
        _ => memory,
    };
    now - instance.seen_at > memory
}

fn one(instance: &mut Instance, key: u64, at: i64, seen: Seen, plan: &Plan, changes: &mut Vec<Change>) {
    let (holds, recovered) = match seen {
        Seen::There {
            value,
            holds,
            recovered,
        } => {
            instance.seen_at = at;
            if holds || !instance.fires() {
                instance.value = value;
            }
            (Some(holds), recovered)
        }
        Seen::Absent => match plan.missing {
            Some(Missing::Breach) => (Some(true), false),
            Some(Missing::Ignore) if plan.datapoints.is_some() => (None, false),
            Some(Missing::NoData(after)) => {
                if at - instance.seen_at >= after {
                    if instance.fires() {
                        changes.push(Change {
                            key,
                            at,
                            fired: false,
                            value: instance.value,
                        });
                    }
                    instance.phase = Phase::NoData;
                }
                // Until then nothing is decided.
                return;
            }
            _ => (Some(false), false),
        },
    };
    if instance.phase == Phase::NoData {
        instance.phase = Phase::Inactive;
    }
    let Some(holds) = judged(&mut instance.results, plan.datapoints, at, holds, instance.phase) else {
        return;
    };
    let over = match plan.recover {
        // Hysteresis: calm is not enough.
        Some(points) if instance.fires() => {
            let recovered = Some(recovered);
            !holds && judged(&mut instance.recoveries, points, at, recovered, Phase::Inactive).unwrap_or(false)
        }
        _ => !holds,
    };
    let change = |fired| Change {
        key,
        at,
        fired,
        value: instance.value,
    };
    match instance.phase {
        Phase::Inactive | Phase::NoData => {
            if holds {
                instance.active_at = at;
                if plan.hold == 0 {
                    instance.phase = Phase::Firing;
                    instance.fired_at = at;
                    instance.recoveries.clear();
                    changes.push(change(true));
                } else {
                    instance.phase = Phase::Pending;
                }
            }
        }
        Phase::Pending => {
            if !holds {
                instance.phase = Phase::Inactive;
            } else if at - instance.active_at >= plan.hold {
                instance.phase = Phase::Firing;
                instance.fired_at = at;
                instance.recoveries.clear();
                changes.push(change(true));
            }
        }
        Phase::Firing => {
            if over && plan.keep_firing_for > 0 {
                instance.phase = Phase::Recovering;
                instance.since = at;
            } else if over {
                instance.phase = Phase::Inactive;
                changes.push(change(false));
            }
        }
        Phase::Recovering => {
            if !over {
                instance.phase = Phase::Firing;
            } else if at - instance.since >= plan.keep_firing_for {
                instance.phase = Phase::Inactive;
                changes.push(change(false));
            }
        }
    }
}

/// M of the last N results, of those that exist, not older than 3 N periods. `None`: nothing to go by.
fn judged(
    results: &mut VecDeque<(i64, bool)>,
    points: Option<Datapoints>,
    at: i64,
    holds: Option<bool>,
    phase: Phase,
) -> Option<bool> {
    let Some(points) = points else { return holds };
    if let Some(holds) = holds {
        results.push_back((at, holds));
    }
    let oldest = at - 3 * i64::from(points.n) * points.period;
    while results.len() > points.n as usize || results.front().is_some_and(|(time, _)| *time <= oldest) {
        results.pop_front();
    }
    if results.is_empty() && matches!(phase, Phase::Inactive | Phase::NoData) {
        return None;
    }
    let breaches = results.iter().filter(|(_, holds)| *holds).count();
    Some(breaches >= points.m as usize)
}
