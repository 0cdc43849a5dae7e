//! `GET /api/v1/export`: what is stored, as OTLP (JSON, lines of JSON, protobuf in a zip), as Markdown, or one trace as a
//! page of its own; `POST /api/v1/import`: OTLP/JSON back in.
//!
//! An export of what was imported from an export is the same to the byte: items keep their bytes and their order, and
//! neighbours of the same resource and scope are grouped by the same rule whatever segments they stood in.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::groups::Groups;
use super::{page, problem, zip};
use crate::component::Commons;
use crate::dev::answers::{Ask, Failure, Limits, find_rows, trace_named, trace_rows};
use crate::dev::http::{Params, respond};
use crate::dev::store::Store;
use crate::pdata::{Batch, DoorLimits, Origin, Signal};

/// Bytes of an export; more is refused, with the advice to ask for less.
const LONGEST: usize = 1 << 30;
/// Bytes of a request that is imported.
const LONGEST_IMPORT: usize = 64 << 20;
/// Spans of a trace as Markdown or as a page.
const ROWS: usize = 5_000;
const NO_LIMIT: Limits = Limits {
    default: usize::MAX,
    most: usize::MAX,
};

#[derive(Clone)]
struct Exchange {
    store: Arc<Store>,
}

pub(super) fn router(commons: &Commons) -> Router {
    Router::new()
        .route("/api/v1/export", get(export))
        .route(
            "/api/v1/import",
            post(import).layer(DefaultBodyLimit::max(LONGEST_IMPORT)),
        )
        .with_state(Exchange { store: commons.get() })
}

/// A file.
struct File {
    name: String,
    content_type: &'static str,
    bytes: Vec<u8>,
}

async fn export(State(exchange): State<Exchange>, Query(params): Query<Params>) -> Response {
    let store = Arc::clone(&exchange.store);
    let made = tokio::task::spawn_blocking(move || make(&store, &params)).await;
    match made {
        Ok(Ok(file)) => {
            let headers = [
                (header::CONTENT_TYPE, file.content_type.to_owned()),
                // Made of our own words and hex digits only.
                (
                    header::CONTENT_DISPOSITION,
                    format!("attachment; filename=\"{}\"", file.name),
                ),
            ];
            (headers, Body::from(file.bytes)).into_response()
        }
        Ok(Err(failure)) => respond(&failure),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the export could not be made"),
    }
}

fn make(store: &Store, params: &Params) -> Result<File, Failure> {
    let trace = match params.some("trace_id") {
        Some(id) => Some(hex::encode(trace_named(store, id)?)),
        None => None,
    };
    let q = match &trace {
        Some(trace) => format!("trace={trace} {}", params.text("q")),
        None => params.text("q").to_owned(),
    };
    let mut asked = params.clone();
    asked.0.insert("q".to_owned(), q);
    let mut ask = asked.ask(store, NO_LIMIT)?;
    // An export is whole or it is none.
    ask.deadline = None;
    let name = trace.as_deref().map_or("radiosonde", |trace| &trace[..16]);
    match params.some("format").unwrap_or("json") {
        "json" => json_file(store, &ask, name),
        "jsonl" => lines_file(store, &ask, name),
        "protobuf" => zip_file(store, &ask, name),
        format @ ("md" | "html") => {
            let Some(trace) = &trace else {
                return Err(Failure::Bad(format!("`format={format}` needs a `trace_id`")));
            };
            let id = trace_named(store, trace)?;
            let answer = trace_rows(store, &id, 0, ROWS, store.now())?;
            let answer = serde_json::to_value(&answer).map_err(|error| Failure::Bad(error.to_string()))?;
            Ok(if format == "md" {
                File {
                    name: format!("{name}.md"),
                    content_type: "text/markdown; charset=utf-8",
                    bytes: page::markdown(&answer).into_bytes(),
                }
            } else {
                File {
                    name: format!("{name}.html"),
                    content_type: "text/html; charset=utf-8",
                    bytes: page::html(&answer).into_bytes(),
                }
            })
        }
        other => Err(Failure::Bad(format!(
            "`format` is json, jsonl, protobuf, md or html, not {other:?}"
        ))),
    }
}

/// Every group of a signal, in the order it came.
fn groups_of(
    store: &Store,
    ask: &Ask,
    signal: Signal,
    mut each: impl FnMut(Bytes) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let snapshot = store.snapshot();
    let (mut found, _) = find_rows(store, &snapshot, ask, signal);
    found.reverse();
    let mut groups = Groups::default();
    for part in &found {
        groups.take(&part.segment, part.rows.rows(), &mut each)?;
    }
    groups.finish(&mut each)
}

