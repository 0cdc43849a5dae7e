//! The list of traces, and their scatter.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use foldhash::fast::RandomState;
use serde::Serialize;

use super::{Ask, Failure, Head, Hex8, Hex16, Ns, find_rows};
use crate::dev::query::KINDS;
use crate::dev::store::{Snapshot, Store, Trace, TraceId};
use crate::pdata::Signal;

/// A trace to which something came this recently may not be over yet, nanoseconds.
const QUIET: u64 = 300_000_000;
/// So long a trace without a root is waited for.
const ROOTLESS: u64 = 2_000_000_000;

/// By what the list is sorted, largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Recent,
    Duration,
    Errors,
    Spans,
}

impl Order {
    /// By name.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn named(name: &str) -> Result<Self, Failure> {
        Ok(match name {
            "" | "recent" => Order::Recent,
            "duration" => Order::Duration,
            "errors" => Order::Errors,
            "spans" => Order::Spans,
            _ => {
                let message = format!("`sort` is one of recent, duration, errors, spans, not {name:?}");
                return Err(Failure::Bad(message));
            }
        })
    }

    fn key(self, trace: &Trace) -> u64 {
        match self {
            Order::Recent => trace.start,
            Order::Duration => trace.end.saturating_sub(trace.start),
            Order::Errors => u64::from(trace.errors),
            Order::Spans => u64::from(trace.spans),
        }
    }
}

/// A trace in a list: `Trace` of the API.
#[derive(Clone, Debug, Serialize)]
pub struct TraceRow {
    pub trace_id: Hex16,
    pub root: Option<Root>,
    pub start: Ns,
    pub duration: Ns,
    pub spans: u32,
    pub errors: u32,
    pub services: Vec<String>,
    pub run: Option<String>,
    /// Spans were evicted.
    pub partial: bool,
    /// Spans may still come.
    pub pending: bool,
    pub logs: u32,
    pub alerts: Vec<String>,
    pub health: bool,
    pub scenario: Option<String>,
}

/// The span without a parent.
#[derive(Clone, Debug, Serialize)]
pub struct Root {
    pub span_id: Hex8,
    pub service: String,
    pub name: String,
    pub kind: &'static str,
    pub status: &'static str,
    pub http_status: Option<String>,
}

/// `GET /api/v1/traces`.
#[derive(Debug, Serialize)]
pub struct TraceList {
    #[serde(flatten)]
    pub head: Head,
    pub traces: Vec<TraceRow>,
    /// Health checks that fit and are not listed.
    pub hidden_health: u64,
}

/// What a list of traces may be asked beside a query.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub order: Order,
    /// List health checks too.
    pub health: bool,
    /// Of this run only.
    pub run: Option<String>,
}

/// The traces of which a span fits.
///
/// # Errors
/// Where the cursor is none of ours.
pub fn traces(store: &Store, ask: &Ask, choice: &Choice) -> Result<TraceList, Failure> {
    let snapshot = store.snapshot();
    let run = match &choice.run {
        Some(run) => match store.names().find(run) {
            Some(number) => Some(number),
            None => return Ok(empty(store, ask)),
        },
        None => None,
    };
    let after = ask.cursor.as_deref().map(read_cursor).transpose()?;
    let (fitting, late) = fitting_traces(store, &snapshot, ask);
    let mut best: BinaryHeap<Reverse<(u64, Reverse<TraceId>)>> = BinaryHeap::new();
    let (mut total, mut hidden_health) = (0_u64, 0_u64);
    each_fitting(store, fitting.as_ref(), |id, trace| {
        let is_in = ask.window.has(trace.start) && run.is_none_or(|run| trace.run == run);
        if !is_in {
            return;
        }
        if trace.health && !choice.health {
            hidden_health += 1;
            return;
        }
        total += 1;
        let key = (choice.order.key(trace), Reverse(*id));
        if after.is_some_and(|after| key >= after) {
            return;
        }
        best.push(Reverse(key));
        if best.len() > ask.limit {
            best.pop();
        }
    });
    let mut listed: Vec<(u64, Reverse<TraceId>)> = best.into_iter().map(|Reverse(key)| key).collect();
    listed.sort_unstable_by(|a, b| b.cmp(a));
    let mut rows = Vec::with_capacity(listed.len());
    for (_, Reverse(id)) in &listed {
        rows.extend(row_of_trace(store, &snapshot, id, ask.now));
    }
    let mut head = Head::new(store, ask, Signal::Traces, total, rows.len());
    if total == 0 && hidden_health > 0 {
        head.empty = Some("filtered".to_owned());
    }
    head.truncated |= late;
    let is_full = listed.len() >= ask.limit && total > listed.len() as u64;
    head.cursor = listed
        .last()
        .filter(|_| is_full)
        .map(|(key, Reverse(id))| format!("{key}-{}", hex::encode(id)));
    Ok(TraceList {
        head,
        traces: rows,
        hidden_health,
    })
}

