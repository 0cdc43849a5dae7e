//! Log records: the list, one with its surroundings, and histograms over time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::common::cut;
use super::rows::level_name;
use super::span::{ResourceShown, ScopeShown, groups_of, raw_json};
use super::{Ask, Attr, Failure, Head, Hex8, Hex16, Ns, find_rows, newest_rows};
use crate::dev::store::{Place, RawReader, Segment, Snapshot, Store, ValueKind};
use crate::pdata::Signal;
use crate::wire::{LogRecord, View};

/// Bytes of a body in a list.
const LIST_BODY: usize = 4 << 10;

/// A log record in a list: `LogRow` of the API.
#[derive(Clone, Debug, Serialize)]
pub struct LogRow {
    /// Segment and row: found again until it is evicted.
    pub id: String,
    pub time: Ns,
    pub observed: Ns,
    pub severity: Severity,
    pub service: String,
    pub body: String,
    pub body_type: &'static str,
    pub event_name: String,
    pub trace_id: Hex16,
    pub span_id: Hex8,
    pub attributes: Vec<Attr>,
    pub run: Option<String>,
}

/// How severe.
#[derive(Clone, Debug, Serialize)]
pub struct Severity {
    pub number: u8,
    pub text: String,
    pub level: &'static str,
}

/// `GET /api/v1/logs`.
#[derive(Debug, Serialize)]
pub struct Logs {
    #[serde(flatten)]
    pub head: Head,
    pub logs: Vec<LogRow>,
}

const KINDS: [ValueKind; 8] = [
    ValueKind::None,
    ValueKind::String,
    ValueKind::Bool,
    ValueKind::Int,
    ValueKind::Double,
    ValueKind::Bytes,
    ValueKind::Array,
    ValueKind::Map,
];

/// One log record.
pub fn log_row(segment: &Segment, row: usize) -> LogRow {
    let texts = &segment.texts;
    let run = segment.resource_of(row).run;
    let kind = KINDS
        .get(usize::from(segment.statuses[row]))
        .copied()
        .unwrap_or(ValueKind::None);
    LogRow {
        id: format!("{}-{row}", segment.seq),
        time: Ns(segment.starts[row]),
        observed: Ns(segment.durations[row]),
        severity: Severity {
            number: segment.kinds[row],
            text: texts.get(segment.parents[row] as u32).to_owned(),
            level: level_name(segment.kinds[row]),
        },
        service: segment.service(row).to_owned(),
        body: cut(texts.get(segment.messages[row]), LIST_BODY),
        body_type: kind.name(),
        event_name: segment.name(row).to_owned(),
        trace_id: Hex16(segment.trace(row)),
        span_id: Hex8(segment.span(row)),
        attributes: Attr::of_pairs(segment, segment.attributes(row), Place::Own),
        run: (run != 0).then(|| texts.get(run).to_owned()),
    }
}

/// The newest log records that fit.
pub fn logs(store: &Store, ask: &Ask) -> Logs {
    let snapshot = store.snapshot();
    let (found, late) = find_rows(store, &snapshot, ask, Signal::Logs);
    let total: usize = found.iter().map(|found| found.rows.count()).sum();
    let offset = ask.offset();
    let rows = newest_rows(&found, offset.saturating_add(ask.limit))
        .into_iter()
        .skip(offset);
    let logs: Vec<LogRow> = rows.map(|(_, at, row)| log_row(&found[at].segment, row)).collect();
    let mut head = Head::new(store, ask, Signal::Logs, total as u64, offset + logs.len());
    head.cursor = head.truncated.then(|| (offset + logs.len()).to_string());
    head.truncated |= late;
    Logs { head, logs }
}

/// `GET /api/v1/logs/{id}`.
#[derive(Debug, Serialize)]
pub struct LogDetail {
    pub v: u8,
    pub log: LogRow,
    /// The body as JSON, where it is an array or a map.
    pub body_tree: Option<serde_json::Value>,
    pub resource: ResourceShown,
    pub scope: ScopeShown,
    /// Records of the same service just before, oldest first.
    pub before: Vec<LogRow>,
    /// And just after.
    pub after: Vec<LogRow>,
    pub raw: serde_json::Value,
}

