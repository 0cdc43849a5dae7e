//! What X-Ray knows beside traces, as metrics: the service graph of closed windows, sampling rules, traces processed,
//! the indexed share.

mod graph;
mod metrics;
mod processed;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use self::metrics::{Metrics, Span};
use super::config::{Config, Processed};
use crate::aws::Failure;
use crate::aws::xray::api::{Clients, Window};

/// Pages of one answer; more is a loop.
const MOST_PAGES: usize = 100;
/// How often the indexed share is asked.
const INDEXED_S: u64 = 600;

/// What is asked and told beside traces.
pub struct Signals {
    region: String,
    /// The graph has been told up to here, unix seconds.
    graph: u64,
    graph_next: u64,
    rules_at: u64,
    indexed_at: u64,
    searches: bool,
    /// Traces are counted by the summaries that are read anyway.
    counts_processed: bool,
    processed: Vec<(Window, u64)>,
    /// CloudWatch's counts have been told up to here, unix seconds.
    counted_to: u64,
    counted_next: u64,
    rates: BTreeMap<String, f64>,
    /// Requests, sampled, borrowed of each rule as last told.
    counted: BTreeMap<String, (i64, [i64; 3])>,
    denied: Vec<String>,
    cloudwatch_failed: bool,
}

impl Signals {
    /// `graph` and `counted_to`: what has been told up to when.
    pub fn new(config: &Config, region: &str, graph: u64, counted_to: u64) -> Self {
        Self {
            region: region.to_owned(),
            graph,
            graph_next: graph,
            counted_to,
            counted_next: counted_to,
            rules_at: 0,
            indexed_at: 0,
            searches: false,
            counts_processed: config.traces_processed == Processed::Summaries,
            processed: Vec::new(),
            rates: BTreeMap::new(),
            counted: BTreeMap::new(),
            denied: Vec::new(),
            cloudwatch_failed: false,
        }
    }

    /// What is to be remembered when the last round has been taken.
    pub fn cursors(&self) -> Vec<(&'static str, u64)> {
        vec![("graph", self.graph_next), ("processed", self.counted_next)]
    }

    /// Whether the last round got on, also where there was nothing to tell.
    pub fn has_moved(&self) -> bool {
        self.graph != self.graph_next || self.counted_to != self.counted_next
    }

    /// What the last round gave has been taken.
    pub fn acknowledge(&mut self) {
        self.graph = self.graph_next;
        self.counted_to = self.counted_next;
        self.processed.clear();
    }

    /// Whether Transaction Search is on.
    pub fn searches(&mut self, searches: bool) {
        self.searches = searches;
    }

    /// A drained window of all traces and how many were scanned; a sample says nothing exact.
    pub fn processed(&mut self, window: Window, scanned: u64, share: f64) {
        if self.counts_processed && share >= 1.0 {
            self.processed.push((window, scanned));
            // Nobody takes them: the newest hour is enough.
            let too_many = self.processed.len().saturating_sub(1_000);
            self.processed.drain(..too_many);
        }
    }

    /// Asks what is due. `None`: nothing to tell.
    ///
    /// # Errors
    /// What ends the round; a permission that is missing only ends its own part.
    pub async fn round(
        &mut self,
        clients: &Clients,
        config: &Config,
        now: u64,
    ) -> Result<Option<ExportMetricsServiceRequest>, Failure> {
        let mut metrics = Metrics::default();
        for (window, scanned) in &self.processed {
            let over = Span {
                from: window.from,
                to: window.to,
            };
            metrics.sum(
                "aws.xray.traces_processed",
                "{trace}",
                &[("source", "summaries")],
                *scanned,
                over,
            );
        }
        if let Some(period) = config.graph {
            let asked = self
                .service_graph(clients, period, now.saturating_sub(config.settle), &mut metrics)
                .await;
            self.unless_denied(asked)?;
        }
        if let Some(interval) = config.rules
            && now >= self.rules_at
        {
            self.rules_at = now + interval;
            let asked = self.sampling(clients, now, &mut metrics).await;
            self.unless_denied(asked)?;
        }
        if self.searches && now >= self.indexed_at {
            self.indexed_at = now + INDEXED_S;
            let asked = self.indexed(clients, now, &mut metrics).await;
            self.unless_denied(asked)?;
        }
        if config.traces_processed == Processed::CloudWatch {
            let asked = self.processed_by_cloudwatch(clients, now, &mut metrics).await;
            self.unless_cloudwatch_fails(asked);
        }
        Ok(metrics.request(&self.region))
    }

