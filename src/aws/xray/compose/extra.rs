//! Links, annotations, and the metadata that holds what has no other place.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::Link;

use super::json::{Fields, Json, Put, fields_of, map_of, raw_or_text};
use super::source::Source;
use super::{cause, json};
use crate::aws::xray::ids::{SpanId, TraceId, write_trace_id};
use crate::aws::xray::keys;

/// X-Ray indexes so many annotations of a trace; a document with more wastes them.
const MOST_ANNOTATIONS: usize = 50;
/// Characters of an annotation's text and key.
const LONGEST_ANNOTATION: usize = 1000;
const LONGEST_KEY: usize = 500;

/// Attributes that the translation of a segment makes of its fields.
const MADE_BY_TRANSLATION: [&str; 26] = [
    "error.type",
    "peer.service",
    "server.address",
    "server.port",
    "url.scheme",
    "url.path",
    "url.query",
    "url.full",
    "http.url",
    "user.id",
    "aws.service",
    "aws.operation",
    "rpc.system",
    "rpc.service",
    "rpc.method",
    "db.system",
    "db.system.name",
    "db.namespace",
    "db.name",
    "db.connection_string",
    "db.query.text",
    "db.statement",
    "db.user",
    "http.route",
    "aws.account_id",
    "aws.table_name",
];
/// The same of the resource, by how their keys begin.
const MADE_OF_RESOURCE: [&str; 9] = [
    "service.",
    "cloud.",
    "host.",
    "container.",
    "aws.",
    "k8s.",
    "telemetry.",
    "process.runtime.",
    "faas.",
];

fn ids_of(link: &Link) -> Option<(TraceId, SpanId)> {
    let trace_id: TraceId = link.trace_id.as_slice().try_into().ok()?;
    let span_id: SpanId = link.span_id.as_slice().try_into().ok()?;
    (trace_id != [0; 16] && span_id != [0; 8]).then_some((trace_id, span_id))
}

fn is_precursor(source: &Source, link: &Link) -> bool {
    let is_marked = |attribute: &KeyValue| attribute.key == "aws.xray.link.type";
    source.was_segment && link.trace_id == source.trace_id && link.attributes.iter().any(is_marked)
}

/// `links` and `precursor_ids`. A link with a bad id is left out.
pub(super) fn links(source: &Source, document: &mut Fields) {
    let (mut links, mut precursors) = (Vec::new(), Vec::new());
    for link in &source.span.links {
        let Some((trace_id, span_id)) = ids_of(link) else {
            continue;
        };
        if is_precursor(source, link) {
            precursors.push(Json::Text(hex::encode(span_id)));
            continue;
        }
        let mut fields = Fields::new();
        fields.put("trace_id", Some(Json::Text(write_trace_id(&trace_id))));
        fields.put("id", Some(Json::Text(hex::encode(span_id))));
        fields.put_map("attributes", map_of(&link.attributes));
        links.push(Json::Map(fields));
    }
    if !precursors.is_empty() {
        document.put("precursor_ids", Some(Json::List(precursors)));
    }
    if !links.is_empty() {
        document.put("links", Some(Json::List(links)));
    }
}

/// `annotations`; says whether some had to be left to the metadata.
pub(super) fn annotations(source: &Source, document: &mut Fields) -> bool {
    let mut annotations = Fields::new();
    if source.was_segment {
        let numbers = source.texts("aws.xray.annotations.numbers");
        for key in source.texts("aws.xray.annotations") {
            let clashing = format!("aws.xray.annotation.{key}");
            let plain = source.span.attributes.iter().find(|attribute| attribute.key == key);
            let value = source.get(&clashing).or_else(|| plain?.value.as_ref()?.value.as_ref());
            let value = match value {
                Some(Value::StringValue(digits)) if numbers.contains(&key) => Some(Json::Raw(digits.clone())),
                value => value.map(Json::of),
            };
            annotations.put(key, value);
        }
    }
    indexed(source, &mut annotations);
    annotations.sort_by(|one, other| one.0.cmp(&other.0));
    annotations.dedup_by(|one, other| one.0 == other.0);
    let too_many = annotations.len() > MOST_ANNOTATIONS && !source.was_segment;
    if too_many {
        annotations.truncate(MOST_ANNOTATIONS);
    }
    document.put_map("annotations", annotations);
    too_many
}

fn indexed(source: &Source, annotations: &mut Fields) {
    let options = source.options;
    for attribute in &source.span.attributes {
        let key = attribute.key.as_str();
        let is_wanted = options.index_all || options.indexed.contains(key);
        if !is_wanted || key.starts_with("aws.xray.") || source.annotations.contains(key) {
            continue;
        }
        if let Some(value) = annotation(attribute) {
            annotations.push((annotation_key(key), value));
        }
    }
    if source.has_resource() {
        for attribute in source.around.resource {
            let key = format!("{}{}", keys::RESOURCE, attribute.key);
            if (options.index_all || options.indexed.contains(&key))
                && let Some(value) = annotation(attribute)
            {
                annotations.push((annotation_key(&key), value));
            }
        }
    }
}

