//! The configuration of span retention, read and checked.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::de::{self, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::archives::ArchivePlan;
use super::state::Policy;
use crate::aws::AccessSettings;
use crate::aws::access::warn_without_region;
use crate::aws::rate::Limits;
use crate::component::ComponentId;
use crate::config::Section;
use crate::config::types::GoDuration;

const DAY_S: u64 = 86_400;
const HOUR_S: u64 = 3_600;

/// A duration that may count in days: `30d`, `1d12h`, `6h`, `0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Days(pub Duration);

impl Days {
    const fn of(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (days, rest) = match text.split_once('d') {
            Some((days, rest)) => (
                days.parse::<u32>()
                    .map_err(|_| "write days as a whole number, such as 30d")?,
                rest,
            ),
            None => (0, text),
        };
        let rest = match rest {
            "" if text.is_empty() => return Err("expected a duration such as 30d or 6h".to_owned()),
            "" => Duration::ZERO,
            rest => {
                let rest: de::value::StrDeserializer<'_, de::value::Error> = rest.into_deserializer();
                GoDuration::deserialize(rest).map_err(|error| error.to_string())?.0
            }
        };
        Ok(Self(Duration::from_secs(u64::from(days) * DAY_S) + rest))
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.as_secs() / DAY_S;
        let rest = self.0 - Duration::from_secs(days * DAY_S);
        match (days, rest.is_zero()) {
            (0, _) => write!(f, "{}", GoDuration(rest)),
            (days, true) => write!(f, "{days}d"),
            (days, false) => write!(f, "{days}d{}", GoDuration(rest)),
        }
    }
}

