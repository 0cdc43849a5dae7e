//! Paths to calls, faults, errors and headers.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};

use super::super::answer::{ApiError, Caller};
use super::super::faults::{Struck, strike};
use super::super::server::{date, reset};
use super::super::{Call, Simulator, locked};
use super::answer::{invalid, throttled};
use super::sign;
use super::traces::Moment;

/// The call behind a path.
pub fn api_of(path: &str) -> Option<&'static str> {
    Some(match path {
        "/TraceSegments" => "PutTraceSegments",
        "/TelemetryRecords" => "PutTelemetryRecords",
        "/TraceSummaries" => "GetTraceSummaries",
        "/Traces" => "BatchGetTraces",
        "/ServiceGraph" => "GetServiceGraph",
        "/TraceGraph" => "GetTraceGraph",
        "/TimeSeriesServiceStatistics" => "GetTimeSeriesServiceStatistics",
        "/InsightSummaries" => "GetInsightSummaries",
        "/Groups" => "GetGroups",
        "/GetSamplingRules" => "GetSamplingRules",
        "/SamplingTargets" => "GetSamplingTargets",
        "/SamplingStatisticSummaries" => "GetSamplingStatisticSummaries",
        "/GetTraceSegmentDestination" => "GetTraceSegmentDestination",
        "/GetIndexingRules" => "GetIndexingRules",
        "/StartTraceRetrieval" => "StartTraceRetrieval",
        "/ListRetrievedTraces" => "ListRetrievedTraces",
        "/CancelTraceRetrieval" => "CancelTraceRetrieval",
        "/v1/traces" => "OtlpTraces",
        _ => return None,
    })
}

/// Answers one call.
pub async fn handle(simulator: &Simulator, api: &'static str, head: &Parts, body: Bytes) -> Response {
    let world = simulator.world();
    let authorization = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let caller = match Caller::from_authorization(authorization, &world.scenario.account) {
        Ok(caller) => caller,
        Err(error) => return failed(simulator, &error),
    };
    let struck = {
        let minute = world.minute_of(simulator.now_s() as i64);
        strike(&mut locked(&simulator.faults), api, &caller, minute, simulator.now_s())
    };
    if struck.reset {
        return reset();
    }
    if struck.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(struck.delay_ms)).await;
    }
    let result = answer(simulator, api, head, body, &caller, &struck);
    let response = match result {
        Ok((bytes, units, content_type)) => {
            locked(&simulator.bill).charge(simulator.now_s(), &caller.account, &caller.region, api, units);
            let keep = if struck.truncate { bytes.len() / 2 } else { bytes.len() };
            respond(simulator, 200, bytes[..keep].to_vec(), content_type)
        }
        Err(error) => failed(simulator, &error),
    };
    simulator.note(Call {
        api: api.to_owned(),
        account: caller.account,
        region: caller.region,
        at: simulator.now_s(),
        status: response.status().as_u16(),
    });
    response
}

type Answered = (Vec<u8>, u64, &'static str);

/// The answer, what is billed, and its content type.
fn answer(
    simulator: &Simulator,
    api: &'static str,
    head: &Parts,
    body: Bytes,
    caller: &Caller,
    struck: &Struck,
) -> Result<Answered, ApiError> {
    if let Some(error) = &struck.error {
        return Err(match error.code.as_str() {
            "ThrottlingException" => throttled(),
            _ => error.clone(),
        });
    }
    if caller.service != "xray" {
        return Err(ApiError {
            status: 403,
            ..ApiError::sender(
                "SignatureDoesNotMatch",
                "Credential should be scoped to correct service: 'xray'.",
            )
        });
    }
    sign::verify(head, &body)?;
    if api == "OtlpTraces" {
        let now = simulator.now_s();
        let taken = simulator.xray.state().otlp(&head.headers, body, now);
        let bytes = taken.map_err(|(status, message)| ApiError {
            status,
            ..ApiError::sender("OtlpRefused", message)
        })?;
        return Ok((bytes, 0, "application/x-protobuf"));
    }
    if head.method != http::Method::POST {
        return Err(invalid("only POST"));
    }
    let request = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?
    };
    let (answer, units) = call(simulator, api, &request, caller, struck)?;
    Ok((answer.to_string().into_bytes(), units, "application/json"))
}

fn call(
    simulator: &Simulator,
    api: &'static str,
    request: &Json,
    caller: &Caller,
    struck: &Struck,
) -> Result<(Json, u64), ApiError> {
    let world = simulator.world();
    let scenario = &world.scenario;
    let now = simulator.now_s();
    let moment = Moment {
        scenario,
        region: &caller.region,
        now,
        struck,
    };
    let mut state = simulator.xray.state();
    match api {
        "PutTraceSegments" => state.put_segments(request, now, struck.unprocessed.as_deref()),
        "GetTraceSummaries" => state.trace_summaries(request, &moment),
        "BatchGetTraces" => state.batch_get(request, &moment),
        "ListRetrievedTraces" => state.list_retrieved(request, &moment),
        _ => {
            let answer = match api {
                "PutTelemetryRecords" => state.put_telemetry(request)?,
                "GetServiceGraph" => state.service_graph(request, &moment)?,
                "GetTraceGraph" => state.trace_graph(request, &moment)?,
                "GetTimeSeriesServiceStatistics" => state.time_series(request, &moment)?,
                "GetGroups" => json!({"Groups": [{"GroupName": "Default", "InsightsConfiguration":
                    {"InsightsEnabled": false, "NotificationsEnabled": false}}]}),
                "GetInsightSummaries" => insights(request)?,
                "GetSamplingRules" => state.sampling_rules(scenario),
                "GetSamplingTargets" => state.sampling_targets(scenario, request, now)?,
                "GetSamplingStatisticSummaries" => state.sampling_statistics(),
                "GetTraceSegmentDestination" => state.destination(now),
                "GetIndexingRules" => state.indexing_rules(&moment),
                "StartTraceRetrieval" => state.start_retrieval(request, &moment)?,
                "CancelTraceRetrieval" => state.cancel_retrieval(request)?,
                other => return Err(invalid(format!("{other} is not simulated"))),
            };
            Ok((answer, 0))
        }
    }
}

/// Nothing is ever found: there are no insights here.
fn insights(request: &Json) -> Result<Json, ApiError> {
    if request["GroupName"].is_null() && request["GroupARN"].is_null() {
        return Err(invalid("a group is needed"));
    }
    if request["MaxResults"]
        .as_i64()
        .is_some_and(|most| !(1..=100).contains(&most))
    {
        return Err(invalid("MaxResults must be 1 to 100"));
    }
    Ok(json!({"InsightSummaries": []}))
}

fn failed(simulator: &Simulator, error: &ApiError) -> Response {
    let body = json!({"__type": error.code, "Message": error.message}).to_string();
    let mut response = respond(simulator, error.status, body.into_bytes(), "application/json");
    if let Ok(value) = HeaderValue::from_str(&error.code) {
        response.headers_mut().insert("x-amzn-errortype", value);
    }
    response
}

fn respond(simulator: &Simulator, status: u16, bytes: Vec<u8>, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        "x-amzn-requestid",
        HeaderValue::from_static("00000000-0000-4000-8000-000000000000"),
    );
    if let Some(date) = date(simulator) {
        headers.insert(header::DATE, date);
    }
    response
}
