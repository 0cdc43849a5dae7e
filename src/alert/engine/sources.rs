//! Who brings data, and up to which event time each is known. A rule waits for the slowest of its sources.

use std::collections::HashMap;

use super::EngineSettings;

/// How a source tells how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// It says up to when a successful poll has asked; it is silent when polls fail.
    Polled,
    /// Its newest point says it. `cloudwatch`: points come minutes after their period.
    Pushed { cloudwatch: bool },
}

#[derive(Debug)]
pub struct Source {
    pub key: String,
    pub kind: SourceKind,
    /// Event time, milliseconds; `None` before anything is known.
    pub covered: Option<i64>,
    pub blind: bool,
    /// By the wall clock.
    heard_at: i64,
    lag: Lag,
    gone: bool,
    /// The AWS service whose resource it polls, as in names of metrics.
    service: Option<String>,
}

/// How late points are, in steps of half a minute.
#[derive(Debug)]
struct Lag {
    counts: [u32; LAG_STEPS],
    total: u32,
    halved_at: i64,
}

const LAG_STEP: i64 = 30_000;
/// Ten minutes.
const LAG_STEPS: usize = 20;
/// Fewer say nothing.
const LAG_LEAST: u32 = 200;
const DAY: i64 = 86_400_000;

impl Default for Lag {
    fn default() -> Self {
        Self {
            counts: [0; LAG_STEPS],
            total: 0,
            halved_at: 0,
        }
    }
}

impl Lag {
    fn note(&mut self, lag: i64, now: i64) {
        // Yesterday counts half.
        if now - self.halved_at >= DAY {
            self.halved_at = now;
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        let step = usize::try_from(lag / LAG_STEP).unwrap_or(0).min(LAG_STEPS - 1);
        self.counts[step] = self.counts[step].saturating_add(1);
        self.total = self.total.saturating_add(1);
    }

    /// The lag of 99 of 100 points, rounded up to whole steps.
    fn learned(&self) -> Option<i64> {
        if self.total < LAG_LEAST {
            return None;
        }
        let wanted = u64::from(self.total) * 99 / 100;
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Some((step as i64 + 1) * LAG_STEP);
            }
        }
        None
    }
}

#[derive(Debug, Default)]
pub(super) struct Sources {
    list: Vec<Source>,
    by_key: HashMap<String, u32>,
}

impl Sources {
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter().filter(|source| !source.gone)
    }

    pub fn get(&self, number: u32) -> Option<&Source> {
        self.list.get(number as usize)
    }

    pub fn number(&mut self, key: &str, kind: SourceKind) -> u32 {
        if let Some(number) = self.by_key.get(key) {
            let source = &mut self.list[*number as usize];
            // A source that says how far it is does not go back to guessing.
            if kind == SourceKind::Polled {
                source.kind = kind;
            }
            return *number;
        }
        let number = self.list.len() as u32;
        self.list.push(Source {
            key: key.to_owned(),
            kind,
            covered: None,
            blind: false,
            heard_at: 0,
            lag: Lag::default(),
            gone: false,
            service: None,
        });
        self.by_key.insert(key.to_owned(), number);
        number
    }

    /// What the source polls belongs to this service.
    pub fn serves(&mut self, number: u32, service: &str) {
        if let Some(source) = self.list.get_mut(number as usize)
            && source.service.as_deref() != Some(service)
        {
            source.service = Some(service.to_owned());
        }
    }

    /// Every polled resource of these services, also those of which a rule has no series: it may be about to have one.
    pub fn of_services<'a>(&'a self, services: &'a [String]) -> impl Iterator<Item = u32> + 'a {
        let polled = self.list.iter().enumerate().filter(move |(_, source)| {
            let serves = |service: &String| services.contains(service);
            source.kind == SourceKind::Polled && source.service.as_ref().is_some_and(serves)
        });
        polled.map(|(number, _)| number as u32)
    }

    /// A point of the source has come.
    pub fn heard(&mut self, number: u32, time: i64, period: i64, now: i64) {
        let Some(source) = self.list.get_mut(number as usize) else {
            return;
        };
        source.heard_at = source.heard_at.max(now);
        source.gone = false;
        if matches!(source.kind, SourceKind::Pushed { .. }) {
            source.covered = Some(source.covered.map_or(time, |covered| covered.max(time)));
            source.lag.note((now - time).max(0) + period / 2, now);
        }
    }

    pub fn cover(&mut self, number: u32, until: i64, now: i64) {
        let Some(source) = self.list.get_mut(number as usize) else {
            return;
        };
        source.heard_at = source.heard_at.max(now);
        source.gone = false;
        if !source.blind {
            source.covered = Some(source.covered.map_or(until, |covered| covered.max(until)));
        }
    }

    pub fn blind(&mut self, number: u32, is_blind: bool, now: i64) {
        let Some(source) = self.list.get_mut(number as usize) else {
            return;
        };
        source.blind = is_blind;
        source.heard_at = source.heard_at.max(now);
    }

    /// Polled sources of which nobody speaks any more, while others of the same poller are spoken of: the resource is
    /// gone.
    pub fn forget(&mut self, now: i64, settings: &EngineSettings) {
        let quiet = 3 * settings.idle_timeout;
        let mut heard: HashMap<&str, i64> = HashMap::new();
        for source in &self.list {
            if source.kind == SourceKind::Polled {
                let newest = heard.entry(poller(&source.key)).or_insert(source.heard_at);
                *newest = (*newest).max(source.heard_at);
            }
        }
        let gone: Vec<usize> = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, source)| {
                let alive = heard
                    .get(poller(&source.key))
                    .is_some_and(|newest| now - newest < quiet / 3);
                source.kind == SourceKind::Polled && now - source.heard_at > quiet && alive
            })
            .map(|(position, _)| position)
            .collect();
        for position in gone {
            self.list[position].gone = true;
        }
    }

    /// Up to which event time all of these are known. Without any: the wall clock.
    pub fn watermark(
        &self,
        numbers: impl Iterator<Item = u32>,
        delay: Option<i64>,
        now: i64,
        settings: &EngineSettings,
    ) -> Option<i64> {
        let mut least: Option<i64> = None;
        let mut unknown = false;
        for number in numbers {
            let Some(source) = self.list.get(number as usize).filter(|source| !source.gone) else {
                continue;
            };
            let is_pushed = source.kind != SourceKind::Polled;
            if is_pushed && now - source.heard_at > settings.idle_timeout {
                continue;
            }
            let Some(covered) = source.covered else {
                unknown = true;
                continue;
            };
            let known = covered - delay.unwrap_or_else(|| own_delay(source));
            least = Some(least.map_or(known, |least| least.min(known)));
        }
        match least {
            Some(least) => Some(least),
            None if unknown => None,
            None => Some(now - delay.unwrap_or(0)),
        }
    }
}

impl Source {
    /// How long after a time its points of that time are waited for, milliseconds.
    pub fn delay(&self) -> i64 {
        own_delay(self)
    }

    /// When something came of it last, by the wall clock.
    pub fn heard_at(&self) -> i64 {
        self.heard_at
    }
}

fn own_delay(source: &Source) -> i64 {
    match source.kind {
        SourceKind::Polled => 0,
        SourceKind::Pushed { cloudwatch } => match source.lag.learned() {
            Some(lag) => lag.clamp(60_000, 600_000),
            None if cloudwatch => 180_000,
            None => 30_000,
        },
    }
}

/// `receiver|account|region|resource`: everything but the resource.
fn poller(key: &str) -> &str {
    key.rsplit_once('|').map_or(key, |(poller, _)| poller)
}
