//! The paths, each a few lines: read the parameters, call the answer.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::params::{Api, Params};
use crate::dev::answers::{self, Choice, Limits, Order};
use crate::dev::query;
use crate::dev::store::Store;

/// Lists of traces, spans and logs.
const LIST: Limits = Limits {
    default: 100,
    most: 1_000,
};
/// Rows of a waterfall, points of a scatter.
const ROWS: Limits = Limits {
    default: 2_000,
    most: 10_000,
};

/// Everything below `/api/v1` that the store answers, but `status`.
pub fn api(store: Arc<Store>) -> Router {
    Router::new()
        .route("/api/v1/traces", get(traces))
        .route("/api/v1/traces/histogram", get(trace_histogram))
        .route("/api/v1/traces/scatter", get(scatter))
        .route("/api/v1/traces/{id}", get(trace))
        .route("/api/v1/traces/{id}/minimap", get(minimap))
        .route("/api/v1/traces/{id}/search", get(search))
        .route("/api/v1/traces/{id}/spans/{span}", get(span))
        .route("/api/v1/spans", get(spans))
        .route("/api/v1/logs", get(logs))
        .route("/api/v1/logs/histogram", get(log_histogram))
        .route("/api/v1/logs/{id}", get(log))
        .route("/api/v1/complete", get(complete))
        .route("/api/v1/clear", post(clear))
        .with_state(Api::new(store))
}

type Asked = Query<Params>;

async fn traces(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let ask = params.ask(store, LIST)?;
        let choice = Choice {
            order: Order::named(params.text("sort"))?,
            health: params.is_on("health"),
            run: params.some("run").map(str::to_owned),
        };
        answers::traces(store, &ask, &choice)
    })
    .await
}

async fn scatter(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::scatter(store, &params.ask(store, ROWS)?)))
        .await
}

async fn trace_histogram(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let ask = params.ask(store, LIST)?;
        Ok(answers::trace_histogram(store, &ask, params.number("buckets", 60)?))
    })
    .await
}

async fn trace(State(api): State<Api>, Path(id): Path<String>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let id = answers::trace_named(store, &id)?;
        let offset = params.number("offset", 0)?;
        let limit = params.number("limit", ROWS.default)?.min(ROWS.most);
        answers::trace_rows(store, &id, offset, limit, store.now())
    })
    .await
}

async fn minimap(State(api): State<Api>, Path(id): Path<String>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let id = answers::trace_named(store, &id)?;
        answers::minimap(store, &id, params.number("width", 400)?)
    })
    .await
}

async fn search(State(api): State<Api>, Path(id): Path<String>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let id = answers::trace_named(store, &id)?;
        answers::search_in_trace(store, &id, &params.query(store)?)
    })
    .await
}

async fn span(State(api): State<Api>, Path((id, span)): Path<(String, String)>) -> Response {
    api.answer(move |store| {
        let id = answers::trace_named(store, &id)?;
        answers::span(store, &id, &span)
    })
    .await
}

async fn spans(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::spans(store, &params.ask(store, LIST)?)))
        .await
}

async fn logs(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::logs(store, &params.ask(store, LIST)?)))
        .await
}

async fn log_histogram(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let ask = params.ask(store, LIST)?;
        Ok(answers::log_histogram(store, &ask, params.number("buckets", 60)?))
    })
    .await
}

async fn log(State(api): State<Api>, Path(id): Path<String>, Query(params): Asked) -> Response {
    api.answer(move |store| answers::log(store, &id, params.number("context", 0)?))
        .await
}

async fn complete(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let text = params.text("q");
        let cursor = params.number("pos", text.chars().count())?;
        let found = query::complete(text, cursor, &store.snapshot());
        Ok(json!({"v": 1, "items": found.items, "from": found.from, "to": found.to}))
    })
    .await
}

async fn clear(State(api): State<Api>, _body: Json<serde_json::Value>) -> Response {
    api.answer(|store| {
        store.clear();
        Ok(json!({"v": 1, "cleared": true}))
    })
    .await
}
