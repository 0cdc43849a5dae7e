//! Both proxies over HTTP/2.

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Joiner, Settings};
use crate::h2io;

pub async fn run(settings: Settings) -> Result<()> {
    let listener = TcpListener::bind(settings.listen).await?;
    let mut tasks = JoinSet::new();
    let upstream = h2io::connect(settings.upstream, &mut tasks).await?;
    let joiner = settings.joining.then(|| {
        let upstream = upstream.clone();
        let gzip = settings.gzip;
        Joiner::start(settings.told, gzip, &mut tasks, move |path, chunks| {
            send_joined(upstream.clone(), path, chunks, gzip.is_some())
        })
    });
    loop {
        let (tcp, _) = listener.accept().await?;
        while tasks.try_join_next().is_some() {}
        let upstream = upstream.clone();
        let joiner = joiner.clone();
        tasks.spawn(async move {
            let handle = move |request, respond| handle(request, respond, upstream.clone(), joiner.clone());
            // The loader closes its connections when it is done.
            let _ = h2io::serve(tcp, handle).await;
        });
    }
}

async fn handle(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    upstream: SendRequest<Bytes>,
    joiner: Option<Joiner>,
) -> Result<()> {
    match joiner {
        Some(joiner) => {
            let path = request.uri().path().to_owned();
            let mut body = request.into_body();
            let mut chunks = h2io::collect(&mut body).await?;
            take_prefix(&mut chunks);
            joiner.take(&path, chunks).await?;
            h2io::answer_ok(respond)
        }
        None => pass(request, respond, upstream).await,
    }
}

fn take_prefix(chunks: &mut Vec<Bytes>) {
    let mut left = 5;
    while let (1.., Some(first)) = (left, chunks.first_mut()) {
        let here = left.min(first.len());
        first.advance(here);
        left -= here;
        if first.is_empty() {
            chunks.remove(0);
        }
    }
}

async fn pass(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    upstream: SendRequest<Bytes>,
) -> Result<()> {
    let (head, mut body) = request.into_parts();
    let mut onward = Request::new(());
    *onward.method_mut() = head.method;
    *onward.uri_mut() = head.uri;
    *onward.headers_mut() = head.headers;
    let mut upstream = upstream.ready().await?;
    let (response, mut stream) = upstream.send_request(onward, false)?;
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let _ = body.flow_control().release_capacity(chunk.len());
        stream.send_data(chunk, false)?;
    }
    stream.send_data(Bytes::new(), true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut answer = Response::new(());
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    let mut stream = respond.send_response(answer, false)?;
    while let Some(chunk) = body.data().await {
        stream.send_data(chunk?, false)?;
    }
    stream.send_trailers(body.trailers().await?.unwrap_or_default())?;
    Ok(())
}

async fn send_joined(upstream: SendRequest<Bytes>, path: String, mut chunks: Vec<Bytes>, gzip: bool) -> Result<()> {
    let length = chunks.iter().map(Bytes::len).sum();
    chunks.insert(0, Bytes::copy_from_slice(&h2io::prefix(gzip, length)));
    h2io::call(upstream, h2io::request(&path, gzip)?, chunks)
        .await
        .context("sending a joined batch")
}
