//! A gRPC channel: HTTP/2 connections to every address of one endpoint, re-established with back-off, used in turn.
//!
//! Each address has a keeper, a task that connects, drives the connection, pings it and begins again when it ends. A
//! resolver task looks the name up every 30 s. A call waits while a connection is being made and fails at once, as
//! gRPC's does, when all addresses failed (unless `wait_for_ready`).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::Ping;
use h2::client::{Connection, SendRequest};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Code;

use super::dial::{DialError, Dialer, Stream, Target};
use super::status::GrpcStatus;
use super::unary::{self, Failed};

const RESOLVE_EVERY: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// Not gRPC's two minutes: an exporter's retries (at most 30 s apart) would find the channel asleep.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A connection that ends sooner counts as a failed attempt (a load balancer without a backend accepts and hangs up).
const SHORTEST_LIFE: Duration = Duration::from_secs(1);
/// Connections tried for one call when nothing of it can have been seen.
const ATTEMPTS: usize = 3;

/// How addresses are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancer {
    /// All addresses in turn.
    RoundRobin,
    /// The first that answers.
    PickFirst,
}

/// `keepalive` of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Between pings.
    pub time: Duration,
    /// The connection is given up when a ping is not answered in this time.
    pub timeout: Duration,
    /// Ping also while no call is under way.
    pub permit_without_stream: bool,
}

/// What a channel is made of.
#[derive(Clone)]
pub struct ChannelSettings {
    pub target: Target,
    pub dialer: Dialer,
    /// `:authority`.
    pub authority: Authority,
    pub balancer: Balancer,
    pub keepalive: Option<KeepAlive>,
    pub wait_for_ready: bool,
    /// Bytes that h2 gathers for a stream before it counts as full.
    pub write_buffer: usize,
}

/// A channel; its tasks end when [`Channel::close`] is called or it is dropped.
pub struct Channel {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

struct Shared {
    settings: ChannelSettings,
    peers: Mutex<Peers>,
    changed: Notify,
    /// Calls under way.
    calls: AtomicUsize,
    stop: CancellationToken,
}

#[derive(Default)]
struct Peers {
    list: Vec<Peer>,
    next: usize,
    /// Why the name could not be resolved, while it could not.
    unresolved: Option<String>,
}

struct Peer {
    addresses: Vec<SocketAddr>,
    state: State,
    stop: CancellationToken,
}

enum State {
    Connecting,
    Ready(Ready),
    Failed(String),
}

/// A connection that takes calls; told apart from its successors by `retire`.
#[derive(Clone)]
struct Ready {
    connection: SendRequest<Bytes>,
    retire: Arc<Notify>,
}

enum Pick {
    Ready(Ready),
    Wait,
    Failed(String),
}

impl Channel {
    /// Begins to connect and returns at once. Must be called inside the runtime.
    pub fn open(settings: ChannelSettings) -> Self {
        let shared = Arc::new(Shared {
            settings,
            peers: Mutex::new(Peers::default()),
            changed: Notify::new(),
            calls: AtomicUsize::new(0),
            stop: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        let resolver = resolve_for_ever(Arc::clone(&shared), tasks.clone());
        tasks.spawn(shared.stop.clone().run_until_cancelled_owned(resolver));
        Self { shared, tasks }
    }

    /// One unary call: `headers` beside those of the protocol, `chunks` the framed message. Gives the answer's message.
    ///
    /// # Errors
    /// The status the far end answered with, or one made here (mostly `Unavailable`).
    pub async fn unary(&self, path: PathAndQuery, headers: &HeaderMap, chunks: &[Bytes]) -> Result<Bytes, GrpcStatus> {
        let _under_way = UnderWay::new(&self.shared.calls);
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            let ready = self.ready().await?;
            let request = self.request(path.clone(), headers.clone())?;
            match unary::call(ready.connection.clone(), request, chunks).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Status(status)) => return Err(status),
                Err(Failed::Unsent(error)) => problem = error.to_string(),
            }
            self.shared.retire(&ready);
        }
        Err(GrpcStatus::new(
            Code::Unavailable,
            format!("the connection broke: {problem}"),
        ))
    }

    /// Ends all connections and waits for the tasks.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.changed.notify_waiters();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The whole URI of a call.
    ///
    /// # Errors
    /// When the path does not fit the authority.
    pub fn uri(&self, path: PathAndQuery) -> Result<Uri, GrpcStatus> {
        let settings = &self.shared.settings;
        let scheme = if settings.dialer.tls.is_some() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        Uri::builder()
            .scheme(scheme)
            .authority(settings.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| GrpcStatus::new(Code::Internal, error.to_string()))
    }

