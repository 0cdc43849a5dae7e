//! One connection from handshake to end: TLS, protocol, hyper, and the clocks that end it.

use std::convert::Infallible;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::{Method, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::accept::Place;
use super::io::{Activity, Protocol, Transport, Watched};
use super::{Peer, ServerSettings};
use crate::component::LimitedLog;
use crate::pdata::Auth;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves one connection until it ends, the server stops, or one of its clocks runs out.
pub(super) async fn serve<F, Fut, B>(stream: TcpStream, peer: Peer, place: Place<F>)
where
    F: Fn(Request<Incoming>, Arc<Peer>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<BoxError>,
{
    let shared = Arc::clone(&place.shared);
    let settings = &shared.settings;
    let activity = Arc::new(Activity::default());
    let opened = open(stream, &peer, settings, Arc::clone(&activity), &shared.tls_log);
    let (io, protocol, certificate) = tokio::select! {
        biased;
        // Nothing was asked yet, so nothing is lost.
        () = shared.stop.cancelled() => return,
        opened = opened => match opened {
            Some(opened) => opened,
            None => return,
        },
    };
    let service = Counted {
        place,
        peer: Arc::new(Peer { certificate, ..peer }),
        activity: Arc::clone(&activity),
    };
    let connection: Connection<_, Answering<B>> = match protocol {
        Protocol::Http2 => Connection::Http2 {
            inner: http2_builder(settings, &shared.tasks).serve_connection(TokioIo::new(io), service),
        },
        _ => Connection::Http1 {
            inner: http1_builder(settings).serve_connection(TokioIo::new(io), service),
        },
    };
    tokio::pin!(connection);
    let clocks = Clocks::new(settings, protocol, &activity);
    let watch = clocks.run();
    tokio::pin!(watch);

    // First phase: until something asks the connection to close.
    let ask = tokio::select! {
        biased;
        result = connection.as_mut() => return log_end(&result),
        () = shared.stop.cancelled() => Close::Gracefully(None),
        close = &mut watch => close,
    };
    let grace = match ask {
        Close::AtOnce(why) => {
            tracing::debug!(why, "closing a connection");
            return;
        }
        Close::Gracefully(grace) => grace,
    };
    // Second phase: GOAWAY (or `connection: close`) is out, what is under way may finish.
    connection.as_mut().graceful_shutdown();
    let out_of_grace = async {
        match grace {
            Some(grace) => tokio::time::sleep(grace).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = connection.as_mut() => log_end(&result),
        () = shared.abort.cancelled() => {}
        () = out_of_grace => tracing::debug!("closing an aged connection with requests under way"),
    }
}

fn log_end(result: &Result<(), hyper::Error>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// TLS handshake where configured, then the protocol, and who the client is by its certificate. `None`: nothing to serve.
async fn open(
    stream: TcpStream,
    peer: &Peer,
    settings: &ServerSettings,
    activity: Arc<Activity>,
    log: &LimitedLog,
) -> Option<(Watched, Protocol, Option<Arc<Auth>>)> {
    let transport = match &settings.tls {
        None => Transport::Plain(stream),
        Some(tls) => match tokio::time::timeout(settings.handshake_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => Transport::Tls(Box::new(stream)),
            Ok(Err(error)) => {
                tracing::debug!(client = %peer.address, %error, "TLS handshake failed");
                return None;
            }
            Err(_) => return None,
        },
    };
    let certificate = transport.client_identity().map(Arc::new);
    let mut io = Watched::new(transport, activity, settings.write_timeout);
    let recognised = match settings.header_timeout {
        Some(limit) => tokio::time::timeout(limit, io.recognise()).await.ok()?,
        None => io.recognise().await,
    };
    match recognised.ok()?? {
        Protocol::TlsHello => {
            if let Some(left_out) = log.admit() {
                tracing::info!(
                    client = %peer.address,
                    listener = %peer.local,
                    left_out,
                    "TLS handshake on a listener without TLS: use http:// (or insecure: true) at the client"
                );
            }
            None
        }
        protocol => Some((io, protocol, certificate)),
    }
}

fn http1_builder(settings: &ServerSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The clocks below do it: hyper's own timer would also end idle keep-alive connections.
        .header_read_timeout(None)
        .keep_alive(settings.keep_alives)
        .max_headers(settings.max_headers)
        .max_header_size(settings.max_header_bytes)
        // Bodies come in pieces of at most this size; the buffer grows only as far as reads fill it.
        .max_buf_size(512 * 1024)
        .half_close(true);
    builder
}

fn http2_builder(settings: &ServerSettings, tasks: &TaskTracker) -> http2::Builder<Tracked> {
    let mut builder = http2::Builder::new(Tracked(tasks.clone()));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_frame_size(settings.max_frame_size)
        .max_concurrent_streams(settings.max_concurrent_streams)
        // Streams that the peer opens and takes back (rapid reset), or breaks: more end the connection.
        .max_pending_accept_reset_streams(settings.max_reset_streams)
        .max_local_error_reset_streams(Some(settings.max_broken_streams))
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout);
    builder
}

/// Gives hyper's stream tasks to the server's tracker.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<T> hyper::rt::Executor<T> for Tracked
where
    T: Future + Send + 'static,
    T::Output: Send + 'static,
{
    fn execute(&self, task: T) {
        self.0.spawn(task);
    }
}

/// The caller's handler as hyper sees it, counting open requests.
struct Counted<F> {
    place: Place<F>,
    peer: Arc<Peer>,
    activity: Arc<Activity>,
}

impl<F, Fut, B> hyper::service::Service<Request<Incoming>> for Counted<F>
where
    F: Fn(Request<Incoming>, Arc<Peer>) -> Fut,
    Fut: Future<Output = Response<B>>,
{
    type Response = Response<Answering<B>>;
    type Error = Infallible;
    type Future = Open<Fut>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.activity.open.fetch_add(1, Ordering::Relaxed);
        self.activity.begun.fetch_add(1, Ordering::Relaxed);
        Open {
            // Of HTTP/1 hyper knows it.
            without_body: request.method() == Method::HEAD && request.version() == Version::HTTP_2,
            answer: (self.place.shared.handler)(request, Arc::clone(&self.peer)),
            _open: OpenRequest(Arc::clone(&self.activity)),
        }
    }
}

/// Counts itself out when the answer is ready or the client has gone.
struct OpenRequest(Arc<Activity>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let reads = self.0.reads.load(Ordering::Relaxed);
        self.0.reads_when_idle.store(reads, Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// The body of an answer, telling when it waits for the peer: hyper asks for the next piece only when the peer has
    /// room for it.
    struct Answering<B> {
        #[pin]
        body: B,
        // The request was HEAD: the answer's head says what a body would be (RFC 9110 section 9.3.2).
        is_hidden: bool,
        waits: Waits,
    }
}

/// One answer among those that wait for the peer, while `counted`.
struct Waits {
    activity: Arc<Activity>,
    counted: bool,
}

impl Waits {
    fn new(activity: Arc<Activity>) -> Self {
        activity.answering.fetch_add(1, Ordering::Relaxed);
        Self {
            activity,
            counted: true,
        }
    }

    /// For the peer, or for more of the answer to be made.
    fn set(&mut self, for_peer: bool) {
        if for_peer && !self.counted {
            self.activity.answering.fetch_add(1, Ordering::Relaxed);
        } else if !for_peer && self.counted {
            self.activity.answering.fetch_sub(1, Ordering::Relaxed);
        }
        self.counted = for_peer;
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.activity.answered.fetch_add(1, Ordering::Relaxed);
        self.set(false);
    }
}

impl<B: Body> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        let this = self.project();
        this.waits.activity.answered.fetch_add(1, Ordering::Relaxed);
        if *this.is_hidden {
            return Poll::Ready(None);
        }
        let frame = this.body.poll_frame(context);
        this.waits.set(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.is_hidden || self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// A request being handled.
    struct Open<Fut> {
        #[pin]
        answer: Fut,
        without_body: bool,
        _open: OpenRequest,
    }
}

impl<Fut: Future<Output = Response<B>>, B> Future for Open<Fut> {
    type Output = Result<Response<Answering<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let activity = &this._open.0;
        let is_hidden = *this.without_body;
        this.answer.poll(context).map(|answer| {
            Ok(answer.map(|body| Answering {
                body,
                is_hidden,
                waits: Waits::new(Arc::clone(activity)),
            }))
        })
    }
}

pin_project! {
    /// hyper's connection of either protocol.
    #[project = ConnectionProjection]
    enum Connection<S, B>
    where
        S: hyper::service::HttpService<Incoming, ResBody = B>,
        B: Body,
    {
        Http1 { #[pin] inner: http1::Connection<TokioIo<Watched>, S> },
        Http2 { #[pin] inner: http2::Connection<TokioIo<Watched>, S, Tracked> },
    }
}

impl<S, B> Connection<S, B>
where
    S: hyper::service::HttpService<Incoming, ResBody = B, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        match self.project() {
            ConnectionProjection::Http1 { inner } => inner.graceful_shutdown(),
            ConnectionProjection::Http2 { inner } => inner.graceful_shutdown(),
        }
    }
}

impl<S, B> Future for Connection<S, B>
where
    S: hyper::service::HttpService<Incoming, ResBody = B, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Output = Result<(), hyper::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ConnectionProjection::Http1 { inner } => inner.poll(context),
            ConnectionProjection::Http2 { inner } => inner.poll(context),
        }
    }
}

