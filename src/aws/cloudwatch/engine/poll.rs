//! One round of questions: what is due, the most urgent first. What a throttle or another passing failure leaves is
//! tried again, with growing random pauses, until the next round begins.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::Shard;
use crate::aws::Failure;
use crate::aws::cloudwatch::bill::{Api, fits_statistics};
use crate::aws::cloudwatch::fetch::{Fetched, Line, Outcome, fetch};
use crate::aws::cloudwatch::history::Changes;
use crate::aws::cloudwatch::plan::{Ask, Request, plan};
use crate::aws::cloudwatch::single;
use crate::aws::cloudwatch::want::Want;

/// The first pause after a failure is at most so long; it doubles with each ...
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Questions by GetMetricStatistics at a time.
const TOGETHER: usize = 4;
/// So many series with something to go out are handed on before more is asked.
const MANY: usize = 4_000;

/// What one round of polling did.
#[derive(Debug, Default)]
pub struct Polled {
    /// Series asked for and series answered.
    pub asked: usize,
    pub answered: usize,
    pub changes: Changes,
    /// Why some series were not answered in this round.
    pub failure: Option<Failure>,
    /// The pipeline refused in between: offer again after this time.
    pub refused: Option<Duration>,
}

impl Shard {
    /// Asks for everything that is due.
    pub(super) async fn poll(&mut self) -> Polled {
        let now = self.now();
        let given = self.accept_gifts();
        let (asks, aside) = self.tracks.due(now, self.settings().backfill.in_order);
        if aside > 0 {
            self.gap_opened();
        }
        let asks = self.claim(asks, now);
        let mut polled = Polled {
            asked: asks.len(),
            changes: given,
            ..Polled::default()
        };
        let answered = asks.iter().map(|ask| ask.series).collect::<Vec<_>>();
        let (free, asks): (Vec<Ask>, Vec<Ask>) = asks.into_iter().partition(|ask| {
            let short = (now - ask.from) / ask.period < single::MAX_POINTS;
            let basic = || {
                self.asked(ask.series)
                    .is_some_and(|want| fits_statistics(&want.shape.statistics))
            };
            short && self.tracks.is_free(ask.series) && basic()
        });
        let asks = if self.may_ask(Api::Gmd) { asks } else { Vec::new() };
        let mut waiting: VecDeque<Request> = plan(asks, now).into();
        let mut failures = 0;
        let mut last_failure = None;
        while let Some(request) = waiting.pop_front() {
            // The answer shows the state of the moment it was asked for, not of the round's beginning.
            let asked_at = self.now();
            if asked_at - now >= self.tracks.schedule.tick() {
                // The rate was too short for this round: the rest waits for the next one, which covers it for free.
                waiting.push_front(request);
                break;
            }
            let fetched = self.ask(&request).await;
            let left = left_over(&request, &fetched);
            let failure = self.take(&request, fetched, (now, asked_at), &mut polled);
            if self.tracks.ready_series() > MANY
                && let Err(wait) = self.deliver().await
            {
                polled.refused = Some(wait);
                break;
            }
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
            self.context.clock.sleep(full_jitter(failures, random_unit())).await;
            failures += 1;
        }
        if !waiting.is_empty() {
            polled.failure = polled.failure.or(last_failure);
        }
        if polled.refused.is_none() && self.may_ask(Api::Gms) {
            // In boxes, here and below: the SDK's futures are large, four of them are most of a test's stack.
            Box::pin(self.poll_free(free, now, &mut polled)).await;
        }
        self.share_out();
        // A heartbeat may have been answered after those that wait for it.
        let now = self.now();
        for position in answered {
            if self.tracks.get(position).is_some_and(|track| track.want.shape.fill) {
                self.tracks.decide(position, now);
            }
        }
        polled
    }

