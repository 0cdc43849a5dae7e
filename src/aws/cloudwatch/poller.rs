//! All series of one account and region: asks for what is due, remembers what was said, offers what is settled.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use aws_sdk_cloudwatch::Client;

use super::fetch::{Fetched, fetch};
use super::history::{Changes, History, Settling};
use super::plan::{Ask, Request, plan};
use super::want::{Class, SeriesId, Want};
use crate::aws::{Calls, Failure};
use crate::component::Clock;

/// The longest gap that is asked back; CloudWatch keeps one-minute data for 15 days, our memory does not.
const MAX_GAP_S: i64 = 24 * 3600;
/// A series found later is asked back to the start of the receiver, at most so far.
const MAX_NEW_S: i64 = 3 * 3600;
/// A series that the credentials may not read is tried again after so long.
const FORBIDDEN_S: i64 = 3600;

/// The first pause after a failure is at most so long; it doubles with each ...
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How to poll.
#[derive(Clone, Copy, Debug)]
pub struct PollerSettings {
    /// Seconds between polls of a series.
    pub interval: i64,
    pub max_late: i64,
    pub strict: bool,
    /// Unix seconds of the first minute wanted.
    pub start: i64,
}

struct Track {
    want: Want,
    history: History,
    next_due: i64,
    /// Unwanted since; polled until its last values are settled.
    leaving: Option<i64>,
    /// The credentials may not read it; asked again hourly.
    forbidden: bool,
}

/// What one round of polling did.
#[derive(Debug, Default)]
pub struct Polled {
    /// Series asked for and series answered.
    pub asked: usize,
    pub answered: usize,
    /// Metrics billed.
    pub units: u64,
    pub changes: Changes,
    /// Ids that came in parts.
    pub partial: u64,
    /// Minutes given up because the gap was longer than 24 hours.
    pub skipped: u64,
    /// Series that may not be read, now or at the last try.
    pub forbidden: usize,
    /// Why some series were not answered in this round.
    pub failure: Option<Failure>,
}

/// A point that is ready to be handed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    pub want: Want,
    /// Start of the period, unix seconds.
    pub at: i64,
    /// In the order of the want's statistics.
    pub values: Vec<f64>,
    /// A 0 that stands for silence.
    pub filled: bool,
}

/// Polls CloudWatch for one account and region.
pub struct Poller {
    settings: PollerSettings,
    tracks: BTreeMap<SeriesId, Track>,
}

impl Poller {
    pub fn new(settings: PollerSettings) -> Self {
        Self {
            settings,
            tracks: BTreeMap::new(),
        }
    }

    fn settling(&self) -> Settling {
        Settling {
            max_late: self.settings.max_late,
            strict: self.settings.strict,
        }
    }

    /// Replaces what is wanted. What is no longer wanted is polled until its last values have come.
    pub fn set_wants(&mut self, wants: Vec<Want>, now: i64) {
        let leave = now + 2 * self.settings.max_late;
        for track in self.tracks.values_mut() {
            track.leaving.get_or_insert(leave);
            // What is gone is silent because it is gone, not because it is quiet.
            track.want.fill = false;
        }
        for want in wants {
            let start = self.settings.start.max(now - MAX_NEW_S);
            let track = self.tracks.entry(want.series.clone()).or_insert_with(|| Track {
                history: History::starting(start, want.period),
                want: want.clone(),
                next_due: now,
                leaving: None,
                forbidden: false,
            });
            track.leaving = None;
            track.want = want;
        }
        self.tracks.retain(|_, track| {
            track
                .leaving
                .is_none_or(|until| now < until || !track.history.ready().is_empty())
        });
    }

    /// Series by class.
    pub fn count(&self, class: Class) -> usize {
        self.tracks.values().filter(|track| track.want.class == class).count()
    }

    /// Minutes seen and not settled.
    pub fn open_minutes(&self) -> usize {
        self.tracks.values().map(|track| track.history.open()).sum()
    }

    /// The end of the last minute up to which every sentinel and core series of a resource is decided.
    pub fn watermark(&self, resource: &str) -> Option<i64> {
        self.tracks
            .values()
            .filter(|track| track.want.resource == resource && track.leaving.is_none())
            .filter(|track| matches!(track.want.class, Class::Sentinel | Class::Core))
            .map(|track| track.history.cursor())
            .min()
    }

    /// The newest settled minute of a series.
    pub fn newest_settled(&self, series: &SeriesId) -> Option<i64> {
        self.tracks.get(series)?.history.newest_settled()
    }

    /// The newest settled value of a series: its first statistic.
    pub fn newest_value(&self, series: &SeriesId) -> Option<f64> {
        self.tracks.get(series)?.history.newest_value()
    }

