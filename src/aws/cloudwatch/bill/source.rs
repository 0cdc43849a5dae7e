//! Which series go over GetMetricStatistics, whose requests are free up to a number a month.

use serde::{Deserialize, Serialize};

use super::super::want::Stat;

/// `polling.source`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// GetMetricStatistics while it is free, else GetMetricData.
    #[default]
    Auto,
    /// GetMetricData only.
    Gmd,
    /// GetMetricStatistics for everything without percentiles.
    Gms,
}

/// Of the free requests so much is planned for; the rest is for restarts and other users of the account.
const PLANNED: f64 = 0.95;

/// Whether GetMetricStatistics can answer all of these at once: it gives basic statistics or percentiles, never both.
pub fn fits_statistics(statistics: &[Stat]) -> bool {
    !statistics.is_empty()
        && statistics.len() <= 5
        && !statistics.iter().any(|stat| matches!(stat, Stat::Percentile(_)))
}

/// Free requests an hour that are left until the month ends: `free` a month, `used` so far, `hours` to go.
pub fn free_per_hour(free: u64, used: u64, hours: f64) -> f64 {
    let left = free as f64 * PLANNED - used as f64;
    // In the last minutes of a month not everything at once.
    left.max(0.0) / hours.max(1.0)
}
