//! The TCP side: sampling requests of SDKs, signed with our credentials and passed on to AWS.
//!
//! Only the paths that SDKs need are passed on. Everything else is refused here, because with our credentials it could
//! read traces or delete rules.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::cache::{Cache, Kept};
use super::config::Config;
use super::region;
use crate::aws::sign::{SignError, Signer};
use crate::component::{BuildContext, Counter};
use crate::net::client::dial::Dialer;
use crate::net::client::http::{HttpClient, HttpSettings};
use crate::net::client::proxy::ProxyRules;
use crate::net::server::body::{AnswerBody, BodyLimits, read_all};
use crate::net::server::{BindError, HttpServer, Peer, ServerSettings, serve_http};
use crate::net::tls::client::TlsSource;

const RULES: &str = "/GetSamplingRules";
const TARGETS: &str = "/SamplingTargets";
/// Bytes of a request.
const LARGEST_BODY: usize = 1 << 20;
/// For the whole answer of AWS.
const ANSWER: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS: usize = 2;
/// Between two searches for a region.
const RETRY: Duration = Duration::from_secs(30);

/// Headers between two neighbours, and those that are made anew.
const NOT_PASSED_ON: [&str; 14] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "authorization",
    "x-amz-date",
    "x-amz-security-token",
];

/// What AWS answered.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Why AWS was not asked, or did not answer.
enum Trouble {
    NoCredentials(String),
    Unreachable(String),
}

/// What became of requests; the `outcome` label.
#[derive(Clone, Copy)]
enum Outcome {
    Ok,
    Cached,
    Stale,
    Denied,
    NoCredentials,
    UpstreamError,
}

const OUTCOMES: [&str; 6] = ["ok", "cached", "stale", "denied", "no_credentials", "upstream_error"];

/// Where requests are signed for, once the region is known.
struct Target {
    base: String,
    signer: Signer,
}

/// Passes requests on; shared by all connections.
pub(super) struct Forwarder {
    config: Arc<Config>,
    context: BuildContext,
    client: HttpClient,
    cache: Cache,
    target: OnceLock<Target>,
    /// By the position of the path in the allow-list (others last), and by outcome.
    counts: Vec<[Counter; OUTCOMES.len()]>,
}

/// Opens the listener.
pub(super) async fn serve(forwarder: &Arc<Forwarder>, config: &Config) -> Result<HttpServer, BindError> {
    let settings = ServerSettings::new(config.proxy.endpoint.clone());
    let forwarder = Arc::clone(forwarder);
    serve_http(&settings, move |request, _peer: Arc<Peer>| {
        let forwarder = Arc::clone(&forwarder);
        async move { forwarder.answer(request).await }
    })
    .await
}

impl Forwarder {
    pub(super) fn new(config: &Arc<Config>, context: &BuildContext) -> Result<Arc<Self>, String> {
        let proxy = &config.proxy;
        // Files of the TLS section are read now, so that a missing one is told at the start.
        let tls = TlsSource::new(proxy.tls.clone(), &[b"http/1.1"]);
        tls.config()
            .map_err(|problem| format!("proxy_server::tls: {problem}"))?;
        let proxies = match &proxy.outbound {
            Some(proxy) => ProxyRules::always(proxy.clone()),
            None => ProxyRules::from_environment(),
        };
        let client = HttpClient::new(HttpSettings {
            dialer: Dialer {
                tls: Some(Arc::new(tls)),
                proxies: Arc::new(proxies),
            },
            max_idle: IDLE_CONNECTIONS,
            max_connections: None,
            idle_timeout: Some(IDLE),
            no_keepalive: false,
            http2_ping_after: None,
            http2_ping_timeout: ANSWER,
            write_buffer: None,
            read_buffer: None,
        });
        let paths = Self::allowed(config).map(str::to_owned).chain(["other".to_owned()]);
        let counts = paths.map(|path| {
            OUTCOMES.map(|outcome| {
                let help = "Requests of X-Ray SDKs to the sampling proxy.";
                let labels = [("path", path.as_str()), ("outcome", outcome)];
                context.instruments.counter("xray_proxy_requests_total", help, &labels)
            })
        });
        Ok(Arc::new(Self {
            counts: counts.collect(),
            config: Arc::clone(config),
            context: context.clone(),
            client,
            cache: Cache::default(),
            target: OnceLock::new(),
        }))
    }

