//! A small client of a running agent's HTTP API: what `query`, `tail`, `wait`, `mcp` and the others ask. Those that only
//! read ask the data directory of a stopped `dev` in the same way: the same API over it, in this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value as Json;
use tower::ServiceExt;

use crate::component::{Commons, Registry, StatusBoard};
use crate::dev;
use crate::dev::store::{DEFAULT_CAP, Store};

/// For connecting and for the head of an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer that is read as a whole.
const LONGEST_ANSWER: usize = 64 << 20;

/// Where the agent is, as every command that asks one has it.
#[derive(clap::Args, Clone, Debug)]
pub struct AgentArgs {
    /// The agent's admin listener.
    #[arg(
        long = "url",
        visible_alias = "endpoint",
        env = "RADIOSONDE_URL",
        value_name = "URL",
        default_value = "localhost:4320",
        global = true
    )]
    pub url: String,
    /// The token of a page that is served to other machines.
    #[arg(
        long,
        env = "RADIOSONDE_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        global = true
    )]
    pub token: Option<String>,
}

/// The same for commands that only read: also of a `dev` that has been stopped.
#[derive(clap::Args, Clone, Debug)]
pub struct StoreArgs {
    #[command(flatten)]
    pub agent: AgentArgs,
    /// Reads what a `dev --data-dir DIR` has kept, without one that runs.
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("no agent answers at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{0}")]
    Unreadable(String),
    #[error("{message}")]
    Refused {
        status: StatusCode,
        message: String,
        /// What the agent said.
        body: Json,
    },
    #[error("the answer of {url} cannot be read: {reason}")]
    Answer { url: String, reason: String },
}

impl ApiError {
    /// The exit code of the command line.
    pub fn code(&self) -> u8 {
        match self {
            ApiError::Unreachable { .. } | ApiError::Answer { .. } => super::status::EXIT_UNREACHABLE,
            // A query that cannot be read, an id that is not unique.
            ApiError::Refused { status, .. } if matches!(status.as_u16(), 400 | 409) => 2,
            ApiError::Refused { .. } | ApiError::Unreadable(_) => 1,
        }
    }
}

/// The client.
pub struct Api {
    base: String,
    token: Option<String>,
    way: Way,
}

/// Who answers.
enum Way {
    Network(Box<Client<HttpConnector, Full<Bytes>>>),
    /// The API over a store that was read for this.
    Stopped(Router),
}

impl Api {
    pub fn new(agent: &AgentArgs) -> Self {
        let url = agent.url.trim_end_matches('/');
        let base = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        Self {
            base,
            token: agent.token.clone(),
            way: Way::Network(Box::new(Client::builder(TokioExecutor::new()).build(connector))),
        }
    }

    /// The agent, or the directory where one is named.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub async fn reading(store: &StoreArgs) -> Result<Self, ApiError> {
        let Some(dir) = &store.data_dir else {
            return Ok(Self::new(&store.agent));
        };
        let dir = dir.clone();
        let read = tokio::task::spawn_blocking(move || stopped(&dir)).await;
        let router = read.map_err(|_panicked| ApiError::Unreadable("the directory could not be read".to_owned()))??;
        Ok(Self {
            base: String::new(),
            token: None,
            way: Way::Stopped(router),
        })
    }

    /// Whether it is an agent that goes on.
    pub fn is_live(&self) -> bool {
        matches!(self.way, Way::Network(_))
    }

    /// Without a slash at its end; empty where no agent runs.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A GET of JSON. `parameters` without a value are left out.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Json, ApiError> {
        let (_, body) = self.fetch(path, parameters).await?;
        self.read_json(&body)
    }

    /// A GET of anything, as a whole.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn fetch(&self, path: &str, parameters: &[(&str, &str)]) -> Result<(http::HeaderMap, Bytes), ApiError> {
        let answer = self.ask(Method::GET, &target(path, parameters), None).await?;
        let (head, body) = answer.into_parts();
        Ok((head.headers, self.read_all(body).await?))
    }

    /// A GET whose body is read as it comes.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn stream(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Body, ApiError> {
        let answer = self.ask(Method::GET, &target(path, parameters), None).await?;
        Ok(answer.into_body())
    }

    /// A POST of JSON.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn post(&self, path: &str, body: &Json) -> Result<Json, ApiError> {
        let body = (Bytes::from(body.to_string()), "application/json");
        let answer = self.ask(Method::POST, path, Some(body)).await?;
        let body = self.read_all(answer.into_body()).await?;
        self.read_json(&body)
    }

    /// A POST of a body as it is: OTLP.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn post_bytes(&self, path: &str, body: Bytes, content_type: &'static str) -> Result<Bytes, ApiError> {
        let answer = self.ask(Method::POST, path, Some((body, content_type))).await?;
        self.read_all(answer.into_body()).await
    }

    async fn ask(
        &self,
        method: Method,
        target: &str,
        body: Option<(Bytes, &'static str)>,
    ) -> Result<http::Response<Body>, ApiError> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        let bytes = match body {
            Some((bytes, content_type)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                bytes
            }
            None => Bytes::new(),
        };
        if let Some(token) = &self.token
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}"))
        {
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let unreachable = |reason: String| ApiError::Unreachable {
            url: self.base.clone(),
            reason,
        };
        let request = request
            .body(Full::new(bytes))
            .map_err(|error| unreachable(error.to_string()))?;
        let answer = match &self.way {
            Way::Network(client) => {
                let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
                let answer = answer.map_err(|_late| unreachable("no answer within 10 s".to_owned()))?;
                answer.map_err(|error| unreachable(root_cause(&error)))?.map(Body::new)
            }
            Way::Stopped(router) => match router.clone().oneshot(request.map(Body::new)).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            },
        };
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = self.read_all(answer.into_body()).await?;
        Err(refused(status, &body))
    }

    async fn read_all(&self, mut body: Body) -> Result<Bytes, ApiError> {
        let unreadable = |reason: String| ApiError::Answer {
            url: self.base.clone(),
            reason,
        };
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreadable(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > LONGEST_ANSWER {
                return Err(unreadable("it is longer than 64 MiB".to_owned()));
            }
            read.extend_from_slice(&data);
        }
        Ok(read.freeze())
    }

    fn read_json(&self, body: &[u8]) -> Result<Json, ApiError> {
        serde_json::from_slice(body).map_err(|error| ApiError::Answer {
            url: self.base.clone(),
            reason: error.to_string(),
        })
    }
}

