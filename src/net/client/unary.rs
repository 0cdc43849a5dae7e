//! One unary gRPC call on an HTTP/2 connection: frames out, status and message in.

use bytes::{Buf, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use tonic::Code;

use super::message::PREFIX;
use super::status::GrpcStatus;

/// Bytes of an answer that are read; an Export response is rarely more than a few.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;
/// How a call failed.
#[derive(Debug)]
pub enum Failed {
    /// Nothing of the request can have been seen: another connection may be tried with the same request.
    Unsent(h2::Error),
    /// It ended with this status.
    Status(GrpcStatus),
}

/// Sends `chunks` as the request's body and gives the answer's message. Dropping the future resets the stream.
pub async fn call(connection: SendRequest<Bytes>, request: Request<()>, chunks: &[Bytes]) -> Result<Bytes, Failed> {
    // Waits while the peer allows no more streams.
    let mut connection = connection.ready().await.map_err(Failed::Unsent)?;
    let end = chunks.is_empty();
    let (response, mut stream) = connection.send_request(request, end).map_err(Failed::Unsent)?;
    // All chunks are queued at once: the batch is in memory anyway, and h2 cuts them by frame size and window.
    for (index, chunk) in chunks.iter().enumerate() {
        let last = index + 1 == chunks.len();
        if stream.send_data(chunk.clone(), last).is_err() {
            // The peer has answered or reset already; the response says what.
            break;
        }
    }
    let response = match response.await {
        Ok(response) => response,
        Err(error) if was_refused(&error) => return Err(Failed::Unsent(error)),
        Err(error) => return Err(Failed::Status(broken(&error))),
    };
    read_answer(response).await.map_err(Failed::Status)
}

async fn read_answer(response: http::Response<h2::RecvStream>) -> Result<Bytes, GrpcStatus> {
    let (head, mut body) = response.into_parts();
    // "Trailers only": the status stands in the headers.
    if let Some(status) = GrpcStatus::from_headers(&head.headers) {
        return if status.code == Code::Ok {
            Ok(Bytes::new())
        } else {
            Err(status)
        };
    }
    if head.status != StatusCode::OK {
        return Err(GrpcStatus::from_http(head.status));
    }
    let mut message = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| broken(&error))?;
        if message.len() + data.len() > LONGEST_ANSWER {
            return Err(GrpcStatus::new(Code::Unknown, "the answer is longer than 4 MiB"));
        }
        message.extend_from_slice(&data);
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers: HeaderMap = body
        .trailers()
        .await
        .map_err(|error| broken(&error))?
        .unwrap_or_default();
    match GrpcStatus::from_headers(&trailers) {
        Some(status) if status.code == Code::Ok => Ok(unframe(message.freeze())),
        Some(status) => Err(status),
        None => Err(GrpcStatus::new(Code::Unknown, "the answer has no grpc-status")),
    }
}

/// The message behind its prefix. A compressed answer (we offer none) or a short one counts as an empty message: the
/// status was OK, so the data was taken.
fn unframe(mut framed: Bytes) -> Bytes {
    if framed.len() < PREFIX || framed[0] != 0 {
        return Bytes::new();
    }
    framed.advance(1);
    let length = framed.get_u32() as usize;
    framed.truncate(length);
    framed
}

/// The peer said that it has not looked at the request.
fn was_refused(error: &h2::Error) -> bool {
    error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// gRPC's mapping of HTTP/2 error codes.
fn broken(error: &h2::Error) -> GrpcStatus {
    let code = match error.reason() {
        Some(h2::Reason::CANCEL) if error.is_reset() => Code::Cancelled,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(
            h2::Reason::PROTOCOL_ERROR
            | h2::Reason::INTERNAL_ERROR
            | h2::Reason::FLOW_CONTROL_ERROR
            | h2::Reason::FRAME_SIZE_ERROR
            | h2::Reason::COMPRESSION_ERROR,
        ) if error.is_reset() => Code::Internal,
        _ => Code::Unavailable,
    };
    GrpcStatus::new(code, format!("the connection broke: {error}"))
}
