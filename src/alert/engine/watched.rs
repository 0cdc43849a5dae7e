//! One rule: its ticks, what they found, and the states that follow.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::episodes::{Episode, new_episode};
use super::machine::{Found, Instance, Instances, Phase, Plan, Tick, step};
use super::throttles::Throttles;
use super::usual::Usuals;
use super::{Counts, EngineSettings, State, TOLD_AFTER_END};
use crate::alert::promql::{Evaluation, Expression};
use crate::alert::rules::metrics::default_missing;
use crate::alert::rules::{Group, Missing, Rule, aws_metric};
use crate::alert::store::{SelectionId, Store};

/// Names and values, sorted by name.
pub type Labels = Vec<(String, String)>;

/// What an evaluation found, and the labels behind new keys.
type Findings = (Vec<Found>, Vec<(u64, Labels)>);

/// Whether a point changes the past of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lateness {
    OnTime,
    Late,
    TooLate,
}

/// A rule and where it stands.
pub struct Watched {
    pub(super) rule: Arc<Rule>,
    identity: u64,
    plan: Plan,
    /// Of a rule with `anomaly`.
    pub(super) usuals: Option<Usuals>,
    /// Of a rule with `classify`.
    pub(super) throttles: Option<Throttles>,
    limit: usize,
    pub(super) bindings: Vec<SelectionId>,
    recover_bindings: Vec<SelectionId>,
    /// The AWS services whose metrics it reads, as in their names.
    services: Vec<String>,
    lateness: i64,
    lookback: i64,
    pub(super) next: Option<i64>,
    /// The first tick there was.
    pub(super) begun: Option<i64>,
    /// What the ticks that may still change found.
    pub(super) history: VecDeque<Tick>,
    /// The state before the first of them.
    pub(super) base: Instances,
    pub(super) current: Instances,
    pub(super) labels: HashMap<u64, Labels>,
    pub(super) episodes: Vec<Episode>,
    /// The first tick that has to be looked at again.
    dirty: Option<i64>,
    error: Option<String>,
    errors: u64,
    watermark: Option<i64>,
    moved_at: i64,
    pub(super) stale: bool,
}

impl Watched {
    pub(super) fn new(rule: Arc<Rule>, group: &Group, settings: &EngineSettings, store: &mut Store) -> Self {
        let mut bind = |expression: &Expression| {
            let mut bindings = Vec::new();
            expression.selectors(&mut |selector| {
                bindings.push(store.select(selector.name.as_deref(), &selector.matchers));
            });
            bindings
        };
        let bindings = bind(&rule.expr);
        let recover_bindings = rule
            .extra
            .recover
            .as_ref()
            .map(|recover| bind(&recover.expr))
            .unwrap_or_default();
        let mut interval = group.interval.unwrap_or(settings.interval);
        // M of N looks at multiples of its period only.
        if let Some(points) = rule.extra.datapoints {
            interval = points.period;
        }
        let missing = rule.extra.missing.or_else(|| metric_policy(&rule.expr));
        Self {
            identity: rule.identity(),
            plan: Plan::of(&rule, missing, interval),
            usuals: rule.extra.anomaly.map(Usuals::new),
            throttles: rule.extra.classify.map(|_| Throttles::new(store)),
            limit: group.limit,
            bindings,
            recover_bindings,
            services: services(&rule.expr),
            lateness: rule.extra.allowed_lateness.unwrap_or(settings.allowed_lateness),
            lookback: settings.lookback,
            next: None,
            begun: None,
            history: VecDeque::new(),
            base: Instances::new(),
            current: Instances::new(),
            labels: HashMap::new(),
            episodes: Vec::new(),
            dirty: None,
            error: None,
            errors: 0,
            watermark: None,
            moved_at: i64::MIN,
            stale: false,
            rule,
        }
    }

    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// The identity its state is kept under.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Why the last evaluation failed.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Its data does not come: nothing is decided.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Up to which event time all its data is known.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// The selections of its selectors.
    pub fn bindings(&self) -> &[SelectionId] {
        &self.bindings
    }

    /// How old a point without a period may be, milliseconds.
    pub(super) fn lookback(&self) -> i64 {
        self.lookback
    }

    /// The selection of one selector of the expression, or of what `recover` asks.
    pub(super) fn selection_of(&self, recover: bool, selector: usize) -> Option<SelectionId> {
        let bindings = if recover {
            &self.recover_bindings
        } else {
            &self.bindings
        };
        bindings.get(selector).copied()
    }

