//! Rows of a waterfall: spans in tree order, by ranges; the minimap and the search over them; spans of all traces.

use std::collections::HashMap;

use serde::Serialize;

use super::traces::{kind_name, status_name};
use super::tree::{Node, Tree, tree_of};
use super::{Ask, Attr, Failure, Head, Hex8, Hex16, Ns, SignedNs, TraceRow, find_rows, newest_rows, row_of_trace};
use crate::dev::query::{LEVELS, Query, Window};
use crate::dev::store::{Place, Segment, Store, Trace, TraceId};
use crate::pdata::Signal;

/// Events and log ticks on one row.
const MOST_TICKS: usize = 20;

/// A span in a list: `Row` of the API.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Position in the tree order.
    pub i: usize,
    pub span_id: Hex8,
    pub parent_id: Hex8,
    pub depth: u32,
    pub descendants: u32,
    pub service: String,
    pub name: String,
    pub kind: &'static str,
    pub status: &'static str,
    pub status_message: String,
    /// From the start of the trace.
    pub start: SignedNs,
    pub duration: Ns,
    #[serde(rename = "self")]
    pub self_time: Ns,
    pub events: Vec<EventTick>,
    pub links: usize,
    pub logs: Vec<LogTick>,
    pub missing_parent: bool,
    pub late: bool,
    pub cut_cycle: bool,
    pub alike: Option<Alike>,
    pub gen_ai: Option<GenAi>,
}

/// An event on a row.
#[derive(Clone, Debug, Serialize)]
pub struct EventTick {
    /// From the start of the trace.
    pub t: SignedNs,
    pub name: String,
    pub exception: bool,
}

/// A log record on a row.
#[derive(Clone, Debug, Serialize)]
pub struct LogTick {
    /// From the start of the trace.
    pub t: SignedNs,
    pub severity: &'static str,
}

/// Siblings with the same service, name and kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Alike {
    pub count: u32,
    pub sum: Ns,
}

/// A call of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GenAi {
    pub system: Option<String>,
    pub model: Option<String>,
    pub operation: Option<String>,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
}

/// `GET /api/v1/traces/{id}`.
#[derive(Debug, Serialize)]
pub struct TraceRows {
    pub v: u8,
    pub trace: TraceRow,
    pub max_depth: u32,
    pub rows_total: usize,
    pub services: Vec<ServiceShare>,
    pub missing_parents: usize,
    pub skew: Vec<Skew>,
    pub lints: Vec<serde_json::Value>,
    pub rows: Vec<Row>,
}

/// What a service did in a trace.
#[derive(Debug, Serialize)]
pub struct ServiceShare {
    pub name: String,
    pub spans: u32,
    pub errors: u32,
    #[serde(rename = "self")]
    pub self_time: Ns,
}

/// A service whose clock seems to be off: its spans begin before the calls that caused them.
#[derive(Debug, Serialize)]
pub struct Skew {
    pub service: String,
    pub by: Ns,
}

/// The rows of a trace from `offset` on.
///
/// # Errors
/// Where there is no such trace.
pub fn trace_rows(store: &Store, id: &TraceId, offset: usize, limit: usize, now: u64) -> Result<TraceRows, Failure> {
    let (trace, tree) = tree(store, id)?;
    let logs = LogTicks::of(store, id, &trace);
    let rows = tree.nodes.iter().enumerate().skip(offset).take(limit);
    let rows: Vec<Row> = rows
        .map(|(at, node)| row_of(&tree, at, node, trace.start, &logs))
        .collect();
    let shown = row_of_trace(store, &store.snapshot(), id, now);
    Ok(TraceRows {
        v: 1,
        trace: shown.ok_or_else(|| Failure::Missing(format!("trace {} was just evicted", hex::encode(id))))?,
        max_depth: tree.max_depth,
        rows_total: tree.nodes.len(),
        services: services_of(&tree),
        missing_parents: tree.nodes.iter().filter(|node| node.missing_parent).count(),
        skew: skew_of(&tree),
        lints: store
            .findings()
            .map(|findings| findings.details(id, None))
            .unwrap_or_default(),
        rows,
    })
}

