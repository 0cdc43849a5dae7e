//! The budget: what was spent this month, what the plan will spend, and which demotions keep the sum below the limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::cost::{Month, Spend, USD_PER_UNIT, Used};
use super::free::FreePart;

/// `budget`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
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
    spend: Spend,
    /// Billed an hour at each level, by shard.
    rates: BTreeMap<String, [f64; Level::ALL.len()]>,
    level: Level,
    exhausted: bool,
    warned: Option<Month>,
}

/// The books of one receiver over all its accounts and regions.
pub struct Ledger(Mutex<Books>);

/// The ledgers of the process, by receiver, and the free requests, by account: they outlive a reload. Kept in the
/// [commons](crate::component::Commons).
#[derive(Default)]
pub struct Ledgers {
    ledgers: Mutex<BTreeMap<String, Arc<Ledger>>>,
    free: Mutex<BTreeMap<String, Arc<FreePart>>>,
}

impl Ledgers {
    /// The ledger of a receiver; a new one has no limit.
    pub fn of(&self, receiver: &str) -> Arc<Ledger> {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ledgers.entry(receiver.to_owned()).or_default())
    }

    /// The free requests of an account.
    pub fn free_of(&self, account: &str) -> Arc<FreePart> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(free.entry(account.to_owned()).or_default())
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Budget::default(), None)
    }
}

/// Undone only below this share of the budget, so that it does not swing.
const UNDO_BELOW: f64 = 0.9;

impl Ledger {
    /// With what an earlier run had spent, as [`Self::to_bytes`] gave it; other bytes count as nothing.
    pub fn new(budget: Budget, saved: Option<&[u8]>) -> Self {
        let ledger = Self(Mutex::new(Books {
            budget,
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
    pub fn set(&self, budget: Budget) {
        self.books().budget = budget;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the state store.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.books().spend).unwrap_or_default()
    }

    /// Books what was sent at `now`.
    pub fn charge(&self, now: i64, used: Used) {
        self.books().spend.add(now, used);
    }

    /// The demotions of the last decision.
    pub fn level(&self) -> Level {
        self.books().level
    }

    /// Whether a hard budget was spent at the last decision.
    pub fn is_exhausted(&self) -> bool {
        self.books().exhausted
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

    /// What one shard would use from now on; `room`: how many of its requests an hour are free.
    pub fn plan(&self, shard: &str, rates: Rates, room: f64) {
        let billed = rates.map(|(units, requests)| units + (requests - room.max(0.0)).max(0.0));
        self.books().rates.insert(shard.to_owned(), billed);
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
        let spent = books.spend.usd();
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
        let planned: f64 = self.rates.values().map(|billed| billed[level as usize]).sum();
        self.spend.usd() + USD_PER_UNIT * planned * hours
    }
}
