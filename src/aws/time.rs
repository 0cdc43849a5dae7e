//! The time of AWS: the machine's, corrected by the `Date` of answers. A machine whose clock is wrong would ask for
//! minutes that are not there yet, settle values too early, and have its signatures refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;

use crate::component::Clock;

/// Dates are whole seconds and were written a moment ago: less than this is no difference.
const TOLERANCE_S: i64 = 2;

/// The machine's clock and by how much it is wrong.
pub struct ServerTime {
    clock: Arc<dyn Clock>,
    /// Seconds by which the server is ahead.
    ahead: AtomicI64,
}

impl ServerTime {
    /// The machine's until an answer has come.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            ahead: AtomicI64::new(0),
        }
    }

    /// Now.
    pub fn since_epoch(&self) -> Duration {
        let own = Duration::from_nanos(self.clock.now().0);
        let ahead = self.ahead.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead >= 0 {
            own.saturating_add(by)
        } else {
            own.saturating_sub(by)
        }
    }

    /// Takes the `Date` of an answer.
    fn heard(&self, date: &str) {
        let Ok(date) = DateTime::from_str(date, Format::HttpDate) else {
            return;
        };
        let own = i64::try_from(self.clock.now().seconds()).unwrap_or(i64::MAX);
        let ahead = date.secs().saturating_sub(own);
        let ahead = if ahead.abs() <= TOLERANCE_S { 0 } else { ahead };
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        if before.abs_diff(ahead) > 30 {
            tracing::warn!(
                seconds = ahead,
                "this machine's clock differs from that of AWS; AWS' time is used"
            );
        }
    }

    /// Reads the dates of a client's answers.
    pub fn reader(self: &Arc<Self>) -> DateReader {
        DateReader(Arc::clone(self))
    }
}

/// The part of a client that reads the dates.
pub struct DateReader(Arc<ServerTime>);

impl std::fmt::Debug for DateReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DateReader")
    }
}

impl Intercept for DateReader {
    fn name(&self) -> &'static str {
        "DateReader"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.0.heard(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{BoxFuture, UnixNanos};

    struct Still;

    impl Clock for Still {
        fn now(&self) -> UnixNanos {
            UnixNanos::from_seconds(1_767_225_600)
        }

        fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[test]
    fn follows_the_date_of_answers_but_for_a_moment() {
        let time = ServerTime::new(Arc::new(Still));
        let now = |time: &ServerTime| time.since_epoch().as_secs();
        for (date, expected) in [
            ("Thu, 01 Jan 2026 00:00:01 GMT", 1_767_225_600),
            ("Thu, 01 Jan 2026 00:10:00 GMT", 1_767_226_200),
            ("nonsense", 1_767_226_200),
            ("Wed, 31 Dec 2025 23:00:00 GMT", 1_767_222_000),
            ("Thu, 01 Jan 2026 00:00:00 GMT", 1_767_225_600),
        ] {
            time.heard(date);
            assert_eq!(now(&time), expected, "{date}");
        }
    }
}
