//! Which probe is asked, and what it is told.

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::pulse::Pulse;
use crate::component::{ComponentState, StatusBoard, UnixNanos};
use crate::components::extensions::http_config::add_headers;
use crate::config::types::{GoDuration, HeaderMap};

/// What is configured.
#[derive(Clone)]
pub struct Texts {
    pub path: String,
    pub healthy: Option<String>,
    pub unhealthy: Option<String>,
}

/// Everything an answer is made from.
pub struct Health {
    pub texts: Texts,
    pub headers: HeaderMap,
    pub board: StatusBoard,
    pub up_since: UnixNanos,
    pub started: Instant,
    pub pulse: Arc<Pulse>,
}

impl Health {
    /// The answer to one request.
    pub fn answer(&self, method: &Method, uri: &Uri) -> Response<String> {
        if method != Method::GET && method != Method::HEAD {
            let mut refused = self.respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new());
            refused
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let verbose = uri
            .query()
            .is_some_and(|query| query.split('&').any(|key| key.starts_with("verbose")));
        match uri.path() {
            "/livez" => self.probe(
                self.pulse.is_alive(),
                "alive",
                "no task has run for 30 seconds",
                verbose,
            ),
            "/readyz" if self.pulse.refuses() => self.probe(false, "ready", "memory is full, refusing data", verbose),
            "/readyz" if self.board.is_ready() && !self.queues_are_open() => {
                self.probe(false, "ready", "a queue is not open", verbose)
            }
            "/readyz" => self.probe(self.board.is_ready(), "ready", "starting or stopping", verbose),
            "/startupz" => self.startup(verbose),
            path if self.is_configured(path) => self.collector_answer(verbose),
            _ => self.respond(StatusCode::NOT_FOUND, "text/plain", "not found\n".to_owned()),
        }
    }

    /// The configured path and what lies below it.
    fn is_configured(&self, path: &str) -> bool {
        let base = self.texts.path.trim_end_matches('/');
        path.strip_prefix(base)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A stop comes after a start: whoever is stopping has started.
    fn has_started(&self) -> bool {
        let components = self.board.components();
        let is_past = |state: &ComponentState| matches!(state, ComponentState::Stopping | ComponentState::Stopped);
        self.board.is_ready() || components.iter().any(|(_, _, state)| is_past(state))
    }

    fn queues_are_open(&self) -> bool {
        let (open, all) = self.board.open_queues();
        open == all
    }

    /// Says how far the opening of durable queues has come. A stop closes them one by one, long after the start.
    fn startup(&self, verbose: bool) -> Response<String> {
        let (open, all) = self.board.open_queues();
        let is_stopping = self.has_started() && !self.board.is_ready();
        let good = self.has_started() && (open == all || is_stopping);
        let mut body = if good {
            json!({"status": "started"})
        } else {
            json!({"status": "not started", "reason": "starting"})
        };
        body["queues"] = json!({"open": open, "all": all});
        if verbose {
            body["components"] = self.components();
        }
        self.respond(code(good), "application/json", body.to_string())
    }

    fn probe(&self, good: bool, word: &str, trouble: &str, verbose: bool) -> Response<String> {
        let mut body = if good {
            json!({"status": word})
        } else {
            json!({"status": "not ".to_owned() + word, "reason": trouble})
        };
        if verbose {
            body["components"] = self.components();
        }
        self.respond(code(good), "application/json", body.to_string())
    }

    /// Body for body what the Collector says.
    fn collector_answer(&self, verbose: bool) -> Response<String> {
        let good = self.board.is_ready();
        let custom = if good {
            &self.texts.healthy
        } else {
            &self.texts.unhealthy
        };
        if let Some(text) = custom {
            return self.respond(code(good), "text/plain", text.clone());
        }
        let mut body = if good {
            json!({
                "status": "Server available",
                "upSince": rfc3339(self.up_since),
                "uptime": GoDuration(self.started.elapsed()).to_string(),
            })
        } else {
            json!({"status": "Server not available", "upSince": "0001-01-01T00:00:00Z", "uptime": ""})
        };
        if verbose {
            body["components"] = self.components();
        }
        self.respond(code(good), "application/json", body.to_string())
    }

    fn components(&self) -> Value {
        let listed = self.board.components().into_iter().map(|(kind, id, state)| {
            let (word, message) = match state {
                ComponentState::Starting => ("starting", String::new()),
                ComponentState::Ok => ("ok", String::new()),
                ComponentState::Degraded(message) => ("degraded", message),
                ComponentState::Stopping => ("stopping", String::new()),
                ComponentState::Stopped => ("stopped", String::new()),
            };
            json!({"kind": kind.name(), "id": id.as_str(), "state": word, "message": message})
        });
        listed.collect()
    }

    fn respond(&self, code: StatusCode, content_type: &'static str, body: String) -> Response<String> {
        let mut response = Response::new(body);
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        add_headers(&self.headers, headers);
        response
    }
}

fn code(good: bool) -> StatusCode {
    if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// RFC 3339 with nanoseconds.
fn rfc3339(time: UnixNanos) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.0)).map_or_else(|_| String::new(), |time| time.to_string())
}
