//! The configuration of the `xray` receiver, read and checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::Limits;
use crate::aws::AccessSettings;
use crate::aws::access::{AccountSettings, check_role, warn_without_region};
use crate::aws::xray::translate::{Compat, MetadataMode, Options, Semconv};
use crate::config::Section;
use crate::config::types::GoDuration;

/// Days that X-Ray keeps traces.
const RETENTION_S: u64 = 30 * 86_400;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    role_arn: String,
    external_id: String,
    mode: String,
    spans_log_group: String,
    filter_expression: String,
    start_from: String,
    poll_interval: GoDuration,
    settle: GoDuration,
    max_window: GoDuration,
    inferred: String,
    reemit: bool,
    semconv: Semconv,
    compat: Compat,
    treat_client_errors: bool,
    keep_unknown: bool,
    traces_processed: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            role_arn: String::new(),
            external_id: String::new(),
            mode: "auto".to_owned(),
            spans_log_group: "aws/spans".to_owned(),
            filter_expression: String::new(),
            start_from: "checkpoint".to_owned(),
            poll_interval: GoDuration(Duration::from_secs(60)),
            settle: GoDuration(Duration::from_secs(60)),
            max_window: GoDuration(Duration::from_secs(6 * 3_600)),
            inferred: "drop".to_owned(),
            reemit: false,
            semconv: Semconv::default(),
            compat: Compat::default(),
            treat_client_errors: false,
            keep_unknown: false,
            traces_processed: "cloudwatch".to_owned(),
        }
    }
}

/// Defaults of the groups, each with its own keys.
macro_rules! group {
    ($name:ident { $($key:ident: $type:ty = $default:expr),* $(,)? }) => {
        #[derive(Clone, Debug, Deserialize, Serialize)]
        #[serde(default)]
        struct $name { $($key: $type),* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default),* }
            }
        }
    };
}

const DAY: GoDuration = GoDuration(Duration::from_secs(86_400));

group!(SweepKeys {
    every: GoDuration = DAY,
    window: GoDuration = DAY
});
group!(RateKeys {
    initial: f64 = 5.0,
    max: f64 = 50.0
});
group!(BudgetKeys {
    max_scanned_per_day: u64 = 0,
    max_retrieved_per_day: u64 = 0
});
group!(OpenKeys {
    timeout: GoDuration = GoDuration(Duration::from_secs(300)),
    emit_immediately: bool = false
});
group!(StateKeys {
    path: String = "xray-state".to_owned(),
    keep: GoDuration = GoDuration(Duration::from_secs(169 * 3_600))
});
group!(MetadataKeys {
    mode: MetadataMode = MetadataMode::default(),
    max_bytes: usize = 64 << 10
});
group!(GraphKeys {
    enabled: bool = false,
    period: GoDuration = GoDuration(Duration::from_secs(60))
});
group!(RulesKeys {
    enabled: bool = false,
    interval: GoDuration = GoDuration(Duration::from_secs(300))
});

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the account's trace segment destination says.
    Auto,
    Summaries,
    Retrieval,
}

/// `traces_processed`: who counts the traces that X-Ray processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processed {
    Off,
    /// The summaries that are read anyway.
    Summaries,
    /// The metric `ApproximateTraceCount`.
    CloudWatch,
}

/// Where to begin without a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// The cursor, else now.
    Checkpoint,
    /// So many seconds before now, whatever the cursor.
    Back(u64),
}

/// A checked configuration; times in seconds.
#[derive(Clone, Debug)]
pub struct Config {
    pub access: AccessSettings,
    pub mode: Mode,
    /// Where Transaction Search writes every span; empty: not read.
    pub spans_log_group: String,
    pub filter: String,
    pub start_from: StartFrom,
    pub poll_interval: u64,
    pub settle: u64,
    pub max_window: u64,
    /// `None`: no sweep.
    pub sweep_every: Option<u64>,
    pub sweep_window: u64,
    pub rate: crate::aws::rate::Limits,
    pub budget: Limits,
    pub open_timeout: u64,
    pub emit_immediately: bool,
    pub keep_inferred: bool,
    pub reemit: bool,
    pub options: Options,
    pub state_path: String,
    pub keep: u64,
    /// Period of the service graph; `None`: off.
    pub graph: Option<u64>,
    /// Interval of the sampling rules; `None`: off.
    pub rules: Option<u64>,
    pub traces_processed: Processed,
}

