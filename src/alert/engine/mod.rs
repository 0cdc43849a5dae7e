//! The engine: rules over the store, in event time.
//!
//! A rule is evaluated at ticks, multiples of its interval, once every source of its series is known up to there
//! ([`sources`]). What an evaluation finds is kept for as long as points may be late ([`watched`]); the state of an alert
//! is nothing but the fold of those findings ([`machine`]), so that late data, duplicates and restarts lead to the same
//! history. Nothing here reads a clock or a disk: `now` is brought by the caller, and state is handed out as text.

mod episodes;
mod explain;
mod learned;
mod machine;
mod saved;
mod sources;
#[cfg(test)]
mod tests;
mod throttles;
mod usual;
mod watched;

use std::sync::Arc;

pub use episodes::Episode;
pub use explain::Question;
pub use machine::{Found, Instance, Phase};
pub use saved::Restored;
pub use sources::{Source, SourceKind};
pub use usual::{Band, WARM_UP};
pub use watched::Watched;

use self::sources::Sources;
use super::Told;
use super::promql::Expression;
use super::rules::{Group, Rule};
use super::store::{NotKept, Origin, Point, Pushed, SelectionId, SeriesId, Store, StoreLimits};

/// Milliseconds after its end for which an alert is told.
pub const TOLD_AFTER_END: i64 = 15 * 60_000;
/// Ticks of one rule in one round: after a long gap the others must not wait.
const MOST_TICKS: usize = 500;

/// Durations in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Of groups without one.
    pub interval: i64,
    /// A push source that is silent for so long is waited for no longer.
    pub idle_timeout: i64,
    pub allowed_lateness: i64,
    /// A gap for which `for` goes on counting.
    pub outage_tolerance: i64,
    /// The ticks of a longer gap are not made up for.
    pub backfill: i64,
    /// How old a point without a period may be.
    pub lookback: i64,
    pub limits: StoreLimits,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            interval: 60_000,
            idle_timeout: 300_000,
            allowed_lateness: 600_000,
            outage_tolerance: 3_600_000,
            backfill: 86_400_000,
            lookback: 300_000,
            limits: StoreLimits::default(),
        }
    }
}

/// What the engine has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub points: u64,
    /// Points that changed ticks of the past.
    pub late: u64,
    /// Points that came too late for that.
    pub too_late: u64,
    pub refused_series: u64,
    pub refused_points: u64,
    pub evaluations: u64,
    pub errors: u64,
    pub fired: u64,
    pub resolved: u64,
}

/// What is left of a rule that was changed or removed.
struct Orphan {
    identity: u64,
    told: Vec<Told>,
    shown: bool,
    since: i64,
}

/// Rules, series, and where each alert stands.
pub struct Engine {
    orphans: Vec<Orphan>,
    /// Points that were taken, where they are recorded.
    recorded: Option<Vec<(SeriesId, i64, f64)>>,
    settings: EngineSettings,
    store: Store,
    watched: Vec<Watched>,
    /// Rules by the number of their selections.
    by_selection: Vec<Vec<usize>>,
    sources: Sources,
    /// No rule has been evaluated after this.
    last_tick: i64,
    expired_at: i64,
    /// How far back others than rules look.
    reach: i64,
    counts: Counts,
}

impl Engine {
    pub fn new(settings: EngineSettings, groups: &[Group]) -> Self {
        let mut store = Store::new(settings.limits);
        let mut watched = Vec::new();
        let mut by_selection: Vec<Vec<usize>> = Vec::new();
        for group in groups {
            for rule in &group.rules {
                if rule.extra.enabled == Some(false) {
                    continue;
                }
                let one = Watched::new(Arc::clone(rule), group, &settings, &mut store);
                for selection in one.selections() {
                    let position = selection as usize;
                    if by_selection.len() <= position {
                        by_selection.resize(position + 1, Vec::new());
                    }
                    by_selection[position].push(watched.len());
                }
                watched.push(one);
            }
        }
        Self {
            orphans: Vec::new(),
            recorded: None,
            settings,
            store,
            watched,
            by_selection,
            sources: Sources::default(),
            last_tick: i64::MIN,
            expired_at: 0,
            reach: 0,
            counts: Counts::default(),
        }
    }

