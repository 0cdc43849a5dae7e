//! What is done beside the windows: the daily sweep, and the question where segments go.

use super::super::config::Mode;
use super::super::emit::short_revision;
use super::super::state::{Commit, REVISION_UNKNOWN};
use super::{Shard, Stop};
use crate::aws::Failure;
use crate::aws::xray::api::Window;
use crate::aws::xray::api::listing::RangeType;

/// How often the destination of segments is asked.
const DESTINATION_S: u64 = 600;

impl Shard {
    /// Once a day everything that started in the last one, for what the order of changes has hidden.
    pub async fn sweep_on(&mut self) -> Result<(), Stop> {
        let Some(every) = self.config().sweep_every else {
            return Ok(());
        };
        let now = self.now();
        if self.sweep.0 >= self.sweep.1 {
            if now.saturating_sub(self.swept_at) < every {
                return Ok(());
            }
            let to = now.saturating_sub(self.config().settle);
            self.sweep = (to.saturating_sub(self.config().sweep_window), to);
            self.swept_at = now;
        }
        while self.sweep.0 < self.sweep.1 {
            let width = self.config().max_window.min(3_600);
            let window = Window {
                from: self.sweep.0,
                to: self.sweep.1.min(self.sweep.0 + width),
            };
            if self.reads_log() {
                let swept = self.spans_of_log(window, self.sweep_numbers(window.to)).await?;
                self.counts.swept.add(swept);
                self.sweep.0 = window.to;
                continue;
            }
            let listed = self.list(window, RangeType::TraceId).await?;
            let mut jobs = self.jobs(listed).await?;
            jobs.retain(|job| match &job.known {
                None => true,
                Some(known) => {
                    let revision = short_revision(job.listed.revision);
                    revision == REVISION_UNKNOWN || revision != known.revision
                }
            });
            // What is open or parked is fetched anyway.
            jobs.retain(|job| !self.due.contains_key(&job.listed.id));
            self.counts.swept.add(jobs.len() as u64);
            let numbers = self.sweep_numbers(window.to);
            self.pass(jobs, None).await?;
            self.commit(Commit {
                numbers,
                ..Commit::default()
            })
            .await?;
            self.sweep.0 = window.to;
        }
        Ok(())
    }

    fn sweep_numbers(&self, to: u64) -> Vec<(&'static str, u64)> {
        vec![
            ("sweep_from", to),
            ("sweep_to", self.sweep.1),
            ("swept_at", self.swept_at),
        ]
    }

    /// Where segments go decides how traces are read.
    pub async fn look_at_the_destination(&mut self) -> Result<(), Stop> {
        if self.config().mode != Mode::Auto {
            return Ok(());
        }
        let now = self.now();
        if self.destination_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let ask = || self.clients.xray.get_trace_segment_destination().send();
        match self.clients.destination.send(ask).await {
            Ok(answer) => {
                let logs = answer.destination().is_some_and(|to| to.as_str() == "CloudWatchLogs");
                let active = answer.status().is_none_or(|status| status.as_str() == "ACTIVE");
                let next = if active {
                    DESTINATION_S
                } else {
                    self.config().poll_interval
                };
                self.destination_at = Some(now + next);
                let retrieves = logs && active;
                if retrieves != self.retrieves {
                    self.retrieves = retrieves;
                    if self.reads_log() {
                        tracing::info!(receiver = %self.shared.context.id, region = %self.place.region,
                            group = %self.config().spans_log_group,
                            "Transaction Search is on: every span is read from its log group");
                    } else if retrieves {
                        tracing::warn!(receiver = %self.shared.context.id, region = %self.place.region,
                            "Transaction Search is on: X-Ray lists only the indexed share of the traces, and only \
                             that share is read; `spans_log_group` reads all, without a `filter_expression`");
                    } else {
                        tracing::info!(receiver = %self.shared.context.id, region = %self.place.region,
                            "segments go to X-Ray: traces are read by their summaries");
                    }
                }
                self.signals.searches(retrieves);
                Ok(())
            }
            // Summaries work without this permission.
            Err(failure @ Failure::Denied { .. }) => {
                self.destination_at = Some(u64::MAX);
                tracing::warn!(receiver = %self.shared.context.id, trouble = %failure,
                    "cannot tell whether Transaction Search is on; traces are read by their summaries");
                Ok(())
            }
            Err(failure) => Err(failure.into()),
        }
    }
}
