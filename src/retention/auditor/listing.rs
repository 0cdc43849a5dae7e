//! Listing a day: window after window through the shared rate limiter, sorted on the disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::books::Bucket;
use super::{Auditor, Run, Shard, Trouble};
use crate::aws::Failure;
use crate::aws::xray::api::Window;
use crate::aws::xray::api::counted::counts;
use crate::aws::xray::api::listing::{RangeType, list};
use crate::component::UnixNanos;
use crate::retention::archive::{Day, TraceId};
use crate::retention::ledger::{About, Listed, Sorter, write_sorted};

/// GetTraceSummaries takes no longer range.
const WIDEST_S: u64 = 6 * 3_600;
const FIRST_S: u64 = 600;
const NARROWEST_S: u64 = 60;
/// Traces of a window that are a comfortable number for the memory.
const COMFORTABLE: usize = 20_000;

impl Auditor {
    /// Whether a day is to be listed now.
    pub(super) fn is_to_be_listed(&self, day: Day, bucket: &Bucket, now: UnixNanos) -> bool {
        let (from, to) = self.listable(now);
        if day.end() <= from || to <= day.start() {
            return false;
        }
        if self.only_reads() {
            return true;
        }
        match bucket.listings {
            // When the day is over: its last trace is old enough.
            0 => day.end() <= to,
            1 => now.seconds() >= day.start().seconds() + self.settings.second_listing_at().as_secs(),
            _ => false,
        }
    }

    /// Lists a day into a file. Says how many traces there are.
    pub(super) async fn list_day(
        &self,
        shard: &Shard,
        run: &mut Run,
        day: Day,
        now: UnixNanos,
        to: PathBuf,
    ) -> Result<u64, Trouble> {
        let (first, last) = self.listable(now);
        let (from, end) = (first.max(day.start()).seconds(), last.min(day.end()).seconds());
        let mut sorter = Sorter::<Listed>::new(&self.aside.0, to.clone());
        let mut at = from;
        let mut width = if run.width > 0 { run.width } else { FIRST_S };
        let mut widest = WIDEST_S;
        while at < end {
            run.spend = run.spend.on(Day::of(now));
            let limit = self.settings.budget.scanned;
            // A window costs what it holds: by the last one, how much that may be.
            let expected = (run.density * width as f64).ceil() as u64;
            if limit > 0 && run.spend.scanned + expected > limit {
                return Err(Trouble::Budget("scanned traces"));
            }
            let window = Window {
                from: at,
                to: end.min(at + width),
            };
            let sample = self.settings.sample;
            let kind = RangeType::TraceId;
            let listing = list(&shard.clients, &self.settings.filter, window, kind, sample, &self.clock).await;
            run.spend.scanned += listing.scanned;
            run.report.cost.scanned += listing.scanned;
            run.density = listing.scanned as f64 / (window.to - window.from).max(1) as f64;
            match listing.failure {
                Some(Failure::Refused { .. }) if width > NARROWEST_S => {
                    // Too wide, or its tokens expire before its last page: not so wide again on this day.
                    width = (width / 2).max(NARROWEST_S);
                    widest = width;
                    continue;
                }
                Some(failure) => return Err(failure.into()),
                None => {}
            }
            let found = listing.traces.len();
            let traces: Vec<Listed> = listing.traces.iter().filter_map(entry).collect();
            sorter = self
                .on_disk(move || {
                    for listed in traces {
                        sorter.push(listed)?;
                    }
                    Ok(sorter)
                })
                .await?;
            at = window.to;
            run.width = width;
            if found > COMFORTABLE {
                width = (width / 2).max(NARROWEST_S);
            } else if found < COMFORTABLE / 4 {
                width = (width * 2).min(widest);
            }
        }
        let fs = Arc::clone(&self.aside.0);
        self.on_disk(move || {
            let mut merge = sorter.merged(Vec::new())?;
            let mut traces = 0;
            write_sorted(fs.as_ref(), &to, About::default(), |writer| {
                let mut before: Option<Listed> = None;
                while let Some(listed) = merge.next()? {
                    if before.is_none_or(|before| before.id != listed.id) {
                        writer.push(&listed)?;
                        traces += 1;
                    }
                    before = Some(listed);
                }
                Ok(())
            })?;
            Ok(traces)
        })
        .await
    }

    /// Traces of a day as CloudWatch has counted them; `None`: nobody can tell.
    pub(super) async fn count_day(&self, shard: &Shard, run: &mut Run, day: Day, now: UnixNanos) -> Option<u64> {
        if run.uncounted {
            return None;
        }
        let (first, last) = self.listable(now);
        // Whole hours: what is counted is not more than what is listed.
        let hour = |at: UnixNanos| at.seconds().div_ceil(3_600) * 3_600;
        let (from, to) = (
            hour(first.max(day.start())),
            last.min(day.end()).seconds() / 3_600 * 3_600,
        );
        if from >= to {
            return None;
        }
        match counts(&shard.clients, from, to, 3_600).await {
            Ok(found) => {
                run.report.cost.metrics += 1;
                Some(found.into_iter().map(|(_, count)| count).sum())
            }
            Err(failure) => {
                run.uncounted = true;
                let note = format!("how many traces there are is not known: {failure}");
                run.report.notes.push(note);
                None
            }
        }
    }
}

/// A summary as it is kept; `None`: its id is none.
fn entry(listed: &crate::aws::xray::api::listing::Listed) -> Option<Listed> {
    Some(Listed {
        id: TraceId::parse(&listed.id)?,
        start: u32::try_from(listed.start).unwrap_or(u32::MAX),
        revision: listed
            .revision
            .and_then(|revision| u16::try_from(revision).ok())
            .unwrap_or_default(),
        flags: if listed.partial { Listed::PARTIAL } else { 0 },
    })
}
