//! The traces of a day against their copies: joined with ledgers, probed where no ledger proves a copy, compared with
//! X-Ray where nobody has compared before.

use std::collections::HashMap;
use std::sync::Arc;

use super::books::Bucket;
use super::compared::Comparer;
use super::{Auditor, Run, Shard, Side, Trouble};
use crate::aws::xray::api::fetch;
use crate::aws::xray::ids::write_trace_id;
use crate::component::UnixNanos;
use crate::retention::archive::{Day, TraceId};
use crate::retention::ledger::{About, Listed, Lookup, Mark, Reader, Row, Writer};
use crate::retention::state::{Answer, Answers, Counts, Facts, Judged, Source, State, Verdict, judge};
use crate::retention::watchlist::Endangered;

/// Of so many traces that a ledger proves one is asked for all the same.
#[cfg(not(test))]
const VERIFIED_IN: u64 = 1_000;
#[cfg(test)]
const VERIFIED_IN: u64 = 4;
/// Traces that are in memory at the same time.
const CHUNK: usize = 2_000;
/// X-Ray takes segments for seven days.
pub(super) const FINAL_S: u64 = 8 * 86_400;

/// What a day came to.
#[derive(Debug, Default)]
pub struct Found {
    /// Of traces that are looked at again.
    pub counts: Counts,
    /// Complete, and kept long enough.
    pub settled: u64,
    /// Start of the oldest in X-Ray without a complete copy, unix seconds.
    pub oldest: Option<u64>,
}

/// The files of one pass; moved to where blocking is allowed and back.
struct Pass {
    reader: Reader<Listed>,
    lookups: Vec<Option<Lookup>>,
    /// What is kept for the next run; `None`: nothing is written.
    writer: Option<Writer<Listed>>,
}

/// A trace, and what archives say of it.
struct Weighed {
    listed: Listed,
    answers: Answers,
    source: Source,
}

impl Auditor {
    /// Weighs the traces of `reader`. Those that are to be looked at again stand in the day's list afterwards.
    #[allow(clippy::too_many_arguments)] // All of one day; a struct for them would have this one caller.
    pub(super) async fn weigh(
        &self,
        shard: &Shard,
        run: &mut Run,
        day: Day,
        reader: Reader<Listed>,
        lookups: Vec<Option<Lookup>>,
        bucket: &mut Bucket,
        now: UnixNanos,
    ) -> Result<Found, Trouble> {
        let list = self.list_path(shard, day);
        let next = list.with_extension("next");
        let writer = if self.only_reads() {
            None
        } else {
            let (fs, next) = (Arc::clone(&self.aside.0), next.clone());
            let begun = self.on_disk(move || {
                let _ = fs.remove(&next);
                Writer::begin(fs.create(&next)?, About::default())
            });
            Some(begun.await?)
        };
        let mut pass = Pass {
            reader,
            lookups,
            writer,
        };
        let mut found = Found::default();
        let mut kept: Vec<Listed> = Vec::new();
        loop {
            let distrusted = bucket.distrusted;
            let (back, chunk) = self
                .next_chunk(pass, std::mem::take(&mut kept), now, distrusted)
                .await?;
            pass = back;
            if chunk.is_empty() {
                break;
            }
            let chunk = self.probe(run, day, bucket, chunk, now).await;
            let chunk = self.compare(shard, run, chunk, now).await?;
            for weighed in chunk {
                self.conclude(shard, run, day, weighed, now, &mut found, &mut kept);
            }
        }
        if let Some(writer) = pass.writer {
            let fs = Arc::clone(&self.aside.0);
            self.on_disk(move || {
                writer.finish()?;
                fs.rename(&next, &list)
            })
            .await?;
        }
        Ok(found)
    }

