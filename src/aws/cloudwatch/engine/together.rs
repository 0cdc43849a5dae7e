//! Series that other receivers want too: asked once for all of them, and taken from whoever asked.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shard;
use crate::aws::cloudwatch::exchange::Together;
use crate::aws::cloudwatch::fetch::{Fetched, Outcome};
use crate::aws::cloudwatch::history::{Answer, Changes};
use crate::aws::cloudwatch::plan::{Ask, Request};
use crate::aws::cloudwatch::want::{Stat, Want};

/// Of the series of this round that others want too, by position.
pub(super) type Shares = HashMap<usize, Together>;

impl Shard {
    /// Leaves out what another receiver is asking for, and widens what is asked for others too.
    pub(super) fn claim(&mut self, asks: Vec<Ask>, now: i64) -> Vec<Ask> {
        self.shares.clear();
        if self.seat.is_alone() {
            return asks;
        }
        let until = now + self.tracks.schedule.tick();
        let mut claimed = Vec::with_capacity(asks.len());
        for mut ask in asks {
            let Some(track) = self.tracks.get(ask.series) else {
                continue;
            };
            if !self.seat.claim(&track.want, now, until) {
                continue;
            }
            if let Some(together) = self.seat.together(&track.want) {
                let back = track.history.polled().map_or(now, |polled| polled.min(now)) - together.look_back;
                ask.from = ask.from.min(back - back.rem_euclid(ask.period));
                ask.statistics = together.shape.statistics.len();
                self.shares.insert(ask.series, together);
            }
            claimed.push(ask);
        }
        claimed
    }

    /// The round's questions are over.
    pub(super) fn share_out(&mut self) {
        self.shares.clear();
        self.seat.finish();
    }

    /// A series as it is asked: with the statistics of everybody.
    pub(super) fn asked(&self, position: usize) -> Option<Want> {
        let own = &self.tracks.get(position)?.want;
        let shape = self
            .shares
            .get(&position)
            .map_or(&own.shape, |together| &together.shape);
        Some(Want {
            shape: Arc::clone(shape),
            ..own.clone()
        })
    }

    /// Places of a request that are asked for others too.
    pub(super) fn shared_places(&self, request: &Request) -> Vec<usize> {
        if self.shares.is_empty() {
            return Vec::new();
        }
        let places = request.series.iter().enumerate();
        places
            .filter(|(_, position)| self.shares.contains_key(position))
            .map(|(place, _)| place)
            .collect()
    }

    /// Gives the others what is theirs and keeps what is ours.
    pub(super) fn split(&self, request: &Request, fetched: &mut Fetched, asked_at: i64) {
        let window = (request.from, request.to);
        for (place, columns) in std::mem::take(&mut fetched.shared) {
            let Some((together, want)) = request.series.get(place).and_then(|position| self.share(*position)) else {
                continue;
            };
            let all = &together.shape.statistics;
            let theirs = together.others().map(|wanted| match columns.of(all, wanted) {
                Outcome::Complete(answer) => Some(answer),
                Outcome::Forbidden | Outcome::Nothing => None,
            });
            self.seat.give(want, together, theirs, (window, asked_at));
            if let Some(outcome) = fetched.outcomes.get_mut(place) {
                *outcome = columns.of(all, &want.shape.statistics);
            }
        }
    }

    /// The same of one series that was asked alone: basic statistics, which all have the same points.
    pub(super) fn split_single(&self, position: usize, answer: Answer, when: ((i64, i64), i64)) -> Option<Answer> {
        let Some((together, want)) = self.share(position) else {
            return Some(answer);
        };
        let columns = |wanted: &[Stat]| -> Option<Vec<usize>> {
            let all = &together.shape.statistics;
            wanted
                .iter()
                .map(|stat| all.iter().position(|have| have == stat))
                .collect()
        };
        let theirs = together.others().map(|wanted| answer.with_columns(&columns(wanted)?));
        self.seat.give(want, together, theirs, when);
        answer.with_columns(&columns(&want.shape.statistics)?)
    }

    fn share(&self, position: usize) -> Option<(&Together, &Want)> {
        Some((self.shares.get(&position)?, &self.tracks.get(position)?.want))
    }

    /// Takes what others asked for us.
    pub(super) fn accept_gifts(&mut self) -> Changes {
        let mut changes = Changes::default();
        for gift in self.seat.gifts() {
            if let Some(more) = self.tracks.accept(&gift) {
                changes.late += more.late;
                changes.revised += more.revised;
                self.unsaved = true;
            }
        }
        changes
    }
}
