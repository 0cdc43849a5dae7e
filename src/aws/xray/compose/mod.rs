//! OTLP to segment documents: one a span, two for a local root that calls (see [`local_root`]).
//!
//! Both generations of attribute names are read. What a segment has no field for goes to its metadata, from where
//! [`super::translate`] puts it back.

mod aws;
mod cause;
mod extra;
mod http;
mod json;
mod local_root;
mod name;
mod size;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};

use self::json::{Fields, Json, Put};
pub use self::size::Part;
use self::source::{Source, Surroundings};
use super::ids::write_trace_id;
use super::time::write_seconds;
use super::translate::Compat;

/// A document of X-Ray is at most this long, bytes.
pub const LARGEST_DOCUMENT: usize = 64 << 10;

/// What a user may choose.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Attributes that become annotations; those of resources as `otel.resource.<key>`.
    pub indexed: HashSet<String>,
    pub index_all: bool,
    /// Where a resource names no log group.
    pub log_groups: Vec<String>,
    pub compat: Compat,
    /// `resource_arn` of segments whose spans have none; empty: none.
    pub resource_arn: String,
}

impl Options {
    fn collector(&self) -> bool {
        self.compat == Compat::Collector
    }
}

/// Why a span has no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A trace or span id that is missing, of the wrong length or zero.
    BadId,
    /// Longer than [`LARGEST_DOCUMENT`] whatever is left out.
    TooLarge,
}

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The segment's id, by which X-Ray speaks of it; 16 hex digits.
    pub id: String,
    pub document: String,
    /// It stands for a span; not so the service segment that is made beside a local root.
    pub is_span: bool,
}

/// What became of some spans.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    pub documents: Vec<Composed>,
    pub dropped: Vec<Dropped>,
    /// What was shortened, once for each document.
    pub shortened: Vec<Part>,
}

/// The documents of these spans, in their order.
pub fn documents(spans: &[ResourceSpans], options: &Options) -> Documents {
    let mut out = Documents::default();
    let scopes = || spans.iter().flat_map(|resource| &resource.scope_spans);
    let here: HashSet<&[u8]> = scopes()
        .flat_map(|scope| &scope.spans)
        .map(|span| span.span_id.as_slice())
        .collect();
    for resource_spans in spans {
        let resource = resource_spans.resource.as_ref();
        for scope_spans in &resource_spans.scope_spans {
            for span in &scope_spans.spans {
                let around = Surroundings {
                    resource: resource.map_or(&[], |resource| resource.attributes.as_slice()),
                    resource_schema: &resource_spans.schema_url,
                    scope: scope_spans.scope.as_ref(),
                    scope_schema: &scope_spans.schema_url,
                    parent_is_here: here.contains(span.parent_span_id.as_slice()),
                };
                match local_root::split(span, around.resource) {
                    None => add(span, around, options, true, &mut out),
                    Some(split) => {
                        add(&split.service, around, options, false, &mut out);
                        add(&split.dependency, around, options, true, &mut out);
                    }
                }
            }
        }
    }
    out
}

fn add(span: &Span, around: Surroundings, options: &Options, is_span: bool, out: &mut Documents) {
    let Some(source) = Source::new(span, around, options) else {
        out.dropped.push(Dropped::BadId);
        return;
    };
    let (document, shortened) = compose(&source);
    out.shortened.extend(shortened);
    match size::written(document, LARGEST_DOCUMENT) {
        Some((document, parts)) => {
            out.shortened.extend(parts);
            out.documents.push(Composed {
                id: hex::encode(source.span_id),
                document,
                is_span,
            });
        }
        None => out.dropped.push(Dropped::TooLarge),
    }
}

/// The fields of one document.
fn compose(source: &Source) -> (Fields, Option<Part>) {
    let span = source.span;
    let mut document = Fields::with_capacity(16);
    document.put("name", Some(Json::Text(name::of(source))));
    document.put("id", Some(Json::Text(hex::encode(source.span_id))));
    document.put("trace_id", Some(Json::Text(write_trace_id(&source.trace_id))));
    if !span.parent_span_id.is_empty() {
        document.put("parent_id", Some(Json::Text(hex::encode(&span.parent_span_id))));
    }
    document.put("start_time", Some(seconds(span.start_time_unix_nano)));
    if source.flag("aws.xray.inprogress") == Some(true) {
        document.put("in_progress", Some(Json::Flag(true)));
    } else {
        let end = span.end_time_unix_nano.max(span.start_time_unix_nano);
        document.put("end_time", Some(seconds(end)));
    }
    let own_type = source.text("aws.xray.doc_type");
    document.put_text("type", own_type.or((!source.is_segment).then_some("subsegment")));
    document.put_text("namespace", namespace(source));
    document.put("inferred", source.flag("aws.xray.inferred").map(Json::Flag));
    document.put_text("user", source.first_text(&["enduser.id", "user.id"]));
    if source.is_segment {
        document.put_text("origin", aws::origin(source));
        let configured = Some(source.options.resource_arn.as_str()).filter(|arn| !arn.is_empty());
        document.put_text("resource_arn", source.text("aws.xray.resource_arn").or(configured));
        document.put_map("service", service(source));
    }
    document.extend(cause::flags(source));
    document.put_map("http", http::http(source));
    document.put_map("sql", http::sql(source));
    document.put_map("aws", aws::aws(source));
    document.put("cause", cause::cause(source));
    document.put("traced", source.flag("aws.xray.subsegment.traced").map(Json::Flag));
    extra::links(source, &mut document);
    let too_many = extra::annotations(source, &mut document);
    extra::metadata(source, &mut document);
    (document, too_many.then_some(Part::Annotations))
}

fn seconds(nanos: u64) -> Json {
    let mut text = String::with_capacity(24);
    write_seconds(nanos, &mut text);
    Json::Raw(text)
}

fn namespace<'a>(source: &Source<'a>) -> Option<&'a str> {
    if let Some(told) = source.text("aws.xray.namespace") {
        return Some(told).filter(|told| !told.is_empty());
    }
    if aws::is_api_call(source) || source.text("aws.service").is_some() {
        return Some("aws");
    }
    source.is_call().then_some("remote")
}

fn service(source: &Source) -> Fields {
    const PREFIX: &str = "aws.xray.service.";
    let mut service = Fields::new();
    let version = source.resource_text("service.version");
    if source.was_segment {
        // With a block of Elastic Beanstalk the version is that of its label, unless the segment had its own.
        let kept = source
            .text("aws.xray.aws")
            .is_some_and(|kept| kept.contains("\"elastic_beanstalk\""));
        let own = source.text("aws.xray.service.version");
        service.put_text("version", if kept { own } else { version });
        service.put_text("runtime", source.resource_text("process.runtime.name"));
        service.put_text("runtime_version", source.resource_text("process.runtime.version"));
        for attribute in source.around.resource {
            if let Some(key) = attribute.key.strip_prefix(PREFIX) {
                let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
                service.put(key, value.map(Json::of));
            }
        }
        return service;
    }
    let image = source.resource_texts("container.image.tags").first().copied();
    let image = image.or_else(|| source.resource_text("container.image.tag"));
    service.put_text("version", version.or(image));
    service
}
