//! OTLP/HTTP: routing, content negotiation, CORS, and answers in the request's own form.

use ::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, ORIGIN};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tonic::Code;

use super::answer;
use super::door::{Door, Form, Offer};
use super::listener::{HttpRules, Port};
use crate::component::{Incident, IncidentKind};
use crate::net::codec::Encoding;
use crate::net::server::body::{AnswerBody, discard, read_all};
use crate::net::server::{Cors, Gate, Peer, Verdict};
use crate::net::status::{Format, Status};
use crate::pdata::Signal;

/// Longer request targets are refused (reliability contract, section 4).
const LONGEST_URI: usize = 8 << 10;

/// What a request's content type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentType {
    Protobuf,
    Json,
    /// What `navigator.sendBeacon` sends: JSON if it comes from an allowed page.
    Text,
    Other,
}

/// Answers one request.
pub(super) async fn serve(
    door: &Door,
    rules: &HttpRules,
    gate: &Gate,
    request: Request<Incoming>,
    peer: &Peer,
) -> Response<AnswerBody> {
    let (head, mut body) = request.into_parts();
    let cors = rules.group.cors.as_ref();
    let verdict = cors.map_or(Verdict::NotCrossOrigin, |cors| cors.judge(&head));
    if verdict == Verdict::Foreign {
        tell_of_stranger(door, &head.headers);
    }
    let content_type = content_type(&head.headers);
    let mut answer = match cors.filter(|_| Cors::is_preflight(&head)) {
        Some(cors) => {
            let mut answer = Response::new(AnswerBody::empty());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            cors.put_preflight(&verdict, &head.headers, answer.headers_mut());
            answer
        }
        None => {
            let post = Post {
                head: &head,
                content_type,
                verdict: &verdict,
                peer,
                gate,
            };
            match export(door, rules, &post, &mut body).await {
                Ok(answer) => answer,
                Err(failure) => {
                    discard_rest(&head, body).await;
                    failure.answer(content_type)
                }
            }
        }
    };
    if let Some(cors) = cors.filter(|_| !Cors::is_preflight(&head)) {
        cors.put(&verdict, answer.headers_mut());
    }
    for (name, value) in &rules.group.response_headers {
        answer.headers_mut().insert(name.clone(), value.clone());
    }
    answer
}

/// A status, and whether it is about the method.
struct Failure {
    status: Status,
    allow: bool,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status, allow: false }
    }
}

impl Failure {
    /// In the request's encoding where that is one of OTLP's, else in JSON, which people can read.
    fn answer(&self, content_type: ContentType) -> Response<AnswerBody> {
        let format = if content_type == ContentType::Protobuf {
            Format::Protobuf
        } else {
            Format::Json
        };
        let mut answer = self.status.to_http(format);
        if self.allow {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        answer
    }
}

/// A request before its body is read.
struct Post<'a> {
    head: &'a Parts,
    content_type: ContentType,
    verdict: &'a Verdict,
    peer: &'a Peer,
    gate: &'a Gate,
}

async fn export(
    door: &Door,
    rules: &HttpRules,
    post: &Post<'_>,
    body: &mut Incoming,
) -> Result<Response<AnswerBody>, Failure> {
    let Post {
        head,
        content_type,
        verdict,
        peer,
        gate,
    } = *post;
    // Before anything that a stranger could learn from.
    let identity = gate.admit(&head.headers, peer).await?;
    if head
        .uri
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > LONGEST_URI)
    {
        let status = Status::invalid("the request's URI is too long").with_http(StatusCode::URI_TOO_LONG);
        return Err(status.into());
    }
    let signal = rules
        .paths
        .signal(head.uri.path())
        .ok_or_else(|| not_found(rules, head.uri.path()))?;
    if head.method != Method::POST {
        let text = "OTLP is sent with POST";
        return Err(Failure {
            status: Status::new(Code::Unimplemented, text).with_http(StatusCode::METHOD_NOT_ALLOWED),
            allow: true,
        });
    }
    if *verdict == Verdict::Foreign {
        let text = "pages of this origin may not send here; add it to `cors::allowed_origins` of the receiver";
        return Err(Status::new(Code::PermissionDenied, text).into());
    }
    let outlet = door.outlet(signal)?;
    let form = form_of(content_type, verdict)?;
    let encoding = content_encoding(&head.headers, &rules.group.encodings)?;
    let declared = body.size_hint().exact();
    let (bytes, permit) = read_all(&mut *body, declared, &rules.limits).await?;
    let offer = Offer {
        port: Port::Http,
        signal,
        form,
        encoding,
        bytes,
        permit,
        cap: rules.limits.cap,
        client: peer.address,
        identity,
        headers: &head.headers,
        include_metadata: rules.group.include_metadata,
    };
    let taken = match door.offer(outlet, offer).await {
        Err(status) if content_type == ContentType::Text && status.code == Code::InvalidArgument => {
            return Err(status.with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
        }
        taken => taken?,
    };
    let (format, body) = match form {
        Form::Protobuf => (Format::Protobuf, answer::protobuf(signal, &taken)),
        Form::Json => (Format::Json, answer::json(signal, &taken)),
    };
    let mut answer = Response::new(AnswerBody::full(body));
    answer.headers_mut().insert(CONTENT_TYPE, format.content_type());
    Ok(answer)
}

