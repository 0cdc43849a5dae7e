//! A trace as the rows of the terminal view: in tree order, identical siblings as one row.

use std::collections::{HashMap, HashSet};

use crate::dev::seen::{SpanId, SpanSeen};

/// A row: one span, or several that are alike and stand beside each other.
pub struct Row<'a> {
    /// The first of them, by start.
    pub span: &'a SpanSeen,
    pub depth: usize,
    /// The last child of its parent.
    pub is_last: bool,
    /// Its parent has not come (yet).
    pub is_orphan: bool,
    pub count: usize,
    /// Of their durations.
    pub sum: u64,
    /// From the first start to the last end.
    pub start: u64,
    pub end: u64,
}

/// Deeper ones are not drawn.
const DEEPEST: usize = 32;

struct Forest<'a> {
    spans: &'a [SpanSeen],
    children: HashMap<SpanId, Vec<usize>>,
    /// Ids that are on their way to the root: a cycle ends there.
    drawn: HashSet<usize>,
    rows: Vec<Row<'a>>,
}

/// The rows of a trace.
pub fn rows(spans: &[SpanSeen]) -> Vec<Row<'_>> {
    let mut ids = HashSet::new();
    let mut unique = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        if ids.insert(span.span) {
            unique.push(at);
        }
    }
    let mut forest = Forest {
        spans,
        children: HashMap::new(),
        drawn: HashSet::new(),
        rows: Vec::new(),
    };
    let mut tops = Vec::new();
    for at in &unique {
        match spans[*at].parent {
            Some(parent) if ids.contains(&parent) && parent != spans[*at].span => {
                forest.children.entry(parent).or_default().push(*at);
            }
            _ => tops.push(*at),
        }
    }
    forest.draw(tops, 0);
    // What is left hangs on a cycle of parents: cut at the first of each.
    for at in unique {
        if !forest.drawn.contains(&at) {
            forest.draw(vec![at], 0);
        }
    }
    forest.rows
}

impl<'a> Forest<'a> {
    fn draw(&mut self, members: Vec<usize>, depth: usize) {
        let groups = self.groups(members);
        let last = groups.len().saturating_sub(1);
        for (number, group) in groups.into_iter().enumerate() {
            let spans = self.spans;
            let alike = || group.iter().map(|at| &spans[*at]);
            let Some(first) = alike().next() else { continue };
            self.rows.push(Row {
                span: first,
                depth,
                is_last: number == last,
                is_orphan: depth == 0 && first.parent.is_some(),
                count: group.len(),
                sum: alike().map(SpanSeen::duration).fold(0, u64::saturating_add),
                start: alike().map(|span| span.start).min().unwrap_or(0),
                end: alike().map(|span| span.end.max(span.start)).max().unwrap_or(0),
            });
            let mut below = Vec::new();
            for at in &group {
                if let Some(children) = self.children.get(&self.spans[*at].span) {
                    below.extend(children.iter().copied().filter(|child| !self.drawn.contains(child)));
                }
            }
            if !below.is_empty() && depth < DEEPEST {
                self.draw(below, depth + 1);
            }
        }
    }

    /// By start; those that are alike stand where their first stands.
    fn groups(&mut self, mut members: Vec<usize>) -> Vec<Vec<usize>> {
        members.sort_by_key(|at| (self.spans[*at].start, *at));
        let mut places: HashMap<(&str, &str, i32, bool, &str), usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let spans = self.spans;
        for at in members {
            if !self.drawn.insert(at) {
                continue;
            }
            let span = &spans[at];
            let failure = span.exception.as_ref().map_or("", |exception| exception.kind.as_str());
            let key = (
                &*span.service.name,
                span.name.as_str(),
                span.kind,
                span.is_error,
                failure,
            );
            match places.get(&key) {
                Some(place) => groups[*place].push(at),
                None => {
                    places.insert(key, groups.len());
                    groups.push(vec![at]);
                }
            }
        }
        groups
    }
}
