//! `GET /api/v1/tap?component=ID`: what passes a component of the running graph, as it passes. A line of JSON a batch.
//!
//! A receiver, processor or connector shows what it gives on, an exporter what it is given. Whoever looks on slows nothing:
//! one that reads too slowly misses some, and each line says how many. While nobody does it costs one load a batch.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::guard::is_bearer;
use crate::component::{Commons, ComponentId, ComponentKind, Fresh, Taps, Watch};
use crate::config::types::Secret;
use crate::dev::http::Texts;
use crate::pdata::Signal;

/// Lines that wait for a slow client.
const QUEUE: usize = 16;
/// Components that are looked at at the same time, by all clients together.
const MOST: usize = 32;

/// Who may look on: telemetry is shown, and in `run` a listener for other machines has nobody before it who asks.
#[derive(Clone)]
pub enum Viewers {
    /// Who can connect: this machine, or those whom the guard of the pages lets through.
    Everybody,
    Bearer(Secret),
    Nobody,
}

/// What the handler needs.
#[derive(Clone)]
pub struct Tapping {
    pub commons: Commons,
    pub viewers: Viewers,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// Those that `tasks` counts and are not ours: the sampling of the rates.
    pub others: usize,
}

/// The route.
pub fn router(tapping: Tapping) -> Router {
    Router::new().route("/api/v1/tap", get(tap)).with_state(tapping)
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    component: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    signal: String,
}

fn refused(status: StatusCode, text: String) -> Response {
    (status, axum::Json(json!({"v": 1, "error": text}))).into_response()
}

async fn tap(State(tapping): State<Tapping>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    match &tapping.viewers {
        Viewers::Everybody => {}
        Viewers::Bearer(token) if is_bearer(&headers, token) => {}
        Viewers::Bearer(_) => {
            let text = "bring the admin token as Authorization: Bearer: this shows telemetry".to_owned();
            return refused(StatusCode::UNAUTHORIZED, text);
        }
        Viewers::Nobody => {
            let text =
                "this listener is open to other machines and has no token (service::admin): it shows no telemetry";
            return refused(StatusCode::FORBIDDEN, text.to_owned());
        }
    }
    let signal = match asked.signal.as_str() {
        "" => None,
        name => match Signal::ALL.into_iter().find(|signal| signal.name() == name) {
            Some(signal) => Some(signal),
            None => {
                return refused(
                    StatusCode::BAD_REQUEST,
                    format!("there is no signal {name:?}: traces, metrics, logs"),
                );
            }
        },
    };
    let taps = tapping.commons.get::<Taps>();
    let found: Vec<_> = taps
        .all()
        .into_iter()
        .filter(|(kind, id, _)| id.as_str() == asked.component && (asked.kind.is_empty() || kind.name() == asked.kind))
        .collect();
    if found.is_empty() {
        let all = taps.all();
        let names: Vec<String> = all
            .iter()
            .map(|(kind, id, _)| format!("{} {id}", kind.name()))
            .collect();
        let text = format!(
            "nothing passes a component {:?} here; there are: {}",
            asked.component,
            names.join(", ")
        );
        return refused(StatusCode::NOT_FOUND, text);
    }
    if tapping.tasks.len() + found.len() > tapping.others + MOST {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "too many look on already".to_owned());
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let at: Vec<Value> = found
        .iter()
        .map(|(kind, id, _)| json!({"kind": kind.name(), "id": id.as_str()}))
        .collect();
    // Says that it has begun, before anything passes.
    let _room = sender.try_send(Bytes::from(format!("{}\n", json!({"v": 1, "watching": at}))));
    for (kind, id, feed) in found {
        let telling = tell(Place { kind, id, signal }, feed.watch(), sender.clone());
        let stop = tapping.stop.clone();
        tapping.tasks.spawn(async move {
            stop.run_until_cancelled(telling).await;
        });
    }
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::new(Texts(receiver))).into_response()
}

/// Where one looks.
struct Place {
    kind: ComponentKind,
    id: ComponentId,
    signal: Option<Signal>,
}

/// Until the client goes, or the component does.
async fn tell(place: Place, mut watch: Watch, sender: mpsc::Sender<Bytes>) {
    let place = Arc::new(place);
    loop {
        let fresh = tokio::select! {
            fresh = watch.next() => fresh,
            () = sender.closed() => return,
        };
        let Some(fresh) = fresh else { return };
        if place.signal.is_some_and(|wanted| wanted != fresh.batch.signal()) {
            continue;
        }
        let (missed, at) = (watch.take_missed(), Arc::clone(&place));
        // A large batch takes milliseconds to write.
        let Ok(line) = tokio::task::spawn_blocking(move || line(&at, &fresh, missed)).await else {
            return;
        };
        if sender.send(line).await.is_err() {
            return;
        }
    }
}

fn line(place: &Place, fresh: &Fresh, missed: u64) -> Bytes {
    let batch = &fresh.batch;
    let mut text = json!({
        "v": 1, "kind": place.kind.name(), "component": place.id.as_str(), "signal": batch.signal().name(),
        "items": batch.items(), "missed": missed, "at": fresh.at.0.to_string(),
    })
    .to_string();
    // The request is JSON already: it is put in as it is.
    match batch.to_json() {
        Ok(request) => {
            text.pop();
            text.push_str(",\"request\":");
            text.push_str(&String::from_utf8_lossy(&request));
            text.push('}');
        }
        Err(error) => {
            text.pop();
            text.push_str(&format!(",\"error\":{}}}", Value::from(error.to_string())));
        }
    }
    text.push('\n');
    Bytes::from(text)
}