fn seconds(duration: GoDuration) -> u64 {
    duration.0.as_secs()
}

/// Reads and checks. Problems are reported to the section.
pub fn check(section: &Section) -> Option<Config> {
    let mut access = AccessSettings::read(section)?;
    let keys = section.read::<Keys>()?;
    let is_group = |byte: u8| byte.is_ascii_alphanumeric() || b"_/.#-".contains(&byte);
    if keys.spans_log_group.len() > 512 || !keys.spans_log_group.bytes().all(is_group) {
        section.error_at(
            "spans_log_group",
            "must be the name of a log group, such as aws/spans; empty: only the indexed share of the traces is read",
        );
    }
    if !keys.role_arn.is_empty() {
        check_role(section, "role_arn", &keys.role_arn);
        if !access.accounts.is_empty() {
            section.error_at("role_arn", "use either `role_arn` or `accounts`");
        }
        access.accounts = vec![AccountSettings {
            role_arn: keys.role_arn.clone(),
            external_id: keys.external_id.clone(),
            ..AccountSettings::default()
        }];
    }
    if access.regions.is_empty() && access.profile.is_empty() {
        warn_without_region(section, "regions", false);
    }
    let mode = match keys.mode.as_str() {
        "auto" => Mode::Auto,
        "summaries" => Mode::Summaries,
        "retrieval" => Mode::Retrieval,
        other => {
            section.error_at(
                "mode",
                format!("{other:?} is not a mode; use auto, summaries or retrieval"),
            );
            Mode::Auto
        }
    };
    let keep_inferred = match keys.inferred.as_str() {
        "drop" => false,
        "keep" => true,
        other => {
            section.error_at("inferred", format!("{other:?} is unknown; use drop or keep"));
            false
        }
    };
    let traces_processed = match keys.traces_processed.as_str() {
        "cloudwatch" => Processed::CloudWatch,
        "summaries" => Processed::Summaries,
        "off" => Processed::Off,
        other => {
            section.error_at(
                "traces_processed",
                format!("{other:?} is unknown; use cloudwatch, summaries or off"),
            );
            Processed::Off
        }
    };
    let sweep: SweepKeys = section.read_group("sweep")?;
    let rate: RateKeys = section.read_group("rate")?;
    let budget: BudgetKeys = section.read_group("budget")?;
    let open: OpenKeys = section.read_group("in_progress")?;
    let state: StateKeys = section.read_group("state")?;
    let metadata: MetadataKeys = section.read_group("metadata")?;
    let graph: GraphKeys = section.read_group("service_graph")?;
    let rules: RulesKeys = section.read_group("sampling_rules")?;
    check_ranges(section, &keys, &sweep, &rate, &graph, &rules);
    if state.path.is_empty() || state.path.contains("..") || state.path.starts_with('/') {
        section.error_at("state::path", "must be a name below the state directory");
    }
    Some(Config {
        access,
        mode,
        spans_log_group: keys.spans_log_group.clone(),
        start_from: read_start(section, &keys.start_from),
        poll_interval: seconds(keys.poll_interval),
        settle: seconds(keys.settle),
        max_window: seconds(keys.max_window),
        sweep_every: Some(seconds(sweep.every)).filter(|every| *every > 0),
        sweep_window: seconds(sweep.window),
        rate: crate::aws::rate::Limits {
            start: rate.initial,
            max: rate.max,
        },
        budget: Limits {
            scanned: budget.max_scanned_per_day,
            retrieved: budget.max_retrieved_per_day,
        },
        open_timeout: seconds(open.timeout),
        emit_immediately: open.emit_immediately,
        keep_inferred,
        reemit: keys.reemit,
        options: Options {
            semconv: if section_sets_semconv(&keys) {
                keys.semconv
            } else {
                Semconv::Old
            },
            compat: keys.compat,
            treat_client_errors: keys.treat_client_errors,
            keep_unknown: keys.keep_unknown,
            metadata: metadata.mode,
            metadata_max_bytes: metadata.max_bytes,
            ..Options::default()
        },
        state_path: state.path,
        keep: seconds(state.keep),
        graph: graph.enabled.then_some(seconds(graph.period)),
        rules: rules.enabled.then_some(seconds(rules.interval)),
        traces_processed,
        filter: keys.filter_expression,
    })
}

