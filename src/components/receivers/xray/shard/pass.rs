//! One pass over some traces: fetched in order, sorted out, handed on in batches, remembered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::super::emit::{Wanted, short_revision};
use super::super::seen::trace_key;
use super::super::state::{Commit, Due, Known, day_of};
use super::super::steps::Step;
use super::{Shard, Stop};
use crate::aws::Failure;
use crate::aws::xray::api::Window;
use crate::aws::xray::api::fetch::{self, Answer, Fetched};
use crate::aws::xray::api::listing::Listed;
use crate::pdata::{BatchId, Decoded};

/// Spans of one batch, and bytes.
pub(super) const BATCH_SPANS: usize = 2_000;
const BATCH_BYTES: usize = 2 << 20;
/// Calls of BatchGetTraces at the same time.
const PARALLEL: usize = 8;
/// How often an unprocessed trace is tried at once: after 2, 4, 8, 16, 32 and 64 seconds.
const TRIES: u32 = 6;
/// After that it waits so long.
const PARKED_S: u64 = 600;

/// What happened to the traces of one pass.
#[derive(Default)]
struct Pass {
    commit: Commit,
    pending: Vec<(u64, Known)>,
    pending_due: BTreeMap<String, Option<Due>>,
    /// By trace, each with what its spans are known by.
    fresh: Vec<(BatchId, Decoded)>,
    spans: usize,
    bytes: usize,
}

/// A trace to fetch, and what is known of it.
pub struct Job {
    pub listed: Listed,
    pub known: Option<Known>,
    /// Spans in progress are handed on as they are.
    pub close: bool,
}

