//! GetTraceSummaries' pages and BatchGetTraces.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::super::answer::ApiError;
use super::super::faults::Struck;
use super::super::scenario::Scenario;
use super::answer::invalid;
use super::compile::compile;
use super::put::is_trace_id;
use super::store::{Trace, View};
use super::summaries::Query;
use super::{Page, State};

const MOST_IDS: usize = 5;
/// Documents of one trace that are given whole; the rest is cut off and marked.
const LARGEST_TRACE: usize = 500_000;

/// Where and when a call is answered.
pub struct Moment<'a> {
    pub scenario: &'a Scenario,
    pub region: &'a str,
    /// Unix seconds.
    pub now: f64,
    pub struck: &'a Struck,
}

impl State {
    /// A view of the store at a moment.
    pub fn view<'a>(&'a self, moment: &Moment<'a>) -> View<'a> {
        View {
            store: &self.store,
            scenario: moment.scenario,
            now: moment.now,
        }
    }

    /// Whether the indexed share holds this trace: all of them while segments go to X-Ray.
    pub fn is_indexed(&self, moment: &Moment<'_>, id: &str) -> bool {
        if !self.destination.logs || moment.now < self.destination.pending_until {
            return true;
        }
        let percent = self.indexed_percent.unwrap_or(moment.scenario.xray.indexed_percent);
        let share = xxhash_rust::xxh3::xxh3_64_with_seed(id.as_bytes(), 7) as f64 / u64::MAX as f64;
        share * 100.0 < percent
    }

    /// One page of summaries, and the traces it scanned.
    pub fn trace_summaries(&mut self, request: &Json, moment: &Moment<'_>) -> Result<(Json, u64), ApiError> {
        let query = Query::read(request)?;
        let settings = &moment.scenario.xray;
        self.tokens.retain(|_, page| page.until >= moment.now);
        let page = match request["NextToken"].as_str() {
            Some(token) => {
                let page = self
                    .tokens
                    .get(token)
                    .filter(|page| page.fingerprint == query.fingerprint);
                page.cloned().ok_or_else(|| invalid("Invalid NextToken"))?
            }
            None => {
                let mut ids = query.ids(&self.view(moment), moment.region);
                ids.retain(|id| self.is_indexed(moment, id));
                Page {
                    fingerprint: query.fingerprint,
                    ids: Arc::new(ids),
                    from: 0,
                    until: 0.0,
                }
            }
        };
        let size = moment.struck.paging.points.unwrap_or(settings.page).max(1);
        let to = (page.from + size).min(page.ids.len());
        let ids = &page.ids[page.from.min(to)..to];
        let summaries = query.summaries(&self.view(moment), ids);
        let mut answer = json!({
            "TraceSummaries": summaries, "ApproximateTime": moment.now, "TracesProcessedCount": ids.len(),
        });
        let scanned = ids.len() as u64;
        if to < page.ids.len() {
            self.next_token += 1;
            let token = format!("page-{}", self.next_token);
            let ttl = moment.struck.paging.token_ttl_s.unwrap_or(settings.token_ttl_s);
            answer["NextToken"] = json!(token);
            let next = Page {
                from: to,
                until: moment.now + ttl,
                ..page
            };
            self.tokens.insert(token, next);
        }
        Ok((answer, scanned))
    }

    /// Compiled traces, and how many are billed.
    pub fn batch_get(&mut self, request: &Json, moment: &Moment<'_>) -> Result<(Json, u64), ApiError> {
        let ids: Vec<&str> = request["TraceIds"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        if ids.is_empty() || ids.len() > MOST_IDS {
            return Err(invalid(format!("TraceIds must hold 1 to {MOST_IDS} ids")));
        }
        if let Some(bad) = ids.iter().find(|id| !is_trace_id(id)) {
            return Err(invalid(format!("Invalid trace id: {bad}")));
        }
        let from: usize = match request["NextToken"].as_str() {
            Some(token) => token
                .strip_prefix("segments-")
                .and_then(|from| from.parse().ok())
                .ok_or_else(|| invalid("Invalid NextToken"))?,
            None => 0,
        };
        let mut unprocessed = Vec::new();
        let mut traces = Vec::new();
        for (position, id) in ids.iter().enumerate() {
            let planned = moment.struck.unprocessed.is_some() && position % 2 == 0;
            let found = self
                .view(moment)
                .trace(id)
                .filter(|_| self.is_indexed(moment, id) && !planned);
            match found {
                Some(trace) => traces.push(trace),
                None if from == 0 => unprocessed.push(json!(id)),
                None => {}
            }
        }
        let mut answers = Vec::new();
        let page = moment.struck.paging.points.unwrap_or(usize::MAX);
        let mut more = false;
        for trace in &traces {
            let mut answer = whole(trace, moment.struck.limit_exceeded);
            if let Some(segments) = answer["Segments"].as_array_mut() {
                more |= segments.len() > from.saturating_add(page);
                *segments = segments.iter().skip(from).take(page).cloned().collect();
            }
            answers.push(answer);
        }
        let billed = if from == 0 { traces.len() as u64 } else { 0 };
        let mut answer = json!({"Traces": answers, "UnprocessedTraceIds": unprocessed});
        if more {
            answer["NextToken"] = json!(format!("segments-{}", from + page));
        }
        Ok((answer, billed))
    }
}

fn whole(trace: &Trace, cut: bool) -> Json {
    let start = trace.start();
    let mut end: f64 = start;
    let mut bytes = 0;
    let mut segments = Vec::new();
    let mut exceeded = false;
    for (number, (id, document)) in compile(trace).into_iter().enumerate() {
        end = end.max(super::store::number(&document, "end_time"));
        let written = document.to_string();
        bytes += written.len();
        if bytes > LARGEST_TRACE || (cut && number > 0) {
            exceeded = true;
            continue;
        }
        segments.push(json!({"Id": id, "Document": written}));
    }
    json!({"Id": trace.id, "Duration": end - start, "LimitExceeded": exceeded, "Segments": segments})
}

/// A trace id of a request's list.
pub fn ids_of(request: &Json, key: &str) -> Vec<String> {
    let ids = request[key].as_array().into_iter().flatten();
    ids.filter_map(Json::as_str).map(str::to_owned).collect()
}

/// Traces of ids, those that are there.
pub fn found(view: &View<'_>, ids: &[String]) -> Vec<Trace> {
    let mut traces: Vec<Trace> = ids.iter().filter_map(|id| view.trace(id)).collect();
    traces.sort_by(|a, b| a.id.cmp(&b.id));
    traces
}
