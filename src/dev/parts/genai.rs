//! `GET /api/v1/genai`: calls of language models, by OpenTelemetry's `gen_ai.*` and OpenInference's `llm.*` attributes, and
//! `/api/v1/genai/{trace}/{span}`: what was said in one. What a call costs is known where the configuration has a price
//! for its model ([`Prices`]); none is made up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::problem;
use crate::component::Commons;
use crate::dev::answers::{Ask, Failure, Limits, find_rows, span, trace_named};
use crate::dev::http::{Params, respond};
use crate::dev::query::Query as Question;
use crate::dev::store::{Segment, Store};
use crate::pdata::Signal;

/// Calls of one answer.
const CALLS: Limits = Limits {
    default: 100,
    most: 1_000,
};
/// Messages of one conversation.
const MESSAGES: usize = 500;
/// What marks a call.
const IS_CALL: &str =
    "(has(gen_ai.operation.name) OR has(gen_ai.system) OR has(gen_ai.provider.name) OR has(llm.model_name))";

/// What a model costs: USD per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub input: f64,
    pub output: f64,
}

impl Price {
    /// Neither is below zero or no number.
    pub fn is_usable(&self) -> bool {
        [self.input, self.output]
            .iter()
            .all(|usd| usd.is_finite() && *usd >= 0.0)
    }

    fn of(&self, input: u64, output: u64) -> f64 {
        (input as f64 * self.input + output as f64 * self.output) / 1e6
    }
}

/// The prices that the configuration gives, by model. One for the process.
#[derive(Default)]
pub struct Prices(Mutex<BTreeMap<String, Price>>);

impl Prices {
    /// In place of those before.
    pub fn set(&self, prices: BTreeMap<String, Price>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = prices;
    }

    fn all(&self) -> BTreeMap<String, Price> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone)]
struct Shared {
    store: Arc<Store>,
    prices: Arc<Prices>,
}

pub(super) fn router(commons: &Commons) -> Router {
    Router::new()
        .route("/api/v1/genai", get(calls))
        .route("/api/v1/genai/{trace}/{span}", get(conversation))
        .with_state(Shared {
            store: commons.get(),
            prices: commons.get(),
        })
}

async fn computed(work: impl FnOnce() -> Result<Value, Failure> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(failure)) => respond(&failure),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "this answer could not be computed"),
    }
}

async fn calls(State(shared): State<Shared>, Query(params): Query<Params>) -> Response {
    let (store, prices) = (Arc::clone(&shared.store), shared.prices.all());
    computed(move || list(&store, &prices, &params)).await
}

fn list(store: &Store, prices: &BTreeMap<String, Price>, params: &Params) -> Result<Value, Failure> {
    // The caller's query by itself first, so that the place of an error is right.
    Question::parse(params.text("q"), store.now())?;
    let mut asked = params.clone();
    let q = params.text("q");
    let whole = if q.trim().is_empty() {
        IS_CALL.to_owned()
    } else {
        format!("{IS_CALL} ({q})")
    };
    asked.0.insert("q".to_owned(), whole);
    let ask: Ask = asked.ask(store, CALLS)?;
    let snapshot = store.snapshot();
    let (found, is_cut) = find_rows(store, &snapshot, &ask, Signal::Traces);
    let mut total = 0;
    let mut listed = Vec::new();
    let mut models: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for part in &found {
        for row in part.rows.rows().rev() {
            total += 1;
            let call = call_of(&part.segment, row, prices);
            let sums = models
                .entry(call["model"].as_str().unwrap_or("unknown").to_owned())
                .or_default();
            sums.0 += 1;
            sums.1 += call["input_tokens"].as_u64().unwrap_or(0);
            sums.2 += call["output_tokens"].as_u64().unwrap_or(0);
            if listed.len() < ask.limit {
                listed.push(call);
            }
        }
    }
    let models = models.into_iter().map(|(model, (calls, input, output))| {
        let cost = prices.get(&model).map(|price| price.of(input, output));
        json!({"model": model, "calls": calls, "input_tokens": input, "output_tokens": output, "cost": cost})
    });
    let mut answer = json!({
        "v": 1, "total": total, "truncated": is_cut || listed.len() < total, "cursor": null,
        "models": models.collect::<Vec<Value>>(),
    });
    if listed.is_empty() {
        let nothing = store.rows(Signal::Traces) == 0;
        answer["empty"] = Value::from(if nothing { "nothing received" } else { "filtered" });
    }
    answer["calls"] = listed.into();
    Ok(answer)
}