/// The API over what a data directory holds; the directory is left as it is.
fn stopped(dir: &Path) -> Result<Router, ApiError> {
    let commons = Commons::default();
    let store = commons.get::<Store>();
    // A directory holds twice the memory of its `dev`: of the usual one nothing is pushed out.
    store.set_cap(4 * DEFAULT_CAP);
    let loaded = store.read_dir(dir);
    let loaded = loaded.map_err(|error| ApiError::Unreadable(format!("--data-dir: {error}")))?;
    tracing::debug!(requests = loaded.requests, "The data directory has been read.");
    store.feed(true);
    store.maintain();
    let sources = dev::parts::Sources {
        board: StatusBoard::default(),
        registry: Registry::default(),
    };
    Ok(dev::http::api(store).merge(dev::parts::router(&commons, sources)))
}

/// The words of the agent, with the place in the query where it names one.
fn refused(status: StatusCode, body: &[u8]) -> ApiError {
    let body: Json = serde_json::from_slice(body).unwrap_or(Json::Null);
    let mut message = match body["error"].as_str() {
        Some(error) => error.to_owned(),
        None => format!("the agent answers {status}"),
    };
    if let Some(position) = body["position"].as_u64() {
        message.push_str(&format!(" (at character {})", position + 1));
    }
    if let Some(suggestion) = body["suggestion"].as_str().filter(|suggestion| !suggestion.is_empty()) {
        message.push_str(&format!("; {suggestion}"));
    }
    let candidates = body["candidates"].as_array().map_or(&[][..], Vec::as_slice);
    for candidate in candidates.iter().filter_map(Json::as_str) {
        message.push_str(&format!("\n  {candidate}"));
    }
    ApiError::Refused { status, message, body }
}

/// The path with its parameters; empty ones are left out.
fn target(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let mut has_any = false;
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
        has_any = true;
    }
    if has_any {
        format!("{path}?{}", query.finish())
    } else {
        path.to_owned()
    }
}

/// `connection refused` says more than `client error`.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_escaped_and_empty_ones_left_out() {
        assert_eq!(target("/a", &[("q", "")]), "/a");
        assert_eq!(
            target("/a", &[("q", "a=b c"), ("x", ""), ("y", "ä")]),
            "/a?q=a%3Db+c&y=%C3%A4"
        );
    }

    #[test]
    fn a_refusal_says_where_and_what_instead() {
        let body = br#"{"v":1,"error":"unknown operator","position":4,"suggestion":"did you mean `=`?"}"#;
        let error = refused(StatusCode::BAD_REQUEST, body);
        assert_eq!(
            error.to_string(),
            "unknown operator (at character 5); did you mean `=`?"
        );
        assert_eq!(error.code(), 2);
        let error = refused(
            StatusCode::CONFLICT,
            br#"{"error":"ambiguous","candidates":["ab","ac"]}"#,
        );
        assert_eq!(error.to_string(), "ambiguous\n  ab\n  ac");
        assert_eq!(refused(StatusCode::NOT_FOUND, b"x").code(), 1);
    }
}
