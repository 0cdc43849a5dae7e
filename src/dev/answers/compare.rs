//! Two traces, or two runs, side by side.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::flame::Frames;
use super::traces::run_ids;
use super::tree::tree_of;
use super::{Failure, Ns, trace_named};
use crate::dev::store::{Place, Store, TraceId};

/// Traces of a run that are put together.
const MOST_TRACES: usize = 2_000;
/// Rows and attributes of an answer.
const MOST_ROWS: usize = 2_000;
const MOST_ATTRIBUTES: usize = 200;

/// `GET /api/v1/compare`.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub v: u8,
    /// `traces` or `runs`.
    pub kind: &'static str,
    pub a: String,
    pub b: String,
    pub truncated: bool,
    pub rows: Vec<ComparedRow>,
    pub attributes: Vec<ComparedAttribute>,
    pub summary: Summary,
}

/// Spans with the same ancestors on both sides.
#[derive(Debug, Serialize)]
pub struct ComparedRow {
    pub depth: usize,
    pub service: String,
    pub name: String,
    pub a: Option<Side>,
    pub b: Option<Side>,
    /// `added`, `removed`, `slower`, `faster` or `same`.
    pub change: &'static str,
}

/// One side of a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Side {
    pub count: u64,
    /// The mean of its spans.
    pub duration: Ns,
    pub errors: u64,
}

/// A key whose values differ.
#[derive(Debug, Serialize)]
pub struct ComparedAttribute {
    pub key: String,
    pub a: Option<String>,
    pub b: Option<String>,
}

/// Both sides of a figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Both<T> {
    pub a: T,
    pub b: T,
}

/// Durations of the traces and failed spans.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub traces: Both<usize>,
    pub spans: Both<u64>,
    pub p50: Both<Ns>,
    pub p95: Both<Ns>,
    pub errors: Both<u64>,
}

/// One side with all that is compared.
struct Gathered {
    frames: Frames,
    durations: Vec<u64>,
    spans: u64,
    errors: u64,
    attributes: BTreeMap<String, BTreeSet<String>>,
    truncated: bool,
}

/// Compares two traces (ids or unique beginnings of ids) or two runs.
///
/// # Errors
/// Where one of the two is neither.
pub fn compare(store: &Store, a: &str, b: &str) -> Result<Comparison, Failure> {
    let (kind, ids_a, ids_b) = match (trace_named(store, a), trace_named(store, b)) {
        (Ok(a), Ok(b)) => ("traces", vec![a], vec![b]),
        (left, right) => {
            let runs = (run_ids(store, a, MOST_TRACES), run_ids(store, b, MOST_TRACES));
            let (Some(run_a), Some(run_b)) = runs else {
                let ambiguous = [left, right]
                    .into_iter()
                    .find(|side| matches!(side, Err(Failure::Ambiguous { .. })));
                let missing = || Failure::Missing(format!("{a:?} and {b:?} are neither two traces nor two runs"));
                return Err(ambiguous.and_then(Result::err).unwrap_or_else(missing));
            };
            ("runs", run_a, run_b)
        }
    };
    let (left, right) = (gather(store, &ids_a), gather(store, &ids_b));
    let mut rows = Vec::new();
    align(&left.frames, &right.frames, &mut rows);
    let truncated = left.truncated || right.truncated || rows.len() >= MOST_ROWS;
    Ok(Comparison {
        v: 1,
        kind,
        a: a.to_owned(),
        b: b.to_owned(),
        truncated,
        rows,
        attributes: attributes(&left, &right),
        summary: Summary {
            traces: both(&left, &right, |side| side.durations.len()),
            spans: both(&left, &right, |side| side.spans),
            p50: both(&left, &right, |side| Ns(share(&side.durations, 0.5))),
            p95: both(&left, &right, |side| Ns(share(&side.durations, 0.95))),
            errors: both(&left, &right, |side| side.errors),
        },
    })
}

fn both<T>(a: &Gathered, b: &Gathered, figure: impl Fn(&Gathered) -> T) -> Both<T> {
    Both {
        a: figure(a),
        b: figure(b),
    }
}

