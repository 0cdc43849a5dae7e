//! An HTTP client with a pool of connections: a list of byte chunks goes out, the whole answer (capped) comes back.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial::{DialError, Dialer, Stream, Target, connect_tcp};
use super::proxy::ProxyRules;
use crate::net::tls::client::{ClientTls, TlsSource};

/// Bytes of an answer to a request with telemetry that are read; more breaks the connection off.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;
/// Smaller ones make hyper panic.
const SMALLEST_BUFFER: usize = 8192;

/// The pool's and HTTP's settings.
#[derive(Clone)]
pub struct HttpSettings {
    pub dialer: Dialer,
    /// Connections kept for later; of the Collector's two bounds the lower.
    pub max_idle: usize,
    /// Requests at the same time; `None`: no bound.
    pub max_connections: Option<usize>,
    /// `None`: kept for ever.
    pub idle_timeout: Option<Duration>,
    /// Every request on a connection of its own.
    pub no_keepalive: bool,
    /// HTTP/2 pings after this time without a frame.
    pub http2_ping_after: Option<Duration>,
    /// The connection is given up when a ping is not answered in this time.
    pub http2_ping_timeout: Duration,
    /// Bytes written or read at once.
    pub write_buffer: Option<usize>,
    pub read_buffer: Option<usize>,
}

