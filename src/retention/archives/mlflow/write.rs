//! Storing: for each trace one spans item, and the item that names it. Spans that are there already are kept, those that
//! come again replace their older form.
//!
//! Written in this order, so that nothing names spans that are not stored. Two writers at the same time see each other by
//! a condition, and the later one reads anew. What is larger than DynamoDB takes is handed back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::Value as Json;

use super::keys;
use super::read::{dicts_of, policy_of, spans_of};
use super::span::{facts, labels, to_dict};
use super::table::{Item, NotWritten, Table, number_of};
use crate::aws::Failure;
use crate::retention::archive::TraceId;

/// DynamoDB's bound of an item, less what we may be wrong about.
pub const LARGEST: usize = 400 * 1024 - 1024;
/// Tries of a trace that somebody else writes too.
const TRIES: u32 = 4;
/// zstd's default.
const LEVEL: i32 = 3;

/// How traces are stored.
#[derive(Clone, Debug)]
pub struct Settings {
    pub experiment: String,
    /// Kept for so long; unset: by what is there, else the table's policy. `Some(None)`: for ever.
    pub keep: Option<Option<Duration>>,
}

/// What became of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Done,
    /// It would be so many bytes.
    TooLarge(usize),
}

/// The traces of a request, each with its groups.
pub fn by_trace(request: &ExportTraceServiceRequest) -> BTreeMap<TraceId, ExportTraceServiceRequest> {
    let mut traces: BTreeMap<TraceId, ExportTraceServiceRequest> = BTreeMap::new();
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let Ok(id) = <[u8; 16]>::try_from(span.trace_id.as_slice()) else {
                    continue;
                };
                put_span(traces.entry(TraceId(id)).or_default(), resource, scope, span);
            }
        }
    }
    traces
}

/// Groups stay together: a span of the group that was last added to goes there.
fn put_span(into: &mut ExportTraceServiceRequest, resource: &ResourceSpans, scope: &ScopeSpans, span: &Span) {
    let same_resource = into
        .resource_spans
        .last()
        .is_some_and(|last| last.resource == resource.resource && last.schema_url == resource.schema_url);
    if !same_resource {
        into.resource_spans.push(ResourceSpans {
            resource: resource.resource.clone(),
            schema_url: resource.schema_url.clone(),
            ..ResourceSpans::default()
        });
    }
    let Some(group) = into.resource_spans.last_mut() else {
        return;
    };
    let same_scope = group
        .scope_spans
        .last()
        .is_some_and(|last| last.scope == scope.scope && last.schema_url == scope.schema_url);
    if !same_scope {
        group.scope_spans.push(ScopeSpans {
            scope: scope.scope.clone(),
            schema_url: scope.schema_url.clone(),
            ..ScopeSpans::default()
        });
    }
    if let Some(group) = group.scope_spans.last_mut() {
        group.spans.push(span.clone());
    }
}

/// What stands in the table before a write.
struct Before {
    pk: String,
    form: String,
    meta: Option<Item>,
    spans: Option<Item>,
}

/// Stores one trace.
///
/// # Errors
/// See [`NotWritten`]; `Changed` only after several tries.
pub async fn store(
    table: &Table,
    settings: &Settings,
    id: TraceId,
    fresh: &ExportTraceServiceRequest,
) -> Result<Stored, NotWritten> {
    for _ in 1..TRIES {
        match try_to_store(table, settings, id, fresh).await {
            Err(NotWritten::Changed) => {}
            answer => return answer,
        }
    }
    try_to_store(table, settings, id, fresh).await
}

async fn try_to_store(
    table: &Table,
    settings: &Settings,
    id: TraceId,
    fresh: &ExportTraceServiceRequest,
) -> Result<Stored, NotWritten> {
    let before = look(table, settings, id).await.map_err(NotWritten::Failed)?;
    let ttl = ttl_of(table, settings, &before).await.map_err(NotWritten::Failed)?;
    let mut spans = before.spans.as_ref().map(|item| spans_of(item, id)).unwrap_or_default();
    let had = before.spans.as_ref().map(dicts_of).unwrap_or_default();
    replace(&mut spans, fresh);
    let dicts = dicts(&had, fresh, id, &before.form);

    let mut item = Item::from([
        (keys::PK.to_owned(), AttributeValue::S(before.pk.clone())),
        (keys::SK.to_owned(), AttributeValue::S(keys::spans(&before.form))),
        (
            keys::DATA.to_owned(),
            AttributeValue::S(Json::Array(dicts.clone()).to_string()),
        ),
    ]);
    let otlp = zstd::bulk::compress(&spans.encode_to_vec(), LEVEL);
    if let Ok(otlp) = otlp {
        item.insert(keys::OTLP.to_owned(), AttributeValue::B(Blob::new(otlp)));
    }
    let (condition, values) = unchanged(before.spans.as_ref(), &mut item);
    if let Some(ttl) = ttl {
        let ttl = AttributeValue::N(ttl.to_string());
        item.insert(table.ttl_attribute.clone(), ttl);
    }
    let size = size_of(&item);
    if size > LARGEST {
        return Ok(Stored::TooLarge(size));
    }
    table.put(item, &condition, values).await?;
    name(table, settings, id, &before, &dicts, ttl).await?;
    Ok(Stored::Done)
}