/// How a clock wants the connection to end.
enum Close {
    /// No request is under way that could be answered.
    AtOnce(&'static str),
    /// Finish what is under way, at most for the given time.
    Gracefully(Option<Duration>),
}

/// The clocks of a connection: header, idle, age. They look at the activity a few times per limit instead of arming a
/// timer per request.
struct Clocks<'a> {
    protocol: Protocol,
    activity: &'a Activity,
    header: Option<Duration>,
    idle: Option<Duration>,
    /// For answers that the peer does not take.
    answer: Option<Duration>,
    age: Option<Duration>,
    age_grace: Option<Duration>,
}

impl<'a> Clocks<'a> {
    fn new(settings: &ServerSettings, protocol: Protocol, activity: &'a Activity) -> Self {
        // Aged connections are spread over +-10 %, so that a fleet does not reconnect at the same moment.
        let spread = |age: Duration| {
            let random = foldhash::fast::RandomState::default().hash_one(0_u8);
            age.mul_f64(0.9 + 0.2 * (random % 1000) as f64 / 1000.0)
        };
        let http2 = protocol == Protocol::Http2;
        Self {
            protocol,
            activity,
            header: settings.header_timeout,
            idle: if http2 {
                settings.idle_timeout_http2
            } else {
                settings.idle_timeout_http1
            },
            answer: settings.write_timeout,
            age: settings.max_connection_age.map(spread),
            age_grace: settings.max_connection_age_grace,
        }
    }

