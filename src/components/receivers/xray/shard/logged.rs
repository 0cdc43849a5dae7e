//! The log group of Transaction Search: every span, where the summaries know only the indexed share of the traces.
//!
//! A range of time is read when it has settled, once more some minutes later and once more by the sweep, for spans that
//! came late; reading is not billed. What was handed on is remembered span by span, because a range holds parts of traces.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::super::emit::batch_id;
use super::super::seen::logged_key;
use super::super::state::{Commit, day_of};
use super::super::steps::Step;
use super::pass::BATCH_SPANS;
use super::{Shard, Stop, blocking};
use crate::aws::Failure;
use crate::aws::json::logs::{LogPage, filter_log_events};
use crate::aws::xray::api::Window;
use crate::aws::xray::document::Arena;
use crate::aws::xray::translate::logged_span;
use crate::pdata::Decoded;

/// Spans are remembered for so long beyond the sweep's window.
pub const KEEP_S: u64 = 86_400;
/// The second look comes so long after a span's time.
const LOOK_AGAIN_S: u64 = 900;
/// The widest range of a look.
const LOOK_S: u64 = 3_600;
/// Pages of one range; more is an answer that does not end.
const MOST_PAGES: usize = 100_000;
/// A page that fails for a passing reason is asked for again so often.
const TRIES: u32 = 6;
/// So many groups are looked at for one of the same resource and scope.
const GROUPS_BACK: usize = 16;

impl Shard {
    /// Whether spans come from the log group.
    pub fn reads_log(&self) -> bool {
        let config = self.config();
        self.retrieves && !self.without_log && !config.spans_log_group.is_empty() && config.filter.is_empty()
    }

    /// The range after the cursor.
    pub async fn log_window(&mut self, window: Window) -> Result<(), Stop> {
        match self.spans_of_log(window, vec![("cursor", window.to)]).await {
            Ok(_) => {}
            Err(Stop::Aws(failure)) if is_no_such_group(&failure) => {
                tracing::warn!(receiver = %self.shared.context.id, region = %self.place.region, trouble = %failure,
                    group = %self.config().spans_log_group,
                    "the log group of Transaction Search cannot be read: only the indexed share of the traces is");
                self.without_log = true;
                return Ok(());
            }
            Err(stop) => return Err(stop),
        }
        self.cursor = window.to;
        self.shared.steps.over(Step::Moved).await;
        Ok(())
    }

    /// The second look at what was read a while ago.
    pub async fn look_again(&mut self) -> Result<(), Stop> {
        if !self.reads_log() {
            self.looked = self.cursor;
            return Ok(());
        }
        let until = self.cursor.min(self.now().saturating_sub(LOOK_AGAIN_S));
        while self.looked < until {
            let to = until.min(self.looked + LOOK_S);
            let window = Window { from: self.looked, to };
            let late = self.spans_of_log(window, vec![("looked", to)]).await?;
            self.counts.late.add(late);
            self.looked = to;
        }
        Ok(())
    }

