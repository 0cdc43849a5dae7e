//! Asking back what was missed for longer than a window holds: in requests as large as AWS allows, so that a series
//! costs one unit, and at no more than a fifth of the rate. What comes is final by its age: it goes out at once, and a
//! gap is closed when the pipeline has taken it.

use std::time::Duration;

use super::Shard;
use super::poll::{full_jitter, random_unit};
use crate::aws::cloudwatch::bill::{Api, USD_PER_UNIT};
use crate::aws::cloudwatch::engine::deliver::BATCH;
use crate::aws::cloudwatch::fetch::Outcome;
use crate::aws::cloudwatch::history::{Answer, Why};
use crate::aws::cloudwatch::plan::{MAX_POINTS, MAX_QUERIES, Request};
use crate::aws::cloudwatch::tracks::{Settled, Track};

/// So many failures in a round, and the gaps wait for the next one.
const FAILURES: u32 = 5;
/// Of the rate.
const SHARE: f64 = 0.2;
const DAY: i64 = 86_400;

/// What was asked back and is being handed on.
#[derive(Default)]
pub(super) struct Backfilled {
    points: Vec<Settled>,
    /// How many of them have been taken.
    taken: usize,
    /// Which gaps are closed then, up to which second: by identity of the series.
    closes: Vec<(u64, i64)>,
}

/// How long AWS keeps points of a period, seconds.
fn kept_for(period: i64) -> i64 {
    match period {
        _ if period >= 3600 => 455 * DAY,
        _ if period >= 300 => 63 * DAY,
        _ if period >= 60 => 15 * DAY,
        _ => DAY / 8,
    }
}

impl Shard {
    /// A gap too long for one window was found: gives up what is too old and says what the rest costs.
    pub(super) fn gap_opened(&mut self) {
        let now = self.now();
        let max = self.settings().backfill.max;
        let (mut series, mut units, mut minutes, mut skipped) = (0u64, 0u64, 0u64, 0u64);
        let positions: Vec<usize> = self.tracks.with_gaps().map(|(position, _)| position).collect();
        for position in positions {
            let Some(track) = self.tracks.get_mut(position) else {
                continue;
            };
            let period = track.want.shape.period;
            let oldest = now - max.min(kept_for(period));
            // The minutes that are counted are periods: a point of five minutes is one.
            skipped += track.history.give_up_before(oldest) / period.unsigned_abs().max(1);
            let left: i64 = track.history.gaps().iter().map(|(from, to)| i64::from(to - from)).sum();
            if left > 0 {
                series += 1;
                units += track.want.units();
                minutes += (left / period).unsigned_abs();
            }
        }
        self.counts.skipped.add(skipped);
        self.counts.remaining.set(minutes as f64);
        if skipped > 0 {
            tracing::warn!(receiver = %self.context.id, account = %self.desk.account, region = %self.desk.region,
                minutes = skipped, "a gap is longer than what is asked back; the oldest minutes are given up");
        }
        if series > 0 {
            tracing::info!(receiver = %self.context.id, account = %self.desk.account, region = %self.desk.region,
                series, minutes, units, usd = units as f64 * USD_PER_UNIT,
                "asking back what was missed, at no more than a fifth of the rate");
        }
        self.unsaved = true;
    }

    /// Asks back a part of the gaps.
    ///
    /// # Errors
    /// The pipeline refused what came: how long to wait before offering it again.
    pub(super) async fn backfill(&mut self) -> Result<(), Duration> {
        if self.tracks.with_gaps().next().is_none() || !self.may_ask(Api::Gmd) {
            return Ok(());
        }
        let budget = self.get_metric_data.rate() * self.tracks.schedule.tick() as f64 * SHARE;
        let began = self.now();
        let (mut skip, mut failures) = (0, 0);
        for _ in 0..(budget as usize).max(1) {
            let (request, series) = self.next_backfill(skip);
            if series == 0 || self.now() - began >= self.tracks.schedule.tick() {
                break;
            }
            let fetched = self.ask(&request).await;
            let failure = fetched.failure;
            let mut closed = 0;
            for (position, outcome) in request.series.iter().zip(fetched.outcomes) {
                match outcome {
                    Outcome::Complete(answer) => {
                        self.take_back(*position, &answer, (request.from, request.to));
                        closed += 1;
                    }
                    Outcome::Forbidden => self.tracks.forbid(*position, began),
                    Outcome::Nothing => {}
                }
            }
            self.deliver_backfilled().await?;
            match failure {
                // What was not answered is passed by in this round.
                None => skip += series - closed,
                // The rate has been lowered already: without another try a tight limit would starve the gaps.
                Some(failure) if failure.is_transient() && failures < FAILURES => {
                    let pause = full_jitter(failures, random_unit());
                    self.context.clock.sleep(pause).await;
                    failures += 1;
                }
                Some(_) => break,
            }
        }
        self.tell_remaining();
        Ok(())
    }

