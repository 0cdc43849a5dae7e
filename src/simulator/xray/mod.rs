//! A simulated X-Ray: what is sent to it and what a generated application sends, read back by the X-Ray API on the
//! simulator's clock.
//!
//! REST JSON on the service's own paths; signatures and body hashes are checked. Every answer is a function of what has
//! arrived and of the moment. `/_sim/xray` changes the destination and the rules; `/_sim/xray/truth` tells every span.

mod answer;
mod compile;
mod counts;
mod filter;
mod graph;
mod http;
mod load;
mod logs;
mod otlp;
mod put;
mod retrieval;
mod sampling;
mod settings;
mod sign;
mod store;
mod summaries;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::{Value as Json, json};

pub use self::counts::is_about_xray;
pub use self::http::{api_of, handle};
pub use self::settings::{Late, Rule, Settings, Span};

use self::compile::{compile, walk};
use self::load::{Load, Place};
use self::retrieval::Job;
use self::sampling::Counted;
use self::store::{Store, View, flag, text};
use super::answer::ApiError;
use super::faults::Struck;
use super::scenario::Scenario;
use super::value::Value;

/// The state of one simulated account.
#[derive(Debug, Default)]
pub struct XRay(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    store: Store,
    /// Page tokens: what they stand for and until when.
    tokens: BTreeMap<String, Page>,
    next_token: u64,
    jobs: BTreeMap<String, Job>,
    destination: Destination,
    indexed_percent: Option<f64>,
    rules: Option<Vec<Rule>>,
    /// When the rules were changed, unix seconds.
    rules_changed: f64,
    counted: BTreeMap<String, Counted>,
    telemetry_records: u64,
    otlp_spans: u64,
    otlp_taken: otlp::Taken,
    /// Answers of ListRetrievedTraces instead of the usual ones.
    job_status: Option<String>,
}

/// A page that has not been asked for yet.
#[derive(Clone, Debug)]
struct Page {
    fingerprint: u64,
    ids: Arc<Vec<String>>,
    from: usize,
    until: f64,
}

/// Where segments go.
#[derive(Clone, Debug, Default)]
struct Destination {
    /// CloudWatchLogs instead of XRay.
    logs: bool,
    /// PENDING until then, unix seconds.
    pending_until: f64,
}

/// What `/_sim/xray` changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    /// XRay or CloudWatchLogs.
    destination: Option<String>,
    indexed_percent: Option<f64>,
    rules: Option<Vec<Rule>>,
    /// The status that retrieval jobs get from now on; empty: the usual course.
    job_status: Option<String>,
}

impl XRay {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// GetMetricData of X-Ray's metrics: the answer and the metrics it is billed for.
    ///
    /// # Errors
    /// What the service finds wrong with the request.
    pub fn metric_data(
        &self,
        scenario: &Scenario,
        region: &str,
        request: &Value,
        now: f64,
    ) -> Result<(Value, u64), ApiError> {
        self.state().metric_data(scenario, region, request, now)
    }

    /// FilterLogEvents of the log group of Transaction Search.
    ///
    /// # Errors
    /// What the service finds wrong with the request.
    pub fn log_events(
        &self,
        scenario: &Scenario,
        region: &str,
        request: &Value,
        now: f64,
        struck: &Struck,
    ) -> Result<Value, ApiError> {
        let moment = traces::Moment {
            scenario,
            region,
            now,
            struck,
        };
        self.state().log_events(request, &moment)
    }

    /// Takes one document, as PutTraceSegments does when it is called at `at`.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn put_segment(&self, document: Json, at: f64) -> Result<(), String> {
        let request = json!({"TraceSegmentDocuments": [document.to_string()]});
        let (answer, taken) = self
            .state()
            .put_segments(&request, at, None)
            .map_err(|error| error.message)?;
        if taken == 1 { Ok(()) } else { Err(answer.to_string()) }
    }

    /// Forgets everything.
    pub fn reset(&self) {
        *self.state() = State::default();
    }

    /// Changes and reads what is not part of the API.
    ///
    /// # Errors
    /// An unreadable command.
    pub fn control(&self, scenario: &Scenario, now: f64, body: &[u8]) -> Result<Json, String> {
        let mut state = self.state();
        if !body.is_empty() {
            let command: Command = serde_json::from_slice(body).map_err(|error| error.to_string())?;
            if let Some(destination) = command.destination {
                state.destination = Destination {
                    logs: destination == "CloudWatchLogs",
                    pending_until: now + scenario.xray.pending_s,
                };
            }
            state.indexed_percent = command.indexed_percent.or(state.indexed_percent);
            if let Some(rules) = command.rules {
                state.rules = Some(rules);
                state.rules_changed = now;
            }
            if let Some(status) = command.job_status {
                state.job_status = Some(status).filter(|status| !status.is_empty());
            }
        }
        Ok(json!({
            "documents": state.store.documents(), "telemetry_records": state.telemetry_records,
            "otlp_spans": state.otlp_spans, "otlp_different": state.otlp_taken.len(), "jobs": state.jobs.len(),
            "destination": if state.destination.logs { "CloudWatchLogs" } else { "XRay" },
        }))
    }

    /// Every span of every trace that starts between two times (unix seconds), whenever it arrives: its id, its parent,
    /// and whether it is never completed.
    pub fn truth(&self, scenario: &Scenario, from: f64, to: f64) -> BTreeMap<String, Vec<TrueSpan>> {
        let state = self.state();
        let load = Load::new(scenario);
        let minute = |at: f64| ((at - scenario.start as f64) / 60.0).floor() as i64;
        let mut ids: Vec<String> = state.store.ids().cloned().collect();
        for minute in minute(from)..=minute(to) {
            let places = (0..load.count(minute)).map(|number| Place { minute, number });
            ids.extend(places.map(|place| load.id(place)));
        }
        ids.sort();
        ids.dedup();
        let view = View {
            store: &state.store,
            scenario,
            now: f64::MAX,
        };
        let mut truth = BTreeMap::new();
        for id in ids {
            let arrivals = view.all(&id);
            let trace = store::Trace {
                id: id.clone(),
                arrivals,
            };
            if from <= trace.start() && trace.start() < to {
                truth.insert(id, true_spans(&trace));
            }
        }
        truth
    }
}

/// A span that a reader must give once, and only once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrueSpan {
    pub id: String,
    pub name: String,
    pub open: bool,
}

fn true_spans(trace: &store::Trace) -> Vec<TrueSpan> {
    let mut spans = Vec::new();
    for (_, document) in compile(trace) {
        if flag(&document, "inferred") {
            continue;
        }
        walk(&document, &mut |node| {
            spans.push(TrueSpan {
                id: text(node, "id").to_owned(),
                name: text(node, "name").to_owned(),
                open: flag(node, "in_progress") && node.get("end_time").is_none(),
            });
        });
    }
    spans.sort();
    spans
}
