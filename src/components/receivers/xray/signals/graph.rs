//! The service graph of closed windows: nodes and edges as delta sums and histograms.

use aws_sdk_xray::primitives::DateTime;
use aws_sdk_xray::types::{ErrorStatistics, FaultStatistics, HistogramEntry, Service};

use super::metrics::{Metrics, Span};
use super::{MOST_PAGES, Signals};
use crate::aws::Failure;
use crate::aws::xray::api::Clients;

/// The longest window of GetServiceGraph.
const LONGEST_S: u64 = 6 * 3_600;

impl Signals {
    pub(super) async fn service_graph(
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
}

/// Requests by outcome.
type Outcomes = [(&'static str, u64); 4];

/// A node or an edge of the graph: both are told in the same way.
struct Element<'a> {
    requests: &'static str,
    duration: &'static str,
    attributes: [(&'a str, &'a str); 2],
    outcomes: Option<Outcomes>,
    durations: &'a [HistogramEntry],
}

impl Element<'_> {
    fn tell(&self, over: Span, metrics: &mut Metrics) {
        let [first, second] = self.attributes;
        for (outcome, count) in self.outcomes.into_iter().flatten() {
            let attributes = [first, second, ("outcome", outcome)];
            metrics.sum(self.requests, "{request}", &attributes, count, over);
        }
        metrics.histogram(self.duration, &self.attributes, self.durations, over);
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
        let name = service.name().unwrap_or("unknown");
        let statistics = service.summary_statistics();
        Element {
            requests: "aws.xray.service.requests",
            duration: "aws.xray.service.duration",
            attributes: [("service", name), ("type", service.r#type().unwrap_or_default())],
            outcomes: statistics.map(|of| outcomes(of.ok_count(), of.error_statistics(), of.fault_statistics())),
            durations: service.response_time_histogram(),
        }
        .tell(over, metrics);
        for edge in service.edges() {
            let statistics = edge.summary_statistics();
            Element {
                requests: "aws.xray.edge.requests",
                duration: "aws.xray.edge.duration",
                attributes: [("source", name), ("target", name_of(edge.reference_id()))],
                outcomes: statistics.map(|of| outcomes(of.ok_count(), of.error_statistics(), of.fault_statistics())),
                durations: edge.response_time_histogram(),
            }
            .tell(over, metrics);
        }
    }
}

fn outcomes(ok: Option<i64>, errors: Option<&ErrorStatistics>, faults: Option<&FaultStatistics>) -> Outcomes {
    let count = |count: Option<i64>| u64::try_from(count.unwrap_or_default()).unwrap_or_default();
    [
        ("ok", count(ok)),
        ("error", count(errors.and_then(|errors| errors.other_count()))),
        ("throttle", count(errors.and_then(|errors| errors.throttle_count()))),
        ("fault", count(faults.and_then(|faults| faults.total_count()))),
    ]
}