fn tree(store: &Store, id: &TraceId) -> Result<(Trace, std::sync::Arc<Tree>), Failure> {
    tree_of(store, id).ok_or_else(|| Failure::Missing(format!("there is no trace {}", hex::encode(id))))
}

fn from_start(time: u64, start: u64) -> SignedNs {
    SignedNs(time.wrapping_sub(start) as i64)
}

/// One row; `start` is that of the trace.
pub(super) fn row_of(tree: &Tree, at: usize, node: &Node, start: u64, logs: &LogTicks) -> Row {
    let (segment, row) = tree.place(node);
    let events = segment.events(row).iter().take(MOST_TICKS).map(|event| EventTick {
        t: from_start(event.time, start),
        name: segment.texts.get(event.name).to_owned(),
        exception: event.exception,
    });
    let span = segment.span(row);
    let logs = logs.0.get(&span).map(Vec::as_slice).unwrap_or_default().iter();
    Row {
        i: at,
        span_id: Hex8(span),
        parent_id: Hex8(segment.parents[row]),
        depth: node.depth,
        descendants: node.descendants,
        service: segment.service(row).to_owned(),
        name: segment.name(row).to_owned(),
        kind: kind_name(segment.kinds[row]),
        status: status_name(segment.statuses[row]),
        status_message: segment.texts.get(segment.messages[row]).to_owned(),
        start: from_start(segment.starts[row], start),
        duration: Ns(segment.durations[row]),
        self_time: Ns(node.self_time),
        events: events.collect(),
        links: segment.links(row).len(),
        logs: logs
            .map(|(time, severity)| LogTick {
                t: from_start(*time, start),
                severity: level_name(*severity),
            })
            .collect(),
        missing_parent: node.missing_parent,
        late: node.late,
        cut_cycle: node.cut_cycle,
        alike: node.alike.map(|(count, sum)| Alike { count, sum: Ns(sum) }),
        gen_ai: gen_ai(segment, row),
    }
}

/// Level of a severity number; 0 is shown as information.
pub(super) fn level_name(number: u8) -> &'static str {
    let level = usize::from(number.clamp(1, 24) - 1) / 4;
    if number == 0 { "info" } else { LEVELS[level] }
}

/// Time and severity of log records by span.
#[derive(Default)]
pub(super) struct LogTicks(HashMap<u64, Vec<(u64, u8)>>);

impl LogTicks {
    pub fn of(store: &Store, id: &TraceId, trace: &Trace) -> Self {
        let mut ticks = Self::default();
        if trace.log_segments.is_empty() {
            return ticks;
        }
        let snapshot = store.snapshot();
        for seq in &trace.log_segments {
            let Some(segment) = snapshot.get(Signal::Logs, *seq) else {
                continue;
            };
            for (row, of) in segment.traces.iter().enumerate() {
                if of == id {
                    let of_span = ticks.0.entry(segment.span(row)).or_default();
                    if of_span.len() < MOST_TICKS {
                        of_span.push((segment.starts[row], segment.kinds[row]));
                    }
                }
            }
        }
        ticks
    }
}

const SYSTEM: [&str; 3] = ["gen_ai.provider.name", "gen_ai.system", "llm.system"];
const MODEL: [&str; 4] = [
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "embedding.model_name",
];
const OPERATION: [&str; 2] = ["gen_ai.operation.name", "openinference.span.kind"];
const INPUT: [&str; 3] = [
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
];
const OUTPUT: [&str; 3] = [
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
];