    /// An evaluation as at a tick.
    pub(super) fn evaluation_of<'a>(&'a self, store: &'a Store, recover: bool) -> Evaluation<'a> {
        self.evaluation(
            store,
            if recover {
                &self.recover_bindings
            } else {
                &self.bindings
            },
        )
    }

    pub fn interval(&self) -> i64 {
        self.plan.interval
    }

    pub(super) fn selections(&self) -> impl Iterator<Item = SelectionId> + '_ {
        self.bindings.iter().chain(&self.recover_bindings).copied()
    }

    pub(super) fn services(&self) -> &[String] {
        &self.services
    }

    pub(super) fn begin_at(&mut self, time: i64) {
        self.next = Some(ceil(time, self.plan.interval));
    }

    pub(super) fn next_tick(&self) -> Option<i64> {
        self.next
    }

    /// The last tick that was evaluated.
    pub fn last_tick(&self) -> Option<i64> {
        self.history.back().map(|tick| tick.at)
    }

    pub(super) fn note_watermark(&mut self, watermark: Option<i64>, now: i64) {
        if watermark > self.watermark {
            self.watermark = watermark;
            self.moved_at = now;
        }
        if self.moved_at == i64::MIN {
            self.moved_at = now;
        }
        self.stale = now - self.moved_at > (3 * self.plan.interval).max(600_000);
    }

    pub(super) fn note_late(&mut self, time: i64) -> Lateness {
        let Some(last) = self.last_tick() else {
            return Lateness::OnTime;
        };
        if time > last {
            return Lateness::OnTime;
        }
        // A point changes the ticks at and after its time; those that have left the history stay as they are.
        let oldest = self.history.front().map_or(last, |tick| tick.at);
        if time <= last - self.lateness {
            return Lateness::TooLate;
        }
        let from = time.max(oldest);
        self.dirty = Some(self.dirty.map_or(from, |dirty| dirty.min(from)));
        Lateness::Late
    }

    pub(super) fn recheck(&mut self) {
        self.dirty = self.history.front().map(|tick| tick.at);
    }

    fn evaluation<'a>(&'a self, store: &'a Store, bindings: &'a [SelectionId]) -> Evaluation<'a> {
        let mut evaluation = Evaluation::new(store, bindings);
        evaluation.interval = self.plan.interval;
        evaluation.lookback = self.lookback;
        evaluation.fill = self.rule.extra.missing.map(Missing::fill);
        evaluation
    }

    fn evaluate(&mut self, store: &Store, at: i64, counts: &mut Counts) -> Tick {
        counts.evaluations += 1;
        match self.find(store, at) {
            Ok((found, labels)) => {
                self.error = None;
                self.labels.extend(labels);
                Tick {
                    at,
                    found,
                    failed: false,
                }
            }
            Err(message) => {
                counts.errors += 1;
                self.errors += 1;
                self.error = Some(message);
                Tick {
                    at,
                    found: Vec::new(),
                    failed: true,
                }
            }
        }
    }

    fn find(&self, store: &Store, at: i64) -> Result<Findings, String> {
        let evaluation = self.evaluation(store, &self.bindings);
        let enough = self
            .rule
            .extra
            .min_state
            .is_none_or(|least| self.begun.is_some_and(|begun| at - begun >= least));
        let mut found: Vec<Found> = Vec::new();
        let mut all_labels = Vec::new();
        let mut add = |texts: Labels, value: f64, holds: bool| {
            let labels = self.alert_labels(texts, value);
            let key = key_of(&labels);
            // With `anomaly` the expression is the value that is watched.
            let unusual = self
                .usuals
                .as_ref()
                .is_none_or(|usuals| usuals.is_unusual(key, at, value));
            all_labels.push((key, labels));
            found.push(Found {
                key,
                value,
                holds: holds && enough && unusual,
                recovered: false,
            });
        };
        if self.plan.needs_calm() {
            for outcome in evaluation
                .condition(&self.rule.expr, at)
                .map_err(|error| error.to_string())?
            {
                let texts = evaluation.texts(&outcome.element.labels);
                add(texts, outcome.element.value, outcome.holds);
            }
        } else {
            for element in evaluation
                .vector(&self.rule.expr, at)
                .map_err(|error| error.to_string())?
            {
                add(evaluation.texts(&element.labels), element.value, true);
            }
        }
        // The order of series is that of their arrival, and means nothing.
        found.sort_by_key(|one| one.key);
        let is_double = |pair: &[Found]| pair[0].key == pair[1].key && (pair[0].holds || pair[1].holds);
        if found.windows(2).any(is_double) {
            return Err("two alerts of this rule would have the same labels".to_owned());
        }
        let firing = found.iter().filter(|one| one.holds).count();
        if self.limit > 0 && firing > self.limit {
            return Err(format!(
                "{firing} alerts: more than the group's limit of {}",
                self.limit
            ));
        }
        if let Some(recover) = &self.rule.extra.recover {
            let evaluation = self.evaluation(store, &self.recover_bindings);
            let elements = evaluation
                .vector(&recover.expr, at)
                .map_err(|error| error.to_string())?;
            for element in elements {
                let key = key_of(&self.alert_labels(evaluation.texts(&element.labels), element.value));
                if let Ok(position) = found.binary_search_by_key(&key, |one| one.key) {
                    found[position].recovered = true;
                }
            }
        }
        Ok((found, all_labels))
    }

    /// The labels of an alert: those of the element, the rule's, the name.
    fn alert_labels(&self, element: Labels, value: f64) -> Labels {
        let mut labels: Labels = element.iter().filter(|(name, _)| name != "__name__").cloned().collect();
        for (name, template) in &self.rule.labels {
            let text = template.render(&element, value);
            labels.retain(|(have, _)| have != name);
            if !text.is_empty() {
                labels.push((name.clone(), text));
            }
        }
        labels.retain(|(name, _)| name != "alertname");
        labels.push(("alertname".to_owned(), self.rule.name.clone()));
        labels.sort();
        labels
    }

    /// Evaluates the ticks up to the watermark, in order.
    pub(super) fn advance(
        &mut self,
        store: &Store,
        watermark: i64,
        most: usize,
        settings: &EngineSettings,
        counts: &mut Counts,
    ) -> bool {
        let interval = self.plan.interval;
        let mut next = *self.next.get_or_insert_with(|| floor(watermark, interval));
        // Beyond this a gap is not filled tick by tick: `for` begins anew.
        let tolerated = settings
            .outage_tolerance
            .max(self.rule.reach(settings.lookback))
            .max(settings.backfill);
        if watermark - next > tolerated {
            next = ceil(watermark - tolerated, interval);
        }
        let mut done = 0;
        while next <= watermark && done < most {
            self.begun.get_or_insert(next);
            let tick = self.evaluate(store, next, counts);
            let mut changes = Vec::new();
            step(&mut self.current, &tick, &self.plan, &mut changes);
            for change in changes {
                self.take(change, store, counts);
            }
            self.keep_values(&tick, store);
            self.history.push_back(tick);
            self.forget(next);
            next += interval;
            done += 1;
        }
        self.next = Some(next);
        done > 0
    }

    /// Moves ticks that cannot change any more into the base.
    fn forget(&mut self, now: i64) {
        while self.history.len() > 1 && self.history.front().is_some_and(|tick| tick.at <= now - self.lateness) {
            if let Some(tick) = self.history.pop_front() {
                step(&mut self.base, &tick, &self.plan, &mut Vec::new());
                self.learn(&tick);
            }
        }
        let oldest = now - TOLD_AFTER_END.max(self.lateness) - self.plan.interval;
        self.episodes.retain(|episode| {
            // After a gap that was longer an end is told all the same.
            episode.ended_at.is_none_or(|ended| ended > oldest) || episode.end_is_owed()
        });
        if self.labels.len() > 2 * (self.current.len() + self.episodes.len()) + 64 {
            let (current, base, episodes, history) = (&self.current, &self.base, &self.episodes, &self.history);
            self.labels.retain(|key, _| {
                current.contains_key(key)
                    || base.contains_key(key)
                    || episodes.iter().any(|episode| episode.key == *key)
                    || history
                        .iter()
                        .any(|tick| tick.found.iter().any(|found| found.key == *key))
            });
        }
    }

    /// What cannot change any more is learned from, unless it is what the alert fires on.
    fn learn(&mut self, tick: &Tick) {
        let Some(usuals) = &mut self.usuals else { return };
        for found in &tick.found {
            let fires = self.base.get(&found.key).is_some_and(Instance::fires);
            if !fires {
                usuals.learn(found.key, tick.at, found.value, self.plan.interval);
            }
        }
        if tick.at.rem_euclid(86_400_000) < self.plan.interval {
            usuals.tidy();
        }
    }

    /// Learns from a past that is known as a whole, as it was polled: whatever is in the store from then to then.
    pub(super) fn rehearse(&mut self, store: &Store, (from, to): (i64, i64)) {
        let interval = self.plan.interval;
        let mut counts = Counts::default();
        let mut at = ceil(from + 1, interval);
        while self.usuals.is_some() && at <= to {
            let tick = self.evaluate(store, at, &mut counts);
            if let Some(usuals) = &mut self.usuals {
                for found in &tick.found {
                    usuals.learn(found.key, at, found.value, interval);
                }
            }
            self.labels.clear();
            at += interval;
        }
    }

    /// Looks again at the ticks that late points have changed.
    pub(super) fn revise(&mut self, store: &Store, counts: &mut Counts) -> bool {
        let Some(from) = self.dirty.take() else { return false };
        let mut ticks = std::mem::take(&mut self.history);
        let mut changed = false;
        for tick in ticks.iter_mut().filter(|tick| tick.at >= from) {
            let again = self.evaluate(store, tick.at, counts);
            changed |= again != *tick;
            *tick = again;
        }
        self.history = ticks;
        if !changed {
            return false;
        }
        // The same fold, over the corrected findings.
        let mut current = self.base.clone();
        let mut open: HashMap<u64, Episode> = HashMap::new();
        let mut fresh: Vec<Episode> = Vec::new();
        for (key, instance) in current.iter().filter(|(_, instance)| instance.fires()) {
            open.insert(*key, new_episode(*key, instance.fired_at, instance.value));
        }
        for tick in &self.history {
            let mut changes = Vec::new();
            step(&mut current, tick, &self.plan, &mut changes);
            for change in changes {
                if change.fired {
                    open.insert(change.key, new_episode(change.key, change.at, change.value));
                } else if let Some(mut episode) = open.remove(&change.key) {
                    episode.ended_at = Some(change.at);
                    fresh.push(episode);
                }
            }
        }
        for (key, mut episode) in open {
            if let Some(instance) = current.get(&key) {
                episode.value = instance.value;
            }
            fresh.push(episode);
        }
        fresh.sort_by_key(|episode| (episode.fired_at, episode.key));
        self.current = current;
        self.reconcile(fresh, store, counts);
        true
    }

    /// Milliseconds by which evaluation is behind the data that is there.
    pub fn lag(&self) -> i64 {
        match (self.watermark, self.next) {
            (Some(watermark), Some(next)) => (watermark - next).max(0),
            _ => 0,
        }
    }

    /// Evaluations that failed.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    pub(super) fn states(&self) -> Vec<State<'_>> {
        let mut states = Vec::new();
        for (key, instance) in &self.current {
            let Some(labels) = self.labels.get(key) else { continue };
            if instance.phase != Phase::Inactive {
                states.push(State {
                    rule: &self.rule,
                    labels,
                    instance,
                    stale: self.stale,
                });
            }
        }
        states
    }

    /// Where an alert stands; `None`: inactive, or not known.
    pub fn instance(&self, labels: &[(String, String)]) -> Option<&Instance> {
        self.current.get(&key_of(labels))
    }
}

