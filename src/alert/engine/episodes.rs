//! What a rule tells: episodes from firing to the end, what is known of each, and which of them were told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::machine::{Change, Tick};
use super::watched::{Labels, Watched, nanos};
use super::{Counts, TOLD_AFTER_END};
use crate::alert::store::Store;
use crate::alert::{Guidance, Told};

/// From firing to the end, as it is told. Times are event time in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    pub key: u64,
    pub fired_at: i64,
    pub ended_at: Option<i64>,
    #[serde(with = "super::machine::bits")]
    pub value: f64,
    /// It became known by data that came late.
    pub late: bool,
    pub traces: Vec<String>,
    pub pattern: String,
    pub cause: String,
    /// What to do first, by what was found out.
    #[serde(default)]
    pub advice: String,
    /// What the value was compared with when it began to fire.
    #[serde(default)]
    pub usual: String,
    /// The louder of a pair fires: this is not told, unless it was before.
    #[serde(default)]
    pub hidden: bool,
    /// It was told at least once.
    #[serde(default)]
    pub shown: bool,
    /// Its end was told too.
    #[serde(default)]
    pub end_shown: bool,
}

impl Episode {
    /// It is over, and nobody knows.
    pub(super) fn end_is_owed(&self) -> bool {
        self.ended_at.is_some() && !self.end_shown && !self.hidden
    }
}

impl Watched {
    pub(super) fn take(&mut self, change: Change, store: &Store, counts: &mut Counts) {
        if change.fired {
            counts.fired += 1;
            let traces = self.traces(change.key, store);
            let mut episode = new_episode(change.key, change.at, change.value);
            episode.traces = traces;
            episode.usual = self.usual(change.key, change.at);
            self.episodes.push(episode);
            return;
        }
        counts.resolved += 1;
        let open = self
            .episodes
            .iter_mut()
            .filter(|episode| episode.key == change.key && episode.ended_at.is_none());
        for episode in open {
            episode.ended_at = Some(change.at);
        }
    }

    /// Alerts that go on firing show the newest value.
    pub(super) fn keep_values(&mut self, tick: &Tick, store: &Store) {
        for found in tick.found.iter().filter(|found| found.holds) {
            let open = self
                .episodes
                .iter()
                .position(|one| one.key == found.key && one.ended_at.is_none());
            let Some(position) = open else { continue };
            self.episodes[position].value = found.value;
            if let Some(labels) = self.labels.get(&found.key)
                && let Some(finding) = self.throttles.as_ref().and_then(|one| one.find(store, labels, tick.at))
            {
                let episode = &mut self.episodes[position];
                episode.cause = finding.cause.to_owned();
                episode.pattern = finding.pattern.to_owned();
                episode.advice = finding.advice();
            }
            if self.episodes[position].traces.is_empty() {
                self.episodes[position].traces = self.traces(found.key, store);
            }
        }
    }

    /// Traces behind the series of an alert, newest first.
    /// The band around what is usual, in words.
    fn usual(&self, key: u64, at: i64) -> String {
        let band = self.usuals.as_ref().and_then(|usuals| usuals.band(key, at));
        band.map_or_else(String::new, |band| {
            let (low, high) = (band.expected - band.half, band.expected + band.half);
            format!("about {:.4}, between {low:.4} and {high:.4}", band.expected)
        })
    }

    fn traces(&self, key: u64, store: &Store) -> Vec<String> {
        let Some(labels) = self.labels.get(&key) else {
            return Vec::new();
        };
        let mut traces: Vec<(i64, [u8; 16])> = Vec::new();
        for selection in self.bindings.iter().filter_map(|id| store.selection(*id)) {
            for series in selection.members().iter().filter_map(|id| store.series(*id)) {
                let Some(found) = &series.traces else { continue };
                let texts = store.texts(&series.labels);
                let belongs = texts.iter().all(|(name, value)| {
                    let same = labels.iter().find(|(have, _)| have == name);
                    same.is_none_or(|(_, have)| have == value)
                });
                if belongs {
                    traces.extend(found.iter().copied());
                }
            }
        }
        traces.sort_by_key(|trace| std::cmp::Reverse(trace.0));
        traces.dedup_by_key(|trace| trace.1);
        traces
            .into_iter()
            .take(10)
            .map(|(_, trace)| hex::encode(trace))
            .collect()
    }

