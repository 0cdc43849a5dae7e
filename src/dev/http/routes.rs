//! The paths, each a few lines: read the parameters, call the answer.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::params::{Api, Params};
use super::stream::{Hub, stream};
use crate::dev::answers::{self, As, Choice, Failure, Limits, MetricAsk, Order};
use crate::dev::query;
use crate::dev::store::Store;
use crate::pdata::Signal;

/// Lists of traces, spans and logs.
const LIST: Limits = Limits {
    default: 100,
    most: 1_000,
};
/// Lists of what is put together.
const GROUPS: Limits = Limits {
    default: 500,
    most: 5_000,
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
        .route("/api/v1/traces/{id}/critical-path", get(critical_path))
        .route("/api/v1/traces/{id}/flame", get(flame_of_trace))
        .route("/api/v1/traces/{id}/spans/{span}", get(span))
        .route("/api/v1/spans", get(spans))
        .route("/api/v1/logs", get(logs))
        .route("/api/v1/logs/histogram", get(log_histogram))
        .route("/api/v1/logs/{id}", get(log))
        .route("/api/v1/metrics", get(metrics))
        .route("/api/v1/metrics/query", get(metric))
        .route("/api/v1/flame", get(flame))
        .route("/api/v1/map", get(map))
        .route("/api/v1/services", get(services))
        .route("/api/v1/errors", get(errors))
        .route("/api/v1/slow", get(slow))
        .route("/api/v1/stats", get(stats))
        .route("/api/v1/keys", get(keys))
        .route("/api/v1/compare", get(compare))
        .route("/api/v1/complete", get(complete))
        .route("/api/v1/clear", post(clear))
        .with_state(Api::new(Arc::clone(&store)))
        .merge(
            Router::new()
                .route("/api/v1/stream", get(stream))
                .with_state(Hub::new(&store)),
        )
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
    api.answer(move |store| {
        Ok(answers::scatter(
            store,
            &params.ask(store, ROWS)?,
            params.is_on("health"),
        ))
    })
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

async fn critical_path(State(api): State<Api>, Path(id): Path<String>) -> Response {
    api.answer(move |store| answers::critical_path(store, &answers::trace_named(store, &id)?))
        .await
}

async fn flame_of_trace(State(api): State<Api>, Path(id): Path<String>) -> Response {
    api.answer(move |store| answers::flame_of_trace(store, &answers::trace_named(store, &id)?))
        .await
}

async fn flame(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::flame(store, &params.ask(store, LIST)?)))
        .await
}

async fn metrics(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::metrics(store, &params.ask(store, GROUPS)?)))
        .await
}

async fn metric(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let by = params
            .text("by")
            .split(',')
            .map(str::trim)
            .filter(|key| !key.is_empty());
        let metric = MetricAsk {
            name: params.text("name").to_owned(),
            made: As::named(params.text("as"))?,
            by: by.map(str::to_owned).collect(),
            points: params.number("points", 600)?,
        };
        answers::query_metric(store, &params.ask(store, LIST)?, &metric)
    })
    .await
}

async fn map(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::map(store, &params.ask(store, LIST)?)))
        .await
}

async fn services(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::services(store, &params.ask(store, GROUPS)?)))
        .await
}

async fn errors(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::errors(store, &params.ask(store, LIST)?)))
        .await
}

async fn slow(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| Ok(answers::slow(store, &params.ask(store, LIST)?)))
        .await
}

async fn stats(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        let signal = match params.text("signal") {
            "" | "traces" | "spans" => Signal::Traces,
            "logs" => Signal::Logs,
            other => return Err(Failure::Bad(format!("`signal` is traces or logs, not {other:?}"))),
        };
        answers::stats(
            store,
            &params.ask(store, GROUPS)?,
            signal,
            params.some("by"),
            params.text("of"),
        )
    })
    .await
}

async fn keys(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| {
        // Here `q` is a part of a key, not a query.
        let mut plain = params.clone();
        plain.0.remove("q");
        Ok(answers::keys(store, &plain.ask(store, GROUPS)?, params.text("q")))
    })
    .await
}

async fn compare(State(api): State<Api>, Query(params): Asked) -> Response {
    api.answer(move |store| answers::compare(store, params.text("a"), params.text("b")))
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
