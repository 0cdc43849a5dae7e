//! `verbosity: detailed`: every field, in the Collector's layout.

mod metrics;

use std::fmt::{Display, Write};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};

use super::text::{Hex, Safe, Time, typed};

/// Lines of text.
#[derive(Default)]
pub struct Lines(String);

impl Lines {
    /// One line.
    pub fn line(&mut self, text: impl Display) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{text}");
    }

    /// A titled list of attributes; nothing where there are none.
    pub fn attributes(&mut self, title: &str, indent: &str, attributes: &[KeyValue]) {
        if attributes.is_empty() {
            return;
        }
        self.line(title);
        for attribute in attributes {
            let value = typed(attribute.value.as_ref());
            self.line(format_args!("{indent}-> {}: {value}", Safe(&attribute.key)));
        }
    }

    fn resource(&mut self, title: &str, index: usize, resource: Option<&Resource>, schema_url: &str) {
        self.line(format_args!("{title} #{index}"));
        self.line(format_args!("Resource SchemaURL: {}", Safe(schema_url)));
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        self.attributes("Resource attributes:", "     ", attributes);
    }

    fn scope(&mut self, title: &str, index: usize, scope: Option<&InstrumentationScope>, schema_url: &str) {
        self.line(format_args!("{title} #{index}"));
        self.line(format_args!("{title} SchemaURL: {}", Safe(schema_url)));
        let (name, version) = scope.map_or(("", ""), |scope| (&scope.name, &scope.version));
        self.line(format_args!("InstrumentationScope {} {}", Safe(name), Safe(version)));
        let attributes = scope.map_or(&[][..], |scope| &scope.attributes);
        self.attributes("InstrumentationScope attributes:", "     ", attributes);
    }
}

pub fn traces(request: &ExportTraceServiceRequest) -> String {
    let mut out = Lines::default();
    for (index, group) in request.resource_spans.iter().enumerate() {
        out.resource("ResourceSpans", index, group.resource.as_ref(), &group.schema_url);
        for (index, scope) in group.scope_spans.iter().enumerate() {
            out.scope("ScopeSpans", index, scope.scope.as_ref(), &scope.schema_url);
            for (index, span) in scope.spans.iter().enumerate() {
                span_lines(&mut out, index, span);
            }
        }
    }
    out.0
}

fn span_lines(out: &mut Lines, index: usize, span: &Span) {
    let kind = match SpanKind::try_from(span.kind) {
        Ok(SpanKind::Internal) => "Internal",
        Ok(SpanKind::Server) => "Server",
        Ok(SpanKind::Client) => "Client",
        Ok(SpanKind::Producer) => "Producer",
        Ok(SpanKind::Consumer) => "Consumer",
        Ok(SpanKind::Unspecified) | Err(_) => "Unspecified",
    };
    let status = span.status.as_ref();
    let code = match status.map(|status| StatusCode::try_from(status.code)) {
        Some(Ok(StatusCode::Ok)) => "Ok",
        Some(Ok(StatusCode::Error)) => "Error",
        _ => "Unset",
    };
    out.line(format_args!("Span #{index}"));
    out.line(format_args!("    Trace ID       : {}", Hex(&span.trace_id)));
    out.line(format_args!("    Parent ID      : {}", Hex(&span.parent_span_id)));
    out.line(format_args!("    ID             : {}", Hex(&span.span_id)));
    out.line(format_args!("    Name           : {}", Safe(&span.name)));
    out.line(format_args!("    Kind           : {kind}"));
    if !span.trace_state.is_empty() {
        out.line(format_args!("    TraceState     : {}", Safe(&span.trace_state)));
    }
    out.line(format_args!("    Start time     : {}", Time(span.start_time_unix_nano)));
    out.line(format_args!("    End time       : {}", Time(span.end_time_unix_nano)));
    out.line(format_args!("    Status code    : {code}"));
    out.line(format_args!(
        "    Status message : {}",
        Safe(status.map_or("", |status| &status.message))
    ));
    dropped(out, "DroppedAttributesCount", span.dropped_attributes_count);
    dropped(out, "DroppedEventsCount", span.dropped_events_count);
    dropped(out, "DroppedLinksCount", span.dropped_links_count);
    out.attributes("Attributes:", "     ", &span.attributes);
    if !span.events.is_empty() {
        out.line("Events:");
    }
    for (index, event) in span.events.iter().enumerate() {
        out.line(format_args!("SpanEvent #{index}"));
        out.line(format_args!("     -> Name: {}", Safe(&event.name)));
        out.line(format_args!("     -> Timestamp: {}", Time(event.time_unix_nano)));
        out.line(format_args!(
            "     -> DroppedAttributesCount: {}",
            event.dropped_attributes_count
        ));
        out.attributes("     -> Attributes::", "          ", &event.attributes);
    }
    if !span.links.is_empty() {
        out.line("Links:");
    }
    for (index, link) in span.links.iter().enumerate() {
        out.line(format_args!("SpanLink #{index}"));
        out.line(format_args!("     -> Trace ID: {}", Hex(&link.trace_id)));
        out.line(format_args!("     -> ID: {}", Hex(&link.span_id)));
        out.line(format_args!("     -> TraceState: {}", Safe(&link.trace_state)));
        out.line(format_args!(
            "     -> DroppedAttributesCount: {}",
            link.dropped_attributes_count
        ));
        out.attributes("     -> Attributes::", "          ", &link.attributes);
    }
}

