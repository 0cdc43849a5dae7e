//! How many calls AWS lets through: requests per second of each API, and points per second of GetMetricData, for each
//! account and region. In simulated time.

use std::collections::HashMap;

use super::answer::{ApiError, Caller};

/// Requests per second by API (documented defaults; GetMetricData: older pages say 50, the newer 500 is not relied on).
fn requests_per_second(api: &str) -> f64 {
    match api {
        "GetMetricData" => 50.0,
        "GetMetricStatistics" => 400.0,
        "ListMetrics" => 25.0,
        "GetInsightRuleReport" => 20.0,
        "DescribeLimits" => 1.0,
        _ => 100.0,
    }
}

/// Points per second of GetMetricData for the last three hours, and for older ones.
const POINTS: f64 = 180_000.0;
const OLD_POINTS: f64 = 396_000.0;

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: f64,
}

/// The buckets of every account, region and API.
#[derive(Default)]
pub struct Limits(HashMap<(String, String, String), Bucket>);

impl Limits {
    /// Lets one call through.
    ///
    /// # Errors
    /// A throttle.
    pub fn call(&mut self, caller: &Caller, api: &str, now: f64) -> Result<(), ApiError> {
        self.take(caller, api, 1.0, requests_per_second(api), now)
    }

    /// Lets the points of a window of GetMetricData through.
    ///
    /// # Errors
    /// A throttle.
    pub fn points(&mut self, caller: &Caller, points: f64, age_s: f64, now: f64) -> Result<(), ApiError> {
        let (name, rate) = if age_s <= 3.5 * 3600.0 {
            ("points", POINTS)
        } else {
            ("old points", OLD_POINTS)
        };
        self.take(caller, name, points, rate, now)
    }

    fn take(&mut self, caller: &Caller, what: &str, amount: f64, rate: f64, now: f64) -> Result<(), ApiError> {
        let key = (caller.account.clone(), caller.region.clone(), what.to_owned());
        let bucket = self.0.entry(key).or_insert(Bucket { tokens: rate, at: now });
        // The burst is one second's worth.
        bucket.tokens = (bucket.tokens + (now - bucket.at).max(0.0) * rate).min(rate);
        bucket.at = now;
        if bucket.tokens < amount {
            return Err(ApiError::sender("ThrottlingException", "Rate exceeded"));
        }
        bucket.tokens -= amount;
        Ok(())
    }
}
