//! From a refusal to the status a client sees: gRPC codes, HTTP codes, delays, and both forms of `google.rpc.Status`.
//!
//! [`Status::of`] is the one place where a [`Refused`] becomes a status (collector behaviour, section 5.1).

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;
use tonic::Code;

use super::server::body::AnswerBody;
use crate::component::Refused;

/// Longer texts are cut: no error echoes a payload.
const LONGEST_MESSAGE: usize = 256;

/// What a client is told to wait where nobody knows better.
const DEFAULT_DELAY: Duration = Duration::from_secs(1);

/// What `grpc-message` must escape: everything but printable ASCII, and the percent sign.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// How an OTLP/HTTP body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Protobuf,
    Json,
}

impl Format {
    /// The content type of answers.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Format::Protobuf => "application/x-protobuf",
            Format::Json => "application/json",
        })
    }
}

/// What a client is told when something was not taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub code: Code,
    pub http: StatusCode,
    pub message: Cow<'static, str>,
    /// RetryInfo or Retry-After.
    pub retry_after: Option<Duration>,
    /// `WWW-Authenticate`: how the client can prove who it is.
    pub challenge: Option<HeaderValue>,
}

impl Status {
    /// The status of a refusal. A code that the far end gave passes through.
    pub fn of(refused: &Refused) -> Self {
        let code = match refused.code {
            // `Ok` on a refusal can only be a fault of who made it.
            Some(Code::Ok) | None if refused.permanent => Code::Internal,
            Some(Code::Ok) | None => Code::Unavailable,
            Some(code) => code,
        };
        // Refusals of our own (memory, queue) always say when to come back; a far end's answer passes as it is. But
        // RESOURCE_EXHAUSTED without a delay is final to a gRPC client (OTLP specification, "Throttling"), so one that
        // may be offered again, an HTTP 429 for instance, needs a delay.
        let ours = refused.code.is_none();
        let needs_delay = !refused.permanent && (ours || code == Code::ResourceExhausted);
        Self {
            code,
            http: http_code(code),
            message: refused.message.clone(),
            retry_after: refused.retry_after.or(needs_delay.then_some(DEFAULT_DELAY)),
            challenge: None,
        }
    }

    /// A status without delay, its HTTP code by the table.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            http: http_code(code),
            message: message.into(),
            retry_after: None,
            challenge: None,
        }
    }

    /// The request is bad and stays bad.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Over a limit for good: RESOURCE_EXHAUSTED without RetryInfo, 413.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ResourceExhausted, message).with_http(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// The memory budget refused; the client may come back.
    pub fn no_memory() -> Self {
        Self::unavailable("data refused due to high memory usage")
    }

    /// Not now: the client may come back.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            retry_after: Some(DEFAULT_DELAY),
            ..Self::new(Code::Unavailable, message)
        }
    }

    /// With a challenge to prove who the client is (RFC 9110, 11.6.1).
    pub fn with_challenge(mut self, challenge: Option<HeaderValue>) -> Self {
        self.challenge = challenge;
        self
    }

    /// With another HTTP code than the table's.
    pub fn with_http(mut self, http: StatusCode) -> Self {
        self.http = http;
        self
    }

    /// The text, cut to what clients and logs get.
    pub fn shown(&self) -> &str {
        &self.message[..self.message.floor_char_boundary(LONGEST_MESSAGE)]
    }

    /// A gRPC answer of headers only (gRPC over HTTP/2: Trailers-Only).
    pub fn to_grpc(&self) -> Response<AnswerBody> {
        let mut answer = Response::new(AnswerBody::empty());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.put_grpc(headers);
        answer
    }

    fn put_grpc(&self, headers: &mut HeaderMap) {
        headers.insert("grpc-status", HeaderValue::from(self.code as i32));
        let message = utf8_percent_encode(self.shown(), GRPC_MESSAGE).to_string();
        if let Ok(message) = HeaderValue::try_from(message) {
            headers.insert("grpc-message", message);
        }
        if self.retry_after.is_some() {
            let details = STANDARD_NO_PAD.encode(self.to_protobuf());
            if let Ok(details) = HeaderValue::try_from(details) {
                headers.insert("grpc-status-details-bin", details);
            }
        }
    }

    /// An HTTP answer whose body is a `google.rpc.Status`.
    pub fn to_http(&self, format: Format) -> Response<AnswerBody> {
        let body = match format {
            Format::Protobuf => self.to_protobuf(),
            Format::Json => self.to_json(),
        };
        let mut answer = Response::new(AnswerBody::full(body));
        *answer.status_mut() = self.http;
        answer.headers_mut().insert(CONTENT_TYPE, format.content_type());
        if let Some(challenge) = &self.challenge {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        answer
    }

    /// `google.rpc.Status` with a RetryInfo where there is a delay.
    pub fn to_protobuf(&self) -> Bytes {
        let details = self.retry_after.map(|delay| {
            let info = RetryInfo {
                retry_delay: prost_types::Duration::try_from(delay).ok(),
            };
            prost_types::Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: info.encode_to_vec(),
            }
        });
        let status = RpcStatus {
            code: self.code as i32,
            message: self.shown().to_owned(),
            details: details.into_iter().collect(),
        };
        status.encode_to_vec().into()
    }

    fn to_json(&self) -> Bytes {
        let mut status = serde_json::json!({ "code": self.code as i32, "message": self.shown() });
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_secs_f64();
            status["details"] = serde_json::json!([{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{seconds}s"),
            }]);
        }
        status.to_string().into()
    }
}