fn empty(store: &Store, ask: &Ask) -> TraceList {
    TraceList {
        head: Head::new(store, ask, Signal::Traces, 0, 0),
        traces: Vec::new(),
        hidden_health: 0,
    }
}

/// The traces with a span or a log record that fits; `None` where every trace does.
fn fitting_traces(store: &Store, snapshot: &Snapshot, ask: &Ask) -> (Option<HashSet<TraceId, RandomState>>, bool) {
    if ask.query.is_all() {
        return (None, false);
    }
    // A span may begin before its trace's window ends and after it begins: the summary decides about the window.
    let anywhere = Ask {
        window: crate::dev::query::Window::ALL,
        ..ask.clone()
    };
    let mut fitting: HashSet<TraceId, RandomState> = HashSet::default();
    let (found, late) = find_rows(store, snapshot, &anywhere, Signal::Traces);
    for found in &found {
        fitting.extend(found.rows.rows().map(|row| found.segment.trace(row)));
    }
    (Some(fitting), late)
}

/// Ids of the newest traces that fit, at most `most`.
pub(super) fn fitting_ids(store: &Store, ask: &Ask, most: usize) -> Vec<TraceId> {
    let snapshot = store.snapshot();
    let (fitting, _) = fitting_traces(store, &snapshot, ask);
    newest(store, most, fitting.as_ref(), |trace| ask.window.has(trace.start))
}

/// Ids of the newest traces of a run, at most `most`; `None` where there is no such run.
pub(super) fn run_ids(store: &Store, run: &str, most: usize) -> Option<Vec<TraceId>> {
    let number = store.names().find(run).filter(|number| *number != 0)?;
    let ids = newest(store, most, None, |trace| trace.run == number);
    (!ids.is_empty()).then_some(ids)
}

type Fitting = HashSet<TraceId, RandomState>;

/// Calls for each trace that has spans, of these if they are given.
fn each_fitting(store: &Store, fitting: Option<&Fitting>, mut call: impl FnMut(&TraceId, &Trace)) {
    let with_spans = |id: &TraceId, trace: &Trace| {
        if trace.spans > 0 {
            call(id, trace);
        }
    };
    match fitting {
        Some(fitting) => store.traces().visit(fitting.iter(), with_spans),
        None => store.traces().for_each(with_spans),
    }
}

fn newest(store: &Store, most: usize, fitting: Option<&Fitting>, is_wanted: impl Fn(&Trace) -> bool) -> Vec<TraceId> {
    let mut ids = Vec::new();
    each_fitting(store, fitting, |id, trace| {
        if is_wanted(trace) {
            ids.push((trace.start, *id));
        }
    });
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(most);
    ids.into_iter().map(|(_, id)| id).collect()
}

fn read_cursor(text: &str) -> Result<(u64, Reverse<TraceId>), Failure> {
    let bad = || Failure::Bad(format!("not a cursor of this list: {text:?}"));
    let (key, id) = text.split_once('-').ok_or_else(bad)?;
    let mut trace = TraceId::default();
    hex::decode_to_slice(id, &mut trace).map_err(|_| bad())?;
    Ok((key.parse().map_err(|_| bad())?, Reverse(trace)))
}