/// The value at this share of a sorted list.
pub(super) fn share(sorted: &[u64], share: f64) -> u64 {
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

fn gather(store: &Store, ids: &[TraceId]) -> Gathered {
    let mut side = Gathered {
        frames: Frames::new(),
        durations: Vec::new(),
        spans: 0,
        errors: 0,
        attributes: BTreeMap::new(),
        truncated: ids.len() >= MOST_TRACES,
    };
    for id in ids {
        let Some((trace, tree)) = tree_of(store, id) else {
            continue;
        };
        side.frames.add(&tree);
        side.durations.push(trace.end.saturating_sub(trace.start));
        side.spans += tree.nodes.len() as u64;
        side.errors += u64::from(trace.errors);
        for node in tree.nodes.iter().filter(|node| node.parent.is_none()) {
            let (segment, row) = tree.place(node);
            let pairs = segment.attributes(row).iter().chain(&segment.resource_of(row).pairs);
            for pair in pairs
                .map(|at| segment.pairs.get(*at))
                .filter(|pair| pair.place != Place::Event)
            {
                let values = side
                    .attributes
                    .entry(segment.texts.get(pair.key).to_owned())
                    .or_default();
                // Of a key with many values the first few say enough.
                if values.len() < 5 {
                    values.insert(segment.texts.get(pair.value).to_owned());
                }
            }
        }
    }
    side.durations.sort_unstable();
    side.truncated |= side.frames.truncated;
    side
}

/// Frames of both sides in tree order; those of one side alone stand after what both have.
fn align(a: &Frames, b: &Frames, rows: &mut Vec<ComparedRow>) {
    let mut stack: Vec<(Option<usize>, Option<usize>)> = vec![(Some(0), Some(0))];
    while let Some((left, right)) = stack.pop() {
        if rows.len() >= MOST_ROWS {
            return;
        }
        let frame = left.map(|at| &a.list[at]).or(right.map(|at| &b.list[at]));
        if let Some(frame) = frame.filter(|frame| frame.depth > 0) {
            let side = |frames: &Frames, at: Option<usize>| {
                let frame = &frames.list[at?];
                Some(Side {
                    count: frame.count,
                    duration: Ns(frame.total / frame.count.max(1)),
                    errors: frame.errors,
                })
            };
            let (one, other) = (side(a, left), side(b, right));
            rows.push(ComparedRow {
                depth: frame.depth - 1,
                service: frame.service.clone(),
                name: frame.name.clone(),
                a: one,
                b: other,
                change: change(one, other),
            });
        }
        let mut of_right: HashMap<(&str, &str), usize> = HashMap::new();
        for child in right.map(|at| &b.list[at].children).into_iter().flatten() {
            of_right.insert((&b.list[*child].service, &b.list[*child].name), *child);
        }
        let mut pairs: Vec<(Option<usize>, Option<usize>)> = Vec::new();
        for child in left.map(|at| &a.list[at].children).into_iter().flatten() {
            let frame = &a.list[*child];
            pairs.push((Some(*child), of_right.remove(&(&*frame.service, &*frame.name))));
        }
        let mut only_right: Vec<usize> = of_right.into_values().collect();
        only_right.sort_unstable();
        pairs.extend(only_right.into_iter().map(|child| (None, Some(child))));
        stack.extend(pairs.into_iter().rev());
    }
}

/// A fifth and a millisecond more or less is a change; below that it is noise.
fn change(a: Option<Side>, b: Option<Side>) -> &'static str {
    let (Some(a), Some(b)) = (a, b) else {
        return if a.is_none() { "added" } else { "removed" };
    };
    let (before, after) = (a.duration.0, b.duration.0);
    let limit = (before / 5).max(1_000_000);
    if after > before.saturating_add(limit) {
        "slower"
    } else if before > after.saturating_add((after / 5).max(1_000_000)) {
        "faster"
    } else {
        "same"
    }
}

fn attributes(a: &Gathered, b: &Gathered) -> Vec<ComparedAttribute> {
    let keys: BTreeSet<&String> = a.attributes.keys().chain(b.attributes.keys()).collect();
    let shown = |side: &Gathered, key: &String| {
        let values = side.attributes.get(key)?;
        Some(values.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let rows = keys.into_iter().map(|key| ComparedAttribute {
        key: key.clone(),
        a: shown(a, key),
        b: shown(b, key),
    });
    rows.filter(|row| row.a != row.b).take(MOST_ATTRIBUTES).collect()
}
