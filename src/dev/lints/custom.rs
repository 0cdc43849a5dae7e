//! Alerts that the developer writes: a query, how many have to fit, within which time. The exporter `devstore` has them in
//! its configuration.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::book::{Evidence, Report, Severity};
use crate::dev::answers::{Ask, find_rows, newest_rows};
use crate::dev::store::Store;
use crate::pdata::Signal;

/// The rule of their findings; each has its own name as the title.
pub const RULE: &str = "custom";
/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// A look at one query may take so long.
const LONGEST: Duration = Duration::from_millis(500);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomRule {
    pub name: String,
    /// In the query language.
    pub query: String,
    /// So many items have to fit, of all signals together; at least one.
    pub threshold: u64,
    /// Before now.
    pub window: Duration,
    pub severity: Severity,
    /// What to do about it.
    pub fix: String,
}

/// Those of the process.
#[derive(Default)]
pub struct CustomRules(Mutex<State>);

#[derive(Default)]
struct State {
    rules: Vec<CustomRule>,
    looked_at: Option<Instant>,
    /// Which of them held at the last look.
    held: Vec<bool>,
}

impl CustomRules {
    /// In place of those before.
    pub fn set(&self, rules: Vec<CustomRule>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            held: vec![false; rules.len()],
            rules,
            looked_at: None,
        };
    }

    /// Whether it is time for a look.
    pub fn is_due(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = state.looked_at.is_none_or(|at| at.elapsed() >= EVERY);
        if state.rules.is_empty() || !is_due {
            return false;
        }
        state.looked_at = Some(Instant::now());
        true
    }

    /// What holds now. It counts once, however long it holds.
    pub fn look(&self, store: &Store) -> Vec<Report> {
        let rules = self.0.lock().unwrap_or_else(PoisonError::into_inner).rules.clone();
        let mut reports = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let report = look_at(rule, store);
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(held) = state.held.get_mut(at) else { break };
            let held_before = std::mem::replace(held, report.is_some());
            reports.extend(report.map(|report| Report {
                times: u64::from(!held_before),
                ..report
            }));
        }
        reports
    }
}

fn look_at(rule: &CustomRule, store: &Store) -> Option<Report> {
    let now = store.now();
    // It was read when the configuration was.
    let mut ask = Ask::all(&rule.query, 1, now).ok()?;
    let window = u64::try_from(rule.window.as_nanos()).unwrap_or(u64::MAX);
    ask.window.from = now.saturating_sub(window);
    ask.deadline = Some(Instant::now() + LONGEST);
    let snapshot = store.snapshot();
    let mut total = 0;
    let mut newest: Option<(u64, Evidence)> = None;
    for signal in Signal::ALL {
        let (found, _) = find_rows(store, &snapshot, &ask, signal);
        total += found.iter().map(|found| found.rows.count() as u64).sum::<u64>();
        let Some((time, at, row)) = newest_rows(&found, 1).into_iter().next() else {
            continue;
        };
        if newest.as_ref().is_some_and(|(have, _)| *have >= time) {
            continue;
        }
        let segment = &found[at].segment;
        let evidence = match signal {
            Signal::Traces => Evidence {
                q: Some(rule.query.clone()),
                ..Evidence::span(&segment.trace(row), &segment.span(row).to_be_bytes(), segment.name(row))
            },
            Signal::Metrics => Evidence::query("metric", rule.query.clone(), segment.name(row)),
            Signal::Logs => Evidence::query("log", rule.query.clone(), "the newest log record that fits"),
        };
        newest = Some((time, evidence));
    }
    let (_, evidence) = newest.filter(|_| total >= rule.threshold.max(1))?;
    let seconds = rule.window.as_secs();
    Some(Report {
        rule: RULE,
        severity: rule.severity,
        subject: rule.name.clone(),
        title: rule.name.clone(),
        text: format!(
            "{total} in the last {seconds} s fit {}; {} are enough.",
            rule.query,
            rule.threshold.max(1)
        ),
        fix: rule.fix.clone(),
        evidence,
        service: String::new(),
        run: None,
        times: 1,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    use super::*;
    use crate::pdata::{Batch, Origin};

    fn put(store: &Store, id: u8, name: &str, age: Duration) {
        let start = store.now() - u64::try_from(age.as_nanos()).unwrap();
        let span = Span {
            trace_id: vec![id; 16],
            span_id: vec![id; 8],
            name: name.to_owned(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 5,
            ..Span::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans {
                    spans: vec![span],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let bytes = request.encode_to_vec();
        store.take(Batch::from_wire(
            Signal::Traces,
            bytes.into(),
            1,
            Arc::new(Origin::default()),
        ));
    }

    #[test]
    fn it_holds_when_enough_fit_within_the_window_and_counts_once() {
        let rules = CustomRules::default();
        assert!(!rules.is_due(), "there are none");
        rules.set(vec![CustomRule {
            name: "checkout fails".to_owned(),
            query: "name=checkout".to_owned(),
            threshold: 2,
            window: Duration::from_secs(60),
            severity: Severity::Critical,
            fix: "look at the card service".to_owned(),
        }]);
        assert!(rules.is_due() && !rules.is_due());
        let store = Store::default();
        put(&store, 1, "checkout", Duration::from_secs(1));
        put(&store, 2, "checkout", Duration::from_secs(600));
        put(&store, 3, "cart", Duration::from_secs(1));
        assert!(rules.look(&store).is_empty(), "one in the window is too few");
        put(&store, 4, "checkout", Duration::from_millis(1));
        let found = rules.look(&store);
        assert_eq!((found.len(), found[0].times), (1, 1));
        assert_eq!(found[0].title, "checkout fails");
        assert!(
            found[0].text.starts_with("2 in the last 60 s fit name=checkout"),
            "{}",
            found[0].text
        );
        assert_eq!(found[0].evidence.trace_id.as_deref(), Some("04".repeat(16).as_str()));
        assert_eq!(rules.look(&store)[0].times, 0, "it holds on");
    }
}