/// One trace as a list shows it.
pub fn row_of_trace(store: &Store, snapshot: &Snapshot, id: &TraceId, now: u64) -> Option<TraceRow> {
    let trace = store.traces().get(id).filter(|trace| trace.spans > 0)?;
    let names = store.names();
    let root = trace.root.and_then(|at| {
        let segment = snapshot.get(Signal::Traces, at.segment)?;
        let row = at.row as usize;
        (row < segment.len()).then(|| {
            let http = ["http.response.status_code", "http.status_code"];
            let scenario = segment.attribute(row, "radiosonde.scenario").map(str::to_owned);
            let root = Root {
                span_id: Hex8(segment.span(row)),
                service: segment.service(row).to_owned(),
                name: segment.name(row).to_owned(),
                kind: kind_name(segment.kinds[row]),
                status: status_name(segment.statuses[row]),
                http_status: http
                    .into_iter()
                    .find_map(|key| segment.attribute(row, key))
                    .map(str::to_owned),
            };
            (root, scenario)
        })
    });
    let quiet = now.saturating_sub(trace.last_arrival);
    let pending = quiet < QUIET || (trace.root.is_none() && trace.lost == 0 && quiet < ROOTLESS);
    let (root, scenario) = root.map_or((None, None), |(root, scenario)| (Some(root), scenario));
    let services = trace.services.iter().map(|number| names.name(*number).to_string());
    Some(TraceRow {
        trace_id: Hex16(*id),
        root,
        start: Ns(trace.start),
        duration: Ns(trace.end.saturating_sub(trace.start)),
        spans: trace.spans,
        errors: trace.errors,
        services: services.collect(),
        run: (trace.run != 0).then(|| names.name(trace.run).to_string()),
        partial: trace.lost > 0,
        pending,
        logs: trace.logs,
        alerts: store
            .findings()
            .map(|findings| findings.rules(id, None))
            .unwrap_or_default(),
        health: trace.health,
        scenario,
    })
}

/// Name of a span's kind.
pub(super) fn kind_name(kind: u8) -> &'static str {
    KINDS.get(usize::from(kind)).copied().unwrap_or("unspecified")
}

/// Name of a status code.
pub(super) fn status_name(status: u8) -> &'static str {
    crate::dev::query::STATUSES
        .get(usize::from(status))
        .copied()
        .unwrap_or("unset")
}

/// `GET /api/v1/traces/scatter`: start, duration, whether it has an error, id.
#[derive(Debug, Serialize)]
pub struct ScatterAnswer {
    #[serde(flatten)]
    pub head: Head,
    pub points: Vec<(Ns, Ns, bool, Hex16)>,
}

/// A point for each trace that fits; the longest of a stretch of time where there are more than may be shown.
pub fn scatter(store: &Store, ask: &Ask, health: bool) -> ScatterAnswer {
    let snapshot = store.snapshot();
    let (fitting, late) = fitting_traces(store, &snapshot, ask);
    let mut points = Vec::new();
    each_fitting(store, fitting.as_ref(), |id, trace| {
        if (health || !trace.health) && ask.window.has(trace.start) {
            let duration = trace.end.saturating_sub(trace.start);
            points.push((Ns(trace.start), Ns(duration), trace.errors > 0, Hex16(*id)));
        }
    });
    points.sort_unstable();
    let total = points.len();
    if total > ask.limit && ask.limit > 0 {
        // Extremes say most: of each stretch the longest, and errors before others.
        let stretch = total.div_ceil(ask.limit);
        let kept = points
            .chunks(stretch)
            .filter_map(|chunk| chunk.iter().max_by_key(|point| (point.2, point.1)).copied());
        points = kept.collect();
    }
    let mut head = Head::new(store, ask, Signal::Traces, total as u64, points.len());
    head.truncated |= late;
    ScatterAnswer { head, points }
}
