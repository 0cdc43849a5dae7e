//! Traces that X-Ray has counted, by CloudWatch: `ApproximateTraceCount` of the group `Default`.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, StatusCode};

use super::Clients;
use crate::aws::Failure;

/// Pages of one answer; more is a loop.
const MOST_PAGES: usize = 100;

/// Traces by the beginning of each period, unix seconds; periods without any are left out.
///
/// # Errors
/// The first call that failed.
pub async fn counts(clients: &Clients, from: u64, to: u64, period: u64) -> Result<Vec<(u64, u64)>, Failure> {
    let metric = Metric::builder()
        .namespace("AWS/X-Ray")
        .metric_name("ApproximateTraceCount")
        .dimensions(Dimension::builder().name("GroupName").value("Default").build())
        .build();
    let stat = MetricStat::builder()
        .metric(metric)
        .period(i32::try_from(period).unwrap_or(i32::MAX))
        .stat("Sum")
        .build();
    let query = MetricDataQuery::builder().id("traces").metric_stat(stat).build();
    let mut counts = Vec::new();
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let ask = || {
            let request = clients.cloudwatch.get_metric_data().metric_data_queries(query.clone());
            let request = request.start_time(DateTime::from_secs(from as i64));
            let request = request.end_time(DateTime::from_secs(to as i64));
            request.set_next_token(token.clone()).send()
        };
        let page = clients.processed.send(ask).await?;
        for result in page.metric_data_results() {
            if result.status_code() == Some(&StatusCode::InternalError) {
                return Err(Failure::Unreachable("CloudWatch had an internal error".to_owned()));
            }
            for (at, value) in result.timestamps().iter().zip(result.values()) {
                if let Ok(at) = u64::try_from(at.secs())
                    && (from..to).contains(&at)
                {
                    counts.push((at, value.clamp(0.0, 1e15) as u64));
                }
            }
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    counts.sort_unstable();
    Ok(counts)
}
