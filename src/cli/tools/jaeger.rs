//! Jaeger's JSON (what its page exports and its `/api/traces` answers) as OTLP/JSON.

use serde_json::{Map, Value as Json, json};

/// The traces of a document.
///
/// # Errors
/// Where an id or a time is none.
pub fn to_otlp(document: &Json) -> Result<Json, String> {
    let mut groups = Vec::new();
    for trace in document["data"].as_array().into_iter().flatten() {
        let processes = &trace["processes"];
        // The spans of each process stand together, in the order of the first of each.
        let mut order: Vec<&str> = Vec::new();
        let mut spans: Map<String, Json> = Map::new();
        for span in trace["spans"].as_array().into_iter().flatten() {
            let process = span["processID"].as_str().unwrap_or_default();
            let own = span_of(span)?;
            match spans.get_mut(process).and_then(Json::as_array_mut) {
                Some(list) => list.push(own),
                None => {
                    order.push(process);
                    spans.insert(process.to_owned(), json!([own]));
                }
            }
        }
        for id in order {
            let process = &processes[id];
            let mut attributes = vec![attribute(
                "service.name",
                json!({"stringValue": process["serviceName"].as_str().unwrap_or("unknown_service")}),
            )];
            attributes.extend(tags(&process["tags"]));
            let own = spans.remove(id).unwrap_or_default();
            groups.push(json!({"resource": {"attributes": attributes}, "scopeSpans": [{"scope": {"name": "jaeger"}, "spans": own}]}));
        }
    }
    Ok(json!({"resourceSpans": groups}))
}

fn span_of(span: &Json) -> Result<Json, String> {
    let text = |key: &str| span[key].as_str().unwrap_or_default();
    let trace = padded(text("traceID"), 32).ok_or_else(|| format!("{:?} is no trace id", text("traceID")))?;
    let id = padded(text("spanID"), 16).ok_or_else(|| format!("{:?} is no span id", text("spanID")))?;
    let micros = |value: &Json| value.as_u64().and_then(|micros| micros.checked_mul(1_000));
    let start = micros(&span["startTime"]).ok_or_else(|| format!("span {id}: its startTime is none"))?;
    let end = start.saturating_add(micros(&span["duration"]).unwrap_or(0));
    let mut parent = None;
    let mut links = Vec::new();
    for reference in span["references"].as_array().into_iter().flatten() {
        let to_trace = padded(reference["traceID"].as_str().unwrap_or_default(), 32);
        let to_span = padded(reference["spanID"].as_str().unwrap_or_default(), 16);
        let (Some(to_trace), Some(to_span)) = (to_trace, to_span) else {
            continue;
        };
        if parent.is_none() && reference["refType"] == "CHILD_OF" && to_trace == trace {
            parent = Some(to_span);
        } else {
            links.push(json!({"traceId": to_trace, "spanId": to_span}));
        }
    }
    let tag = |key: &str| {
        span["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|tag| tag["key"] == key)
    };
    let kind = match tag("span.kind").and_then(|tag| tag["value"].as_str()) {
        Some("server") => 2,
        Some("client") => 3,
        Some("producer") => 4,
        Some("consumer") => 5,
        _ => 1,
    };
    let is_error = tag("error").is_some_and(|tag| tag["value"] == true || tag["value"] == "true");
    let is_error = is_error || tag("otel.status_code").is_some_and(|tag| tag["value"] == "ERROR");
    let events = span["logs"].as_array().into_iter().flatten().map(|log| {
        let fields = log["fields"].as_array().into_iter().flatten();
        let name = fields
            .clone()
            .find(|field| field["key"] == "event")
            .and_then(|field| field["value"].as_str());
        json!({
            "timeUnixNano": micros(&log["timestamp"]).unwrap_or(0).to_string(),
            "name": name.unwrap_or("log"),
            "attributes": tags(&log["fields"]),
        })
    });
    Ok(json!({
        "traceId": trace,
        "spanId": id,
        "parentSpanId": parent.unwrap_or_default(),
        "name": text("operationName"),
        "kind": kind,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": tags(&span["tags"]),
        "events": events.collect::<Vec<Json>>(),
        "links": links,
        "status": if is_error { json!({"code": 2}) } else { json!({}) },
    }))
}

/// Jaeger leaves leading zeros out.
fn padded(id: &str, length: usize) -> Option<String> {
    let is_hex = !id.is_empty() && id.len() <= length && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| format!("{id:0>length$}").to_ascii_lowercase())
}

fn attribute(key: &str, value: Json) -> Json {
    json!({"key": key, "value": value})
}

fn tags(list: &Json) -> Vec<Json> {
    let mut attributes = Vec::new();
    for tag in list.as_array().into_iter().flatten() {
        let key = tag["key"].as_str().unwrap_or_default();
        let value = &tag["value"];
        let value = match value {
            Json::Bool(value) => json!({"boolValue": value}),
            Json::Number(number) if tag["type"] == "float64" || number.is_f64() => json!({"doubleValue": number}),
            Json::Number(number) => json!({"intValue": number.to_string()}),
            Json::String(text) => json!({"stringValue": text}),
            other => json!({"stringValue": other.to_string()}),
        };
        attributes.push(attribute(key, value));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_ids_times_parents_and_typed_tags() {
        let document = json!({"data": [{"traceID": "a1", "processes": {"p1": {"serviceName": "web", "tags": []}}, "spans": [
            {"traceID": "a1", "spanID": "1", "processID": "p1", "operationName": "GET /", "startTime": 1_700_000_000_000_000_u64,
             "duration": 1500, "references": [], "logs": [{"timestamp": 1_700_000_000_000_001_u64, "fields": [{"key": "event", "value": "exception"}]}],
             "tags": [{"key": "span.kind", "type": "string", "value": "server"}, {"key": "n", "type": "int64", "value": 5},
                      {"key": "f", "type": "float64", "value": 5}, {"key": "error", "type": "bool", "value": true}]},
            {"traceID": "a1", "spanID": "2", "processID": "p1", "operationName": "x", "startTime": 1_700_000_000_000_000_u64, "duration": 1,
             "references": [{"refType": "CHILD_OF", "traceID": "a1", "spanID": "1"}, {"refType": "FOLLOWS_FROM", "traceID": "b", "spanID": "3"}]},
        ]}]});
        let otlp = to_otlp(&document).unwrap();
        let spans = &otlp["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["traceId"], format!("{:0>32}", "a1"));
        assert_eq!(spans[0]["endTimeUnixNano"], "1700000000001500000");
        assert_eq!((&spans[0]["kind"], &spans[0]["status"]["code"]), (&json!(2), &json!(2)));
        assert_eq!(spans[0]["attributes"][1]["value"], json!({"intValue": "5"}));
        assert_eq!(spans[0]["attributes"][2]["value"], json!({"doubleValue": 5}));
        assert_eq!(spans[0]["events"][0]["name"], "exception");
        assert_eq!(spans[1]["parentSpanId"], spans[0]["spanId"]);
        assert_eq!(spans[1]["links"][0]["spanId"], "0000000000000003");
        assert!(to_otlp(&json!({"data": [{"spans": [{"traceID": "zz"}]}]})).is_err());
    }
}
