//! GetTraceSummaries: windows of three kinds, newest-first pages with tokens that expire, what was scanned.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::super::answer::ApiError;
use super::answer::invalid;
use super::compile::{compile, walk};
use super::filter::{self, Filter};
use super::store::{Range, RangeType, Trace, View, flag, number, text};

/// The longest window, seconds.
const LONGEST_S: f64 = 6.0 * 3_600.0;

/// A checked request.
pub struct Query {
    pub range: Range,
    pub filter: Filter,
    /// Share of the traces that is scanned.
    pub rate: f64,
    /// Of everything but the token: a token is good only for its own request.
    pub fingerprint: u64,
}

impl Query {
    /// Reads a request.
    pub fn read(request: &Json) -> Result<Self, ApiError> {
        let time = |key: &str| {
            let value = request.get(key).and_then(Json::as_f64);
            value.ok_or_else(|| invalid(format!("1 validation error detected: {key} must not be null")))
        };
        let (from, to) = (time("StartTime")?, time("EndTime")?);
        if to <= from {
            return Err(invalid("End time must be after start time"));
        }
        if to - from > LONGEST_S {
            return Err(invalid("Time range cannot be longer than 6 hours"));
        }
        let kind = match request.get("TimeRangeType").and_then(Json::as_str).unwrap_or("TraceId") {
            "TraceId" => RangeType::TraceId,
            "Event" => RangeType::Event,
            "Service" => RangeType::Service,
            other => return Err(invalid(format!("unknown TimeRangeType {other}"))),
        };
        let sampled = request.get("Sampling").and_then(Json::as_bool).unwrap_or_default();
        let strategy = &request["SamplingStrategy"];
        let rate = match text(strategy, "Name") {
            "FixedRate" if sampled => strategy["Value"].as_f64().unwrap_or(1.0).clamp(0.0, 1.0),
            _ => 1.0,
        };
        let mut bare = request.clone();
        if let Json::Object(fields) = &mut bare {
            fields.remove("NextToken");
        }
        Ok(Self {
            range: Range { kind, from, to },
            filter: filter::parse(text(request, "FilterExpression"))?,
            rate,
            fingerprint: xxh3_64(bare.to_string().as_bytes()),
        })
    }

    /// Ids that are scanned, newest first: the order of all pages.
    pub fn ids(&self, view: &View<'_>, region: &str) -> Vec<String> {
        let scanned = |id: &str| {
            let share = xxh3_64(id.as_bytes()) as f64 / u64::MAX as f64;
            share < self.rate || self.rate >= 1.0
        };
        let traces = view.traces(region, self.range);
        let ids = traces.into_iter().map(|(_, trace)| trace.id);
        ids.filter(|id| scanned(id)).collect()
    }

    /// The summaries of a page's ids.
    pub fn summaries(&self, view: &View<'_>, ids: &[String]) -> Vec<Json> {
        let mut summaries = Vec::new();
        for id in ids {
            let Some(trace) = view.trace(id) else { continue };
            let matched = View::matched(&trace, self.range).unwrap_or_else(|| trace.updated());
            let summary = summary(&trace, matched, view.scenario.xray.revisions);
            if self.filter.takes(&summary) {
                summaries.push(summary);
            }
        }
        summaries
    }
}

/// A trace as it is summed up now.
pub fn summary(trace: &Trace, matched: f64, with_revision: bool) -> Json {
    let segments = compile(trace);
    let documents: Vec<&Json> = segments.iter().map(|(_, document)| document).collect();
    let real = |document: &&&Json| !flag(document, "inferred");
    let roots = documents
        .iter()
        .filter(real)
        .filter(|document| text(document, "parent_id").is_empty());
    let root = roots.min_by(|a, b| number(a, "start_time").total_cmp(&number(b, "start_time")));
    let mut end: f64 = 0.0;
    let mut partial = false;
    let mut flags = [false; 3];
    let mut services = BTreeSet::new();
    for document in &documents {
        let kind = text(document, "origin");
        services.insert((text(document, "name").to_owned(), kind.to_owned()));
        walk(document, &mut |node| {
            end = end.max(number(node, "end_time"));
            partial |= flag(node, "in_progress") && node.get("end_time").is_none();
            for (have, key) in flags.iter_mut().zip(["fault", "error", "throttle"]) {
                *have |= flag(node, key);
            }
        });
    }
    let start = trace.start();
    let mut summary = json!({
        "Id": trace.id, "StartTime": start, "Duration": (end - start).max(0.0),
        "ResponseTime": root.map_or(0.0, |root| (number(root, "end_time") - number(root, "start_time")).max(0.0)),
        "HasFault": flags[0], "HasError": flags[1], "HasThrottle": flags[2], "IsPartial": partial,
        "MatchedEventTime": matched,
        "ServiceIds": services.iter().map(|(name, kind)| json!({"Name": name, "Names": [name], "Type": kind})).collect::<Vec<_>>(),
        "Annotations": annotations(&documents), "Users": users(&documents),
        "ResourceARNs": [], "InstanceIds": [], "AvailabilityZones": [],
        "FaultRootCauses": [], "ErrorRootCauses": [], "ResponseTimeRootCauses": [],
        "Http": root.map_or_else(|| json!({}), |root| http(root)),
    });
    if let Some(root) = root {
        summary["EntryPoint"] =
            json!({"Name": text(root, "name"), "Names": [text(root, "name")], "Type": text(root, "origin")});
    }
    if with_revision {
        summary["Revision"] = json!(trace.arrivals.len());
    }
    summary
}

fn http(root: &Json) -> Json {
    let (request, response) = (&root["http"]["request"], &root["http"]["response"]);
    let mut http = json!({});
    for (name, value) in [
        ("HttpURL", &request["url"]),
        ("HttpMethod", &request["method"]),
        ("UserAgent", &request["user_agent"]),
        ("ClientIp", &request["client_ip"]),
        ("HttpStatus", &response["status"]),
    ] {
        if !value.is_null() {
            http[name] = value.clone();
        }
    }
    http
}

fn annotations(documents: &[&Json]) -> Json {
    let mut all: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for document in documents {
        walk(document, &mut |node| {
            for (key, value) in node.get("annotations").and_then(Json::as_object).into_iter().flatten() {
                let kind = match value {
                    Json::Number(_) => "NumberValue",
                    Json::Bool(_) => "BooleanValue",
                    _ => "StringValue",
                };
                let value = json!({"AnnotationValue": {kind: value}, "ServiceIds": []});
                all.entry(key).or_default().push(value);
            }
        });
    }
    json!(all)
}

fn users(documents: &[&Json]) -> Vec<Json> {
    let users: BTreeSet<&str> = documents.iter().map(|document| text(document, "user")).collect();
    let named = users.into_iter().filter(|user| !user.is_empty());
    named.map(|user| json!({"UserName": user, "ServiceIds": []})).collect()
}
