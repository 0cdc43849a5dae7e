//! Runs a test on a virtual clock: points come when they are due, each minute is a round of the engine.

use std::collections::BTreeSet;

use super::file::{AlertCase, Expected, ExpectedAlert, Test, TestFile};
use crate::alert::Told;
use crate::alert::engine::{Engine, EngineSettings, SourceKind};
use crate::alert::promql::Evaluation;
use crate::alert::rules::metrics::{default_fill, texts_and_name};
use crate::alert::rules::{Group, Rule};
use crate::alert::store::{Fill, Origin, Point, SeriesId};
use std::sync::Arc;

/// What was not as expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub test: String,
    pub place: String,
    pub message: String,
}

/// A point on its way.
#[derive(Clone, Copy)]
struct Coming {
    arrives: i64,
    series: usize,
    time: i64,
    value: f64,
}

/// Runs every test of a file over the groups of its rule files. Rules that are switched off run too: they are tested.
pub fn run(file: &TestFile, groups: &[Group]) -> Vec<Failure> {
    let groups: Vec<Group> = groups.iter().map(switched_on).collect();
    let mut failures = Vec::new();
    for (number, test) in file.tests.iter().enumerate() {
        let name = if test.name.is_empty() {
            format!("test {}", number + 1)
        } else {
            test.name.clone()
        };
        let mut trial = Trial::new(test, file.interval, &groups, name);
        trial.run();
        failures.extend(trial.failures);
    }
    failures
}

fn switched_on(group: &Group) -> Group {
    let rules = group.rules.iter().map(|rule| {
        let mut rule = Rule::clone(rule);
        rule.extra.enabled = None;
        Arc::new(rule)
    });
    Group {
        rules: rules.collect(),
        ..group.clone()
    }
}

struct Trial<'a> {
    test: &'a Test,
    groups: &'a [Group],
    name: String,
    step: i64,
    settings: EngineSettings,
    engine: Engine,
    source: u32,
    bindings: Vec<Vec<u32>>,
    coming: Vec<Coming>,
    /// Points that have arrived: what a restart reads again.
    arrived: usize,
    notified: Vec<Expected>,
    known: BTreeSet<(u64, u64, bool)>,
    failures: Vec<Failure>,
}

impl<'a> Trial<'a> {
    fn new(test: &'a Test, interval: i64, groups: &'a [Group], name: String) -> Self {
        let mut settings = EngineSettings {
            interval,
            ..EngineSettings::default()
        };
        settings.limits.bytes = 1 << 30;
        let step = groups
            .iter()
            .filter_map(|group| group.interval)
            .chain([interval])
            .min()
            .unwrap_or(interval);
        let mut coming = coming(test);
        coming.sort_by_key(|point| (point.arrives, point.time));
        let mut trial = Self {
            test,
            groups,
            name,
            step,
            settings,
            engine: Engine::new(settings, &[]),
            source: 0,
            bindings: Vec::new(),
            coming,
            arrived: 0,
            notified: Vec::new(),
            known: BTreeSet::new(),
            failures: Vec::new(),
        };
        trial.start();
        trial.engine.begin_at(0);
        trial
    }

    /// An engine as after the start of the process.
    fn start(&mut self) {
        self.engine = Engine::new(self.settings, self.groups);
        self.bindings = self
            .test
            .expressions
            .iter()
            .map(|case| self.engine.bind(&case.expr))
            .collect();
        self.source = self.engine.source("trial|", SourceKind::Polled);
    }