/// One log record, with `context` records of its service before and after.
///
/// # Errors
/// Where there is none of this id.
pub fn log(store: &Store, id: &str, context: usize) -> Result<LogDetail, Failure> {
    let snapshot = store.snapshot();
    let missing = || Failure::Missing(format!("there is no log record {id}, or it was evicted"));
    let (seq, row) = id.split_once('-').ok_or_else(missing)?;
    let (seq, row): (u32, usize) = (seq.parse().map_err(|_| missing())?, row.parse().map_err(|_| missing())?);
    let segment = snapshot
        .get(Signal::Logs, seq)
        .filter(|segment| row < segment.len())
        .ok_or_else(missing)?;
    let mut log = log_row(segment, row);
    let (at, len) = segment.raw_place(row);
    let raw = RawReader::new(&segment.raw).read(at, len).to_vec();
    let record = LogRecord::of(&raw);
    let mut body_tree = None;
    if let Ok(body) = record.body() {
        if let Ok((kind, text)) = crate::dev::store::text_of(&body) {
            log.body = text.into_owned();
            if matches!(kind, ValueKind::Array | ValueKind::Map) {
                body_tree = crate::dev::store::json_of(&body, 0).ok();
            }
        }
        log.attributes = Attr::of_wire(record.attributes()).unwrap_or(log.attributes);
    }
    let (before, after) = around(
        &snapshot,
        (segment.starts[row], seq, row),
        segment.service(row),
        context.min(100),
    );
    let (resource, scope) = groups_of(segment, row).unwrap_or_default();
    Ok(LogDetail {
        v: 1,
        log,
        body_tree,
        resource,
        scope,
        before,
        after,
        raw: raw_json(segment, row),
    })
}

/// Time, segment and row.
type LogPlace = (u64, u32, usize);

/// The records of a service next to a place.
fn around(snapshot: &Snapshot, place: LogPlace, service: &str, count: usize) -> (Vec<LogRow>, Vec<LogRow>) {
    let mut before = Vec::new();
    let mut after = Vec::new();
    for segment in snapshot.of(Signal::Logs) {
        for row in 0..segment.len() {
            let here = (segment.starts[row], segment.seq, row);
            if here == place || segment.service(row) != service {
                continue;
            }
            let side = if here < place { &mut before } else { &mut after };
            side.push((here, segment));
        }
        // Only the nearest are kept, so that a flood does not cost a list as long.
        before.sort_unstable_by_key(|(here, _)| std::cmp::Reverse(*here));
        before.truncate(count);
        after.sort_unstable_by_key(|(here, _)| *here);
        after.truncate(count);
    }
    before.reverse();
    let rows = |list: Vec<(LogPlace, &std::sync::Arc<Segment>)>| {
        list.into_iter()
            .map(|((_, _, row), segment)| log_row(segment, row))
            .collect()
    };
    (rows(before), rows(after))
}

/// `GET /api/v1/logs/histogram` and `GET /api/v1/traces/histogram`.
#[derive(Debug, Serialize)]
pub struct Histogram {
    #[serde(flatten)]
    pub head: Head,
    pub buckets: Vec<HistogramBucket>,
}

/// A stretch of time and what fell into it.
#[derive(Clone, Debug, Serialize)]
pub struct HistogramBucket {
    pub from: Ns,
    pub to: Ns,
    pub counts: BTreeMap<&'static str, u64>,
}

/// Log records that fit by time and level.
pub fn log_histogram(store: &Store, ask: &Ask, buckets: usize) -> Histogram {
    histogram(store, ask, buckets, Signal::Logs, |segment, row| {
        level_name(segment.kinds[row])
    })
}

/// Spans that fit by time, `ok` or `error`.
pub fn trace_histogram(store: &Store, ask: &Ask, buckets: usize) -> Histogram {
    histogram(store, ask, buckets, Signal::Traces, |segment, row| {
        if segment.statuses[row] == 2 { "error" } else { "ok" }
    })
}

fn histogram(
    store: &Store,
    ask: &Ask,
    buckets: usize,
    signal: Signal,
    name: impl Fn(&Segment, usize) -> &'static str,
) -> Histogram {
    let snapshot = store.snapshot();
    let (found, late) = find_rows(store, &snapshot, ask, signal);
    let total: usize = found.iter().map(|found| found.rows.count()).sum();
    let buckets = buckets.clamp(1, 1_000);
    let (mut from, mut to) = (ask.window.from, ask.window.to);
    let of_found = || {
        found
            .iter()
            .flat_map(|found| found.rows.rows().map(|row| found.segment.starts[row]))
    };
    if from == 0 {
        from = of_found().min().unwrap_or(ask.now);
    }
    if to == u64::MAX {
        to = of_found().max().unwrap_or(ask.now).saturating_add(1);
    }
    let length = to.saturating_sub(from).max(1);
    let edge = |at: usize| Ns(from + (u128::from(length) * at as u128 / buckets as u128) as u64);
    let mut list: Vec<HistogramBucket> = (0..buckets)
        .map(|at| HistogramBucket {
            from: edge(at),
            to: edge(at + 1),
            counts: BTreeMap::new(),
        })
        .collect();
    for found in &found {
        for row in found.rows.rows() {
            let since = found.segment.starts[row].saturating_sub(from);
            let at = (u128::from(since) * buckets as u128 / u128::from(length)) as usize;
            let bucket = &mut list[at.min(buckets - 1)];
            *bucket.counts.entry(name(&found.segment, row)).or_default() += 1;
        }
    }
    let mut head = Head::new(store, ask, signal, total as u64, total);
    head.truncated = late;
    Histogram { head, buckets: list }
}