    /// Writes what is kept, and reads the next traces with their ledgers' answers.
    async fn next_chunk(
        &self,
        mut pass: Pass,
        kept: Vec<Listed>,
        now: UnixNanos,
        distrusted: bool,
    ) -> Result<(Pass, Vec<Weighed>), Trouble> {
        // How long copies are kept, and whether the ledger proves that there are any.
        let sides: Vec<_> = self
            .sides
            .iter()
            .map(|side| match side {
                Side::Ledger { keep, verified_by, .. } => (*keep, !distrusted || verified_by.is_empty()),
                Side::Probe(_) => (None, true),
            })
            .collect();
        self.on_disk(move || {
            if let Some(writer) = &mut pass.writer {
                for listed in &kept {
                    writer.push(listed)?;
                }
            }
            let mut chunk = Vec::new();
            while chunk.len() < CHUNK
                && let Some(listed) = pass.reader.next()?
            {
                let start = UnixNanos::from_seconds(u64::from(listed.start));
                let answer = |(lookup, (keep, proves)): (&mut Option<Lookup>, &(Option<std::time::Duration>, bool))| {
                    let until = keep.map(|keep| UnixNanos(start.0.saturating_add(keep.as_nanos() as u64)));
                    match lookup {
                        Some(_) if !proves => Answer::Nothing,
                        Some(lookup) => Answer::noted(lookup.find(listed.key()), until),
                        // Not asked yet: asked below, unless others prove a copy.
                        None => Answer::Unread("not asked".to_owned()),
                    }
                };
                let answers = pass.lookups.iter_mut().zip(&sides).map(answer).collect();
                let facts = Facts {
                    revision: Some(u32::from(listed.revision)).filter(|revision| *revision > 0),
                    in_progress: listed.has(Listed::PARTIAL),
                    // While a trace may still grow, here or there, it is compared anew in every run.
                    differs: listed.has(Listed::DIFFERS) && now.seconds() > u64::from(listed.start) + FINAL_S,
                    ..Facts::default()
                };
                chunk.push(Weighed {
                    listed,
                    answers,
                    source: Source::Known(facts),
                });
            }
            Ok((pass, chunk))
        })
        .await
    }

    fn judge(&self, weighed: &Weighed, now: UnixNanos) -> Judged {
        let start = UnixNanos::from_seconds(u64::from(weighed.listed.start));
        judge(&self.settings.policy, now, start, &weighed.source, &weighed.answers)
    }

    /// Asks archives that have no ledger about traces that no ledger proves.
    async fn probe(
        &self,
        run: &mut Run,
        day: Day,
        bucket: &mut Bucket,
        mut chunk: Vec<Weighed>,
        now: UnixNanos,
    ) -> Vec<Weighed> {
        for (number, side) in self.sides.iter().enumerate() {
            let Side::Probe(archive) = side else { continue };
            let is_verified = |weighed: &Weighed| self.is_sampled(run, weighed) && self.verifies(archive.name());
            let is_open = |weighed: &Weighed| {
                is_verified(weighed)
                    || matches!(self.judge(weighed, now), Judged::Is(verdict) if verdict.state != State::Archived)
            };
            let open: Vec<usize> = (0..chunk.len()).filter(|position| is_open(&chunk[*position])).collect();
            if open.is_empty() {
                continue;
            }
            let ids: Vec<TraceId> = open.iter().map(|position| chunk[*position].listed.id).collect();
            let before = archive.spent().read_units;
            let answers = archive.probe(day, &ids).await;
            run.report.cost.read_units += (archive.spent().read_units - before).max(0.0);
            for (position, answer) in open.into_iter().zip(answers) {
                chunk[position].answers[number] = answer.into();
                if self.is_gone(run, &chunk[position], number) {
                    bucket.distrusted = true;
                    // All of its traces are listed and asked for, not only those that are open.
                    bucket.listings = 0;
                    let note = format!("{day}: {} has lost copies that it had acknowledged", archive.name());
                    tracing::error!(processor = %self.id, archive = archive.name(), %day,
                        "copies that were acknowledged are gone; every trace of the day is asked for");
                    run.report.trouble(&note);
                    return chunk;
                }
            }
        }
        chunk
    }

