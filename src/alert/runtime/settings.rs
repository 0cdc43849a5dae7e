//! The section of `alerts`.

use serde::{Deserialize, Serialize};

use super::super::engine::{EngineSettings, WARM_UP};
use super::super::rules::lint::{Weight, lint_rule};
use super::super::rules::{Group, PromDuration, read};
use super::super::store::StoreLimits;
use super::super::{files, notify, packs};
use super::events::EventRule;
use crate::config::types::ByteSize;
use crate::config::{ProcessEnvironment, Section};

/// A checked section.
#[derive(Clone)]
pub struct Settings {
    pub engine: EngineSettings,
    pub groups: Vec<Group>,
    pub resource_labels: Vec<String>,
    pub events: Vec<EventRule>,
    /// How much of the past is read to know what is usual, milliseconds; 0: none.
    pub history: i64,
    pub notify: notify::Settings,
    /// Of the section and of the texts of the rules.
    pub fingerprint: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    rule_files: Vec<String>,
    interval: PromDuration,
    resource_labels: Vec<String>,
    idle_timeout: PromDuration,
    allowed_lateness: PromDuration,
    outage_tolerance: PromDuration,
    ha: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rule_files: Vec::new(),
            interval: PromDuration(60_000),
            resource_labels: Vec::new(),
            idle_timeout: PromDuration(300_000),
            allowed_lateness: PromDuration(600_000),
            outage_tolerance: PromDuration(3_600_000),
            ha: "none".to_owned(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct LimitsText {
    store_bytes: ByteSize,
    series: usize,
}

impl Default for LimitsText {
    fn default() -> Self {
        let limits = StoreLimits::default();
        Self {
            store_bytes: ByteSize(limits.bytes as u64),
            series: limits.series,
        }
    }
}

/// `backfill`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct BackfillText {
    /// The ticks of a longer gap are not made up for.
    max: PromDuration,
    /// What is asked of CloudWatch for rules with `anomaly`.
    anomaly: PromDuration,
}

impl Default for BackfillText {
    fn default() -> Self {
        Self {
            max: PromDuration(EngineSettings::default().backfill),
            anomaly: PromDuration(WARM_UP),
        }
    }
}

/// CloudWatch keeps points of five minutes for 63 days.
const LONGEST_HISTORY: i64 = 60 * 86_400_000;

fn read_backfill(section: &Section) -> BackfillText {
    let Some(below) = section.take("backfill") else {
        return BackfillText::default();
    };
    let Some(text) = below.read::<BackfillText>() else {
        return BackfillText::default();
    };
    if !(0..=LONGEST_HISTORY).contains(&text.anomaly.0) {
        below.error_at("anomaly", "at most 60d; 0s asks for nothing");
    }
    text
}

/// What the engine has no use for yet, and says so.
const NOT_BUILT: [(&str, &str); 1] = [("storage", "is not built yet: the agent's state directory is used")];

impl Settings {
    /// Reads the keys of the engine; those of the notifying side are left to it. Problems are reported to the section.
    pub fn read(section: &Section) -> Option<Self> {
        let config: Config = section.read()?;
        for (key, value, least) in [
            ("interval", config.interval, 1_000),
            ("idle_timeout", config.idle_timeout, 1_000),
            ("outage_tolerance", config.outage_tolerance, 0),
            ("allowed_lateness", config.allowed_lateness, 0),
        ] {
            if value.0 < least {
                section.error_at(key, "must be at least 1s");
            }
        }
        if config.allowed_lateness.0 > 3_600_000 {
            section.error_at(
                "allowed_lateness",
                "at most 1h: so long the findings of every rule are kept",
            );
        }
        if config.ha != "none" {
            section.error_at(
                "ha",
                "leader and all belong to scale-out and are not built yet; use none",
            );
        }
        for (key, reason) in NOT_BUILT {
            if section.take(key).is_some_and(|below| {
                below.take_all();
                !below.is_null()
            }) {
                section.error_at(key, reason);
            }
        }
        let limits: LimitsText = section
            .take("limits")
            .and_then(|limits| limits.read())
            .unwrap_or_default();
        if limits.series == 0 || limits.store_bytes.0 < 64 << 10 {
            section.error_at("limits", "at least one series and 64KiB");
        }
        let backfill = read_backfill(section);
        let mut groups = Vec::new();
        for text in texts(section, &config) {
            section.depends_on(text.content.as_bytes());
            take_file(section, &text, &mut groups);
        }
        let events = section
            .take("events")
            .map(|events| EventRule::read_all(&events))
            .unwrap_or_default();
        Some(Self {
            engine: EngineSettings {
                interval: config.interval.0.max(1_000),
                idle_timeout: config.idle_timeout.0,
                allowed_lateness: config.allowed_lateness.0,
                outage_tolerance: config.outage_tolerance.0,
                backfill: backfill.max.0,
                limits: StoreLimits {
                    bytes: usize::try_from(limits.store_bytes.0).unwrap_or(usize::MAX),
                    series: limits.series,
                },
                ..EngineSettings::default()
            },
            groups,
            resource_labels: config.resource_labels,
            history: backfill.anomaly.0,
            events,
            notify: notify::Settings::read(section),
            fingerprint: section.fingerprint(),
        })
    }
}

/// A rule file.
struct RuleText {
    name: String,
    content: String,
    /// The key its problems are reported at.
    key: String,
}

fn texts(section: &Section, config: &Config) -> Vec<RuleText> {
    let packs = packs::read(section.take("packs").as_ref())
        .into_iter()
        .map(|pack| RuleText {
            name: pack.name,
            content: pack.text,
            key: "packs".to_owned(),
        });
    let mut texts: Vec<RuleText> = packs.collect();
    for (position, pattern) in config.rule_files.iter().enumerate() {
        let key = format!("rule_files::{position}");
        let paths = match files::matching(pattern) {
            Ok(paths) if paths.is_empty() => {
                section.error_at(&key, format!("{pattern:?}: no file is called so"));
                continue;
            }
            Ok(paths) => paths,
            Err(error) => {
                section.error_at(&key, format!("{pattern:?}: {error}"));
                continue;
            }
        };
        for path in paths {
            match std::fs::read_to_string(&path) {
                Ok(content) => texts.push(RuleText {
                    name: path.display().to_string(),
                    content,
                    key: key.clone(),
                }),
                Err(error) => section.error_at(&key, format!("{}: {error}", path.display())),
            }
        }
    }
    texts
}

fn take_file(section: &Section, text: &RuleText, groups: &mut Vec<Group>) {
    let reading = read(&text.name, &text.content, &ProcessEnvironment);
    if reading.has_errors() {
        for line in reading.lines() {
            section.error_at(&text.key, line);
        }
        return;
    }
    for group in reading.file.groups {
        for rule in group.rules.iter().filter(|rule| rule.extra.enabled != Some(false)) {
            // What cannot work is refused by `rules check`; here it does no harm.
            for finding in lint_rule(rule)
                .into_iter()
                .filter(|finding| finding.weight == Weight::Error)
            {
                section.warn_at(
                    &text.key,
                    format!("{}: {}: {}", finding.place, finding.alert, finding.message),
                );
            }
        }
        if groups.iter().any(|have: &Group| have.name == group.name) {
            section.error_at(
                &text.key,
                format!("{}: the group {:?} is in another file too", text.name, group.name),
            );
        }
        groups.push(group);
    }
}
