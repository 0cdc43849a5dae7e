//! What AWS would charge for the calls, per account, region and API.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// USD per metric requested by GetMetricData.
const USD_PER_METRIC: f64 = 0.01 / 1_000.0;
/// Requests a month that the free tier holds, over all APIs but GetMetricData.
const FREE_REQUESTS: u64 = 1_000_000;

/// Counts of one API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    /// Metrics requested (GetMetricData only).
    pub units: u64,
}

/// All calls that were answered. Refused ones cost nothing.
#[derive(Clone, Debug, Default)]
pub struct Bill(BTreeMap<(String, String, String), Counts>);

impl Bill {
    /// Adds one answered call.
    pub fn charge(&mut self, account: &str, region: &str, api: &str, units: u64) {
        let key = (account.to_owned(), region.to_owned(), api.to_owned());
        let counts = self.0.entry(key).or_default();
        counts.requests += 1;
        counts.units += units;
    }

    /// Counts of an API over all accounts and regions.
    pub fn of(&self, api: &str) -> Counts {
        let mut sum = Counts::default();
        for ((_, _, have), counts) in &self.0 {
            if have == api {
                sum.requests += counts.requests;
                sum.units += counts.units;
            }
        }
        sum
    }

    /// Lines and the sum in USD.
    pub fn to_json(&self) -> Json {
        let mut lines = Vec::new();
        let mut free = FREE_REQUESTS;
        let mut total = 0.0;
        for ((account, region, api), counts) in &self.0 {
            let usd = match api.as_str() {
                "GetMetricData" => counts.units as f64 * USD_PER_METRIC,
                "ListMetrics" => {
                    let paid = counts.requests.saturating_sub(free);
                    free = free.saturating_sub(counts.requests);
                    paid as f64 * USD_PER_METRIC
                }
                _ => 0.0,
            };
            total += usd;
            lines.push(json!({
                "account": account, "region": region, "api": api,
                "requests": counts.requests, "units": counts.units, "usd": usd,
            }));
        }
        json!({"lines": lines, "usd": total})
    }
}
