//! Traces by their ids: BatchGetTraces in fives with its pages and its unprocessed ones, or a retrieval job.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_xray::primitives::DateTime;
use aws_sdk_xray::types::{RetrievalStatus, TraceFormatType};

use super::Window;
use super::clients::Clients;
use crate::aws::Failure;
use crate::component::Clock;

/// Ids of one BatchGetTraces.
pub const BATCH: usize = 5;
/// Ids of one retrieval.
pub const JOB: usize = 100;
/// Pages of one answer; more is a loop.
const MOST_PAGES: usize = 1_000;
/// How often a retrieval's state is asked, and how long at most.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ASK_TIMES: usize = 150;

/// A trace as it was retrieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    pub id: String,
    pub documents: Vec<String>,
    pub limit_exceeded: bool,
}

/// An answer for some ids.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub traces: Vec<Fetched>,
    pub unprocessed: Vec<String>,
}

/// One BatchGetTraces with all its pages.
///
/// # Errors
/// The first call that failed: nothing of it counts.
pub async fn batch(clients: &Clients, ids: &[String]) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let request = || {
            let request = clients.xray.batch_get_traces().set_trace_ids(Some(ids.to_vec()));
            request.set_next_token(token.clone()).send()
        };
        let page = clients.traces.send(request).await?;
        for trace in page.traces() {
            let Some(id) = trace.id() else { continue };
            let documents = trace.segments().iter().filter_map(|segment| segment.document());
            let documents = documents.map(str::to_owned);
            let limit = trace.limit_exceeded().unwrap_or_default();
            add(&mut answer.traces, id, documents, limit);
        }
        answer.unprocessed.extend(page.unprocessed_trace_ids().iter().cloned());
        let next = page.next_token().filter(|token| !token.is_empty());
        if next.is_some() && next == token.as_deref() {
            return Err(Failure::InvalidToken);
        }
        token = next.map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    // Neither given nor named: asked for again rather than lost.
    let named: BTreeSet<&str> = answer.traces.iter().map(|trace| trace.id.as_str()).collect();
    let unnamed = ids.iter().filter(|id| !named.contains(id.as_str()));
    let missing: Vec<String> = unnamed.filter(|id| !answer.unprocessed.contains(id)).cloned().collect();
    answer.unprocessed.extend(missing);
    let ours: BTreeSet<&String> = ids.iter().collect();
    answer.unprocessed.retain(|id| ours.contains(id));
    answer.unprocessed.sort_unstable();
    answer.unprocessed.dedup();
    Ok(answer)
}

fn add(traces: &mut Vec<Fetched>, id: &str, documents: impl Iterator<Item = String>, limit_exceeded: bool) {
    match traces.iter_mut().find(|trace| trace.id == id) {
        Some(trace) => {
            trace.documents.extend(documents);
            trace.limit_exceeded |= limit_exceeded;
        }
        None => traces.push(Fetched {
            id: id.to_owned(),
            documents: documents.collect(),
            limit_exceeded,
        }),
    }
}

/// One retrieval of Transaction Search, from its start to its last page. What it does not bring is unprocessed.
///
/// # Errors
/// The first call that failed.
pub async fn retrieve(
    clients: &Clients,
    clock: &Arc<dyn Clock>,
    ids: &[String],
    within: Window,
) -> Result<Answer, Failure> {
    let start = || {
        let request = clients.xray.start_trace_retrieval().set_trace_ids(Some(ids.to_vec()));
        let request = request.start_time(DateTime::from_secs(within.from as i64));
        request.end_time(DateTime::from_secs(within.to as i64)).send()
    };
    let started = clients.start_retrieval.send(start).await?;
    let job = started.retrieval_token().unwrap_or_default().to_owned();
    let mut answer = Answer::default();
    let mut token: Option<String> = None;
    let (mut asked, mut pages) = (0, 0);
    loop {
        let list = || {
            let request = clients.xray.list_retrieved_traces().retrieval_token(&job);
            let request = request.trace_format(TraceFormatType::Xray);
            request.set_next_token(token.clone()).send()
        };
        let page = clients.list_retrieved.send(list).await?;
        match page.retrieval_status() {
            Some(RetrievalStatus::Complete) => {}
            Some(RetrievalStatus::Scheduled | RetrievalStatus::Running) | None => {
                asked += 1;
                if asked > ASK_TIMES {
                    // It may still cost: not waited for any longer.
                    let cancel = || clients.xray.cancel_trace_retrieval().retrieval_token(&job).send();
                    let _ = clients.cancel_retrieval.send(cancel).await;
                    break;
                }
                clock.sleep(ASK_EVERY).await;
                continue;
            }
            // FAILED, CANCELLED, TIMEOUT: all of it again later.
            Some(_) => break,
        }
        for trace in page.traces() {
            let Some(id) = trace.id() else { continue };
            let documents = trace.spans().iter().filter_map(|span| span.document());
            add(&mut answer.traces, id, documents.map(str::to_owned), false);
        }
        let next = page.next_token().filter(|token| !token.is_empty());
        pages += 1;
        if next.is_some() && (next == token.as_deref() || pages == MOST_PAGES) {
            return Err(Failure::InvalidToken);
        }
        token = next.map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    let given: BTreeSet<&str> = answer.traces.iter().map(|trace| trace.id.as_str()).collect();
    answer.unprocessed = ids.iter().filter(|id| !given.contains(id.as_str())).cloned().collect();
    Ok(answer)
}
