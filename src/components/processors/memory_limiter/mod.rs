//! `memory_limiter`: keeps the process below a limit by refusing data that can be offered again.
//!
//! Two things hold the limit. The limit becomes the process-wide budget from which receivers take a permit before they
//! read a body, so that most refusals cost nothing; and a sampler of the memory really used (`sampler.rs`) closes the
//! budget and refuses here when all else does not suffice. Pipelines that name the same limiter share one sampler.

mod probe;
mod sampler;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::component::{
    BoxFuture, BuildContext, BuiltProcessor, ComponentKind, Counter, Deadline, Factory, Outlet, Plan, ProcessorPlan,
    Refused, Running, Stability, Stage, StartError,
};
use crate::config::Section;
use crate::config::types::GoDuration;
use crate::pdata::{Batch, Signal};
use probe::Probe;
use sampler::Sampler;

/// What clients read; the Collector's text.
const REFUSAL: &str = "data refused due to high memory usage";
const MIB: u64 = 1024 * 1024;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    check_interval: GoDuration,
    limit_mib: u64,
    spike_limit_mib: u64,
    limit_percentage: u64,
    spike_limit_percentage: u64,
    // The Collector runs its garbage collector by these. There is none here: read and of no effect.
    #[serde(rename = "min_gc_interval_when_soft_limited")]
    _min_soft: Option<GoDuration>,
    #[serde(rename = "min_gc_interval_when_hard_limited")]
    _min_hard: Option<GoDuration>,
    #[serde(rename = "max_gc_interval_when_soft_limited")]
    _max_soft: Option<GoDuration>,
    #[serde(rename = "max_gc_interval_when_hard_limited")]
    _max_hard: Option<GoDuration>,
}

/// See the module text.
pub struct MemoryLimiterFactory;

impl Factory for MemoryLimiterFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Processor
    }

    fn type_name(&self) -> &'static str {
        "memory_limiter"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Refuses data while the process uses too much memory."
    }

    fn example(&self) -> &'static str {
        "check_interval: 1s\nlimit_mib: 400\nspike_limit_mib: 80\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config: Config = section.read()?;
        if config.check_interval.0.is_zero() {
            section.error_at(
                "check_interval",
                "must be set, and greater than zero (for example `1s`)",
            );
        }
        if config.limit_mib == 0 && config.limit_percentage == 0 {
            section.error("`limit_mib` or `limit_percentage` must be greater than zero");
        }
        for (key, percentage) in [
            ("limit_percentage", config.limit_percentage),
            ("spike_limit_percentage", config.spike_limit_percentage),
        ] {
            if percentage > 100 {
                section.error_at(key, "must be at most 100");
            }
        }
        if config.limit_mib > 0 && config.spike_limit_mib >= config.limit_mib {
            section.error_at("spike_limit_mib", "must be smaller than `limit_mib`");
        }
        if config.limit_percentage > 0 && config.spike_limit_percentage >= config.limit_percentage {
            section.error_at("spike_limit_percentage", "must be smaller than `limit_percentage`");
        }
        Some(Plan::Processor(Box::new(LimiterPlan {
            config,
            sampler: Mutex::new(Weak::new()),
        })))
    }
}

struct LimiterPlan {
    config: Config,
    /// Shared by the pipelines that name this limiter.
    sampler: Mutex<Weak<Sampler>>,
}

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    hard: u64,
    /// Above this data is refused.
    soft: u64,
}

impl Config {
    /// `limit_mib` beats the percentage; the spike is a fifth of the limit where it is not set.
    fn limits(&self, total: u64) -> Limits {
        let (hard, spike) = if self.limit_mib > 0 {
            (
                self.limit_mib.saturating_mul(MIB),
                self.spike_limit_mib.saturating_mul(MIB),
            )
        } else {
            let percent = |part: u64| (u128::from(total) * u128::from(part) / 100) as u64;
            (percent(self.limit_percentage), percent(self.spike_limit_percentage))
        };
        let spike = if spike == 0 { hard / 5 } else { spike };
        Limits {
            hard,
            soft: hard.saturating_sub(spike),
        }
    }
}

impl LimiterPlan {
    fn sampler(&self, context: &BuildContext) -> Result<Arc<Sampler>, StartError> {
        let mut shared = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade().filter(|running| running.join()) {
            return Ok(running);
        }
        let by_percentage = self.config.limit_mib == 0;
        let total = if by_percentage { probe::total_memory() } else { Some(0) };
        let total = total.ok_or_else(|| {
            StartError::new(
                context,
                "cannot tell how much memory there is: set `limit_mib` instead of a percentage",
            )
        })?;
        let limits = self.config.limits(total);
        // A share of the cgroup's memory is compared with what the cgroup uses, our own limit with what we use.
        let probe = if by_percentage {
            Probe::for_share()
        } else {
            Probe::of_process()
        };
        tracing::info!(
            processor = %context.id, limit_mib = limits.hard / MIB, soft_limit_mib = limits.soft / MIB,
            "memory limit applies to admission"
        );
        let sampler = Sampler::start(context, limits, self.config.check_interval.0, probe);
        *shared = Arc::downgrade(&sampler);
        Ok(sampler)
    }
}

impl ProcessorPlan for LimiterPlan {
    fn build(&self, context: BuildContext, signal: Signal, next: Outlet) -> Result<BuiltProcessor, StartError> {
        let sampler = self.sampler(&context)?;
        let limiter = Arc::new(MemoryLimiter::new(
            &context,
            signal,
            sampler,
            self.config.check_interval.0,
            next,
        ));
        Ok(BuiltProcessor::Active {
            stage: Arc::clone(&limiter) as Arc<dyn Stage>,
            running: limiter,
        })
    }
}

/// The limiter in one pipeline.
struct MemoryLimiter {
    sampler: Arc<Sampler>,
    next: Outlet,
    accepted: Counter,
    refused: Counter,
    try_again: Duration,
    stopped: AtomicBool,
}

impl MemoryLimiter {
    fn new(
        context: &BuildContext,
        signal: Signal,
        sampler: Arc<Sampler>,
        check_interval: Duration,
        next: Outlet,
    ) -> Self {
        let names: [[&'static str; 2]; 3] = [
            [
                "otelcol_processor_memory_limiter_accepted_spans",
                "otelcol_processor_memory_limiter_refused_spans",
            ],
            [
                "otelcol_processor_memory_limiter_accepted_metric_points",
                "otelcol_processor_memory_limiter_refused_metric_points",
            ],
            [
                "otelcol_processor_memory_limiter_accepted_log_records",
                "otelcol_processor_memory_limiter_refused_log_records",
            ],
        ];
        let [accepted, refused] = names[signal as usize];
        Self {
            sampler,
            next,
            accepted: context
                .instruments
                .counter(accepted, "Items that were let through.", &[]),
            refused: context
                .instruments
                .counter(refused, "Items refused for want of memory.", &[]),
            try_again: check_interval.max(Duration::from_secs(1)),
            stopped: AtomicBool::new(false),
        }
    }
}

impl Stage for MemoryLimiter {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let items = batch.items() as u64;
        if self.sampler.is_refusing() {
            self.refused.add(items);
            let refused = Refused::retryable(REFUSAL).after(self.try_again);
            return Box::pin(std::future::ready(Err(refused)));
        }
        self.accepted.add(items);
        Box::pin(self.next.consume(batch))
    }
}

impl Running for MemoryLimiter {
    fn stop(&self, _deadline: Deadline) -> BoxFuture<'_, ()> {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            self.sampler.leave();
        }
        Box::pin(std::future::ready(()))
    }
}