    /// What was told stays told: an alert keeps the start it was told with, and one that the corrected history does not
    /// have ends in the open.
    pub(super) fn reconcile(&mut self, fresh: Vec<Episode>, store: &Store, counts: &mut Counts) {
        let now = self.last_tick().unwrap_or(i64::MAX);
        let oldest = self.history.front().map_or(i64::MIN, |tick| tick.at);
        let mut old = std::mem::take(&mut self.episodes);
        let mut kept: Vec<Episode> = Vec::new();
        for mut episode in fresh {
            let end = episode.ended_at.unwrap_or(i64::MAX);
            let same = old.iter().position(|told| {
                told.key == episode.key
                    && told.fired_at <= end
                    && told.ended_at.is_none_or(|ended| ended >= episode.fired_at)
            });
            match same {
                Some(position) => {
                    let told = old.remove(position);
                    episode = Episode {
                        ended_at: episode.ended_at,
                        value: if episode.value.is_nan() {
                            told.value
                        } else {
                            episode.value
                        },
                        ..told
                    };
                }
                None => {
                    counts.fired += 1;
                    counts.resolved += u64::from(episode.ended_at.is_some());
                    episode.late = true;
                    episode.traces = self.traces(episode.key, store);
                    episode.usual = self.usual(episode.key, episode.fired_at);
                }
            }
            kept.push(episode);
        }
        for mut told in old {
            let within = told.ended_at.is_none_or(|ended| ended >= oldest);
            if told.ended_at.is_none() {
                told.ended_at = Some(now);
                counts.resolved += 1;
            } else if within && !told.shown {
                // Nobody has seen it, and it was not so.
                continue;
            }
            kept.push(told);
        }
        kept.sort_by_key(|episode| (episode.fired_at, episode.key));
        self.episodes = kept;
    }

    /// The labels of what fires now.
    pub(super) fn firing(&self) -> impl Iterator<Item = &Labels> {
        let open = self.episodes.iter().filter(|episode| episode.ended_at.is_none());
        open.filter_map(|episode| self.labels.get(&episode.key))
    }

    pub(super) fn suppress(&mut self, is_louder: impl Fn(&Labels) -> bool) {
        for episode in &mut self.episodes {
            let labels = self.labels.get(&episode.key);
            let louder = labels.is_some_and(&is_louder);
            if episode.ended_at.is_none() {
                episode.hidden = louder && !episode.shown;
            }
        }
    }

    /// What is told has been shown: it will not vanish without an end.
    pub(super) fn mark_shown(&mut self) {
        for episode in self.episodes.iter_mut().filter(|episode| !episode.hidden) {
            episode.shown = true;
            episode.end_shown = episode.ended_at.is_some();
        }
    }

    /// What has begun or ended since it was told last.
    pub(super) fn transitions(&self, list: &mut Vec<(Told, bool)>) {
        for episode in self.episodes.iter().filter(|episode| !episode.hidden) {
            let Some(labels) = self.labels.get(&episode.key) else {
                continue;
            };
            if !episode.shown {
                list.push((self.told(episode, labels), false));
            }
            if episode.ended_at.is_some() && !episode.end_shown {
                list.push((self.told(episode, labels), true));
            }
        }
    }

    pub(super) fn tell(&self, told: &mut Vec<Told>) {
        let now = self.last_tick().or(self.next).unwrap_or(0);
        for episode in &self.episodes {
            let is_old = episode.ended_at.is_some_and(|ended| ended <= now - TOLD_AFTER_END);
            if episode.hidden || (is_old && !episode.end_is_owed()) {
                continue;
            }
            let Some(labels) = self.labels.get(&episode.key) else {
                continue;
            };
            told.push(self.told(episode, labels));
        }
    }

    /// What to do, beginning with what follows from cause and pattern.
    fn guidance(&self, episode: &Episode) -> Arc<Guidance> {
        if episode.advice.is_empty() {
            return Arc::clone(&self.rule.guidance);
        }
        let mut guidance = Guidance::clone(&self.rule.guidance);
        guidance.resolution_steps.insert(0, episode.advice.clone());
        Arc::new(guidance)
    }

    fn told(&self, episode: &Episode, labels: &Labels) -> Told {
        let mut annotations: Labels = Vec::new();
        for (name, template) in &self.rule.annotations {
            annotations.push((name.clone(), template.render(labels, episode.value)));
        }
        if episode.late {
            annotations.push(("late".to_owned(), "the data that shows it came late".to_owned()));
        }
        if self.stale && episode.ended_at.is_none() {
            annotations.push((
                "stale".to_owned(),
                "its data does not come now; nothing is decided".to_owned(),
            ));
        }
        for (name, text) in [
            ("cause", &episode.cause),
            ("pattern", &episode.pattern),
            ("usual", &episode.usual),
        ] {
            if !text.is_empty() {
                annotations.push((name.to_owned(), text.clone()));
            }
        }
        annotations.sort();
        Told {
            labels: labels.clone(),
            annotations,
            starts_at: nanos(episode.fired_at),
            ends_at: episode.ended_at.map(nanos),
            value: episode.value,
            guidance: self.guidance(episode),
            pattern: episode.pattern.clone(),
            cause: episode.cause.clone(),
            traces: episode.traces.clone(),
        }
    }
}

pub(super) fn new_episode(key: u64, fired_at: i64, value: f64) -> Episode {
    Episode {
        key,
        fired_at,
        ended_at: None,
        value,
        late: false,
        traces: Vec::new(),
        pattern: String::new(),
        cause: String::new(),
        advice: String::new(),
        usual: String::new(),
        hidden: false,
        shown: false,
        end_shown: false,
    }
}