    /// Rules begin at this time, whatever the data says: for trials and replays. Milliseconds.
    pub fn begin_at(&mut self, time: i64) {
        for watched in &mut self.watched {
            watched.begin_at(time);
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn rules(&self) -> impl Iterator<Item = &Watched> {
        self.watched.iter()
    }

    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// The number of a source; a new one where the key is not known.
    pub fn source(&mut self, key: &str, kind: SourceKind) -> u32 {
        self.sources.number(key, kind)
    }

    /// A source polls resources of this AWS service (`dynamodb`): rules about it wait for it, also before they have a series
    /// of it.
    pub fn serves(&mut self, source: u32, service: &str) {
        self.sources.serves(source, service);
    }

    /// The series of these labels, as [`Store::intern`].
    ///
    /// # Errors
    /// When it is not kept.
    pub fn intern(&mut self, labels: &[(&str, &str)], origin: Origin) -> Result<SeriesId, NotKept> {
        let result = self.store.intern(labels, origin);
        self.counts.refused_series += u64::from(result == Err(NotKept::Full));
        result
    }

    /// A series has changed its source or period.
    pub fn describe(&mut self, id: SeriesId, origin: Origin) {
        self.store.describe(id, origin);
    }

    /// Adds a point that arrived at `now`.
    pub fn push(&mut self, id: SeriesId, time: i64, point: Point, now: i64) {
        self.counts.points += 1;
        let Some(series) = self.store.series(id) else { return };
        let (source, period) = (series.source, series.period);
        let value = match &point {
            Point::Float(value) => Some(*value),
            Point::Histogram(_) => None,
        };
        let pushed = self.store.push(id, time, point);
        if let (Some(recorded), Some(value)) = (&mut self.recorded, value)
            && pushed != Pushed::Known
        {
            recorded.push((id, time, value));
        }
        match pushed {
            Pushed::Full => {
                self.counts.refused_points += 1;
                return;
            }
            Pushed::Known => {
                self.sources.heard(source, time, i64::from(period), now);
                return;
            }
            Pushed::Newest | Pushed::Changed => {}
        }
        self.sources.heard(source, time, i64::from(period), now);
        if time <= self.last_tick {
            self.note_late(id, time);
        }
    }

    /// Adds a point that was there before a restart: it changes nothing that was decided.
    pub fn load(&mut self, id: SeriesId, time: i64, point: Point, now: i64) {
        let Some(series) = self.store.series(id) else { return };
        let (source, period) = (series.source, series.period);
        if self.store.push(id, time, point) == Pushed::Full {
            self.counts.refused_points += 1;
        }
        self.sources.heard(source, time, i64::from(period), now);
    }

    /// The selections of an expression that is no rule; its series are kept from now on.
    pub fn bind(&mut self, expression: &Expression) -> Vec<SelectionId> {
        let mut bindings = Vec::new();
        expression.selectors(&mut |selector| {
            bindings.push(self.store.select(selector.name.as_deref(), &selector.matchers));
        });
        self.reach = self.reach.max(expression.reach(self.settings.lookback));
        bindings
    }

    /// Notes every number that is taken from now on, or no more.
    pub fn record(&mut self, on: bool) {
        self.recorded = on.then(Vec::new);
    }

    /// What was noted, and is not any more.
    pub fn recorded(&mut self) -> Vec<(SeriesId, i64, f64)> {
        self.recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A source by its number.
    pub fn source_of(&self, number: u32) -> Option<&Source> {
        self.sources.get(number)
    }

    /// Samples before this are read by nobody any more.
    pub fn oldest_needed(&self) -> Option<i64> {
        let lateness = self.settings.allowed_lateness;
        let of = |watched: &Watched| {
            watched
                .next_tick()
                .map(|next| next - watched.rule().reach(self.settings.lookback) - lateness)
        };
        self.watched.iter().filter_map(of).min()
    }

    /// What has begun (`false`) or ended (`true`) since it was told last.
    pub fn transitions(&self) -> Vec<(Told, bool)> {
        let mut list = Vec::new();
        for watched in &self.watched {
            watched.transitions(&mut list);
        }
        let new = self.orphans.iter().filter(|orphan| !orphan.shown);
        list.extend(new.flat_map(|orphan| orphan.told.iter().map(|told| (told.clone(), true))));
        list
    }

    /// Looks again at everything that may still change: points may have come before a restart and after the last round.
    pub fn recheck(&mut self) {
        for watched in &mut self.watched {
            watched.recheck();
        }
    }

    /// The trace behind a point.
    pub fn note_trace(&mut self, id: SeriesId, time: i64, trace: [u8; 16]) {
        self.store.note_trace(id, time, trace);
    }

    fn note_late(&mut self, id: SeriesId, time: i64) {
        let (mut late, mut too_late) = (false, false);
        for (selection, rules) in self.by_selection.iter().enumerate() {
            let takes = self
                .store
                .selection(selection as SelectionId)
                .is_some_and(|selection| selection.has(id));
            if !takes {
                continue;
            }
            for rule in rules {
                match self.watched[*rule].note_late(time) {
                    watched::Lateness::OnTime => {}
                    watched::Lateness::Late => late = true,
                    watched::Lateness::TooLate => too_late = true,
                }
            }
        }
        self.counts.late += u64::from(late);
        self.counts.too_late += u64::from(too_late && !late);
    }

    /// A poll has asked successfully up to this event time.
    pub fn cover(&mut self, source: u32, until: i64, now: i64) {
        self.sources.cover(source, until, now);
    }

    /// What a source says means nothing now, or means something again.
    pub fn blind(&mut self, source: u32, is_blind: bool, now: i64) {
        self.sources.blind(source, is_blind, now);
    }

    /// Evaluates everything that has become known. `now`: the wall clock, milliseconds. Says whether anything that is
    /// saved has changed.
    pub fn round(&mut self, now: i64) -> bool {
        self.sources.forget(now, &self.settings);
        let mut changed = false;
        for position in 0..self.watched.len() {
            let watermark = {
                let watched = &self.watched[position];
                let sources = watched
                    .selections()
                    .filter_map(|id| self.store.selection(id))
                    .flat_map(|s| s.sources().iter().copied());
                let sources = sources.chain(self.sources.of_services(watched.services()));
                self.sources
                    .watermark(sources, watched.rule().extra.delay, now, &self.settings)
            };
            let watched = &mut self.watched[position];
            watched.note_watermark(watermark, now);
            let Some(watermark) = watermark else { continue };
            changed |= watched.revise(&self.store, &mut self.counts);
            changed |= watched.advance(&self.store, watermark, MOST_TICKS, &self.settings, &mut self.counts);
            if let Some(tick) = watched.last_tick() {
                self.last_tick = self.last_tick.max(tick);
            }
        }
        self.suppress_pairs();
        self.orphans.retain(|orphan| now - orphan.since < TOLD_AFTER_END);
        // Looking at every series is work: once a minute is enough.
        if now - self.expired_at >= 60_000 {
            self.expired_at = now;
            self.expire();
        }
        changed
    }

    fn expire(&mut self) {
        let lookback = self.settings.lookback;
        let lateness = self.settings.allowed_lateness;
        let mut reach = self.reach + lateness;
        let mut first = i64::MAX;
        for watched in &self.watched {
            reach = reach.max(watched.rule().reach(lookback) + lateness);
            if let Some(next) = watched.next_tick() {
                first = first.min(next);
            }
        }
        if first != i64::MAX {
            // A series lives a day longer than it is read: a table that is quiet over night is the same in the morning.
            let silent = first - reach.max(86_400_000);
            self.store.expire(first - reach, silent);
        }
    }

    /// Of a pair the louder one is told, and not what another alert makes unnecessary.
    fn suppress_pairs(&mut self) {
        let loud: Vec<Loud> = self
            .watched
            .iter()
            .filter(|watched| !watched.rule().extra.inhibits.is_empty() || watched.rule().extra.pair.is_some())
            .flat_map(|watched| {
                let rule = watched.rule();
                watched.firing().map(|labels| Loud {
                    group: rule.group.clone(),
                    pair: rule.extra.pair.clone().filter(|_| rule.severity() == "critical"),
                    inhibits: rule.extra.inhibits.clone(),
                    labels: without_level(labels),
                })
            })
            .collect();
        for watched in &mut self.watched {
            let rule = Arc::clone(watched.rule());
            let pair = rule.extra.pair.as_ref().filter(|_| rule.severity() != "critical");
            watched.suppress(|labels| {
                let labels = without_level(labels);
                loud.iter().any(|loud| {
                    let of_pair = pair.is_some() && loud.pair.as_ref() == pair && loud.labels == labels;
                    let inhibited = loud.inhibits.contains(&rule.name) && agree(&loud.labels, &labels);
                    loud.group == rule.group && (of_pair || inhibited)
                })
            });
        }
    }

    /// Everything that fires, and what ended a short while ago.
    pub fn told(&self) -> Vec<Told> {
        let mut told = Vec::new();
        for watched in &self.watched {
            watched.tell(&mut told);
        }
        told.extend(self.orphans.iter().flat_map(|orphan| orphan.told.iter().cloned()));
        told
    }

    /// The alerts of a rule that wait or fire now: labels, phase, value.
    pub fn states(&self) -> Vec<State<'_>> {
        self.watched.iter().flat_map(Watched::states).collect()
    }
}

/// An alert that fires and makes others unnecessary.
struct Loud {
    group: String,
    /// Of a critical alert.
    pair: Option<String>,
    inhibits: Vec<String>,
    labels: Vec<(String, String)>,
}

/// Where one alert stands.
#[derive(Clone, Debug)]
pub struct State<'a> {
    pub rule: &'a Rule,
    pub labels: &'a [(String, String)],
    pub instance: &'a Instance,
    /// Its data does not come: nothing is decided.
    pub stale: bool,
}

/// Labels that both have are equal.
fn agree(one: &[(String, String)], other: &[(String, String)]) -> bool {
    one.iter().all(|(name, value)| {
        other
            .iter()
            .find(|(have, _)| have == name)
            .is_none_or(|(_, have)| have == value)
    })
}

/// What the two levels of a pair have in common.
fn without_level(labels: &[(String, String)]) -> Vec<(String, String)> {
    labels
        .iter()
        .filter(|(name, _)| name != "severity" && name != "alertname")
        .cloned()
        .collect()
}