    /// Returns when the connection should end.
    async fn run(self) -> Close {
        let limits = [self.header, self.idle, self.answer, self.age];
        let shortest = limits.into_iter().flatten().min();
        let Some(shortest) = shortest else {
            return std::future::pending().await;
        };
        let step = (shortest / 4).max(Duration::from_millis(10));
        let opened = Instant::now();
        let mut begun = 0;
        let mut idle_since = opened;
        let http2 = self.protocol == Protocol::Http2;
        let mut header_since = (!http2).then_some(opened);
        let mut cut_header = Standstill::default();
        let mut answer = Standstill::default();
        loop {
            tokio::time::sleep(step).await;
            let now = Instant::now();
            if self.age.is_some_and(|age| now - opened >= age) {
                return Close::Gracefully(self.age_grace);
            }
            let cut = self.activity.cut_headers.load(Ordering::Relaxed);
            let header_open = self.activity.header_open.load(Ordering::Relaxed);
            if cut_header.lasts(header_open.then_some(cut), now, self.header) {
                return Close::AtOnce("the request header took too long");
            }
            let is_answering = self.activity.answering.load(Ordering::Relaxed) > 0;
            let answered = self.activity.answered.load(Ordering::Relaxed);
            if answer.lasts(is_answering.then_some(answered), now, self.answer) {
                return Close::AtOnce("the peer does not take our answers");
            }
            let begun_now = self.activity.begun.load(Ordering::Relaxed);
            if begun_now != begun || self.activity.open.load(Ordering::Relaxed) > 0 {
                begun = begun_now;
                idle_since = now;
                header_since = None;
                continue;
            }
            if self.idle.is_some_and(|idle| now - idle_since >= idle) {
                return Close::Gracefully(Some(Duration::from_secs(5)));
            }
            let reads = self.activity.reads.load(Ordering::Relaxed);
            if http2 {
                continue;
            }
            let header_is_coming = begun == 0 || reads != self.activity.reads_when_idle.load(Ordering::Relaxed);
            if !header_is_coming {
                header_since = None;
                continue;
            }
            let since = *header_since.get_or_insert(now);
            if self.header.is_some_and(|limit| now - since >= limit) {
                return Close::AtOnce("the request header took too long");
            }
        }
    }
}

/// Something that is under way and shows by a count whether it moves.
#[derive(Default)]
struct Standstill(Option<(u64, Instant)>);

impl Standstill {
    /// Whether the count has stood still for the limit; `None`: nothing is under way.
    fn lasts(&mut self, count: Option<u64>, now: Instant, limit: Option<Duration>) -> bool {
        let Some(count) = count else {
            self.0 = None;
            return false;
        };
        match self.0 {
            Some((seen, since)) if seen == count => limit.is_some_and(|limit| now - since >= limit),
            _ => {
                self.0 = Some((count, now));
                false
            }
        }
    }
}