    fn allowed(config: &Config) -> impl Iterator<Item = &str> {
        let extra = config.proxy.allow_paths.iter().map(String::as_str);
        [RULES, TARGETS].into_iter().chain(extra)
    }

    /// The task that looks for a region and credentials until there is a region.
    pub(super) async fn find_region(self: Arc<Self>, quit: CancellationToken) {
        let mut told = false;
        loop {
            let search = self.search();
            let found = tokio::select! {
                () = quit.cancelled() => return,
                () = self.context.stop.cancelled() => return,
                found = search => found,
            };
            if let Some(target) = found {
                let (id, region) = (&self.context.id, &target.signer.region);
                tracing::info!(receiver = %id, %region, endpoint = %target.base, "sampling requests go to X-Ray");
                let _ = self.target.set(target);
                return;
            }
            if !told {
                told = true;
                tracing::warn!(
                    receiver = %self.context.id,
                    "no region for sampling requests: set `proxy_server::region` or AWS_REGION; segments are received"
                );
            }
            tokio::select! {
                () = quit.cancelled() => return,
                () = self.context.stop.cancelled() => return,
                () = self.context.clock.sleep(RETRY) => {}
            }
        }
    }

    async fn search(&self) -> Option<Target> {
        let proxy = &self.config.proxy;
        let of_process = |name: &str| std::env::var(name).ok();
        let mut place = proxy.place.clone();
        if place.region.is_empty() {
            let mut region = region::of_environment(of_process);
            if region.is_none() && !proxy.local_mode {
                region = region::of_ecs(of_process).await;
            }
            if region.is_none() && proxy.local_mode {
                return None;
            }
            place.region = region.unwrap_or_default();
        }
        // Without a region this asks profile and instance for one.
        let (region, config) = place.load(Arc::clone(&self.context.clock)).await?;
        let base = if proxy.aws_endpoint.is_empty() {
            region::endpoint(&region)
        } else {
            proxy.aws_endpoint.clone()
        };
        let provider = config.credentials_provider()?;
        let clock = Arc::clone(&self.context.clock);
        Some(Target {
            base,
            signer: Signer::new(&proxy.service_name, &region, provider, clock),
        })
    }

    #[cfg(test)]
    pub(super) fn has_target(&self) -> bool {
        self.target.get().is_some()
    }

    /// Ends the connections to AWS.
    pub(super) async fn close(&self) {
        self.client.close().await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let position = Self::allowed(&self.config).position(|allowed| allowed == path);
        let count = |outcome: Outcome| {
            let path = position.unwrap_or(self.counts.len() - 1);
            self.counts[path][outcome as usize].add(1);
        };
        if position.is_none() || head.method != Method::POST || head.uri.query().is_some() {
            count(Outcome::Denied);
            let reason = format!("{} {path} is not passed on to X-Ray by this agent", head.method);
            return json(StatusCode::FORBIDDEN, &reason);
        }
        let limits = BodyLimits {
            cap: LARGEST_BODY,
            deadline: Some(ANSWER),
            memory: self.context.memory.clone(),
            admission_wait: self.context.admission_wait,
        };
        let declared = http_body::Body::size_hint(&body).exact();
        let (body, _permit) = match read_all(body, declared, &limits).await {
            Ok(read) => read,
            Err(status) => {
                count(Outcome::Denied);
                return json(status.http, &status.message);
            }
        };
        let (outcome, response) = if path == RULES {
            self.rules(&head.headers, body).await
        } else {
            self.pass_on(&path, &head.headers, body).await
        };
        count(outcome);
        response
    }