fn json_of(signal: Signal, group: Bytes) -> Result<Vec<u8>, Failure> {
    let batch = Batch::from_wire(signal, group, 1, Arc::new(Origin::default()));
    batch
        .to_json()
        .map_err(|error| Failure::Bad(format!("an item cannot be written as JSON: {error}")))
}

fn too_long(bytes: usize) -> Result<(), Failure> {
    if bytes > LONGEST {
        let text = "the export is longer than 1 GiB: narrow it by `q`, `from` and `to`";
        return Err(Failure::Bad(text.to_owned()));
    }
    Ok(())
}

/// A request a line, as the file exporter writes them: traces, then metrics, then logs.
fn lines_file(store: &Store, ask: &Ask, name: &str) -> Result<File, Failure> {
    let mut bytes = Vec::new();
    for signal in Signal::ALL {
        groups_of(store, ask, signal, |group| {
            bytes.extend_from_slice(&json_of(signal, group)?);
            bytes.push(b'\n');
            too_long(bytes.len())
        })?;
    }
    Ok(File {
        name: format!("{name}.jsonl"),
        content_type: "application/x-ndjson",
        bytes,
    })
}

/// One document: `resourceSpans`, `resourceMetrics` and `resourceLogs` beside each other.
fn json_file(store: &Store, ask: &Ask, name: &str) -> Result<File, Failure> {
    let mut bytes = vec![b'{'];
    for (signal, key) in KEYS {
        if bytes.len() > 1 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(format!("\"{key}\":[").as_bytes());
        let mut is_first = true;
        groups_of(store, ask, signal, |group| {
            let request = json_of(signal, group)?;
            // `{"resourceSpans":[...]}`: what stands between the brackets.
            let from = request.iter().position(|byte| *byte == b'[').map_or(0, |at| at + 1);
            let to = request.len().saturating_sub(2);
            if !is_first {
                bytes.push(b',');
            }
            is_first = false;
            bytes.extend_from_slice(request.get(from..to).unwrap_or_default());
            too_long(bytes.len())
        })?;
        bytes.push(b']');
    }
    bytes.extend_from_slice(b"}\n");
    Ok(File {
        name: format!("{name}.json"),
        content_type: "application/json",
        bytes,
    })
}

/// The keys of OTLP/JSON.
const KEYS: [(Signal, &str); 3] = [
    (Signal::Traces, "resourceSpans"),
    (Signal::Metrics, "resourceMetrics"),
    (Signal::Logs, "resourceLogs"),
];

/// The protobuf of the three Export requests, in a zip.
fn zip_file(store: &Store, ask: &Ask, name: &str) -> Result<File, Failure> {
    let mut archive = zip::Writer::default();
    let mut whole = 0;
    for signal in Signal::ALL {
        let mut request = Vec::new();
        groups_of(store, ask, signal, |group| {
            request.extend_from_slice(&group);
            too_long(whole + request.len())
        })?;
        whole += request.len();
        archive.add(&format!("{signal}.binpb"), &request);
    }
    Ok(File {
        name: format!("{name}.zip"),
        content_type: "application/zip",
        bytes: archive.finish(),
    })
}

async fn import(State(exchange): State<Exchange>, body: Bytes) -> Response {
    let store = Arc::clone(&exchange.store);
    let taken = tokio::task::spawn_blocking(move || take(&store, &body)).await;
    match taken {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(text)) => problem(StatusCode::BAD_REQUEST, text),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the import could not be read"),
    }
}

/// A document or lines of them. By the reader and the limits of every receiver.
fn take(store: &Store, body: &Bytes) -> Result<Value, String> {
    let mut stored = 0;
    let mut rejected = 0;
    let whole: Option<&[u8]> = serde_json::from_slice::<serde::de::IgnoredAny>(body)
        .is_ok()
        .then_some(body);
    let lines: Vec<&[u8]> = match whole {
        Some(whole) => vec![whole],
        None => body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
            .collect(),
    };
    for (number, line) in lines.iter().enumerate() {
        for (signal, key) in KEYS {
            // Each signal's reader skips the keys of the others.
            if !line.windows(key.len()).any(|window| window == key.as_bytes()) {
                continue;
            }
            let read = Batch::from_json(signal, line, &DoorLimits::default(), Arc::new(Origin::default()));
            let admitted = read.map_err(|error| format!("line {}: {error}", number + 1))?;
            rejected += admitted.rejected.count() as u64;
            if admitted.batch.items() > 0 {
                stored += store.take(admitted.batch).stored;
            }
        }
    }
    if stored == 0 && rejected == 0 {
        return Err("nothing of OTLP/JSON in it: expected resourceSpans, resourceMetrics or resourceLogs".to_owned());
    }
    Ok(json!({"v": 1, "stored": stored, "rejected": rejected}))
}