    fn request(&self, path: PathAndQuery, headers: HeaderMap) -> Result<Request<()>, GrpcStatus> {
        let uri = self.uri(path)?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn ready(&self) -> Result<Ready, GrpcStatus> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.shared.pick() {
                Pick::Ready(ready) => return Ok(ready),
                Pick::Failed(problem) if self.shared.fails_fast() => {
                    return Err(GrpcStatus::new(Code::Unavailable, problem));
                }
                Pick::Failed(_) | Pick::Wait => changed.await,
            }
        }
    }
}

/// Counts a call while it is under way, also when its future is dropped.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(calls: &'a AtomicUsize) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(calls)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    fn peers(&self) -> std::sync::MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next ready connection in turn; to wait while one is being made; else the reason why there is none.
    fn pick(&self) -> Pick {
        if self.stop.is_cancelled() {
            return Pick::Failed("the exporter has stopped".to_owned());
        }
        let mut peers = self.peers();
        let count = peers.list.len();
        let begin = peers.next;
        for step in 0..count {
            let index = (begin + step) % count;
            if let State::Ready(ready) = &peers.list[index].state {
                let ready = ready.clone();
                peers.next = (index + 1) % count;
                return Pick::Ready(ready);
            }
        }
        if peers.list.iter().any(|peer| matches!(peer.state, State::Connecting)) {
            return Pick::Wait;
        }
        let failed = peers.list.iter().find_map(|peer| match &peer.state {
            State::Failed(problem) => Some(problem.clone()),
            State::Connecting | State::Ready(_) => None,
        });
        match failed.or_else(|| peers.unresolved.clone()) {
            Some(problem) => Pick::Failed(problem),
            // The name has not been looked up yet.
            None => Pick::Wait,
        }
    }

    /// Whether a call ends when there is no connection, instead of waiting for one.
    fn fails_fast(&self) -> bool {
        !self.settings.wait_for_ready || self.stop.is_cancelled()
    }

    fn set_state(&self, addresses: &[SocketAddr], state: State) {
        let mut peers = self.peers();
        if let Some(peer) = peers.list.iter_mut().find(|peer| peer.addresses == addresses) {
            peer.state = state;
        }
        drop(peers);
        self.changed.notify_waiters();
    }

    /// A call found that this connection takes no more: the keeper makes another. Once for each connection.
    fn retire(&self, ready: &Ready) {
        for peer in &mut self.peers().list {
            let same = matches!(&peer.state, State::Ready(now) if Arc::ptr_eq(&now.retire, &ready.retire));
            if same {
                peer.state = State::Connecting;
                ready.retire.notify_one();
            }
        }
    }

    /// Keeps the peers whose addresses are still there, stops the others, and gives those that are new.
    fn reconcile(&self, wanted: Vec<Vec<SocketAddr>>) -> Vec<(Vec<SocketAddr>, CancellationToken)> {
        let mut peers = self.peers();
        peers.unresolved = None;
        let (kept, gone): (Vec<Peer>, Vec<Peer>) = std::mem::take(&mut peers.list)
            .into_iter()
            .partition(|peer| wanted.contains(&peer.addresses));
        peers.list = kept;
        for peer in gone {
            peer.stop.cancel();
        }
        let mut new = Vec::new();
        for addresses in wanted {
            if peers.list.iter().any(|peer| peer.addresses == addresses) {
                continue;
            }
            let stop = self.stop.child_token();
            new.push((addresses.clone(), stop.clone()));
            peers.list.push(Peer {
                addresses,
                state: State::Connecting,
                stop,
            });
        }
        new
    }
}

async fn resolve_for_ever(shared: Arc<Shared>, tasks: TaskTracker) {
    loop {
        match resolve(&shared.settings).await {
            Ok(wanted) => {
                for (addresses, stop) in shared.reconcile(wanted) {
                    let keeper = keep(Arc::clone(&shared), tasks.clone(), addresses);
                    tasks.spawn(stop.run_until_cancelled_owned(keeper));
                }
            }
            Err(problem) => {
                // Known addresses stay in use.
                tracing::warn!(endpoint = %shared.settings.target.authority(), %problem, "cannot resolve the endpoint");
                shared.peers().unresolved = Some(problem.to_string());
            }
        }
        shared.changed.notify_waiters();
        let wait = if shared.peers().list.is_empty() {
            FIRST_BACKOFF * 4
        } else {
            RESOLVE_EVERY
        };
        tokio::time::sleep(wait).await;
    }
}

