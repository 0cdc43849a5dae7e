//! The free requests of an account. AWS counts them by account and not by receiver: all that ask there draw from the
//! same number.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cost::{Spend, Used};
use super::source::free_per_hour;

/// The free requests of one account.
#[derive(Default)]
pub struct FreePart(Mutex<Books>);

#[derive(Default)]
struct Books {
    /// Only its requests are of interest.
    spend: Spend,
    /// Requests an hour that each shard plans with.
    plans: BTreeMap<String, f64>,
}

impl FreePart {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on from what an earlier process had used, as [`Self::to_bytes`] gave it, where nothing was used here.
    pub fn restore(&self, saved: Option<&[u8]>) {
        let spend = saved.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let mut books = self.books();
        if let Some(spend) = spend.filter(|_| books.spend == Spend::default()) {
            books.spend = spend;
        }
    }

    /// For the state store.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.books().spend).unwrap_or_default()
    }

    /// Books requests that were sent at `now`, of `free` a month. Returns how many of them were not free.
    pub fn charge(&self, now: i64, requests: u64, free: u64) -> u64 {
        let mut books = self.books();
        books.spend.roll(now);
        let before = books.spend.requests.max(free);
        let used = Used {
            requests,
            ..Used::default()
        };
        books.spend.add(now, used);
        books.spend.requests.saturating_sub(before)
    }

    /// Requests of this month so far.
    pub fn used(&self, now: i64) -> u64 {
        let mut books = self.books();
        books.spend.roll(now);
        books.spend.requests
    }

    /// Requests an hour that a shard may plan with: what the others leave.
    pub fn room(&self, shard: &str, now: i64, free: u64) -> f64 {
        let mut books = self.books();
        books.spend.roll(now);
        let hours = books.spend.month.hours_left(now);
        let others = books.plans.iter().filter(|(name, _)| *name != shard);
        let planned: f64 = others.map(|(_, requests)| requests).sum();
        free_per_hour(free, books.spend.requests, hours) - planned
    }

    /// What a shard plans to send an hour.
    pub fn plan(&self, shard: &str, requests: f64) {
        self.books().plans.insert(shard.to_owned(), requests);
    }

    /// A shard that asks no more.
    pub fn leave(&self, shard: &str) {
        self.books().plans.remove(shard);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::Month;
    use super::*;

    #[test]
    fn receivers_of_one_account_draw_from_one_number_also_after_a_restart() {
        let month = Month::of(1_767_571_200);
        let part = FreePart::default();
        assert_eq!(part.charge(month.start, 600, 1_000), 0);
        assert_eq!(part.charge(month.start, 500, 1_000), 100, "a hundred too many");
        assert_eq!(part.charge(month.start, 50, 1_000), 50);
        let again = FreePart::default();
        again.restore(Some(&part.to_bytes()));
        assert_eq!(again.used(month.start), 1_150);
        assert_eq!(again.charge(month.start + 1, 1, 1_000), 1);
        assert_eq!(again.charge(month.end, 1, 1_000), 0, "another month");
        again.restore(Some(b"rubbish"));
        assert_eq!(again.used(month.end), 1);
    }

    #[test]
    fn what_one_plans_with_the_others_leave() {
        let month = Month::of(1_767_571_200);
        let part = FreePart::default();
        let all = part.room("a", month.start, 1_000_000);
        part.plan("b", 100.0);
        assert_eq!(part.room("a", month.start, 1_000_000), all - 100.0);
        assert_eq!(part.room("b", month.start, 1_000_000), all);
        part.leave("b");
        assert_eq!(part.room("a", month.start, 1_000_000), all);
    }
}
