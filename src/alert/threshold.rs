//! One threshold over one metric, in event time: only the data says what time it is, so the result does not depend on
//! when a batch happens to arrive.

use std::collections::BTreeMap;

use super::Template;

/// Names and values, sorted by name.
pub type Labels = Vec<(String, String)>;

/// Label sets that are followed; more are not looked at, and counted by the caller.
const MAX_STATES: usize = 10_000;

/// What is watched, and what to do about it.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    /// `critical`, `warning` or `info`.
    pub severity: String,
    /// A value above this is a breach.
    pub above: f64,
    /// Nanoseconds that a breach must last.
    pub hold: u64,
    /// Nanoseconds without a breach after which the alert is over.
    pub resolve_after: u64,
    pub summary: Template,
    pub resolution_steps: Vec<String>,
}

/// One point of the watched metric. Times are nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Labels,
    /// Start of the period the value is for; 0 where the point has none.
    pub start: u64,
    pub time: u64,
    pub value: f64,
}

/// An alert as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub rule: String,
    pub severity: String,
    pub labels: Labels,
    /// The value that made it fire; the worst one when it is over.
    pub value: f64,
    /// Start of the breach.
    pub since: u64,
    /// Of the point that made it fire or resolve.
    pub at: u64,
    pub summary: String,
    pub resolution_steps: Vec<String>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    Fired(Alert),
    Resolved(Alert),
}

#[derive(Clone, Debug)]
struct State {
    since: u64,
    /// Time of the latest breaching point.
    latest: u64,
    worst: f64,
    firing: bool,
}

/// A rule and where each label set stands.
#[derive(Debug)]
pub struct Threshold {
    rule: Rule,
    states: BTreeMap<Labels, State>,
    /// The newest time any data carried.
    newest: u64,
}

impl Threshold {
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            states: BTreeMap::new(),
            newest: 0,
        }
    }

    /// Looks at one point. Returns false when it was not looked at, because too many label sets are followed already.
    pub fn observe(&mut self, sample: &Sample, transitions: &mut Vec<Transition>) -> bool {
        self.newest = self.newest.max(sample.time);
        if sample.value <= self.rule.above || sample.value.is_nan() {
            self.calm(sample, transitions);
            return true;
        }
        let known = self.states.contains_key(&sample.labels);
        if !known && self.states.len() >= MAX_STATES {
            return false;
        }
        let begin = if sample.start == 0 { sample.time } else { sample.start };
        let state = self.states.entry(sample.labels.clone()).or_insert(State {
            since: begin,
            latest: sample.time,
            worst: sample.value,
            firing: false,
        });
        // A hole between two breaches is a calm minute: waiting starts over.
        if !state.firing && begin > state.latest {
            state.since = begin;
        }
        state.since = state.since.min(begin);
        state.latest = state.latest.max(sample.time);
        state.worst = state.worst.max(sample.value);
        if !state.firing && state.latest - state.since >= self.rule.hold {
            state.firing = true;
            let since = state.since;
            transitions.push(Transition::Fired(alert(&self.rule, sample, since, sample.value)));
        }
        true
    }

    /// A value below the threshold that is newer than the breach ends it.
    fn calm(&mut self, sample: &Sample, transitions: &mut Vec<Transition>) {
        let Some(state) = self.states.get(&sample.labels) else {
            return;
        };
        if sample.time <= state.latest {
            return;
        }
        if !state.firing {
            self.states.remove(&sample.labels);
        } else if sample.time - state.latest >= self.rule.resolve_after {
            let (since, worst) = (state.since, state.worst);
            self.states.remove(&sample.labels);
            transitions.push(Transition::Resolved(alert(&self.rule, sample, since, worst)));
        }
    }

    /// Other data carried this time: a sparse metric is silent while nothing happens, and that it is over shows only in
    /// what its neighbours say. Data that does not arrive at all resolves nothing.
    pub fn time_passed(&mut self, time: u64, transitions: &mut Vec<Transition>) {
        self.newest = self.newest.max(time);
        let (rule, newest) = (&self.rule, self.newest);
        self.states.retain(|labels, state| {
            if newest.saturating_sub(state.latest) < rule.resolve_after {
                return true;
            }
            if state.firing {
                let sample = Sample {
                    labels: labels.clone(),
                    start: 0,
                    time: newest,
                    value: state.worst,
                };
                transitions.push(Transition::Resolved(alert(rule, &sample, state.since, state.worst)));
            }
            false
        });
    }
}