/// For whoever wonders why a page's data does not come.
fn tell_of_stranger(door: &Door, headers: &HeaderMap) {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.unwrap_or("an origin that is no text");
    door.incidents.tell(|| Incident {
        kind: IncidentKind::ForeignOrigin,
        subject: origin.to_owned(),
        text: format!("a page of {origin} may not send here"),
        items: 1,
    });
}

/// A client of HTTP/1 that is still sending sees our answer only if we read on for a while: closing a socket with
/// unread bytes resets it. HTTP/2 resets just the stream, and who expects a 100 has not begun to send.
async fn discard_rest(head: &Parts, body: Incoming) {
    if head.version < Version::HTTP_2 && !head.headers.contains_key(EXPECT) && !body.is_end_stream() {
        discard(body).await;
    }
}

fn content_type(headers: &HeaderMap) -> ContentType {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    if is("application/x-protobuf") || is("application/protobuf") {
        ContentType::Protobuf
    } else if is("application/json") {
        ContentType::Json
    } else if is("text/plain") {
        ContentType::Text
    } else {
        ContentType::Other
    }
}

fn form_of(content_type: ContentType, verdict: &Verdict) -> Result<Form, Status> {
    match content_type {
        ContentType::Protobuf => Ok(Form::Protobuf),
        ContentType::Json => Ok(Form::Json),
        ContentType::Text if matches!(verdict, Verdict::Allowed(_)) => Ok(Form::Json),
        ContentType::Text | ContentType::Other => {
            let text = "unsupported content-type; send application/x-protobuf or application/json";
            Err(Status::invalid(text).with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
    }
}

fn content_encoding(headers: &HeaderMap, enabled: &[Encoding]) -> Result<Encoding, Status> {
    let Some(value) = headers.get(CONTENT_ENCODING) else {
        return Ok(Encoding::Identity);
    };
    let named = value.to_str().ok().and_then(Encoding::named);
    named.filter(|encoding| enabled.contains(encoding)).ok_or_else(|| {
        let names: Vec<&str> = enabled.iter().map(|encoding| encoding.name()).collect();
        let text = format!("unsupported content-encoding; send one of {}", names.join(", "));
        Status::invalid(text).with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    })
}

/// 404, naming the right path where the wrong one tells what was meant.
fn not_found(rules: &HttpRules, path: &str) -> Status {
    let paths = &rules.paths;
    let lower = path.to_ascii_lowercase();
    let meant = if lower.contains("trace") || lower.contains("span") {
        Some(Signal::Traces)
    } else if lower.contains("metric") {
        Some(Signal::Metrics)
    } else if lower.contains("log") {
        Some(Signal::Logs)
    } else {
        None
    };
    let text = match meant {
        Some(signal) => format!("not found; {signal} are taken at {}", paths.of(signal)),
        None => format!(
            "not found; OTLP is taken at {}, {} and {}. SDKs append these paths to OTEL_EXPORTER_OTLP_ENDPOINT; an \
             endpoint set in code is used as it is and needs the whole path",
            paths.of(Signal::Traces),
            paths.of(Signal::Metrics),
            paths.of(Signal::Logs),
        ),
    };
    Status::new(Code::Unimplemented, text)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn content_types_are_told_with_parameters_and_in_any_case() {
        for (text, told) in [
            ("application/x-protobuf", ContentType::Protobuf),
            ("application/protobuf", ContentType::Protobuf),
            ("Application/JSON; charset=utf-8", ContentType::Json),
            ("text/plain;charset=UTF-8", ContentType::Text),
            ("application/jsonl", ContentType::Other),
            ("", ContentType::Other),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            assert_eq!(content_type(&headers), told, "{text}");
        }
        assert_eq!(content_type(&HeaderMap::new()), ContentType::Other);
    }
}
