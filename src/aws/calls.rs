//! One account and region's calls of one API: through the bucket, classified, counted.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::time::Instant;

use super::Failure;
use super::rate::{Bucket, Limits};
use crate::component::{Clock, Counter, Gauge, Histogram, Instruments, SystemClock};

const SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Sends the calls of one API.
pub struct Calls {
    /// The IAM action, e.g. `cloudwatch:GetMetricData`.
    action: &'static str,
    bucket: Arc<Bucket>,
    clock: Arc<dyn Clock>,
    outcomes: [(&'static str, Counter); 4],
    duration: Histogram,
    /// Made with the first answer.
    answered: OnceLock<Gauge>,
    instruments: Instruments,
    /// API, account, region.
    place: (&'static str, String, String),
}

impl Calls {
    /// For `api` (the operation's name) in one account and region, with a rate of its own.
    pub fn new(
        api: &'static str,
        action: &'static str,
        limits: Limits,
        clock: Arc<dyn Clock>,
        instruments: &Instruments,
        place: (&str, &str),
    ) -> Self {
        let bucket = Arc::new(Bucket::new(limits, clock.now()));
        Self::through(bucket, (api, action), clock, instruments, place)
    }

    /// The same through a bucket that others use too. `names`: the operation's, and the IAM action's.
    pub fn through(
        bucket: Arc<Bucket>,
        names: (&'static str, &'static str),
        clock: Arc<dyn Clock>,
        instruments: &Instruments,
        place: (&str, &str),
    ) -> Self {
        let (api, action) = names;
        let (account, region) = place;
        let counter = |outcome| {
            let labels = [
                ("api", api),
                ("account", account),
                ("region", region),
                ("outcome", outcome),
            ];
            (
                outcome,
                instruments.counter("aws_api_requests_total", "Calls of AWS APIs.", &labels),
            )
        };
        let labels = [("api", api), ("account", account), ("region", region)];
        let duration = instruments.histogram("aws_api_duration_seconds", "Time AWS took to answer.", &labels, SECONDS);
        let observed = Arc::clone(&bucket);
        instruments.observe(
            "aws_api_rate_limit",
            "Requests per second allowed now.",
            &labels,
            move || observed.rate(),
        );
        Self {
            action,
            bucket,
            clock,
            outcomes: ["ok", "throttled", "error", "denied"].map(counter),
            duration,
            answered: OnceLock::new(),
            instruments: instruments.clone(),
            place: (api, account.to_owned(), region.to_owned()),
        }
    }

    /// Requests per second allowed now.
    pub fn rate(&self) -> f64 {
        self.bucket.rate()
    }

    /// Waits for its turn, sends, and says what became of it.
    ///
    /// # Errors
    /// The classified failure; a throttle has already slowed the bucket down.
    pub async fn send<T, E, F>(&self, call: impl FnOnce() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.bucket.take(self.clock.as_ref()).await;
        let began = Instant::now();
        let result = call().await;
        self.duration.record(began.elapsed().as_secs_f64());
        let result = result.map_err(|error| Failure::of(self.action, &error));
        let outcome = result.as_ref().map_or_else(Failure::outcome, |_| "ok");
        if outcome == "throttled" {
            self.bucket.throttled(self.clock.now());
        }
        if let Some((_, counter)) = self.outcomes.iter().find(|(name, _)| *name == outcome) {
            counter.add(1);
        }
        if outcome == "ok" {
            self.note_answer();
        }
        result
    }

    /// By the machine's clock: it says how old what is known is. There is no such figure before the first answer.
    fn note_answer(&self) {
        let gauge = self.answered.get_or_init(|| {
            let (api, account, region) = &self.place;
            let labels = [
                ("api", *api),
                ("account", account.as_str()),
                ("region", region.as_str()),
            ];
            let name = "aws_api_last_success_timestamp_seconds";
            self.instruments
                .gauge(name, "When AWS last answered a call, unix time.", &labels)
        });
        gauge.set(SystemClock.now().0 as f64 / 1e9);
    }
}
