//! The admin API of the notifying side: what fires and what was done about it, acknowledgements, silences. Served by the
//! admin listener; changes need its token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::config::SilenceRequest;
use super::dispatch::{AckError, SilenceError};
use super::notifier::Core;
use super::rfc3339;
use super::state::Incident;
use crate::component::StateError;
use crate::config::types::Secret;

/// Bytes of a request.
const MOST_BODY: usize = 64 * 1024;

/// The engines that run, by the id of their component. One for the process, in `Commons`.
#[derive(Default)]
pub struct Desk(Mutex<BTreeMap<String, Weak<Core>>>);

impl Desk {
    /// Puts an engine in the place of the one that had its id (it has another configuration now), which is returned.
    pub(super) fn register(&self, id: &str, core: &Arc<Core>) -> Option<Arc<Core>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.to_owned(), Arc::downgrade(core))
            .and_then(|before| before.upgrade())
    }

    fn all(&self) -> Vec<(String, Arc<Core>)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, core| core.strong_count() > 0);
        all.iter()
            .filter_map(|(id, core)| Some((id.clone(), core.upgrade()?)))
            .collect()
    }
}

impl Desk {
    /// Every alert of every engine, as the API shows it: what it is, since when, what to do.
    ///
    /// # Errors
    /// Where the state of an engine cannot be read.
    pub async fn incidents(&self) -> Result<Vec<Json>, StateError> {
        let mut found = Vec::new();
        for (id, core) in self.all() {
            let mut desk = core.desk().await?;
            let of_engine = desk.act(|dispatcher| {
                dispatcher
                    .incidents()
                    .map(|incident| about(&id, incident))
                    .collect::<Vec<Json>>()
            });
            found.extend(of_engine.await?);
        }
        Ok(found)
    }
}

#[derive(Clone)]
struct Api {
    desk: Arc<Desk>,
    token: Option<Secret>,
}

/// The routes. Without a token nothing can be changed by them.
pub fn router(desk: Arc<Desk>, token: Option<Secret>) -> Router {
    Router::new()
        .route("/alerts", get(alerts))
        .route("/alerts/pagerduty", post(pagerduty))
        .route("/alerts/{fingerprint}", get(alert))
        .route("/alerts/{fingerprint}/ack", post(acknowledge))
        .route("/silences", get(silences).post(silence))
        .route("/silences/{id}", delete(unsilence))
        .layer(axum::extract::DefaultBodyLimit::max(MOST_BODY))
        .with_state(Api { desk, token })
}

/// Why a request was not carried out.
struct Problem(StatusCode, String);

impl Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(status, message.into())
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let headers = (self.0 == StatusCode::UNAUTHORIZED).then_some([(header::WWW_AUTHENTICATE, "Bearer")]);
        (self.0, headers, shown(&json!({"error": self.1}))).into_response()
    }
}

fn shown(body: &Json) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, format!("{body}\n")).into_response()
}

impl Api {
    /// Changes need the token of the admin listener.
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            let message = "nothing can be changed here without `service::admin::token` in the configuration";
            return Err(Problem::new(StatusCode::FORBIDDEN, message));
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .map(http::HeaderValue::as_bytes)
            .unwrap_or_default();
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        if !bool::from(given.ct_eq(token.reveal().as_bytes())) {
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong"));
        }
        Ok(())
    }

    /// The engine that is meant: by name, or the only one.
    fn engine(&self, name: Option<&str>) -> Result<Arc<Core>, Problem> {
        let mut all = self.desk.all();
        let known: Vec<String> = all.iter().map(|(id, _)| id.clone()).collect();
        match name {
            Some(name) => {
                let found = all.into_iter().find(|(id, _)| id == name).map(|(_, core)| core);
                found.ok_or_else(|| {
                    Problem::new(
                        StatusCode::NOT_FOUND,
                        format!("there is no engine {name:?}; running: {known:?}"),
                    )
                })
            }
            None if all.len() == 1 => Ok(all.remove(0).1),
            None if all.is_empty() => Err(Problem::new(StatusCode::NOT_FOUND, "no alert engine runs")),
            None => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                format!("say which: ?engine=NAME, of {known:?}"),
            )),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Which {
    engine: Option<String>,
}

