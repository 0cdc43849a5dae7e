//! One segment or subsegment as a span: name, kind, flags, status, links; the blocks are in the modules beside.

use std::collections::HashMap;

use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::attributes::{Attributes, any, text};
use super::salvage::{Marks, Reason, Salvaged};
use super::walk::{Segment, Walk};
use super::{DocumentKind, cause, extra, http, restore, sql};
use crate::aws::xray::document::{Kind, NodeId};
use crate::aws::xray::ids::{self, SpanId, TraceId};
use crate::aws::xray::urls::is_host_name;

/// The messages of all exceptions of a document by their ids; made when a cause first refers to one.
pub(super) type Messages = Option<HashMap<String, String>>;

/// One segment where it stands.
pub(super) struct Place<'w, 'a> {
    pub(super) walk: &'w Walk<'a>,
    pub(super) segment: &'w Segment,
    pub(super) is_outermost: bool,
    pub(super) document: DocumentKind,
    pub(super) trace_id: &'w TraceId,
}

/// A span under construction.
pub(super) struct Draft {
    pub(super) attributes: Attributes,
    pub(super) kind: SpanKind,
    pub(super) marks: Marks,
    /// Of the response, where it is a number.
    pub(super) http_status: Option<i64>,
    /// It has exceptions of its own, and the first one's type.
    pub(super) exception: Option<String>,
    /// What a cause refers to.
    pub(super) cause_message: Option<String>,
}

impl Draft {
    /// Counts a reason, and marks the span with it.
    pub(super) fn salvage(&mut self, reason: Reason, salvaged: &mut Salvaged) {
        self.marks.add(reason);
        salvaged.count(reason);
    }
}

