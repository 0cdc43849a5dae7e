//! One day of trace start: listed where it is time, its ledgers sealed, its traces weighed.

use std::path::Path;
use std::sync::Arc;

use super::books::Bucket;
use super::weigh::Found;
use super::{Auditor, DAYS_AFTER, DAYS_BEFORE, Run, Shard, Side, Trouble};
use crate::aws::xray::api::counted::counts;
use crate::component::UnixNanos;
use crate::queue::fs::Fs;
use crate::retention::archive::Day;
use crate::retention::ledger::{Lookup, Reader};
use crate::retention::state::State;

/// Days after which nothing more comes for a day: X-Ray takes segments for seven.
const SETTLED_DAYS: u32 = 10;

impl Auditor {
    /// Looks at a day. What goes wrong with it is noted in the bucket; only what ends the run is an error.
    pub(super) async fn look_at(
        &self,
        shard: &Shard,
        run: &mut Run,
        day: Day,
        bucket: &mut Bucket,
    ) -> Result<(), Trouble> {
        let now = UnixNanos::from_seconds(shard.clients.now());
        let list = self.list_path(shard, day);
        let mut source = list.clone();
        let is_due = self.is_to_be_listed(day, bucket, now);
        if is_due {
            source = list.with_extension("new");
            let listed = self.list_day(shard, run, day, now, source.clone()).await;
            match listed {
                Ok(traces) => {
                    bucket.trouble = None;
                    bucket.expected = self.count_day(shard, run, day, now).await;
                    bucket.listed = traces;
                    if traces == 0 && bucket.expected.is_some_and(|expected| expected > 0) {
                        bucket.trouble =
                            Some("X-Ray lists no trace of a day for which CloudWatch has counted some".to_owned());
                    } else {
                        bucket.listings = bucket.listings.saturating_add(1).min(2);
                    }
                }
                Err(trouble) => {
                    if let Trouble::Cut = trouble {
                        return Err(trouble);
                    }
                    if bucket.expected.is_none() && !matches!(trouble, Trouble::Aws(_)) {
                        bucket.expected = self.count_day(shard, run, day, now).await;
                    }
                    bucket.trouble = Some(trouble.to_string());
                    // What was known before is looked at all the same.
                    source = list.clone();
                }
            }
        }
        if !is_due {
            self.look_back(shard, run, day, bucket, now).await;
        }
        let is_new = source != list;
        let found = self.weigh_day(shard, run, day, &source, bucket, now).await?;
        let Some(found) = found else {
            return Ok(());
        };
        let settled = if is_new {
            found.settled
        } else {
            bucket.settled + found.settled
        };
        bucket.found(&found.counts, settled, found.oldest);
        if bucket.trouble.is_none() {
            self.note_hidden(run, bucket);
        }
        if is_new && !self.only_reads() {
            let fs = Arc::clone(&self.aside.0);
            let _ = self.on_disk(move || Ok(fs.remove(&source))).await?;
        }
        Ok(())
    }

    /// A day that was never listed and that X-Ray does not list any more stays unknown, unless CloudWatch has counted no
    /// trace on it. Asked once.
    async fn look_back(&self, shard: &Shard, run: &mut Run, day: Day, bucket: &mut Bucket, now: UnixNanos) {
        let is_past = day.end() <= self.listable(now).0;
        if !is_past || bucket.trouble.is_none() || bucket.listings > 0 || bucket.expected.is_some() {
            return;
        }
        let counted = counts(&shard.clients, day.start().seconds(), day.end().seconds(), 3_600).await;
        let Ok(counted) = counted else { return };
        run.report.cost.metrics += 1;
        let traces = counted.into_iter().map(|(_, count)| count).sum();
        bucket.expected = Some(traces);
        if traces == 0 {
            bucket.trouble = None;
        }
    }

    /// With Transaction Search: what is not listed is unknown.
    fn note_hidden(&self, run: &Run, bucket: &mut Bucket) {
        let Some(share) = run.indexed else { return };
        let listed = bucket.listed;
        let hidden = match bucket.expected {
            Some(expected) => expected.saturating_sub(listed),
            None if share > 0.0 => ((listed as f64) * (1.0 / share - 1.0)) as u64,
            None => 1,
        };
        bucket.counts[State::Unknown as usize] += hidden;
    }

    /// Weighs every trace of a list; `None`: there is no list.
    #[allow(clippy::too_many_arguments)] // A day, what is known of it, and where its answer goes.
    pub(super) async fn weigh_day(
        &self,
        shard: &Shard,
        run: &mut Run,
        day: Day,
        source: &Path,
        bucket: &mut Bucket,
        now: UnixNanos,
    ) -> Result<Option<Found>, Trouble> {
        let fs = Arc::clone(&self.aside.0);
        let path = source.to_owned();
        let reader = match self.on_disk(move || open_list(fs.as_ref(), &path)).await {
            Err(Trouble::Disk(error)) => {
                // Which traces there were is not known any more: they are listed again.
                bucket.listings = 0;
                bucket.trouble = Some(format!("the list of traces cannot be read: {error}"));
                return Ok(None);
            }
            reader => reader?,
        };
        let Some(reader) = reader else {
            return Ok(None);
        };
        let lookups = self.lookups(run, day, now).await?;
        let found = self.weigh(shard, run, day, reader, lookups, bucket, now).await?;
        Ok(Some(found))
    }

    /// The ledger of every archive that has one, around a day; `None` for the others.
    async fn lookups(&self, run: &mut Run, day: Day, now: UnixNanos) -> Result<Vec<Option<Lookup>>, Trouble> {
        let days = day.0.saturating_sub(DAYS_BEFORE)..=day.0.saturating_add(DAYS_AFTER);
        let settled = Day::of(now).0.saturating_sub(SETTLED_DAYS);
        let mut lookups = Vec::new();
        for (number, side) in self.sides.iter().enumerate() {
            let Side::Ledger { ledger, position, .. } = side else {
                lookups.push(None);
                continue;
            };
            let (ledger, position, days) = (Arc::clone(ledger), *position, days.clone());
            let scratch = self.scratch.clone();
            let to_seal: Vec<Day> = days
                .clone()
                .map(Day)
                .filter(|day| run.sealed.insert((number, *day)))
                .collect();
            let lookup = self.on_disk(move || {
                if let Some(scratch) = scratch {
                    return Ok(ledger.lookup_beside(position, days.map(Day), &scratch));
                }
                for day in to_seal {
                    if let Err(error) = ledger.seal(position, day, day.0 < settled) {
                        ledger.tally.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        return Ok(Lookup::broken(format!("the ledger of {day}: {error}")));
                    }
                }
                Ok(ledger.lookup(position, days.map(Day)))
            });
            lookups.push(Some(lookup.await?));
        }
        Ok(lookups)
    }
}

fn open_list(fs: &dyn Fs, path: &std::path::Path) -> std::io::Result<Option<Reader<crate::retention::ledger::Listed>>> {
    match fs.open(path) {
        Ok(file) => Reader::sorted(file).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