/// Only scalars can be searched for.
fn annotation(attribute: &KeyValue) -> Option<Json> {
    let value = attribute.value.as_ref()?.value.as_ref()?;
    let is_good = match value {
        Value::StringValue(text) => text.chars().count() <= LONGEST_ANNOTATION,
        Value::DoubleValue(double) => double.is_finite(),
        Value::IntValue(_) | Value::BoolValue(_) => true,
        _ => false,
    };
    is_good.then(|| Json::of(value))
}

fn annotation_key(key: &str) -> String {
    let letter = |character: char| match character {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' => character,
        _ => '_',
    };
    key.chars().take(LONGEST_KEY).map(letter).collect()
}

/// `metadata`.
pub(super) fn metadata(source: &Source, document: &mut Fields) {
    let mut namespaces = Fields::new();
    let mut default = Fields::new();
    if source.was_segment {
        namespaces_of_segment(source, &mut namespaces);
        rest_of_segment(source, &mut default);
    } else {
        of_span(source, document, &mut default);
    }
    if let Some(raw) = source
        .text("aws.xray.metadata")
        .filter(|_| namespaces.is_empty() && default.is_empty())
    {
        document.put("metadata", Some(raw_or_text(raw)));
        return;
    }
    if !default.is_empty() {
        add_to_default(&mut namespaces, default);
    }
    document.put_map("metadata", namespaces);
}

/// Adds fields to the namespace `default`, or to one beside it where that is taken by something that has no fields.
pub(super) fn add_to_default(namespaces: &mut Fields, more: Fields) {
    let Some(at) = namespaces.iter().position(|(name, _)| name == "default") else {
        namespaces.push(("default".to_owned(), Json::Map(more)));
        return;
    };
    match &mut namespaces[at].1 {
        Json::Map(have) => have.extend(more),
        Json::Raw(raw) => match fields_of(raw) {
            Some(mut have) => {
                have.extend(more);
                namespaces[at].1 = Json::Map(have);
            }
            None => namespaces.push(("otel".to_owned(), Json::Map(more))),
        },
        _ => namespaces.push(("otel".to_owned(), Json::Map(more))),
    }
}

fn namespaces_of_segment(source: &Source, namespaces: &mut Fields) {
    for attribute in &source.span.attributes {
        let Some(name) = attribute.key.strip_prefix("aws.xray.metadata.") else {
            continue;
        };
        let value = source.get(&attribute.key).map(|value| match value {
            Value::StringValue(text) => raw_or_text(text),
            other => Json::of(other),
        });
        namespaces.put(name, value);
    }
}

/// What processors added to a segment's span and resource.
fn rest_of_segment(source: &Source, default: &mut Fields) {
    for attribute in &source.span.attributes {
        let key = attribute.key.as_str();
        let is_known = source.was_used(key) || source.annotations.contains(key) || MADE_BY_TRANSLATION.contains(&key);
        if !is_known && !key.starts_with("aws.xray.") {
            default.extend(map_of(std::slice::from_ref(attribute)));
        }
    }
    if !source.is_segment {
        return;
    }
    for attribute in source.around.resource {
        let key = attribute.key.as_str();
        if !MADE_OF_RESOURCE.iter().any(|prefix| key.starts_with(prefix)) {
            let value = map_of(std::slice::from_ref(attribute)).pop();
            default.put(&format!("{}{key}", keys::RESOURCE), value.map(|(_, value)| value));
        }
    }
}

/// Everything that a span has and a segment has not.
fn of_span(source: &Source, document: &Fields, default: &mut Fields) {
    let span = source.span;
    let kind = span.kind().as_str_name().trim_start_matches("SPAN_KIND_");
    default.put_text(keys::KIND, Some(kind));
    let name = document.iter().find(|(key, _)| key == "name");
    if name.is_none_or(|(_, name)| *name != Json::text(&span.name)) {
        default.put_text(keys::NAME, Some(&span.name));
    }
    if let Some(status) = span
        .status
        .as_ref()
        .filter(|status| status.code != 0 || !status.message.is_empty())
    {
        let mut fields = Fields::new();
        fields.put("code", Some(Json::Int(i64::from(status.code))));
        fields.put_text(
            "message",
            Some(&status.message)
                .filter(|text| !text.is_empty())
                .map(String::as_str),
        );
        default.put(keys::STATUS, Some(Json::Map(fields)));
    }
    default.put(keys::FLAGS, flags(source));
    default.put_text(
        keys::TRACE_STATE,
        Some(&span.trace_state)
            .filter(|text| !text.is_empty())
            .map(String::as_str),
    );
    for (key, count) in [
        (keys::DROPPED_ATTRIBUTES, span.dropped_attributes_count),
        (keys::DROPPED_EVENTS, span.dropped_events_count),
        (keys::DROPPED_LINKS, span.dropped_links_count),
    ] {
        default.put(key, (count > 0).then_some(Json::Int(i64::from(count))));
    }
    events(source, default);
    link_states(source, default);
    scope_and_resource(source, default);
    let block = |name: &str| document.iter().any(|(key, _)| key == name);
    for attribute in &span.attributes {
        let is_there = match attribute.key.as_str() {
            "db.query.text" => block("sql"),
            _ => true,
        };
        if is_there && is_read_back(attribute) {
            continue;
        }
        let key = if keys::is_ours(&attribute.key) {
            format!("{}{}", keys::ATTRIBUTE, attribute.key)
        } else {
            attribute.key.clone()
        };
        let value = map_of(std::slice::from_ref(attribute)).pop();
        default.put(&key, value.map(|(_, value)| value));
    }
}

