//! `GET /api/v1/rules/{alert}`: why an alert fires or does not, of every engine that has a rule of this name.

use std::sync::{Arc, PoisonError, Weak};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::{Engines, Runtime};
use crate::alert::engine::Question;

/// The route. It only reads.
pub fn router(engines: Arc<Engines>) -> Router {
    Router::new()
        .route("/api/v1/rules/{alert}", get(explain))
        .with_state(engines)
}

impl Engines {
    fn running(&self) -> Vec<Arc<Runtime>> {
        let engines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = engines.values().filter_map(Weak::upgrade);
        let mut running: Vec<Arc<Runtime>> = running.filter(|runtime| !runtime.quit.is_cancelled()).collect();
        running.sort_by(|a, b| a.context.id.as_str().cmp(b.context.id.as_str()));
        running
    }
}

async fn explain(
    State(engines): State<Arc<Engines>>,
    Path(alert): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let mut question = Question {
        alert,
        ..Question::default()
    };
    for (name, value) in parameters {
        match name.as_str() {
            "at" => match value.parse::<jiff::Timestamp>() {
                Ok(at) => question.at = Some(at.as_millisecond()),
                Err(_) => return refused(StatusCode::BAD_REQUEST, "at is a time such as 2026-11-20T14:20:00Z"),
            },
            label => question.labels.push((label.to_owned(), value)),
        }
    }
    let (mut found, mut names) = (Vec::new(), Vec::new());
    for runtime in engines.running() {
        let core = runtime.core();
        for mut rule in core.engine.explain(&question) {
            rule["engine"] = Json::from(runtime.context.id.as_str());
            found.push(rule);
        }
        names.extend(core.engine.names().into_iter().map(str::to_owned));
    }
    if found.is_empty() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let suggestion = crate::config::suggest_among(&question.alert, &names);
        let text = format!("no rule that is evaluated is called {:?}{suggestion}", question.alert);
        return refused(StatusCode::NOT_FOUND, &text);
    }
    axum::Json(json!({"v": 1, "rules": found})).into_response()
}

fn refused(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(json!({"v": 1, "error": text}))).into_response()
}
