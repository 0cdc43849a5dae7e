//! Lints: what a developer should know of the telemetry that comes in, found without any configuration.
//!
//! Every rule has an id, a severity, evidence and a fix; its state is bounded and its findings are deduplicated. The
//! rules read a copy of what is stored ([`crate::component::Feed`]): intake never waits for them, and what they miss under a flood
//! is a finding the less. `README.md` lists them.

mod baseline;
mod book;
mod clients;
mod custom;
mod exporters;
mod incidents;
mod logs;
mod metrics;
mod secrets;
mod semconv;
mod spans;
#[cfg(test)]
mod tests;
mod traces;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use book::{Evidence, Finding, Report, Severity};
pub use clients::Client;

use self::baseline::Baseline;
use self::book::Book;
use self::clients::Clients;
pub use self::custom::{CustomRule, CustomRules};
use self::exporters::ExporterRules;
use self::logs::LogRules;
use self::metrics::MetricRules;
use self::spans::SpanRules;
use self::traces::TraceRules;
use super::seen::{self, TraceId, service_of};
use super::store::{Findings, Store};
use crate::component::{Clock, Commons, Incidents, Sample, SystemClock, Watch};
use crate::pdata::{Batch, Sent, Signal};
use crate::wire::{self, WireError};

/// Between two looks for traces that have come to rest.
const TICK: Duration = Duration::from_secs(1);
/// Findings that wait to be told.
const MOST_NEWS: usize = 64;

/// The rules, by id.
pub const RULES: [&str; 23] = [
    "error-span",
    "slow-vs-baseline",
    "n-plus-one",
    "orphan-span",
    "unknown-service",
    "clock-skew",
    "cardinality-burst",
    "deprecated-semconv",
    "partial-success",
    "wrong-port-or-protocol",
    "cors-refused",
    "bad-ids",
    "duplicate-span",
    "ids-in-span-name",
    "sdk-limits",
    "broken-propagation",
    "log-without-trace",
    "secret-in-attribute",
    "bad-span-time",
    "temporality-or-reset",
    "log-flood",
    "exporter-stalled",
    custom::RULE,
];

/// The lints of the process.
#[derive(Default)]
pub struct Lints(Mutex<State>);

#[derive(Default)]
struct State {
    spans: SpanRules,
    traces: TraceRules,
    logs: LogRules,
    metrics: MetricRules,
    exporters: ExporterRules,
    baseline: Baseline,
    clients: Clients,
    book: Book,
    /// New findings that nobody has been told of.
    news: Vec<Finding>,
}

impl State {
    fn note(&mut self, reports: Vec<Report>, now: u64) {
        for report in reports {
            if let Some(finding) = self.book.note(report, now)
                && self.news.len() < MOST_NEWS
            {
                self.news.push(finding.clone());
            }
        }
    }

    fn note_clients(&mut self, (signal, sent): (Signal, Sent), part: &[u8], now: u64) -> Result<(), WireError> {
        for group in wire::resources(part) {
            let group = group?;
            let items = wire::count_in_group(group.raw(), signal.item_level())?;
            let service = service_of(&group.resource()?)?;
            self.clients.note(&service, sent, items as u64, now);
        }
        Ok(())
    }

    fn take_traces(&mut self, part: &[u8], now: u64) -> Result<(), WireError> {
        let mut reports = Vec::new();
        let mut failed = Ok(());
        let read = seen::spans_in(part, |span, raw| {
            self.logs.has_spans(&span.service.name);
            reports.extend(self.baseline.look(&span, now));
            match self.spans.look(&span, raw, now) {
                Ok(found) => reports.extend(found),
                Err(error) => failed = Err(error),
            }
            self.traces.take(&span, now, &mut reports);
        });
        self.note(reports, now);
        read.and(failed)
    }

    fn take_logs(&mut self, part: &[u8], now: u64) -> Result<(), WireError> {
        let mut reports = Vec::new();
        let read = seen::logs_in(part, |log, _| reports.extend(self.logs.look(&log, now)));
        self.note(reports, now);
        read
    }

    fn take_metrics(&mut self, part: &[u8], now: u64) -> Result<(), WireError> {
        for group in wire::resources(part) {
            let group = group?;
            let service = service_of(&group.resource()?)?;
            for scope in group.scopes() {
                for metric in scope?.metrics() {
                    let reports = self.metrics.look(&service, &metric?)?;
                    self.note(reports, now);
                }
            }
        }
        Ok(())
    }
}

