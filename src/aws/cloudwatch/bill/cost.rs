//! What AWS asks for: units of GetMetricData, requests of the free APIs, and the calendar they are billed by.

use serde::{Deserialize, Serialize};

/// USD per metric that GetMetricData is asked for, and per request beyond the free ones (us-east-1: $0.01 per 1,000).
pub const USD_PER_UNIT: f64 = 0.01 / 1_000.0;
/// Requests of GetMetricStatistics and ListMetrics that a month includes.
pub const FREE_REQUESTS: u64 = 1_000_000;
/// A month of the price tables: 43,200 minutes.
pub const MONTH_HOURS: f64 = 720.0;

/// USD for units of GetMetricData and requests of the APIs that have a free part.
pub fn usd(units: f64, requests: f64, free: f64) -> f64 {
    USD_PER_UNIT * (units + (requests - free).max(0.0))
}

/// A calendar month in UTC, unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    pub start: i64,
    /// Exclusive.
    pub end: i64,
}

impl Month {
    /// The month of a moment. Moments outside the calendar's range count as 1970-01.
    pub fn of(unix_seconds: i64) -> Self {
        let day = jiff::Timestamp::from_second(unix_seconds)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date();
        let start = day.first_of_month();
        let next = start.checked_add(jiff::Span::new().months(1)).unwrap_or(start);
        let seconds = |date: jiff::civil::Date| {
            let zoned = date.to_zoned(jiff::tz::TimeZone::UTC);
            zoned.map_or(0, |zoned| zoned.timestamp().as_second())
        };
        Self {
            start: seconds(start),
            end: seconds(next),
        }
    }

    /// Hours from `now` to its end.
    pub fn hours_left(self, now: i64) -> f64 {
        (self.end - now.clamp(self.start, self.end)) as f64 / 3600.0
    }
}

/// What was sent at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Metrics that GetMetricData was asked for, and reports of insight rules.
    pub units: u64,
    /// Requests of the APIs with a free part.
    pub requests: u64,
    /// How many of these were beyond it.
    pub paid: u64,
}

/// What was used in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    pub month: Month,
    /// Metrics that GetMetricData was asked for.
    pub units: u64,
    /// Requests of the APIs with a free part: GetMetricStatistics, ListMetrics.
    pub requests: u64,
    /// Of the requests those beyond the free part of their account.
    #[serde(default)]
    pub paid: u64,
}

impl Spend {
    /// Adds what was sent at `now`; a new month begins with nothing.
    pub fn add(&mut self, now: i64, used: Used) {
        self.roll(now);
        self.units += used.units;
        self.requests += used.requests;
        self.paid += used.paid;
    }

    /// Begins the month of `now`, if that is a later one.
    pub fn roll(&mut self, now: i64) {
        if now >= self.month.end {
            *self = Self {
                month: Month::of(now),
                ..Self::default()
            };
        }
    }

    /// Month to date.
    pub fn usd(&self) -> f64 {
        USD_PER_UNIT * (self.units + self.paid) as f64
    }
}
