//! What a run has found, and what it has cost.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::retention::archive::TraceId;
use crate::retention::state::{Counts, State};

/// USD per trace that X-Ray scans or gives.
const USD_PER_TRACE: f64 = 0.50 / 1e6;
/// USD per metric that GetMetricData is asked for.
const USD_PER_METRIC: f64 = 0.01 / 1_000.0;
/// USD per read request unit of DynamoDB (unverified).
const USD_PER_READ_UNIT: f64 = 0.125 / 1e6;
/// Examples of trace ids per state.
pub const EXAMPLES: usize = 10;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Traces that GetTraceSummaries has scanned.
    pub scanned: u64,
    /// Traces that BatchGetTraces has given.
    pub retrieved: u64,
    /// Metrics of GetMetricData.
    pub metrics: u64,
    pub read_units: f64,
}

impl Cost {
    /// By what it was for.
    pub fn usd(&self) -> [(&'static str, f64); 4] {
        [
            ("scan", self.scanned as f64 * USD_PER_TRACE),
            ("retrieve", self.retrieved as f64 * USD_PER_TRACE),
            ("count", self.metrics as f64 * USD_PER_METRIC),
            ("probe", self.read_units * USD_PER_READ_UNIT),
        ]
    }

    pub fn total(&self) -> f64 {
        self.usd().iter().map(|(_, usd)| usd).sum()
    }

    pub fn add(&mut self, other: &Self) {
        self.scanned += other.scanned;
        self.retrieved += other.retrieved;
        self.metrics += other.metrics;
        self.read_units += other.read_units;
    }
}

/// What a month will cost, USD; nothing where nobody knows how many traces there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Monthly {
    pub scan: f64,
    pub retrieve: f64,
}

impl Monthly {
    /// Every trace is listed twice, and those that are not archived when they are written are fetched once.
    pub fn of_traces(per_day: f64, fetched_per_day: f64) -> Self {
        const DAYS: f64 = 730.0 / 24.0;
        Self {
            scan: 2.0 * per_day * DAYS * USD_PER_TRACE,
            retrieve: fetched_per_day * DAYS * USD_PER_TRACE,
        }
    }

    pub fn of(&self, kind: &str) -> f64 {
        match kind {
            "scan" => self.scan,
            "retrieve" => self.retrieve,
            _ => 0.0,
        }
    }

    pub fn total(&self) -> f64 {
        self.scan + self.retrieve
    }
}

/// One account in one region.
#[derive(Clone, Debug, Default)]
pub struct ShardReport {
    pub place: String,
    pub counts: Counts,
    /// Start of the oldest trace in X-Ray without a complete copy, unix seconds.
    pub oldest: Option<u64>,
    /// Until the first of them expires.
    pub min_left: Option<Duration>,
    pub listed: u64,
    /// As CloudWatch has counted, where it was asked about every day.
    pub expected: Option<u64>,
    pub cost: Cost,
    pub monthly: Monthly,
    /// Seconds by archive: required minus kept.
    pub policy_gaps: BTreeMap<String, f64>,
    pub examples: BTreeMap<State, Vec<TraceId>>,
    /// What could not be read, and for how many traces or days.
    pub troubles: BTreeMap<String, u64>,
    pub notes: Vec<String>,
    /// Why nothing can be said at all.
    pub failed: Option<String>,
    pub archived: u64,
    pub took: Duration,
}

impl ShardReport {
    /// One more example, while there is room.
    pub fn example(&mut self, state: State, id: TraceId) {
        let examples = self.examples.entry(state).or_default();
        if examples.len() < EXAMPLES && !examples.contains(&id) {
            examples.push(id);
        }
    }

    /// Something could not be read.
    pub fn trouble(&mut self, why: &str) {
        // A reason may name what it is about: a few hundred are enough for anybody.
        if self.troubles.len() < 200 || self.troubles.contains_key(why) {
            *self.troubles.entry(why.to_owned()).or_default() += 1;
        }
    }

    /// Traces whose state is known by all that there are.
    pub fn coverage(&self) -> f64 {
        if self.failed.is_some() {
            return 0.0;
        }
        let known = self.counts.total() - self.counts.of(State::Unknown);
        let all = self.counts.total().max(self.expected.unwrap_or(0));
        if all == 0 { 1.0 } else { known as f64 / all as f64 }
    }

    /// It has read all it had to.
    pub fn is_complete(&self) -> bool {
        self.failed.is_none() && self.troubles.is_empty()
    }
}

/// All places together.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub shards: Vec<ShardReport>,
    /// Why the check itself could not be made.
    pub failed: Option<String>,
    /// Unix seconds.
    pub at: u64,
    pub sample: f64,
    pub filter: String,
}

