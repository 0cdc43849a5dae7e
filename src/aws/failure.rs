//! Why an AWS call failed, in the few kinds that callers treat differently.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("throttled by AWS ({code})")]
    Throttled { code: String },
    /// The action that the credentials do not allow.
    #[error("not allowed to call {action}: {message}")]
    Denied { action: String, message: String },
    #[error("credentials have expired")]
    Expired,
    #[error("no credentials: {0}")]
    NoCredentials(String),
    #[error("no answer in time")]
    Timeout,
    #[error("AWS cannot be reached: {0}")]
    Unreachable(String),
    #[error("AWS failed with status {status}: {code}")]
    Server { status: u16, code: String },
    #[error("the page token is no longer valid")]
    InvalidToken,
    #[error("refused by AWS: {code}: {message}")]
    Refused { code: String, message: String },
}

impl Failure {
    /// The `outcome` label of `aws_api_requests_total`.
    pub fn outcome(&self) -> &'static str {
        match self {
            Failure::Throttled { .. } => "throttled",
            Failure::Denied { .. } => "denied",
            _ => "error",
        }
    }

    /// Whether trying the same again shortly can help.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Failure::Throttled { .. } | Failure::Timeout | Failure::Unreachable(_) | Failure::Server { .. }
        )
    }

    /// Whether every other call with these credentials would fail the same way.
    pub fn ends_the_round(&self) -> bool {
        matches!(
            self,
            Failure::Denied { .. } | Failure::Expired | Failure::NoCredentials(_)
        )
    }

    /// Reads the SDK's error of one `action`, e.g. `cloudwatch:GetMetricData`.
    pub fn of<E>(action: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::TimeoutError(_) => Failure::Timeout,
            SdkError::DispatchFailure(failure) => {
                let source = failure.as_connector_error();
                let text = source.map_or_else(|| "dispatch failure".to_owned(), |error| chain(error));
                match source {
                    Some(error) if is_credentials(error) => Failure::NoCredentials(text),
                    Some(error) if error.is_timeout() => Failure::Timeout,
                    _ => Failure::Unreachable(text),
                }
            }
            SdkError::ResponseError(response) => Failure::Server {
                status: response.raw().status().as_u16(),
                code: "unreadable answer".to_owned(),
            },
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                let code = service.err().code().unwrap_or_default();
                let message = service.err().message().unwrap_or_default();
                Self::of_service(action, status, code, message)
            }
            other => {
                let text = chain(other);
                if is_credentials(other) {
                    Failure::NoCredentials(text)
                } else {
                    Failure::Unreachable(text)
                }
            }
        }
    }

    fn of_service(action: &str, status: u16, code: &str, message: &str) -> Self {
        let code = code.to_owned();
        match code.as_str() {
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "ProvisionedThroughputExceededException"
            | "SlowDown" => Failure::Throttled { code },
            _ if status == 429 => Failure::Throttled { code },
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => Failure::Expired,
            "InvalidNextToken" => Failure::InvalidToken,
            "AccessDenied"
            | "AccessDeniedException"
            | "UnauthorizedOperation"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch" => Failure::Denied {
                action: action.to_owned(),
                message: message.to_owned(),
            },
            _ if status == 403 => Failure::Denied {
                action: action.to_owned(),
                message: format!("{code}: {message}"),
            },
            _ if status >= 500 => Failure::Server { status, code },
            // An answer that was a success and could not be read (cut off on the way).
            _ if status < 300 => Failure::Server {
                status,
                code: "unreadable answer".to_owned(),
            },
            _ => Failure::Refused {
                code,
                message: message.to_owned(),
            },
        }
    }
}

/// The messages of an error and its causes: the outermost alone says only "dispatch failure".
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

fn is_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<CredentialsError>().is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_throttle_is_a_throttle() {
        for code in [
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "ProvisionedThroughputExceededException",
        ] {
            assert_eq!(Failure::of_service("a:B", 400, code, "").outcome(), "throttled");
        }
        assert_eq!(Failure::of_service("a:B", 429, "Whatever", "").outcome(), "throttled");
        assert_eq!(Failure::of_service("a:B", 503, "SlowDown", "").outcome(), "throttled");
        assert!(matches!(
            Failure::of_service("a:B", 503, "ServiceUnavailable", ""),
            Failure::Server { .. }
        ));
    }
}