/// The way back makes the same of the segment's own fields.
fn is_read_back(attribute: &KeyValue) -> bool {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    let is_int = matches!(
        attribute.key.as_str(),
        "http.response.status_code" | "http.response.body.size"
    );
    match value {
        Some(Value::IntValue(_)) => is_int && keys::READ_BACK.contains(&attribute.key.as_str()),
        Some(Value::StringValue(_)) => !is_int && keys::READ_BACK.contains(&attribute.key.as_str()),
        _ => false,
    }
}

/// Unless the way back would make the same.
fn flags(source: &Source) -> Option<Json> {
    let has_parent = !source.span.parent_span_id.is_empty();
    let parent = if has_parent { 0x100 } else { 0 };
    let remote = if has_parent && source.is_segment { 0x200 } else { 0 };
    (source.span.flags != (0x01 | parent | remote)).then(|| Json::Int(i64::from(source.span.flags)))
}

fn events(source: &Source, default: &mut Fields) {
    let mut events = Vec::new();
    let mut causes = cause::exception_events(source).enumerate().peekable();
    for event in &source.span.events {
        let mut fields = Fields::new();
        fields.put_text("name", Some(&event.name));
        fields.put("time", Some(Json::Raw(event.time_unix_nano.to_string())));
        let mut told: &[&str] = &[];
        if let Some((index, _)) = causes.next_if(|(_, cause)| std::ptr::eq(*cause, event))
            && event.name == "exception"
        {
            fields.put("cause", i64::try_from(index).ok().map(Json::Int));
            told = &["exception.type", "exception.message"];
        }
        let is_told = |attribute: &KeyValue| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            told.contains(&attribute.key.as_str()) && matches!(value, Some(Value::StringValue(_)))
        };
        let mut attributes: Vec<KeyValue> = event
            .attributes
            .iter()
            .filter(|attribute| !is_told(attribute))
            .cloned()
            .collect();
        // The stack is written anew on the way back: `null` says that there was none.
        let has_stack = attributes
            .iter()
            .any(|attribute| attribute.key == "exception.stacktrace");
        if !told.is_empty() && !has_stack {
            attributes.push(KeyValue {
                key: "exception.stacktrace".to_owned(),
                ..KeyValue::default()
            });
        }
        fields.put_map("attributes", map_of(&attributes));
        let dropped = i64::from(event.dropped_attributes_count);
        fields.put("dropped", (dropped > 0).then_some(Json::Int(dropped)));
        events.push(Json::Map(fields));
    }
    if !events.is_empty() {
        default.put(keys::EVENTS, Some(Json::List(events)));
    }
}

fn link_states(source: &Source, default: &mut Fields) {
    let kept: Vec<&Link> = source.span.links.iter().filter(|link| ids_of(link).is_some()).collect();
    let is_plain = |link: &&Link| {
        let plain_value = |attribute: &KeyValue| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            matches!(
                value,
                Some(Value::StringValue(_) | Value::BoolValue(_) | Value::IntValue(_))
            )
        };
        link.flags == 0
            && link.trace_state.is_empty()
            && link.dropped_attributes_count == 0
            && link.attributes.iter().all(plain_value)
    };
    if kept.iter().all(is_plain) {
        return;
    }
    let state = |link: &&Link| {
        let mut fields = Fields::new();
        fields.put("flags", (link.flags > 0).then_some(Json::Int(i64::from(link.flags))));
        fields.put_text(
            "trace_state",
            Some(link.trace_state.as_str()).filter(|text| !text.is_empty()),
        );
        let dropped = i64::from(link.dropped_attributes_count);
        fields.put("dropped", (dropped > 0).then_some(Json::Int(dropped)));
        fields.put_map("attributes", map_of(&link.attributes));
        Json::Map(fields)
    };
    default.put(keys::LINKS, Some(Json::List(kept.iter().map(state).collect())));
}

fn scope_and_resource(source: &Source, default: &mut Fields) {
    let around = &source.around;
    let text = |text: &'_ str| Some(text.to_owned()).filter(|text| !text.is_empty()).map(Json::Text);
    if let Some(scope) = around.scope {
        let mut fields = Fields::new();
        fields.put("name", text(&scope.name));
        fields.put("version", text(&scope.version));
        fields.put_map("attributes", map_of(&scope.attributes));
        default.put(keys::SCOPE, Some(Json::Map(fields)));
    }
    default.put(keys::SCOPE_SCHEMA, text(around.scope_schema));
    if source.has_resource() {
        default.put(keys::RESOURCE_SCHEMA, text(around.resource_schema));
        for (key, value) in json::map_of(around.resource) {
            default.push((format!("{}{key}", keys::RESOURCE), value));
        }
    }
}
