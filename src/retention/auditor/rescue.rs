//! The action `archive`: traces without a complete copy are fetched, oldest first and inside the budget, and handed to the
//! pipeline that archives them. Only an acknowledgement of its far end makes them archived.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use super::books::Bucket;
use super::compared::{Comparer, request};
use super::weigh::FINAL_S;
use super::{Auditor, Run, Shard, Side, Trouble};
use crate::aws::xray::api::fetch;
use crate::aws::xray::ids::write_trace_id;
use crate::component::{Outlet, Refused, UnixNanos};
use crate::pdata::{Batch, Origin};
use crate::retention::archive::{Day, TraceId};
use crate::retention::ledger::{Listed, Mark, Row};

/// Traces of one run.
const MOST: usize = 200_000;
/// How long acknowledgements are waited for: in steps, so often.
const STEP: Duration = Duration::from_secs(1);
const STEPS: u32 = 60;

/// The oldest of all traces that were offered.
#[derive(Default)]
pub struct Oldest(BinaryHeap<(u32, TraceId, Day, u16)>);

impl Oldest {
    /// One more; beyond what a run may take the youngest goes.
    pub fn offer(&mut self, listed: Listed, day: Day) {
        self.0.push((listed.start, listed.id, day, listed.revision));
        if self.0.len() > MOST {
            self.0.pop();
        }
    }

    fn take(&mut self) -> Vec<(u32, TraceId, Day, u16)> {
        std::mem::take(&mut self.0).into_sorted_vec()
    }
}

/// A trace that was handed on.
struct Handed {
    id: TraceId,
    start: u32,
    day: Day,
    revision: u16,
    /// X-Ray had all of it.
    whole: bool,
}

impl Auditor {
    /// Archives what is to be archived, and looks at those days again.
    pub(super) async fn rescue(
        &self,
        shard: &Shard,
        run: &mut Run,
        buckets: &mut BTreeMap<Day, Bucket>,
    ) -> Result<(), Trouble> {
        let wanted = run.rescues.take();
        let Some(outlet) = self.outlet.clone().filter(|_| !wanted.is_empty()) else {
            return Ok(());
        };
        let handed = self.hand_on(shard, run, &outlet, &wanted).await;
        let acknowledged = self.acknowledged(&handed).await;
        self.awaited.forget();
        let mut days = BTreeSet::new();
        for (number, trace) in acknowledged {
            days.insert(trace.day);
            run.report.archived += 1;
            self.telemetry.archived(shard.at()).add(1);
            let Some(Side::Ledger { ledger, position, .. }) = self.sides.get(number) else {
                continue;
            };
            if trace.whole && trace.revision > 0 {
                let row = Row {
                    key: crate::retention::ledger::key_of(trace.id),
                    mark: Mark::verified(u32::from(trace.revision)),
                    xor: 0,
                };
                let day = Day::of(UnixNanos::from_seconds(u64::from(trace.start)));
                ledger.add(*position, [(day, row)]);
            }
        }
        // What was acknowledged meanwhile is in open files.
        run.sealed.clear();
        for day in days {
            let Some(bucket) = buckets.get_mut(&day) else { continue };
            let now = UnixNanos::from_seconds(shard.clients.now());
            let list = self.list_path(shard, day);
            // Told and counted once is enough.
            let (told, rescues) = (run.told, std::mem::take(&mut run.rescues));
            run.told = u64::MAX;
            let untold = run.untold;
            let found = self.weigh_day(shard, run, day, &list, bucket, now).await;
            (run.told, run.rescues, run.untold) = (told, rescues, untold);
            if let Some(found) = found? {
                bucket.found(&found.counts, bucket.settled + found.settled, found.oldest);
            }
            self.books.save(&shard.name, day, bucket).await?;
        }
        self.books.save_spend(&run.spend).await?;
        Ok(())
    }