/// `dynamodb` of `aws_dynamodb_throttled_requests_sum`.
fn services(expression: &Expression) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    expression.selectors(&mut |selector| {
        let metric = selector.name.as_deref().and_then(aws_metric);
        if let Some((service, _)) = metric.as_ref().and_then(|metric| metric.base.split_once('_')) {
            found.push(service.to_owned());
        }
    });
    found.sort();
    found.dedup();
    found
}

/// What absence means for the metrics of an expression, where that is a matter of the alert and not of filling in.
fn metric_policy(expression: &Expression) -> Option<Missing> {
    let mut found = None;
    expression.selectors(&mut |selector| {
        let policy = selector.name.as_deref().and_then(default_missing);
        if found.is_none() && matches!(policy, Some(Missing::Ignore | Missing::Ok | Missing::NoData(_))) {
            found = policy;
        }
    });
    found
}

pub(super) fn key_of(labels: &[(String, String)]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for (name, value) in labels {
        for part in [name, value] {
            hasher.update(part.as_bytes());
            hasher.update(&[0xff]);
        }
    }
    hasher.digest()
}

pub(super) fn nanos(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000)
}

fn floor(time: i64, interval: i64) -> i64 {
    time - time.rem_euclid(interval)
}

fn ceil(time: i64, interval: i64) -> i64 {
    floor(time + interval - 1, interval)
}
