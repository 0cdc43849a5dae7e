//! `x-radiosonde`: what only we know of a rule. Defaults of the file, of the group, what is written under the alert's
//! name, and what stands in the rule itself, the later winning key by key.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use super::{Anomaly, Classify, Datapoints, Direction, Extra, Missing, PromDuration, Recover, SEVERITIES};
use crate::alert::promql::Expression;
use crate::alert::{EscalationStep, Guidance};
use crate::config::{Section, suggest_among};

/// What is said of one alert.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    pub guidance: Guidance,
    pub extra: Extra,
}

/// The block of a file.
#[derive(Default)]
pub(super) struct Block {
    defaults: Option<Section>,
    by_group: Vec<(String, Section)>,
    alerts: Vec<Named>,
}

struct Named {
    name: String,
    section: Section,
    used: Cell<bool>,
}

/// The second document of a file.
pub(super) fn read_document(root: &Section, block: &mut Block) {
    if !root.require_map() {
        return;
    }
    match root.take("x-radiosonde") {
        Some(section) => read_block(&section, block),
        None => root.error("the second document of a rule file is `x-radiosonde:`"),
    }
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Head {
    version: u32,
}

impl Default for Head {
    fn default() -> Self {
        Self { version: 1 }
    }
}

pub(super) fn read_block(section: &Section, block: &mut Block) {
    if !section.require_map() {
        return;
    }
    let head: Head = section.read().unwrap_or_default();
    if head.version != 1 {
        section.error_at("version", "this build knows version 1");
    }
    if let Some(defaults) = section.take("defaults") {
        block.defaults = Some(defaults);
    }
    if let Some(alerts) = section.take("alerts")
        && alerts.require_map()
    {
        for name in alerts.keys() {
            if let Some(section) = alerts.take(&name) {
                block.alerts.push(Named {
                    name,
                    section,
                    used: Cell::new(false),
                });
            }
        }
    }
}

/// What a group says for its rules.
pub(super) fn read_defaults(section: &Section, group: &str, block: &mut Block) {
    block.by_group.push((group.to_owned(), section.clone()));
}

impl Block {
    /// What is said of a rule.
    pub fn of_rule(&mut self, group: &str, alert: &str, severity: Option<&str>, inline: Option<&Section>) -> Described {
        let mut layers: Vec<Section> = self.defaults.iter().cloned().collect();
        layers.extend(
            self.by_group
                .iter()
                .filter(|(name, _)| name == group)
                .map(|(_, section)| section.clone()),
        );
        for named in &self.alerts {
            let (name, of_severity) = match named.name.rsplit_once('/') {
                Some((name, severity)) if SEVERITIES.contains(&severity) => (name, Some(severity)),
                _ => (named.name.as_str(), None),
            };
            let same_severity = of_severity.is_none() || of_severity == severity;
            let same_name =
                name == alert || name.strip_prefix(group).and_then(|rest| rest.strip_prefix('/')) == Some(alert);
            if same_name && same_severity {
                named.used.set(true);
                layers.push(named.section.clone());
            }
        }
        layers.extend(inline.cloned());
        let mut described = Described::default();
        for layer in layers {
            read_layer(&layer, &mut described);
        }
        described
    }

    /// Entries that no rule has.
    pub fn unused(&self) -> impl Iterator<Item = (&Section, &str)> {
        self.alerts
            .iter()
            .filter(|named| !named.used.get())
            .map(|named| (&named.section, named.name.as_str()))
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Layer {
    resolution_steps: Option<Vec<String>>,
    contact: Option<String>,
    escalation: Option<Vec<Step>>,
    runbook_url: Option<String>,
    delay: Option<String>,
    allowed_lateness: Option<PromDuration>,
    datapoints: Option<PointsText>,
    pair: Option<String>,
    classify: Option<String>,
    inhibits: Option<Vec<String>>,
    enabled: Option<bool>,
    min_state: Option<PromDuration>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Step {
    after: PromDuration,
    to: String,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PointsText {
    m: u32,
    n: u32,
    period: PromDuration,
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct AnomalyText {
    k: f64,
    direction: String,
    min: Option<f64>,
}

impl Default for AnomalyText {
    fn default() -> Self {
        Self {
            k: 4.0,
            direction: "both".to_owned(),
            min: None,
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct RecoverText {
    expr: String,
    datapoints: Option<PointsText>,
}

fn read_layer(section: &Section, described: &mut Described) {
    if !section.require_map() {
        return;
    }
    let Some(layer) = section.read::<Layer>() else { return };
    let Described { guidance, extra } = described;
    if let Some(steps) = layer.resolution_steps {
        guidance.resolution_steps = steps;
    }
    if let Some(contact) = layer.contact {
        guidance.contact = contact;
    }
    if let Some(steps) = layer.escalation {
        guidance.escalation = steps
            .into_iter()
            .map(|step| EscalationStep {
                after: u64::try_from(step.after.0).unwrap_or(0) * 1_000_000,
                to: step.to,
            })
            .collect();
        if !guidance.escalation.is_sorted_by_key(|step| step.after) {
            section.error_at("escalation", "the steps stand in the order of `after`");
        }
    }
    if let Some(url) = layer.runbook_url {
        guidance.runbook_url = url;
    }
    match layer.delay.as_deref() {
        None => {}
        Some("auto") => extra.delay = None,
        Some(text) => match super::parse_duration(text) {
            Ok(delay) => extra.delay = Some(delay),
            Err(message) => section.error_at("delay", format!("{message}, or `auto`")),
        },
    }
    extra.allowed_lateness = layer
        .allowed_lateness
        .map(|lateness| lateness.0)
        .or(extra.allowed_lateness);
    if let Some(points) = layer.datapoints {
        extra.datapoints = datapoints(section, "datapoints", &points);
    }
    extra.pair = layer.pair.or(extra.pair.take());
    if let Some(classify) = layer.classify {
        match classify.as_str() {
            "dynamodb_throttle" => extra.classify = Some(Classify::DynamoDbThrottle),
            other => section.error_at(
                "classify",
                format!("{other:?} is not known{}", suggest_among(other, &["dynamodb_throttle"])),
            ),
        }
    }
    if let Some(inhibits) = layer.inhibits {
        extra.inhibits = inhibits;
    }
    extra.enabled = layer.enabled.or(extra.enabled);
    extra.min_state = layer.min_state.map(|state| state.0).or(extra.min_state);
    if let Some(missing) = section.take("missing") {
        extra.missing = read_missing(&missing).or(extra.missing);
    }
    if let Some(recover) = section.take("recover") {
        extra.recover = read_recover(&recover);
    }
    if let Some(anomaly) = section.take("anomaly") {
        extra.anomaly = read_anomaly(&anomaly);
    }
}

fn datapoints(section: &Section, key: &str, text: &PointsText) -> Option<Datapoints> {
    if text.m == 0 || text.m > text.n || text.n > 1_000 {
        section.error_at(key, "m is at least 1 and at most n, n at most 1000");
        return None;
    }
    if text.period.0 < 1_000 {
        section.error_at(key, "period must be at least 1s");
        return None;
    }
    Some(Datapoints {
        m: text.m,
        n: text.n,
        period: text.period.0,
    })
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct MissingText {
    hold: Option<PromDuration>,
    nodata: Option<PromDuration>,
}

fn read_missing(section: &Section) -> Option<Missing> {
    const WORDS: [&str; 6] = ["zero", "ignore", "ok", "breach", "hold: 30m", "nodata: 15m"];
    if section.keys().is_empty() {
        let word: String = section.read()?;
        return match word.as_str() {
            "zero" => Some(Missing::Zero),
            "ignore" => Some(Missing::Ignore),
            "ok" => Some(Missing::Ok),
            "breach" => Some(Missing::Breach),
            other => {
                section.error(format!("{other:?} is no policy{}", suggest_among(other, &WORDS)));
                None
            }
        };
    }
    let text: MissingText = section.read()?;
    match (text.hold, text.nodata) {
        (Some(hold), None) => Some(Missing::Hold(hold.0)),
        (None, Some(nodata)) => Some(Missing::NoData(nodata.0)),
        _ => {
            section.error("needs one of `hold` and `nodata`");
            None
        }
    }
}

fn read_recover(section: &Section) -> Option<Recover> {
    let text: RecoverText = section.read()?;
    let points = text
        .datapoints
        .and_then(|points| datapoints(section, "datapoints", &points));
    match Expression::parse(&text.expr) {
        Ok(expr) => Some(Recover {
            expr,
            datapoints: points,
        }),
        Err(error) => {
            section.error_in_text("expr", error.offset, error.message);
            None
        }
    }
}

fn read_anomaly(section: &Section) -> Option<Anomaly> {
    let text: AnomalyText = section.read()?;
    let direction = match text.direction.as_str() {
        "up" => Direction::Up,
        "down" => Direction::Down,
        "both" => Direction::Both,
        other => {
            section.error_at(
                "direction",
                format!("{other:?} is none{}", suggest_among(other, &["up", "down", "both"])),
            );
            return None;
        }
    };
    let is_bad = |value: f64| !value.is_finite() || value <= 0.0;
    if is_bad(text.k) || text.min.is_some_and(|min| !min.is_finite() || min < 0.0) {
        section.error("k is more than 0 and min is not negative");
        return None;
    }
    Some(Anomaly {
        k: text.k,
        direction,
        min: text.min,
    })
}