impl Report {
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in &self.shards {
            counts.extend(&shard.counts);
        }
        counts
    }

    fn has_failed(&self) -> bool {
        self.failed.is_some() || self.shards.iter().any(|shard| shard.failed.is_some())
    }

    /// As monitoring plug-ins want it. `wanted: false`: 0 unless the check failed.
    pub fn exit_code(&self, wanted: bool) -> u8 {
        let failed = self.has_failed();
        if !wanted {
            return if failed { 3 } else { 0 };
        }
        let gap = self
            .shards
            .iter()
            .any(|shard| shard.policy_gaps.values().any(|gap| *gap > 0.0));
        match self.counts().exit_code(failed) {
            // A gap is `short_copy` at the level of the policy.
            0 if gap => 1,
            code => code,
        }
    }

    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for shard in &self.shards {
            cost.add(&shard.cost);
        }
        cost
    }

    /// For scripts.
    pub fn to_json(&self) -> Json {
        let counts = self.counts();
        let states: BTreeMap<&str, u64> = State::ALL
            .iter()
            .map(|state| (state.name(), counts.of(*state)))
            .collect();
        let cost = self.cost();
        let usd: BTreeMap<&str, f64> = cost.usd().into_iter().collect();
        let shards: Vec<Json> = self.shards.iter().map(|shard| shard_json(shard, self.at)).collect();
        let oldest = self.shards.iter().filter_map(|shard| shard.oldest).min();
        let left = self.shards.iter().filter_map(|shard| shard.min_left).min();
        json!({
            "at": self.at,
            "states": states,
            "urgent": counts.urgent,
            "oldest_unarchived_age_s": oldest.map(|start| self.at.saturating_sub(start)),
            "min_time_to_expiry_s": left.map(|left| left.as_secs()),
            "failed": self.failed,
            "scope": {"filter_expression": self.filter, "sample": self.sample},
            "cost": {
                "scanned": cost.scanned, "retrieved": cost.retrieved, "metrics": cost.metrics,
                "read_units": cost.read_units, "usd": usd, "usd_total": cost.total(),
                "usd_per_month": self.shards.iter().map(|shard| shard.monthly.total()).sum::<f64>(),
            },
            "places": shards,
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let counts = self.counts();
        let _ = writeln!(text, "Traces by the state of their copies:");
        for state in State::ALL {
            let count = counts.of(state);
            if count > 0 {
                let _ = writeln!(text, "  {:<13} {count}", state.name());
            }
        }
        if counts.total() == 0 {
            let _ = writeln!(text, "  none");
        }
        if counts.urgent > 0 {
            let _ = writeln!(text, "  of them urgent: {}", counts.urgent);
        }
        if !self.filter.is_empty() {
            let _ = writeln!(text, "Only traces that match {:?}.", self.filter);
        }
        if self.sample < 1.0 {
            let _ = writeln!(text, "Estimated from {} % of the traces.", self.sample * 100.0);
        }
        for shard in &self.shards {
            shard_text(&mut text, shard, self.at);
        }
        let cost = self.cost();
        let _ = writeln!(
            text,
            "Cost: {} traces scanned, {} retrieved, {:.0} read units: {:.4} USD{}.",
            cost.scanned,
            cost.retrieved,
            cost.read_units,
            cost.total(),
            match self.shards.iter().map(|shard| shard.monthly.total()).sum::<f64>() {
                0.0 => String::new(),
                month => format!("; a month of scheduled checks about {month:.2} USD"),
            }
        );
        if let Some(failed) = &self.failed {
            let _ = writeln!(text, "The check failed: {failed}");
        }
        text
    }
}

fn shard_json(shard: &ShardReport, at: u64) -> Json {
    let examples: BTreeMap<&str, Vec<String>> = shard
        .examples
        .iter()
        .map(|(state, ids)| (state.name(), ids.iter().map(TraceId::to_string).collect()))
        .collect();
    json!({
        "place": shard.place,
        "listed": shard.listed,
        "expected": shard.expected,
        "coverage": shard.coverage(),
        "oldest_unarchived_age_s": shard.oldest.map(|start| at.saturating_sub(start)),
        "min_time_to_expiry_s": shard.min_left.map(|left| left.as_secs()),
        "policy_gaps_s": shard.policy_gaps,
        "examples": examples,
        "troubles": shard.troubles,
        "notes": shard.notes,
        "archived": shard.archived,
        "failed": shard.failed,
    })
}

fn shard_text(text: &mut String, shard: &ShardReport, at: u64) {
    use std::fmt::Write;
    let _ = writeln!(
        text,
        "{}: {} traces listed, coverage {:.1} %",
        shard.place,
        shard.listed,
        shard.coverage() * 100.0
    );
    if let Some(oldest) = shard.oldest {
        let _ = writeln!(
            text,
            "  oldest without a complete copy: {}",
            days(at.saturating_sub(oldest))
        );
    }
    if let Some(left) = shard.min_left {
        let _ = writeln!(text, "  the next of them expires in {}", days(left.as_secs()));
    }
    for (state, ids) in &shard.examples {
        let ids: Vec<String> = ids.iter().map(TraceId::to_string).collect();
        let _ = writeln!(text, "  {}: {}", state.name(), ids.join(" "));
    }
    for (archive, gap) in shard.policy_gaps.iter().filter(|(_, gap)| **gap > 0.0) {
        let _ = writeln!(
            text,
            "  {archive} keeps copies {} shorter than required",
            days(*gap as u64)
        );
    }
    for (why, times) in &shard.troubles {
        let _ = writeln!(text, "  unknown ({times}): {why}");
    }
    for note in &shard.notes {
        let _ = writeln!(text, "  {note}");
    }
    if let Some(failed) = &shard.failed {
        let _ = writeln!(text, "  cannot be checked: {failed}");
    }
}

/// `2d 3h`, `3h 20m`, `50s`.
pub fn days(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
