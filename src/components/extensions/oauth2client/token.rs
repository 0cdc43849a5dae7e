//! One token for all requests: fetched when there is none, renewed before it expires, forgotten when the far end does not
//! take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::super::watched_file::Part;
use crate::component::{BoxFuture, ClientAuth, Clock, Outgoing, Refused, UnixNanos};
use crate::config::types::Secret;
use crate::net::client::http::{Answer, HttpClient, HttpSettings};
use crate::net::tls::client::ClientTls;

/// After a token that could not be fetched the server is left alone for a moment; requests are refused meanwhile.
const PAUSE: Duration = Duration::from_secs(1);
/// A token that is not taken is fetched anew, unless it is as young as this: another would fare no better.
const YOUNG: Duration = Duration::from_secs(30);

pub struct Settings {
    pub id: Part,
    pub secret: Part,
    pub token_url: Uri,
    /// Separated by spaces.
    pub scopes: String,
    pub parameters: Vec<(String, Secret)>,
    pub timeout: Duration,
    pub expiry_buffer: Duration,
}

/// Adds the token.
pub struct OAuth2Client {
    settings: Settings,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    /// The far end did not take the token that is held.
    rejected: AtomicBool,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    failed: Option<(UnixNanos, String)>,
    /// The server takes id and secret only in the body, not as basic authentication.
    in_body: bool,
}

/// A token and when it is renewed.
struct Token {
    value: HeaderValue,
    fetched: UnixNanos,
    /// `None`: it does not say.
    renew: Option<UnixNanos>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Secret,
    #[serde(default)]
    token_type: String,
    /// Seconds; some servers send a string.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl OAuth2Client {
    pub fn new(settings: Settings, tls: ClientTls, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            http: HttpClient::new(HttpSettings::occasional(tls)),
            clock,
            held: Mutex::default(),
            rejected: AtomicBool::new(false),
        }
    }

    /// The header's value; one request fetches a token while the others wait for it.
    async fn token(&self) -> Result<HeaderValue, Refused> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if self.rejected.swap(false, Ordering::Relaxed)
            && held
                .token
                .as_ref()
                .is_some_and(|token| since(token.fetched, now) >= YOUNG)
        {
            held.token = None;
        }
        if let Some(token) = &held.token
            && token.renew.is_none_or(|renew| now < renew)
        {
            return Ok(token.value.clone());
        }
        if let Some((at, problem)) = &held.failed
            && since(*at, now) < PAUSE
        {
            return Err(refused(problem));
        }
        match self.fetch(&mut held.in_body).await {
            Ok(token) => {
                let value = token.value.clone();
                held.failed = None;
                held.token = Some(token);
                Ok(value)
            }
            Err(problem) => {
                let refused = refused(&problem);
                held.failed = Some((now, problem));
                Err(refused)
            }
        }
    }

    async fn fetch(&self, in_body: &mut bool) -> Result<Token, String> {
        let answer = self.ask(*in_body).await?;
        // RFC 6749, 2.3.1: servers must take basic authentication; those that do not answer 400 or 401.
        let other_way = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
        let answer = if other_way {
            let second = self.ask(!*in_body).await?;
            if second.status.is_success() {
                *in_body = !*in_body;
            }
            second
        } else {
            answer
        };
        if !answer.status.is_success() {
            return Err(format!(
                "answered with HTTP status {}{}",
                answer.status,
                reason_of(&answer)
            ));
        }
        let read: TokenAnswer =
            serde_json::from_slice(&answer.body).map_err(|_| "the answer has no access_token".to_owned())?;
        let scheme = match read.token_type.as_str() {
            text if text.is_empty() || text.eq_ignore_ascii_case("bearer") => "Bearer",
            other => other,
        };
        let value = HeaderValue::try_from(format!("{scheme} {}", read.access_token.reveal()));
        let mut value = value.map_err(|_| "the token cannot be sent in a header".to_owned())?;
        value.set_sensitive(true);
        let now = self.clock.now();
        let lives = match &read.expires_in {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        // At most half of a short life is given away to the buffer.
        let renew = lives.filter(|lives| *lives > 0).map(|lives| {
            let lives = Duration::from_secs(lives.min(u64::from(u32::MAX)));
            let used = lives.saturating_sub(self.settings.expiry_buffer).max(lives / 2);
            UnixNanos(now.0.saturating_add(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX)))
        });
        Ok(Token {
            value,
            fetched: now,
            renew,
        })
    }

    async fn ask(&self, in_body: bool) -> Result<Answer, String> {
        let (headers, body) = self.question(in_body)?;
        let exchange = self
            .http
            .post(self.settings.token_url.clone(), headers, vec![body.into()]);
        match tokio::time::timeout(self.settings.timeout, exchange).await {
            Ok(answer) => answer.map_err(|problem| problem.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.settings.timeout)),
        }
    }

    /// The request for a token: headers and form.
    fn question(&self, in_body: bool) -> Result<(HeaderMap, String), String> {
        let (id, secret) = (self.settings.id.get(), self.settings.secret.get());
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.settings.scopes.is_empty() {
            form.append_pair("scope", &self.settings.scopes);
        }
        if in_body {
            form.append_pair("client_id", id.reveal());
            form.append_pair("client_secret", secret.reveal());
        } else {
            // Both are form-encoded first (RFC 6749, 2.3.1).
            let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = Zeroizing::new(format!("{}:{}", encode(id.reveal()), encode(secret.reveal())));
            let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            let mut value = value.map_err(|_| "the credentials cannot be sent in a header".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        for (name, value) in &self.settings.parameters {
            form.append_pair(name, value.reveal());
        }
        Ok((headers, form.finish()))
    }
}

fn since(at: UnixNanos, now: UnixNanos) -> Duration {
    Duration::from_nanos(now.0.saturating_sub(at.0))
}

/// Whatever is wrong there (also a wrong secret) can be put right without losing data meanwhile.
fn refused(problem: &str) -> Refused {
    Refused::retryable(format!("oauth2client: no token: {problem}"))
}

/// The `error` of the answer (RFC 6749, 5.2) if it looks like one; anything else may hold anything.
fn reason_of(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Failure {
        error: String,
    }
    let failure = serde_json::from_slice::<Failure>(&answer.body);
    match failure {
        Ok(failure)
            if failure.error.len() <= 64 && failure.error.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()) =>
        {
            format!(" ({})", failure.error)
        }
        _ => String::new(),
    }
}

impl ClientAuth for OAuth2Client {
    fn authorize<'a>(&'a self, request: Outgoing<'a>) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async move {
            let value = self.token().await?;
            request.headers.insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Another token is worth another try: a wrong one is about us and not about the data.
    fn was_rejected(&self) -> bool {
        self.rejected.store(true, Ordering::Relaxed);
        true
    }
}