/// The trace as it is kept now, under whichever form of its id.
async fn look(table: &Table, settings: &Settings, id: TraceId) -> Result<Before, Failure> {
    let pk = keys::experiment(&settings.experiment);
    let forms = keys::forms(id);
    let wanted: Vec<(String, String)> = forms
        .iter()
        .flat_map(|form| [keys::meta(form), keys::spans(form)])
        .map(|sk| (pk.clone(), sk))
        .collect();
    let mut found = table.batch_get(&wanted).await?;
    let mut take = |sk: String| found.remove(&(pk.clone(), sk));
    for form in forms {
        let (meta, spans) = (take(keys::meta(&form)), take(keys::spans(&form)));
        if meta.is_some() || spans.is_some() {
            return Ok(Before { pk, form, meta, spans });
        }
    }
    Ok(Before {
        pk,
        form: keys::mlflow_form(id),
        meta: None,
        spans: None,
    })
}

/// When the copy goes, in seconds. What is kept longer already stays so.
async fn ttl_of(table: &Table, settings: &Settings, before: &Before) -> Result<Option<u64>, Failure> {
    let after = |keep: Option<Duration>| keep.map(|keep| table.now().seconds() + keep.as_secs());
    let number = |item: &Item| number_of(item, &table.ttl_attribute).map_or(0.0, |at| at.max(0.0)) as u64;
    let there = before.meta.as_ref().map(number);
    match (settings.keep, there) {
        (Some(keep), Some(there)) => Ok(match (after(keep), there) {
            (None, _) | (_, 0) => None,
            (Some(wanted), there) => Some(wanted.max(there)),
        }),
        (Some(keep), None) => Ok(after(keep)),
        (None, Some(there)) => Ok(Some(there).filter(|at| *at > 0)),
        (None, None) => Ok(after(policy_of(table).await?)),
    }
}

/// Puts the fresh spans in the place of those with the same ids.
fn replace(spans: &mut ExportTraceServiceRequest, fresh: &ExportTraceServiceRequest) {
    let all = |request: &ExportTraceServiceRequest| -> BTreeSet<Vec<u8>> {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes
            .flat_map(|scope| &scope.spans)
            .map(|span| span.span_id.clone())
            .collect()
    };
    let fresh_ids = all(fresh);
    for resource in &mut spans.resource_spans {
        for scope in &mut resource.scope_spans {
            scope.spans.retain(|span| !fresh_ids.contains(&span.span_id));
        }
        resource.scope_spans.retain(|scope| !scope.spans.is_empty());
    }
    spans.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
    spans.resource_spans.extend(fresh.resource_spans.iter().cloned());
}

fn dicts(had: &[Json], fresh: &ExportTraceServiceRequest, id: TraceId, form: &str) -> Vec<Json> {
    let mut by_id: BTreeMap<[u8; 8], Json> = BTreeMap::new();
    let fresh = fresh.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let fresh = fresh.flat_map(|scope| &scope.spans).map(|span| to_dict(span, form));
    for dict in had.iter().cloned().chain(fresh) {
        if let Some(facts) = facts(&dict, id) {
            by_id.insert(facts.id, dict);
        }
    }
    by_id.into_values().collect()
}

