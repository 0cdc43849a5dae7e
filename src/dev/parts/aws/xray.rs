//! X-Ray: what was read of it, its service graph and sampling, and which traces it is about to forget.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::MOST_ROWS;
use super::books::Figures;
use super::newest::Newest;
use crate::dev::store::{Store, TraceId};
use crate::retention::watchlist::Watchlist;

/// Traces at risk that are listed.
const MOST_AT_RISK: usize = 50;

/// The part of the answer.
pub fn part(newest: &Newest, figures: &Figures, watchlist: &Watchlist, store: &Store) -> Value {
    json!({
        "traces": figures.sum("xray_receiver_traces_fetched"),
        "scanned": figures.sum("xray_receiver_traces_scanned"),
        "lag": figures.most("xray_receiver_lag_seconds").map(|seconds| ((seconds.max(0.0) * 1e9) as u64).to_string()),
        "service_graph": services(newest),
        "sampling": sampling(newest),
        "retention": retention(figures, watchlist, store),
    })
}

/// Requests by what became of them, for each service.
fn services(newest: &Newest) -> Vec<Value> {
    let subjects = newest.subjects(|metric| metric == "aws.xray.service.requests");
    let rows = subjects.iter().take(MOST_ROWS).map(|(subject, facts)| {
        let mut outcomes: BTreeMap<&str, f64> = BTreeMap::new();
        let mut kind = "";
        for (metric, seen) in facts.of("aws.xray.service.requests") {
            *outcomes.entry(metric.label("outcome")).or_default() += seen.recent;
            kind = metric.label("type");
        }
        json!({"service": subject.name, "region": subject.region, "type": kind, "requests": outcomes})
    });
    rows.collect()
}

fn sampling(newest: &Newest) -> Vec<Value> {
    let subjects = newest.subjects(|metric| metric.starts_with("aws.xray.sampling."));
    let rows = subjects.iter().take(MOST_ROWS).map(|(subject, facts)| {
        json!({
            "rule": subject.name,
            "region": subject.region,
            "fixed_rate": facts.value("aws.xray.sampling.fixed_rate"),
            "reservoir": facts.value("aws.xray.sampling.reservoir"),
            "requests": facts.value("aws.xray.sampling.requests"),
            "sampled": facts.value("aws.xray.sampling.sampled"),
            "borrowed": facts.value("aws.xray.sampling.borrowed"),
        })
    });
    rows.collect()
}

/// What the retention check of this agent has found. Durations in nanoseconds, as text.
fn retention(figures: &Figures, watchlist: &Watchlist, store: &Store) -> Value {
    let nanos = |seconds: f64| ((seconds.max(0.0) * 1e9) as u64).to_string();
    let mut states: BTreeMap<&str, f64> = BTreeMap::new();
    for figure in figures.of("aws_xray_retention_traces") {
        *states.entry(figure.label("state")).or_default() += figure.value;
    }
    let listed = watchlist.worst(MOST_AT_RISK);
    let rows = listed.iter().map(|one| {
        let id: TraceId = one.id.0;
        json!({
            "trace_id": hex::encode(id),
            "xray_id": one.xray_id(),
            "state": one.state.name(),
            "left": one.left.map(|left| left.as_nanos().to_string()),
            "start": one.start.saturating_mul(1_000_000_000).to_string(),
            "place": one.place,
            "reason": one.why,
            // Whether the page can show its spans.
            "known": store.traces().get(&id).is_some(),
            "steps": one.steps(),
        })
    });
    json!({
        "states": states,
        "min_time_to_expiry": figures.least("aws_xray_retention_min_time_to_expiry_seconds").map(nanos),
        "oldest_age": figures.most("aws_xray_retention_oldest_unarchived_age_seconds").map(nanos),
        "coverage": figures.least("aws_xray_retention_coverage_ratio"),
        "last_check": figures.most("aws_xray_retention_check_last_success_seconds").map(nanos),
        "lost": figures.sum("aws_xray_retention_lost_total"),
        "archived": figures.sum("aws_xray_retention_archived_total"),
        "at_risk": rows.collect::<Vec<Value>>(),
        "at_risk_total": watchlist.len(),
    })
}