impl Shard {
    /// Fetches, hands on, remembers. `number` is remembered with the last of it.
    pub async fn pass(&mut self, jobs: Vec<Job>, number: Option<(&'static str, u64)>) -> Result<(), Stop> {
        let mut pass = Pass::default();
        let result = self.fetch_and_hand_on(jobs, &mut pass).await;
        if result.is_ok() {
            pass.commit.numbers.extend(number);
            self.shared.steps.over(Step::Unwritten).await;
        }
        // Also after a failure: what was taken must not come again.
        let kept = self.commit(pass.commit).await;
        result?;
        kept
    }

    async fn fetch_and_hand_on(&mut self, jobs: Vec<Job>, pass: &mut Pass) -> Result<(), Stop> {
        let now = self.now();
        let before = jobs.len();
        let mut waiting: BTreeMap<String, Job> = BTreeMap::new();
        let mut order = Vec::new();
        for job in jobs {
            if self.budget.may_fetch(now, &job.listed.id) {
                order.push(job.listed.id.clone());
                waiting.insert(job.listed.id.clone(), job);
            }
        }
        self.counts.skipped.add((before - order.len()) as u64);
        let mut tries = 0;
        loop {
            let unprocessed = self.fetch_all(&order, &mut waiting, pass).await?;
            if unprocessed.is_empty() {
                break;
            }
            self.counts.unprocessed.add(unprocessed.len() as u64);
            if tries == TRIES {
                let now = self.now();
                for id in unprocessed {
                    let since = self.due.get(&id).map_or(now, |due| due.since);
                    let open = self.due.get(&id).is_some_and(|due| due.open);
                    let due = Due {
                        at: now + PARKED_S,
                        since,
                        open,
                    };
                    pass.pending_due.insert(id, Some(due));
                }
                break;
            }
            tries += 1;
            let wait = self.shared.context.clock.sleep(Duration::from_secs(1 << tries));
            tokio::select! {
                () = self.quit.cancelled() => return Err(Stop::Quit),
                () = wait => {}
            }
            order = unprocessed;
        }
        self.flush(pass).await
    }

    /// Fetches in the order given, several calls at a time, and hands on in that order too. Gives what was unprocessed.
    async fn fetch_all(
        &mut self,
        order: &[String],
        waiting: &mut BTreeMap<String, Job>,
        pass: &mut Pass,
    ) -> Result<Vec<String>, Stop> {
        let (size, parallel) = if self.retrieves {
            (fetch::JOB, 1)
        } else {
            (fetch::BATCH, PARALLEL)
        };
        let mut unprocessed = Vec::new();
        for group in order.chunks(size * parallel) {
            let mut calls = tokio::task::JoinSet::new();
            for (number, ids) in group.chunks(size).enumerate() {
                let (clients, ids) = (Arc::clone(&self.clients), ids.to_vec());
                let clock = Arc::clone(&self.shared.context.clock);
                let within = self.retrieves.then(|| range_of(&ids, waiting));
                calls.spawn(async move {
                    let answer = match within {
                        Some(within) => fetch::retrieve(&clients, &clock, &ids, within).await,
                        None => fetch::batch(&clients, &ids).await,
                    };
                    (number, ids, answer)
                });
            }
            let mut answers: BTreeMap<usize, (Vec<String>, Result<Answer, Failure>)> = BTreeMap::new();
            loop {
                let ended = tokio::select! {
                    () = self.quit.cancelled() => return Err(Stop::Quit),
                    ended = calls.join_next() => ended,
                };
                match ended {
                    Some(Ok((number, ids, answer))) => answers.insert(number, (ids, answer)),
                    Some(Err(error)) => {
                        let error = Failure::Unreachable(error.to_string());
                        return Err(error.into());
                    }
                    None => break,
                };
            }
            self.shared.steps.over(Step::Fetched).await;
            for (ids, answer) in answers.into_values() {
                match answer {
                    Ok(answer) => {
                        let billed = answer.traces.len() as u64;
                        self.counts.fetched.add(billed);
                        self.budget.add(self.now(), 0, billed);
                        unprocessed.extend(answer.unprocessed);
                        self.take(answer.traces, waiting, pass).await?;
                    }
                    Err(failure) if failure.is_transient() => {
                        self.counts
                            .throttled
                            .add(u64::from(matches!(failure, Failure::Throttled { .. })));
                        unprocessed.extend(ids);
                    }
                    Err(failure) => return Err(failure.into()),
                }
            }
        }
        Ok(unprocessed)
    }

    /// Sorts out what is new of traces, and hands it on in batches.
    async fn take(
        &mut self,
        traces: Vec<Fetched>,
        waiting: &mut BTreeMap<String, Job>,
        pass: &mut Pass,
    ) -> Result<(), Stop> {
        for fetched in traces {
            let Some(job) = waiting.remove(&fetched.id) else {
                continue;
            };
            let now = self.now();
            let wanted = Wanted {
                keep_inferred: self.config().keep_inferred,
                reemit: self.config().reemit,
                open_too: job.close || self.config().emit_immediately,
            };
            let now_ns = self.shared.context.clock.now().0;
            let fresh = self.emitter.fresh(&fetched, job.known.as_ref(), wanted, now_ns);
            self.counts.inferred_dropped.add(fresh.inferred_dropped as u64);
            self.counts.late.add(fresh.late as u64);
            self.counts.salvaged.add(fresh.salvaged);
            self.counts.limit_exceeded.add(u64::from(fetched.limit_exceeded));
            self.counts.unknown_parts.add(u64::from(fresh.whole_again));
            let known = Known {
                emitted: fresh.emitted,
                revision: short_revision(job.listed.revision),
                day: job.known.map_or_else(|| day_of(now), |known| known.day),
            };
            pass.pending.push((trace_key(&fetched.id), known));
            let before = self.due.get(&fetched.id).copied();
            let due = (fresh.held > 0).then(|| {
                let since = before.filter(|due| due.open).map_or(now, |due| due.since);
                let at = since + self.shared.config.open_timeout;
                Due { at, since, open: true }
            });
            if due != before {
                pass.pending_due.insert(fetched.id.clone(), due);
            }
            pass.spans += fresh.spans;
            pass.bytes += fresh.bytes;
            if fresh.spans > 0 {
                let request = ExportTraceServiceRequest {
                    resource_spans: fresh.resource_spans,
                };
                pass.fresh.push((fresh.id, Decoded::Traces(request)));
            }
            if pass.spans >= BATCH_SPANS || pass.bytes >= BATCH_BYTES {
                self.flush(pass).await?;
            }
        }
        Ok(())
    }

    /// Hands on what has been collected and writes down that it was taken: a process that is killed sends no more than one
    /// batch again.
    async fn flush(&mut self, pass: &mut Pass) -> Result<(), Stop> {
        let has_spans = pass.spans > 0;
        if has_spans {
            let fresh = std::mem::take(&mut pass.fresh);
            if let Some(outlet) = self.shared.outlets.traces.clone() {
                self.hand_on_all(&outlet, fresh).await?;
                self.shared.steps.over(Step::Taken).await;
            }
        }
        pass.spans = 0;
        pass.bytes = 0;
        pass.fresh.clear();
        pass.commit.traces.append(&mut pass.pending);
        pass.commit.due.append(&mut pass.pending_due);
        if has_spans {
            self.commit(std::mem::take(&mut pass.commit)).await?;
        }
        Ok(())
    }
}

/// The time in which these traces lie.
fn range_of(ids: &[String], jobs: &BTreeMap<String, Job>) -> Window {
    let listed = || ids.iter().filter_map(|id| jobs.get(id)).map(|job| &job.listed);
    Window {
        from: listed()
            .map(|listed| listed.start)
            .min()
            .unwrap_or_default()
            .saturating_sub(1),
        to: listed().map(|listed| listed.end).max().unwrap_or_default() + 1,
    }
}