    /// One request at a time for each body; the others wait for its answer.
    async fn rules(&self, headers: &HeaderMap, body: Bytes) -> (Outcome, Response<AnswerBody>) {
        let slot = self.cache.slot(&body);
        let mut kept = slot.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_fresh()) {
            return (Outcome::Cached, response(&kept.answer));
        }
        let forwarded = self.forward(RULES, headers, body).await;
        match (forwarded, kept.as_ref()) {
            (Ok(answer), _) if answer.status.is_success() => {
                let told = response(&answer);
                *kept = Some(Kept::new(answer));
                (Outcome::Ok, told)
            }
            (_, Some(old)) => {
                let mut told = response(&old.answer);
                let age = HeaderValue::from(old.at.elapsed().as_secs());
                told.headers_mut().insert("x-radiosonde-stale", age);
                (Outcome::Stale, told)
            }
            (Ok(answer), None) => (Outcome::UpstreamError, response(&answer)),
            (Err(trouble), None) => trouble.answer(),
        }
    }

    async fn pass_on(&self, path: &str, headers: &HeaderMap, body: Bytes) -> (Outcome, Response<AnswerBody>) {
        match self.forward(path, headers, body).await {
            Ok(answer) => {
                let is_success = answer.status.is_success();
                if is_success && path == TARGETS {
                    self.cache.look_at_targets(&answer.body).await;
                }
                let outcome = if is_success {
                    Outcome::Ok
                } else {
                    Outcome::UpstreamError
                };
                (outcome, response(&answer))
            }
            Err(trouble) => trouble.answer(),
        }
    }

    async fn forward(&self, path: &str, headers: &HeaderMap, body: Bytes) -> Result<Upstream, Trouble> {
        let Some(target) = self.target.get() else {
            return Err(Trouble::NoCredentials("no region is known".to_owned()));
        };
        let unreachable = |error: &dyn std::fmt::Display| Trouble::Unreachable(error.to_string());
        let uri: Uri = format!("{}{path}", target.base)
            .parse()
            .map_err(|error| unreachable(&error))?;
        let mut passed = HeaderMap::new();
        for (name, value) in headers {
            if is_passed_on(name, headers) {
                passed.append(name.clone(), value.clone());
            }
        }
        target
            .signer
            .sign_post(&uri, &mut passed, &body)
            .await
            .map_err(|error| match error {
                SignError::NoCredentials(reason) => Trouble::NoCredentials(reason),
                SignError::NotSignable(_) => unreachable(&error),
            })?;
        let exchange = self.client.post(uri, passed, vec![body]);
        let answer = tokio::time::timeout(ANSWER, exchange)
            .await
            .map_err(|_| Trouble::Unreachable(format!("no answer within {} s", ANSWER.as_secs())))?
            .map_err(|error| unreachable(&error))?;
        if matches!(answer.status.as_u16(), 401 | 403) {
            // They may have been replaced: the next request asks for them again.
            target.signer.forget().await;
        }
        let mut told = HeaderMap::new();
        for (name, value) in &answer.headers {
            if is_passed_on(name, &answer.headers) {
                told.append(name.clone(), value.clone());
            }
        }
        Ok(Upstream {
            status: answer.status,
            headers: told,
            body: answer.body,
        })
    }
}

impl Trouble {
    fn answer(self) -> (Outcome, Response<AnswerBody>) {
        let (outcome, reason) = match self {
            Trouble::NoCredentials(reason) => (Outcome::NoCredentials, reason),
            Trouble::Unreachable(reason) => (Outcome::UpstreamError, reason),
        };
        tracing::debug!(%reason, "a sampling request was not passed on");
        (outcome, json(StatusCode::BAD_GATEWAY, &reason))
    }
}

/// Not one of the connection's own, nor one that `connection` names.
fn is_passed_on(name: &HeaderName, headers: &HeaderMap) -> bool {
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut named = named.flat_map(|list| list.split(','));
    !NOT_PASSED_ON.contains(&name.as_str()) && !named.any(|listed| listed.trim().eq_ignore_ascii_case(name.as_str()))
}

fn response(answer: &Upstream) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::full(answer.body.clone()));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    response
}

fn json(status: StatusCode, reason: &str) -> Response<AnswerBody> {
    let body = serde_json::json!({ "message": reason }).to_string();
    let mut response = Response::new(AnswerBody::full(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
