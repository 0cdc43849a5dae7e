//! What the API of dev mode has beside the store: alerts, runs, AWS, export and import.

mod alerts;
mod aws;
mod exchange;
mod genai;
mod groups;
mod page;
mod runs;
#[cfg(test)]
mod tests;
pub mod zip;

pub use aws::Sources;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
pub use genai::{Price, Prices};
use http::StatusCode;
use serde_json::{Value, json};

use crate::component::Commons;

/// The routes. Whoever mounts them puts the guard of [`super::http::guarded`] around.
pub fn router(commons: &Commons, sources: Sources) -> Router {
    Router::new()
        .merge(alerts::router(commons))
        .merge(aws::router(commons, sources))
        .merge(exchange::router(commons))
        .merge(genai::router(commons))
        .merge(runs::router(commons))
}

/// An error as every answer of the API has it.
fn problem(status: StatusCode, text: impl Into<String>) -> Response {
    (status, Json(json!({"v": 1, "error": text.into()}))).into_response()
}

/// A list and what every list says.
fn list(name: &str, items: Vec<Value>, total: usize) -> Response {
    let mut answer = json!({"v": 1, "total": total, "truncated": items.len() < total, "cursor": null});
    if items.is_empty() {
        answer["empty"] = Value::from("nothing received");
    }
    answer[name] = Value::from(items);
    Json(answer).into_response()
}
