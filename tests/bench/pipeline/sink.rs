//! The far end: takes everything at once, counts the items, discards them. gRPC and HTTP/1 on a port each.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::data::Signal;
use crate::{h2io, scan};

/// Ends with its tasks when dropped.
pub struct Sink {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    items: AtomicU64,
    requests: AtomicU64,
}

impl Sink {
    pub async fn start() -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// gRPC at this address.
    pub async fn start_at(grpc: SocketAddr) -> Result<Self> {
        let grpc = TcpListener::bind(grpc).await?;
        let http = TcpListener::bind("127.0.0.1:0").await?;
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);
        tasks.spawn(serve_grpc(grpc, Arc::clone(&counts)));
        tasks.spawn(serve_http(http, Arc::clone(&counts)));
        Ok(Self {
            grpc: grpc_address,
            http: http_address,
            counts,
            _tasks: tasks,
        })
    }

    pub fn items(&self) -> u64 {
        self.counts.items.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// Waits until `items` have arrived in all; an error when nothing more comes for 10 s.
    pub async fn wait_for(&self, items: u64) -> Result<()> {
        let mut seen = self.items();
        let mut quiet = 0;
        while seen < items {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let now = self.items();
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
            if quiet > 5000 {
                bail!("only {seen} of {items} items have arrived");
            }
        }
        if seen > items {
            bail!("{seen} items have arrived, {items} were sent");
        }
        Ok(())
    }
}

impl Counts {
    fn take(&self, signal: Signal, body: &[u8]) {
        self.items
            .fetch_add(scan::count(signal, body) as u64, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// The sink reads what the benchmark's own agents wrote.
#[allow(clippy::disallowed_methods)]
pub fn gunzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(bytes.len() * 8);
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .context("gunzip")?;
    Ok(plain)
}

async fn serve_grpc(listener: TcpListener, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let counts = Arc::clone(&counts);
        connections.spawn(h2io::serve(tcp, move |request, respond| {
            let counts = Arc::clone(&counts);
            async move {
                let signal = Signal::of_path(request.uri().path());
                let mut body = request.into_body();
                let body = h2io::collect_joined(&mut body).await?;
                anyhow::ensure!(body.len() >= 5, "a message without a prefix");
                if body[0] == 1 {
                    counts.take(signal, &gunzip(&body[5..])?);
                } else {
                    counts.take(signal, &body[5..]);
                }
                h2io::answer_ok(respond)
            }
        }));
    }
}

async fn serve_http(listener: TcpListener, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        if tcp.set_nodelay(true).is_err() {
            continue;
        }
        let counts = Arc::clone(&counts);
        connections.spawn(async move {
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let counts = Arc::clone(&counts);
                async move {
                    let signal = Signal::of_path(request.uri().path());
                    let gzip = request.headers().contains_key("content-encoding");
                    let body = request.into_body().collect().await?.to_bytes();
                    if gzip {
                        counts.take(signal, &gunzip(&body)?);
                    } else {
                        counts.take(signal, &body);
                    }
                    anyhow::Ok(http::Response::new(Full::new(Bytes::new())))
                }
            });
            // A broken connection shows in the counts.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), service)
                .await;
        });
    }
}
