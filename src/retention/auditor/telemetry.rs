//! What the auditor says about itself. No trace id is ever a label.
//!
//! The names are those of `aws.xray.retention.*` as Prometheus writes them, which is how the shipped alert rules ask.

use crate::component::{Counter, Instruments};
use crate::retention::auditor::report::ShardReport;
use crate::retention::settings::Actions;
use crate::retention::state::State;

const TRACES: &str = "aws_xray_retention_traces";
const OLDEST: &str = "aws_xray_retention_oldest_unarchived_age_seconds";
const LEFT: &str = "aws_xray_retention_min_time_to_expiry_seconds";
const COVERAGE: &str = "aws_xray_retention_coverage_ratio";
const COST: &str = "aws_xray_retention_cost_estimated_usd";
/// Of a sampling rule: share, reservoir, and what clients have reported.
const RULE: [&str; 5] = [
    "aws_xray_sampling_fixed_rate",
    "aws_xray_sampling_reservoir",
    "aws_xray_sampling_requests",
    "aws_xray_sampling_sampled",
    "aws_xray_sampling_borrowed",
];
/// Calls of X-Ray and CloudWatch; archives count theirs beside.
pub const CALLS: &str = "aws_xray_retention_api_calls_total";

/// Bound once.
pub struct Telemetry {
    instruments: Instruments,
    skipped: Counter,
}

/// Where something was found.
#[derive(Clone, Copy, Debug)]
pub struct Where<'a> {
    pub account: &'a str,
    pub region: &'a str,
}

impl Where<'_> {
    fn labels(&self) -> [(&'static str, &str); 2] {
        [("account_id", self.account), ("region", self.region)]
    }

    fn and<'a>(&'a self, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
        [("account_id", self.account), ("region", self.region), (name, value)]
    }
}

impl Telemetry {
    pub fn new(instruments: &Instruments) -> Self {
        Self {
            skipped: instruments.counter(
                "aws_xray_retention_check_skipped_total",
                "Runs that were left out because the one before had not ended.",
                &[],
            ),
            instruments: instruments.clone(),
        }
    }

    pub fn skipped(&self) {
        self.skipped.add(1);
    }

    /// Traces that expired without a copy.
    pub fn lost(&self, place: Where<'_>) -> Counter {
        let help = "Traces that X-Ray has let go and of which no archive has a copy that is not empty.";
        self.instruments
            .counter("aws_xray_retention_lost_total", help, &place.labels())
    }

    /// Traces that the auditor has archived.
    pub fn archived(&self, place: Where<'_>) -> Counter {
        let help = "Traces that were fetched and that an archive has acknowledged.";
        self.instruments
            .counter("aws_xray_retention_archived_total", help, &place.labels())
    }

    pub fn action(&self, place: Where<'_>, action: &str, outcome: &str) -> Counter {
        let labels = [
            ("account_id", place.account),
            ("region", place.region),
            ("action", action),
            ("outcome", outcome),
        ];
        let help = "What was done about traces that need something done.";
        self.instruments
            .counter("aws_xray_retention_actions_total", help, &labels)
    }

    /// How long required copies outlive what an archive promises; above zero it keeps too short.
    pub fn policy_gap(&self, place: Where<'_>, archive: &str, seconds: f64) {
        let help = "Required retention minus how long an archive keeps copies.";
        let name = "aws_xray_retention_policy_gap_seconds";
        self.instruments
            .gauge(name, help, &place.and("archive", archive))
            .set(seconds);
    }

    /// A sampling rule as it is.
    pub fn rule(&self, place: Where<'_>, rule: &str, rate: f64, reservoir: f64) {
        let labels = place.and("rule", rule);
        for (name, help, value) in [
            (RULE[0], "Share of requests that a sampling rule records.", rate),
            (
                RULE[1],
                "Requests a second that a sampling rule records before its share.",
                reservoir,
            ),
        ] {
            self.instruments.gauge(name, help, &labels).set(value);
        }
    }

    /// What clients have last reported for a rule: requests, sampled, borrowed.
    pub fn sampled(&self, place: Where<'_>, rule: &str, counts: [f64; 3]) {
        let labels = place.and("rule", rule);
        for (name, value) in RULE[2..].iter().zip(counts) {
            let help = "What clients have last reported for a sampling rule.";
            self.instruments.gauge(name, help, &labels).set(value);
        }
    }

    /// The rule is gone.
    pub fn no_rule(&self, place: Where<'_>, rule: &str) {
        for name in RULE {
            self.instruments.withdraw(name, &place.and("rule", rule));
        }
    }

    /// Everything that a run has found in one place.
    pub fn tell(&self, place: Where<'_>, report: &ShardReport, now: u64, shown: impl Fn(State) -> Actions) {
        let instruments = &self.instruments;
        for state in State::ALL {
            let labels = place.and("state", state.name());
            if shown(state).metric {
                let help = "Traces by the state of their copies.";
                instruments
                    .gauge(TRACES, help, &labels)
                    .set(report.counts.of(state) as f64);
            } else {
                instruments.withdraw(TRACES, &labels);
            }
        }
        let labels = place.labels();
        let set = |name, help, value: Option<f64>| match value {
            Some(value) => instruments.gauge(name, help, &labels).set(value),
            None => instruments.withdraw(name, &labels),
        };
        let age = report.oldest.map(|start| now.saturating_sub(start) as f64);
        set(OLDEST, "Age of the oldest trace in X-Ray without a complete copy.", age);
        let left = report.min_left.map(|left| left.as_secs_f64());
        set(
            LEFT,
            "Until X-Ray lets go the first trace that has no complete copy.",
            left,
        );
        set(
            COVERAGE,
            "Traces whose state is known by all that there are.",
            Some(report.coverage()),
        );
        for (kind, usd) in report.cost.usd() {
            let labels = [
                ("account_id", place.account),
                ("region", place.region),
                ("kind", kind),
                ("per", "run"),
            ];
            instruments
                .gauge(COST, "What reading costs, estimated.", &labels)
                .set(usd);
            let labels = [labels[0], labels[1], labels[2], ("per", "month")];
            let month = report.monthly.of(kind);
            instruments
                .gauge(COST, "What reading costs, estimated.", &labels)
                .set(month);
        }
        let gauge = |name, help| instruments.gauge(name, help, &labels);
        gauge(
            "aws_xray_retention_check_duration_seconds",
            "How long the last run took.",
        )
        .set(report.took.as_secs_f64());
        if report.is_complete() {
            let help = "When the last run ended that has read all it had to, unix time.";
            gauge("aws_xray_retention_check_last_success_seconds", help).set(now as f64);
        }
    }
}
