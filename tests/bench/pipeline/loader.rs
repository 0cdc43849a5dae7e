//! Sends a bounded number of requests over a few connections, as fast as they are taken or at a fixed rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::client::SendRequest;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::data::Set;
use crate::h2io;

pub const CONNECTIONS: usize = 4;
/// Calls under way on each HTTP/2 connection.
const CALLS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Grpc,
    Http,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub items: u64,
    pub kept: u64,
}

/// Numbers of requests are handed out until `requests` have been.
struct Turn {
    next: AtomicUsize,
    end: usize,
}

impl Turn {
    fn take(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then_some(number)
    }
}

/// Open connections to one target.
pub struct Loader {
    transport: Transport,
    set: Arc<Set>,
    /// Framed bodies, in the order of the set.
    bodies: Arc<Vec<Bytes>>,
    address: SocketAddr,
    grpc: Vec<SendRequest<Bytes>>,
    _tasks: JoinSet<()>,
}

impl Loader {
    pub async fn connect(transport: Transport, address: SocketAddr, set: Set) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let mut grpc = Vec::new();
        if transport == Transport::Grpc {
            for _ in 0..CONNECTIONS {
                grpc.push(h2io::connect(address, &mut tasks).await?);
            }
        }
        let bodies = set.requests.iter().map(|request| match transport {
            Transport::Http => request.body.clone(),
            Transport::Grpc => h2io::framed(set.gzip, &request.body),
        });
        Ok(Self {
            transport,
            bodies: Arc::new(bodies.collect()),
            set: Arc::new(set),
            address,
            grpc,
            _tasks: tasks,
        })
    }

    /// Sends requests until at least `items` items have left; every one is answered when it returns.
    pub async fn send(&self, items: u64) -> Result<Sent> {
        let mut sent = Sent::default();
        let mut requests = 0;
        while sent.items < items {
            let request = &self.set.requests[requests % self.set.requests.len()];
            sent.items += request.items as u64;
            sent.kept += request.kept as u64;
            requests += 1;
        }
        let turn = Arc::new(Turn {
            next: AtomicUsize::new(0),
            end: requests,
        });
        let mut workers = JoinSet::new();
        match self.transport {
            Transport::Grpc => {
                for connection in &self.grpc {
                    for _ in 0..CALLS {
                        workers.spawn(send_grpc(
                            connection.clone(),
                            Arc::clone(&self.set),
                            Arc::clone(&self.bodies),
                            Arc::clone(&turn),
                        ));
                    }
                }
            }
            Transport::Http => {
                for _ in 0..CONNECTIONS * CALLS {
                    workers.spawn(send_http(
                        self.address,
                        Arc::clone(&self.set),
                        Arc::clone(&self.bodies),
                        Arc::clone(&turn),
                    ));
                }
            }
        }
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok(sent)
    }

    /// Sends one request every `interval` over gRPC, whether those before have been answered or not; gives how long each
    /// acknowledgement took.
    pub async fn send_at(&self, interval: Duration, requests: usize) -> Result<Vec<Duration>> {
        let mut ticker = tokio::time::interval(interval);
        let mut calls = JoinSet::new();
        for number in 0..requests {
            ticker.tick().await;
            let body = self.bodies[number % self.bodies.len()].clone();
            let connection = self.grpc[number % self.grpc.len()].clone();
            let request = h2io::request(self.set.signal.grpc_path(), self.set.gzip)?;
            calls.spawn(async move {
                let begin = Instant::now();
                h2io::call(connection, request, vec![body]).await?;
                anyhow::Ok(begin.elapsed())
            });
        }
        let mut taken = Vec::with_capacity(requests);
        while let Some(call) = calls.join_next().await {
            taken.push(call??);
        }
        Ok(taken)
    }
}

async fn send_grpc(
    connection: SendRequest<Bytes>,
    set: Arc<Set>,
    bodies: Arc<Vec<Bytes>>,
    turn: Arc<Turn>,
) -> Result<()> {
    while let Some(number) = turn.take() {
        let body = bodies[number % bodies.len()].clone();
        let request = h2io::request(set.signal.grpc_path(), set.gzip)?;
        h2io::call(connection.clone(), request, vec![body])
            .await
            .context("a request of the loader")?;
    }
    Ok(())
}

async fn send_http(address: SocketAddr, set: Arc<Set>, bodies: Arc<Vec<Bytes>>, turn: Arc<Turn>) -> Result<()> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    while let Some(number) = turn.take() {
        let body = bodies[number % bodies.len()].clone();
        let mut request = http::Request::post(format!("/v1/{}", set.signal.name()))
            .header("host", "bench")
            .header("content-type", "application/x-protobuf");
        if set.gzip {
            request = request.header("content-encoding", "gzip");
        }
        send.ready().await?;
        let response = send.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::ensure!(status.is_success(), "HTTP {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
