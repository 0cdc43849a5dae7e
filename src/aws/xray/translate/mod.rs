//! Segment documents to OTLP.
//!
//! [`Reader::segments`] takes one document (or an array of them) and adds what it means to [`Spans`]. A bad field or
//! node costs only itself: the answer says what was lost and why, and so does the span, in `aws.xray.salvaged`.
//! The same input gives the same bytes: nothing is random, lists are sorted.

mod attributes;
mod aws;
mod cause;
mod encode;
mod extra;
mod http;
mod inferred;
mod logged;
mod options;
mod resource;
mod restore;
mod salvage;
mod services;
mod span;
mod sql;
#[cfg(test)]
mod tests;
mod walk;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

pub(super) use self::cause::exception_id;
pub use self::encode::Encoder;
pub use self::logged::logged_span;
pub use self::options::{Compat, MetadataMode, Options, Semconv};
pub(super) use self::resource::MACHINES;
pub use self::salvage::{Reason, Rejected, Salvaged};
use self::services::Services;
use self::walk::{Segment, Walk};
use super::document::{Arena, Kind, NodeId, Tree};
use super::ids::{self, SpanId, TraceId};

/// The conventions that the attributes follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    Segment,
    /// A subsegment that was sent alone.
    Subsegment,
    /// Made up by X-Ray for a service that sends nothing itself.
    Inferred,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [DocumentKind; 3] = [DocumentKind::Segment, DocumentKind::Subsegment, DocumentKind::Inferred];

    /// The `kind` label.
    pub fn name(self) -> &'static str {
        match self {
            DocumentKind::Segment => "segment",
            DocumentKind::Subsegment => "subsegment",
            DocumentKind::Inferred => "inferred",
        }
    }
}

/// One document in OTLP.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub trace_id: TraceId,
    /// Of the outermost segment or subsegment; `None` where it had none and only those inside it were kept.
    pub id: Option<SpanId>,
    pub kind: DocumentKind,
    /// It has no end yet: a later document of the same trace and id replaces it (see the receivers' `in_progress`).
    pub in_progress: bool,
    /// One scope, at least one span; the outermost first.
    pub resource_spans: ResourceSpans,
    /// The type of service that X-Ray inferred, e.g. `AWS::DynamoDB::Table`, and its ARN; for inferred ones.
    inferred: Option<(String, String)>,
}

impl Document {
    /// Its spans, the outermost first.
    pub fn spans(&self) -> &[Span] {
        self.resource_spans
            .scope_spans
            .first()
            .map_or(&[], |scope| scope.spans.as_slice())
    }

    fn spans_mut(&mut self) -> &mut [Span] {
        self.resource_spans
            .scope_spans
            .first_mut()
            .map_or(&mut [], |scope| scope.spans.as_mut_slice())
    }
}

/// Where translated documents are collected; keeps the buffers from document to document.
#[derive(Default)]
pub struct Spans {
    pub documents: Vec<Document>,
    arena: Arena,
    segments: Vec<Segment>,
}

impl Spans {
    /// Spans of all documents.
    pub fn count(&self) -> usize {
        self.documents.iter().map(|document| document.spans().len()).sum()
    }
}

/// Translates; shared by the workers of a receiver.
pub struct Reader {
    options: Options,
    /// Service names by trace and span, for subsegments that come alone.
    services: Services,
}

