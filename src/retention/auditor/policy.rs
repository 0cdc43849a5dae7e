//! Before any trace is read: what archives promise, and how much of its traces X-Ray lists at all.

use std::collections::BTreeMap;

use super::books::{Bucket, Promises};
use super::{Auditor, Run, Shard, Side, Trouble};
use crate::aws::Failure;
use crate::retention::archive::Day;

impl Auditor {
    /// Before any trace is read: whether archives promise what is required.
    pub(super) async fn look_at_policy(&self, shard: &Shard, run: &mut Run) -> Result<Promises, Trouble> {
        let required = self.settings.policy.required;
        let mut promises = Promises {
            required: required.as_secs(),
            ..Promises::default()
        };
        if required.is_zero() {
            return Ok(promises);
        }
        let before = self.books.promises(&shard.name).await?.unwrap_or_default();
        for side in &self.sides {
            let lifetime = match side {
                Side::Ledger { keep, .. } => Ok(*keep),
                Side::Probe(archive) => archive.lifetime().await,
            };
            let promised = match &lifetime {
                Ok(lifetime) => Some(lifetime.map(|lifetime| lifetime.as_secs())),
                Err(_) => before.lifetimes.get(side.name()).copied(),
            };
            promises
                .lifetimes
                .extend(promised.map(|promised| (side.name().to_owned(), promised)));
            let gap = match lifetime {
                Ok(None) => 0.0,
                Ok(Some(kept)) => required.as_secs_f64() - kept.as_secs_f64(),
                Err(error) => {
                    run.report
                        .trouble(&format!("how long {} keeps copies: {error}", side.name()));
                    continue;
                }
            };
            run.report.policy_gaps.insert(side.name().to_owned(), gap);
            if !self.only_reads() {
                self.telemetry.policy_gap(shard.at(), side.name(), gap);
            }
            if gap > 0.0 {
                tracing::warn!(processor = %self.id, archive = side.name(), gap_s = gap,
                    "the archive keeps copies shorter than required");
            }
        }
        Ok(promises)
    }

    /// Traces that were settled when less was required, or when an archive promised more, are not settled by that any
    /// more: their days are listed once more than usual, inside the budget.
    pub(super) async fn list_anew_if_weaker(
        &self,
        shard: &Shard,
        run: &mut Run,
        promises: &Promises,
        buckets: &mut BTreeMap<Day, Bucket>,
    ) -> Result<(), Trouble> {
        let Some(before) = self.books.promises(&shard.name).await? else {
            return Ok(());
        };
        if self.only_reads() || !promises.is_weaker_than(&before) {
            return Ok(());
        }
        let mut days = 0;
        // Those that this run has looked at before it was cut short have been listed by the new promises.
        for bucket in buckets.values_mut().filter(|bucket| bucket.run != run.number) {
            days += u64::from(bucket.listings > 0);
            bucket.listings = bucket.listings.saturating_sub(1);
        }
        let note =
            "more is required, or an archive keeps less, than when copies were last found good: days are listed anew";
        run.report.notes.push(note.to_owned());
        tracing::warn!(processor = %self.id, place = %shard.name, days, "{note}");
        Ok(())
    }

    /// With Transaction Search only the indexed share is listed.
    pub(super) async fn look_at_destination(&self, shard: &Shard, run: &mut Run) -> Result<(), Trouble> {
        let clients = &shard.clients;
        let ask = || clients.xray.get_trace_segment_destination().send();
        let answer = match clients.destination.send(ask).await {
            Ok(answer) => answer,
            Err(failure) if failure.ends_the_round() && !matches!(failure, Failure::Denied { .. }) => {
                return Err(failure.into());
            }
            // Summaries work without this permission; whether they are all of it cannot be told.
            Err(failure) => {
                run.report
                    .notes
                    .push(format!("whether Transaction Search is on cannot be told: {failure}"));
                return Ok(());
            }
        };
        let logs = answer.destination().is_some_and(|to| to.as_str() == "CloudWatchLogs");
        let active = answer.status().is_none_or(|status| status.as_str() == "ACTIVE");
        if !(logs && active) {
            return Ok(());
        }
        let ask = || clients.xray.get_indexing_rules().send();
        let share = match clients.indexing.send(ask).await {
            Ok(rules) => rules.indexing_rules().iter().find_map(|rule| {
                let rule = rule.rule()?.as_probabilistic().ok()?;
                let percent = rule
                    .actual_sampling_percentage()
                    .unwrap_or(rule.desired_sampling_percentage());
                Some((percent / 100.0).clamp(0.0, 1.0))
            }),
            Err(_) => None,
        };
        let share = share.unwrap_or(0.0);
        run.indexed = Some(share);
        run.report.notes.push(format!(
            "Transaction Search is on: X-Ray lists {:.1} % of the traces, the others are unknown",
            share * 100.0
        ));
        Ok(())
    }
}
