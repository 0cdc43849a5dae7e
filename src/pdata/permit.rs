//! Admission by bytes: memory is asked for before it is used, and comes back when the last holder lets go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;

/// Permits up to this size may use all of a budget ...
const SMALL: u64 = 64 << 10;

/// ... larger ones leave a part of it to them, where it is at least this large: a few clients with large bodies would
/// else make everybody wait for memory who sends the usual few kilobytes.
const SHARED_FROM: u64 = 16 << 20;

/// The process-wide budget of telemetry bytes. Cheap to clone; all clones share one count.
///
/// The limit may change while permits are out (a reload, a `memory_limiter`): what is out stays out, new permits
/// are judged by the new limit. One permit larger than the limit is never granted.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What counts: the configured limit, or the lowest of those set over it.
    limit: AtomicU64,
    limits: Mutex<Limits>,
    used: AtomicU64,
    /// Raised by each sampler of the process' real memory: nothing is admitted while it is above zero.
    closed: AtomicU64,
    freed: Notify,
}

#[derive(Debug)]
struct Limits {
    configured: u64,
    /// By those who set them; each goes with its [`SetLimit`].
    over: Vec<(u64, u64)>,
    next: u64,
}

/// A limit in place of the configured one, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct SetLimit {
    budget: MemoryBudget,
    key: u64,
}

impl Drop for SetLimit {
    fn drop(&mut self) {
        self.budget
            .change_limits(|limits| limits.over.retain(|(key, _)| *key != self.key));
    }
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Shared {
            limit: AtomicU64::new(limit),
            limits: Mutex::new(Limits {
                configured: limit,
                over: Vec::new(),
                next: 0,
            }),
            used: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            freed: Notify::new(),
        }))
    }

    /// A budget that never refuses: for tests and for tools that read files they were pointed at.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// The largest permit there can be, and what all large ones can hold together.
    fn limit_for(&self, permit: u64) -> u64 {
        let limit = self.limit();
        if permit <= SMALL || limit < SHARED_FROM || limit == u64::MAX {
            limit
        } else {
            limit - limit / 16
        }
    }

    /// Bytes that permits hold now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Replaces the configured limit.
    pub fn set_limit(&self, bytes: u64) {
        self.change_limits(|limits| limits.configured = bytes);
    }

    /// Puts a limit in place of the configured one (a `memory_limiter`); of several the lowest counts.
    pub fn limit_by(&self, bytes: u64) -> SetLimit {
        let mut key = 0;
        self.change_limits(|limits| {
            key = limits.next;
            limits.next += 1;
            limits.over.push((key, bytes));
        });
        SetLimit {
            budget: self.clone(),
            key,
        }
    }

    fn change_limits(&self, change: impl FnOnce(&mut Limits)) {
        let mut limits = self.0.limits.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut limits);
        let lowest = limits.over.iter().map(|(_, bytes)| *bytes).min();
        self.0
            .limit
            .store(lowest.unwrap_or(limits.configured), Ordering::Relaxed);
        drop(limits);
        self.0.freed.notify_waiters();
    }

    /// Refuses every new permit until [`MemoryBudget::reopen`] was called as often as this: the outer fuse, pulled by
    /// whoever samples the memory in use.
    pub fn close(&self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one [`MemoryBudget::close`] back.
    pub fn reopen(&self) {
        let _ = self
            .0
            .closed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |closed| closed.checked_sub(1));
        self.0.freed.notify_waiters();
    }

    /// Whether the fuse is pulled.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed) != 0
    }

    /// A permit for `bytes`, or `None` when they do not fit now.
    pub fn try_acquire(&self, bytes: u64) -> Option<Permit> {
        if self.is_closed() || !self.charge(bytes, bytes) {
            return None;
        }
        Some(Permit {
            budget: self.clone(),
            bytes,
        })
    }

    /// A permit for `bytes`, waiting at most `wait` for others to let go.
    pub async fn acquire(&self, bytes: u64, wait: Duration) -> Option<Permit> {
        if let Some(permit) = self.try_acquire(bytes) {
            return Some(permit);
        }
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(permit) = self.try_acquire(bytes) {
                return Some(permit);
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return None;
            }
        }
    }

    /// Takes `bytes` for a permit of `whole` bytes.
    fn charge(&self, bytes: u64, whole: u64) -> bool {
        let limit = self.limit_for(whole);
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .is_ok()
    }
}

