//! Processor `threshold_alert`: watches one metric for values above a threshold and says what to do about it. Data
//! passes on untouched.
//!
//! A first small form: one rule, state in memory, told by a log record (and, if asked, on standard output). The full
//! alert engine has rule files, routes and persistence; this one does not.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Labels, Rule, Sample, Template, Threshold, Transition};
use crate::component::{
    BuildContext, BuiltProcessor, ComponentKind, Counter, Factory, Gauge, Outlet, Plan, Processor, ProcessorPlan,
    Refused, Removed, Stability, StartError, console,
};
use crate::config::Section;
use crate::config::types::GoDuration;
use crate::pdata::{Batch, Signal};
use crate::wire::{Point, WireError, resources};

/// The registry's entry.
pub struct ThresholdAlertFactory;

/// Where alerts are told besides the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    #[default]
    Log,
    /// Also as a readable block on standard output.
    Terminal,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    name: String,
    metric: String,
    attributes: std::collections::BTreeMap<String, String>,
    resource_labels: Vec<String>,
    above: f64,
    #[serde(rename = "for")]
    hold: GoDuration,
    resolve_after: GoDuration,
    severity: String,
    summary: String,
    resolution_steps: Vec<String>,
    output: Output,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            metric: String::new(),
            attributes: std::collections::BTreeMap::new(),
            resource_labels: ["cloud.account.id", "cloud.region"].map(str::to_owned).to_vec(),
            above: 0.0,
            hold: GoDuration::default(),
            resolve_after: GoDuration(Duration::from_secs(300)),
            severity: "warning".to_owned(),
            summary: String::new(),
            resolution_steps: Vec::new(),
            output: Output::Log,
        }
    }
}

impl Factory for ThresholdAlertFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Processor
    }

    fn type_name(&self) -> &'static str {
        "threshold_alert"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Metrics]
    }

    fn stability(&self) -> Stability {
        Stability::Development
    }

    fn summary(&self) -> &'static str {
        "Tells when a metric is above a threshold, with the steps that resolve it."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config: Config = section.read()?;
        for (key, value) in [
            ("name", &config.name),
            ("metric", &config.metric),
            ("summary", &config.summary),
        ] {
            if value.is_empty() {
                section.error_at(key, format!("`{key}` must be set"));
            }
        }
        if config.resolution_steps.is_empty() {
            section.error_at("resolution_steps", "an alert must say what to do: at least one step");
        }
        if !["critical", "warning", "info"].contains(&config.severity.as_str()) {
            section.error_at("severity", "must be critical, warning or info");
        }
        let summary = match Template::parse(&config.summary) {
            Ok(summary) => summary,
            Err(error) => {
                section.error_in_text("summary", error.offset, error.message);
                return None;
            }
        };
        Some(Plan::Processor(Box::new(AlertPlan { config, summary })))
    }
}

struct AlertPlan {
    config: Config,
    summary: Template,
}

fn nanos(duration: GoDuration) -> u64 {
    u64::try_from(duration.0.as_nanos()).unwrap_or(u64::MAX)
}

impl ProcessorPlan for AlertPlan {
    fn build(&self, context: BuildContext, _signal: Signal, _next: Outlet) -> Result<BuiltProcessor, StartError> {
        let threshold = Threshold::new(Rule {
            name: self.config.name.clone(),
            severity: self.config.severity.clone(),
            above: self.config.above,
            hold: nanos(self.config.hold),
            resolve_after: nanos(self.config.resolve_after),
            summary: self.summary.clone(),
            resolution_steps: self.config.resolution_steps.clone(),
        });
        let firing = context.instruments.gauge(
            "radiosonde_alerts_firing",
            "Alerts that fire now.",
            &[("alert", &self.config.name)],
        );
        let unwatched = context.instruments.counter(
            "radiosonde_alert_unwatched_points",
            "Points that were not looked at: too many label sets, or malformed.",
            &[("alert", &self.config.name)],
        );
        Ok(BuiltProcessor::Pure(Arc::new(ThresholdAlert {
            config: self.config.clone(),
            threshold: Mutex::new(threshold),
            firing,
            unwatched,
        })))
    }
}

struct ThresholdAlert {
    config: Config,
    threshold: Mutex<Threshold>,
    firing: Gauge,
    unwatched: Counter,
}

impl Processor for ThresholdAlert {
    fn process_noting(&self, mut batch: Batch, _removed: &mut Removed) -> Result<Option<Batch>, Refused> {
        let mut transitions = Vec::new();
        {
            let mut threshold = self.threshold.lock().unwrap_or_else(PoisonError::into_inner);
            for part in batch.parts() {
                // Data passes on whatever happens here: who reads it deeper will refuse what is malformed.
                if self.look(part, &mut threshold, &mut transitions).is_err() {
                    self.unwatched.add(1);
                }
            }
        }
        for transition in transitions {
            self.tell(&transition);
        }
        Ok(Some(batch))
    }
}

