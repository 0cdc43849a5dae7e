//! A trace as a tree: parents before children, children by start, cycles cut, self times.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::dev::store::{Segment, Store, Trace, TraceId};
use crate::pdata::Signal;

/// A span that comes this long after its root is late.
const LATE: u64 = 2_000_000_000;

/// Trees this large are kept for the next page of rows.
const REMEMBERED_FROM: usize = 1_000;

/// Trees that one question keeps at the same time.
const MOST_TREES: usize = 256;

/// A span in its tree.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Position in [`Tree::segments`].
    pub segment: u32,
    pub row: u32,
    /// Position in [`Tree::nodes`].
    pub parent: Option<u32>,
    pub depth: u32,
    pub descendants: u32,
    /// Nanoseconds in which none of its children ran.
    pub self_time: u64,
    /// Its parent is not stored.
    pub missing_parent: bool,
    pub late: bool,
    /// It is its own ancestor; it stands where the cycle was cut.
    pub cut_cycle: bool,
    /// Of the first of siblings with the same service, name and kind: how many, and their time.
    pub alike: Option<(u32, u64)>,
}

/// See the module text.
#[derive(Default)]
pub struct Tree {
    pub segments: Vec<Arc<Segment>>,
    /// In the order they are shown.
    pub nodes: Vec<Node>,
    by_span: HashMap<u64, u32, RandomState>,
    pub max_depth: u32,
}

impl Tree {
    /// Where a node's span is stored.
    pub fn place(&self, node: &Node) -> (&Segment, usize) {
        (&self.segments[node.segment as usize], node.row as usize)
    }

    /// The position of a span.
    pub fn position(&self, span: u64) -> Option<usize> {
        self.by_span.get(&span).map(|at| *at as usize)
    }

    /// Start of a node, nanoseconds since the epoch.
    pub fn start(&self, node: &Node) -> u64 {
        let (segment, row) = self.place(node);
        segment.starts[row]
    }

    /// End of a node, nanoseconds since the epoch.
    pub fn end(&self, node: &Node) -> u64 {
        let (segment, row) = self.place(node);
        segment.starts[row].saturating_add(segment.durations[row])
    }

    /// Positions of the children, in order.
    pub fn children(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let end = at + 1 + self.nodes[at].descendants as usize;
        let mut next = at + 1;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let child = next;
            next += 1 + self.nodes[child].descendants as usize;
            Some(child)
        })
    }
}

/// The tree of a trace as it is now; `None` where none of its spans is stored.
pub fn tree_of(store: &Store, id: &TraceId) -> Option<(Trace, Arc<Tree>)> {
    let trace = store.traces().get(id).filter(|trace| trace.spans > 0)?;
    let version = (trace.spans, trace.last_arrival);
    if let Some(known) = store.remembered::<Tree>(id, version) {
        return Some((trace, known));
    }
    let snapshot = store.snapshot();
    let wanted = trace.segments.iter();
    let segments: Vec<Arc<Segment>> = wanted
        .filter_map(|seq| snapshot.get(Signal::Traces, *seq).cloned())
        .collect();
    let tree = Arc::new(build(id, segments));
    if tree.nodes.is_empty() {
        return None;
    }
    if tree.nodes.len() >= REMEMBERED_FROM {
        store.remember(*id, version, &tree);
    }
    Some((trace, tree))
}

/// A span before it has its place.
struct Loose {
    segment: u32,
    row: u32,
    start: u64,
    parent: Option<u32>,
    missing_parent: bool,
}

fn build(id: &TraceId, segments: Vec<Arc<Segment>>) -> Tree {
    let mut loose = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        for (row, trace) in segment.traces.iter().enumerate() {
            if trace == id {
                loose.push(Loose {
                    segment: at as u32,
                    row: row as u32,
                    start: segment.starts[row],
                    parent: None,
                    missing_parent: false,
                });
            }
        }
    }
    loose.sort_by_key(|span| span.start);
    let mut by_span: HashMap<u64, u32, RandomState> =
        HashMap::with_capacity_and_hasher(loose.len(), RandomState::default());
    for (at, span) in loose.iter().enumerate() {
        let id = segments[span.segment as usize].span(span.row as usize);
        by_span.entry(id).or_insert(at as u32);
    }
    for (at, span) in loose.iter_mut().enumerate() {
        let parent = segments[span.segment as usize].parents[span.row as usize];
        let found = by_span.get(&parent).copied();
        // A span that names itself its parent is a root.
        span.parent = found.filter(|found| *found as usize != at);
        span.missing_parent = parent != 0 && found.is_none();
    }
    let mut tree = order(segments, &loose);
    tree.by_span = tree
        .nodes
        .iter()
        .enumerate()
        .map(|(at, node)| (tree.segments[node.segment as usize].span(node.row as usize), at as u32))
        .collect();
    finish(&mut tree);
    tree
}

