//! A virtual clock: frozen, stepped by hand, or running at a rate. It is the agent's time source in tests and demo.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::component::{BoxFuture, Clock, UnixNanos};

/// Cheap to clone; all clones are one clock.
#[derive(Clone)]
pub struct VirtualClock(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Counts every change: a step, another rate, somebody who fell asleep or woke up.
    changed: watch::Sender<u64>,
}

struct State {
    at: u64,
    since: Instant,
    rate: f64,
    next_sleeper: u64,
    sleepers: BTreeMap<u64, u64>,
}

impl State {
    fn now(&self) -> u64 {
        let elapsed = self.since.elapsed().as_nanos() as f64 * self.rate;
        self.at.saturating_add(elapsed as u64)
    }
}

impl VirtualClock {
    /// A clock that stands at `at` until it is stepped.
    pub fn frozen(at: UnixNanos) -> Self {
        Self::running(at, 0.0)
    }

    /// A clock that starts at `at` and runs `rate` times as fast as the machine's.
    pub fn running(at: UnixNanos, rate: f64) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                at: at.0,
                since: Instant::now(),
                rate: rate.max(0.0),
                next_sleeper: 0,
                sleepers: BTreeMap::new(),
            }),
            changed: watch::Sender::new(0),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.0.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Moves forward.
    pub fn step(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        {
            let mut state = self.state();
            state.at = state.now().saturating_add(by);
            state.since = Instant::now();
        }
        self.tell();
    }

    /// Moves to `at`; a moment that has passed is ignored, time does not run back.
    pub fn advance_to(&self, at: UnixNanos) {
        let now = self.now();
        if at > now {
            self.step(Duration::from_nanos(at.0 - now.0));
        }
    }

    /// Changes the rate from now on; zero freezes.
    pub fn set_rate(&self, rate: f64) {
        {
            let mut state = self.state();
            state.at = state.now();
            state.since = Instant::now();
            state.rate = rate.max(0.0);
        }
        self.tell();
    }

    /// Simulated seconds per second.
    pub fn rate(&self) -> f64 {
        self.state().rate
    }

    /// Waits until somebody sleeps, and gives the earliest moment at which one of them wants to wake.
    pub async fn next_wake(&self) -> UnixNanos {
        let mut changes = self.0.changed.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(deadline) = self.state().sleepers.values().min() {
                return UnixNanos(*deadline);
            }
            if changes.changed().await.is_err() {
                return self.now();
            }
        }
    }

    async fn sleep_until(self, deadline: u64) {
        let _sleeper = Sleeper::new(self.clone(), deadline);
        let mut changes = self.0.changed.subscribe();
        loop {
            changes.borrow_and_update();
            let (now, rate) = {
                let state = self.state();
                (state.now(), state.rate)
            };
            if now >= deadline {
                return;
            }
            if rate > 0.0 {
                let real = (deadline - now) as f64 / rate;
                let wait = Duration::from_nanos(real.ceil() as u64);
                let _ = tokio::time::timeout(wait, changes.changed()).await;
            } else {
                let _ = changes.changed().await;
            }
        }
    }
}

/// Registers a sleeper for as long as it lives.
struct Sleeper {
    clock: VirtualClock,
    id: u64,
}

impl Sleeper {
    fn new(clock: VirtualClock, deadline: u64) -> Self {
        let id = {
            let mut state = clock.state();
            let id = state.next_sleeper;
            state.next_sleeper += 1;
            state.sleepers.insert(id, deadline);
            id
        };
        clock.tell();
        Self { clock, id }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.state().sleepers.remove(&self.id);
        self.clock.tell();
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.state().now())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let by = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let deadline = self.now().0.saturating_add(by);
        Box::pin(self.clone().sleep_until(deadline))
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UNIX_EPOCH + Duration::from_nanos(self.now().0);
        write!(f, "VirtualClock({at:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_stepped_past_its_deadline() {
        let clock = VirtualClock::frozen(UnixNanos::from_seconds(1_000));
        let sleep = clock.sleep(Duration::from_secs(60));
        let stepper = clock.clone();
        let step = async move {
            let wake = stepper.next_wake().await;
            assert_eq!(wake, UnixNanos::from_seconds(1_060));
            stepper.advance_to(wake);
        };
        tokio::join!(sleep, step);
        assert_eq!(clock.now(), UnixNanos::from_seconds(1_060));
    }

    #[tokio::test(start_paused = true)]
    async fn runs_at_its_rate() {
        let clock = VirtualClock::running(UnixNanos::from_seconds(0), 60.0);
        let before = Instant::now();
        clock.sleep(Duration::from_secs(120)).await;
        let took = before.elapsed();
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_millis(2_100),
            "{took:?}"
        );
    }
}