/// `compat: collector` implies the old conventions unless others are named.
fn section_sets_semconv(keys: &Keys) -> bool {
    keys.compat == Compat::None || keys.semconv != Semconv::default()
}

fn check_ranges(
    section: &Section,
    keys: &Keys,
    sweep: &SweepKeys,
    rate: &RateKeys,
    graph: &GraphKeys,
    rules: &RulesKeys,
) {
    let at_least = |key: &str, value: GoDuration, least: u64| {
        if seconds(value) < least {
            section.error_at(key, format!("must be at least {least}s"));
        }
    };
    at_least("poll_interval", keys.poll_interval, 10);
    at_least("max_window", keys.max_window, 60);
    at_least("sweep::window", sweep.window, 60);
    at_least("service_graph::period", graph.period, 60);
    at_least("sampling_rules::interval", rules.interval, 60);
    if seconds(keys.max_window) > 6 * 3_600 {
        section.error_at("max_window", "at most 6h: GetTraceSummaries takes no longer range");
    }
    let every = seconds(sweep.every);
    if every > 0 && every < 3_600 {
        section.error_at(
            "sweep::every",
            "must be 0 (no sweep) or at least 1h: every sweep is billed",
        );
    }
    if !(rate.initial > 0.0 && rate.max >= rate.initial && rate.max <= 1_000.0) {
        section.error_at("rate", "must be 0 < initial <= max <= 1000, calls per second");
    }
}

fn read_start(section: &Section, text: &str) -> StartFrom {
    match text {
        "checkpoint" => StartFrom::Checkpoint,
        "now" => StartFrom::Back(0),
        text => match GoDuration::deserialize(serde::de::IntoDeserializer::into_deserializer(text)) {
            Ok(back) if seconds(back) <= RETENTION_S => StartFrom::Back(seconds(back)),
            Ok(_) => {
                section.error_at("start_from", "at most 30d: X-Ray keeps traces no longer");
                StartFrom::Checkpoint
            }
            Err::<_, serde::de::value::Error>(error) => {
                section.error_at("start_from", format!("use checkpoint, now or a duration: {error}"));
                StartFrom::Checkpoint
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_has_the_defaults_of_the_design() {
        let section = Section::from_yaml("{}");
        let config = check(&section).unwrap();
        assert!(!section.has_errors());
        assert_eq!(
            (config.poll_interval, config.settle, config.max_window),
            (60, 60, 21_600)
        );
        assert_eq!(
            (config.keep, config.sweep_every, config.sweep_window),
            (608_400, Some(86_400), 86_400)
        );
        assert_eq!(config.start_from, StartFrom::Checkpoint);
        assert_eq!(config.options.semconv, Semconv::Stable);
        assert!(config.graph.is_none() && config.rules.is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "spans_log_group: aws spans",
            "traces_processed: never",
            "mode: logs",
            "inferred: maybe",
            "start_from: 1000h",
            "max_window: 7h",
            "rate: {initial: 0}",
            "sweep: {every: 10m}",
            "role_arn: nobody",
            "state: {path: ../up}",
        ] {
            let section = Section::from_yaml(text);
            check(&section);
            assert!(section.has_errors(), "{text}");
        }
    }
}
