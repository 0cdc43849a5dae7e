//! What the poller says about itself. No table, key or metric name ever becomes a label.

use crate::aws::cloudwatch::{Class, Polled, Poller, Settled};
use crate::component::{Counter, Gauge, Histogram, Instruments};

const SETTLE_SECONDS: &[f64] = &[
    60.0, 120.0, 180.0, 240.0, 300.0, 450.0, 600.0, 900.0, 1800.0, 3600.0, 86_400.0,
];
/// USD per metric that GetMetricData is asked for.
const USD_PER_METRIC: f64 = 0.01 / 1_000.0;

/// Counters of one account and region.
pub struct ShardCounts {
    billed: Counter,
    cost: Gauge,
    series: [(Class, Gauge); 4],
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
    skipped: Counter,
}

impl ShardCounts {
    pub fn new(instruments: &Instruments, account: &str, region: &str) -> Self {
        let place = [("account", account), ("region", region)];
        let with = |name: &'static str, value: &'static str| {
            let mut labels = place.to_vec();
            labels.push((name, value));
            labels
        };
        let points = |outcome| {
            let labels = with("outcome", outcome);
            instruments.counter(
                "cloudwatch_points_total",
                "Points of CloudWatch by what became of them.",
                &labels,
            )
        };
        Self {
            billed: instruments.counter(
                "cloudwatch_billed_metrics_total",
                "Metrics asked for, as AWS bills them.",
                &with("source", "gmd"),
            ),
            cost: instruments.gauge(
                "cloudwatch_cost_usd",
                "Cost of polling since the start of the agent.",
                &place,
            ),
            series: Class::ALL.map(|class| {
                let mut labels = with("class", class.name());
                labels.push(("tier", "uniform"));
                let help = "Series that are polled.";
                (class, instruments.gauge("cloudwatch_series", help, &labels))
            }),
            emitted: points("emitted"),
            filled: points("filled"),
            late: points("late"),
            revised: points("revised"),
            dropped: points("dropped"),
            settle: instruments.histogram(
                "cloudwatch_settle_seconds",
                "Age of points when they were handed on.",
                &place,
                SETTLE_SECONDS,
            ),
            watermark_age: instruments.gauge(
                "cloudwatch_watermark_age_seconds",
                "Age of the oldest minute that is not decided for some table.",
                &place,
            ),
            open: instruments.gauge("cloudwatch_open_minutes", "Minutes seen and not settled.", &place),
            blind: instruments.gauge(
                "cloudwatch_blind",
                "Resources without a sign of life.",
                &with("kind", "table"),
            ),
            partial: instruments.counter("cloudwatch_partial_total", "Ids that AWS answered in parts.", &place),
            discovery_errors: instruments.counter(
                "cloudwatch_discovery_errors_total",
                "Discovery rounds that failed.",
                &place,
            ),
            skipped: instruments.counter(
                "cloudwatch_backfill_skipped_minutes_total",
                "Minutes that were not asked back because the gap was too long.",
                &place,
            ),
        }
    }

    /// After a round of polling.
    pub fn polled(&self, polled: &Polled, poller: &Poller) {
        self.billed.add(polled.units);
        self.cost.set(self.billed.value() as f64 * USD_PER_METRIC);
        self.late.add(polled.changes.late);
        self.revised.add(polled.changes.revised);
        self.partial.add(polled.partial);
        self.skipped.add(polled.skipped);
        self.open.set(poller.open_minutes() as f64);
        for (class, gauge) in &self.series {
            gauge.set(poller.count(*class) as f64);
        }
    }

    /// After the pipeline took these points.
    pub fn emitted(&self, points: &[Settled], now: i64) {
        for point in points {
            if point.filled {
                self.filled.add(1);
            } else {
                self.emitted.add(1);
                self.settle.record((now - point.at - point.want.period).max(0) as f64);
            }
        }
    }
}