    /// Reads a range to its last page, hands on what is new of it, and remembers `numbers` with the last of it. Gives how
    /// many spans were new.
    pub async fn spans_of_log(&mut self, window: Window, numbers: Vec<(&'static str, u64)>) -> Result<u64, Stop> {
        let mut fresh = 0;
        let mut waiting = Waiting::default();
        let mut token: Option<String> = None;
        for page in 1.. {
            let answer = self.log_page(window, token.as_deref()).await?;
            self.shared.steps.over(Step::Fetched).await;
            fresh += self.sort_out(&answer, &mut waiting).await?;
            if waiting.keys.len() >= BATCH_SPANS {
                self.hand_on_logged(&mut waiting, Vec::new()).await?;
            }
            let next = answer.next_token.filter(|next| !next.is_empty());
            if next.is_some() && (next == token || page == MOST_PAGES) {
                return Err(Failure::InvalidToken.into());
            }
            token = next;
            if token.is_none() {
                break;
            }
        }
        self.hand_on_logged(&mut waiting, numbers).await?;
        Ok(fresh)
    }

    async fn log_page(&self, window: Window, token: Option<&str>) -> Result<LogPage, Stop> {
        let members = filter_log_events(&self.config().spans_log_group, window.from, window.to, token);
        let mut tries = 0;
        loop {
            let asked = self.clients.events.send(|| self.clients.logs.log_page(&members));
            let failure = tokio::select! {
                () = self.quit.cancelled() => return Err(Stop::Quit),
                answer = asked => match answer {
                    Ok(page) => return Ok(page),
                    Err(failure) => failure,
                },
            };
            self.counts
                .throttled
                .add(u64::from(matches!(failure, Failure::Throttled { .. })));
            if !failure.is_transient() || tries == TRIES {
                return Err(failure.into());
            }
            tries += 1;
            let wait = self.shared.context.clock.sleep(Duration::from_secs(1 << tries));
            tokio::select! {
                () = self.quit.cancelled() => return Err(Stop::Quit),
                () = wait => {}
            }
        }
    }

    /// Adds the spans of a page that are new, and gives how many those are.
    async fn sort_out(&mut self, page: &LogPage, waiting: &mut Waiting) -> Result<u64, Stop> {
        let mut arena = Arena::default();
        let (mut keys, mut groups) = (Vec::new(), Vec::new());
        for event in &page.events {
            match logged_span(&event.message, &mut arena) {
                Some(group) => {
                    let span = &group.scope_spans[0].spans[0];
                    keys.push(logged_key(&span.trace_id, &span.span_id));
                    groups.push(group);
                }
                None => self.counts.salvaged.add(1),
            }
        }
        let state = Arc::clone(&self.state);
        let asked = keys.clone();
        let known = blocking(move || state.known_spans(&asked)).await?;
        let mut fresh = 0;
        for ((key, group), known) in keys.into_iter().zip(groups).zip(known) {
            if !known && waiting.keys.insert(key) {
                waiting.add(key, group);
                fresh += 1;
            }
        }
        Ok(fresh)
    }

    /// Trace by trace, each known by an id made of its spans: after an end in between, a durable queue knows those it has.
    async fn hand_on_logged(&mut self, waiting: &mut Waiting, numbers: Vec<(&'static str, u64)>) -> Result<(), Stop> {
        let Waiting { keys, traces } = std::mem::take(waiting);
        if !traces.is_empty()
            && let Some(outlet) = self.shared.outlets.traces.clone()
        {
            let requests = traces.into_iter().map(|(id, mut trace)| {
                let request = ExportTraceServiceRequest {
                    resource_spans: trace.groups,
                };
                (batch_id(&id, &mut trace.keys), Decoded::Traces(request))
            });
            self.hand_on_all(&outlet, requests.collect()).await?;
            self.shared.steps.over(Step::Taken).await;
        }
        self.shared.steps.over(Step::Unwritten).await;
        let day = day_of(self.now());
        self.commit(Commit {
            numbers,
            spans: (day, keys.into_iter().collect()),
            ..Commit::default()
        })
        .await
    }
}

/// Spans that are handed on next.
#[derive(Default)]
struct Waiting {
    keys: HashSet<u64>,
    /// By trace id.
    traces: BTreeMap<Vec<u8>, OfTrace>,
}

#[derive(Default)]
struct OfTrace {
    keys: Vec<u64>,
    groups: Vec<ResourceSpans>,
}

impl Waiting {
    /// Adds a group of one span. Spans of one resource and scope stand together.
    fn add(&mut self, key: u64, mut group: ResourceSpans) {
        let trace = group.scope_spans[0].spans[0].trace_id.clone();
        let trace = self.traces.entry(trace).or_default();
        trace.keys.push(key);
        let same =
            trace.groups.iter_mut().rev().take(GROUPS_BACK).find(|have| {
                have.resource == group.resource && have.scope_spans[0].scope == group.scope_spans[0].scope
            });
        match same {
            Some(have) => have.scope_spans[0].spans.append(&mut group.scope_spans[0].spans),
            None => trace.groups.push(group),
        }
    }
}

/// The group is not there, or not ours to read.
fn is_no_such_group(failure: &Failure) -> bool {
    match failure {
        Failure::Denied { .. } => true,
        Failure::Refused { code, .. } => code == "ResourceNotFoundException",
        _ => false,
    }
}
