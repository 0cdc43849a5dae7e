//! How many requests may be on their way: a fixed number, or as many as the far end bears.
//!
//! Adapting ones grow by one whenever as many requests as are allowed went well while all were in use, and are halved,
//! at most once a second, when one was refused or timed out (additive increase, multiplicative decrease).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Between two cuts: what is on its way was sent before the first.
const BETWEEN_CUTS: Duration = Duration::from_secs(1);

/// See the module text.
pub struct Slots {
    free: Arc<Semaphore>,
    state: Mutex<State>,
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
}

impl Slots {
    /// Always so many, at least one.
    pub fn fixed(count: usize) -> Arc<Self> {
        Self::new(count.max(1), count.max(1), false)
    }

    /// Begins with `start`.
    pub fn adapting(start: usize, max: usize) -> Arc<Self> {
        let max = max.max(1);
        Self::new(start.clamp(1, max), max, true)
    }

    fn new(limit: usize, max: usize, adapts: bool) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            state: Mutex::new(State {
                limit,
                max,
                adapts,
                surplus: 0,
                went_well: 0,
                cut: None,
            }),
        })
    }

    /// Waits for one.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// A request is done; `met_refusal` when the far end did not take it at once.
    pub fn give_back(&self, slot: OwnedSemaphorePermit, met_refusal: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
            slot.forget();
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
                taken.push(slots.take().await.unwrap());
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
    async fn a_fixed_number_stays() {
        let slots = Slots::fixed(3);
        rounds(&slots, 10, true).await;
        rounds(&slots, 10, false).await;
        assert_eq!(slots.free.available_permits(), 3);
    }
}