fn dropped(out: &mut Lines, title: &str, count: u32) {
    if count > 0 {
        out.line(format_args!("    {title}: {count}"));
    }
}

pub fn logs(request: &ExportLogsServiceRequest) -> String {
    let mut out = Lines::default();
    for (index, group) in request.resource_logs.iter().enumerate() {
        out.resource("ResourceLog", index, group.resource.as_ref(), &group.schema_url);
        for (index, scope) in group.scope_logs.iter().enumerate() {
            out.scope("ScopeLogs", index, scope.scope.as_ref(), &scope.schema_url);
            for (index, record) in scope.log_records.iter().enumerate() {
                log_lines(&mut out, index, record);
            }
        }
    }
    out.0
}

fn log_lines(out: &mut Lines, index: usize, record: &LogRecord) {
    out.line(format_args!("LogRecord #{index}"));
    out.line(format_args!(
        "ObservedTimestamp: {}",
        Time(record.observed_time_unix_nano)
    ));
    out.line(format_args!("Timestamp: {}", Time(record.time_unix_nano)));
    out.line(format_args!("SeverityText: {}", Safe(&record.severity_text)));
    out.line(format_args!(
        "SeverityNumber: {}({})",
        severity(record.severity_number),
        record.severity_number
    ));
    if !record.event_name.is_empty() {
        out.line(format_args!("EventName: {}", Safe(&record.event_name)));
    }
    out.line(format_args!("Body: {}", typed(record.body.as_ref())));
    out.attributes("Attributes:", "     ", &record.attributes);
    out.line(format_args!("Trace ID: {}", Hex(&record.trace_id)));
    out.line(format_args!("Span ID: {}", Hex(&record.span_id)));
    out.line(format_args!("Flags: {}", record.flags));
}

/// `Trace`, `Trace2`, ..., `Fatal4`.
fn severity(number: i32) -> String {
    const NAMES: [&str; 6] = ["Trace", "Debug", "Info", "Warn", "Error", "Fatal"];
    let Some(index) = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) else {
        return "Unspecified".to_owned();
    };
    match (NAMES.get(index / 4), index % 4) {
        (None, _) => "Unspecified".to_owned(),
        (Some(name), 0) => (*name).to_owned(),
        (Some(name), step) => format!("{name}{}", step + 1),
    }
}

pub fn metrics(request: &ExportMetricsServiceRequest) -> String {
    let mut out = Lines::default();
    for (index, group) in request.resource_metrics.iter().enumerate() {
        out.resource("ResourceMetrics", index, group.resource.as_ref(), &group.schema_url);
        for (index, scope) in group.scope_metrics.iter().enumerate() {
            out.scope("ScopeMetrics", index, scope.scope.as_ref(), &scope.schema_url);
            for (index, metric) in scope.metrics.iter().enumerate() {
                metrics::metric_lines(&mut out, index, metric);
            }
        }
    }
    out.0
}
