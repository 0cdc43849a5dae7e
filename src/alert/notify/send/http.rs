//! One POST to a receiver, and what its answer means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::super::config::HttpTarget;
use super::super::outbox::Failed;
use crate::component::{BuildContext, Clock, NamedAuth, Outgoing};
use crate::net::client::dial::Dialer;
use crate::net::client::http::{Answer, HttpClient, HttpSettings};
use crate::net::client::proxy::ProxyRules;
use crate::net::client::status::retry_after;
use crate::net::tls::client::TlsSource;

/// Characters of an answer that are told to the log.
const SHOWN: usize = 256;

/// A client of one receiver.
pub struct Poster {
    client: HttpClient,
    pub uri: Uri,
    headers: HeaderMap,
    auth: Option<NamedAuth>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Poster {
    /// Connects when something is sent.
    pub fn new(target: &HttpTarget, context: &BuildContext) -> Self {
        let proxies = target.proxies.clone().unwrap_or_else(ProxyRules::from_environment);
        let settings = HttpSettings {
            dialer: Dialer {
                tls: Some(Arc::new(TlsSource::new(target.tls.clone(), &[b"h2", b"http/1.1"]))),
                proxies: Arc::new(proxies),
            },
            max_idle: 2,
            max_connections: None,
            idle_timeout: Some(Duration::from_secs(90)),
            no_keepalive: false,
            http2_ping_after: None,
            http2_ping_timeout: Duration::from_secs(15),
            write_buffer: None,
            read_buffer: None,
        };
        Self {
            client: HttpClient::new(settings),
            uri: target.uri.clone(),
            headers: target.headers.clone(),
            auth: target
                .auth
                .clone()
                .map(|id| NamedAuth::new(id, &context.authenticators)),
            timeout: target.timeout,
            clock: Arc::clone(&context.clock),
        }
    }

    /// Now, nanoseconds since the epoch.
    pub fn now(&self) -> u64 {
        self.clock.now().0
    }

    /// Posts JSON; `more`: headers of this one request. An answer is one of success.
    pub async fn post(&self, uri: Uri, more: HeaderMap, body: Vec<u8>) -> Result<Answer, Failed> {
        let retry = |why: String| Failed::Retry { after: None, why };
        let mut headers = HeaderMap::new();
        let agent = concat!("radiosonde/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.headers.clone());
        headers.extend(more);
        let body = vec![Bytes::from(body)];
        if let Some(auth) = &self.auth {
            let request = Outgoing {
                method: &Method::POST,
                uri: &uri,
                headers: &mut headers,
                body: &body,
            };
            // Also a refusal for good is one of ours and may be repaired: the message waits.
            auth.authorize(request)
                .await
                .map_err(|refused| retry(refused.message.into_owned()))?;
        }
        let answer = match tokio::time::timeout(self.timeout, self.client.post(uri, headers, body)).await {
            Err(_elapsed) => return Err(retry("no answer in time".to_owned())),
            Ok(Err(error)) => return Err(retry(error.to_string())),
            Ok(Ok(answer)) => answer,
        };
        if answer.status.is_success() {
            return Ok(answer);
        }
        let why = format!("answered {}: {}", answer.status, shown(&answer.body));
        let is_temporary = answer.status.is_server_error()
            || matches!(
                answer.status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            );
        if is_temporary {
            let after = retry_after(&answer.headers, self.clock.now());
            let after = after.and_then(|after| u64::try_from(after.as_nanos()).ok());
            return Err(Failed::Retry { after, why });
        }
        Err(Failed::Refused { why })
    }
}

/// The beginning of an answer, in one line.
pub fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    text.chars()
        .map(|next| if next.is_control() { ' ' } else { next })
        .collect()
}
