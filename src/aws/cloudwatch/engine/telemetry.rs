//! What the engine says about itself. No resource, key or metric name ever becomes a label.

use std::collections::BTreeMap;

use super::poll::Polled;
use crate::aws::cloudwatch::bill::{Decision, Survey, Tier};
use crate::aws::cloudwatch::history::{Changes, Why};
use crate::aws::cloudwatch::tracks::{Settled, Tracks};
use crate::aws::cloudwatch::want::Class;
use crate::component::{Counter, Gauge, Histogram, Instruments};

const SETTLE_SECONDS: &[f64] = &[
    60.0, 120.0, 180.0, 240.0, 300.0, 450.0, 600.0, 900.0, 1800.0, 3600.0, 86_400.0,
];

/// Counters of one account and region.
pub struct ShardCounts {
    instruments: Instruments,
    account: String,
    region: String,
    billed: Counter,
    asked_free: Counter,
    cost: Gauge,
    forecast: Gauge,
    budget: Gauge,
    exhausted: Gauge,
    escalated: Gauge,
    series: BTreeMap<(Class, Tier), Gauge>,
    emitted: Counter,
    filled: Counter,
    late: Counter,
    revised: Counter,
    pub dropped: Counter,
    settle: Histogram,
    pub watermark_age: Gauge,
    open: Gauge,
    pub blind: Gauge,
    partial: Counter,
    pub discovery_errors: Counter,
    pub remaining: Gauge,
    pub skipped: Counter,
}

impl ShardCounts {
    /// `place`: account and region.
    pub fn new(instruments: &Instruments, place: (&str, &str), resource_kind: &str) -> Self {
        let labels = [("account", place.0), ("region", place.1)];
        let with = |name: &'static str, value: &str| {
            let points = "Points of CloudWatch by what became of them.";
            let mut all: Vec<(&'static str, &str)> = labels.to_vec();
            all.push((name, value));
            instruments.counter("cloudwatch_points_total", points, &all)
        };
        let gauge = |name, help| instruments.gauge(name, help, &labels);
        let counter = |name, help| instruments.counter(name, help, &labels);
        let [account, region] = labels;
        Self {
            instruments: instruments.clone(),
            account: place.0.to_owned(),
            region: place.1.to_owned(),
            billed: instruments.counter(
                "cloudwatch_billed_metrics_total",
                "Metrics asked for, as AWS bills them.",
                &[account, region, ("source", "gmd")],
            ),
            asked_free: instruments.counter(
                "cloudwatch_billed_metrics_total",
                "Metrics asked for, as AWS bills them.",
                &[account, region, ("source", "gms")],
            ),
            // Of the receiver, over all its accounts and regions: one budget.
            cost: instruments.gauge("cloudwatch_cost_usd", "Cost of polling, month to date.", &[]),
            forecast: instruments.gauge(
                "cloudwatch_cost_forecast_usd",
                "Cost of polling at the end of the month, as things go on.",
                &[],
            ),
            budget: instruments.gauge(
                "cloudwatch_cost_budget_usd",
                "What polling may cost a month; 0: any.",
                &[],
            ),
            exhausted: instruments.gauge(
                "cloudwatch_budget_exhausted",
                "1 while nothing is polled because the budget is spent.",
                &[],
            ),
            escalated: gauge(
                "cloudwatch_escalated",
                "Resources that are looked at closely because of trouble.",
            ),
            series: BTreeMap::new(),
            emitted: with("outcome", "emitted"),
            filled: with("outcome", "filled"),
            late: with("outcome", "late"),
            revised: with("outcome", "revised"),
            dropped: with("outcome", "dropped"),
            settle: instruments.histogram(
                "cloudwatch_settle_seconds",
                "Age of points when they were handed on.",
                &labels,
                SETTLE_SECONDS,
            ),
            watermark_age: gauge(
                "cloudwatch_watermark_age_seconds",
                "Age of the oldest minute that is not decided for some resource.",
            ),
            open: gauge("cloudwatch_open_minutes", "Minutes seen and not settled."),
            blind: instruments.gauge(
                "cloudwatch_blind",
                "Resources without a sign of life.",
                &[account, region, ("kind", resource_kind)],
            ),
            partial: counter("cloudwatch_partial_total", "Ids that AWS answered in parts."),
            discovery_errors: counter("cloudwatch_discovery_errors_total", "Discovery rounds that failed."),
            remaining: gauge(
                "cloudwatch_backfill_remaining_minutes",
                "Minutes of gaps that are still to be asked back, over all series.",
            ),
            skipped: counter(
                "cloudwatch_backfill_skipped_minutes_total",
                "Minutes that were not asked back because the gap was too long.",
            ),
        }
    }

    /// Metrics of GetMetricData that AWS bills, and requests of GetMetricStatistics.
    pub fn bill(&self, units: u64, requests: u64) {
        self.billed.add(units);
        self.asked_free.add(requests);
    }

    /// What the budget says.
    pub fn budget(&self, decision: &Decision, limit: f64) {
        self.cost.set(decision.spent);
        self.forecast.set(decision.forecast);
        self.budget.set(limit);
        self.exhausted.set(f64::from(u8::from(decision.exhausted)));
    }

    /// Values that came late or changed.
    pub fn changed(&self, changes: Changes) {
        self.late.add(changes.late);
        self.revised.add(changes.revised);
    }

    /// After a round of polling.
    pub fn polled(&mut self, polled: &Polled, tracks: &Tracks) {
        self.changed(polled.changes);
        self.open.set(tracks.open_minutes() as f64);
    }

    /// Which series there are, and how often they are asked.
    pub fn survey(&mut self, survey: &Survey) {
        self.escalated.set(survey.escalated as f64);
        for (key, gauge) in &self.series {
            if !survey.series.contains_key(key) {
                gauge.set(0.0);
            }
        }
        for (key, count) in &survey.series {
            let (class, tier) = *key;
            let gauge = self.series.entry(*key).or_insert_with(|| {
                let labels = [
                    ("account", self.account.as_str()),
                    ("region", self.region.as_str()),
                    ("class", class.name()),
                    ("tier", tier.name()),
                ];
                self.instruments
                    .gauge("cloudwatch_series", "Series that are polled.", &labels)
            });
            gauge.set(*count as f64);
        }
    }

    /// Ids that came in parts.
    pub fn partial(&self, ids: u64) {
        self.partial.add(ids);
    }

    /// After the pipeline took these points.
    pub fn emitted(&self, points: &[Settled], now: i64) {
        for point in points {
            if point.why == Why::Filled {
                self.filled.add(1);
            } else {
                self.emitted.add(1);
                self.settle.record((now - point.end()).max(0) as f64);
            }
        }
    }
}
