//! What an answer of PutTraceSegments means for the documents of the call.

use aws_sdk_xray::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::aws::Failure;

/// Of a document that X-Ray did not process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unprocessed {
    /// As often as it takes.
    Retry,
    /// Nobody documents this code: a few times.
    RetryFew,
    /// It will never be taken.
    Drop,
}

/// By the document's error code.
pub(super) fn of_code(code: &str) -> Unprocessed {
    let lower = code.to_ascii_lowercase();
    let has = |part: &str| lower.contains(part);
    if has("throttl") || has("internal") || has("unavailable") || has("timeout") || has("limitexceeded") {
        Unprocessed::Retry
    } else if has("invalid") || has("missing") || has("toolarge") || has("malformed") || has("duplicate") {
        Unprocessed::Drop
    } else {
        Unprocessed::RetryFew
    }
}

/// Of a call that failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallFailed {
    /// Half of it may pass.
    TooLarge,
    /// Another try may help; nothing else should be sent now if `stop`.
    Later { message: String, stop: bool },
    /// The credentials must be read anew first.
    Credentials(String),
    /// Never.
    Permanent(String),
}

/// The kind of a record's backend error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Timeout,
    ConnectionRefused,
    Status4xx,
    Status5xx,
    UnknownHost,
    Other,
}

/// Reads the SDK's error.
pub(super) fn of_call<E>(error: &SdkError<E, HttpResponse>) -> (CallFailed, Backend)
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let failure = Failure::of("xray:PutTraceSegments", error);
    let message = failure.to_string();
    let backend = match (&failure, status) {
        (Failure::Timeout, _) => Backend::Timeout,
        (Failure::Unreachable(text), _) if text.contains("refused") => Backend::ConnectionRefused,
        (Failure::Unreachable(text), _)
            if text.contains("dns") || text.contains("resolve") || text.contains("lookup") =>
        {
            Backend::UnknownHost
        }
        (_, Some(400..=499)) => Backend::Status4xx,
        (_, Some(500..=599)) => Backend::Status5xx,
        _ => Backend::Other,
    };
    let failed = match (status, failure) {
        (Some(413), _) => CallFailed::TooLarge,
        (Some(408), _) => CallFailed::Later { message, stop: false },
        (_, Failure::Expired | Failure::NoCredentials(_)) => CallFailed::Credentials(message),
        (_, Failure::Throttled { .. } | Failure::Unreachable(_)) => CallFailed::Later { message, stop: true },
        (_, failure) if failure.is_transient() => CallFailed::Later { message, stop: false },
        _ => CallFailed::Permanent(message),
    };
    (failed, backend)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn codes_are_retried_dropped_or_tried_a_few_times() {
        for (code, verdict) in [
            ("ThrottledException", Unprocessed::Retry),
            ("InternalFailure", Unprocessed::Retry),
            ("ServiceUnavailable", Unprocessed::Retry),
            ("InvalidName", Unprocessed::Drop),
            ("MissingParameter", Unprocessed::Drop),
            ("SomethingNew", Unprocessed::RetryFew),
            ("", Unprocessed::RetryFew),
        ] {
            assert_eq!(of_code(code), verdict, "{code}");
        }
    }
}
