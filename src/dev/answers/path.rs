//! The critical path: what a trace was waiting for at every moment.

use std::collections::HashMap;

use serde::Serialize;

use super::tree::{Tree, tree_of};
use super::{Failure, Hex8, Ns};
use crate::dev::store::{Store, TraceId};

/// Pieces of a path that are listed.
const MOST: usize = 2_000;

/// `GET /api/v1/traces/{id}/critical-path`.
#[derive(Debug, Serialize)]
pub struct CriticalPath {
    pub v: u8,
    pub truncated: bool,
    /// In order of time.
    pub path: Vec<Piece>,
    pub share: Vec<Share>,
}

/// A stretch of a span that the trace waited for; times from the start of the trace.
#[derive(Clone, Debug, Serialize)]
pub struct Piece {
    pub span_id: Hex8,
    pub service: String,
    pub name: String,
    pub from: Ns,
    pub to: Ns,
}

/// What of the path is a service's.
#[derive(Debug, Serialize)]
pub struct Share {
    pub service: String,
    pub duration: Ns,
    pub percent: f64,
}

/// A stretch of a node.
type Stretch = (usize, u64, u64);

/// The critical path below the first root of a trace.
///
/// # Errors
/// Where there is no such trace.
pub fn critical_path(store: &Store, id: &TraceId) -> Result<CriticalPath, Failure> {
    let missing = || Failure::Missing(format!("there is no trace {}", hex::encode(id)));
    let (trace, tree) = tree_of(store, id).ok_or_else(missing)?;
    let stretches = stretches(&tree);
    let mut by_service: HashMap<&str, u64> = HashMap::new();
    for (node, from, to) in &stretches {
        let (segment, row) = tree.place(&tree.nodes[*node]);
        *by_service.entry(segment.service(row)).or_default() += to - from;
    }
    let whole: u64 = by_service.values().sum();
    let mut share: Vec<Share> = by_service
        .into_iter()
        .map(|(service, duration)| Share {
            service: service.to_owned(),
            duration: Ns(duration),
            percent: (duration as f64 * 1_000.0 / whole.max(1) as f64).round() / 10.0,
        })
        .collect();
    share.sort_by(|a, b| (b.duration, &a.service).cmp(&(a.duration, &b.service)));
    let path = stretches.iter().take(MOST).map(|(node, from, to)| {
        let (segment, row) = tree.place(&tree.nodes[*node]);
        Piece {
            span_id: Hex8(segment.span(row)),
            service: segment.service(row).to_owned(),
            name: segment.name(row).to_owned(),
            from: Ns(from.saturating_sub(trace.start)),
            to: Ns(to.saturating_sub(trace.start)),
        }
    });
    Ok(CriticalPath {
        v: 1,
        truncated: stretches.len() > MOST,
        path: path.collect(),
        share,
    })
}

/// A node on the way down, and what is left of it.
struct Frame {
    node: usize,
    /// Nothing before this is looked at.
    from: u64,
    /// What is not explained yet ends here.
    to: u64,
    /// Children, the one that ends first at the front.
    children: Vec<usize>,
}

/// Backwards from the end: the child that ended last is what its parent waited for, until it began. Without recursion.
fn stretches(tree: &Tree) -> Vec<Stretch> {
    let frame = |node: usize, from: u64, to: u64| {
        let mut children: Vec<usize> = tree.children(node).collect();
        children.sort_by_key(|child| tree.end(&tree.nodes[*child]));
        Frame {
            node,
            from: from.max(tree.start(&tree.nodes[node])),
            to: to.min(tree.end(&tree.nodes[node])),
            children,
        }
    };
    let mut found: Vec<Stretch> = Vec::new();
    if tree.nodes.is_empty() {
        return found;
    }
    let mut stack = vec![frame(0, 0, u64::MAX)];
    while let Some(top) = stack.last_mut() {
        let node = top.node;
        let Some(child) = top.children.pop() else {
            if top.to > top.from {
                found.push((node, top.from, top.to));
            }
            stack.pop();
            continue;
        };
        let child_node = &tree.nodes[child];
        let (start, end) = (tree.start(child_node).max(top.from), tree.end(child_node).min(top.to));
        // What runs beside the path, or outlives its parent only, was not waited for.
        if start >= end {
            continue;
        }
        if end < top.to {
            found.push((node, end, top.to));
        }
        let from = top.from;
        top.to = start;
        stack.push(frame(child, from, end));
    }
    found.reverse();
    found.sort_by_key(|(_, from, _)| *from);
    // The pieces of a span that directly follow each other are one.
    found.dedup_by(|next, before| {
        let joins = next.0 == before.0 && next.1 == before.2;
        if joins {
            before.2 = next.2;
        }
        joins
    });
    found
}