impl<'w> Place<'w, '_> {
    /// A segment of its own, and not a subsegment.
    pub(super) fn is_segment(&self) -> bool {
        self.is_outermost && self.document != DocumentKind::Subsegment
    }

    /// A subsegment that came without its segment.
    pub(super) fn is_independent(&self) -> bool {
        self.is_outermost && self.document == DocumentKind::Subsegment
    }

    pub(super) fn text(&self, field: Option<NodeId>) -> Option<&'w str> {
        self.walk.text(field)
    }

    pub(super) fn span(&self, id: SpanId, salvaged: &mut Salvaged, messages: &mut Messages) -> Span {
        let (walk, segment) = (self.walk, self.segment);
        let options = walk.options;
        let mut draft = Draft {
            attributes: Attributes(Vec::with_capacity(16)),
            kind: self.kind(),
            marks: segment.marks,
            http_status: None,
            exception: None,
            cause_message: None,
        };
        self.note_what_was_settled(&mut draft, salvaged);
        let name = walk.name(segment);
        draft.attributes.text("aws.xray.segment.name", name);
        let parent = self.parent(&mut draft, salvaged);
        self.describe(&mut draft, salvaged);
        http::translate(self, &mut draft, salvaged);
        sql::translate(self, &mut draft);
        self.describe_peer(&mut draft);
        super::aws::translate(self, &mut draft, salvaged);
        let events = cause::translate(self, id, &mut draft, salvaged, messages);
        let status = self.status(&mut draft);
        let links = self.links(&mut draft, salvaged);
        let remote = self.is_segment() && parent.is_some();
        let mut span = Span {
            trace_id: self.trace_id.to_vec(),
            span_id: id.to_vec(),
            parent_span_id: parent.map(|parent| parent.to_vec()).unwrap_or_default(),
            flags: if options.collector() {
                0
            } else {
                flags(parent.is_some(), remote)
            },
            name: name.to_owned(),
            kind: draft.kind as i32,
            start_time_unix_nano: segment.start,
            end_time_unix_nano: if segment.in_progress && options.collector() {
                0
            } else {
                segment.end
            },
            events,
            links,
            status: Some(status),
            ..Span::default()
        };
        extra::annotations(self, &mut draft, salvaged);
        if self.is_segment() && !options.collector() {
            name_by_route(&mut span, &draft.attributes);
        }
        let restored = restore::Restored::read(self);
        if restored.is_none() {
            extra::metadata(self, &mut draft, salvaged);
        }
        extra::unknown(self, &mut draft);
        if !draft.marks.is_empty() {
            let names = draft.marks.names().map(str::to_owned).collect();
            draft.attributes.texts("aws.xray.salvaged", names);
        }
        span.attributes = draft.attributes.0;
        if let Some(restored) = restored {
            restored.apply(self, &mut span);
        }
        span
    }

    /// The reasons that the walk found are counted here, once a span.
    fn note_what_was_settled(&self, draft: &mut Draft, salvaged: &mut Salvaged) {
        let (walk, segment) = (self.walk, self.segment);
        if segment.time_error {
            draft.attributes.flag("aws.xray.time_error", true);
            for reason in [Reason::StartTime, Reason::EndTime] {
                if draft.marks.names().any(|name| name == reason.name()) {
                    salvaged.count(reason);
                }
            }
        }
        if segment.in_progress {
            draft.attributes.flag("aws.xray.inprogress", true);
        }
        if walk.text(segment.fields.name).is_none_or(str::is_empty) {
            draft.salvage(Reason::Name, salvaged);
        }
    }

    /// The id of what is around it: the enclosing segment, or what the document says of the outermost.
    fn parent(&self, draft: &mut Draft, salvaged: &mut Salvaged) -> Option<SpanId> {
        if let Some(parent) = self.segment.parent {
            return self.walk.segments[parent].id;
        }
        // What was inside a dropped outermost segment belongs to that one's parent.
        let stated = self
            .segment
            .fields
            .parent_id
            .or(self.walk.segments[0].fields.parent_id)?;
        let parent = self.text(Some(stated)).and_then(ids::span_id);
        if parent.is_none() {
            draft.salvage(Reason::ParentId, salvaged);
        }
        parent
    }

    fn kind(&self) -> SpanKind {
        let fields = &self.segment.fields;
        let namespace = self.text(fields.namespace);
        if self.walk.options.collector() {
            return self.collectors_kind(namespace);
        }
        match namespace {
            Some("aws") if self.sends_messages() => SpanKind::Producer,
            Some("aws" | "remote") => SpanKind::Client,
            _ if !self.is_segment() => SpanKind::Internal,
            _ if self.is_fed_by_a_queue() => SpanKind::Consumer,
            _ => SpanKind::Server,
        }
    }

    fn collectors_kind(&self, namespace: Option<&str>) -> SpanKind {
        let fields = &self.segment.fields;
        let is_top = self.is_outermost && !(fields.parent_id.is_some() && self.is_independent());
        let request = self.walk.get(fields.http, "request");
        match namespace {
            _ if is_top => SpanKind::Server,
            Some("aws" | "remote") => SpanKind::Client,
            _ if self.walk.get(request, "client_ip").is_some() => SpanKind::Server,
            _ => SpanKind::Internal,
        }
    }

    /// A call that puts a message into a queue, a topic, a stream or a bus.
    fn sends_messages(&self) -> bool {
        let operation = self
            .walk
            .get_text(self.segment.fields.aws, "operation")
            .unwrap_or_default();
        match self.walk.name(self.segment) {
            "SQS" => matches!(operation, "SendMessage" | "SendMessageBatch"),
            "SNS" => matches!(operation, "Publish" | "PublishBatch"),
            "Kinesis" => matches!(operation, "PutRecord" | "PutRecords"),
            "EventBridge" | "Events" => operation == "PutEvents",
            _ => false,
        }
    }

    /// A Lambda function's segment that names the queue, or links to the traces of the messages it was called with.
    fn is_fed_by_a_queue(&self) -> bool {
        let fields = &self.segment.fields;
        let is_lambda = self
            .text(fields.origin)
            .is_some_and(|origin| origin.starts_with("AWS::Lambda"));
        is_lambda && (self.walk.get(fields.aws, "queue_url").is_some() || fields.links.is_some())
    }

    /// Namespace, type, and the fields of the segment that need no block.
    fn describe(&self, draft: &mut Draft, salvaged: &mut Salvaged) {
        let fields = &self.segment.fields;
        let options = self.walk.options;
        let attributes = &mut draft.attributes;
        if let Some(user) = self.text(fields.user) {
            attributes.text("enduser.id", user);
            if options.stable() && options.old() {
                attributes.text("user.id", user);
            }
        }
        for (field, key) in [
            (fields.origin, "aws.xray.origin"),
            (fields.resource_arn, "aws.xray.resource_arn"),
        ] {
            if let Some(text) = self.text(field) {
                attributes.text(key, text);
            }
        }
        for (field, key) in [
            (fields.fault, "aws.xray.fault"),
            (fields.error, "aws.xray.error"),
            (fields.throttle, "aws.xray.throttle"),
            (fields.inferred, "aws.xray.inferred"),
        ] {
            if self.walk.is_true(field) {
                attributes.flag(key, true);
            }
        }
        if let Some(traced) = fields.traced.and_then(|traced| self.walk.tree.flag(traced)) {
            attributes.flag("aws.xray.subsegment.traced", traced);
        }
        let is_client = matches!(draft.kind, SpanKind::Client | SpanKind::Producer);
        self.namespace_and_type(draft, is_client, salvaged);
        for field in [fields.fault, fields.error, fields.throttle, fields.in_progress] {
            if field.is_some_and(|field| self.walk.tree.flag(field).is_none()) {
                draft.salvage(Reason::FieldType, salvaged);
            }
        }
    }

    /// Whom a subsegment that came alone calls.
    fn describe_peer(&self, draft: &mut Draft) {
        let is_client = matches!(draft.kind, SpanKind::Client | SpanKind::Producer);
        if !self.is_independent() || !is_client || self.walk.options.collector() {
            return;
        }
        let name = self.walk.name(self.segment);
        draft.attributes.text("peer.service", name);
        // A database's address is told by its own block or not at all.
        if is_host_name(name) && self.segment.fields.sql.is_none() {
            draft.attributes.text("server.address", name);
        }
    }

    /// What the way back cannot tell from the kind.
    fn namespace_and_type(&self, draft: &mut Draft, is_client: bool, salvaged: &mut Salvaged) {
        let fields = &self.segment.fields;
        let namespace = self.text(fields.namespace);
        if fields.namespace.is_some() && !matches!(namespace, Some("aws" | "remote" | "local")) {
            draft.salvage(Reason::Namespace, salvaged);
        }
        let derived = match namespace {
            Some("aws") => Some("aws"),
            _ if is_client => Some("remote"),
            _ => None,
        };
        if namespace != derived {
            draft
                .attributes
                .text("aws.xray.namespace", namespace.unwrap_or_default());
        }
        if !self.is_outermost {
            return;
        }
        let doc_type = self.text(fields.doc_type);
        let has_parent = fields.parent_id.is_some();
        let derived = if self.is_independent() && has_parent {
            Some("subsegment")
        } else {
            None
        };
        if let Some(doc_type) = doc_type.filter(|doc_type| Some(*doc_type) != derived) {
            draft.attributes.text("aws.xray.doc_type", doc_type);
        }
    }

    fn status(&self, draft: &mut Draft) -> Status {
        let (walk, fields) = (self.walk, &self.segment.fields);
        let options = walk.options;
        let http = draft.http_status;
        let is_client = matches!(draft.kind, SpanKind::Client | SpanKind::Producer);
        let clients_fault = walk.is_true(fields.error) || walk.is_true(fields.throttle);
        let is_error = if options.collector() {
            http.is_some_and(|status| !(100..399).contains(&status)) || fields.cause.is_some()
        } else {
            walk.is_true(fields.fault)
                || draft.exception.is_some()
                || http.is_some_and(|status| status >= 500 || (is_client && status >= 400))
                || (clients_fault && (!self.is_segment() || options.treat_client_errors))
        };
        if !is_error {
            return Status::default();
        }
        let error_type = match (&draft.exception, http) {
            (Some(exception), _) if !exception.is_empty() => exception.clone(),
            (_, Some(status)) if status >= 400 => status.to_string(),
            _ if walk.is_true(fields.fault) => "fault".to_owned(),
            _ if walk.is_true(fields.throttle) => "throttle".to_owned(),
            _ => "error".to_owned(),
        };
        draft.attributes.text("error.type", error_type);
        Status {
            code: StatusCode::Error as i32,
            message: draft.cause_message.take().unwrap_or_default(),
        }
    }

    fn links(&self, draft: &mut Draft, salvaged: &mut Salvaged) -> Vec<Link> {
        let fields = &self.segment.fields;
        let tree = self.walk.tree;
        let mut links = Vec::new();
        let stated = fields.links.into_iter().flat_map(|list| tree.children(list));
        for link in stated {
            let trace_id = self.walk.get_text(Some(link), "trace_id").and_then(ids::trace_id);
            let span_id = self.walk.get_text(Some(link), "id").and_then(ids::span_id);
            let (Some(trace_id), Some(span_id)) = (trace_id, span_id) else {
                draft.salvage(Reason::Link, salvaged);
                continue;
            };
            let mut attributes = Attributes::default();
            if let Some(map) = self.walk.get(Some(link), "attributes") {
                for entry in tree.children(map) {
                    if tree.kind(entry) != Kind::Null {
                        attributes.set(tree.key(entry), any(tree, entry));
                    }
                }
            }
            links.push(link_to(trace_id, span_id, attributes));
        }
        let precursors = fields.precursor_ids.into_iter().flat_map(|list| tree.children(list));
        for precursor in precursors {
            match tree.text(precursor).and_then(ids::span_id) {
                Some(span_id) => {
                    let mut attributes = Attributes::default();
                    attributes.set("aws.xray.link.type", text("precursor"));
                    links.push(link_to(*self.trace_id, span_id, attributes));
                }
                None => draft.salvage(Reason::Link, salvaged),
            }
        }
        links
    }
}

fn link_to(trace_id: TraceId, span_id: SpanId, attributes: Attributes) -> Link {
    Link {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        attributes: attributes.0,
        ..Link::default()
    }
}

/// W3C's sampled flag, and OTLP's two that say whether the parent is in another process.
fn flags(has_parent: bool, is_remote: bool) -> u32 {
    let known = if has_parent { 0x100 } else { 0 };
    let remote = if is_remote { 0x200 } else { 0 };
    0x01 | known | remote
}

/// `GET /users/{id}` where an annotation tells the route.
fn name_by_route(span: &mut Span, attributes: &Attributes) {
    let method = attributes
        .get_text("http.request.method")
        .or(attributes.get_text("http.method"));
    let route = attributes.get_text("http.route").or(attributes.get_text("http_route"));
    if let (Some(method), Some(route)) = (method, route)
        && !route.is_empty()
    {
        span.name = format!("{method} {route}");
    }
}
