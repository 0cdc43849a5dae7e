//! How a stage says no.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tonic::Code;

/// Why data was not taken. Becomes a gRPC or HTTP status in one function of `net`.
///
/// A retryable refusal means: the caller still has the data and may offer it again. A permanent one means that offering
/// the same data again will never help.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What an operator can act on, lower case, without payload.
    pub message: Cow<'static, str>,
    /// How long to wait, where the refuser knows. Sent as `RetryInfo` or `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Offering it again will not help.
    pub permanent: bool,
    /// A status that the far end answered with: passes through to the client (OTLP specification, collector behaviour).
    pub code: Option<Code>,
}

impl Refused {
    /// A refusal that a later try may turn into success.
    pub fn retryable(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            retry_after: None,
            permanent: false,
            code: None,
        }
    }

    /// A refusal for good.
    pub fn permanent(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            permanent: true,
            ..Self::retryable(message)
        }
    }

    /// With a delay to wait before the next try.
    pub fn after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// With the status the far end gave.
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// The worse of two answers of a fan-out: permanent beats retryable, so that a client does not offer again what
    /// one exporter already took and another will never take.
    pub fn worse(self, other: Self) -> Self {
        if other.permanent && !self.permanent {
            other
        } else {
            self
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

/// Why items were lost: the closed set of `otelcol_dropped_items{reason}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    OverflowDropOldest,
    AgeCap,
    RetryLimit,
    PermanentError,
    TooLarge,
    Invalid,
    CorruptRecord,
    ShutdownDeadline,
    KernelUdp,
    Internal,
}

impl DropReason {
    /// Every reason, in the order of the accounting rule.
    pub const ALL: [DropReason; 10] = [
        DropReason::OverflowDropOldest,
        DropReason::AgeCap,
        DropReason::RetryLimit,
        DropReason::PermanentError,
        DropReason::TooLarge,
        DropReason::Invalid,
        DropReason::CorruptRecord,
        DropReason::ShutdownDeadline,
        DropReason::KernelUdp,
        DropReason::Internal,
    ];

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::OverflowDropOldest => "overflow_drop_oldest",
            DropReason::AgeCap => "age_cap",
            DropReason::RetryLimit => "retry_limit",
            DropReason::PermanentError => "permanent_error",
            DropReason::TooLarge => "too_large",
            DropReason::Invalid => "invalid",
            DropReason::CorruptRecord => "corrupt_record",
            DropReason::ShutdownDeadline => "shutdown_deadline",
            DropReason::KernelUdp => "kernel_udp",
            DropReason::Internal => "internal",
        }
    }
}
