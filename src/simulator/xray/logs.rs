//! The log group of Transaction Search: FilterLogEvents over every span, indexed or not, while segments go there.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use serde_json::{Map, Value as Json, json};

use super::super::answer::ApiError;
use super::super::value::Value;
use super::State;
use super::load::LONGEST_S;
use super::store::{Range, RangeType, flag};
use super::traces::Moment;
use crate::aws::xray::translate::{Options, Reader, Spans};

const GROUP: &str = "aws/spans";

impl State {
    /// One page of events.
    pub fn log_events(&self, request: &Value, moment: &Moment<'_>) -> Result<Value, ApiError> {
        let group = request.str("logGroupName").unwrap_or_default();
        let is_there = self.destination.logs && moment.now >= self.destination.pending_until;
        if group != GROUP || !is_there {
            let message = "The specified log group does not exist.";
            return Err(ApiError::sender("ResourceNotFoundException", message));
        }
        let time = |name| request.int(name).map(|at| at as f64 / 1e3);
        let (from, to) = (time("startTime").unwrap_or(0.0), time("endTime").unwrap_or(moment.now));
        if from > to {
            let message = "startTime must not be after endTime";
            return Err(ApiError::sender("InvalidParameterException", message));
        }
        let skip: usize = match request.str("nextToken") {
            None => 0,
            Some(token) => token
                .strip_prefix("events-")
                .and_then(|skip| skip.parse().ok())
                .ok_or_else(|| ApiError::sender("InvalidParameterException", "The specified nextToken is invalid."))?,
        };
        let size = request.int("limit").and_then(|limit| usize::try_from(limit).ok());
        let size = size.unwrap_or(10_000).min(moment.scenario.xray.page * 10).max(1);
        let events = self.events(from, to, moment);
        let page = events.iter().skip(skip).take(size);
        let page = page.map(|(at, message)| {
            Value::map([
                ("timestamp", Value::Int((at * 1e3) as i64)),
                ("message", Value::text(message.clone())),
                ("logStreamName", Value::text("default")),
            ])
        });
        let mut answer = Value::map([("events", Value::List(page.collect()))]);
        if skip + size < events.len() {
            answer.push("nextToken", Value::text(format!("events-{}", skip + size)));
        }
        Ok(answer)
    }

    /// Time (unix seconds) and text of every span that ended between two times and shows by now, oldest first.
    fn events(&self, from: f64, to: f64, moment: &Moment<'_>) -> Vec<(f64, String)> {
        let reader = Reader::new(Options::default());
        let view = self.view(moment);
        let started = Range {
            kind: RangeType::TraceId,
            from: from - LONGEST_S,
            to: to + 1.0,
        };
        let mut events = Vec::new();
        for (_, trace) in view.traces(moment.region, started) {
            for arrival in &trace.arrivals {
                if flag(&arrival.document, "in_progress") || flag(&arrival.document, "inferred") {
                    continue;
                }
                let mut spans = Spans::default();
                reader.segments(arrival.document.to_string().as_bytes(), 0, &mut spans);
                for document in &spans.documents {
                    for span in document.spans() {
                        // Whole milliseconds, as events have them.
                        let at = (span.end_time_unix_nano / 1_000_000) as f64 / 1e3;
                        if from <= at && at <= to {
                            events.push((at, event(&document.resource_spans, span).to_string()));
                        }
                    }
                }
            }
        }
        events.sort_by(|(a, one), (b, other)| a.total_cmp(b).then_with(|| one.cmp(other)));
        events
    }
}

fn event(group: &ResourceSpans, span: &Span) -> Json {
    let resource = group
        .resource
        .as_ref()
        .map(|resource| attributes(&resource.attributes))
        .unwrap_or_default();
    let kind = SpanKind::try_from(span.kind).unwrap_or_default().as_str_name();
    let status = span.status.as_ref();
    let code = status.and_then(|status| StatusCode::try_from(status.code).ok());
    let code = code
        .unwrap_or_default()
        .as_str_name()
        .trim_start_matches("STATUS_CODE_");
    let events = span.events.iter().map(|event| {
        json!({"timeUnixNano": event.time_unix_nano, "name": event.name, "attributes": attributes(&event.attributes)})
    });
    let links = span
        .links
        .iter()
        .map(|link| json!({"traceId": hex::encode(&link.trace_id), "spanId": hex::encode(&link.span_id)}));
    json!({
        "resource": {"attributes": resource}, "scope": {"name": "xray", "version": ""},
        "traceId": hex::encode(&span.trace_id), "spanId": hex::encode(&span.span_id),
        "parentSpanId": hex::encode(&span.parent_span_id), "flags": span.flags, "name": span.name,
        "kind": kind.trim_start_matches("SPAN_KIND_"),
        "startTimeUnixNano": span.start_time_unix_nano, "endTimeUnixNano": span.end_time_unix_nano,
        "durationNano": span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        "attributes": attributes(&span.attributes),
        "events": events.collect::<Vec<Json>>(), "links": links.collect::<Vec<Json>>(),
        "status": {"code": code, "message": status.map(|status| status.message.as_str()).unwrap_or_default()},
    })
}

fn attributes(list: &[KeyValue]) -> Map<String, Json> {
    let plain = |attribute: &KeyValue| {
        (
            attribute.key.clone(),
            attribute.value.as_ref().map_or(Json::Null, json_of),
        )
    };
    list.iter().map(plain).collect()
}

fn json_of(value: &AnyValue) -> Json {
    match &value.value {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(flag)) => json!(flag),
        Some(Any::IntValue(int)) => json!(int),
        Some(Any::DoubleValue(double)) => json!(double),
        Some(Any::ArrayValue(array)) => array.values.iter().map(json_of).collect(),
        Some(Any::KvlistValue(list)) => Json::Object(attributes(&list.values)),
        _ => Json::Null,
    }
}
