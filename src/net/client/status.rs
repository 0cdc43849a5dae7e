//! What a far end answered, as a [`Refused`]: gRPC statuses, HTTP statuses, how long to wait, partial success.
//!
//! Sources: the OTLP specification ("Failures", "OTLP/gRPC Throttling", "Partial Success") and the Collector's otlp
//! exporters, whose choice of retryable codes is kept exactly.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, StatusCode};
use prost::Message;
use serde::Deserialize;
use tonic::Code;

use crate::component::{Refused, UnixNanos};

/// gRPC writes binary metadata without padding and must take both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
/// Bytes of a far end's text that are shown.
const LONGEST_TEXT: usize = 512;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<RpcAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcAny {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl RpcStatus {
    /// The delay of a `RetryInfo` among the details. One without a delay is "retry, at once".
    pub fn retry_after(&self) -> Option<Duration> {
        let detail = self.details.iter().find(|detail| detail.type_url == RETRY_INFO)?;
        let info = RetryInfo::decode(detail.value.as_slice()).ok()?;
        let delay = info.retry_delay.unwrap_or_default();
        let seconds = u64::try_from(delay.seconds).unwrap_or(0);
        let nanos = u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999);
        Some(Duration::new(seconds, nanos))
    }
}

/// The end of a gRPC call that did not go well, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcStatus {
    pub code: Code,
    pub message: String,
    /// From a `RetryInfo` in the details.
    pub retry_after: Option<Duration>,
}

impl GrpcStatus {
    /// A status made here, not by the peer.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// From `grpc-status`, `grpc-message` and `grpc-status-details-bin`; `None` where there is no status.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let code = Code::from_bytes(headers.get("grpc-status")?.as_bytes());
        let message = headers.get("grpc-message").map_or(Cow::Borrowed(""), |text| {
            percent_encoding::percent_decode(text.as_bytes()).decode_utf8_lossy()
        });
        let details = headers
            .get("grpc-status-details-bin")
            .and_then(|text| BASE64.decode(text.as_bytes()).ok())
            .and_then(|bytes| RpcStatus::decode(bytes.as_slice()).ok());
        Some(Self {
            code,
            message: message.into_owned(),
            retry_after: details.and_then(|details| details.retry_after()),
        })
    }

    /// For an HTTP answer without a gRPC status (a proxy, a web server): gRPC's own mapping.
    pub fn from_http(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        Self::new(code, format!("answered with HTTP status {status} and no gRPC status"))
    }

    /// The refusal an exporter gives. Retryable are the codes of the OTLP specification; ResourceExhausted only where
    /// the server says when to come back.
    pub fn into_refused(self, endpoint: &str) -> Refused {
        let retryable = match self.code {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => true,
            Code::ResourceExhausted => self.retry_after.is_some(),
            _ => false,
        };
        Refused {
            message: format!("{endpoint}: {:?}: {}", self.code, shortened(&self.message)).into(),
            retry_after: self.retry_after,
            permanent: !retryable,
            code: Some(self.code),
        }
    }
}

/// An HTTP answer that is no success.
pub struct HttpFailure<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    /// As far as it was read.
    pub body: &'a [u8],
    /// The clock's time, for a Retry-After with a date.
    pub now: UnixNanos,
}

impl HttpFailure<'_> {
    /// The refusal an exporter gives: 429, 502, 503 and 504 may be offered again, everything else not.
    pub fn into_refused(self, url: &str) -> Refused {
        let retryable = matches!(self.status.as_u16(), 429 | 502 | 503 | 504);
        let says_when = matches!(self.status.as_u16(), 429 | 503);
        // The Collector's mapping of HTTP statuses of a far end.
        let code = match self.status.as_u16() {
            400 => Code::InvalidArgument,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 => Code::ResourceExhausted,
            502..=504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        let text = self.text();
        let separator = if text.is_empty() { "" } else { ": " };
        Refused {
            message: format!("{url} answered with HTTP status {}{separator}{text}", self.status).into(),
            retry_after: if says_when {
                retry_after(self.headers, self.now)
            } else {
                None
            },
            permanent: !retryable,
            code: Some(code),
        }
    }

    /// The message of a `google.rpc.Status` in the body; other bodies are not shown, they may hold anything.
    fn text(&self) -> String {
        let content_type = self.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let message = if content_type.starts_with("application/x-protobuf") {
            RpcStatus::decode(self.body)
                .map(|status| status.message)
                .unwrap_or_default()
        } else if content_type.starts_with("application/json") {
            #[derive(Deserialize)]
            struct JsonStatus {
                message: String,
            }
            serde_json::from_slice::<JsonStatus>(self.body)
                .map(|status| status.message)
                .unwrap_or_default()
        } else {
            String::new()
        };
        shortened(&message).into_owned()
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3). A date in the past is "at once".
pub fn retry_after(headers: &HeaderMap, now: UnixNanos) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let at = u64::try_from(date.timestamp().as_nanosecond()).ok()?;
    Some(Duration::from_nanos(at.saturating_sub(now.0)))
}

/// What an accepting far end did not take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// Spans, data points or log records.
    pub rejected: u64,
    /// The far end's text; there may be one with nothing rejected: a warning.
    pub message: String,
}

#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<WirePartialSuccess>,
}

/// The three signals' messages differ only in the name of the first field.
#[derive(Clone, PartialEq, Message)]
struct WirePartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct JsonResponse {
    #[serde(alias = "partial_success")]
    partial_success: Option<JsonPartialSuccess>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct JsonPartialSuccess {
    #[serde(
        alias = "rejectedDataPoints",
        alias = "rejectedLogRecords",
        alias = "rejected_spans",
        alias = "rejected_data_points",
        alias = "rejected_log_records"
    )]
    rejected_spans: serde_json::Value,
    #[serde(alias = "error_message")]
    error_message: String,
}

impl PartialSuccess {
    /// From an Export response in protobuf; `None` where everything was taken or the bytes say nothing.
    pub fn from_protobuf(body: &[u8]) -> Option<Self> {
        let partial = ExportResponse::decode(body).ok()?.partial_success?;
        Self::unless_empty(partial.rejected, &partial.error_message)
    }

    /// The same from OTLP/JSON.
    pub fn from_json(body: &[u8]) -> Option<Self> {
        let partial = serde_json::from_slice::<JsonResponse>(body).ok()?.partial_success?;
        // 64-bit integers are strings in proto3 JSON; numbers are accepted.
        let rejected = match &partial.rejected_spans {
            serde_json::Value::String(text) => text.parse().unwrap_or(0),
            other => other.as_i64().unwrap_or(0),
        };
        Self::unless_empty(rejected, &partial.error_message)
    }

    fn unless_empty(rejected: i64, message: &str) -> Option<Self> {
        let rejected = u64::try_from(rejected).unwrap_or(0);
        if rejected == 0 && message.is_empty() {
            return None;
        }
        Some(Self {
            rejected,
            message: shortened(message).into_owned(),
        })
    }
}

fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST_TEXT) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