    /// Sends one request; what it costs is counted at once.
    pub(super) async fn ask(&mut self, request: &Request) -> Fetched {
        let mut wants: Vec<Want> = Vec::with_capacity(request.series.len());
        for position in &request.series {
            wants.extend(self.asked(*position));
        }
        debug_assert_eq!(wants.len(), request.series.len(), "positions stay during a round");
        let queries: usize = wants.iter().map(|want| want.shape.statistics.len()).sum();
        let points = (request.to - request.from) / request.period.max(1) * queries as i64;
        self.points.take_many(points as f64, self.context.clock.as_ref()).await;
        let line = Line {
            client: &self.client,
            calls: &self.get_metric_data,
        };
        let shared = self.shared_places(request);
        let asked_at = self.now();
        let mut fetched = fetch(line, request, &wants, &shared).await;
        self.split(request, &mut fetched, asked_at);
        self.charge(fetched.units, 0);
        self.counts.partial(fetched.partial);
        fetched
    }

    /// Asks series one by one by GetMetricStatistics, a few at a time.
    async fn poll_free(&mut self, asks: Vec<Ask>, now: i64, polled: &mut Polled) {
        for some in asks.chunks(TOGETHER) {
            let asked_at = self.now();
            if asked_at - now >= self.tracks.schedule.tick() {
                return;
            }
            let line = Line {
                client: &self.client,
                calls: &self.get_metric_statistics,
            };
            let ask = |place: usize| {
                let want = some.get(place).and_then(|ask| {
                    let to = now + (-now).rem_euclid(ask.period);
                    Some((self.asked(ask.series)?, (ask.from, to)))
                });
                async move {
                    match want {
                        Some((want, window)) => {
                            let asking = Box::pin(single::fetch_single(line, &want, window));
                            Some((asking.await, window))
                        }
                        None => None,
                    }
                }
            };
            let (first, second, third, fourth) = tokio::join!(ask(0), ask(1), ask(2), ask(3));
            let mut given_up = false;
            for (ask, answer) in some.iter().zip([first, second, third, fourth]) {
                let Some((answer, window)) = answer else { continue };
                self.charge(0, u64::from(answer.counted));
                if let Outcome::Complete(points) = answer.outcome
                    && let Some(points) = self.split_single(ask.series, points, (window, asked_at))
                {
                    let changes = self.tracks.take(ask.series, &points, window, asked_at);
                    polled.changes.late += changes.late;
                    polled.changes.revised += changes.revised;
                    polled.answered += 1;
                }
                if let Some(failure) = answer.failure {
                    // What passes is tried in the next round: the bucket has slowed down by itself.
                    given_up |= failure.ends_the_round();
                    polled.failure.get_or_insert(failure);
                }
            }
            if given_up {
                return;
            }
        }
    }

    /// Remembers what came of a request. `times`: beginning of the round, moment of the question.
    fn take(&mut self, request: &Request, fetched: Fetched, times: (i64, i64), polled: &mut Polled) -> Option<Failure> {
        for (position, outcome) in request.series.iter().zip(fetched.outcomes) {
            match outcome {
                Outcome::Complete(answer) => {
                    let window = (request.from, request.to);
                    let changes = self.tracks.take(*position, &answer, window, times.1);
                    polled.changes.late += changes.late;
                    polled.changes.revised += changes.revised;
                    polled.answered += 1;
                }
                Outcome::Forbidden => self.tracks.forbid(*position, times.0),
                Outcome::Nothing => {}
            }
        }
        fetched.failure
    }
}

/// What of a request has to be asked again.
fn left_over(request: &Request, fetched: &Fetched) -> Request {
    let unanswered = |outcome: &Outcome| matches!(outcome, Outcome::Nothing);
    Request {
        series: request
            .series
            .iter()
            .zip(&fetched.outcomes)
            .filter(|(_, outcome)| unanswered(outcome))
            .map(|(position, _)| *position)
            .collect(),
        ..request.clone()
    }
}

/// A pause between nothing and a limit that doubles with every failure; `chance` is between 0 and 1.
pub(super) fn full_jitter(failures: u32, chance: f64) -> Duration {
    let limit = FIRST_PAUSE
        .saturating_mul(2u32.saturating_pow(failures))
        .min(LONGEST_PAUSE);
    limit.mul_f64(chance.clamp(0.0, 1.0))
}

/// Between 0 and 1. Spreads retries; needs no quality beyond differing between agents.
pub(super) fn random_unit() -> f64 {
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
