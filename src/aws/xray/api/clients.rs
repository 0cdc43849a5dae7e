//! The SDK client of one account and region: one bucket for all its calls, counted, and the service's own time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_config::SdkConfig;
use aws_sdk_xray::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_xray::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_xray::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::aws::json::{JsonClient, Service};
use crate::aws::rate::{Limits, Rates};
use crate::aws::{Access, Calls, Failure};
use crate::component::{BuildContext, Clock, Counter};

/// Differences below this are the service's whole seconds, and the way.
const TOLERANCE_S: i64 = 2;

/// How far the service's clock is ahead of ours, seconds.
#[derive(Debug, Default)]
pub struct Ahead(AtomicI64);

/// Reads the `Date` of every answer.
struct Dates {
    ahead: Arc<Ahead>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Dates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dates")
    }
}

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "Dates"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), aws_smithy_runtime_api::box_error::BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        if let Some(date) = date {
            let ours = self.clock.now().seconds() as i64;
            let ahead = date.as_second().saturating_sub(ours);
            let ahead = if ahead.abs() <= TOLERANCE_S { 0 } else { ahead };
            self.ahead.0.store(ahead, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// One operation: its calls and how they ended.
pub struct Operation {
    calls: Calls,
    counters: [(&'static str, Counter); 4],
}

impl Operation {
    /// Sends one call through the bucket.
    ///
    /// # Errors
    /// The classified failure.
    pub async fn send<T, E, F>(&self, call: impl FnOnce() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let result = self.calls.send(call).await;
        let outcome = result.as_ref().map_or_else(Failure::outcome, |_| "ok");
        if let Some((_, counter)) = self.counters.iter().find(|(name, _)| *name == outcome) {
            counter.add(1);
        }
        result
    }
}

/// Everything that is asked of X-Ray in one account and region.
pub struct Clients {
    pub xray: aws_sdk_xray::Client,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub logs: JsonClient,
    pub summaries: Operation,
    pub traces: Operation,
    pub destination: Operation,
    pub indexing: Operation,
    pub start_retrieval: Operation,
    pub list_retrieved: Operation,
    pub cancel_retrieval: Operation,
    pub graph: Operation,
    pub rules: Operation,
    pub statistics: Operation,
    /// GetMetricData.
    pub processed: Operation,
    /// FilterLogEvents.
    pub events: Operation,
    ahead: Arc<Ahead>,
    clock: Arc<dyn Clock>,
}

/// How calls are counted: by whom, and where.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The counter of calls, with the labels `region`, `op` and `outcome`.
    pub calls: &'static str,
    /// As a label; empty: our own.
    pub account: &'a str,
    pub region: &'a str,
}

impl Clients {
    /// All who ask the same account and region draw from one bucket.
    pub fn new(access: &Access, config: &SdkConfig, names: Names<'_>, limits: Limits, context: &BuildContext) -> Self {
        let place = (names.account, names.region);
        let rates: Arc<Rates> = context.commons.get();
        let bucket = |api, limits| rates.bucket(place, api, limits, context.clock.now());
        let xrays = bucket("xray", limits);
        let through = |bucket: &Arc<crate::aws::rate::Bucket>, api: &'static str, action: &'static str| {
            let clock = Arc::clone(&context.clock);
            let calls = Calls::through(Arc::clone(bucket), (api, action), clock, &context.instruments, place);
            let counter = |outcome| {
                let labels = [("region", names.region), ("op", api), ("outcome", outcome)];
                let help = "Calls of the X-Ray API, and of what is asked beside it.";
                (outcome, context.instruments.counter(names.calls, help, &labels))
            };
            Operation {
                calls,
                counters: ["ok", "throttled", "error", "denied"].map(counter),
            }
        };
        let operation = |api, action| through(&xrays, api, action);
        let ahead = Arc::new(Ahead::default());
        Self {
            xray: client(access, config, &ahead, &context.clock),
            cloudwatch: access.cloudwatch(config),
            logs: access.json(config, Service::Logs),
            processed: through(
                &bucket("GetMetricData of X-Ray", Limits::GET_METRIC_DATA),
                "GetMetricData",
                "cloudwatch:GetMetricData",
            ),
            events: through(
                &bucket("FilterLogEvents", Limits::FILTER_LOG_EVENTS),
                "FilterLogEvents",
                "logs:FilterLogEvents",
            ),
            summaries: operation("GetTraceSummaries", "xray:GetTraceSummaries"),
            traces: operation("BatchGetTraces", "xray:BatchGetTraces"),
            destination: operation("GetTraceSegmentDestination", "xray:GetTraceSegmentDestination"),
            indexing: operation("GetIndexingRules", "xray:GetIndexingRules"),
            start_retrieval: operation("StartTraceRetrieval", "xray:StartTraceRetrieval"),
            list_retrieved: operation("ListRetrievedTraces", "xray:ListRetrievedTraces"),
            cancel_retrieval: operation("CancelTraceRetrieval", "xray:CancelTraceRetrieval"),
            graph: operation("GetServiceGraph", "xray:GetServiceGraph"),
            rules: operation("GetSamplingRules", "xray:GetSamplingRules"),
            statistics: operation("GetSamplingStatisticSummaries", "xray:GetSamplingStatisticSummaries"),
            ahead,
            clock: Arc::clone(&context.clock),
        }
    }

    /// Other credentials, the same rates and counts.
    pub fn renew(&mut self, access: &Access, config: &SdkConfig) {
        self.xray = client(access, config, &self.ahead, &self.clock);
        self.cloudwatch = access.cloudwatch(config);
        self.logs = access.json(config, Service::Logs);
    }

    /// How far the service's clock is ahead of ours, seconds.
    pub fn ahead(&self) -> i64 {
        self.ahead.0.load(Ordering::Relaxed)
    }

    /// The service's time, unix seconds.
    pub fn now(&self) -> u64 {
        let ours = self.clock.now().seconds();
        ours.saturating_add_signed(self.ahead.0.load(Ordering::Relaxed))
    }
}

/// A client that reads the service's time.
fn client(access: &Access, config: &SdkConfig, ahead: &Arc<Ahead>, clock: &Arc<dyn Clock>) -> aws_sdk_xray::Client {
    let dates = Dates {
        ahead: Arc::clone(ahead),
        clock: Arc::clone(clock),
    };
    let config = access.xray(config).interceptor(dates).build();
    aws_sdk_xray::Client::from_conf(config)
}
