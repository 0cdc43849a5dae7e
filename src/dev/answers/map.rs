//! The map: who calls whom, how often, how fast, with what failures.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use serde::Serialize;

use super::compare::share;
use super::{Ask, Head, Ns, find_rows};
use crate::dev::store::{Segment, Store};
use crate::pdata::Signal;

/// Spans that are looked at, newest first.
const MOST_SPANS: usize = 300_000;
/// Nodes and edges of an answer.
const MOST_NODES: usize = 500;
const MOST_EDGES: usize = 2_000;

/// `GET /api/v1/map`.
#[derive(Debug, Serialize)]
pub struct Map {
    #[serde(flatten)]
    pub head: Head,
    pub nodes: Vec<MapNode>,
    pub edges: Vec<MapEdge>,
}

/// A service, or something that services call.
#[derive(Debug, Serialize)]
pub struct MapNode {
    pub id: String,
    /// `service`, `database`, `queue`, `model` or `external`.
    pub kind: &'static str,
    pub name: String,
    pub spans: u64,
    pub errors: u64,
    /// A second.
    pub rate: f64,
    pub p50: Ns,
    pub p99: Ns,
}

/// Calls from one to the other.
#[derive(Debug, Serialize)]
pub struct MapEdge {
    pub from: String,
    pub to: String,
    pub calls: u64,
    pub errors: u64,
    /// A second.
    pub rate: f64,
    pub p50: Ns,
    pub p99: Ns,
    /// Finds the spans of these calls.
    pub q: String,
}

#[derive(Default)]
struct Sum {
    durations: Vec<u64>,
    errors: u64,
}

impl Sum {
    fn add(&mut self, duration: u64, is_error: bool) {
        self.durations.push(duration);
        self.errors += u64::from(is_error);
    }

    /// p50 and p99.
    fn shares(&mut self) -> (Ns, Ns) {
        self.durations.sort_unstable();
        (Ns(share(&self.durations, 0.5)), Ns(share(&self.durations, 0.99)))
    }
}