fn call_of(segment: &Segment, row: usize, prices: &BTreeMap<String, Price>) -> Value {
    let first = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| segment.attribute(row, key))
            .filter(|text| !text.is_empty())
    };
    let number = |keys: &[&str]| first(keys).and_then(|text| text.parse::<u64>().ok());
    let ttft = first(&[
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.server.time_to_first_token",
    ]);
    // In seconds, by the conventions.
    let ttft = ttft
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let model = first(&["gen_ai.response.model", "gen_ai.request.model", "llm.model_name"]);
    let input = number(&[
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
    ]);
    let output = number(&[
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
    ]);
    // A call without any tokens has not cost nothing: nobody knows.
    let price = model
        .and_then(|model| prices.get(model))
        .filter(|_| input.or(output).is_some());
    let cost = price.map(|price| price.of(input.unwrap_or(0), output.unwrap_or(0)));
    json!({
        "trace_id": hex::encode(segment.trace(row)),
        "span_id": hex::encode(segment.span(row).to_be_bytes()),
        "time": segment.starts[row].to_string(),
        "service": segment.service(row),
        "system": first(&["gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"]),
        "model": model,
        "operation": first(&["gen_ai.operation.name", "openinference.span.kind"]).unwrap_or(segment.name(row)),
        "input_tokens": input,
        "output_tokens": output,
        "cost": cost,
        "duration": segment.durations[row].to_string(),
        "ttft": ttft.map(|seconds| ((seconds * 1e9) as u64).to_string()),
        "error": segment.statuses[row] == 2,
        "conversation": first(&["gen_ai.conversation.id", "session.id"]),
    })
}

async fn conversation(State(shared): State<Shared>, Path((trace, id)): Path<(String, String)>) -> Response {
    let store = Arc::clone(&shared.store);
    computed(move || {
        let trace = trace_named(&store, &trace)?;
        let detail = span(&store, &trace, &id)?;
        let detail = serde_json::to_value(&detail).map_err(|error| Failure::Bad(error.to_string()))?;
        let mut messages = messages_of(&detail["span"]);
        let total = messages.len();
        messages.truncate(MESSAGES);
        Ok(json!({"v": 1, "total": total, "truncated": total > messages.len(), "messages": messages}))
    })
    .await
}

/// Whichever of the forms is there.
fn messages_of(span: &Value) -> Vec<Value> {
    let attributes = span["attributes"].as_array().map_or(&[][..], Vec::as_slice);
    let value = |key: &str| {
        let found = attributes.iter().find(|attribute| attribute["key"] == key);
        found.and_then(|attribute| attribute["value"].as_str())
    };
    let mut messages = Vec::new();
    for (key, role) in [
        ("gen_ai.system_instructions", "system"),
        ("gen_ai.input.messages", "user"),
        ("gen_ai.prompt", "user"),
        ("input.value", "user"),
        ("gen_ai.output.messages", "assistant"),
        ("gen_ai.completion", "assistant"),
        ("output.value", "assistant"),
    ] {
        // OpenInference says the same twice; its messages are below.
        let is_twice = key.ends_with(".value")
            && attributes.iter().any(|one| {
                one["key"]
                    .as_str()
                    .is_some_and(|key| key.starts_with("llm.input_messages."))
            });
        if let Some(text) = value(key).filter(|_| !is_twice) {
            messages.extend(from_text(text, role));
        }
    }
    messages.extend(from_openinference(attributes));
    for event in span["events"].as_array().into_iter().flatten() {
        let name = event["name"].as_str().unwrap_or_default();
        let Some(role) = name
            .strip_prefix("gen_ai.")
            .and_then(|rest| rest.strip_suffix(".message"))
        else {
            continue;
        };
        let content = event["attributes"].as_array().into_iter().flatten();
        let content = content
            .clone()
            .find(|one| one["key"] == "content")
            .and_then(|one| one["value"].as_str());
        messages.push(message(role, content.unwrap_or_default()));
    }
    messages
}

fn message(role: &str, text: &str) -> Value {
    json!({"role": role, "parts": [{"type": "text", "text": text}]})
}

/// A JSON list of messages, or plain text.
fn from_text(text: &str, role: &str) -> Vec<Value> {
    let Ok(Value::Array(list)) = serde_json::from_str::<Value>(text) else {
        return vec![message(role, text)];
    };
    let of_one = |one: &Value| {
        let role = one["role"].as_str().unwrap_or(role);
        let parts = match (&one["parts"], &one["content"]) {
            (Value::Array(parts), _) | (_, Value::Array(parts)) => parts.iter().map(part_of).collect(),
            (_, Value::String(text)) => vec![json!({"type": "text", "text": text})],
            _ => vec![part_of(one)],
        };
        json!({"role": role, "parts": parts})
    };
    list.iter().map(of_one).collect()
}