/// The HTTP code of a gRPC code (collector behaviour, section 5.1).
fn http_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => StatusCode::SERVICE_UNAVAILABLE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unimplemented => StatusCode::NOT_FOUND,
        Code::Unknown | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// google/rpc/status.proto
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// google/rpc/error_details.proto
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_code_is_internal_or_unavailable() {
        let permanent = Status::of(&Refused::permanent("bad"));
        assert_eq!(
            (permanent.code, permanent.http.as_u16(), permanent.retry_after),
            (Code::Internal, 500, None)
        );
        let full = Status::of(&Refused::retryable("sending queue is full"));
        assert_eq!((full.code, full.http.as_u16()), (Code::Unavailable, 503));
        assert!(full.retry_after.is_some(), "our own refusals say when to come back");
    }

    #[test]
    fn every_code_of_a_far_end_passes_through_with_the_collectors_http_code() {
        let table = [
            (Code::Cancelled, 503),
            (Code::Unknown, 500),
            (Code::InvalidArgument, 400),
            (Code::DeadlineExceeded, 503),
            (Code::NotFound, 500),
            (Code::AlreadyExists, 500),
            (Code::PermissionDenied, 403),
            (Code::ResourceExhausted, 429),
            (Code::FailedPrecondition, 500),
            (Code::Aborted, 503),
            (Code::OutOfRange, 503),
            (Code::Unimplemented, 404),
            (Code::Internal, 500),
            (Code::Unavailable, 503),
            (Code::DataLoss, 503),
            (Code::Unauthenticated, 401),
        ];
        for (code, http) in table {
            let status = Status::of(&Refused::permanent("x").with_code(code));
            assert_eq!(
                (status.code, status.http.as_u16(), status.retry_after),
                (code, http, None)
            );
        }
    }

    #[test]
    fn a_delay_is_told_in_every_form() {
        let status = Status::of(&Refused::retryable("busy").after(Duration::from_millis(1500)));
        let http = status.to_http(Format::Json);
        assert_eq!(http.headers()["retry-after"], "2");
        let json = String::from_utf8(status.to_json().to_vec()).unwrap();
        assert!(json.contains(r#""retryDelay":"1.5s""#), "{json}");
        let grpc = status.to_grpc();
        let details = STANDARD_NO_PAD
            .decode(&grpc.headers()["grpc-status-details-bin"])
            .unwrap();
        let decoded = RpcStatus::decode(&details[..]).unwrap();
        assert_eq!((decoded.code, decoded.message.as_str()), (14, "busy"));
        let info = RetryInfo::decode(&decoded.details[0].value[..]).unwrap();
        let delay = info.retry_delay.unwrap();
        assert_eq!((delay.seconds, delay.nanos), (1, 500_000_000));
    }

    #[test]
    fn without_a_delay_there_is_no_retry_info() {
        let status = Status::too_large("too large");
        assert!(!status.to_grpc().headers().contains_key("grpc-status-details-bin"));
        assert!(!status.to_http(Format::Protobuf).headers().contains_key("retry-after"));
        assert_eq!(status.http.as_u16(), 413);
    }

    #[test]
    fn messages_are_cut_between_characters_and_escaped() {
        let status = Status::invalid("ü%\n".to_owned() + &"é".repeat(500));
        assert!(status.shown().len() <= LONGEST_MESSAGE);
        let grpc = status.to_grpc();
        assert!(
            grpc.headers()["grpc-message"]
                .to_str()
                .unwrap()
                .starts_with("%C3%BC%25%0A%C3%A9")
        );
    }
}
