//! What the tests of the notifying side share.

use std::sync::Arc;

use super::super::{EscalationStep, Guidance, Told};

/// Nanoseconds of a second.
pub const S: u64 = 1_000_000_000;

/// An alert, `starts` and `ends` in seconds.
pub fn told(name: &str, labels: &[(&str, &str)], starts: u64, ends: Option<u64>) -> Told {
    told_with(name, labels, starts, ends, Guidance::default())
}

/// The same with an escalation: seconds, receiver.
pub fn told_escalating(
    name: &str,
    labels: &[(&str, &str)],
    starts: u64,
    ends: Option<u64>,
    steps: &[(u64, &str)],
) -> Told {
    let steps = steps.iter().map(|(after, to)| EscalationStep {
        after: after * S,
        to: (*to).to_owned(),
    });
    let guidance = Guidance {
        resolution_steps: vec!["look".to_owned(), "act".to_owned()],
        contact: "team".to_owned(),
        escalation: steps.collect(),
        runbook_url: "https://runbook.example/x".to_owned(),
    };
    told_with(name, labels, starts, ends, guidance)
}

fn told_with(name: &str, labels: &[(&str, &str)], starts: u64, ends: Option<u64>, guidance: Guidance) -> Told {
    let mut all = vec![("alertname".to_owned(), name.to_owned())];
    all.extend(
        labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    all.sort();
    Told {
        labels: all,
        annotations: vec![("summary".to_owned(), format!("{name} is wrong"))],
        starts_at: starts * S,
        ends_at: ends.map(|ends| ends * S),
        value: 1.5,
        guidance: Arc::new(guidance),
        pattern: String::new(),
        cause: String::new(),
        traces: Vec::new(),
    }
}