/// Text, or a call of a tool or its answer.
fn part_of(part: &Value) -> Value {
    let kind = part["type"].as_str().unwrap_or("text");
    if kind.starts_with("tool") {
        return json!({"type": kind, "tool": part["name"], "id": part["id"], "arguments": part["arguments"], "result": part["response"]});
    }
    let text = [&part["content"], &part["text"]].into_iter().find_map(Value::as_str);
    json!({"type": kind, "text": text.map_or_else(|| part.to_string(), str::to_owned)})
}

/// `llm.input_messages.0.message.role` and `.content`.
fn from_openinference(attributes: &[Value]) -> Vec<Value> {
    let mut found: BTreeMap<(u8, usize), (String, String)> = BTreeMap::new();
    for attribute in attributes {
        let (Some(key), Some(value)) = (attribute["key"].as_str(), attribute["value"].as_str()) else {
            continue;
        };
        let side = key.strip_prefix("llm.input_messages.").map(|rest| (0, rest));
        let side = side.or_else(|| key.strip_prefix("llm.output_messages.").map(|rest| (1, rest)));
        let Some((side, rest)) = side else { continue };
        let Some((number, field)) = rest.split_once('.') else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else { continue };
        let entry = found.entry((side, number)).or_default();
        match field {
            "message.role" => entry.0 = value.to_owned(),
            "message.content" => entry.1 = value.to_owned(),
            _ => {}
        }
    }
    found.into_values().map(|(role, text)| message(&role, &text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::http::Params;
    use crate::pdata::{Batch, DoorLimits, Origin};

    #[test]
    fn both_conventions_give_messages() {
        let attribute = |key: &str, value: &str| json!({"key": key, "value": value});
        let otel = json!({"attributes": [
            attribute("gen_ai.input.messages", r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#),
            attribute("gen_ai.output.messages", r#"[{"role":"assistant","parts":[{"type":"tool_call","name":"rates","id":"1","arguments":{}}]}]"#),
        ]});
        let messages = messages_of(&otel);
        assert_eq!(messages[0]["parts"][0]["text"], "hi");
        assert_eq!(messages[1]["parts"][0]["tool"], "rates");
        let inference = json!({"attributes": [
            attribute("input.value", "twice"),
            attribute("llm.input_messages.0.message.role", "user"), attribute("llm.input_messages.0.message.content", "hello"),
            attribute("llm.output_messages.0.message.role", "assistant"), attribute("llm.output_messages.0.message.content", "yes"),
        ]});
        let messages = messages_of(&inference);
        assert_eq!(messages.len(), 2);
        assert_eq!(
            (&messages[0]["role"], &messages[1]["parts"][0]["text"]),
            (&json!("user"), &json!("yes"))
        );
    }

    #[test]
    fn a_call_costs_what_the_given_price_says_and_nothing_is_made_up() {
        let store = Store::default();
        let span = |id: u8, model: &str, tokens: &str| {
            format!(
                r#"{{"traceId":"{id:032x}","spanId":"{id:016x}","name":"chat","startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[
                {{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},
                {{"key":"gen_ai.request.model","value":{{"stringValue":"{model}"}}}}{tokens}]}}"#
            )
        };
        let tokens = r#",{"key":"gen_ai.usage.input_tokens","value":{"intValue":"1000000"}},
            {"key":"gen_ai.usage.output_tokens","value":{"intValue":"500000"}}"#;
        let spans = [span(1, "small", tokens), span(2, "small", ""), span(3, "other", tokens)].join(",");
        let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
        let batch = Batch::from_json(
            Signal::Traces,
            text.as_bytes(),
            &DoorLimits::default(),
            Origin::internal(),
        );
        store.take(batch.unwrap().batch);
        let prices = Prices::default();
        let price = Price {
            input: 2.0,
            output: 8.0,
        };
        prices.set(BTreeMap::from([("small".to_owned(), price)]));
        let answer = list(&store, &prices.all(), &Params::default()).unwrap();
        let cost = |id: u8| {
            let calls = answer["calls"].as_array().unwrap();
            let call = calls.iter().find(|call| call["span_id"] == format!("{id:016x}"));
            call.unwrap()["cost"].clone()
        };
        assert_eq!(cost(1), 6.0);
        assert_eq!(cost(2), Value::Null, "no tokens were told: nobody knows");
        assert_eq!(cost(3), Value::Null, "no price was given");
        let model = |name: &str| {
            let models = answer["models"].as_array().unwrap();
            models.iter().find(|one| one["model"] == name).unwrap()["cost"].clone()
        };
        assert_eq!((model("small"), model("other")), (Value::from(6.0), Value::Null));
    }
}
