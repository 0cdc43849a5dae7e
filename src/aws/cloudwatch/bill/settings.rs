//! `polling`, `budget`, `rate` and `metrics.pin` of every receiver that reads CloudWatch.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::cost::FREE_REQUESTS;
use super::schedule::{Mode, Rhythm};
use super::source::Api;
use crate::config::Section;
use crate::config::types::GoDuration;

/// How often series are asked, by which API, and what it may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Polling {
    pub rhythm: Rhythm,
    pub source: Api,
    pub free_requests: u64,
    pub budget: Budget,
    /// Requests per second at most, by API.
    pub rate: BTreeMap<String, f64>,
    /// Globs of metric names that are not demoted by what they do.
    pub pin: Vec<String>,
}

impl Default for Polling {
    fn default() -> Self {
        Self {
            rhythm: Rhythm::default(),
            source: Api::default(),
            free_requests: FREE_REQUESTS,
            budget: Budget::default(),
            rate: BTreeMap::new(),
            pin: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    mode: Mode,
    interval: GoDuration,
    source: Api,
    free_requests: u64,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            interval: GoDuration(Duration::from_secs(60)),
            source: Api::default(),
            free_requests: FREE_REQUESTS,
        }
    }
}

/// APIs whose rate may be set.
const APIS: &[&str] = &[
    "GetMetricData",
    "GetMetricStatistics",
    "ListMetrics",
    "GetInsightRuleReport",
    "ListTables",
    "DescribeTable",
];

impl Polling {
    /// Reads the keys `polling`, `budget` and `rate` of a receiver. Problems are reported to the section.
    pub fn read(section: &Section) -> Option<Self> {
        let mut polling = Self::default();
        if let Some(own) = section.take("polling") {
            let keys = own.read::<Keys>()?;
            let interval = i64::try_from(keys.interval.0.as_secs()).unwrap_or(i64::MAX);
            if !(60..=86_400).contains(&interval) {
                own.error_at("interval", "must be 60s to 24h: there is one value a minute");
            }
            polling.rhythm = Rhythm {
                mode: keys.mode,
                interval: interval.clamp(60, 86_400),
            };
            polling.source = keys.source;
            polling.free_requests = keys.free_requests;
        }
        if let Some(own) = section.take("budget") {
            polling.budget = own.read::<Budget>()?;
            let Budget {
                usd_per_month, warn_at, ..
            } = polling.budget;
            if !(usd_per_month.is_finite() && usd_per_month >= 0.0) {
                own.error_at("usd_per_month", "must be 0 (no limit) or more");
            }
            if !(0.0..=1.0).contains(&warn_at) {
                own.error_at("warn_at", "must be a share between 0 and 1");
            }
            if polling.budget.hard && usd_per_month == 0.0 {
                own.error_at("hard", "needs `usd_per_month`");
            }
        }
        if let Some(own) = section.take("rate") {
            for api in own.keys() {
                if !APIS.contains(&api.as_str()) {
                    own.error_at(&api, format!("no API with a rate; use {}", APIS.join(", ")));
                }
            }
            polling.rate = own.read::<BTreeMap<String, f64>>()?;
            for (api, rate) in &polling.rate {
                if !(0.01..=1_000.0).contains(rate) {
                    own.error_at(api, "must be 0.01 to 1000 requests per second");
                }
            }
        }
        Some(polling)
    }
}