impl Lints {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what came in. `now`: nanoseconds since the epoch.
    pub fn take(&self, batch: &mut Batch, now: u64) {
        let (signal, sent) = (batch.signal(), batch.origin().sent);
        for part in batch.parts() {
            let mut state = self.state();
            let _unreadable = state.note_clients((signal, sent), part, now);
            // What is malformed below the door's check is of nobody's concern here.
            let _unreadable = match signal {
                Signal::Traces => state.take_traces(part, now),
                Signal::Metrics => state.take_metrics(part, now),
                Signal::Logs => state.take_logs(part, now),
            };
        }
    }

    /// Looks at what has come to rest.
    pub fn tick(&self, now: u64) {
        let mut state = self.state();
        let mut reports = Vec::new();
        state.traces.tick(now, &mut reports);
        state.note(reports, now);
    }

    /// What somebody else has found.
    pub fn note(&self, reports: Vec<Report>, now: u64) {
        self.state().note(reports, now);
    }

    /// Looks at the agent's own figures; `now` in nanoseconds.
    pub fn look_at_agent(&self, samples: &[Sample], now: u64) {
        let mut state = self.state();
        let reports = state.exporters.look(samples, now);
        state.note(reports, now);
    }

    /// New findings since the last call.
    pub fn news(&self) -> Vec<Finding> {
        std::mem::take(&mut self.state().news)
    }

    /// All findings, the worst first; traces that are not yet at rest are looked at before.
    pub fn all(&self, now: u64) -> Vec<Finding> {
        let mut state = self.state();
        let mut reports = Vec::new();
        state.traces.check_all(&mut reports);
        state.note(reports, now);
        state.book.all(now)
    }

    /// Who has sent.
    pub fn clients(&self) -> Vec<Client> {
        self.state().clients.all()
    }

    /// Those with evidence in a trace or in one of its spans; hex ids.
    pub fn of_trace(&self, trace: &str, span: Option<&str>, now: u64) -> Vec<Finding> {
        self.state().book.of_trace(trace, span, now)
    }

    /// Hides a finding for so many nanoseconds, or for good. Whether there is one.
    pub fn mute(&self, id: &str, span: Option<u64>, comment: &str, now: u64) -> bool {
        self.state().book.mute(id, span, comment, now)
    }

    /// Shows it again. Whether there is one.
    pub fn unmute(&self, id: &str) -> bool {
        self.state().book.unmute(id)
    }
}

/// For the store's answers: `alert=n-plus-one` in a query, the remarks on a trace and a span.
impl Findings for Lints {
    fn rules(&self, trace: &TraceId, span: Option<u64>) -> Vec<String> {
        let found = self.found(trace, span);
        found.iter().map(|finding| finding.rule.to_owned()).collect()
    }

    fn details(&self, trace: &TraceId, span: Option<u64>) -> Vec<serde_json::Value> {
        let found = self.found(trace, span);
        found
            .iter()
            .filter_map(|finding| serde_json::to_value(finding).ok())
            .collect()
    }
}

impl Lints {
    fn found(&self, trace: &TraceId, span: Option<u64>) -> Vec<Finding> {
        let span = span.map(|span| hex::encode(span.to_be_bytes()));
        self.of_trace(&hex::encode(trace), span.as_deref(), SystemClock.now().0)
    }
}

/// Feeds the lints until the watch ends; `tell` hears of new findings.
pub async fn attend(lints: Arc<Lints>, mut watch: Watch, commons: Commons, tell: impl Fn(Vec<Finding>) + Send) {
    commons
        .get::<Store>()
        .set_findings(Arc::clone(&lints) as Arc<dyn Findings>);
    let incidents = commons.get::<Incidents>();
    incidents.listen();
    let (store, rules) = (commons.get::<Store>(), commons.get::<CustomRules>());
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            fresh = watch.next() => {
                let Some(mut fresh) = fresh else { return };
                lints.take(&mut fresh.batch, fresh.at.0);
            }
            _ = every.tick() => {
                let now = SystemClock.now().0;
                lints.note(incidents::reports(incidents.fetch()), now);
                lints.tick(now);
                if rules.is_due() {
                    let (rules, store) = (Arc::clone(&rules), Arc::clone(&store));
                    // A query may take a while.
                    let asking = tokio::task::spawn_blocking(move || rules.look(&store));
                    lints.note(asking.await.unwrap_or_default(), now);
                }
                let news = lints.news();
                if !news.is_empty() {
                    tell(news);
                }
            }
        }
    }
}