impl ThresholdAlert {
    fn look(&self, part: &[u8], threshold: &mut Threshold, transitions: &mut Vec<Transition>) -> Result<(), WireError> {
        let mut newest = 0;
        for group in resources(part) {
            let group = group?;
            let mut common: Option<Labels> = None;
            for scope in group.scopes() {
                for metric in scope?.metrics() {
                    let metric = metric?;
                    let watched = metric.name()?.as_bytes() == self.config.metric.as_bytes();
                    let Some(data) = metric.data()? else { continue };
                    for point in data.points() {
                        let point = point?;
                        let Point::Number(number) = point else { continue };
                        // A point without a period says when it was made, not how far the data has come.
                        if point.start_time_unix_nano()? > 0 {
                            newest = newest.max(point.time_unix_nano()?);
                        }
                        let value = number.value()?.map(|value| value.as_f64());
                        let Some(value) = value.filter(|_| watched) else {
                            continue;
                        };
                        let labels = match &common {
                            Some(labels) => labels.clone(),
                            None => {
                                let labels = self.resource_labels(&group.resource()?)?;
                                common = Some(labels.clone());
                                labels
                            }
                        };
                        let Some(labels) = self.with_point_labels(labels, &point)? else {
                            continue;
                        };
                        let sample = Sample {
                            labels,
                            start: point.start_time_unix_nano()?,
                            time: point.time_unix_nano()?,
                            value,
                        };
                        if !threshold.observe(&sample, transitions) {
                            self.unwatched.add(1);
                        }
                    }
                }
            }
        }
        threshold.time_passed(newest, transitions);
        Ok(())
    }

    fn resource_labels(&self, resource: &crate::wire::Resource<'_>) -> Result<Labels, WireError> {
        let mut labels = Labels::new();
        for name in &self.config.resource_labels {
            let value = resource.attribute(name)?;
            if let Some(text) = value.and_then(|value| value.as_text()) {
                labels.push((name.replace(['.', '-', '/'], "_"), text.lossy().into_owned()));
            }
        }
        Ok(labels)
    }

    /// The labels of a point, or `None` where it is not one of those that are watched.
    fn with_point_labels(&self, mut labels: Labels, point: &Point<'_>) -> Result<Option<Labels>, WireError> {
        let mut matched = 0;
        for attribute in point.attributes() {
            let attribute = attribute?;
            let Some(text) = attribute.value()?.as_text() else {
                continue;
            };
            let name = attribute.key()?.lossy().into_owned();
            let value = text.lossy().into_owned();
            if let Some(wanted) = self.config.attributes.get(&name) {
                if *wanted != value {
                    return Ok(None);
                }
                matched += 1;
            }
            labels.push((name, value));
        }
        labels.sort();
        // An empty wanted value means: without this attribute.
        let absent = self
            .config
            .attributes
            .iter()
            .filter(|(name, wanted)| wanted.is_empty() && !labels.iter().any(|(have, _)| have == *name));
        Ok((matched + absent.count() == self.config.attributes.len()).then_some(labels))
    }

    fn tell(&self, transition: &Transition) {
        match transition {
            Transition::Fired(alert) => {
                self.firing.add(1.0);
                tracing::warn!(alert = %alert.rule, severity = %alert.severity, labels = ?alert.labels,
                    value = alert.value, resolution_steps = ?alert.resolution_steps, "alert: {}", alert.summary);
            }
            Transition::Resolved(alert) => {
                self.firing.add(-1.0);
                tracing::info!(alert = %alert.rule, severity = %alert.severity, labels = ?alert.labels,
                    "alert resolved: {}", alert.summary);
            }
        }
        if self.config.output == Output::Terminal {
            console::stdout(&block(transition));
        }
    }
}

fn clock(unix_nanos: u64) -> String {
    let minutes = unix_nanos / 60_000_000_000;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

/// An alert for people.
fn block(transition: &Transition) -> String {
    match transition {
        Transition::Fired(alert) => {
            let mut text = head(console::ALARM, "ALERT", alert);
            text.push_str(&format!("  {}\n", alert.summary));
            text.push_str(&format!("  since {} UTC. What to do:\n", clock(alert.since)));
            for (number, step) in alert.resolution_steps.iter().enumerate() {
                let lines = wrapped(step, STEP_WIDTH);
                let first = format!("{:>3}. ", number + 1);
                text.push_str(&format!("{first}{}\n", lines.join("\n     ")));
            }
            text.push('\n');
            text
        }
        Transition::Resolved(alert) => {
            let mut text = head(console::WELL, "RESOLVED", alert);
            let (began, over) = (clock(alert.since), clock(alert.at));
            text.push_str(&format!("  last: {}\n", alert.summary));
            text.push_str(&format!("  began {began} UTC, over at {over} UTC\n\n"));
            text
        }
    }
}

fn head(colour: &str, word: &str, alert: &Alert) -> String {
    let (severity, rule) = (alert.severity.to_uppercase(), &alert.rule);
    format!("\n{colour}{word} [{severity}] {rule}{}\n", console::PLAIN)
}

/// Columns of a step, beside its number.
const STEP_WIDTH: usize = 90;

/// Lines of at most `width` characters, broken between words; a longer word stands alone.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