    /// One in a thousand, others in every run.
    fn is_sampled(&self, run: &Run, weighed: &Weighed) -> bool {
        let throw = xxhash_rust::xxh3::xxh3_64_with_seed(&weighed.listed.id.0, run.number);
        throw.is_multiple_of(VERIFIED_IN)
    }

    fn verifies(&self, archive: &str) -> bool {
        let is_verified = |side: &Side| matches!(side, Side::Ledger { verified_by, .. } if verified_by == archive);
        self.sides.iter().any(is_verified)
    }

    /// The ledger has a copy that the archive with this number, which should have it, does not have.
    fn is_gone(&self, run: &Run, weighed: &Weighed, number: usize) -> bool {
        let Some(Side::Probe(archive)) = self.sides.get(number) else {
            return false;
        };
        let is_noted = self
            .sides
            .iter()
            .zip(&weighed.answers)
            .any(|(side, answer)| match side {
                Side::Ledger { verified_by, .. } => verified_by == archive.name() && matches!(answer, Answer::Copy(_)),
                Side::Probe(_) => false,
            });
        let is_there = !matches!(&weighed.answers[number], Answer::Nothing);
        self.is_sampled(run, weighed) && is_noted && !is_there
    }

    /// Fetches traces that can be compared with their copies, and notes in the ledger those that are the same.
    async fn compare(
        &self,
        shard: &Shard,
        run: &mut Run,
        mut chunk: Vec<Weighed>,
        now: UnixNanos,
    ) -> Result<Vec<Weighed>, Trouble> {
        let is_comparable =
            |weighed: &Weighed| matches!(self.judge(weighed, now), Judged::Is(verdict) if verdict.comparable);
        let open: Vec<usize> = (0..chunk.len())
            .filter(|position| is_comparable(&chunk[*position]))
            .collect();
        let mut comparer = Comparer::default();
        for few in open.chunks(fetch::BATCH) {
            if !self.may_retrieve(run, few.len(), now) {
                for position in few {
                    chunk[*position].source = Source::Unread(Trouble::Budget("retrieved traces").to_string());
                }
                continue;
            }
            let ids: Vec<String> = few
                .iter()
                .map(|position| write_trace_id(&chunk[*position].listed.id.0))
                .collect();
            let answer = match fetch::batch(&shard.clients, &ids).await {
                Ok(answer) => answer,
                Err(failure) => {
                    for position in few {
                        chunk[*position].source = Source::Unread(failure.to_string());
                    }
                    continue;
                }
            };
            run.spend.retrieved += answer.traces.len() as u64;
            run.report.cost.retrieved += answer.traces.len() as u64;
            let given: HashMap<Option<TraceId>, &fetch::Fetched> = answer
                .traces
                .iter()
                .map(|trace| (TraceId::parse(&trace.id), trace))
                .collect();
            for position in few {
                let weighed = &mut chunk[*position];
                let revision = Some(u32::from(weighed.listed.revision)).filter(|revision| *revision > 0);
                weighed.source = match given.get(&Some(weighed.listed.id)) {
                    None => Source::Unread("X-Ray did not process the trace".to_owned()),
                    Some(fetched) if fetched.limit_exceeded => {
                        Source::Unread("X-Ray gives only a part of the trace (LimitExceeded)".to_owned())
                    }
                    Some(fetched) => Source::Known(comparer.read(fetched, revision, now.0).facts),
                };
                self.note_compared(weighed);
                let differs = matches!(weighed.source, Source::Known(_))
                    && matches!(self.judge(weighed, now), Judged::Is(verdict) if verdict.state == State::PartialCopy);
                if differs {
                    chunk[*position].listed.flags |= Listed::DIFFERS;
                }
            }
        }
        Ok(chunk)
    }

