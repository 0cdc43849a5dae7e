//! The service graph of a window, of some traces, and its statistics over time.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::answer::ApiError;
use super::State;
use super::answer::invalid;
use super::compile::{compile, walk};
use super::store::{Range, RangeType, Trace, flag, number, text};
use super::traces::{Moment, found, ids_of};

const LONGEST_S: f64 = 6.0 * 3_600.0;

/// Counts of a node or an edge.
#[derive(Clone, Debug, Default)]
struct Tally {
    ok: u64,
    error: u64,
    throttle: u64,
    fault: u64,
    seconds: f64,
    /// Response times in whole milliseconds.
    histogram: BTreeMap<u64, u64>,
    from: Option<f64>,
    to: f64,
}

impl Tally {
    fn add(&mut self, node: &Json) {
        let (start, end) = (number(node, "start_time"), number(node, "end_time"));
        if end <= 0.0 {
            return;
        }
        if flag(node, "fault") {
            self.fault += 1;
        } else if flag(node, "throttle") {
            self.throttle += 1;
        } else if flag(node, "error") {
            self.error += 1;
        } else {
            self.ok += 1;
        }
        self.seconds += end - start;
        *self
            .histogram
            .entry(((end - start) * 1_000.0).round() as u64)
            .or_default() += 1;
        self.from = Some(self.from.map_or(start, |from| from.min(start)));
        self.to = self.to.max(end);
    }

    fn total(&self) -> u64 {
        self.ok + self.error + self.throttle + self.fault
    }

    fn statistics(&self) -> Json {
        json!({
            "OkCount": self.ok, "TotalCount": self.total(), "TotalResponseTime": self.seconds,
            "ErrorStatistics": {"ThrottleCount": self.throttle, "OtherCount": self.error,
                                "TotalCount": self.error + self.throttle},
            "FaultStatistics": {"OtherCount": self.fault, "TotalCount": self.fault},
        })
    }

    fn histogram(&self) -> Vec<Json> {
        let entry = |(millis, count): (&u64, &u64)| json!({"Value": *millis as f64 / 1_000.0, "Count": count});
        self.histogram.iter().map(entry).collect()
    }
}

/// Name and type.
type Node = (String, String);

#[derive(Default)]
struct Graph {
    nodes: BTreeMap<Node, Tally>,
    edges: BTreeMap<(Node, Node), Tally>,
}

impl Graph {
    fn add(&mut self, trace: &Trace) {
        let segments = compile(trace);
        let node = |document: &Json| (text(document, "name").to_owned(), text(document, "origin").to_owned());
        // Which service a span belongs to: a segment's parent is a span of the service that called.
        let mut owners: BTreeMap<String, Node> = BTreeMap::new();
        for (_, document) in &segments {
            let owner = node(document);
            walk(document, &mut |part| {
                owners.insert(text(part, "id").to_owned(), owner.clone());
            });
        }
        for (_, document) in &segments {
            let target = node(document);
            self.nodes.entry(target.clone()).or_default().add(document);
            if let Some(source) = owners.get(text(document, "parent_id")) {
                self.edges.entry((source.clone(), target)).or_default().add(document);
            }
        }
    }

    fn services(&self, from: f64, to: f64) -> Vec<Json> {
        let number_of = |node: &Node| self.nodes.keys().position(|have| have == node);
        let mut services = Vec::new();
        for (position, (node, tally)) in self.nodes.iter().enumerate() {
            let edges = self.edges.iter().filter(|((source, _), _)| source == node);
            let edges: Vec<Json> = edges
                .map(|((_, target), tally)| {
                    json!({"ReferenceId": number_of(target), "StartTime": from, "EndTime": to,
                           "SummaryStatistics": tally.statistics(), "ResponseTimeHistogram": tally.histogram(),
                           "Aliases": []})
                })
                .collect();
            let called = self.edges.keys().any(|(_, target)| target == node);
            services.push(json!({
                "ReferenceId": position, "Name": node.0, "Names": [node.0], "Type": node.1, "State": "active",
                "Root": !called, "StartTime": from, "EndTime": to, "Edges": edges,
                "SummaryStatistics": tally.statistics(), "ResponseTimeHistogram": tally.histogram(),
                "DurationHistogram": tally.histogram(),
            }));
        }
        services
    }
}

fn window(request: &Json) -> Result<(f64, f64), ApiError> {
    let time = |key: &str| {
        request[key]
            .as_f64()
            .ok_or_else(|| invalid(format!("{key} must not be null")))
    };
    let (from, to) = (time("StartTime")?, time("EndTime")?);
    if to <= from || to - from > LONGEST_S {
        return Err(invalid("the time range must be between 0 and 6 hours"));
    }
    Ok((from, to))
}

impl State {
    /// GetServiceGraph: of the traces that start in the window.
    pub fn service_graph(&self, request: &Json, moment: &Moment<'_>) -> Result<Json, ApiError> {
        let (from, to) = window(request)?;
        let mut graph = Graph::default();
        let range = Range {
            kind: RangeType::TraceId,
            from,
            to,
        };
        for (_, trace) in self.view(moment).traces(moment.region, range) {
            graph.add(&trace);
        }
        let services = graph.services(from, to);
        Ok(json!({"StartTime": from, "EndTime": to, "Services": services, "ContainsOldGroupVersions": false}))
    }

    /// GetTraceGraph.
    pub fn trace_graph(&self, request: &Json, moment: &Moment<'_>) -> Result<Json, ApiError> {
        let ids = ids_of(request, "TraceIds");
        let mut graph = Graph::default();
        let (mut from, mut to) = (f64::INFINITY, 0.0f64);
        for trace in found(&self.view(moment), &ids) {
            from = from.min(trace.start());
            to = to.max(trace.updated());
            graph.add(&trace);
        }
        Ok(json!({"Services": graph.services(if from.is_finite() { from } else { 0.0 }, to)}))
    }

    /// GetTimeSeriesServiceStatistics.
    pub fn time_series(&self, request: &Json, moment: &Moment<'_>) -> Result<Json, ApiError> {
        let (from, to) = window(request)?;
        let period = request["Period"].as_f64().unwrap_or(60.0);
        if period != 60.0 && period != 300.0 {
            return Err(invalid("Period must be 60 or 300"));
        }
        let mut points = Vec::new();
        let mut at = from;
        while at < to {
            let range = Range {
                kind: RangeType::TraceId,
                from: at,
                to: (at + period).min(to),
            };
            let mut tally = Tally::default();
            for (_, trace) in self.view(moment).traces(moment.region, range) {
                for (_, document) in compile(&trace) {
                    tally.add(&document);
                }
            }
            points.push(json!({"Timestamp": at, "ServiceSummaryStatistics": tally.statistics(),
                               "ResponseTimeHistogram": tally.histogram()}));
            at += period;
        }
        Ok(json!({"TimeSeriesServiceStatistics": points, "ContainsOldGroupVersions": false}))
    }
}
