//! The segments of a document, outermost first: found without a stack, with their fields, ids, parents and times.

use super::salvage::{Marks, Reason, Salvaged};
use super::{DocumentKind, Options};
use crate::aws::xray::document::{Kind, NodeId, Tree};
use crate::aws::xray::ids::{self, SpanId};
use crate::aws::xray::time::nanos_of;

/// The fields of a segment or subsegment that are there and not null.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    pub(super) name: Option<NodeId>,
    pub(super) id: Option<NodeId>,
    pub(super) trace_id: Option<NodeId>,
    pub(super) parent_id: Option<NodeId>,
    pub(super) start_time: Option<NodeId>,
    pub(super) end_time: Option<NodeId>,
    pub(super) in_progress: Option<NodeId>,
    pub(super) doc_type: Option<NodeId>,
    pub(super) namespace: Option<NodeId>,
    pub(super) service: Option<NodeId>,
    pub(super) user: Option<NodeId>,
    pub(super) origin: Option<NodeId>,
    pub(super) resource_arn: Option<NodeId>,
    pub(super) links: Option<NodeId>,
    pub(super) http: Option<NodeId>,
    pub(super) error: Option<NodeId>,
    pub(super) fault: Option<NodeId>,
    pub(super) throttle: Option<NodeId>,
    pub(super) cause: Option<NodeId>,
    pub(super) aws: Option<NodeId>,
    pub(super) annotations: Option<NodeId>,
    pub(super) metadata: Option<NodeId>,
    pub(super) subsegments: Option<NodeId>,
    pub(super) traced: Option<NodeId>,
    pub(super) precursor_ids: Option<NodeId>,
    pub(super) sql: Option<NodeId>,
    pub(super) inferred: Option<NodeId>,
    /// Keys that X-Ray does not document.
    pub(super) unknown: u32,
}

impl Fields {
    fn of(tree: &Tree, object: NodeId) -> Self {
        let mut fields = Self::default();
        for child in tree.children(object) {
            if tree.kind(child) == Kind::Null {
                continue;
            }
            match fields.slot(tree.key(child)) {
                Some(slot) => *slot = Some(child),
                None => fields.unknown += 1,
            }
        }
        fields
    }

    fn slot(&mut self, key: &str) -> Option<&mut Option<NodeId>> {
        Some(match key {
            "name" => &mut self.name,
            "id" => &mut self.id,
            "trace_id" => &mut self.trace_id,
            "parent_id" => &mut self.parent_id,
            "start_time" => &mut self.start_time,
            "end_time" => &mut self.end_time,
            "in_progress" => &mut self.in_progress,
            "type" => &mut self.doc_type,
            "namespace" => &mut self.namespace,
            "service" => &mut self.service,
            "user" => &mut self.user,
            "origin" => &mut self.origin,
            "resource_arn" => &mut self.resource_arn,
            "links" => &mut self.links,
            "http" => &mut self.http,
            "error" => &mut self.error,
            "fault" => &mut self.fault,
            "throttle" => &mut self.throttle,
            "cause" => &mut self.cause,
            "aws" => &mut self.aws,
            "annotations" => &mut self.annotations,
            "metadata" => &mut self.metadata,
            "subsegments" => &mut self.subsegments,
            "traced" => &mut self.traced,
            "precursor_ids" => &mut self.precursor_ids,
            "sql" => &mut self.sql,
            "inferred" => &mut self.inferred,
            _ => return None,
        })
    }

    /// Whether [`Fields`] has a place for `key`.
    pub(super) fn knows(key: &str) -> bool {
        Self::default().slot(key).is_some()
    }
}

/// A segment or subsegment on its way.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) object: NodeId,
    pub(super) fields: Fields,
    /// `None`: it has no usable id and is dropped; those inside it become its parent's.
    pub(super) id: Option<SpanId>,
    /// The kept one around it, by its index.
    pub(super) parent: Option<usize>,
    depth: u32,
    pub(super) start: u64,
    pub(super) end: u64,
    /// No end is known yet.
    pub(super) in_progress: bool,
    pub(super) time_error: bool,
    pub(super) marks: Marks,
}

/// One document.
pub(super) struct Walk<'a> {
    pub(super) tree: &'a Tree<'a>,
    pub(super) options: &'a Options,
    /// The outermost first, parents before their children. Never empty after [`Walk::collect`].
    pub(super) segments: Vec<Segment>,
}