    fn run(&mut self) {
        let cases = self.test.alerts.iter().map(|case| case.at);
        let cases = cases.chain(self.test.expressions.iter().map(|case| case.at));
        let expected = self
            .test
            .extended
            .notifications
            .iter()
            .flatten()
            .map(|expected| expected.at);
        let last = cases.chain(expected).max().unwrap_or(0);
        let mut now = 0;
        while now <= last {
            if self.test.extended.restarts.contains(&now) {
                self.restart(now);
            }
            self.arrive(now);
            let fails = |(from, to): &(i64, i64)| *from <= now && now < *to;
            if !self.test.extended.poll_failures.iter().any(fails) {
                self.engine.cover(self.source, now, now);
            }
            self.engine.round(now);
            let told = self.engine.told();
            self.note(now, &told);
            self.engine.mark_told();
            self.compare(now, &told);
            now += self.step;
        }
        self.compare_notifications();
    }

    /// Times between two rounds are looked at in the round before.
    fn is_due(&self, at: i64, now: i64) -> bool {
        at >= now && at < now + self.step
    }

    fn arrive(&mut self, now: i64) {
        while let Some(point) = self
            .coming
            .get(self.arrived)
            .copied()
            .filter(|point| point.arrives <= now)
        {
            if let Some(id) = self.series(point.series) {
                self.engine.push(id, point.time, Point::Float(point.value), now);
            }
            self.arrived += 1;
        }
    }

    fn series(&mut self, position: usize) -> Option<SeriesId> {
        let labels = &self.test.series.get(position)?.labels;
        let (texts, name) = texts_and_name(labels);
        let period = self.test.extended.period;
        let origin = Origin {
            period: period.and_then(|period| u32::try_from(period).ok()).unwrap_or(0),
            source: self.source,
            fill: if period.is_some() {
                default_fill(name)
            } else {
                Fill::None
            },
        };
        self.engine.intern(&texts, origin).ok()
    }

    /// The state is loaded, and what arrived before is read again from its sources.
    fn restart(&mut self, now: i64) {
        let saved = self.engine.save();
        self.start();
        for (identity, bytes) in saved {
            self.engine.restore(identity, &bytes);
        }
        let arrived = self.arrived;
        for position in 0..arrived {
            let point = self.coming[position];
            if let Some(id) = self.series(point.series) {
                self.engine.load(id, point.time, Point::Float(point.value), now);
            }
        }
        self.engine.recheck();
    }

    fn note(&mut self, now: i64, told: &[Told]) {
        for one in told {
            let key = (one.fingerprint(), one.starts_at);
            let began = self.known.insert((key.0, key.1, false));
            let ended = one.ends_at.is_some() && self.known.insert((key.0, key.1, true));
            for (is_new, resolved) in [(began, false), (ended, true)] {
                if is_new {
                    self.notified.push(Expected {
                        at: now,
                        alert: label(&one.labels, "alertname").to_owned(),
                        resolved,
                        labels: one.labels.clone(),
                    });
                }
            }
        }
    }

    fn compare(&mut self, now: i64, told: &[Told]) {
        for case in &self.test.alerts {
            if self.is_due(case.at, now)
                && let Some(message) = compare_alerts(case, told)
            {
                self.failures.push(Failure {
                    test: self.name.clone(),
                    place: case.place.clone(),
                    message,
                });
            }
        }
        for (case, bindings) in self.test.expressions.iter().zip(&self.bindings) {
            if !self.is_due(case.at, now) {
                continue;
            }
            let evaluation = Evaluation::new(self.engine.store(), bindings);
            let found = match evaluation.vector(&case.expr, case.at) {
                Ok(elements) => Ok(elements
                    .iter()
                    .map(|element| (evaluation.texts(&element.labels), element.value))
                    .collect::<Vec<_>>()),
                Err(error) => Err(error.to_string()),
            };
            let message = match found {
                Err(message) => message,
                Ok(found) if same_samples(&found, &case.expected) => continue,
                Ok(found) => format!("expected {:?}\n      got {found:?}", case.expected),
            };
            self.failures.push(Failure {
                test: self.name.clone(),
                place: case.place.clone(),
                message: format!("{} at {}: {message}", case.expr.text.trim(), time_text(case.at)),
            });
        }
    }