/// Puts parents before children. Nothing recurses: a trace may be one chain of 100,000 spans.
fn order(segments: Vec<Arc<Segment>>, loose: &[Loose]) -> Tree {
    // Children of each, by start since `loose` is: ends of a list of lists.
    let mut ends = vec![0_u32; loose.len() + 1];
    for span in loose {
        if let Some(parent) = span.parent {
            ends[parent as usize + 1] += 1;
        }
    }
    for at in 1..ends.len() {
        ends[at] += ends[at - 1];
    }
    let mut next = ends.clone();
    let mut children = vec![0_u32; ends.last().copied().unwrap_or(0) as usize];
    for (at, span) in loose.iter().enumerate() {
        if let Some(parent) = span.parent {
            let slot = &mut next[parent as usize];
            children[*slot as usize] = at as u32;
            *slot += 1;
        }
    }
    let mut tree = Tree {
        segments,
        ..Tree::default()
    };
    let mut seen = vec![false; loose.len()];
    let mut stack: Vec<(u32, Option<u32>, u32)> = Vec::new();
    // First the spans without a parent here; what they do not reach is in a cycle.
    for in_cycle in [false, true] {
        for root in 0..loose.len() {
            if seen[root] || (!in_cycle && loose[root].parent.is_some()) {
                continue;
            }
            stack.push((root as u32, None, 0));
            while let Some((at, parent, depth)) = stack.pop() {
                let span = &loose[at as usize];
                if std::mem::replace(&mut seen[at as usize], true) {
                    continue;
                }
                let position = tree.nodes.len() as u32;
                tree.nodes.push(Node {
                    segment: span.segment,
                    row: span.row,
                    parent,
                    depth,
                    missing_parent: span.missing_parent,
                    cut_cycle: in_cycle && parent.is_none(),
                    ..Node::default()
                });
                tree.max_depth = tree.max_depth.max(depth);
                let of_it = &children[ends[at as usize] as usize..ends[at as usize + 1] as usize];
                let unseen = of_it.iter().rev().filter(|child| !seen[**child as usize]);
                stack.extend(unseen.map(|child| (*child, Some(position), depth + 1)));
            }
        }
    }
    tree
}

/// Siblings that are alike: the first, how many, their time.
type Group = (usize, u32, u64);

/// Descendants, self times, late spans, siblings that are alike.
fn finish(tree: &mut Tree) {
    for at in (0..tree.nodes.len()).rev() {
        if let Some(parent) = tree.nodes[at].parent {
            tree.nodes[parent as usize].descendants += tree.nodes[at].descendants + 1;
        }
    }
    let arrival = |tree: &Tree, at: usize| {
        let (segment, row) = tree.place(&tree.nodes[at]);
        segment.arrivals[row]
    };
    let due = if tree.nodes.is_empty() {
        0
    } else {
        arrival(tree, 0).saturating_add(LATE)
    };
    let mut groups: HashMap<(Option<u32>, u64), Group, RandomState> = HashMap::default();
    for at in 0..tree.nodes.len() {
        let own = self_time(tree, at);
        let late = arrival(tree, at) > due;
        let node = &tree.nodes[at];
        let (segment, row) = tree.place(node);
        if node.parent.is_some() {
            let hash = xxh3_64(segment.service(row).as_bytes());
            let hash = xxh3_64_with_seed(segment.name(row).as_bytes(), hash ^ u64::from(segment.kinds[row]));
            let group = groups.entry((node.parent, hash)).or_insert((at, 0, 0));
            group.1 += 1;
            group.2 = group.2.saturating_add(segment.durations[row]);
        }
        let node = &mut tree.nodes[at];
        node.self_time = own;
        node.late = late;
    }
    for (first, count, sum) in groups.into_values() {
        if count > 1 {
            tree.nodes[first].alike = Some((count, sum));
        }
    }
}

/// A span's time without what its children cover of it.
fn self_time(tree: &Tree, at: usize) -> u64 {
    let node = &tree.nodes[at];
    let (start, end) = (tree.start(node), tree.end(node));
    let mut covered = 0;
    let mut upto = start;
    // Children come by start: what begins before `upto` is covered to there already.
    for child in tree.children(at) {
        let child = &tree.nodes[child];
        let from = tree.start(child).max(upto);
        let to = tree.end(child).min(end);
        if to > from {
            covered += to - from;
            upto = to;
        }
    }
    (end - start).saturating_sub(covered)
}

/// Trees that one question needs again and again.
pub(super) struct Trees<'a> {
    store: &'a Store,
    kept: RefCell<HashMap<TraceId, Option<Arc<Tree>>>>,
}

impl<'a> Trees<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            kept: RefCell::default(),
        }
    }

    /// The self time of a span.
    pub fn self_time(&self, trace: &TraceId, span: u64) -> Option<u64> {
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= MOST_TREES && !kept.contains_key(trace) {
            kept.clear();
        }
        let tree = kept
            .entry(*trace)
            .or_insert_with(|| tree_of(self.store, trace).map(|(_, tree)| tree));
        let tree = tree.as_ref()?;
        Some(tree.nodes[tree.position(span)?].self_time)
    }
}
