//! HTTP/2 as all parts of the benchmark use it: the same windows, TCP_NODELAY everywhere.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A connection to a server; its driver runs in `tasks`.
pub async fn connect(address: SocketAddr, tasks: &mut JoinSet<()>) -> Result<SendRequest<Bytes>> {
    let tcp = TcpStream::connect(address).await.context("connecting")?;
    tcp.set_nodelay(true)?;
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_send_buffer_size(1 << 20);
    let (send, connection) = builder.handshake(tcp).await?;
    tasks.spawn(async move {
        // The end of a connection shows in the calls on it.
        let _ = connection.await;
    });
    Ok(send)
}

/// Accepts requests on one connection and runs `handle` for each in a task of its own.
pub async fn serve<F, Fut>(tcp: TcpStream, handle: F) -> Result<()>
where
    F: Fn(Request<h2::RecvStream>, SendResponse<Bytes>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    tcp.set_nodelay(true)?;
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(1000)
        .handshake(tcp)
        .await?;
    let mut streams = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        while streams.try_join_next().is_some() {}
        let handling = handle(request, respond);
        streams.spawn(async move {
            // The caller sees a reset stream and not why.
            if let Err(error) = handling.await {
                eprintln!("a call failed: {error:#}");
            }
        });
    }
    Ok(())
}

/// The whole body, as it came.
pub async fn collect(body: &mut h2::RecvStream) -> Result<Vec<Bytes>> {
    let mut chunks = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let _ = body.flow_control().release_capacity(chunk.len());
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// The whole body in one piece.
pub async fn collect_joined(body: &mut h2::RecvStream) -> Result<Bytes> {
    let mut joined = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let _ = body.flow_control().release_capacity(chunk.len());
        joined.extend_from_slice(&chunk);
    }
    Ok(joined.freeze())
}

/// Answers a unary call with OK and an empty message.
pub fn answer_ok(mut respond: SendResponse<Bytes>) -> Result<()> {
    let mut response = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(Bytes::from_static(&[0; 5]), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)?;
    Ok(())
}

/// A unary gRPC request without its body.
pub fn request(path: &str, gzip: bool) -> Result<Request<()>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://bench{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if gzip {
        request = request.header("grpc-encoding", "gzip");
    }
    Ok(request.body(())?)
}

/// Flag and length.
pub fn prefix(compressed: bool, length: usize) -> [u8; 5] {
    let length = u32::try_from(length)
        .expect("requests of the benchmark are small")
        .to_be_bytes();
    [u8::from(compressed), length[0], length[1], length[2], length[3]]
}

/// A message behind its prefix.
pub fn framed(compressed: bool, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::from(&prefix(compressed, message.len())[..]);
    framed.extend_from_slice(message);
    framed.freeze()
}

/// How a call was answered.
#[derive(Debug)]
pub struct Answer {
    /// `grpc-status`; where it is missing, what HTTP said.
    pub status: String,
    pub message: String,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.status == "0"
    }
}

/// Sends a framed message and waits for the status; an error unless it is OK.
pub async fn call(send: SendRequest<Bytes>, request: Request<()>, chunks: Vec<Bytes>) -> Result<()> {
    let answer = call_for_answer(send, request, chunks).await?;
    anyhow::ensure!(answer.is_ok(), "grpc-status {}: {}", answer.status, answer.message);
    Ok(())
}

/// Sends a framed message and waits for the answer.
pub async fn call_for_answer(send: SendRequest<Bytes>, request: Request<()>, chunks: Vec<Bytes>) -> Result<Answer> {
    let mut send = send.ready().await?;
    let (response, mut stream) = send.send_request(request, false)?;
    let last = chunks.len() - 1;
    for (index, chunk) in chunks.into_iter().enumerate() {
        stream.send_data(chunk, index == last)?;
    }
    let (head, mut body) = response.await?.into_parts();
    collect(&mut body).await?;
    let trailers = body.trailers().await?.unwrap_or_default();
    let find = |name: &str| trailers.get(name).or_else(|| head.headers.get(name));
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Answer {
        status: find("grpc-status").map_or_else(|| format!("HTTP {}", head.status), text),
        message: find("grpc-message").map(text).unwrap_or_default(),
    })
}
