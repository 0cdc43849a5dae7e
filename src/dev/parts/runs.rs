//! `GET /api/v1/runs`: the runs of `dev -- CMD` with what they sent; `POST` begins and ends one, for `dev --attach`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{list, problem};
use crate::component::{Clock, Commons, SystemClock};
use crate::dev::answers::{Ask, Failure, logs, spans, traces};
use crate::dev::answers::{Choice, Order};
use crate::dev::http::respond;
use crate::dev::runs::{Run, Runs};
use crate::dev::store::Store;

#[derive(Clone)]
struct Shared {
    runs: Arc<Runs>,
    store: Arc<Store>,
}

pub(super) fn router(commons: &Commons) -> Router {
    Router::new()
        .route("/api/v1/runs", get(all).post(begin))
        .route("/api/v1/runs/{id}", post(end))
        .with_state(Shared {
            runs: commons.get(),
            store: commons.get(),
        })
}

async fn all(State(state): State<Shared>) -> Response {
    let known = state.runs.all();
    let store = Arc::clone(&state.store);
    let counted = tokio::task::spawn_blocking(move || -> Result<Vec<Value>, Failure> {
        known.iter().map(|run| counts(&store, run)).collect()
    });
    match counted.await {
        Ok(Ok(runs)) => {
            let total = runs.len();
            list("runs", runs, total)
        }
        Ok(Err(failure)) => respond(&failure),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "this answer could not be computed"),
    }
}

fn counts(store: &Store, run: &Run) -> Result<Value, Failure> {
    let ask = |terms: &str| Ask::all(&format!("run={} {terms}", run.id), 1, store.now());
    let choice = Choice {
        order: Order::Recent,
        health: true,
        run: Some(run.id.clone()),
    };
    let of_traces = traces(store, &Ask::all("", 1, store.now())?, &choice)?;
    Ok(json!({
        "id": run.id,
        "command": run.command,
        "started": run.started.to_string(),
        "ended": run.ended.map(|at| at.to_string()),
        "exit_code": run.exit_code,
        "spans": spans(store, &ask("")?).head.total,
        "errors": spans(store, &ask("status=error")?).head.total,
        "logs": logs(store, &ask("")?).head.total,
        "traces": of_traces.head.total,
    }))
}

#[derive(Deserialize)]
struct Begin {
    #[serde(default)]
    command: String,
}

async fn begin(State(state): State<Shared>, Json(begin): Json<Begin>) -> Response {
    let id = state.runs.begin(&begin.command, SystemClock.now());
    Json(json!({"v": 1, "id": id})).into_response()
}

#[derive(Deserialize)]
struct End {
    exit_code: u8,
}

async fn end(State(state): State<Shared>, Path(id): Path<String>, Json(end): Json<End>) -> Response {
    if !state.runs.end(&id, SystemClock.now(), end.exit_code) {
        return problem(StatusCode::NOT_FOUND, format!("there is no run {id:?}"));
    }
    Json(json!({"v": 1, "id": id})).into_response()
}