/// A client; its tasks end when it is closed or dropped.
pub struct HttpClient {
    client: Client<Connector, Chunks>,
    dialer: Arc<Dialer>,
    slots: Option<Semaphore>,
    no_keepalive: bool,
    tasks: Tasks,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer. All of these are worth another try.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{}", with_causes(.0))]
    Exchange(#[from] Error),
    #[error("reading the answer: {0}")]
    Answer(#[from] hyper::Error),
    #[error("the answer is longer than {} MiB", .0 >> 20)]
    TooLong(usize),
    #[error("the exporter has stopped")]
    Stopped,
}

impl HttpSettings {
    /// For a few small requests now and then: two connections at most are kept, for a short while.
    pub fn occasional(tls: ClientTls) -> Self {
        Self {
            dialer: Dialer {
                tls: Some(Arc::new(TlsSource::new(tls, &[b"h2", b"http/1.1"]))),
                proxies: Arc::new(ProxyRules::from_environment()),
            },
            max_idle: 2,
            max_connections: Some(4),
            idle_timeout: Some(Duration::from_secs(30)),
            no_keepalive: false,
            http2_ping_after: None,
            http2_ping_timeout: Duration::from_secs(15),
            write_buffer: None,
            read_buffer: None,
        }
    }
}

impl HttpClient {
    /// A client without connections: they are made when they are needed.
    pub fn new(settings: HttpSettings) -> Self {
        let tasks = Tasks {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let mut builder = Client::builder(tasks.clone());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(if settings.no_keepalive { 0 } else { settings.max_idle })
            .http2_keep_alive_interval(settings.http2_ping_after)
            .http2_keep_alive_timeout(settings.http2_ping_timeout);
        if let Some(bytes) = settings.write_buffer {
            builder.http1_max_buf_size(bytes.max(SMALLEST_BUFFER));
        }
        if let Some(bytes) = settings.read_buffer {
            builder.http1_read_buf_exact_size(bytes.max(SMALLEST_BUFFER));
        }
        let dialer = Arc::new(settings.dialer);
        Self {
            client: builder.build(Connector(Arc::clone(&dialer))),
            dialer,
            slots: settings.max_connections.map(Semaphore::new),
            no_keepalive: settings.no_keepalive,
            tasks,
        }
    }

    /// Sends `chunks` as one body with its length and reads the answer. Dropping the future ends the exchange.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn post(&self, uri: Uri, headers: HeaderMap, chunks: Vec<Bytes>) -> Result<Answer, HttpError> {
        let mut request = Request::new(chunks);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.exchange(request, LONGEST_ANSWER).await
    }

    /// Asks for something. Redirects are answers like any other: they are not followed.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn get(&self, uri: Uri, headers: HeaderMap) -> Result<Answer, HttpError> {
        let mut request = Request::new(Vec::new());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.exchange(request, LONGEST_ANSWER).await
    }

    /// Sends any request, its body in chunks, and reads up to `longest` bytes of the answer.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn exchange(&self, request: Request<Vec<Bytes>>, longest: usize) -> Result<Answer, HttpError> {
        let _slot = match &self.slots {
            Some(slots) => Some(slots.acquire().await.map_err(|_closed| HttpError::Stopped)?),
            None => None,
        };
        let mut request = request.map(Chunks::new);
        if self.no_keepalive {
            let close = http::HeaderValue::from_static("close");
            request.headers_mut().insert(http::header::CONNECTION, close);
        }
        if let Some(authorization) = self.proxy_authorization(request.uri()) {
            request
                .headers_mut()
                .insert(http::header::PROXY_AUTHORIZATION, authorization);
        }
        let response = self.client.request(request).await?;
        let (head, body) = response.into_parts();
        let body = read_capped(body, longest).await?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// For plain requests, which the proxy reads itself; a tunnel is asked for with its own.
    fn proxy_authorization(&self, uri: &Uri) -> Option<http::HeaderValue> {
        if uri.scheme() == Some(&http::uri::Scheme::HTTPS) {
            return None;
        }
        let target = target_of(uri);
        let proxy = self.dialer.proxies.proxy_for(false, &target.host, target.port)?;
        let mut value = http::HeaderValue::try_from(proxy.authorization.as_ref()?.reveal()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Ends all connections and waits for their tasks.
    pub async fn close(&self) {
        if let Some(slots) = &self.slots {
            slots.close();
        }
        self.tasks.stop.cancel();
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
}

impl Drop for HttpClient {
    fn drop(&mut self) {
        self.tasks.stop.cancel();
    }
}

async fn read_capped(mut body: hyper::body::Incoming, longest: usize) -> Result<Bytes, HttpError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if read.len() + data.len() > longest {
            return Err(HttpError::TooLong(longest));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

/// hyper says "client error (Connect)" and keeps the reason below.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A body of chunks, its length known beforehand.
pub struct Chunks {
    chunks: vec::IntoIter<Bytes>,
    left: u64,
}

impl Chunks {
    fn new(chunks: Vec<Bytes>) -> Self {
        Self {
            left: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            chunks: chunks.into_iter(),
        }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let chunk = this.chunks.next();
        if let Some(chunk) = &chunk {
            this.left = this.left.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// hyper's tasks, owned: they end with the client.
#[derive(Clone)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.tracker.spawn(self.stop.clone().run_until_cancelled_owned(future));
    }
}

#[derive(Clone)]
struct Connector(Arc<Dialer>);

impl tower::Service<Uri> for Connector {
    type Response = Pooled;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Pooled, DialError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = Arc::clone(&self.0);
        Box::pin(async move { dial(&dialer, &uri).await })
    }
}

fn target_of(uri: &Uri) -> Target {
    let tls = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    let host = uri.host().unwrap_or_default();
    Target {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
    }
}

async fn dial(dialer: &Dialer, uri: &Uri) -> Result<Pooled, DialError> {
    let tls = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    let target = target_of(uri);
    let proxy = dialer.proxies.proxy_for(tls, &target.host, target.port);
    match proxy {
        // Plain requests go to the proxy itself, with the whole URL in the request line.
        Some(proxy) if !tls => {
            let at = Target {
                host: proxy.host.clone(),
                port: proxy.port,
            };
            let tcp = connect_tcp(&at.resolve().await?, &at.host).await?;
            Ok(Pooled {
                io: TokioIo::new(Stream::Plain(tcp)),
                through_proxy: true,
            })
        }
        _ => {
            let addresses = if proxy.is_some() {
                Vec::new()
            } else {
                target.resolve().await?
            };
            let dialer = Dialer {
                tls: if tls { dialer.tls.clone() } else { None },
                proxies: Arc::clone(&dialer.proxies),
            };
            Ok(Pooled {
                io: TokioIo::new(dialer.connect(&target, &addresses).await?),
                through_proxy: false,
            })
        }
    }
}

/// A connection as hyper's pool wants it.
struct Pooled {
    io: TokioIo<Stream>,
    through_proxy: bool,
}

impl Connection for Pooled {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.through_proxy);
        if self.io.inner().negotiated_h2() {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl hyper::rt::Read for Pooled {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Pooled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