fn alert(rule: &Rule, sample: &Sample, since: u64, value: f64) -> Alert {
    Alert {
        rule: rule.name.clone(),
        severity: rule.severity.clone(),
        labels: sample.labels.clone(),
        value,
        since,
        at: sample.time,
        summary: rule.summary.render(&sample.labels, value),
        resolution_steps: rule.resolution_steps.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    fn threshold(hold: u64, resolve_after: u64) -> Threshold {
        Threshold::new(Rule {
            name: "WriteThrottles".to_owned(),
            severity: "critical".to_owned(),
            above: 0.0,
            hold: hold * MINUTE,
            resolve_after: resolve_after * MINUTE,
            summary: Template::parse("{{ $labels.TableName }}: {{ $value }}").unwrap(),
            resolution_steps: vec!["raise capacity".to_owned()],
        })
    }

    fn point(minute: u64, value: f64) -> Sample {
        Sample {
            labels: vec![("TableName".to_owned(), "orders".to_owned())],
            start: minute * MINUTE,
            time: (minute + 1) * MINUTE,
            value,
        }
    }

    /// `F` for fired, `R` for resolved, at which minute.
    fn run(threshold: &mut Threshold, points: &[(u64, f64)]) -> Vec<(char, u64)> {
        let mut told = Vec::new();
        for (minute, value) in points {
            let mut transitions = Vec::new();
            assert!(threshold.observe(&point(*minute, *value), &mut transitions));
            told.extend(transitions.into_iter().map(|transition| match transition {
                Transition::Fired(_) => ('F', *minute),
                Transition::Resolved(_) => ('R', *minute),
            }));
        }
        told
    }

    #[test]
    fn fires_at_once_without_a_hold_and_resolves_after_calm() {
        let told = run(
            &mut threshold(0, 2),
            &[(1, 0.0), (2, 5.0), (3, 9.0), (4, 0.0), (5, 0.0), (6, 0.0)],
        );
        assert_eq!(told, [('F', 2), ('R', 5)]);
    }

    #[test]
    fn stays_silent_at_the_threshold_and_until_the_hold_is_over() {
        assert_eq!(run(&mut threshold(0, 2), &[(1, 0.0), (2, 0.0)]), []);
        assert_eq!(run(&mut threshold(3, 2), &[(1, 1.0), (2, 1.0), (4, 1.0), (5, 1.0)]), []);
        assert_eq!(run(&mut threshold(3, 2), &[(1, 1.0), (2, 1.0), (3, 1.0)]), [('F', 3)]);
    }

    #[test]
    fn silence_of_everything_resolves_nothing_but_neighbours_time_does() {
        let mut threshold = threshold(0, 5);
        assert_eq!(run(&mut threshold, &[(1, 7.0), (2, 3.0)]), [('F', 1)]);
        let mut transitions = Vec::new();
        threshold.time_passed(4 * MINUTE, &mut transitions);
        assert_eq!(transitions, []);
        threshold.time_passed(9 * MINUTE, &mut transitions);
        let [Transition::Resolved(alert)] = &transitions[..] else {
            panic!("{transitions:?}");
        };
        assert_eq!((alert.summary.as_str(), alert.since), ("orders: 7", MINUTE));
        assert_eq!(alert.resolution_steps, ["raise capacity"]);
    }

    #[test]
    fn an_old_calm_point_does_not_end_a_newer_breach() {
        let mut threshold = threshold(0, 1);
        assert_eq!(run(&mut threshold, &[(9, 7.0), (3, 0.0), (10, 2.0)]), [('F', 9)]);
    }

    #[test]
    fn more_label_sets_than_can_be_followed_are_refused() {
        let mut threshold = threshold(0, 1);
        let mut transitions = Vec::new();
        for n in 0..=MAX_STATES {
            let mut sample = point(1, 1.0);
            sample.labels[0].1 = n.to_string();
            assert_eq!(threshold.observe(&sample, &mut transitions), n < MAX_STATES);
        }
        assert_eq!(transitions.len(), MAX_STATES);
    }
}
