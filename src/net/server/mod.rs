//! Listeners that speak HTTP/1 and HTTP/2 on one port, with or without TLS, and stop in an orderly way.
//!
//! [`serve_http`] is all that most callers need: it binds, accepts, limits and stops; the caller's function turns a
//! request into a response. HTTP/2 is recognised by its preface, so gRPC and HTTP/1 share a port. A connection is one
//! task; hyper's HTTP/2 server adds one task a stream. All of them belong to the server's task tracker.
//!
//! What is limited here: connections (all and per client), time for the TLS handshake, headers, idle connections,
//! stalled writes, connection age, header sizes, HTTP/2 streams and windows (reliability contract, section 4). Bodies
//! are limited by [`body`], since only the reader knows what they cost.

mod accept;
mod bind;
pub mod body;
mod connection;
mod cors;
mod frames;
mod gate;
mod groups;
pub mod grpc;
mod holder;
mod io;
mod settings;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(in crate::net) use bind::is_missing_address;
pub use bind::{BindError, Endpoint};
pub use cors::{Cors, Verdict};
pub use gate::{Gate, Identity};
pub use groups::{GrpcGroup, HttpGroup, refuse_unbuilt};
pub use holder::of_port as holder_of_port;
pub use settings::ServerSettings;

use crate::component::{BoxFuture, Deadline, Instruments, Running};
use crate::pdata::Auth;

/// What is known of the other side of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address, IPv4 clients of a dual-stack listener as IPv4.
    pub address: SocketAddr,
    /// The address of ours it connected to.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Who the client is by its certificate, which was verified; `None` without one.
    pub certificate: Option<Arc<Auth>>,
}

/// A server under way. Stopping it is graceful; dropping it is not.
pub struct HttpServer {
    addresses: Vec<SocketAddr>,
    /// Accept no more, finish what is under way.
    stop: CancellationToken,
    /// Drop every connection.
    abort: CancellationToken,
    tasks: TaskTracker,
    refused_connections: Arc<AtomicU64>,
}

impl HttpServer {
    /// Where it listens; port 0 of the configuration stands here as the port that was given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What a receiver shows of its listener: connections that were refused, and its certificate.
    pub fn observe(&self, settings: &ServerSettings, instruments: &Instruments, transport: &str) {
        let labels = [("transport", transport)];
        let refused = self.refused_connections();
        instruments.observe(
            "radiosonde_receiver_refused_connections",
            "Connections closed at once because of a connection limit.",
            &labels,
            move || refused.load(Ordering::Relaxed) as f64,
        );
        if let Some(tls) = &settings.tls {
            tls.observe(instruments, &labels);
        }
    }

    /// Connections closed at once because of a connection limit.
    pub fn refused_connections(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refused_connections)
    }
}

impl Running for HttpServer {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.tasks.close();
            if tokio::time::timeout(deadline.remaining(), self.tasks.wait())
                .await
                .is_ok()
            {
                return;
            }
            let left = self.tasks.len();
            tracing::warn!(
                tasks = left,
                "connections did not finish before the deadline, closing them"
            );
            self.abort.cancel();
            // Only what is in a caller's function can still hold on; it gets a moment to notice.
            let _ = tokio::time::timeout(Duration::from_millis(200), self.tasks.wait()).await;
        })
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

/// Binds the endpoint of `settings` and serves `handler` on it until the server is stopped or dropped.
///
/// The handler gets each request with its peer and always answers. An axum router fits as
/// `move |request, _peer| { let router = router.clone(); async move { router.oneshot(request).await.into_response() } }`.
///
/// # Errors
/// When an address cannot be bound; the error names the address and who holds it, where that can be seen.
pub async fn serve_http<F, Fut, B>(settings: &ServerSettings, handler: F) -> Result<HttpServer, BindError>
where
    F: Fn(Request<Incoming>, Arc<Peer>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listeners = bind::bind(&settings.endpoint).await?;
    let mut addresses = Vec::with_capacity(listeners.len());
    for listener in &listeners {
        addresses.push(
            listener
                .local_addr()
                .map_err(|error| BindError::of(&settings.endpoint, &error))?,
        );
    }
    let server = HttpServer {
        addresses,
        stop: CancellationToken::new(),
        abort: CancellationToken::new(),
        tasks: TaskTracker::new(),
        refused_connections: Arc::new(AtomicU64::new(0)),
    };
    let shared = Arc::new(accept::Shared::new(settings, handler, &server));
    if let Some(tls) = &settings.tls {
        server.tasks.spawn(Arc::clone(tls).watch_files(server.stop.clone()));
    }
    for listener in listeners {
        server
            .tasks
            .spawn(accept::accept_until_stopped(listener, Arc::clone(&shared)));
    }
    Ok(server)
}

/// Counts one up; the counters of this module are statistics, nothing is ordered by them.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
