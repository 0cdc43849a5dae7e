//! The outer fuse: looks at the memory in use at every interval, and closes or opens admission.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::probe::Probe;
use super::{Limits, MIB};
use crate::component::{BuildContext, ComponentId};
use crate::pdata::{MemoryBudget, SetLimit};

/// One for all pipelines that name the limiter.
pub struct Sampler {
    id: ComponentId,
    limits: Limits,
    memory: MemoryBudget,
    /// The soft limit as the budget of the process, until the last user leaves.
    admission: Mutex<Option<SetLimit>>,
    refusing: AtomicBool,
    /// Pipelines that use it; the last one ends the task.
    users: AtomicUsize,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sampler {
    /// Starts the task that looks. The caller is the first user.
    pub fn start(context: &BuildContext, limits: Limits, interval: Duration, probe: Probe) -> Arc<Self> {
        let sampler = Arc::new(Self {
            id: context.id.clone(),
            limits,
            memory: context.memory.clone(),
            admission: Mutex::new(Some(context.memory.limit_by(limits.soft))),
            refusing: AtomicBool::new(false),
            users: AtomicUsize::new(1),
            stop: context.stop.child_token(),
            tasks: TaskTracker::new(),
        });
        sampler.tasks.spawn(Arc::clone(&sampler).watch(interval, probe));
        sampler
    }

    /// Another pipeline uses it; `false` when the last one has gone and it is ending.
    pub fn join(&self) -> bool {
        let joined = self.users.fetch_update(Ordering::AcqRel, Ordering::Acquire, |users| {
            (users > 0).then_some(users + 1)
        });
        joined.is_ok()
    }

    /// A pipeline has no use for it any more.
    pub fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop.cancel();
            self.admission.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.resume();
        }
    }

    /// Whether data is to be refused.
    pub fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    async fn watch(self: Arc<Self>, interval: Duration, probe: Probe) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_blind = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.stop.cancelled() => return,
            }
            match probe.used() {
                Some(used) => self.judge(used),
                None if !is_blind => {
                    is_blind = true;
                    tracing::warn!(
                        processor = %self.id,
                        "cannot read the memory in use: only admission by bytes holds the limit"
                    );
                }
                None => {}
            }
        }
    }

    /// Refuses from the soft limit on, and again not below it.
    pub fn judge(&self, used: u64) {
        let is_over = used >= self.limits.soft;
        if is_over && !self.refusing.swap(true, Ordering::Relaxed) {
            self.memory.close();
            tracing::warn!(
                processor = %self.id, cur_mem_mib = used / MIB, soft_limit_mib = self.limits.soft / MIB,
                "Memory usage is above soft limit. Refusing data."
            );
        }
        if !is_over && self.is_refusing() {
            self.resume();
            tracing::info!(
                processor = %self.id, cur_mem_mib = used / MIB,
                "Memory usage back within limits. Resuming normal operation."
            );
        }
    }

    fn resume(&self) {
        if self.refusing.swap(false, Ordering::Relaxed) {
            self.memory.reopen();
        }
    }
}