    /// A copy that has all spans is not compared again while the revision stays.
    fn note_compared(&self, weighed: &Weighed) {
        let Source::Known(Facts {
            span_xor: Some(xor),
            revision: Some(revision),
            ..
        }) = weighed.source
        else {
            return;
        };
        if self.only_reads() {
            return;
        }
        for (side, answer) in self.sides.iter().zip(&weighed.answers) {
            let (Side::Ledger { ledger, position, .. }, Answer::Copy(copy)) = (side, answer) else {
                continue;
            };
            let sum = copy.xors.iter().fold(0, |sum, xor| sum ^ xor);
            if sum == xor || copy.xors.contains(&xor) {
                let row = Row {
                    key: weighed.listed.key(),
                    mark: Mark::verified(revision),
                    xor: 0,
                };
                let day = Day::of(UnixNanos::from_seconds(u64::from(weighed.listed.start)));
                ledger.add(*position, [(day, row)]);
            }
        }
    }

    /// Whether the budget has room for so many more.
    fn may_retrieve(&self, run: &mut Run, traces: usize, now: UnixNanos) -> bool {
        traces <= self.may_still_retrieve(run, now)
    }

    /// For how many it has room.
    pub(super) fn may_still_retrieve(&self, run: &mut Run, now: UnixNanos) -> usize {
        run.spend = run.spend.on(Day::of(now));
        match self.settings.budget.retrieved {
            0 => usize::MAX,
            limit => usize::try_from(limit.saturating_sub(run.spend.retrieved)).unwrap_or(usize::MAX),
        }
    }

    /// Counts a trace, tells of it, and keeps it where it is to be looked at again.
    #[allow(clippy::too_many_arguments)] // As above.
    fn conclude(
        &self,
        shard: &Shard,
        run: &mut Run,
        day: Day,
        weighed: Weighed,
        now: UnixNanos,
        found: &mut Found,
        kept: &mut Vec<Listed>,
    ) {
        let judged = self.judge(&weighed, now);
        let mut listed = weighed.listed;
        let verdict = match &judged {
            Judged::NotRequired => return,
            Judged::TooYoung => {
                kept.push(listed);
                return;
            }
            Judged::Is(verdict) => verdict,
        };
        #[cfg(test)]
        self.said.lock().unwrap().insert(listed.id, verdict.state);
        self.watch(shard, &listed, verdict);
        if verdict.state == State::Archived {
            found.settled += 1;
            return;
        }
        found.counts.add(&judged);
        self.say(shard, run, &listed, verdict);
        if verdict.state == State::Lost && !listed.has(Listed::COUNTED) {
            listed.flags |= Listed::COUNTED;
            if !self.only_reads() {
                self.telemetry.lost(shard.at()).add(1);
            }
        }
        let is_without = !verdict.state.is_safe() && verdict.state != State::Unknown;
        if is_without && verdict.time_left.is_some() {
            let start = u64::from(listed.start);
            found.oldest = Some(found.oldest.map_or(start, |oldest| oldest.min(start)));
            if self.actions(verdict.state, verdict.urgent).archive {
                run.rescues.offer(listed, day);
            }
        }
        kept.push(listed);
    }

    /// The page shows what needs something done.
    fn watch(&self, shard: &Shard, listed: &Listed, verdict: &Verdict) {
        if self.only_reads() {
            return;
        }
        if !needs_something(verdict.state) {
            self.watchlist.forget(&listed.id);
            return;
        }
        self.watchlist.note(Endangered {
            id: listed.id,
            state: verdict.state,
            left: verdict.time_left,
            start: u64::from(listed.start),
            place: shard.name.clone(),
            why: verdict.why.clone(),
        });
    }

    fn say(&self, shard: &Shard, run: &mut Run, listed: &Listed, verdict: &Verdict) {
        run.report.example(verdict.state, listed.id);
        if let Some(why) = &verdict.why {
            run.report.trouble(why);
        }
        let is_news = verdict.state != State::Lost || !listed.has(Listed::COUNTED);
        if needs_something(verdict.state) && is_news && self.actions(verdict.state, verdict.urgent).log {
            self.tell_of(shard, run, listed, verdict.state, verdict.time_left);
        }
    }
}

/// Somebody has to do something, or could have.
fn needs_something(state: State) -> bool {
    matches!(
        state,
        State::Lost | State::AtRisk | State::Due | State::EmptyCopy | State::PartialCopy
    )
}
