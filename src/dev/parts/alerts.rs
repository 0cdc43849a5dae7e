//! `GET /api/v1/alerts`: what the lints and the alert rules have found, in one form; `POST /api/v1/alerts/{id}/mute`
//! and `/unmute`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{list, problem};
use crate::alert::notify::Desk;
use crate::component::{Clock, Commons, SystemClock};
use crate::dev::lints::{Finding, Lints};
use crate::dev::query::units::{self, Quantity};

/// Findings of one answer.
const MOST: usize = 200;

#[derive(Clone)]
struct Alerts {
    lints: Arc<Lints>,
    desk: Arc<Desk>,
}

pub(super) fn router(commons: &Commons) -> Router {
    Router::new()
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/alerts/{id}/mute", post(mute))
        .route("/api/v1/alerts/{id}/unmute", post(unmute))
        .with_state(Alerts {
            lints: commons.get(),
            desk: commons.get(),
        })
}

async fn alerts(State(alerts): State<Alerts>, Query(asked): Query<HashMap<String, String>>) -> Response {
    let asked = |name: &str| asked.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let mut found: Vec<Value> = Vec::new();
    // A run has no alerts of rules: they are about what was measured elsewhere.
    if asked("run").is_none() && asked("trace_id").is_none() {
        match alerts.desk.incidents().await {
            Ok(incidents) => found.extend(incidents.iter().map(of_rule)),
            Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
    let now = SystemClock.now().0;
    let of_lints = match asked("trace_id") {
        Some(trace) => alerts.lints.of_trace(trace, None, now),
        None => alerts.lints.all(now),
    };
    let is_of_run = |finding: &&Finding| asked("run").is_none_or(|run| finding.runs.contains(run));
    found.extend(of_lints.iter().filter(is_of_run).map(as_json));
    let is_asked = |finding: &Value| {
        let is = |name: &str| asked(name).is_none_or(|wanted| finding[name].as_str() == Some(wanted));
        is("state") && is("rule") && is("severity") && is("source")
    };
    found.retain(is_asked);
    let total = found.len();
    let limit = asked("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(MOST)
        .clamp(1, MOST);
    found.truncate(limit);
    list("alerts", found, total)
}

fn as_json(finding: &Finding) -> Value {
    serde_json::to_value(finding).unwrap_or_default()
}

/// An alert of a rule in the form of a finding.
fn of_rule(incident: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = &incident["labels"];
    let annotations = &incident["annotations"];
    let severity = labels["severity"].as_str();
    let severity = severity
        .filter(|severity| matches!(*severity, "info" | "warning" | "critical"))
        .unwrap_or("warning");
    let rule = text(&labels["alertname"]);
    let summary = match text(&annotations["summary"]) {
        empty if empty.is_empty() => rule.clone(),
        summary => summary,
    };
    let fix = match &incident["resolution_steps"] {
        Value::Array(steps) if !steps.is_empty() => Value::from(steps.clone()),
        _ => Value::from(text(&annotations["description"])),
    };
    let nanos = |value: &Value| {
        let stamp: Option<jiff::Timestamp> = value.as_str().and_then(|text| text.parse().ok());
        stamp.map(|stamp| stamp.as_nanosecond().to_string())
    };
    let first = nanos(&incident["startsAt"]).unwrap_or_else(|| "0".to_owned());
    let last = nanos(&incident["endsAt"]).unwrap_or_else(|| first.clone());
    let state = if incident["acknowledged"].is_null() {
        incident["state"].clone()
    } else {
        Value::from("muted")
    };
    json!({
        "id": format!("rule-{}", text(&incident["fingerprint"])),
        "rule": rule,
        "severity": severity,
        "source": "rule",
        "title": summary,
        "text": text(&annotations["description"]),
        "fix": fix,
        "first": first,
        "last": last,
        "count": 1,
        "state": state,
        "value": incident["value"],
        "contact": incident["contact"],
        "evidence": evidence_of(labels, incident),
        "labels": labels,
        "runs": [],
    })
}

/// The series it is about.
fn evidence_of(labels: &Value, incident: &Value) -> Vec<Value> {
    let mut terms = vec!["signal=metrics".to_owned()];
    for (name, value) in labels.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if matches!(name.as_str(), "TableName" | "EndpointName" | "GlobalSecondaryIndexName") && !value.is_empty() {
            terms.push(format!("{name}={}", Value::from(value)));
        }
    }
    let value = &incident["value"];
    vec![
        json!({"kind": "metric", "q": terms.join(" "), "text": format!("the value of the rule's expression is {value}")}),
    ]
}

#[derive(Deserialize)]
struct Mute {
    /// `1h`; empty for good.
    #[serde(default, rename = "for")]
    span: String,
    #[serde(default)]
    comment: String,
}

async fn mute(State(alerts): State<Alerts>, Path(id): Path<String>, Json(mute): Json<Mute>) -> Response {
    if id.starts_with("rule-") {
        let text =
            "alerts of rules are silenced in the configuration (`silences`) or by POST /silences with the admin token";
        return problem(StatusCode::BAD_REQUEST, text);
    }
    let span = match mute.span.trim() {
        "" => None,
        text => match units::quantity(text) {
            Some(Quantity::Duration(nanos)) if nanos > 0.0 => Some(nanos as u64),
            _ => {
                return problem(
                    StatusCode::BAD_REQUEST,
                    format!("`for` is a duration as 1h or 30m, not {text:?}"),
                );
            }
        },
    };
    let comment: String = mute.comment.chars().take(500).collect();
    if !alerts.lints.mute(&id, span, &comment, SystemClock.now().0) {
        return problem(StatusCode::NOT_FOUND, format!("there is no finding {id:?}"));
    }
    Json(json!({"v": 1, "id": id, "state": "muted"})).into_response()
}

/// The body is JSON, as of every change; nothing in it is looked at.
async fn unmute(State(alerts): State<Alerts>, Path(id): Path<String>, Json(_nothing): Json<Value>) -> Response {
    if !alerts.lints.unmute(&id) {
        return problem(StatusCode::NOT_FOUND, format!("there is no finding {id:?}"));
    }
    Json(json!({"v": 1, "id": id})).into_response()
}
