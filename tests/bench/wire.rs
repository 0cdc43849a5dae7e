//! What each kind of work on the wire costs per span, beside what decoding costs: `cargo bench --bench wire`.
//!
//! One request of 1,000 spans of about 760 bytes, one resource, one scope. Each figure is the fastest of several
//! rounds, as other processes only ever add time.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use radiosonde::pdata::{Batch, Check, DoorLimits, Edit, Origin, Place, Rewriter, Signal, Visit, estimate_decoded};
use radiosonde::wire::{self, ResourceGroup, SetMode, Text, Value, View, WireError};

const SPANS: usize = 1_000;

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

fn span(at: usize) -> Span {
    let at = at as u64 + 1;
    Span {
        trace_id: [at.to_be_bytes(), (at * 7).to_be_bytes()].concat(),
        span_id: (at * 31).to_be_bytes().to_vec(),
        parent_span_id: (at * 17).to_be_bytes().to_vec(),
        flags: 257,
        name: "GET /api/v1/products/{id}".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + at,
        end_time_unix_nano: 1_700_000_000_005_000_000 + at,
        attributes: vec![
            text("http.request.method", "GET"),
            text(
                "url.full",
                "https://shop.example.com/api/v1/products/0PUK6V6EV0?currency=EUR&session=31415926",
            ),
            text("url.path", "/api/v1/products/0PUK6V6EV0"),
            text("server.address", "shop.example.com"),
            attribute("server.port", Any::IntValue(443)),
            text("network.protocol.version", "2"),
            text(
                "user_agent.original",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124",
            ),
            text("http.route", "/api/v1/products/{id}"),
            attribute("http.response.status_code", Any::IntValue(200)),
            text("client.address", "203.0.113.77"),
            text("enduser.id", &format!("user-{at}")),
            text("app.session", "6f1c9f5e-2c8d-4ac5-9f0b-1f4c6f4a8d33"),
        ],
        status: Some(Status::default()),
        ..Span::default()
    }
}

fn request() -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", "frontend"), text("host.name", "ip-10-0-0-1")],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "http".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: (0..SPANS).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// Prints nanoseconds per span: the fastest of many rounds.
#[allow(clippy::disallowed_methods, clippy::print_stdout)] // A benchmark asks the machine and tells a person.
fn measure(name: &str, mut work: impl FnMut()) {
    const ROUNDS: usize = 60;
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        let begin = std::time::Instant::now();
        work();
        fastest = fastest.min(begin.elapsed());
    }
    println!("{name:<44} {:>8.1} ns/span", fastest.as_nanos() as f64 / SPANS as f64);
}

fn batch(bytes: &Bytes) -> Batch {
    Batch::from_wire(Signal::Traces, bytes.clone(), SPANS as u32, Origin::internal())
}

/// Reads one attribute key in every span.
fn count_status(bytes: &[u8]) -> Result<usize, WireError> {
    let mut found = 0;
    for group in wire::resources(bytes) {
        for scope in group?.scopes() {
            for span in scope?.spans() {
                found += usize::from(span?.attribute("http.response.status_code")?.is_some());
            }
        }
    }
    Ok(found)
}

/// Reads one attribute of each span and sets another: filter and upsert in one pass.
struct FilterAndUpsert {
    value: Vec<u8>,
}

impl Rewriter for FilterAndUpsert {
    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let route = wire::Span::of(edit.bytes()).attribute("http.route")?;
        if route
            .and_then(|route| route.as_text())
            .is_some_and(|route| route == "/health")
        {
            return Ok(Visit::Drop);
        }
        let value = &self.value;
        edit.edit_attributes(|list| list.set(SetMode::Upsert, "deployment.environment", value))?;
        Ok(Visit::Keep)
    }
}

struct ResourceUpsert {
    value: Vec<u8>,
}

impl Rewriter for ResourceUpsert {
    fn resource(&mut self, _group: ResourceGroup<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let value = &self.value;
        edit.edit_attributes(|list| list.set(SetMode::Upsert, "deployment.environment", value))?;
        Ok(Visit::Keep)
    }

    fn item(&mut self, _place: Place<'_>, _edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        Ok(Visit::Keep)
    }
}

/// Drops every other span.
struct DropHalf(bool);

impl Rewriter for DropHalf {
    fn item(&mut self, _place: Place<'_>, _edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        self.0 = !self.0;
        Ok(if self.0 { Visit::Drop } else { Visit::Keep })
    }
}

#[allow(clippy::print_stdout)] // A benchmark tells a person.
fn main() {
    let request = request();
    let bytes = Bytes::from(request.encode_to_vec());
    println!("{} bytes, {} bytes a span", bytes.len(), bytes.len() / SPANS);
    let frame = DoorLimits::default();
    let full = DoorLimits {
        check: Check::Full,
        ..DoorLimits::default()
    };
    let origin = Origin::internal();
    let enter = |limits: &DoorLimits| Batch::at_door(Signal::Traces, bytes.clone(), limits, origin.clone());
    measure("door", || drop(black_box(enter(&frame))));
    measure("door, check: full", || drop(black_box(enter(&full))));
    measure("estimate of the decoded size", || {
        black_box(estimate_decoded(Signal::Traces, black_box(&bytes)));
    });
    measure("one attribute key of every span", || {
        black_box(count_status(black_box(&bytes)).ok());
    });
    let value = Value::String(Text::new(b"production")).encode().unwrap_or_default();
    measure("resource upsert", || {
        let mut rewriter = ResourceUpsert { value: value.clone() };
        black_box(batch(&bytes).rewrite(&mut rewriter).ok());
    });
    measure("filter on one attribute and upsert another", || {
        let mut rewriter = FilterAndUpsert { value: value.clone() };
        black_box(batch(&bytes).rewrite(&mut rewriter).ok());
    });
    measure("drop every other span", || {
        black_box(batch(&bytes).rewrite(&mut DropHalf(false)).ok());
    });
    measure("split in the middle", || {
        black_box(batch(&bytes).split_at_items(SPANS / 2).ok());
    });
    measure("split into pieces of 100 kB", || {
        black_box(batch(&bytes).split_by_bytes(100_000).ok());
    });
    measure("to JSON", || drop(black_box(batch(&bytes).to_json())));
    if let Ok(json) = batch(&bytes).to_json() {
        measure("from JSON", || {
            drop(black_box(Batch::from_json(
                Signal::Traces,
                &json,
                &frame,
                origin.clone(),
            )));
        });
    }
    measure("prost: decode", || {
        black_box(ExportTraceServiceRequest::decode(black_box(bytes.clone())).ok());
    });
    measure("prost: encode", || drop(black_box(request.encode_to_vec())));
    measure("prost: decode and encode again", || {
        let decoded = ExportTraceServiceRequest::decode(bytes.clone());
        black_box(decoded.map(|decoded| decoded.encode_to_vec()).ok());
    });
}