impl Walk<'_> {
    /// Finds every segment: the list is its own queue.
    pub(super) fn collect(&mut self, root: NodeId, salvaged: &mut Salvaged) {
        self.push(root, None, 0, salvaged);
        let mut next = 0;
        while let Some(segment) = self.segments.get(next) {
            let inside_too_deep = segment.depth > self.options.max_depth;
            let parent = if segment.id.is_some() && !inside_too_deep {
                Some(next)
            } else {
                segment.parent
            };
            let (list, depth) = (segment.fields.subsegments, segment.depth + 1);
            next += 1;
            if let Some(list) = list {
                self.push_all(list, parent, depth, salvaged);
            }
        }
    }

    fn push_all(&mut self, list: NodeId, parent: Option<usize>, depth: u32, salvaged: &mut Salvaged) {
        let tree = self.tree;
        match tree.kind(list) {
            Kind::List => {
                for element in tree.children(list) {
                    match tree.kind(element) {
                        Kind::Map => self.push(element, parent, depth, salvaged),
                        Kind::Null => {}
                        _ => salvaged.count(Reason::Subsegment),
                    }
                }
            }
            _ => salvaged.count(Reason::Subsegment),
        }
    }

    fn push(&mut self, object: NodeId, parent: Option<usize>, depth: u32, salvaged: &mut Salvaged) {
        let fields = Fields::of(self.tree, object);
        let id = fields.id.and_then(|id| self.tree.text(id)).and_then(ids::span_id);
        let mut marks = Marks::default();
        if id.is_none() {
            salvaged.count(Reason::Id);
        }
        if depth > self.options.max_depth {
            marks.add(Reason::Depth);
            salvaged.count(Reason::Depth);
        }
        if fields.unknown > 0 {
            salvaged.count(Reason::UnknownKey);
        }
        self.segments.push(Segment {
            object,
            fields,
            id,
            parent,
            depth,
            start: 0,
            end: 0,
            in_progress: false,
            time_error: false,
            marks,
        });
    }

    /// A time of a segment; one that is written as a text counts.
    fn time(&self, field: Option<NodeId>) -> Option<u64> {
        let field = field?;
        nanos_of(self.tree.number(field).or_else(|| self.tree.text(field))?)
    }

    /// Starts from the outermost inwards, ends from the innermost outwards.
    pub(super) fn settle_times(&mut self, received_ns: u64) {
        for index in 0..self.segments.len() {
            let segment = &self.segments[index];
            let start = self.time(segment.fields.start_time);
            let settled = start.unwrap_or_else(|| match segment.parent {
                Some(parent) => self.segments[parent].start,
                None => self.earliest_inside(index).unwrap_or(received_ns),
            });
            let segment = &mut self.segments[index];
            segment.start = settled;
            if start.is_none() {
                segment.time_error = true;
                segment.marks.add(Reason::StartTime);
            }
        }
        // The last end of those inside each; zero where there are none.
        let mut last_inside = vec![0; self.segments.len()];
        for index in (0..self.segments.len()).rev() {
            self.settle_end(index, last_inside[index]);
            let segment = &self.segments[index];
            if let Some(parent) = segment.parent {
                last_inside[parent] = last_inside[parent].max(segment.end);
            }
        }
    }

    fn settle_end(&mut self, index: usize, last_inside: u64) {
        let fields = self.segments[index].fields;
        let end = self.time(fields.end_time);
        let says_so = fields.in_progress.and_then(|flag| self.tree.flag(flag)) == Some(true);
        let segment = &mut self.segments[index];
        match end {
            Some(end) if end >= segment.start => segment.end = end,
            None if says_so && fields.end_time.is_none() => {
                segment.in_progress = true;
                segment.end = last_inside.max(segment.start);
            }
            _ => {
                segment.end = segment.start;
                segment.time_error = true;
                segment.marks.add(Reason::EndTime);
            }
        }
    }

    fn earliest_inside(&self, index: usize) -> Option<u64> {
        let inside = self.segments.iter().filter(|segment| segment.parent == Some(index));
        inside.filter_map(|segment| self.time(segment.fields.start_time)).min()
    }

    /// What the outermost is.
    pub(super) fn document_kind(&self) -> DocumentKind {
        let fields = &self.segments[0].fields;
        if self.is_true(fields.inferred) {
            DocumentKind::Inferred
        } else if self.text(fields.doc_type) == Some("subsegment") {
            DocumentKind::Subsegment
        } else {
            DocumentKind::Segment
        }
    }

    /// Origin and ARN of an inferred segment.
    pub(super) fn inferred_service(&self) -> Option<(String, String)> {
        let fields = &self.segments[0].fields;
        let text = |field| self.text(field).unwrap_or_default().to_owned();
        self.is_true(fields.inferred)
            .then(|| (text(fields.origin), text(fields.resource_arn)))
    }

    /// The name, `unknown` without one.
    pub(super) fn name(&self, segment: &Segment) -> &str {
        match self.text(segment.fields.name) {
            Some(name) if !name.is_empty() => name,
            _ => "unknown",
        }
    }

    pub(super) fn text(&self, field: Option<NodeId>) -> Option<&str> {
        self.tree.text(field?)
    }

    pub(super) fn is_true(&self, field: Option<NodeId>) -> bool {
        field.is_some_and(|field| self.tree.flag(field) == Some(true))
    }

    /// A field of a map that is there and not null.
    pub(super) fn get(&self, map: Option<NodeId>, key: &str) -> Option<NodeId> {
        let found = self.tree.get(map?, key)?;
        (self.tree.kind(found) != Kind::Null).then_some(found)
    }

    pub(super) fn get_text(&self, map: Option<NodeId>, key: &str) -> Option<&str> {
        self.text(self.get(map, key))
    }
}