/// What a span says of a call of a model, by the conventions of OpenTelemetry or OpenInference.
pub fn gen_ai(segment: &Segment, row: usize) -> Option<GenAi> {
    let mut any = false;
    for at in segment.attributes(row) {
        let key = segment.texts.get(segment.pairs.get(*at).key);
        any |= key.starts_with("gen_ai.") || key.starts_with("llm.") || key == "openinference.span.kind";
    }
    if !any {
        return None;
    }
    let text = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| segment.attribute(row, key))
            .map(str::to_owned)
    };
    let number = |keys: &[&str]| keys.iter().find_map(|key| segment.attribute(row, key)?.parse().ok());
    Some(GenAi {
        system: text(&SYSTEM),
        model: text(&MODEL),
        operation: text(&OPERATION),
        input_tokens: number(&INPUT),
        output_tokens: number(&OUTPUT),
    })
}

fn services_of(tree: &Tree) -> Vec<ServiceShare> {
    let mut by_name: HashMap<&str, (u32, u32, u64)> = HashMap::new();
    for node in &tree.nodes {
        let (segment, row) = tree.place(node);
        let sum = by_name.entry(segment.service(row)).or_default();
        sum.0 += 1;
        sum.1 += u32::from(segment.statuses[row] == 2);
        sum.2 = sum.2.saturating_add(node.self_time);
    }
    let mut services: Vec<ServiceShare> = by_name
        .into_iter()
        .map(|(name, (spans, errors, own))| ServiceShare {
            name: name.to_owned(),
            spans,
            errors,
            self_time: Ns(own),
        })
        .collect();
    services.sort_by(|a, b| (b.self_time, &a.name).cmp(&(a.self_time, &b.name)));
    services
}

/// A server span cannot begin before the client span that called it: the worst case of each service.
fn skew_of(tree: &Tree) -> Vec<Skew> {
    let mut worst: HashMap<&str, u64> = HashMap::new();
    for node in &tree.nodes {
        let Some(parent) = node.parent else { continue };
        let parent = &tree.nodes[parent as usize];
        let ((of, row), (by, caller)) = (tree.place(node), tree.place(parent));
        let is_call = of.kinds[row] == 2 && by.kinds[caller] == 3 && of.service(row) != by.service(caller);
        let early = by.starts[caller].saturating_sub(of.starts[row]);
        if is_call && early > 0 {
            let known = worst.entry(of.service(row)).or_default();
            *known = early.max(*known);
        }
    }
    let mut all: Vec<Skew> = worst
        .into_iter()
        .map(|(service, by)| Skew {
            service: service.to_owned(),
            by: Ns(by),
        })
        .collect();
    all.sort_by(|a, b| (b.by, &a.service).cmp(&(a.by, &b.service)));
    all
}

/// `GET /api/v1/traces/{id}/minimap`.
#[derive(Debug, Serialize)]
pub struct Minimap {
    pub v: u8,
    pub buckets: Vec<MinimapBucket>,
}

/// What runs in a stretch of a trace; times from its start.
#[derive(Clone, Debug, Serialize)]
pub struct MinimapBucket {
    pub from: Ns,
    pub to: Ns,
    /// Spans that run in it.
    pub spans: u32,
    pub errors: u32,
    /// The deepest of them.
    pub depth: u32,
}