    fn tell_remaining(&self) {
        let gaps = self.tracks.with_gaps().flat_map(|(_, track)| {
            let period = track.want.shape.period;
            track
                .history
                .gaps()
                .iter()
                .map(move |(from, to)| i64::from(to - from) / period)
        });
        self.counts.remaining.set(gaps.sum::<i64>() as f64);
    }

    /// One request of series with equal periods and similar gaps, the most urgent first; the first `skip` are left out.
    /// A gap that is too long for one answer is cut.
    fn next_backfill(&self, skip: usize) -> (Request, usize) {
        let gap = |track: &Track| track.history.gaps().first().copied().unwrap_or_default();
        let mut waiting: Vec<(usize, &Track)> = self.tracks.with_gaps().collect();
        waiting.sort_by_key(|(position, track)| {
            let shape = &track.want.shape;
            (shape.class, shape.period, gap(track), *position)
        });
        let mut request = Request {
            period: 0,
            from: 0,
            to: 0,
            series: Vec::new(),
        };
        let mut queries = 0;
        for (position, track) in waiting.into_iter().skip(skip) {
            let shape = &track.want.shape;
            let (from, to) = gap(track);
            let (from, to) = (i64::from(from), i64::from(to));
            if request.series.is_empty() {
                let most = MAX_POINTS / (shape.statistics.len().max(1) as i64) * shape.period;
                request.period = shape.period;
                request.from = from - from.rem_euclid(shape.period);
                request.to = to.min(request.from + most);
                queries = shape.statistics.len();
                request.series.push(position);
                continue;
            }
            let window = (request.from.min(from), request.to.max(to));
            let total = queries + shape.statistics.len();
            let points = (window.1 - window.0) / request.period * total as i64;
            if shape.period != request.period || total > MAX_QUERIES || points > MAX_POINTS {
                break;
            }
            (request.from, request.to) = window;
            queries = total;
            request.series.push(position);
        }
        let series = request.series.len();
        (request, series)
    }

    /// Turns an answer into points: what was handed on before is left out, silence becomes 0 where it may.
    fn take_back(&mut self, position: usize, answer: &Answer, window: (i64, i64)) {
        let Some(track) = self.tracks.get(position) else { return };
        let Some((from, to)) = track.history.gaps().first().copied() else {
            return;
        };
        let want = &track.want;
        let period = want.shape.period;
        let to = i64::from(to).min(window.1);
        let mut at = i64::from(from);
        let mut rows = answer.iter().peekable();
        let mut running = track.running.as_deref().copied();
        let mut points = Vec::new();
        while at < to {
            while rows.peek().is_some_and(|(row, _)| *row < at) {
                rows.next();
            }
            let values = match rows.peek().filter(|(row, _)| *row == at) {
                Some((_, values)) => Some((values.to_vec(), Why::First)),
                None if want.shape.fill && at >= want.exists_from => {
                    Some((vec![0.0; want.shape.statistics.len()], Why::Filled))
                }
                None => None,
            };
            if let Some((values, why)) = values.filter(|_| !track.history.is_done(at)) {
                let before = running;
                if let Some(running) = &mut running {
                    running.add(want, at, &values);
                }
                points.push(Settled {
                    want: want.clone(),
                    at,
                    values,
                    why,
                    running: before,
                });
            }
            at += period;
        }
        self.backfilled.closes.push((track.identity, to));
        self.backfilled.points.append(&mut points);
    }

    /// Hands on what was asked back, and closes its gaps.
    ///
    /// # Errors
    /// How long to wait before offering again; nothing is lost.
    pub(super) async fn deliver_backfilled(&mut self) -> Result<(), Duration> {
        loop {
            let from = self.backfilled.taken;
            let to = (from + BATCH).min(self.backfilled.points.len());
            if from == to {
                break;
            }
            let points = std::mem::take(&mut self.backfilled.points);
            let result = self.hand_points(&points[from..to]).await;
            if result.is_ok() {
                self.tracks.add_to_running(&points[from..to]);
                self.backfilled.taken = to;
            }
            self.backfilled.points = points;
            result?;
        }
        if self.backfilled.closes.is_empty() {
            return Ok(());
        }
        for (identity, to) in std::mem::take(&mut self.backfilled).closes {
            self.tracks.close_gap(identity, to);
        }
        self.unsaved = true;
        self.keep_cursors().await;
        Ok(())
    }
}
