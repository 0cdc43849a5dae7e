//! OTLP/gRPC: the Export call of the three services.

use ::http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::Code;

use super::answer;
use super::door::{Door, Form, Offer};
use super::listener::{GrpcRules, Port};
use crate::net::server::body::AnswerBody;
use crate::net::server::{Gate, Identity, Peer, grpc};
use crate::net::status::Status;
use crate::pdata::Signal;

/// The other side of a call, as far as it is known.
struct From<'a> {
    peer: &'a Peer,
    identity: Identity,
}

/// Answers one call; what went wrong is always a gRPC status.
pub(super) async fn serve(
    door: &Door,
    rules: &GrpcRules,
    gate: &Gate,
    request: Request<Incoming>,
    peer: &Peer,
) -> Response<AnswerBody> {
    let identity = match gate.admit(request.headers(), peer).await {
        Ok(identity) => identity,
        Err(status) => return grpc::failed(&status),
    };
    let from = From { peer, identity };
    if request.method() != Method::POST {
        let mut answer = Response::new(AnswerBody::empty());
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        answer
            .headers_mut()
            .insert(::http::header::ALLOW, ::http::HeaderValue::from_static("POST"));
        return answer;
    }
    let Some(timeout) = grpc::timeout(request.headers()) else {
        return export(door, rules, request, from, None).await;
    };
    let deadline = Instant::now() + timeout;
    // The timer is armed only when something has to be waited for.
    match tokio::time::timeout_at(deadline, export(door, rules, request, from, Some(deadline))).await {
        Ok(answer) => answer,
        Err(_) => grpc::failed(&expired()),
    }
}

fn expired() -> Status {
    Status::new(Code::DeadlineExceeded, "the client's deadline has passed")
}

async fn export(
    door: &Door,
    rules: &GrpcRules,
    request: Request<Incoming>,
    from: From<'_>,
    deadline: Option<Instant>,
) -> Response<AnswerBody> {
    match try_export(door, rules, request, from, deadline).await {
        Ok(answer) => answer,
        Err(status) => grpc::failed(&status),
    }
}

async fn try_export(
    door: &Door,
    rules: &GrpcRules,
    request: Request<Incoming>,
    from: From<'_>,
    deadline: Option<Instant>,
) -> Result<Response<AnswerBody>, Status> {
    let (head, body) = request.into_parts();
    let signal = signal_of(head.uri.path()).ok_or_else(|| Status::new(Code::Unimplemented, "unknown method"))?;
    let outlet = door.outlet(signal)?;
    let encoding = grpc::encoding(&head.headers)?;
    let message = grpc::read_message(body, encoding, &rules.limits).await?;
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Err(expired());
    }
    let offer = Offer {
        port: Port::Grpc,
        signal,
        form: Form::Protobuf,
        encoding: message.encoding,
        bytes: message.bytes,
        permit: message.permit,
        cap: rules.limits.cap,
        client: from.peer.address,
        identity: from.identity,
        headers: &head.headers,
        include_metadata: rules.include_metadata,
    };
    let taken = door.offer(outlet, offer).await?;
    Ok(grpc::ok(&answer::protobuf(signal, &taken)))
}

/// The service and method names of opentelemetry/proto/collector/*/v1.
fn signal_of(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        _ => None,
    }
}
