//! What polling costs and how it is kept low: how urgent each series is, how often it is asked, what that costs, and
//! what gives way when a budget would be exceeded.
//!
//! Pure: no clock, no network, no task. The poller says what time it is and what it heard.

mod budget;
mod cost;
mod free;
mod schedule;
mod settings;
mod source;
mod tiers;

#[cfg(test)]
mod tests;

pub use budget::{Budget, Decision, Ledger, Ledgers, Level, Rates};
pub use cost::{FREE_REQUESTS, MONTH_HOURS, Month, Spend, USD_PER_UNIT, Used, usd};
pub use free::FreePart;
pub use schedule::{ClassCost, Mode, Pace, Rhythm, Schedule, Supposed, Survey, Tier};
pub use settings::Polling;
pub use source::{Api, fits_statistics, free_per_hour};
pub use tiers::{Role, class_of};