    async fn hand_on(
        &self,
        shard: &Shard,
        run: &mut Run,
        outlet: &Outlet,
        wanted: &[(u32, TraceId, Day, u16)],
    ) -> Vec<Handed> {
        let mut handed = Vec::new();
        let mut comparer = Comparer::default();
        let count = |outcome: &str, traces: usize| {
            self.telemetry.action(shard.at(), "archive", outcome).add(traces as u64);
        };
        let mut rest = wanted;
        while !rest.is_empty() && !self.quit.is_cancelled() {
            let now = UnixNanos::from_seconds(shard.clients.now());
            let room = self.may_still_retrieve(run, now);
            let (few, later) = rest.split_at(rest.len().min(fetch::BATCH).min(room));
            if few.is_empty() {
                count("budget", rest.len());
                let note = "the budget of retrieved traces is spent: not all that should be archived was";
                run.report.notes.push(note.to_owned());
                break;
            }
            rest = later;
            let ids: Vec<String> = few.iter().map(|(_, id, ..)| write_trace_id(&id.0)).collect();
            let answer = match fetch::batch(&shard.clients, &ids).await {
                Ok(answer) => answer,
                Err(failure) => {
                    count("failed", few.len());
                    run.report.trouble(&failure.to_string());
                    if failure.ends_the_round() {
                        break;
                    }
                    continue;
                }
            };
            run.spend.retrieved += answer.traces.len() as u64;
            run.report.cost.retrieved += answer.traces.len() as u64;
            count("unprocessed", answer.unprocessed.len());
            let mut batch = Vec::new();
            let mut in_batch = Vec::new();
            for trace in &answer.traces {
                let id = TraceId::parse(&trace.id);
                let Some((start, id, day, revision)) = few.iter().copied().find(|(_, of, ..)| Some(*of) == id) else {
                    continue;
                };
                let whole = comparer.read(trace, None, now.0);
                let is_whole = !whole.facts.in_progress && !whole.limit_exceeded;
                // What is open then stays open, and an incomplete copy is better than none.
                let is_final = now.seconds().saturating_sub(u64::from(start)) > FINAL_S;
                if whole.facts.spans == Some(0) || !(is_whole || is_final) {
                    count("incomplete", 1);
                    continue;
                }
                batch.extend(whole.resource_spans);
                in_batch.push(Handed {
                    id,
                    start,
                    day,
                    revision,
                    whole: is_whole,
                });
            }
            if in_batch.is_empty() {
                continue;
            }
            for trace in &in_batch {
                self.awaited.expect(crate::retention::ledger::key_of(trace.id));
            }
            match self.offer(outlet, batch).await {
                Ok(()) => {
                    count("handed_on", in_batch.len());
                    handed.extend(in_batch);
                }
                Err(refused) => {
                    count("refused", in_batch.len());
                    run.report
                        .trouble(&format!("the archiving pipeline refuses: {refused}"));
                    break;
                }
            }
        }
        handed
    }

    async fn offer(
        &self,
        outlet: &Outlet,
        resource_spans: Vec<opentelemetry_proto::tonic::trace::v1::ResourceSpans>,
    ) -> Result<(), Refused> {
        let origin = Origin {
            cursor: true,
            ..Origin::default()
        };
        let batch = Batch::from_decoded(request(resource_spans), Arc::new(origin));
        outlet.consume(batch).await
    }

    /// Waits a while for far ends; gives those that were acknowledged, with the archive that did.
    async fn acknowledged<'a>(&self, handed: &'a [Handed]) -> Vec<(usize, &'a Handed)> {
        let seen = |trace: &'a Handed| {
            let number = self.awaited.seen(crate::retention::ledger::key_of(trace.id));
            number.map(|number| (number, trace))
        };
        for _ in 0..STEPS {
            let acknowledged: Vec<_> = handed.iter().filter_map(seen).collect();
            if acknowledged.len() == handed.len() || self.quit.is_cancelled() {
                return acknowledged;
            }
            self.clock.sleep(STEP).await;
        }
        handed.iter().filter_map(seen).collect()
    }
}