    fn compare_notifications(&mut self) {
        let Some(expected) = &self.test.extended.notifications else {
            return;
        };
        let fits = |(got, wanted): (&Expected, &Expected)| {
            let labels = wanted.labels.iter().all(|label| got.labels.contains(label));
            got.at == wanted.at && got.alert == wanted.alert && got.resolved == wanted.resolved && labels
        };
        let same = self.notified.len() == expected.len() && self.notified.iter().zip(expected).all(fits);
        if same {
            return;
        }
        let lines = |list: &[Expected]| -> String {
            let line = |one: &Expected| {
                let state = if one.resolved { "resolved" } else { "firing" };
                format!(
                    "\n      {} {} {state} {}",
                    time_text(one.at),
                    one.alert,
                    labels_text(&one.labels)
                )
            };
            if list.is_empty() {
                " none".to_owned()
            } else {
                list.iter().map(line).collect()
            }
        };
        self.failures.push(Failure {
            test: self.name.clone(),
            place: String::new(),
            message: format!(
                "notifications expected:{}\n    got:{}",
                lines(expected),
                lines(&self.notified)
            ),
        });
    }
}

/// Every point of a test with the time it arrives.
fn coming(test: &Test) -> Vec<Coming> {
    let mut coming = Vec::new();
    for (position, input) in test.series.iter().enumerate() {
        for (number, value) in input.values.iter().enumerate() {
            let Some(value) = value else { continue };
            let time = number as i64 * test.interval;
            let mut arrives = time;
            for late in &test.extended.late {
                if late.labels == input.labels && late.points.contains(&time) {
                    arrives = time + late.by;
                }
            }
            for (from, to) in &test.extended.poll_failures {
                if *from <= arrives && arrives < *to {
                    arrives = *to;
                }
            }
            coming.push(Coming {
                arrives,
                series: position,
                time,
                value: *value,
            });
        }
    }
    coming
}

fn label<'a>(labels: &'a [(String, String)], name: &str) -> &'a str {
    labels
        .iter()
        .find(|(have, _)| have == name)
        .map_or("", |(_, value)| value)
}

fn compare_alerts(case: &AlertCase, told: &[Told]) -> Option<String> {
    let firing = told
        .iter()
        .filter(|one| one.ends_at.is_none() && label(&one.labels, "alertname") == case.alert);
    let mut got: Vec<ExpectedAlert> = firing
        .map(|one| ExpectedAlert {
            labels: one.labels.clone(),
            annotations: one.annotations.clone(),
        })
        .collect();
    got.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut expected: Vec<&ExpectedAlert> = case.expected.iter().collect();
    expected.sort_by(|a, b| a.labels.cmp(&b.labels));
    if got.len() == expected.len() && got.iter().zip(&expected).all(|(got, expected)| got == *expected) {
        return None;
    }
    let text = |alert: &ExpectedAlert| {
        format!(
            "\n      labels {} annotations {}",
            labels_text(&alert.labels),
            labels_text(&alert.annotations)
        )
    };
    let wanted: String = expected.iter().map(|alert| text(alert)).collect();
    let found: String = got.iter().map(text).collect();
    let none = |text: String| if text.is_empty() { " none".to_owned() } else { text };
    let (alert, at) = (&case.alert, time_text(case.at));
    Some(format!(
        "{alert} at {at}: expected:{}\n    got:{}",
        none(wanted),
        none(found)
    ))
}

fn labels_text(labels: &[(String, String)]) -> String {
    let parts: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", parts.join(", "))
}

fn time_text(millis: i64) -> String {
    crate::alert::rules::PromDuration(millis).to_string()
}

/// In any order, as close as doubles are.
fn same_samples(got: &[(Vec<(String, String)>, f64)], expected: &[(Vec<(String, String)>, f64)]) -> bool {
    let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    got.len() == expected.len()
        && got.iter().all(|(labels, value)| {
            expected
                .iter()
                .any(|(have, wanted)| have == labels && close(*value, *wanted))
        })
}