    /// Asks for everything that is due. Values go into memory; nothing is handed on here. What a throttle or another
    /// passing failure leaves is tried again, with growing random pauses, until the next round begins.
    pub async fn poll(&mut self, client: &Client, calls: &Calls, clock: &dyn Clock) -> Polled {
        let now = clock.now().seconds() as i64;
        let mut polled = Polled::default();
        let (due, asks) = self.due(now, &mut polled);
        polled.asked = due.len();
        let mut waiting: VecDeque<Request> = plan(asks, now).into();
        let mut failures = 0;
        let mut last_failure = None;
        while let Some(request) = waiting.pop_front() {
            // The answer shows the state of the moment it was asked for, not of the round's beginning.
            let asked_at = clock.now().seconds() as i64;
            if asked_at - now >= self.settings.interval {
                // The rate was too short for this round: the rest waits for the next one, which covers it for free.
                waiting.push_front(request);
                break;
            }
            let wants: Vec<Want> = request
                .series
                .iter()
                .filter_map(|position| Some(self.tracks.get(due.get(*position)?)?.want.clone()))
                .collect();
            let borrowed: Vec<&Want> = wants.iter().collect();
            let mut fetched = fetch(client, calls, &request, &borrowed).await;
            let failure = fetched.failure.take();
            let left = left_over(&request, &fetched);
            self.take(&due, &request, fetched, (now, asked_at), &mut polled);
            let Some(failure) = failure else { continue };
            let (ends_the_round, passes) = (failure.ends_the_round(), failure.is_transient());
            let throttled = matches!(failure, Failure::Throttled { .. });
            last_failure = Some(failure);
            if ends_the_round {
                waiting.push_back(left);
                break;
            }
            if !passes {
                // A request that AWS refuses costs only itself.
                polled.failure = last_failure.clone();
                continue;
            }
            if throttled {
                // The most urgent first, as planned.
                waiting.push_front(left);
            } else {
                waiting.push_back(left);
            }
            clock.sleep(full_jitter(failures, random_unit())).await;
            failures += 1;
        }
        if !waiting.is_empty() {
            polled.failure = polled.failure.or(last_failure);
        }
        polled.forbidden = self.tracks.values().filter(|track| track.forbidden).count();
        polled
    }

    /// Every series whose time has come, and from where to ask.
    fn due(&mut self, now: i64, polled: &mut Polled) -> (Vec<SeriesId>, Vec<Ask>) {
        let settling = self.settling();
        let (mut due, mut asks) = (Vec::new(), Vec::new());
        for (id, track) in &mut self.tracks {
            if now < track.next_due {
                continue;
            }
            polled.skipped += track.history.skip_to(now - MAX_GAP_S, track.want.period);
            let from = track.history.ask_from(now, settling, self.settings.start);
            asks.push(Ask::new(due.len(), &track.want, from));
            due.push(id.clone());
        }
        (due, asks)
    }

    /// Remembers what came of a request. `times`: beginning of the round, moment of the question.
    fn take(&mut self, due: &[SeriesId], request: &Request, fetched: Fetched, times: (i64, i64), polled: &mut Polled) {
        let (now, asked_at) = times;
        let settling = self.settling();
        polled.units += fetched.units;
        polled.partial += fetched.partial;
        polled.answered += fetched.complete.len();
        for (position, answer) in fetched.complete {
            let Some(track) = due.get(position).and_then(|id| self.tracks.get_mut(id)) else {
                continue;
            };
            let window = (request.from, request.to);
            let changes = track.history.take(&track.want, &answer, window, asked_at, settling);
            polled.changes.late += changes.late;
            polled.changes.revised += changes.revised;
            let interval = self.settings.interval.max(track.want.period);
            track.next_due = now - now.rem_euclid(interval) + interval;
            track.forbidden = false;
        }
        for position in fetched.forbidden {
            if let Some(track) = due.get(position).and_then(|id| self.tracks.get_mut(id)) {
                track.next_due = now + FORBIDDEN_S;
                track.forbidden = true;
            }
        }
    }

    /// Every point that is ready, by resource and oldest first per series.
    pub fn settled(&self) -> Vec<Settled> {
        let mut settled = Vec::new();
        for track in self.tracks.values() {
            for point in track.history.ready() {
                settled.push(Settled {
                    want: track.want.clone(),
                    at: point.at,
                    values: point.values,
                    filled: point.filled,
                });
            }
        }
        settled.sort_by(|a, b| {
            let resources = a.want.resource.cmp(&b.want.resource);
            resources
                .then_with(|| a.want.series.cmp(&b.want.series))
                .then(a.at.cmp(&b.at))
        });
        settled
    }

    /// The points were taken over by the pipeline (or given up for good): the cursor moves.
    pub fn acknowledge(&mut self, points: &[Settled]) {
        for point in points {
            if let Some(track) = self.tracks.get_mut(&point.want.series) {
                track.history.done(point.at, track.want.period);
            }
        }
    }
}

/// What of a request has to be asked again.
fn left_over(request: &Request, fetched: &Fetched) -> Request {
    let mut left = request.clone();
    left.series
        .retain(|position| !fetched.complete.contains_key(position) && !fetched.forbidden.contains(position));
    left
}

/// A pause between nothing and a limit that doubles with every failure; `chance` is between 0 and 1.
fn full_jitter(failures: u32, chance: f64) -> Duration {
    let limit = FIRST_PAUSE
        .saturating_mul(2u32.saturating_pow(failures))
        .min(LONGEST_PAUSE);
    limit.mul_f64(chance.clamp(0.0, 1.0))
}

/// Between 0 and 1. Spreads retries; needs no quality beyond differing between agents.
fn random_unit() -> f64 {
    let bits = RandomState::new().hash_one(0u8);
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_random_below_a_limit_that_doubles_up_to_twenty_seconds() {
        assert_eq!(full_jitter(0, 1.0), Duration::from_millis(200));
        assert_eq!(full_jitter(3, 1.0), Duration::from_millis(1_600));
        assert_eq!(full_jitter(3, 0.5), Duration::from_millis(800));
        assert_eq!(full_jitter(60, 1.0), Duration::from_secs(20));
        assert_eq!(full_jitter(60, 0.0), Duration::ZERO);
    }
}