impl Reader {
    /// A reader with these options.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            services: Services::default(),
        }
    }

    /// Reads one document, or an array of documents, and adds them to `out`. `received_ns` (nanoseconds since the
    /// epoch) stands in for a start that nothing tells.
    pub fn segments(&self, document: &[u8], received_ns: u64, out: &mut Spans) -> Salvaged {
        let source = String::from_utf8_lossy(document);
        let mut salvaged = Salvaged::default();
        if matches!(source, std::borrow::Cow::Owned(_)) {
            salvaged.count(Reason::Text);
        }
        let mut arena = std::mem::take(&mut out.arena);
        match Tree::read(&source, &mut arena) {
            Ok(tree) => {
                let rest = &source[tree.end..];
                if !rest.trim_matches([' ', '\t', '\r', '\n', '\0']).is_empty() {
                    salvaged.count(Reason::TrailingData);
                }
                self.values(&tree, received_ns, out, &mut salvaged);
            }
            Err(_) => salvaged.reject(Rejected::NotJson),
        }
        out.arena = arena;
        salvaged
    }

    fn values(&self, tree: &Tree, received_ns: u64, out: &mut Spans, salvaged: &mut Salvaged) {
        match tree.kind(tree.root()) {
            Kind::Map => self.document(tree, tree.root(), received_ns, out, salvaged),
            Kind::List => {
                for element in tree.children(tree.root()) {
                    if tree.kind(element) == Kind::Map {
                        self.document(tree, element, received_ns, out, salvaged);
                    } else {
                        salvaged.reject(Rejected::NotADocument);
                    }
                }
            }
            _ => salvaged.reject(Rejected::NotADocument),
        }
    }

    fn document(&self, tree: &Tree, root: NodeId, received_ns: u64, out: &mut Spans, salvaged: &mut Salvaged) {
        let mut walk = Walk {
            tree,
            options: &self.options,
            segments: std::mem::take(&mut out.segments),
        };
        walk.segments.clear();
        let translated = self.translate(&mut walk, root, received_ns, salvaged);
        out.segments = walk.segments;
        match translated {
            Ok(document) => out.documents.push(document),
            Err(rejected) => salvaged.reject(rejected),
        }
    }

    fn translate(
        &self,
        walk: &mut Walk,
        root: NodeId,
        received_ns: u64,
        salvaged: &mut Salvaged,
    ) -> Result<Document, Rejected> {
        walk.collect(root, salvaged);
        walk.settle_times(received_ns);
        let outermost = &walk.segments[0];
        let trace_id = outermost.fields.trace_id.and_then(|id| walk.tree.text(id));
        let trace_id = trace_id.and_then(ids::trace_id).ok_or(Rejected::TraceId)?;
        let kind = walk.document_kind();
        let kept = walk.segments.iter().filter(|segment| segment.id.is_some()).count();
        if kept == 0 {
            return Err(Rejected::Id);
        }
        let (id, in_progress) = (outermost.id, outermost.id.is_some() && outermost.in_progress);
        let service = self.service_name(walk, kind, &trace_id);
        let resource = resource::of(walk, service.as_deref());
        let spans = self.spans_of(walk, kind, &trace_id, salvaged, kept);
        if let Some(service) = &service {
            for span in &spans {
                self.services.remember(&trace_id, &span.span_id, service);
            }
        }
        let inferred = walk.inferred_service();
        let collector = self.options.compat == Compat::Collector;
        let mut resource_spans = ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(if collector {
                    InstrumentationScope::default()
                } else {
                    scope()
                }),
                spans,
                schema_url: String::new(),
            }],
            schema_url: if collector {
                String::new()
            } else {
                SCHEMA_URL.to_owned()
            },
        };
        restore::scope_and_resource(walk, &mut resource_spans);
        Ok(Document {
            trace_id,
            id,
            kind,
            in_progress,
            resource_spans,
            inferred,
        })
    }

    /// The resource's `service.name`: a segment's own name; for a subsegment that came alone that of its parent.
    fn service_name(&self, walk: &Walk, kind: DocumentKind, trace_id: &TraceId) -> Option<std::sync::Arc<str>> {
        let outermost = &walk.segments[0];
        if kind != DocumentKind::Subsegment || self.options.compat == Compat::Collector {
            return Some(walk.name(outermost).into());
        }
        let parent = outermost.fields.parent_id.and_then(|id| walk.tree.text(id));
        parent
            .and_then(ids::span_id)
            .and_then(|parent| self.services.find(trace_id, &parent))
    }

    fn spans_of(
        &self,
        walk: &Walk,
        kind: DocumentKind,
        trace_id: &TraceId,
        salvaged: &mut Salvaged,
        kept: usize,
    ) -> Vec<Span> {
        let mut spans = Vec::with_capacity(kept);
        let mut messages = None;
        for (index, segment) in walk.segments.iter().enumerate() {
            if let Some(id) = segment.id {
                let place = span::Place {
                    walk,
                    segment,
                    is_outermost: index == 0,
                    document: kind,
                    trace_id,
                };
                spans.push(place.span(id, salvaged, &mut messages));
            }
        }
        spans
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "xray".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