/// What a call leads to, where that sends no telemetry of its own.
fn far_side(segment: &Segment, row: usize) -> Option<(&'static str, String, String)> {
    let text = |key| segment.attribute(row, key).filter(|text| !text.is_empty());
    let first = |keys: &[&'static str]| keys.iter().find_map(|key| Some((*key, text(key)?)));
    let kinds: [(&str, &[&str], &[&str]); 3] = [
        (
            "database",
            &["db.system.name", "db.system"],
            &["db.namespace", "db.name", "server.address"],
        ),
        (
            "queue",
            &["messaging.system"],
            &["messaging.destination.name", "messaging.destination"],
        ),
        (
            "model",
            &["gen_ai.provider.name", "gen_ai.system", "llm.system"],
            &["gen_ai.request.model", "llm.model_name"],
        ),
    ];
    for (kind, system, name) in kinds {
        if let Some((key, system)) = first(system) {
            let name = first(name).map_or(system.to_owned(), |(_, name)| format!("{system} {name}"));
            return Some((kind, name, term(key, system)));
        }
    }
    // Only a client calls something else.
    let (key, host) = first(&["peer.service", "server.address", "net.peer.name", "http.host"])?;
    (segment.kinds[row] == 3).then(|| ("external", host.to_owned(), term(key, host)))
}

fn term(key: &str, value: &str) -> String {
    format!("{key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A span as its children need it.
struct Caller {
    service: String,
    /// Of a producer the children come by a queue.
    kind: u8,
}

/// The map of what fits.
pub fn map(store: &Store, ask: &Ask) -> Map {
    let snapshot = store.snapshot();
    let (found, mut is_short) = find_rows(store, &snapshot, ask, Signal::Traces);
    let total: usize = found.iter().map(|found| found.rows.count()).sum();
    is_short |= total > MOST_SPANS;
    let rows = || {
        let all = found
            .iter()
            .flat_map(|found| found.rows.rows().map(|row| (&*found.segment, row)));
        all.take(MOST_SPANS)
    };
    // Spans whose children may be in another service: clients and producers, and whoever has remote children.
    let mut callers: HashMap<([u8; 16], u64), Caller, RandomState> = HashMap::default();
    let wanted: HashSet<([u8; 16], u64), RandomState> = rows()
        .filter(|(segment, row)| matches!(segment.kinds[*row], 2 | 5) && segment.parents[*row] != 0)
        .map(|(segment, row)| (segment.trace(row), segment.parents[row]))
        .collect();
    for (segment, row) in rows() {
        let id = (segment.trace(row), segment.span(row));
        if wanted.contains(&id) {
            callers.insert(
                id,
                Caller {
                    service: segment.service(row).to_owned(),
                    kind: segment.kinds[row],
                },
            );
        }
    }
    let mut nodes: HashMap<(&'static str, String), Sum> = HashMap::new();
    let mut edges: HashMap<(String, String, String), Sum> = HashMap::new();
    let (mut first, mut last) = (u64::MAX, 0);
    for (segment, row) in rows() {
        let (duration, is_error) = (segment.durations[row], segment.statuses[row] == 2);
        let service = segment.service(row);
        first = first.min(segment.starts[row]);
        last = last.max(segment.starts[row]);
        nodes
            .entry(("service", service.to_owned()))
            .or_default()
            .add(duration, is_error);
        let is_called = matches!(segment.kinds[row], 2 | 5);
        let caller = callers
            .get(&(segment.trace(row), segment.parents[row]))
            .filter(|_| is_called);
        if let Some(caller) = caller
            && (caller.service != service || caller.kind == 4)
        {
            let to = format!("service:{service}");
            let q = format!("{} kind in (server,consumer)", term("service", service));
            edges
                .entry((format!("service:{}", caller.service), to, q))
                .or_default()
                .add(duration, is_error);
        }
        // A call whose other side is here too is an edge already.
        let answered = wanted.contains(&(segment.trace(row), segment.span(row)));
        if matches!(segment.kinds[row], 0 | 1 | 3 | 4)
            && !answered
            && let Some((kind, name, far)) = far_side(segment, row)
        {
            let q = format!("{} {far}", term("service", service));
            edges
                .entry((format!("service:{service}"), format!("{kind}:{name}"), q))
                .or_default()
                .add(duration, is_error);
            nodes.entry((kind, name)).or_default().add(duration, is_error);
        }
    }
    let seconds = (last.saturating_sub(first) as f64 / 1e9).max(1.0);
    is_short |= nodes.len() > MOST_NODES || edges.len() > MOST_EDGES;
    let mut nodes: Vec<MapNode> = nodes
        .into_iter()
        .map(|((kind, name), sum)| node(kind, name, sum, seconds))
        .collect();
    nodes.sort_by(|a, b| (b.spans, &a.id).cmp(&(a.spans, &b.id)));
    nodes.truncate(MOST_NODES);
    let mut edges: Vec<MapEdge> = edges.into_iter().map(|(ends, sum)| edge(ends, sum, seconds)).collect();
    edges.sort_by(|a, b| (b.calls, &a.from, &a.to).cmp(&(a.calls, &b.from, &b.to)));
    edges.truncate(MOST_EDGES);
    let mut head = Head::new(store, ask, Signal::Traces, total as u64, total);
    head.truncated = is_short;
    Map { head, nodes, edges }
}

fn node(kind: &'static str, name: String, mut sum: Sum, seconds: f64) -> MapNode {
    let (p50, p99) = sum.shares();
    MapNode {
        id: format!("{kind}:{name}"),
        kind,
        name,
        spans: sum.durations.len() as u64,
        errors: sum.errors,
        rate: sum.durations.len() as f64 / seconds,
        p50,
        p99,
    }
}

fn edge((from, to, q): (String, String, String), mut sum: Sum, seconds: f64) -> MapEdge {
    let (p50, p99) = sum.shares();
    MapEdge {
        from,
        to,
        calls: sum.durations.len() as u64,
        errors: sum.errors,
        rate: sum.durations.len() as f64 / seconds,
        p50,
        p99,
        q,
    }
}