impl Serialize for Days {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Days;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 30d or 6h")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Days, E> {
                match number {
                    0 => Ok(Days::default()),
                    _ => Err(E::custom("a number without a unit: write 30d or 6h")),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Days, E> {
                self.visit_u64(u64::try_from(number).unwrap_or(1))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Days, E> {
                if text == "0" {
                    return Ok(Days::default());
                }
                Days::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    xray_retention: Days,
    required_retention: Days,
    warn_before: Days,
    critical_before: Days,
    min_age: Days,
    guard: Days,
    on_due: Vec<String>,
    on_at_risk: Vec<String>,
    archive_pipeline: String,
    unknown_for: Days,
    stamp: bool,
    exit_code: bool,
}

impl Default for Keys {
    fn default() -> Self {
        let actions = || vec!["metric".to_owned(), "log".to_owned()];
        Self {
            xray_retention: Days::of(30 * DAY_S),
            required_retention: Days::of(90 * DAY_S),
            warn_before: Days::of(7 * DAY_S),
            critical_before: Days::of(2 * DAY_S),
            min_age: Days::of(HOUR_S),
            guard: Days::of(HOUR_S),
            on_due: actions(),
            on_at_risk: actions(),
            archive_pipeline: String::new(),
            unknown_for: Days::of(12 * HOUR_S),
            stamp: false,
            exit_code: true,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct ScheduleKeys {
    every: Days,
    jitter: Days,
}

impl Default for ScheduleKeys {
    fn default() -> Self {
        Self {
            every: Days::of(6 * HOUR_S),
            jitter: Days::of(600),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct ScopeKeys {
    filter_expression: String,
    groups: Vec<String>,
    regions: Vec<String>,
    sample: f64,
}

impl Default for ScopeKeys {
    fn default() -> Self {
        Self {
            filter_expression: String::new(),
            groups: Vec::new(),
            regions: Vec::new(),
            sample: 1.0,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct BudgetKeys {
    scanned_per_day: u64,
    retrieved_per_day: u64,
    dynamodb_rru_per_s: f64,
}

impl Default for BudgetKeys {
    fn default() -> Self {
        Self {
            scanned_per_day: 20_000_000,
            retrieved_per_day: 2_000_000,
            dynamodb_rru_per_s: 200.0,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct MaxAgeKeys {
    limit: Days,
    action: String,
    pipeline: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct RateKeys {
    initial: f64,
    max: f64,
}

impl Default for RateKeys {
    fn default() -> Self {
        Self {
            initial: 5.0,
            max: 50.0,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct LedgerKeys {
    path: String,
    exporters: Vec<String>,
    keep: Days,
    verified_by: String,
}

impl Default for LedgerKeys {
    fn default() -> Self {
        Self {
            path: "retention-ledger".to_owned(),
            exporters: Vec::new(),
            keep: Days::default(),
            verified_by: String::new(),
        }
    }
}

/// What is done about a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    pub metric: bool,
    pub log: bool,
    pub archive: bool,
}

/// What reading may cost a UTC day; zero: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    pub scanned: u64,
    pub retrieved: u64,
    pub read_units_per_s: f64,
}

/// What becomes of spans that are too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxAge {
    pub limit: Duration,
    /// `None`: they are dropped.
    pub route: Option<String>,
}

/// Archives that are known by what their exporters acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// Below the state directory.
    pub path: String,
    pub exporters: Vec<ComponentId>,
    /// How long the far ends keep what they were sent; `None`: for ever.
    pub keep: Option<Duration>,
    /// The name of the archive that is asked whether copies are still there; empty: none.
    pub verified_by: String,
    /// Path of the key, for problems with it.
    pub key: String,
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub policy: Policy,
    pub guard: Duration,
    pub every: Duration,
    pub jitter: Duration,
    pub access: AccessSettings,
    /// What GetTraceSummaries is asked for; empty: all.
    pub filter: String,
    /// Share of the traces that is listed.
    pub sample: f64,
    pub ledgers: Vec<LedgerSettings>,
    /// Archives that are asked.
    pub asked: Vec<ArchivePlan>,
    pub on_due: Actions,
    pub on_at_risk: Actions,
    pub archive_pipeline: Option<String>,
    pub budget: Budget,
    pub unknown_for: Duration,
    pub stamp: bool,
    pub max_age: Option<MaxAge>,
    pub exit_code: bool,
    pub rate: Limits,
    /// Equal for equal configurations.
    pub fingerprint: u64,
}

impl Settings {
    /// Reads and checks. Problems are reported to the section.
    pub fn read(section: &Section) -> Option<Self> {
        let mut access = AccessSettings::read(section)?;
        let keys: Keys = section.read()?;
        let schedule: ScheduleKeys = section.read_group("schedule")?;
        let scope: ScopeKeys = section.read_group("scope")?;
        let sets_read_units = section
            .take("budget")
            .is_some_and(|group| group.has("dynamodb_rru_per_s"));
        let budget: BudgetKeys = section.read_group("budget")?;
        let max_age: MaxAgeKeys = section.read_group("max_age")?;
        let rate: RateKeys = section.read_group("rate")?;
        if !scope.regions.is_empty() {
            if !access.regions.is_empty() {
                section.error_at("scope::regions", "use either `regions` or `scope::regions`");
            }
            access.regions = scope.regions.clone();
        }
        if access.regions.is_empty() && access.profile.is_empty() {
            warn_without_region(section, "scope::regions", false);
        }
        let on_due = actions(section, "on_due", &keys.on_due);
        let on_at_risk = actions(section, "on_at_risk", &keys.on_at_risk);
        for (key, actions) in [("on_due", on_due), ("on_at_risk", on_at_risk)] {
            if actions.archive && keys.archive_pipeline.is_empty() {
                section.error_at(key, "the action `archive` needs an `archive_pipeline`");
            }
        }
        if !keys.archive_pipeline.is_empty() && !on_due.archive && !on_at_risk.archive {
            section.warn_at(
                "archive_pipeline",
                "is not used: neither `on_due` nor `on_at_risk` has the action `archive`",
            );
        }
        let (ledgers, asked) = archives(section);
        check_times(section, &keys, &schedule, ledgers.is_empty() && asked.is_empty());
        let has_table = asked.iter().any(|archive| matches!(archive, ArchivePlan::Table { .. }));
        if sets_read_units && !has_table {
            section.warn_at(
                "budget::dynamodb_rru_per_s",
                "has no effect: no archive is a DynamoDB table",
            );
        }
        check_scope(section, &scope, &rate);
        Some(Self {
            policy: Policy {
                xray_retention: keys.xray_retention.0,
                required: keys.required_retention.0,
                warn_before: keys.warn_before.0,
                critical_before: keys.critical_before.0,
                min_age: keys.min_age.0,
            },
            guard: keys.guard.0,
            every: schedule.every.0,
            jitter: schedule.jitter.0,
            access,
            filter: filter_of(&scope),
            sample: scope.sample,
            ledgers,
            asked,
            on_due,
            on_at_risk,
            archive_pipeline: Some(keys.archive_pipeline).filter(|name| !name.is_empty()),
            budget: Budget {
                scanned: budget.scanned_per_day,
                retrieved: budget.retrieved_per_day,
                read_units_per_s: budget.dynamodb_rru_per_s,
            },
            unknown_for: keys.unknown_for.0,
            stamp: keys.stamp,
            max_age: read_max_age(section, &max_age),
            exit_code: keys.exit_code,
            rate: Limits {
                start: rate.initial,
                max: rate.max,
            },
            fingerprint: section.fingerprint(),
        })
    }

    /// Exporters of whose deliveries the ledgers are told, each with the path of the key that names it.
    pub fn observed(&self) -> Vec<(String, ComponentId)> {
        let mut observed = Vec::new();
        for ledger in &self.ledgers {
            for (number, exporter) in ledger.exporters.iter().enumerate() {
                observed.push((format!("{}::exporters::{number}", ledger.key), exporter.clone()));
            }
        }
        observed
    }

    /// When a day's traces are listed again: as the first of them are due.
    pub fn second_listing_at(&self) -> Duration {
        self.policy.xray_retention.saturating_sub(self.policy.warn_before)
    }

    /// Files of days that are older than this serve nobody.
    pub fn keep_files(&self) -> Duration {
        self.policy.xray_retention.max(self.policy.required) + Duration::from_secs(7 * DAY_S)
    }
}

fn actions(section: &Section, key: &str, names: &[String]) -> Actions {
    let mut actions = Actions::default();
    for (number, name) in names.iter().enumerate() {
        match name.as_str() {
            "metric" => actions.metric = true,
            "log" => actions.log = true,
            "archive" => actions.archive = true,
            other => section.error_at(
                &format!("{key}::{number}"),
                format!("{other:?} is no action; use metric, log or archive"),
            ),
        }
    }
    actions
}

fn archives(section: &Section) -> (Vec<LedgerSettings>, Vec<ArchivePlan>) {
    let mut ledgers: Vec<LedgerSettings> = Vec::new();
    let mut asked: Vec<ArchivePlan> = Vec::new();
    let Some(list) = section.take("archives") else {
        return (ledgers, asked);
    };
    for (number, archive) in list.elements().iter().enumerate() {
        let kinds = archive.keys();
        let [kind] = kinds.as_slice() else {
            archive.error("each archive is a map with one key: dynamodb, s3 or ledger");
            archive.take_all();
            continue;
        };
        match kind.as_str() {
            "ledger" => {
                let key = format!("archives::{number}::ledger");
                if let Some(ledger) = archive.take("ledger").and_then(|group| read_ledger(&group, key)) {
                    if ledgers.iter().any(|other| other.path == ledger.path) {
                        archive.error_at("ledger::path", "another ledger has the same path");
                    }
                    ledgers.push(ledger);
                }
            }
            "dynamodb" | "s3" => {
                let Some(plan) = ArchivePlan::check(archive) else {
                    continue;
                };
                if asked.iter().any(|other| other.name() == plan.name()) {
                    archive.error(format!("the archive \"{}\" is named twice", plan.name()));
                }
                asked.push(plan);
            }
            other => {
                archive.error(format!("{other:?} is no archive; use dynamodb, s3 or ledger"));
                archive.take_all();
            }
        }
    }
    let names: Vec<&str> = asked.iter().map(ArchivePlan::name).collect();
    for ledger in ledgers.iter().filter(|ledger| !ledger.verified_by.is_empty()) {
        if !names.contains(&ledger.verified_by.as_str()) {
            let key = format!("{}::verified_by", ledger.key);
            let message = format!("names no archive beside it; there are: {}", names.join(", "));
            section.error_at(&key, message);
        }
    }
    (ledgers, asked)
}

fn read_ledger(group: &Section, key: String) -> Option<LedgerSettings> {
    let keys: LedgerKeys = group.read()?;
    let bad_path = keys.path.is_empty() || keys.path.starts_with('/') || keys.path.split('/').any(|part| part == "..");
    if bad_path {
        group.error_at("path", "must be a name below the state directory");
    }
    if keys.exporters.is_empty() {
        group.error_at("exporters", "name the exporters whose far ends keep the copies");
    }
    for (number, exporter) in keys.exporters.iter().enumerate() {
        if keys.exporters[..number].contains(exporter) {
            group.error_at(&format!("exporters::{number}"), "is named twice");
        }
        if ComponentId::new(exporter).type_name() == "awsxray" {
            let message = "sends to X-Ray, which is what the copies are needed for";
            group.error_at(&format!("exporters::{number}"), message);
        }
    }
    Some(LedgerSettings {
        path: keys.path,
        exporters: keys.exporters.iter().map(|id| ComponentId::new(id)).collect(),
        keep: Some(keys.keep.0).filter(|keep| !keep.is_zero()),
        verified_by: keys.verified_by,
        key,
    })
}

fn check_times(section: &Section, keys: &Keys, schedule: &ScheduleKeys, without_archive: bool) {
    if keys.warn_before <= keys.critical_before {
        section.error_at("warn_before", "must be longer than `critical_before`");
    }
    if keys.min_age >= keys.warn_before {
        section.error_at("min_age", "must be shorter than `warn_before`");
    }
    if keys.xray_retention <= keys.warn_before {
        section.error_at("xray_retention", "must be longer than `warn_before`");
    }
    if keys.guard >= keys.critical_before {
        section.error_at("guard", "must be shorter than `critical_before`");
    }
    if schedule.every.0 < Duration::from_secs(60) {
        section.error_at("schedule::every", "must be at least 1m");
    }
    if schedule.jitter > schedule.every {
        section.error_at("schedule::jitter", "must not be longer than `every`");
    }
    if without_archive && keys.required_retention > keys.xray_retention {
        section.error_at(
            "required_retention",
            format!(
                "X-Ray keeps traces {}: to keep them {} needs an entry in `archives`",
                keys.xray_retention, keys.required_retention
            ),
        );
    }
    if !without_archive && keys.required_retention.0.is_zero() {
        section.warn_at(
            "required_retention",
            "0: how long archives keep their copies is not looked at",
        );
    }
}

fn check_scope(section: &Section, scope: &ScopeKeys, rate: &RateKeys) {
    if !(scope.sample > 0.0 && scope.sample <= 1.0) {
        section.error_at("scope::sample", "must be above 0 and at most 1");
    } else if scope.sample < 1.0 {
        section.warn_at(
            "scope::sample",
            "below 1 only a share of the traces is looked at: states are estimates",
        );
    }
    for (number, group) in scope.groups.iter().enumerate() {
        if group.is_empty() || group.len() > 32 {
            section.error_at(
                &format!("scope::groups::{number}"),
                "must be the name of an X-Ray group",
            );
        }
    }
    if !(rate.initial > 0.0 && rate.max >= rate.initial && rate.max <= 1_000.0) {
        section.error_at("rate", "must be 0 < initial <= max <= 1000, calls per second");
    }
}

/// The group `Default` is all traces.
fn filter_of(scope: &ScopeKeys) -> String {
    let quoted = |name: &String| format!("group.name = \"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let is_all = scope.groups.is_empty() || scope.groups.iter().any(|group| group == "Default");
    let groups = match is_all {
        true => String::new(),
        false => scope.groups.iter().map(quoted).collect::<Vec<_>>().join(" OR "),
    };
    match (scope.filter_expression.trim(), groups.as_str()) {
        (own, "") => own.to_owned(),
        ("", groups) => groups.to_owned(),
        (own, groups) => format!("({own}) AND ({groups})"),
    }
}

fn read_max_age(section: &Section, keys: &MaxAgeKeys) -> Option<MaxAge> {
    let route = match keys.action.as_str() {
        "" | "drop" => None,
        "route" => Some(keys.pipeline.clone()),
        other => {
            section.error_at("max_age::action", format!("{other:?} is unknown; use drop or route"));
            None
        }
    };
    if route.as_ref().is_some_and(String::is_empty) {
        section.error_at("max_age::action", "`route` needs the name of a `pipeline`");
    }
    if route.is_none() && !keys.pipeline.is_empty() {
        section.error_at("max_age::pipeline", "only with `action: route`");
    }
    (!keys.limit.0.is_zero()).then_some(MaxAge {
        limit: keys.limit.0,
        route,
    })
}
