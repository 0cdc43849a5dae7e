//! GetTraceSummaries of one window, to its last page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_xray::primitives::DateTime;
use aws_sdk_xray::types::{SamplingStrategy, SamplingStrategyName, TimeRangeType};

use super::Window;
use super::clients::Clients;
use crate::aws::Failure;
use crate::component::Clock;

/// A page that fails for a passing reason is asked for again so often.
const TRIES: u32 = 6;
/// Pages of one window; more is an answer that does not end.
const MOST_PAGES: usize = 100_000;
/// A window whose tokens expire is begun again so often.
const RESTARTS: u32 = 2;

/// What a window goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeType {
    /// When something of the trace arrived.
    Event,
    /// When it started.
    TraceId,
}

/// One trace of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    pub revision: Option<i64>,
    /// A segment of it is in progress.
    pub partial: bool,
    /// The time it lies in, unix seconds.
    pub start: u64,
    pub end: u64,
}

/// What one listing gave.
#[derive(Debug, Default)]
pub struct Listing {
    /// Oldest first, each once.
    pub traces: Vec<Listed>,
    /// Traces that were scanned, as they are billed.
    pub scanned: u64,
    pub throttled: u64,
    /// Why it is not complete: nothing of it counts then but `scanned`.
    pub failure: Option<Failure>,
}

/// Lists a window to its end. `share` below 1 takes a sample.
pub async fn list(
    clients: &Clients,
    filter: &str,
    window: Window,
    kind: RangeType,
    share: f64,
    clock: &Arc<dyn Clock>,
) -> Listing {
    let mut listing = Listing::default();
    let mut by_id: BTreeMap<String, usize> = BTreeMap::new();
    let mut token: Option<String> = None;
    let (mut tries, mut restarts, mut pages) = (0, 0, 0);
    loop {
        let request = || request(clients, filter, window, kind, share, token.clone());
        let page = match clients.summaries.send(request).await {
            Ok(page) => page,
            Err(failure) => {
                listing.throttled += u64::from(matches!(failure, Failure::Throttled { .. }));
                if failure.is_transient() && tries < TRIES {
                    tries += 1;
                    // The bucket paces what is throttled; this is for the rest.
                    clock.sleep(Duration::from_secs(1 << tries)).await;
                    continue;
                }
                // A token that has expired: the pages before it are a hint only.
                let stale = token.is_some() && matches!(failure, Failure::Refused { .. } | Failure::InvalidToken);
                if stale && restarts < RESTARTS {
                    restarts += 1;
                    token = None;
                    listing.traces.clear();
                    by_id.clear();
                    continue;
                }
                listing.failure = Some(failure);
                return listing;
            }
        };
        tries = 0;
        listing.scanned += u64::try_from(page.traces_processed_count().unwrap_or_default()).unwrap_or_default();
        for summary in page.trace_summaries() {
            let Some(id) = summary.id() else { continue };
            let start = summary
                .start_time()
                .map_or(window.from, |start| start.secs().max(0) as u64);
            let seconds = summary.duration().unwrap_or_default().clamp(0.0, 1e9) as u64;
            let listed = Listed {
                id: id.to_owned(),
                revision: Some(i64::from(summary.revision())).filter(|revision| *revision > 0),
                partial: summary.is_partial().unwrap_or_default(),
                start: start.min(window.to),
                end: window.to.max(start + seconds),
            };
            match by_id.get(id) {
                Some(position) => {
                    let have = &mut listing.traces[*position];
                    have.revision = have.revision.max(listed.revision);
                    have.partial |= listed.partial;
                }
                None => {
                    by_id.insert(id.to_owned(), listing.traces.len());
                    listing.traces.push(listed);
                }
            }
        }
        let next = page.next_token().filter(|token| !token.is_empty());
        pages += 1;
        if next.is_some() && (next == token.as_deref() || pages == MOST_PAGES) {
            listing.failure = Some(Failure::InvalidToken);
            return listing;
        }
        token = next.map(str::to_owned);
        if token.is_none() {
            listing.traces.reverse();
            return listing;
        }
    }
}

type Sent = Result<
    aws_sdk_xray::operation::get_trace_summaries::GetTraceSummariesOutput,
    aws_sdk_xray::error::SdkError<aws_sdk_xray::operation::get_trace_summaries::GetTraceSummariesError>,
>;

async fn request(
    clients: &Clients,
    filter: &str,
    window: Window,
    kind: RangeType,
    share: f64,
    token: Option<String>,
) -> Sent {
    let kind = match kind {
        RangeType::Event => TimeRangeType::Event,
        RangeType::TraceId => TimeRangeType::TraceId,
    };
    let mut request = clients
        .xray
        .get_trace_summaries()
        .start_time(DateTime::from_secs(window.from as i64))
        .end_time(DateTime::from_secs(window.to as i64))
        .time_range_type(kind)
        .set_next_token(token);
    if !filter.is_empty() {
        request = request.filter_expression(filter);
    }
    if share < 1.0 {
        let strategy = SamplingStrategy::builder()
            .name(SamplingStrategyName::FixedRate)
            .value(share)
            .build();
        request = request.sampling(true).sampling_strategy(strategy);
    }
    request.send().await
}
