//! `slow-vs-baseline`: an operation whose 95th percentile is twice that of the run before, or of the window before.

use std::collections::HashMap;

use super::book::{Evidence, Report, Severity};
use crate::dev::seen::SpanSeen;
use crate::dev::terminal::text::duration_text;

/// Of both sides.
const ENOUGH: usize = 20;
/// Durations that are kept of each side: the newest.
const MOST: usize = 256;
/// Operations that are remembered.
const MOST_OPERATIONS: usize = 1_000;
/// Without runs, what was before this window is the baseline. Nanoseconds.
const WINDOW: u64 = 300 * 1_000_000_000;
/// Smaller differences are nobody's concern. Nanoseconds.
const NOTICEABLE: u64 = 1_000_000;
/// How much slower.
const TIMES: f64 = 2.0;

#[derive(Default)]
struct Operation {
    before: Side,
    now: Side,
}

#[derive(Clone, Default)]
struct Side {
    run: Option<String>,
    began: u64,
    durations: Vec<u64>,
    next: usize,
}

impl Side {
    fn add(&mut self, duration: u64) {
        if self.durations.len() < MOST {
            self.durations.push(duration);
        } else if let Some(slot) = self.durations.get_mut(self.next) {
            *slot = duration;
            self.next = (self.next + 1) % MOST;
        }
    }

    fn p95(&self) -> Option<u64> {
        if self.durations.len() < ENOUGH {
            return None;
        }
        let mut sorted = self.durations.clone();
        let at = (sorted.len() * 95 / 100).min(sorted.len() - 1);
        Some(*sorted.select_nth_unstable(at).1)
    }
}

/// What the rule remembers.
#[derive(Default)]
pub struct Baseline {
    operations: HashMap<(String, String), Operation>,
}

impl Baseline {
    /// Looks at one span: those that somebody waits for.
    pub fn look(&mut self, span: &SpanSeen, at: u64) -> Option<Report> {
        let is_entry = span.parent.is_none() || matches!(span.kind, 2 | 5);
        if !is_entry || span.is_health_check() {
            return None;
        }
        let key = (span.service.name.to_string(), span.name.clone());
        if self.operations.len() >= MOST_OPERATIONS && !self.operations.contains_key(&key) {
            return None;
        }
        let operation = self.operations.entry(key).or_default();
        let run = span.service.run.as_deref();
        let is_new = match (run, operation.now.run.as_deref()) {
            (Some(run), Some(now)) => run != now,
            (Some(_), None) | (None, Some(_)) => true,
            (None, None) => at.saturating_sub(operation.now.began) > WINDOW,
        };
        if is_new && !operation.now.durations.is_empty() {
            let now = std::mem::take(&mut operation.now);
            // A side with too few says nothing: the one before it stays the baseline.
            if now.durations.len() >= ENOUGH {
                operation.before = now;
            }
        }
        if operation.now.durations.is_empty() {
            operation.now.run = run.map(str::to_owned);
            operation.now.began = at;
        }
        operation.now.add(span.duration());
        // Looked at every so often: a percentile costs a sort.
        if operation.now.durations.len() < ENOUGH || !operation.now.durations.len().is_multiple_of(ENOUGH) {
            return None;
        }
        let (before, now) = (operation.before.p95()?, operation.now.p95()?);
        let times = now as f64 / before.max(1) as f64;
        if times < TIMES || now.saturating_sub(before) < NOTICEABLE {
            return None;
        }
        let than = match &operation.before.run {
            Some(run) => format!("run {run}"),
            None => "the five minutes before".to_owned(),
        };
        Some(Report {
            rule: "slow-vs-baseline",
            severity: Severity::Warning,
            subject: format!("{}\0{}", span.service.name, span.name),
            title: format!(
                "{} p95 {}, {than} {} (x{times:.1})",
                span.name,
                duration_text(now),
                duration_text(before)
            ),
            text: format!(
                "The 95th percentile of {} {} is {} over {} spans; in {than} it was {}.",
                span.service.name,
                span.name,
                duration_text(now),
                operation.now.durations.len(),
                duration_text(before)
            ),
            fix: match (&operation.before.run, run) {
                (Some(before), Some(run)) => format!("radiosonde diff {before} {run} shows which spans have grown."),
                _ => "Compare a slow trace with an older one: the page marks what was added and what has grown."
                    .to_owned(),
            },
            evidence: Evidence::span(&span.trace, &span.span, span.name.clone()),
            service: span.service.name.to_string(),
            run: run.map(str::to_owned),
            times: 1,
        })
    }
}