/// The address lists to keep a connection to: one for each address, or one for all of them.
async fn resolve(settings: &ChannelSettings) -> Result<Vec<Vec<SocketAddr>>, DialError> {
    if settings.dialer.uses_proxy(&settings.target) {
        // The proxy looks the name up.
        return Ok(vec![Vec::new()]);
    }
    let mut addresses = settings.target.resolve().await?;
    Ok(match settings.balancer {
        Balancer::PickFirst => vec![addresses],
        Balancer::RoundRobin => {
            addresses.sort_unstable();
            addresses.dedup();
            addresses.into_iter().map(|address| vec![address]).collect()
        }
    })
}

async fn keep(shared: Arc<Shared>, tasks: TaskTracker, addresses: Vec<SocketAddr>) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        shared.set_state(&addresses, State::Connecting);
        let (problem, lived) = match connect(&shared.settings, &addresses).await {
            Ok((connection, driver)) => serve(&shared, &tasks, &addresses, connection, driver).await,
            Err(problem) => (problem.to_string(), Duration::ZERO),
        };
        if lived >= SHORTEST_LIFE {
            tracing::debug!(endpoint = %shared.settings.target.authority(), ?addresses, %problem, "reconnecting");
            backoff = FIRST_BACKOFF;
            continue;
        }
        tracing::warn!(endpoint = %shared.settings.target.authority(), ?addresses, %problem, "no connection");
        shared.set_state(&addresses, State::Failed(problem));
        tokio::time::sleep(jittered(backoff)).await;
        backoff = (backoff * 8 / 5).min(LONGEST_BACKOFF);
    }
}

/// Drives one connection until it ends or takes no more calls; says why, and how long it was in use.
async fn serve(
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
    addresses: &[SocketAddr],
    connection: SendRequest<Bytes>,
    driver: Connection<Stream, Bytes>,
) -> (String, Duration) {
    let since = Instant::now();
    let retire = Arc::new(Notify::new());
    let ready = Ready {
        connection,
        retire: Arc::clone(&retire),
    };
    shared.set_state(addresses, State::Ready(ready));
    tracing::debug!(endpoint = %shared.settings.target.authority(), ?addresses, "connected");
    let mut driving = Box::pin(drive(Arc::clone(shared), driver));
    tokio::select! {
        problem = &mut driving => (problem, since.elapsed()),
        () = retire.notified() => {
            // The peer takes no more calls (GOAWAY): those under way may end there while the next connection is made.
            tasks.spawn(shared.stop.clone().run_until_cancelled_owned(driving));
            ("the peer is closing the connection".to_owned(), since.elapsed())
        }
    }
}

async fn connect(
    settings: &ChannelSettings,
    addresses: &[SocketAddr],
) -> Result<(SendRequest<Bytes>, Connection<Stream, Bytes>), ConnectError> {
    let stream = settings.dialer.connect(&settings.target, addresses).await?;
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        // What a far end streams back is small; its status fits a header list of the usual size.
        .max_header_list_size(64 * 1024)
        .max_send_buffer_size(settings.write_buffer);
    Ok(builder.handshake(stream).await?)
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
}

/// Polls the connection and pings it; says why it ended.
async fn drive(shared: Arc<Shared>, mut driver: Connection<Stream, Bytes>) -> String {
    let ended = |result: Result<(), h2::Error>| match result {
        Ok(()) => "the peer closed the connection".to_owned(),
        Err(error) => error.to_string(),
    };
    let pings = shared.settings.keepalive.zip(driver.ping_pong());
    let Some((keepalive, mut pings)) = pings else {
        return ended(driver.await);
    };
    let pinging = async {
        loop {
            tokio::time::sleep(keepalive.time).await;
            let idle = shared.calls.load(Ordering::Relaxed) == 0;
            if idle && !keepalive.permit_without_stream {
                continue;
            }
            let answer = tokio::time::timeout(keepalive.timeout, pings.ping(Ping::opaque())).await;
            if !matches!(answer, Ok(Ok(_))) {
                return;
            }
        }
    };
    tokio::select! {
        result = &mut driver => ended(result),
        () = pinging => "a ping was not answered".to_owned(),
    }
}

/// Between 80 and 120 percent, so that agents do not come back all at once.
fn jittered(duration: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let percent = 80 + u32::try_from(random % 41).unwrap_or(20);
    duration * percent / 100
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