    /// CloudWatch is another service: its trouble is not X-Ray's, and is told once.
    fn unless_cloudwatch_fails(&mut self, asked: Result<(), Failure>) {
        match asked {
            Ok(()) => self.cloudwatch_failed = false,
            Err(failure) if !self.cloudwatch_failed => {
                self.cloudwatch_failed = true;
                tracing::warn!(region = %self.region, trouble = %failure,
                    "CloudWatch does not tell how many traces X-Ray has processed; it is asked again");
            }
            Err(_) => {}
        }
    }

    fn unless_denied(&mut self, asked: Result<(), Failure>) -> Result<(), Failure> {
        match asked {
            Err(Failure::Denied { action, message }) => {
                if !self.denied.contains(&action) {
                    tracing::warn!(region = %self.region, %action, %message, "not allowed; this part is left out");
                    self.denied.push(action);
                }
                Ok(())
            }
            other => other,
        }
    }

    async fn sampling(&mut self, clients: &Clients, now: u64, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let ask = || clients.xray.get_sampling_rules().set_next_token(token.clone()).send();
            let page = clients.rules.send(ask).await?;
            for rule in page
                .sampling_rule_records()
                .iter()
                .filter_map(|record| record.sampling_rule())
            {
                let Some(name) = rule.rule_name() else { continue };
                let rate = rule.fixed_rate();
                metrics.gauge("aws.xray.sampling.fixed_rate", "1", &[("rule", name)], rate, now);
                let reservoir = f64::from(rule.reservoir_size());
                metrics.gauge(
                    "aws.xray.sampling.reservoir",
                    "{request}/s",
                    &[("rule", name)],
                    reservoir,
                    now,
                );
                if let Some(before) = self.rates.insert(name.to_owned(), rate)
                    && rate < before / 2.0
                {
                    tracing::warn!(region = %self.region, rule = name, before, now = rate,
                        "the rate of a sampling rule was lowered by more than half");
                }
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        let ask = || clients.xray.get_sampling_statistic_summaries().send();
        let answer = clients.statistics.send(ask).await?;
        for summary in answer.sampling_statistic_summaries() {
            let Some(name) = summary.rule_name() else { continue };
            let at = summary.timestamp().map_or(now as i64, |at| at.secs());
            let counts = [summary.request_count(), summary.sampled_count(), summary.borrow_count()].map(i64::from);
            let before = self.counted.insert(name.to_owned(), (at, counts));
            // The same window again says nothing new.
            if before == Some((at, counts)) {
                continue;
            }
            let at = u64::try_from(at).unwrap_or(now);
            let names = [
                "aws.xray.sampling.requests",
                "aws.xray.sampling.sampled",
                "aws.xray.sampling.borrowed",
            ];
            for (metric, count) in names.into_iter().zip(counts) {
                metrics.gauge(metric, "{request}", &[("rule", name)], count as f64, at);
            }
        }
        Ok(())
    }

    async fn indexed(&mut self, clients: &Clients, now: u64, metrics: &mut Metrics) -> Result<(), Failure> {
        let ask = || clients.xray.get_indexing_rules().send();
        let answer = clients.indexing.send(ask).await?;
        for rule in answer.indexing_rules() {
            let probabilistic = rule.rule().and_then(|rule| rule.as_probabilistic().ok());
            if let Some(rule) = probabilistic {
                let percent = rule
                    .actual_sampling_percentage()
                    .unwrap_or(rule.desired_sampling_percentage());
                metrics.gauge("xray.indexed_ratio", "1", &[], percent / 100.0, now);
            }
        }
        Ok(())
    }
}
