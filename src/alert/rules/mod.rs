//! Rule files: Prometheus' format and our `x-radiosonde` block, read with positions into [`Rule`]s.
//!
//! [`read`] takes one file apart, [`lint`] says what can be read and still cannot work. The block stands inline, or as a
//! second YAML document, which stock promtool does not look at.

mod block;
mod duration;
pub mod lint;
pub mod metrics;
mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use duration::{PromDuration, parse_duration};
pub use metrics::{AwsMetric, aws_metric};
pub use read::{Reading, read};

use super::promql::Expression;
use super::store::Fill;
use super::{Guidance, Template};

/// How loud an alert is.
pub const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// What a rule file holds.
#[derive(Clone, Debug, Default)]
pub struct RuleFile {
    /// As messages name it.
    pub name: String,
    pub groups: Vec<Group>,
}

/// Rules that are evaluated together.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    /// Milliseconds; `None`: the engine's.
    pub interval: Option<i64>,
    /// Most alerts of one rule; 0: any number.
    pub limit: usize,
    pub rules: Vec<Arc<Rule>>,
}

/// One alerting rule. Durations are milliseconds.
#[derive(Clone, Debug)]
pub struct Rule {
    pub group: String,
    pub name: String,
    pub expr: Expression,
    /// `for`.
    pub hold: i64,
    pub keep_firing_for: i64,
    pub labels: Vec<(String, Template)>,
    pub annotations: Vec<(String, Template)>,
    pub guidance: Arc<Guidance>,
    pub extra: Extra,
    /// `file:line:column` of the alert's name.
    pub place: String,
}

/// What our block says besides guidance.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    pub missing: Option<Missing>,
    /// How long after the end of a period its points are waited for; `None`: learned.
    pub delay: Option<i64>,
    pub allowed_lateness: Option<i64>,
    pub datapoints: Option<Datapoints>,
    pub recover: Option<Recover>,
    pub pair: Option<String>,
    pub anomaly: Option<Anomaly>,
    pub classify: Option<Classify>,
    /// Names of alerts that this one makes unnecessary.
    pub inhibits: Vec<String>,
    pub enabled: Option<bool>,
    /// History that must be there before the rule is evaluated.
    pub min_state: Option<i64>,
}

/// What the absence of a point means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Zero,
    Hold(i64),
    /// Counts neither way.
    Ignore,
    Ok,
    Breach,
    /// A state of its own after so long.
    NoData(i64),
}

impl Missing {
    /// What stands in the place of missing points.
    pub fn fill(self) -> Fill {
        match self {
            Missing::Zero => Fill::Zero,
            Missing::Hold(age) => Fill::Hold(age),
            _ => Fill::None,
        }
    }
}

/// M of the last N results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datapoints {
    pub m: u32,
    pub n: u32,
    pub period: i64,
}

/// When a firing alert is over.
#[derive(Clone, Debug)]
pub struct Recover {
    pub expr: Expression,
    pub datapoints: Option<Datapoints>,
}

/// A band around what is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anomaly {
    /// Width of the band in median absolute deviations.
    pub k: f64,
    pub direction: Direction,
    /// The least half width of the band, in units of the value.
    pub min: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    Both,
}

/// Which annotations the engine adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classify {
    DynamoDbThrottle,
}

impl Rule {
    /// The severity that is written in the labels.
    pub fn severity(&self) -> &str {
        let found = self.labels.iter().find(|(name, _)| name == "severity");
        found.map_or("", |(_, template)| template.source())
    }

    /// The identity of what a rule measures: what is usual for it stays known when its thresholds or words change.
    pub fn measure(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for text in [&self.group, &self.name, &self.expr.text] {
            hasher.update(text.as_bytes());
            hasher.update(&[0xff]);
        }
        hasher.digest()
    }

    /// The identity of a rule: an alert of a rule that was changed in anything but its words is another alert.
    pub fn identity(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        let mut add = |text: &str| {
            hasher.update(text.as_bytes());
            hasher.update(&[0xff]);
        };
        add(&self.group);
        add(&self.name);
        add(&self.expr.text);
        add(&format!("{} {}", self.hold, self.keep_firing_for));
        add(&format!(
            "{:?} {:?} {:?}",
            self.extra.datapoints, self.extra.missing, self.extra.anomaly
        ));
        if let Some(recover) = &self.extra.recover {
            add(&recover.expr.text);
            add(&format!("{:?}", recover.datapoints));
        }
        for (name, value) in &self.labels {
            add(name);
            add(value.source());
        }
        hasher.digest()
    }

    /// How far back the rule looks, in milliseconds.
    pub fn reach(&self, lookback: i64) -> i64 {
        let recover = self
            .extra
            .recover
            .as_ref()
            .map_or(0, |recover| recover.expr.reach(lookback));
        self.expr.reach(lookback).max(recover)
    }
}
