//! The `cause` block and the flags `error`, `fault`, `throttle`.

use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::json::{Fields, Json, Put};
use super::source::{Source, as_text};
use super::{aws, http};
use crate::aws::xray::stack::{self, Frame};
use crate::aws::xray::time::write_seconds;
use crate::aws::xray::translate::exception_id;

/// The event that AWS's auto-instrumentation writes for a failed call.
const HTTP_FAILURE: &str = "HTTP request failure";

fn code(source: &Source) -> StatusCode {
    source
        .span
        .status
        .as_ref()
        .map_or(StatusCode::Unset, |status| status.code())
}

/// `error`, `fault`, `throttle`: only those that are true.
pub(super) fn flags(source: &Source) -> Fields {
    let mut flags = Fields::new();
    let told = ["error", "fault", "throttle"].map(|name| (name, source.flag(&format!("aws.xray.{name}"))));
    if source.was_segment || told.iter().any(|(_, flag)| flag.is_some()) {
        for (name, flag) in told {
            flags.put(name, flag.filter(|flag| *flag).map(Json::Flag));
        }
        return flags;
    }
    let status = http::status(source);
    let code = code(source);
    let collectors_404 = source.options.collector() && status == Some(404);
    if code == StatusCode::Ok && !collectors_404 {
        return flags;
    }
    match status {
        Some(400..=499) => {
            flags.put("error", Some(Json::Flag(true)));
            flags.put("throttle", (status == Some(429)).then_some(Json::Flag(true)));
        }
        Some(500..=599) => flags.put("fault", Some(Json::Flag(true))),
        _ if code == StatusCode::Error => flags.put("fault", Some(Json::Flag(true))),
        _ => {}
    }
    flags
}

/// Which events are exceptions, in the order of `cause.exceptions`.
pub(super) fn exception_events<'a>(source: &Source<'a>) -> impl Iterator<Item = &'a Event> {
    let is_api = aws::is_api_call(source);
    let events = source.span.events.iter();
    events.filter(move |event| event.name == "exception" || (is_api && event.name == HTTP_FAILURE))
}

/// `cause`: an object, an id, or nothing.
pub(super) fn cause(source: &Source) -> Option<Json> {
    if let Some(id) = source.text("aws.xray.cause.id") {
        return Some(Json::text(id));
    }
    let mut cause = Fields::new();
    cause.put_text("working_directory", source.text("aws.xray.cause.working_directory"));
    let paths = source.texts("aws.xray.cause.paths");
    if !paths.is_empty() {
        cause.put("paths", Some(Json::List(paths.into_iter().map(Json::text).collect())));
    }
    let error_type = source.text("error.type");
    let mut exceptions: Vec<Json> = Vec::new();
    for (index, event) in exception_events(source).enumerate() {
        let exception = if event.name == HTTP_FAILURE {
            failed_call(source, event, index)
        } else {
            exception(source, event, index)
        };
        exceptions.push(Json::Map(exception));
    }
    if exceptions.is_empty() && !source.was_segment && code(source) == StatusCode::Error {
        exceptions.extend(of_status(source, error_type).map(Json::Map));
    }
    if !exceptions.is_empty() {
        cause.put("exceptions", Some(Json::List(exceptions)));
    }
    (!cause.is_empty()).then_some(Json::Map(cause))
}

fn attribute<'a>(event: &'a Event, key: &str) -> Option<&'a str> {
    let found = event.attributes.iter().find(|attribute| attribute.key == key)?;
    as_text(found.value.as_ref()?.value.as_ref()?)
}

fn id(source: &Source, index: usize) -> Json {
    Json::Text(exception_id(&source.trace_id, source.span_id, index))
}

fn remote(source: &Source) -> Option<Json> {
    (!source.was_segment && source.is_call()).then_some(Json::Flag(true))
}

fn of_status(source: &Source, error_type: Option<&str>) -> Option<Fields> {
    let message = source
        .span
        .status
        .as_ref()
        .map(|status| status.message.as_str())
        .filter(|text| !text.is_empty());
    if message.is_none() && error_type.is_none() {
        return None;
    }
    let mut exception = Fields::new();
    exception.put("id", Some(id(source, 0)));
    exception.put_text("message", message);
    exception.put_text(
        "type",
        if source.options.collector() {
            Some("")
        } else {
            error_type
        },
    );
    exception.put("remote", remote(source));
    Some(exception)
}

/// `code@time@message`, as X-Ray shows failed calls of AWS's own instrumentation.
fn failed_call(source: &Source, event: &Event, index: usize) -> Fields {
    let status = event
        .attributes
        .iter()
        .find(|attribute| attribute.key == "http.response.status_code");
    let status = status.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    let mut message = match status {
        Some(opentelemetry_proto::tonic::common::v1::any_value::Value::IntValue(code)) => code.to_string(),
        Some(value) => as_text(value).unwrap_or_default().to_owned(),
        None => String::new(),
    };
    message.push('@');
    write_seconds(event.time_unix_nano, &mut message);
    message.push('@');
    message.push_str(attribute(event, "aws.http.error_message").unwrap_or_default());
    let mut exception = Fields::new();
    exception.put("id", Some(id(source, index)));
    exception.put("message", Some(Json::Text(message)));
    exception.put_text("type", Some("aws.http.error.event"));
    exception.put("remote", remote(source));
    exception
}

fn exception(source: &Source, event: &Event, index: usize) -> Fields {
    let get = |key| attribute(event, key);
    let value = |key: &str| {
        let found = event.attributes.iter().find(|attribute| attribute.key == key)?;
        found.value.as_ref()?.value.as_ref().map(Json::of)
    };
    let (kind, message) = (get("exception.type"), get("exception.message"));
    let mut exception = Fields::new();
    let given = get("aws.xray.exception.id").map(Json::text);
    exception.put("id", Some(given.unwrap_or_else(|| id(source, index))));
    exception.put_text("message", message);
    exception.put_text("type", kind);
    exception.put("remote", value("aws.xray.exception.remote").or_else(|| remote(source)));
    exception.put("truncated", value("aws.xray.exception.truncated"));
    exception.put("skipped", value("aws.xray.exception.skipped"));
    exception.put("cause", value("aws.xray.exception.cause"));
    let kept = get("aws.xray.exception.stack").map(super::json::raw_or_text);
    let head = stack::head(kind.unwrap_or_default(), message.unwrap_or_default());
    let read = || get("exception.stacktrace").map(|text| frames(&stack::read(text, &head)));
    exception.put(
        "stack",
        kept.or_else(read).filter(|stack| *stack != Json::List(Vec::new())),
    );
    exception
}

fn frames(frames: &[Frame]) -> Json {
    let field = |frame: &Frame| {
        let mut fields = Fields::new();
        fields.put_text("path", frame.path);
        fields.put("line", frame.line.map(Json::Int));
        fields.put_text("label", frame.label);
        Json::Map(fields)
    };
    Json::List(frames.iter().map(field).collect())
}
