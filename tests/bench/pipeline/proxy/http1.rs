//! Both proxies over HTTP/1.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Joiner, Settings};

pub async fn run(settings: Settings) -> Result<()> {
    let listener = TcpListener::bind(settings.listen).await?;
    let mut tasks = JoinSet::new();
    let upstream = settings.upstream;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let passing: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build(connector.clone());
    let joiner = settings.joining.then(|| {
        let client: Client<HttpConnector, Parts> = Client::builder(TokioExecutor::new()).build(connector);
        let gzip = settings.gzip;
        Joiner::start(settings.told, gzip, &mut tasks, move |path, chunks| {
            send_joined(client.clone(), upstream, path, chunks, gzip.is_some())
        })
    });
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        while tasks.try_join_next().is_some() {}
        let passing = passing.clone();
        let joiner = joiner.clone();
        tasks.spawn(async move {
            let service = service_fn(move |request| handle(request, upstream, passing.clone(), joiner.clone()));
            // The loader closes its connections when it is done.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), service)
                .await;
        });
    }
}

async fn handle(
    mut request: Request<Incoming>,
    upstream: SocketAddr,
    passing: Client<HttpConnector, Incoming>,
    joiner: Option<Joiner>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>> {
    let Some(joiner) = joiner else {
        *request.uri_mut() = onward(upstream, request.uri().path())?;
        let response = passing.request(request).await?;
        return Ok(response.map(BodyExt::boxed));
    };
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut chunks = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame?.into_data() {
            chunks.push(chunk);
        }
    }
    joiner.take(&path, chunks).await?;
    Ok(Response::new(
        Full::new(Bytes::new()).map_err(|never| match never {}).boxed(),
    ))
}

fn onward(upstream: SocketAddr, path: &str) -> Result<Uri> {
    Uri::try_from(format!("http://{upstream}{path}")).context("the upstream's URL")
}

async fn send_joined(
    client: Client<HttpConnector, Parts>,
    upstream: SocketAddr,
    path: String,
    chunks: Vec<Bytes>,
    gzip: bool,
) -> Result<()> {
    let mut request = Request::post(onward(upstream, &path)?).header("content-type", "application/x-protobuf");
    if gzip {
        request = request.header("content-encoding", "gzip");
    }
    let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let body = Parts {
        chunks: chunks.into_iter(),
        left,
    };
    let response = client.request(request.body(body)?).await?;
    anyhow::ensure!(response.status().is_success(), "HTTP {}", response.status());
    response.into_body().collect().await?;
    Ok(())
}

/// A body of chunks with its length.
struct Parts {
    chunks: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.chunks.next();
        self.left -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
