//! Transaction Search: where segments go, what share is indexed, and jobs that bring traces back.

use serde_json::{Value as Json, json};

use super::super::answer::ApiError;
use super::State;
use super::answer::{invalid, not_found};
use super::compile::{compile, walk};
use super::store::{Trace, flag, text};
use super::traces::{Moment, found, ids_of};

const MOST_IDS: usize = 100;
const TRACES_A_PAGE: usize = 5;
const SPANS_A_PAGE: usize = 100;
/// Seconds that a job waits, and then runs.
const SCHEDULED_S: f64 = 2.0;
const RUNNING_S: f64 = 4.0;
/// After that it is forgotten.
const LIFE_S: f64 = 3_600.0;

/// A retrieval that was started.
#[derive(Clone, Debug)]
pub struct Job {
    ids: Vec<String>,
    started: f64,
    from: f64,
    to: f64,
    cancelled: bool,
}

impl State {
    /// GetTraceSegmentDestination.
    pub fn destination(&self, now: f64) -> Json {
        let pending = now < self.destination.pending_until;
        json!({
            "Destination": if self.destination.logs { "CloudWatchLogs" } else { "XRay" },
            "Status": if pending { "PENDING" } else { "ACTIVE" },
        })
    }

    /// GetIndexingRules.
    pub fn indexing_rules(&self, moment: &Moment<'_>) -> Json {
        let percent = self.indexed_percent.unwrap_or(moment.scenario.xray.indexed_percent);
        json!({"IndexingRules": [{
            "Name": "Default", "ModifiedAt": moment.scenario.start,
            "Rule": {"Probabilistic": {"DesiredSamplingPercentage": percent, "ActualSamplingPercentage": percent}},
        }]})
    }

    /// StartTraceRetrieval.
    pub fn start_retrieval(&mut self, request: &Json, moment: &Moment<'_>) -> Result<Json, ApiError> {
        let ids = ids_of(request, "TraceIds");
        if ids.is_empty() || ids.len() > MOST_IDS {
            return Err(invalid(format!("TraceIds must hold 1 to {MOST_IDS} ids")));
        }
        let time = |key: &str| {
            request[key]
                .as_f64()
                .ok_or_else(|| invalid(format!("{key} must not be null")))
        };
        let (from, to) = (time("StartTime")?, time("EndTime")?);
        if to <= from {
            return Err(invalid("End time must be after start time"));
        }
        self.next_token += 1;
        let token = format!("retrieval-{}", self.next_token);
        let job = Job {
            ids,
            started: moment.now,
            from,
            to,
            cancelled: false,
        };
        self.jobs.insert(token.clone(), job);
        Ok(json!({"RetrievalToken": token}))
    }

    /// CancelTraceRetrieval.
    pub fn cancel_retrieval(&mut self, request: &Json) -> Result<Json, ApiError> {
        let token = text(request, "RetrievalToken");
        let job = self.jobs.get_mut(token).ok_or_else(|| not_found("no such retrieval"))?;
        job.cancelled = true;
        Ok(json!({}))
    }

    /// ListRetrievedTraces, and how many traces this page is billed for.
    pub fn list_retrieved(&mut self, request: &Json, moment: &Moment<'_>) -> Result<(Json, u64), ApiError> {
        let token = text(request, "RetrievalToken").to_owned();
        self.jobs.retain(|_, job| moment.now - job.started < LIFE_S);
        let job = self
            .jobs
            .get(&token)
            .ok_or_else(|| not_found("no such retrieval"))?
            .clone();
        let age = moment.now - job.started;
        let status = match &self.job_status {
            Some(status) => status.as_str(),
            None if job.cancelled => "CANCELLED",
            None if age < SCHEDULED_S => "SCHEDULED",
            None if age < SCHEDULED_S + RUNNING_S => "RUNNING",
            None => "COMPLETE",
        };
        let format = request["TraceFormat"].as_str().unwrap_or("XRAY").to_owned();
        let mut answer = json!({"RetrievalStatus": status, "TraceFormat": format, "Traces": []});
        if status != "COMPLETE" {
            return Ok((answer, 0));
        }
        let from: usize = match request["NextToken"].as_str() {
            Some(next) => next.parse().map_err(|_| invalid("Invalid NextToken"))?,
            None => 0,
        };
        let mut traces = found(&self.view(moment), &job.ids);
        traces.retain(|trace| job.from <= trace.start() && trace.start() < job.to);
        let mut page = Vec::new();
        let mut spans = 0;
        for trace in traces.iter().skip(from).take(TRACES_A_PAGE) {
            let retrieved = retrieved(trace, &format);
            let count = retrieved["Spans"].as_array().map_or(0, Vec::len);
            if spans > 0 && spans + count > SPANS_A_PAGE {
                break;
            }
            spans += count;
            page.push(retrieved);
        }
        let billed = page.len() as u64;
        let next = from + page.len();
        if next < traces.len() {
            answer["NextToken"] = json!(next.to_string());
        }
        answer["Traces"] = json!(page);
        Ok((answer, billed))
    }
}

fn retrieved(trace: &Trace, format: &str) -> Json {
    let mut spans = Vec::new();
    for (id, document) in compile(trace) {
        if format == "OTEL" {
            if !flag(&document, "inferred") {
                walk(&document, &mut |node| spans.push(otel(trace, node)));
            }
        } else {
            spans.push(json!({"Id": id, "Document": document.to_string()}));
        }
    }
    json!({"Id": trace.id, "Duration": 0.0, "Spans": spans})
}

/// A span as Transaction Search keeps it, as far as it is a span's own.
fn otel(trace: &Trace, node: &Json) -> Json {
    let nanos = |key: &str| (super::store::number(node, key) * 1e9) as u64;
    let id = text(node, "id");
    let document = json!({
        "traceId": trace.id.replace('-', "").get(1..).unwrap_or_default(), "spanId": id,
        "parentSpanId": text(node, "parent_id"), "name": text(node, "name"),
        "startTimeUnixNano": nanos("start_time"), "endTimeUnixNano": nanos("end_time"),
    });
    json!({"Id": id, "Document": document.to_string()})
}
