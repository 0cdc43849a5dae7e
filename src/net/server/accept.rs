//! The accept loop: takes connections within the limits and gives each a task.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{HttpServer, Peer, ServerSettings, connection, count};
use crate::component::LimitedLog;

/// What every connection of one server shares.
pub(super) struct Shared<F> {
    pub(super) settings: ServerSettings,
    pub(super) handler: F,
    pub(super) stop: CancellationToken,
    pub(super) abort: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Of TLS on a listener without.
    pub(super) tls_log: LimitedLog,
    refused: Arc<AtomicU64>,
    max_connections: usize,
    open: AtomicUsize,
    open_by_client: Mutex<HashMap<IpAddr, usize>>,
}

impl<F> Shared<F> {
    pub(super) fn new(settings: &ServerSettings, handler: F, server: &HttpServer) -> Self {
        Self {
            max_connections: settings.max_connections.unwrap_or_else(eighty_percent_of_descriptors),
            settings: settings.clone(),
            handler,
            stop: server.stop.clone(),
            abort: server.abort.clone(),
            tasks: server.tasks.clone(),
            tls_log: LimitedLog::default(),
            refused: server.refused_connections(),
            open: AtomicUsize::new(0),
            open_by_client: Mutex::default(),
        }
    }

    /// A place for one more connection of `client`, or `None` when a limit is reached.
    fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Place<F>> {
        let mut by_client = self.open_by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = by_client.get(&client).copied().unwrap_or(0);
        let all = self.open.load(Ordering::Relaxed);
        if all >= self.max_connections || of_client >= self.settings.max_connections_per_client {
            return None;
        }
        by_client.insert(client, of_client + 1);
        self.open.store(all + 1, Ordering::Relaxed);
        drop(by_client);
        Some(Place {
            shared: Arc::clone(self),
            client,
        })
    }
}

/// One admitted connection; gives its place back on drop.
pub(super) struct Place<F> {
    pub(super) shared: Arc<Shared<F>>,
    client: IpAddr,
}

impl<F> Drop for Place<F> {
    fn drop(&mut self) {
        let mut by_client = self
            .shared
            .open_by_client
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_client.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                by_client.remove(&self.client);
            }
        }
        // Under the same lock as in `admit`, so the two numbers never drift apart.
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn eighty_percent_of_descriptors() -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(soft / 10 * 8).unwrap_or(usize::MAX)
}

/// Accepts until the server is stopped. Errors of `accept` (no descriptors left) back off and never end the loop.
pub(super) async fn accept_until_stopped<F, Fut, B>(listener: TcpListener, shared: Arc<Shared<F>>)
where
    F: Fn(Request<Incoming>, Arc<Peer>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);
    let mut pause = SHORTEST;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                pause = SHORTEST;
                take(stream, address, &shared);
            }
            // The client gave up while it waited: nobody's problem.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections, trying again");
                tokio::select! {
                    () = shared.stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

fn take<F, Fut, B>(stream: TcpStream, address: SocketAddr, shared: &Arc<Shared<F>>)
where
    F: Fn(Request<Incoming>, Arc<Peer>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let Some(place) = shared.admit(address.ip()) else {
        count(&shared.refused);
        tracing::debug!(client = %address, "connection limit reached, closing a new connection");
        return;
    };
    // Without it one of two peers answers each gRPC call 40 ms late (Nagle against delayed acknowledgements).
    let local = match (stream.set_nodelay(true), stream.local_addr()) {
        (Ok(()), Ok(local)) => local,
        // The connection is already gone.
        _ => return,
    };
    let peer = Peer {
        address,
        local: SocketAddr::new(local.ip().to_canonical(), local.port()),
        tls: shared.settings.tls.is_some(),
        certificate: None,
    };
    shared.tasks.spawn(connection::serve(stream, peer, place));
}