/// A trace in `width` stretches.
///
/// # Errors
/// Where there is no such trace.
pub fn minimap(store: &Store, id: &TraceId, width: usize) -> Result<Minimap, Failure> {
    let (trace, tree) = tree(store, id)?;
    let width = width.clamp(1, 2_000);
    let length = trace.end.saturating_sub(trace.start).max(1);
    let place =
        |time: u64| (u128::from(time.saturating_sub(trace.start)) * width as u128 / u128::from(length)) as usize;
    let edge = |at: usize| Ns((u128::from(length) * at as u128 / width as u128) as u64);
    let mut buckets: Vec<MinimapBucket> = (0..width)
        .map(|at| MinimapBucket {
            from: edge(at),
            to: edge(at + 1),
            spans: 0,
            errors: 0,
            depth: 0,
        })
        .collect();
    // Differences: a span costs two additions however long it is. The depth is that of spans that begin here.
    let mut change = vec![(0_i64, 0_i64); width + 1];
    for node in &tree.nodes {
        let (segment, row) = tree.place(node);
        let error = i64::from(segment.statuses[row] == 2);
        let from = place(tree.start(node)).min(width - 1);
        // The end itself is not in it any more.
        let to = place(tree.end(node).saturating_sub(1)).clamp(from, width - 1);
        change[from].0 += 1;
        change[from].1 += error;
        change[to + 1].0 -= 1;
        change[to + 1].1 -= error;
        buckets[from].depth = buckets[from].depth.max(node.depth);
    }
    let (mut spans, mut errors) = (0, 0);
    for (bucket, change) in buckets.iter_mut().zip(change) {
        spans += change.0;
        errors += change.1;
        bucket.spans = spans as u32;
        bucket.errors = errors as u32;
    }
    Ok(Minimap { v: 1, buckets })
}

/// `GET /api/v1/traces/{id}/search`.
#[derive(Debug, Serialize)]
pub struct InTrace {
    pub v: u8,
    pub total: usize,
    /// Positions in the tree order.
    pub rows: Vec<usize>,
}

/// The rows of a trace that fit a query.
///
/// # Errors
/// Where there is no such trace.
pub fn search_in_trace(store: &Store, id: &TraceId, query: &Query) -> Result<InTrace, Failure> {
    let (_, tree) = tree(store, id)?;
    let extras = super::find::StoreExtras::new(store);
    let fitting: Vec<_> = tree
        .segments
        .iter()
        .map(|segment| query.rows(segment, Window::ALL, &extras))
        .collect();
    let rows = tree.nodes.iter().enumerate();
    let rows = rows.filter(|(_, node)| fitting[node.segment as usize].has(node.row as usize));
    let rows: Vec<usize> = rows.map(|(at, _)| at).collect();
    Ok(InTrace {
        v: 1,
        total: rows.len(),
        rows,
    })
}

/// A span in a list of spans of several traces.
#[derive(Debug, Serialize)]
pub struct SpanRow {
    pub trace_id: Hex16,
    /// Nanoseconds since the epoch.
    pub time: Ns,
    #[serde(flatten)]
    pub row: Row,
    pub attributes: Vec<Attr>,
}

/// `GET /api/v1/spans`.
#[derive(Debug, Serialize)]
pub struct Spans {
    #[serde(flatten)]
    pub head: Head,
    pub spans: Vec<SpanRow>,
}

/// The newest spans that fit.
pub fn spans(store: &Store, ask: &Ask) -> Spans {
    let snapshot = store.snapshot();
    let (found, late) = find_rows(store, &snapshot, ask, Signal::Traces);
    let total: usize = found.iter().map(|found| found.rows.count()).sum();
    let offset = ask.offset();
    let newest = newest_rows(&found, offset.saturating_add(ask.limit));
    let mut spans = Vec::new();
    for (time, at, row) in newest.into_iter().skip(offset) {
        let segment = &found[at].segment;
        let id = segment.trace(row);
        let Some((trace, tree)) = tree_of(store, &id) else {
            continue;
        };
        let Some(position) = tree.position(segment.span(row)) else {
            continue;
        };
        spans.push(SpanRow {
            trace_id: Hex16(id),
            time: Ns(time),
            row: row_of(
                &tree,
                position,
                &tree.nodes[position],
                trace.start,
                &LogTicks::default(),
            ),
            attributes: Attr::of_pairs(segment, segment.attributes(row), Place::Own),
        });
    }
    let mut head = Head::new(store, ask, Signal::Traces, total as u64, offset + spans.len());
    head.cursor = head.truncated.then(|| (offset + spans.len()).to_string());
    head.truncated |= late;
    Spans { head, spans }
}
