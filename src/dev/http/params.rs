//! Parameters in, answers out: off the async workers, a few at a time, with a deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::dev::answers::{Ask, Failure, Limits};
use crate::dev::query::Query;
use crate::dev::store::Store;

/// After this an answer is given from what was looked at until then.
const DEADLINE: Duration = Duration::from_secs(5);

/// Answers that are computed at the same time.
const AT_ONCE: usize = 4;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub store: Arc<Store>,
    turns: Arc<Semaphore>,
}

impl Api {
    /// Over a store.
    pub fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Computes an answer on a blocking thread.
    pub async fn answer<T, F>(&self, compute: F) -> Response
    where
        T: Serialize + Send + 'static,
        F: FnOnce(&Store) -> Result<T, Failure> + Send + 'static,
    {
        if !self.store.is_fed() {
            let text = "nothing is stored here: no pipeline has the exporter `devstore`, as `radiosonde dev` has";
            return (StatusCode::NOT_FOUND, Json(json!({"v": 1, "error": text}))).into_response();
        }
        let Ok(_turn) = self.turns.acquire().await else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || match compute(&store) {
            Ok(answer) => match serde_json::to_vec(&answer) {
                Ok(body) => ([(http::header::CONTENT_TYPE, "application/json")], body).into_response(),
                Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, json!({"error": error.to_string()})),
            },
            Err(failure) => respond(&failure),
        });
        done.await.unwrap_or_else(|_| {
            problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({"error": "this answer could not be computed; the log may say why"}),
            )
        })
    }
}

fn problem(status: StatusCode, mut body: serde_json::Value) -> Response {
    body["v"] = 1.into();
    (status, Json(body)).into_response()
}

/// A failure as an answer.
pub fn respond(failure: &Failure) -> Response {
    let error = failure.to_string();
    match failure {
        Failure::Query(query) => problem(
            StatusCode::BAD_REQUEST,
            json!({"error": error, "position": query.position, "suggestion": query.suggestion}),
        ),
        Failure::Bad(_) => problem(StatusCode::BAD_REQUEST, json!({"error": error})),
        Failure::Missing(_) => problem(StatusCode::NOT_FOUND, json!({"error": error})),
        Failure::Ambiguous { candidates, .. } => {
            problem(StatusCode::CONFLICT, json!({"error": error, "candidates": candidates}))
        }
    }
}

/// The parameters of a request, the last of a name.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Params(pub HashMap<String, String>);

impl Params {
    /// A parameter; empty where it is absent.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A parameter that is not empty.
    pub fn some(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A number.
    ///
    /// # Errors
    /// Where it is none.
    pub fn number(&self, name: &str, default: usize) -> Result<usize, Failure> {
        match self.some(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| Failure::Bad(format!("`{name}` is a number, not {text:?}"))),
        }
    }

    /// A switch: `1` or `true`.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.text(name), "1" | "true")
    }

    /// `q`, `from`, `to`, `limit` and `cursor`.
    ///
    /// # Errors
    /// Where one of them cannot be read.
    pub fn ask(&self, store: &Store, limits: Limits) -> Result<Ask, Failure> {
        let now = store.now();
        let limit = self.number("limit", limits.default)?.clamp(1, limits.most);
        let mut ask = Ask::all(self.text("q"), limit, now)?.within(self.some("from"), self.some("to"))?;
        ask.cursor = self.some("cursor").map(str::to_owned);
        ask.deadline = Some(Instant::now() + DEADLINE);
        Ok(ask)
    }

    /// `q` alone.
    ///
    /// # Errors
    /// Where it is no query.
    pub fn query(&self, store: &Store) -> Result<Query, Failure> {
        Ok(Query::parse(self.text("q"), store.now())?)
    }
}
