//! A task that beats once a second: proof that the runtime still runs tasks, and the place where it is seen for how
//! long admission has been refusing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pdata::MemoryBudget;

/// Without a beat for this long the agent is no longer alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(30);
/// Refusing for longer than this, the agent is not ready.
const MAY_REFUSE_FOR: Duration = Duration::from_secs(10);

/// The last beat.
pub struct Pulse {
    last: Mutex<Instant>,
    /// Beats in a row that found admission closed.
    refusing: AtomicU64,
}

impl Pulse {
    /// Beats for the first time now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            last: Mutex::new(Instant::now()),
            refusing: AtomicU64::new(0),
        })
    }

    /// Beats until it is stopped.
    pub async fn beat(self: Arc<Self>, memory: MemoryBudget, stop: CancellationToken) {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            if memory.is_closed() {
                self.refusing.fetch_add(1, Ordering::Relaxed);
            } else {
                self.refusing.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The task has beaten lately.
    pub fn is_alive(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < ALIVE_WITHIN
    }

    /// Admission has refused everything for so long that data should go elsewhere.
    pub fn refuses(&self) -> bool {
        self.refusing.load(Ordering::Relaxed) > MAY_REFUSE_FOR.as_secs()
    }
}
