//! How many requests may be on their way: a fixed number, or as many as the far end bears.
//!
//! Adapting ones are bounded in bytes too: what is on its way is in memory, while the queue they send from is on the
//! disk, and what comes in needs memory at the same time. They grow by one whenever as many requests as are allowed went well while all were in use, and are halved,
//! at most once a second, when one was refused or timed out (additive increase, multiplicative decrease).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::pdata::MemoryBudget;

/// Between two cuts: what is on its way was sent before the first.
const BETWEEN_CUTS: Duration = Duration::from_secs(1);

/// What is on its way from the disk may hold this part of the memory budget; a single request always goes.
const PART_OF_MEMORY: u64 = 4;

/// See the module text.
pub struct Slots {
    free: Arc<Semaphore>,
    state: Mutex<State>,
    /// The budget that requests on their way share with what comes in; nothing where they are in memory anyway.
    memory: Option<MemoryBudget>,
    less_on_the_way: Notify,
}

/// The right to send one request.
pub struct Slot {
    permit: OwnedSemaphorePermit,
    bytes: u64,
}

struct State {
    limit: usize,
    max: usize,
    adapts: bool,
    /// Slots that go when they are given back.
    surplus: usize,
    /// Requests that went well since the limit changed.
    went_well: usize,
    cut: Option<Instant>,
    /// Of the requests on their way.
    bytes: u64,
}

impl Slots {
    /// Always so many, at least one.
    pub fn fixed(count: usize) -> Arc<Self> {
        Self::new(count.max(1), count.max(1), false, None)
    }

    /// Begins with `start`.
    pub fn adapting(start: usize, max: usize) -> Arc<Self> {
        let max = max.max(1);
        Self::new(start.clamp(1, max), max, true, None)
    }

    /// The same for requests that were on the disk and take memory of this budget while they are on their way.
    pub fn from_disk(start: usize, max: usize, memory: MemoryBudget) -> Arc<Self> {
        let max = max.max(1);
        Self::new(start.clamp(1, max), max, true, Some(memory))
    }

    fn new(limit: usize, max: usize, adapts: bool, memory: Option<MemoryBudget>) -> Arc<Self> {
        Arc::new(Self {
            memory,
            less_on_the_way: Notify::new(),
            free: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            state: Mutex::new(State {
                limit,
                max,
                adapts,
                surplus: 0,
                went_well: 0,
                cut: None,
                bytes: 0,
            }),
        })
    }

    /// Waits for one for a request of so many bytes. For one task: of several, one could wait longer than it must.
    pub async fn take(&self, bytes: u64) -> Option<Slot> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        while !self.has_room(bytes) {
            self.less_on_the_way.notified().await;
        }
        Some(Slot { permit, bytes })
    }

    /// Whether the bytes of requests matter.
    pub fn counts_bytes(&self) -> bool {
        self.memory.is_some()
    }

    fn has_room(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let fits = self.memory.as_ref().is_none_or(|memory| {
            let room = memory.limit() / PART_OF_MEMORY;
            state.bytes == 0 || state.bytes.saturating_add(bytes) <= room
        });
        if fits {
            state.bytes = state.bytes.saturating_add(bytes);
        }
        fits
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is done; `met_refusal` when the far end did not take it at once.
    pub fn give_back(&self, slot: Slot, met_refusal: bool) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(slot.bytes);
        self.less_on_the_way.notify_one();
        if state.adapts {
            if met_refusal {
                state.shrink();
            } else {
                let all_in_use = self.free.available_permits() == 0;
                if state.grows(all_in_use) {
                    self.free.add_permits(1);
                }
            }
        }
        if state.surplus > 0 {
            state.surplus -= 1;
            slot.permit.forget();
        }
    }
}

impl State {
    fn shrink(&mut self) {
        let now = Instant::now();
        self.went_well = 0;
        if self.cut.is_some_and(|cut| now < cut + BETWEEN_CUTS) {
            return;
        }
        self.cut = Some(now);
        let smaller = (self.limit / 2).max(1);
        self.surplus += self.limit - smaller;
        self.limit = smaller;
    }

    /// Whether one more slot is to be made.
    fn grows(&mut self, all_in_use: bool) -> bool {
        self.went_well += 1;
        if !all_in_use || self.limit >= self.max || self.went_well < self.limit {
            return false;
        }
        self.went_well = 0;
        self.limit += 1;
        if self.surplus > 0 {
            // One that was to go stays.
            self.surplus -= 1;
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn rounds(slots: &Arc<Slots>, count: usize, refused: bool) -> usize {
        let mut most = 0;
        for _ in 0..count {
            let mut taken = Vec::new();
            while slots.free.available_permits() > 0 {
                taken.push(slots.take(1).await.unwrap());
            }
            most = most.max(taken.len());
            for slot in taken {
                slots.give_back(slot, refused);
            }
        }
        most
    }

    #[tokio::test(start_paused = true)]
    async fn grows_while_all_goes_well_and_is_halved_once_a_second_when_not() {
        let slots = Slots::adapting(4, 8);
        rounds(&slots, 100, false).await;
        assert_eq!(slots.free.available_permits(), 8);
        rounds(&slots, 1, true).await;
        assert_eq!(slots.free.available_permits(), 4, "eight refusals, one cut");
        for _ in 0..10 {
            tokio::time::sleep(BETWEEN_CUTS).await;
            rounds(&slots, 1, true).await;
        }
        assert_eq!(slots.free.available_permits(), 1, "never none");
        rounds(&slots, 200, false).await;
        assert_eq!(slots.free.available_permits(), 8);
    }

    #[tokio::test]
    async fn what_is_on_its_way_from_the_disk_leaves_memory_for_what_comes_in() {
        let slots = Slots::from_disk(10, 64, MemoryBudget::new(400));
        let first = slots.take(250).await.unwrap();
        assert!(!slots.has_room(1), "a large one goes, but alone");
        slots.give_back(first, false);
        let two = [slots.take(50).await.unwrap(), slots.take(50).await.unwrap()];
        let give_back = async {
            tokio::task::yield_now().await;
            assert!(!slots.has_room(1));
            two.into_iter().for_each(|slot| slots.give_back(slot, false));
        };
        let (third, ()) = tokio::join!(slots.take(1), give_back);
        assert!(third.is_some());
    }

    #[tokio::test]
    async fn a_fixed_number_stays() {
        let slots = Slots::fixed(3);
        rounds(&slots, 10, true).await;
        rounds(&slots, 10, false).await;
        assert_eq!(slots.free.available_permits(), 3);
    }
}
