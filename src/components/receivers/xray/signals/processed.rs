//! Traces that X-Ray has counted, by CloudWatch: `ApproximateTraceCount` of the group `Default`, minute by minute.

use super::Signals;
use super::metrics::{Metrics, Span};
use crate::aws::Failure;
use crate::aws::xray::api::Clients;
use crate::aws::xray::api::counted::counts;

const PERIOD_S: u64 = 60;
/// A minute's count is complete after so long (not documented: it may be late, then it is told too low).
const SETTLED_S: u64 = 180;
/// How often is asked: one metric is billed for every question, however many minutes it is about.
const EVERY_S: u64 = 300;
/// After a long pause no more than this is asked for.
const LONGEST_S: u64 = 6 * 3_600;

impl Signals {
    /// The minutes that have settled since the last time.
    pub(super) async fn processed_by_cloudwatch(
        &mut self,
        clients: &Clients,
        now: u64,
        metrics: &mut Metrics,
    ) -> Result<(), Failure> {
        let to = now.saturating_sub(SETTLED_S) / PERIOD_S * PERIOD_S;
        let from = (self.counted_to / PERIOD_S * PERIOD_S).max(to.saturating_sub(LONGEST_S));
        if to < from + EVERY_S {
            return Ok(());
        }
        for (at, count) in counts(clients, from, to, PERIOD_S).await? {
            let over = Span {
                from: at,
                to: at + PERIOD_S,
            };
            let source = [("source", "cloudwatch")];
            metrics.sum("aws.xray.traces_processed", "{trace}", &source, count, over);
        }
        self.counted_next = to;
        Ok(())
    }
}
