//! A back end that keeps the ids it was sent, over OTLP/gRPC and OTLP/HTTP on one port.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::telemetry::Kind;

/// Ids and how often each came.
pub type Seen = BTreeMap<u64, usize>;

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    requests: AtomicUsize,
    /// Every n-th request is refused for good; 0: none.
    bad_every: AtomicUsize,
}

/// See the module text. Ends when it is dropped.
pub struct FarEnd {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

impl FarEnd {
    /// On a port of its own.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// On a port that is known before.
    pub fn at(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let for_tasks = Arc::clone(&shared);
        runtime.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&for_tasks);
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&shared)));
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self {
            address,
            shared,
            _runtime: runtime,
        }
    }

    /// Refuses every n-th request for good from now on.
    pub fn refuse_every(&self, nth: usize) {
        self.shared.bad_every.store(nth, Ordering::Relaxed);
    }

    /// What it took so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until it has taken `count` different ids.
    pub fn wait_for(&self, count: usize) -> Seen {
        for _ in 0..super::PATIENCE.as_millis() / 20 {
            let seen = self.seen();
            if seen.len() >= count {
                return seen;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{count} ids are expected, {} have come", self.seen().len());
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Infallible> {
    let kind = Kind::of_path(request.uri().path());
    let is_grpc = request
        .headers()
        .get("content-type")
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let mut response = Response::new(Full::new(Bytes::new()).boxed());
    // A connection that broke in the middle of a request has delivered nothing.
    let Ok(body) = request.into_body().collect().await else {
        return Ok(response);
    };
    let body = body.to_bytes();
    let number = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let bad_every = shared.bad_every.load(Ordering::Relaxed);
    let is_bad = bad_every > 0 && number.is_multiple_of(bad_every);
    if !is_bad {
        let message = if is_grpc { &body[5..] } else { &body[..] };
        let mut seen = shared.seen.lock().unwrap();
        for id in kind.ids(message) {
            *seen.entry(id).or_default() += 1;
        }
    }
    if is_grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(if is_bad { 3 } else { 0 }));
        let message = Full::new(Bytes::from_static(&[0; 5]));
        *response.body_mut() = message.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    } else if is_bad {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}
