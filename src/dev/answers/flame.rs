//! Flame graphs: spans of one or of many traces, those with the same ancestors put together.

use std::collections::HashMap;

use serde::Serialize;

use super::traces::fitting_ids;
use super::tree::{Tree, tree_of};
use super::{Ask, Failure, Ns};
use crate::dev::store::{Store, TraceId};

/// Frames of a graph.
const MOST_FRAMES: usize = 5_000;
/// Frames above each other. JSON readers recurse.
const MOST_DEPTH: usize = 100;
/// Traces that are put together.
const MOST_TRACES: usize = 2_000;

/// `GET /api/v1/flame`.
#[derive(Debug, Serialize)]
pub struct Flame {
    pub v: u8,
    pub traces: usize,
    pub truncated: bool,
    pub root: FrameShown,
}

/// A frame and what is above it.
#[derive(Debug, Serialize)]
pub struct FrameShown {
    pub name: String,
    pub service: String,
    pub total: Ns,
    #[serde(rename = "self")]
    pub self_time: Ns,
    pub count: u64,
    pub errors: u64,
    pub children: Vec<FrameShown>,
}

/// Spans with the same service and name below the same frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub service: String,
    pub name: String,
    pub depth: usize,
    pub total: u64,
    pub own: u64,
    pub count: u64,
    pub errors: u64,
    pub children: Vec<usize>,
}

/// Frames as they are put together. The first is the ground that all stand on.
pub(super) struct Frames {
    pub list: Vec<Frame>,
    known: HashMap<(usize, String, String), usize>,
    pub truncated: bool,
}

impl Frames {
    pub fn new() -> Self {
        Self {
            list: vec![Frame::default()],
            known: HashMap::new(),
            truncated: false,
        }
    }

    /// Adds the spans of a trace.
    pub fn add(&mut self, tree: &Tree) {
        // The frame of each node of the way down.
        let mut way: Vec<usize> = Vec::new();
        for node in &tree.nodes {
            let depth = node.depth as usize;
            way.truncate(depth);
            let below = way.last().copied().unwrap_or(0);
            let (segment, row) = tree.place(node);
            let found = self.frame(below, segment.service(row), segment.name(row));
            // Beyond the bounds a span counts for the frame it would stand on.
            let at = found.unwrap_or(below);
            way.push(at);
            let frame = &mut self.list[at];
            frame.own = frame.own.saturating_add(node.self_time);
            frame.errors += u64::from(segment.statuses[row] == 2);
            if found.is_some() {
                frame.total = frame.total.saturating_add(segment.durations[row]);
                frame.count += 1;
            }
            if depth == 0 {
                let ground = &mut self.list[0];
                ground.total = ground.total.saturating_add(segment.durations[row]);
                ground.count += 1;
            }
        }
    }

    fn frame(&mut self, below: usize, service: &str, name: &str) -> Option<usize> {
        let key = (below, service.to_owned(), name.to_owned());
        if let Some(known) = self.known.get(&key) {
            return Some(*known);
        }
        let depth = self.list[below].depth + 1;
        if self.list.len() >= MOST_FRAMES || depth > MOST_DEPTH {
            self.truncated = true;
            return None;
        }
        let at = self.list.len();
        self.list.push(Frame {
            service: service.to_owned(),
            name: name.to_owned(),
            depth,
            ..Frame::default()
        });
        self.list[below].children.push(at);
        self.known.insert(key, at);
        Some(at)
    }

    fn shown(&self, at: usize) -> FrameShown {
        let frame = &self.list[at];
        let mut children: Vec<FrameShown> = frame.children.iter().map(|child| self.shown(*child)).collect();
        children.sort_by(|a, b| (b.total, &a.name).cmp(&(a.total, &b.name)));
        FrameShown {
            name: if at == 0 { "all".to_owned() } else { frame.name.clone() },
            service: frame.service.clone(),
            total: Ns(frame.total),
            self_time: Ns(frame.own),
            count: frame.count,
            errors: frame.errors,
            children,
        }
    }
}

/// The graph of one trace.
///
/// # Errors
/// Where there is no such trace.
pub fn flame_of_trace(store: &Store, id: &TraceId) -> Result<Flame, Failure> {
    let missing = || Failure::Missing(format!("there is no trace {}", hex::encode(id)));
    let (_, tree) = tree_of(store, id).ok_or_else(missing)?;
    let mut frames = Frames::new();
    frames.add(&tree);
    Ok(Flame {
        v: 1,
        traces: 1,
        truncated: frames.truncated,
        root: frames.shown(0),
    })
}

/// The graph of the newest traces that fit.
pub fn flame(store: &Store, ask: &Ask) -> Flame {
    let ids = fitting_ids(store, ask, MOST_TRACES + 1);
    let mut frames = Frames::new();
    let mut traces = 0;
    for id in ids.iter().take(MOST_TRACES) {
        if ask.is_late() {
            frames.truncated = true;
            break;
        }
        if let Some((_, tree)) = tree_of(store, id) {
            frames.add(&tree);
            traces += 1;
        }
    }
    Flame {
        v: 1,
        traces,
        truncated: frames.truncated || ids.len() > MOST_TRACES,
        root: frames.shown(0),
    }
}
