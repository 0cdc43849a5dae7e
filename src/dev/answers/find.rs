//! Rows that fit a question, newest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::{Ask, Failure, tree};
use crate::dev::query::{Bits, Extras};
use crate::dev::store::{Findings, Segment, Snapshot, Store, TraceId};
use crate::pdata::Signal;

/// The rows of one segment that fit.
pub struct Found {
    pub segment: Arc<Segment>,
    pub rows: Bits,
}

/// What a query asks beyond rows, answered from the store.
pub struct StoreExtras<'a> {
    findings: Option<Arc<dyn Findings>>,
    trees: tree::Trees<'a>,
}

impl<'a> StoreExtras<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self {
            findings: store.findings(),
            trees: tree::Trees::new(store),
        }
    }
}

impl Extras for StoreExtras<'_> {
    fn self_time(&self, segment: &Segment, row: usize) -> Option<u64> {
        self.trees.self_time(&segment.trace(row), segment.span(row))
    }

    fn rules(&self, segment: &Segment, row: usize) -> Vec<String> {
        self.findings
            .as_ref()
            .map(|findings| findings.rules(&segment.trace(row), Some(segment.span(row))))
            .unwrap_or_default()
    }
}

/// The rows of a signal that fit, by segment, newest segment first; those without any are left out. `true` where the time
/// was over before all was looked at.
pub fn find_rows(store: &Store, snapshot: &Snapshot, ask: &Ask, signal: Signal) -> (Vec<Found>, bool) {
    let extras = StoreExtras::new(store);
    let mut found = Vec::new();
    for segment in snapshot.of(signal).iter().rev() {
        if ask.is_late() {
            return (found, true);
        }
        let rows = ask.query.rows(segment, ask.window, &extras);
        if !rows.is_empty() {
            found.push(Found {
                segment: Arc::clone(segment),
                rows,
            });
        }
    }
    (found, false)
}

/// The newest of what was found, at most `count`: time, position in `found`, row. Of equal times what came last first.
pub fn newest_rows(found: &[Found], count: usize) -> Vec<(u64, usize, usize)> {
    // The oldest of those kept stands at the top.
    let mut kept: BinaryHeap<Reverse<(u64, Reverse<usize>, usize)>> = BinaryHeap::new();
    for (at, found) in found.iter().enumerate() {
        let oldest = kept
            .peek()
            .filter(|_| kept.len() >= count)
            .map(|Reverse((time, ..))| *time);
        if oldest.is_some_and(|oldest| found.segment.last_time < oldest) {
            continue;
        }
        for row in found.rows.rows() {
            kept.push(Reverse((found.segment.starts[row], Reverse(at), row)));
            if kept.len() > count {
                kept.pop();
            }
        }
    }
    let mut rows: Vec<_> = kept.into_iter().map(|Reverse(row)| row).collect();
    rows.sort_unstable_by(|a, b| b.cmp(a));
    rows.into_iter()
        .map(|(time, Reverse(at), row)| (time, at, row))
        .collect()
}

/// The trace of an id, or of the beginning of one.
///
/// # Errors
/// Where there is none, or several.
pub fn trace_named(store: &Store, text: &str) -> Result<TraceId, Failure> {
    const MOST: usize = 20;
    let text = text.to_ascii_lowercase();
    let mut whole = TraceId::default();
    let missing = || Failure::Missing(format!("there is no trace {text}"));
    if hex::decode_to_slice(&text, &mut whole).is_ok() {
        let known = store.traces().get(&whole).is_some_and(|trace| trace.spans > 0);
        return if known { Ok(whole) } else { Err(missing()) };
    }
    if text.len() < 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(missing());
    }
    let candidates = store.traces().with_prefix(&text, MOST);
    match candidates.as_slice() {
        [] => Err(missing()),
        [one] => Ok(*one),
        several => Err(Failure::Ambiguous {
            candidates: several.iter().map(hex::encode).collect(),
            prefix: text,
        }),
    }
}