/// The condition that nobody has written since the item was read; raises its revision.
fn unchanged(before: Option<&Item>, item: &mut Item) -> (String, Item) {
    let Some(before) = before else {
        item.insert(keys::REVISION.to_owned(), AttributeValue::N("1".to_owned()));
        return ("attribute_not_exists(PK)".to_owned(), Item::new());
    };
    let revision = number_of(before, keys::REVISION).unwrap_or_default() as u64 + 1;
    item.insert(keys::REVISION.to_owned(), AttributeValue::N(revision.to_string()));
    if let Some(version) = number_of(before, "version") {
        let next = (version as u64 + 1).to_string();
        item.insert("version".to_owned(), AttributeValue::N(next));
    }
    let same_data = match before.get(keys::DATA) {
        Some(data) => (
            "#data = :data".to_owned(),
            Item::from([(":data".to_owned(), data.clone())]),
        ),
        None => ("attribute_not_exists(#data)".to_owned(), Item::new()),
    };
    match before.get(keys::REVISION) {
        Some(revision) => (
            format!("{} = :revision", keys::REVISION),
            Item::from([(":revision".to_owned(), revision.clone())]),
        ),
        None => same_data,
    }
}

/// Writes the item that names the trace, or completes the one that is there.
async fn name(
    table: &Table,
    settings: &Settings,
    id: TraceId,
    before: &Before,
    dicts: &[Json],
    ttl: Option<u64>,
) -> Result<(), NotWritten> {
    let mut of_spans: [BTreeSet<String>; 3] = Default::default();
    for dict in dicts {
        for (set, label) in of_spans.iter_mut().zip(labels(dict)) {
            if !label.is_empty() {
                set.insert(label);
            }
        }
    }
    let names = ["span_types", "span_names", "span_statuses"];
    let mut attributes: Vec<(&str, AttributeValue)> = names
        .into_iter()
        .zip(of_spans)
        .filter(|(_, set)| !set.is_empty())
        .map(|(name, set)| (name, AttributeValue::Ss(set.into_iter().collect())))
        .collect();
    let ttl_value = ttl.map(|ttl| AttributeValue::N(ttl.to_string()));
    let sk = keys::meta(&before.form);
    if before.meta.is_some() {
        if let Some(ttl) = ttl_value {
            attributes.push((table.ttl_attribute.as_str(), ttl));
        } else if before
            .meta
            .as_ref()
            .is_some_and(|meta| meta.contains_key(&table.ttl_attribute))
        {
            // For ever: DynamoDB lets alone what is older than five years.
            attributes.push((table.ttl_attribute.as_str(), AttributeValue::N("0".to_owned())));
        }
        return table.set(&before.pk, &sk, attributes).await;
    }
    let mut item = meta_item(settings, before, dicts, id);
    item.extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)));
    if let Some(ttl) = ttl_value {
        item.insert(table.ttl_attribute.clone(), ttl);
    }
    table.put(item, "attribute_not_exists(PK)", Item::new()).await
}

/// As the store makes it of spans that it did not know.
fn meta_item(settings: &Settings, before: &Before, dicts: &[Json], id: TraceId) -> Item {
    let nanos = |dict: &Json, key: &str| dict[key].as_u64().unwrap_or_default();
    let starts = dicts.iter().map(|dict| nanos(dict, "start_time_unix_nano"));
    let start = starts.filter(|at| *at > 0).min().unwrap_or_default() / 1_000_000;
    let end = dicts.iter().map(|dict| nanos(dict, "end_time_unix_nano")).max();
    let took = (end.unwrap_or_default() / 1_000_000).saturating_sub(start);
    let is_open = dicts
        .iter()
        .filter_map(|dict| facts(dict, id))
        .any(|facts| facts.is_open);
    let failed = dicts
        .iter()
        .any(|dict| dict["parent_span_id"].is_null() && labels(dict)[2] == "ERROR");
    let state = match (is_open, failed) {
        (true, _) => "IN_PROGRESS",
        (false, true) => "ERROR",
        (false, false) => "OK",
    };
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let entries = [
        (keys::PK, text(&before.pk)),
        (keys::SK, text(&keys::meta(&before.form))),
        ("trace_id", text(&before.form)),
        ("experiment_id", text(&settings.experiment)),
        ("request_time", number(start)),
        ("execution_duration", number(took)),
        ("state", text(state)),
        ("tags", AttributeValue::M(Item::new())),
        (keys::LSI1_SK, text(&keys::padded(start))),
        ("lsi2sk", number(start + took)),
        ("lsi3sk", text(&format!("{state}#{}", keys::padded(start)))),
        ("lsi5sk", text(&keys::padded(took))),
        (keys::GSI1_PK, text(&format!("TRACE#{}", before.form))),
        (keys::GSI1_SK, text(&before.pk)),
    ];
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Bytes as DynamoDB counts them.
fn size_of(item: &Item) -> usize {
    let value_size = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(text) => text.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 8,
    };
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}
