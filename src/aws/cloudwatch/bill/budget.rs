//! The budget: what was spent this month, what the plan will spend, and which demotions keep the sum below the limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use super::cost::{FREE_REQUESTS, Month, Spend, usd};
use super::source::free_per_hour;

/// `budget`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// 0: none.
    pub usd_per_month: f64,
    /// Nothing that is billed is asked once it is spent.
    pub hard: bool,
    /// Share of it at which a warning is logged.
    pub warn_at: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            usd_per_month: 0.0,
            hard: false,
            warn_at: 0.8,
        }
    }
}

/// How far polling is demoted; each level includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    #[default]
    None,
    SilentDetailOff,
    DetailHourly,
    NativeHourly,
    CoreIdleSlow,
    CoreHotSlow,
    SentinelSlow,
}

impl Level {
    pub const ALL: [Level; 7] = [
        Level::None,
        Level::SilentDetailOff,
        Level::DetailHourly,
        Level::NativeHourly,
        Level::CoreIdleSlow,
        Level::CoreHotSlow,
        Level::SentinelSlow,
    ];

    /// What it means, for the log.
    pub fn describe(self) -> &'static str {
        match self {
            Level::None => "nothing is demoted",
            Level::SilentDetailOff => "silent detail series are off",
            Level::DetailHourly => "silent detail series are off, other detail series hourly",
            Level::NativeHourly => "detail (silent ones off) and native series hourly",
            Level::CoreIdleSlow => "detail and native series hourly, idle core series every 15 minutes",
            Level::CoreHotSlow => {
                "detail and native series hourly, idle core series every 15, hot ones every 5 minutes"
            }
            Level::SentinelSlow => "as slow as it gets: sentinels and hot core series every 5 minutes",
        }
    }
}

/// Billed units and free requests per hour at each level.
pub type Rates = [(f64, f64); Level::ALL.len()];

/// What the budget says at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    pub level: Level,
    /// `hard`, and spent: nothing billed until the next month.
    pub exhausted: bool,
    /// Month to date, USD.
    pub spent: f64,
    /// At the end of the month, as things go on.
    pub forecast: f64,
    /// What changed since the last decision.
    pub changed_level: bool,
    /// The share of `warn_at` was passed just now.
    pub warn: bool,
    pub changed_exhausted: bool,
}

struct Books {
    budget: Budget,
    /// Free requests a month.
    free: u64,
    spend: Spend,
    rates: BTreeMap<String, Rates>,
    level: Level,
    exhausted: bool,
    warned: Option<Month>,
}

/// The books of one receiver over all its accounts and regions.
pub struct Ledger(Mutex<Books>);

/// The ledgers of the process, by receiver: they outlive a reload. Kept in the [commons](crate::component::Commons).
#[derive(Default)]
pub struct Ledgers(Mutex<BTreeMap<String, Arc<Ledger>>>);

impl Ledgers {
    /// The ledger of a receiver; a new one has no limit.
    pub fn of(&self, receiver: &str) -> Arc<Ledger> {
        let mut ledgers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ledgers.entry(receiver.to_owned()).or_default())
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Budget::default(), FREE_REQUESTS, None)
    }
}

/// Undone only below this share of the budget, so that it does not swing.
const UNDO_BELOW: f64 = 0.9;

impl Ledger {
    /// With what an earlier run had spent, as [`Self::to_bytes`] gave it; other bytes count as nothing.
    pub fn new(budget: Budget, free: u64, saved: Option<&[u8]>) -> Self {
        let ledger = Self(Mutex::new(Books {
            budget,
            free,
            spend: Spend::default(),
            rates: BTreeMap::new(),
            level: Level::None,
            exhausted: false,
            warned: None,
        }));
        ledger.restore(saved);
        ledger
    }

    /// Goes on from what an earlier process had spent, where nothing was spent here.
    pub fn restore(&self, saved: Option<&[u8]>) {
        let spend = saved.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let mut books = self.books();
        if let Some(spend) = spend.filter(|_| books.spend == Spend::default()) {
            books.spend = spend;
        }
    }

    /// Other limits, the same books.
    pub fn set(&self, budget: Budget, free: u64) {
        let mut books = self.books();
        books.budget = budget;
        books.free = free;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the state store.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.books().spend).unwrap_or_default()
    }

    /// Books what was sent at `now`.
    pub fn charge(&self, now: i64, units: u64, requests: u64) {
        self.books().spend.add(now, units, requests);
    }

    /// Used this month.
    pub fn spend(&self, now: i64) -> Spend {
        let mut books = self.books();
        books.spend.roll(now);
        books.spend
    }

    /// USD per month that may be spent; 0: any.
    pub fn limit(&self) -> f64 {
        self.books().budget.usd_per_month
    }

    /// Free requests an hour that a shard may plan with: what the others leave.
    pub fn free_room(&self, shard: &str, now: i64) -> f64 {
        let mut books = self.books();
        books.spend.roll(now);
        let hours = books.spend.month.hours_left(now);
        let others = books.rates.iter().filter(|(name, _)| *name != shard);
        let planned: f64 = others.map(|(_, rates)| rates[books.level as usize].1).sum();
        free_per_hour(books.free, books.spend.requests, hours) - planned
    }

    /// What one shard would use from now on.
    pub fn plan(&self, shard: &str, rates: Rates) {
        self.books().rates.insert(shard.to_owned(), rates);
    }

    /// A shard that polls no more.
    pub fn leave(&self, shard: &str) {
        self.books().rates.remove(shard);
    }

    /// The level that fits, and what is news about it.
    pub fn decide(&self, now: i64) -> Decision {
        let mut books = self.books();
        let budget = books.budget;
        let limit = budget.usd_per_month;
        books.spend.roll(now);
        let spent = books.spend.usd(books.free);
        let mut next = books.level;
        let mut exhausted = false;
        if limit > 0.0 {
            let worst = Level::SentinelSlow;
            let fits = |level: Level, below: f64| books.forecast(level, now) <= below;
            if fits(books.level, limit) {
                let back = Level::ALL.iter().find(|level| fits(**level, limit * UNDO_BELOW));
                next = back.copied().unwrap_or(books.level).min(books.level);
            } else {
                next = Level::ALL
                    .into_iter()
                    .find(|level| fits(*level, limit))
                    .unwrap_or(worst);
            }
            exhausted = budget.hard && spent >= limit;
        }
        let warn = limit > 0.0 && spent >= limit * budget.warn_at && books.warned != Some(books.spend.month);
        if warn {
            books.warned = Some(books.spend.month);
        }
        let decision = Decision {
            level: next,
            exhausted,
            spent,
            forecast: books.forecast(next, now),
            changed_level: next != books.level,
            warn,
            changed_exhausted: exhausted != books.exhausted,
        };
        books.level = next;
        books.exhausted = exhausted;
        decision
    }
}

impl Books {
    /// USD at the end of the month with this level from now on.
    fn forecast(&self, level: Level, now: i64) -> f64 {
        let hours = self.spend.month.hours_left(now);
        let (mut units, mut requests) = (self.spend.units as f64, self.spend.requests as f64);
        for rates in self.rates.values() {
            let (more_units, more_requests) = rates[level as usize];
            units += more_units * hours;
            requests += more_requests * hours;
        }
        usd(units, requests, self.free as f64)
    }
}