async fn alerts(State(api): State<Api>) -> Result<Response, Problem> {
    let found = api.desk.incidents().await?;
    Ok(shown(&json!({"alerts": found})))
}

fn about(engine: &str, incident: &Incident) -> Json {
    let facts = &incident.facts;
    let pairs = |labels: &crate::alert::Labels| -> Json {
        Json::Object(
            labels
                .iter()
                .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
                .collect(),
        )
    };
    let acknowledged = incident.acknowledged.as_ref();
    json!({
        "engine": engine,
        "fingerprint": format!("{:016x}", facts.fingerprint),
        "state": if facts.fires() { "firing" } else { "resolved" },
        "labels": pairs(&facts.labels),
        "annotations": pairs(&facts.annotations),
        "startsAt": rfc3339(facts.starts_at),
        "endsAt": facts.ends_at.map(rfc3339),
        "value": facts.value,
        "resolution_steps": facts.resolution_steps,
        "contact": facts.contact,
        "flapping": incident.flapping.is_some(),
        "acknowledged": acknowledged.map(|by| json!({"by": by.by, "comment": by.comment, "at": rfc3339(by.at)})),
        "escalation_steps_taken": incident.steps_taken,
        "told": incident.told.iter().map(|(out, mark)| json!({"receiver": out, "firing": mark.fires})).collect::<Vec<Json>>(),
    })
}

fn fingerprint_of(text: &str) -> Result<u64, Problem> {
    let read = (text.len() <= 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
    read.ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("{text:?} is no fingerprint: 16 hex digits"),
        )
    })
}

/// One alert with what can be done about it: where the links of notifications lead.
async fn alert(State(api): State<Api>, Path(fingerprint): Path<String>) -> Result<Response, Problem> {
    let wanted = fingerprint_of(&fingerprint)?;
    for (id, core) in api.desk.all() {
        let mut desk = core.desk().await?;
        let found = desk.act(|dispatcher| {
            let mut all = dispatcher.incidents();
            all.find(|incident| incident.facts.fingerprint == wanted)
                .map(|incident| (about(&id, incident), how(incident)))
        });
        if let Some((mut about, how)) = found.await? {
            about["what_can_be_done"] = how;
            return Ok(shown(&about));
        }
    }
    Err(Problem::new(StatusCode::NOT_FOUND, AckError::Unknown.to_string()))
}

fn how(incident: &Incident) -> Json {
    let facts = &incident.facts;
    let matchers: Vec<String> = facts
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    json!({
        "acknowledge": {"POST": format!("/alerts/{:016x}/ack", facts.fingerprint), "body": {"by": "you", "comment": ""}},
        "silence": {"POST": "/silences", "body": {
            "matchers": matchers, "ends_at": "2026-01-01T00:00:00Z", "created_by": "you", "comment": "why",
        }},
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    by: String,
    #[serde(default)]
    comment: String,
}

fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body: {error}")))
}

async fn acknowledge(
    State(api): State<Api>,
    Path(fingerprint): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    api.authorize(&headers)?;
    let wanted = fingerprint_of(&fingerprint)?;
    let ack: Ack = read(&body)?;
    if ack.by.trim().is_empty() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "`by`: who takes it on"));
    }
    let mut result = Err(AckError::Unknown);
    for (_, core) in api.desk.all() {
        let now = core.now();
        let mut desk = core.desk().await?;
        let answer = desk
            .act(|dispatcher| dispatcher.acknowledge(wanted, &ack.by, &ack.comment, now))
            .await?;
        if answer != Err(AckError::Unknown) {
            result = answer;
        }
    }
    match result {
        Ok(()) => Ok(shown(&json!({"acknowledged": fingerprint}))),
        Err(error @ AckError::Unknown) => Err(Problem::new(StatusCode::NOT_FOUND, error.to_string())),
        Err(error @ AckError::Over) => Err(Problem::new(StatusCode::CONFLICT, error.to_string())),
    }
}

