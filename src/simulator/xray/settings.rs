//! `xray` of a scenario: what is traced, how it arrives, how the service answers.

use serde::{Deserialize, Serialize};

/// What a simulated account has in X-Ray.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The generated application runs here.
    pub region: String,
    /// Requests to it; 0: none.
    pub traces_per_minute: f64,
    /// Minute from which it gets no more requests.
    pub until: Option<i64>,
    /// The SageMaker endpoint that it asks.
    pub endpoint: String,
    /// Share of the requests in which the model fails.
    pub faults: f64,
    /// Minutes in which the model is eight times as slow.
    pub slow: Vec<Span>,
    /// Share of the traces whose first segment is sent while it runs, a window before the rest.
    pub in_progress: f64,
    /// Share of the traces of which one subsegment is sent alone.
    pub independent: f64,
    /// Segments that come late.
    pub late: Vec<Late>,
    /// A segment shows up to so many seconds after it arrived.
    pub indexing_delay_s: f64,
    /// Summaries on a page.
    pub page: usize,
    /// Page tokens live so long.
    pub token_ttl_s: f64,
    /// Traces live so long.
    pub retention_s: f64,
    /// Seconds that a change of the destination takes.
    pub pending_s: f64,
    /// Whether answers carry `Revision`.
    pub revisions: bool,
    /// Share of the traces that Transaction Search indexes, percent.
    pub indexed_percent: f64,
    /// Rules beside `Default`.
    pub sampling_rules: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: "eu-central-1".to_owned(),
            traces_per_minute: 0.0,
            until: None,
            endpoint: "ranker".to_owned(),
            faults: 0.01,
            slow: Vec::new(),
            in_progress: 0.05,
            independent: 0.2,
            late: Vec::new(),
            indexing_delay_s: 20.0,
            page: 100,
            token_ttl_s: 300.0,
            retention_s: 30.0 * 86_400.0,
            pending_s: 600.0,
            revisions: true,
            indexed_percent: 1.0,
            sampling_rules: Vec::new(),
        }
    }
}

/// Minutes since the scenario's start, from inclusive, to exclusive.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub from: i64,
    pub to: i64,
}

/// A share of the traces and by how much their last segment is late.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Late {
    pub share: f64,
    pub after_s: f64,
}

/// A sampling rule.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub name: String,
    pub priority: i64,
    pub fixed_rate: f64,
    pub reservoir: i64,
    #[serde(default = "any")]
    pub service: String,
}

fn any() -> String {
    "*".to_owned()
}
