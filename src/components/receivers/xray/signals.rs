//! What X-Ray knows beside traces, as metrics: the service graph of closed windows, sampling rules, traces processed,
//! the indexed share.

use aws_sdk_xray::primitives::DateTime;
use aws_sdk_xray::types::{Edge, EdgeStatistics, HistogramEntry, Service, ServiceStatistics};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::collections::BTreeMap;

use super::clients::Clients;
use super::config::Config;
use super::windows::Window;
use crate::aws::Failure;

/// Upper bounds of the duration histograms, seconds.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Pages of one answer; more is a loop.
const MOST_PAGES: usize = 100;
/// How often the indexed share is asked.
const INDEXED_S: u64 = 600;
/// The longest window of GetServiceGraph.
const LONGEST_S: u64 = 6 * 3_600;

/// A time of one point, unix seconds.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
}

/// Metrics that are being built.
#[derive(Default)]
struct Metrics(BTreeMap<&'static str, Metric>);

impl Metrics {
    fn sum(&mut self, name: &'static str, unit: &str, attributes: &[(&str, &str)], value: u64, over: Span) {
        let metric = self.metric(name, unit, || {
            Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality: AggregationTemporality::Delta as i32,
                is_monotonic: true,
            })
        });
        if let Some(Data::Sum(sum)) = &mut metric.data {
            let value = Number::AsInt(i64::try_from(value).unwrap_or(i64::MAX));
            sum.data_points.push(point(attributes, value, over));
        }
    }

    fn gauge(&mut self, name: &'static str, unit: &str, attributes: &[(&str, &str)], value: f64, at: u64) {
        let metric = self.metric(name, unit, || Data::Gauge(Gauge::default()));
        if let Some(Data::Gauge(gauge)) = &mut metric.data {
            let over = Span { from: 0, to: at };
            gauge.data_points.push(point(attributes, Number::AsDouble(value), over));
        }
    }

    fn histogram(&mut self, name: &'static str, attributes: &[(&str, &str)], entries: &[HistogramEntry], over: Span) {
        let metric = self.metric(name, "s", || {
            Data::Histogram(Histogram {
                data_points: Vec::new(),
                aggregation_temporality: AggregationTemporality::Delta as i32,
            })
        });
        let mut bucket_counts = vec![0u64; BOUNDS.len() + 1];
        let (mut count, mut sum) = (0, 0.0);
        for entry in entries {
            let of = u64::try_from(entry.count()).unwrap_or_default();
            let bucket = BOUNDS.partition_point(|bound| *bound < entry.value());
            bucket_counts[bucket] += of;
            count += of;
            sum += entry.value() * of as f64;
        }
        if let Some(Data::Histogram(histogram)) = &mut metric.data
            && count > 0
        {
            histogram.data_points.push(HistogramDataPoint {
                attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
                start_time_unix_nano: over.from * 1_000_000_000,
                time_unix_nano: over.to * 1_000_000_000,
                count,
                sum: Some(sum),
                bucket_counts,
                explicit_bounds: BOUNDS.to_vec(),
                ..HistogramDataPoint::default()
            });
        }
    }

    fn metric(&mut self, name: &'static str, unit: &str, data: impl FnOnce() -> Data) -> &mut Metric {
        self.0.entry(name).or_insert_with(|| Metric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            data: Some(data()),
            ..Metric::default()
        })
    }

    fn request(self, region: &str) -> Option<ExportMetricsServiceRequest> {
        let metrics: Vec<Metric> = self.0.into_values().collect();
        if metrics.is_empty() {
            return None;
        }
        let attributes = [("cloud.provider", "aws"), ("cloud.region", region)];
        let resource = Resource {
            attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: "xray".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        Some(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        })
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn point(attributes: &[(&str, &str)], value: Number, over: Span) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        start_time_unix_nano: over.from * 1_000_000_000,
        time_unix_nano: over.to * 1_000_000_000,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

/// What is asked and told beside traces.
pub struct Signals {
    region: String,
    /// The graph has been told up to here, unix seconds.
    graph: u64,
    graph_next: u64,
    rules_at: u64,
    indexed_at: u64,
    searches: bool,
    counts_processed: bool,
    processed: Vec<(Window, u64)>,
    rates: BTreeMap<String, f64>,
    /// Requests, sampled, borrowed of each rule as last told.
    counted: BTreeMap<String, (i64, [i64; 3])>,
    denied: Vec<String>,
}

impl Signals {
    pub fn new(config: &Config, region: &str, graph: u64) -> Self {
        Self {
            region: region.to_owned(),
            graph,
            graph_next: graph,
            rules_at: 0,
            indexed_at: 0,
            searches: false,
            counts_processed: config.traces_processed,
            processed: Vec::new(),
            rates: BTreeMap::new(),
            counted: BTreeMap::new(),
            denied: Vec::new(),
        }
    }

    /// The graph has been told up to here.
    pub fn graph_cursor(&self) -> u64 {
        self.graph_next
    }

    /// What the last round gave has been taken.
    pub fn acknowledge(&mut self) {
        self.graph = self.graph_next;
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
        Ok(metrics.request(&self.region))
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

    async fn service_graph(
        &mut self,
        clients: &Clients,
        period: u64,
        settled: u64,
        metrics: &mut Metrics,
    ) -> Result<(), Failure> {
        let mut from = self.graph - self.graph % period;
        // What lies further back than one answer may span is not asked for.
        from = from.max(settled.saturating_sub(LONGEST_S) / period * period);
        while from + period <= settled {
            let over = Span {
                from,
                to: from + period,
            };
            let mut services: Vec<Service> = Vec::new();
            let mut token: Option<String> = None;
            for _ in 0..MOST_PAGES {
                let ask = || {
                    let request = clients.xray.get_service_graph().set_next_token(token.clone());
                    let request = request.start_time(DateTime::from_secs(over.from as i64));
                    request.end_time(DateTime::from_secs(over.to as i64)).send()
                };
                let page = clients.graph.send(ask).await?;
                services.extend(page.services().iter().cloned());
                token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
                if token.is_none() {
                    break;
                }
            }
            graph_metrics(&services, over, metrics);
            from += period;
        }
        self.graph_next = from;
        Ok(())
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

fn graph_metrics(services: &[Service], over: Span, metrics: &mut Metrics) {
    let name_of = |id: Option<i32>| {
        let service = services
            .iter()
            .find(|service| service.reference_id() == id && id.is_some());
        service.and_then(Service::name).unwrap_or("unknown")
    };
    for service in services {
        let (name, kind) = (
            service.name().unwrap_or("unknown"),
            service.r#type().unwrap_or_default(),
        );
        if let Some(statistics) = service.summary_statistics() {
            for (outcome, count) in outcomes(&Statistics::of_service(statistics)) {
                let attributes = [("service", name), ("type", kind), ("outcome", outcome)];
                metrics.sum("aws.xray.service.requests", "{request}", &attributes, count, over);
            }
        }
        let attributes = [("service", name), ("type", kind)];
        metrics.histogram(
            "aws.xray.service.duration",
            &attributes,
            service.response_time_histogram(),
            over,
        );
        for edge in service.edges() {
            edge_metrics(name, name_of(edge.reference_id()), edge, over, metrics);
        }
    }
}

fn edge_metrics(source: &str, target: &str, edge: &Edge, over: Span, metrics: &mut Metrics) {
    if let Some(statistics) = edge.summary_statistics() {
        for (outcome, count) in outcomes(&Statistics::of_edge(statistics)) {
            let attributes = [("source", source), ("target", target), ("outcome", outcome)];
            metrics.sum("aws.xray.edge.requests", "{request}", &attributes, count, over);
        }
    }
    let attributes = [("source", source), ("target", target)];
    metrics.histogram(
        "aws.xray.edge.duration",
        &attributes,
        edge.response_time_histogram(),
        over,
    );
}

/// Counts that services and edges have in common.
struct Statistics {
    ok: i64,
    error: i64,
    throttle: i64,
    fault: i64,
}

impl Statistics {
    fn of_service(statistics: &ServiceStatistics) -> Self {
        let errors = statistics.error_statistics();
        Self {
            ok: statistics.ok_count().unwrap_or_default(),
            error: errors.and_then(|errors| errors.other_count()).unwrap_or_default(),
            throttle: errors.and_then(|errors| errors.throttle_count()).unwrap_or_default(),
            fault: statistics
                .fault_statistics()
                .and_then(|faults| faults.total_count())
                .unwrap_or_default(),
        }
    }

    fn of_edge(statistics: &EdgeStatistics) -> Self {
        let errors = statistics.error_statistics();
        Self {
            ok: statistics.ok_count().unwrap_or_default(),
            error: errors.and_then(|errors| errors.other_count()).unwrap_or_default(),
            throttle: errors.and_then(|errors| errors.throttle_count()).unwrap_or_default(),
            fault: statistics
                .fault_statistics()
                .and_then(|faults| faults.total_count())
                .unwrap_or_default(),
        }
    }
}

fn outcomes(statistics: &Statistics) -> [(&'static str, u64); 4] {
    let count = |count: i64| u64::try_from(count).unwrap_or_default();
    [
        ("ok", count(statistics.ok)),
        ("error", count(statistics.error)),
        ("throttle", count(statistics.throttle)),
        ("fault", count(statistics.fault)),
    ]
}