/// PagerDuty's webhook, version 3: somebody has acknowledged there. Proven by the signature, not by our token.
async fn pagerduty(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let given = headers
        .get("x-pagerduty-signature")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut proven = Vec::new();
    for (_, core) in api.desk.all() {
        let secrets = core.webhook_secrets();
        if secrets.iter().any(|secret| is_signed(secret, &body, given)) {
            proven.push(core);
        }
    }
    if proven.is_empty() {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "the signature is missing, or of another secret",
        ));
    }
    let said: Json = read(&body)?;
    let event = &said["event"];
    if event["event_type"].as_str() != Some("incident.acknowledged") {
        return Ok(shown(&json!({"ignored": event["event_type"]})));
    }
    let wanted = fingerprint_of(event["data"]["incident_key"].as_str().unwrap_or_default())?;
    let by: String = event["agent"]["summary"]
        .as_str()
        .unwrap_or("PagerDuty")
        .chars()
        .take(100)
        .collect();
    for core in proven {
        let now = core.now();
        let mut desk = core.desk().await?;
        // Of an alert that is over there is nothing left to take on.
        let _ = desk
            .act(|dispatcher| dispatcher.acknowledge(wanted, &by, "in PagerDuty", now))
            .await?;
    }
    Ok(shown(&json!({"acknowledged": format!("{wanted:016x}")})))
}

/// `v1=HEX`, several with commas while secrets are rotated: HMAC-SHA256 over the body.
fn is_signed(secret: &Secret, body: &[u8], given: &str) -> bool {
    given
        .split(',')
        .filter_map(|one| one.trim().strip_prefix("v1="))
        .any(|one| {
            let Ok(signature) = hex::decode(one) else { return false };
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else {
                return false;
            };
            mac.update(body);
            mac.verify_slice(&signature).is_ok()
        })
}

async fn silences(State(api): State<Api>, Query(which): Query<Which>) -> Result<Response, Problem> {
    let mut found = Vec::new();
    for (id, core) in api.desk.all() {
        if which.engine.as_ref().is_some_and(|engine| *engine != id) {
            continue;
        }
        let now = core.now();
        let mut desk = core.desk().await?;
        for shown in desk.act(|dispatcher| dispatcher.silences(now)).await? {
            found.push(json!({
                "engine": id, "state": shown.state, "configured": shown.is_configured, "silence": shown.silence,
            }));
        }
    }
    Ok(shown(&json!({"silences": found})))
}

async fn silence(
    State(api): State<Api>,
    Query(which): Query<Which>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    api.authorize(&headers)?;
    let request: SilenceRequest = read(&body)?;
    let core = api.engine(which.engine.as_deref())?;
    let now = core.now();
    let mut desk = core.desk().await?;
    let id = desk.act(|dispatcher| dispatcher.silence(request, now)).await?;
    let id = id.map_err(|error| Problem::new(status_of(&error), error.to_string()))?;
    Ok(shown(&json!({"id": id})))
}

async fn unsilence(
    State(api): State<Api>,
    Query(which): Query<Which>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.authorize(&headers)?;
    let core = api.engine(which.engine.as_deref())?;
    let mut desk = core.desk().await?;
    let ended = desk.act(|dispatcher| dispatcher.unsilence(&id)).await?;
    ended.map_err(|error| Problem::new(status_of(&error), error.to_string()))?;
    Ok(shown(&json!({"ended": id})))
}

fn status_of(error: &SilenceError) -> StatusCode {
    match error {
        SilenceError::Bad(..) => StatusCode::BAD_REQUEST,
        SilenceError::TooMany => StatusCode::INSUFFICIENT_STORAGE,
        SilenceError::Unknown => StatusCode::NOT_FOUND,
        SilenceError::Configured => StatusCode::CONFLICT,
    }
}