/// Why memory for another form of the data is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoMemory {
    #[error("no memory for the decoded data now")]
    Now,
    /// More than the whole limit.
    #[error("decoded it would take more memory than the limit")]
    Ever,
}

/// Bytes of the budget, given back on drop.
#[derive(Debug)]
pub struct Permit {
    budget: MemoryBudget,
    bytes: u64,
}

impl Permit {
    /// A permit over nothing, for data that no budget was asked for.
    pub fn none() -> Self {
        Self {
            budget: MemoryBudget::unlimited(),
            bytes: 0,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Grows the permit by `more` bytes; `false` (and unchanged) when they do not fit now.
    pub fn try_grow(&mut self, more: u64) -> bool {
        let grown = !self.budget.is_closed() && self.budget.charge(more, self.bytes.saturating_add(more));
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// A permit of the same budget, for another `bytes` beside the `held` ones that stay.
    ///
    /// # Errors
    /// When they do not fit now, or never will.
    pub fn another(&self, bytes: u64, held: u64) -> Result<Permit, NoMemory> {
        self.budget.try_acquire(bytes).ok_or_else(|| {
            if bytes.saturating_add(held) > self.budget.limit_for(bytes) {
                NoMemory::Ever
            } else {
                NoMemory::Now
            }
        })
    }

    /// Gives back all but `bytes`: the estimate was too high.
    pub fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.give_back(self.bytes - bytes);
            self.bytes = bytes;
        }
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.budget.0.used.fetch_sub(bytes, Ordering::Relaxed);
            self.budget.0.freed.notify_waiters();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_permits_leave_room_for_small_ones() {
        let budget = MemoryBudget::new(32 << 20);
        let mut large = budget.try_acquire(20 << 20).unwrap();
        assert!(budget.try_acquire(11 << 20).is_none());
        assert!(large.try_grow(10 << 20));
        assert!(
            !large.try_grow(1),
            "thirty of thirty-two: the rest is not for the large"
        );
        let small: Vec<Permit> = (0..32).filter_map(|_| budget.try_acquire(SMALL)).collect();
        assert_eq!(small.len(), 32, "the small have all of it");
        assert!(budget.try_acquire(1).is_none());
        drop(small);
        let mut growing = budget.try_acquire(SMALL).unwrap();
        assert!(!growing.try_grow(1), "what has grown large is large");
        assert_eq!(large.another(32 << 20, 0).unwrap_err(), NoMemory::Ever);
        drop((large, growing));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn gives_back_what_was_held_when_dropped() {
        let budget = MemoryBudget::new(100);
        let permit = budget.try_acquire(60).unwrap();
        assert!(budget.try_acquire(60).is_none());
        drop(permit);
        assert_eq!(budget.used(), 0);
        assert!(budget.try_acquire(100).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_room_and_gives_up_after_the_wait() {
        let budget = MemoryBudget::new(100);
        let held = budget.try_acquire(100).unwrap();
        assert!(budget.acquire(1, Duration::from_millis(100)).await.is_none());
        let waiting = budget.acquire(50, Duration::from_secs(1));
        let (granted, ()) = tokio::join!(waiting, async { drop(held) });
        assert_eq!(granted.unwrap().bytes(), 50);
    }

    #[test]
    fn a_limit_that_was_set_goes_with_whoever_set_it() {
        let budget = MemoryBudget::new(1000);
        let first = budget.limit_by(100);
        let second = budget.limit_by(300);
        assert_eq!(budget.limit(), 100);
        budget.set_limit(2000);
        assert_eq!(budget.limit(), 100, "a reload does not undo it");
        drop(first);
        assert_eq!(budget.limit(), 300);
        drop(second);
        assert_eq!(budget.limit(), 2000);
    }

    #[test]
    fn two_who_closed_it_both_have_to_open_it() {
        let budget = MemoryBudget::new(10);
        budget.close();
        budget.close();
        budget.reopen();
        assert!(budget.try_acquire(1).is_none());
        budget.reopen();
        assert!(budget.try_acquire(1).is_some());
        budget.reopen();
        budget.close();
        assert!(budget.is_closed(), "one opening too many is none");
    }

    #[test]
    fn never_wraps_on_a_claim_of_all_bytes() {
        let budget = MemoryBudget::new(100);
        let _held = budget.try_acquire(1).unwrap();
        assert!(budget.try_acquire(u64::MAX).is_none());
    }
}
