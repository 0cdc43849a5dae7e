//! Tries one request at the far end until it is taken, refused for good, too old, or the drain ends it.
//!
//! Back-off with jitter, at least the delay the far end asks for; a timeout for each attempt that grows when it was too
//! short (reliability.md 2.7): a far end that needs six seconds would never drain with five.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::component::{ComponentId, Delivery, DropReason, LimitedLog, Refused, RetrySettings, Stage};
use crate::pdata::Batch;

/// A timeout that was too short doubles up to this.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    Delivered,
    /// No further try; why, for the books.
    Failed(Refused, DropReason),
    /// The drain ended it; it may be kept for the next start.
    Unsent(Refused),
}

/// Sends requests of one exporter and signal. Shared by everything that sends.
pub struct Sender {
    pub exporter: ComponentId,
    far_end: Arc<dyn Stage>,
    retry: Option<RetrySettings>,
    timeout: Option<Duration>,
    /// What the far end was seen to need, in milliseconds; at least `timeout`.
    learned_timeout: AtomicU64,
    /// Requests with a failed attempt that are still being tried.
    failing: AtomicUsize,
    jitter: Jitter,
    /// Attempts that may succeed later: a reason to send less at the same time.
    pub refusals: AtomicU64,
    /// The agent is stopping: what waits for another try is tried once more, now.
    pub draining: CancellationToken,
    /// The deadline has come.
    pub abort: CancellationToken,
    /// Nothing can be kept for the next start: go on trying until the deadline.
    pub keep_trying: AtomicBool,
    retry_log: LimitedLog,
    drop_log: LimitedLog,
    reject_log: LimitedLog,
}

impl Sender {
    /// A sender to `far_end`, whose delays are drawn from `seed`.
    pub fn new(exporter: ComponentId, delivery: &Delivery, far_end: Arc<dyn Stage>, seed: u64) -> Self {
        Self {
            exporter,
            far_end,
            retry: delivery.retry.clone().filter(|retry| retry.enabled),
            timeout: delivery.timeout,
            learned_timeout: AtomicU64::new(0),
            jitter: Jitter(AtomicU64::new(seed)),
            failing: AtomicUsize::new(0),
            refusals: AtomicU64::new(0),
            draining: CancellationToken::new(),
            abort: CancellationToken::new(),
            keep_trying: AtomicBool::new(false),
            retry_log: LimitedLog::default(),
            drop_log: LimitedLog::default(),
            reject_log: LimitedLog::default(),
        }
    }

    /// Sends, with retries; none after `expires`. Cheap to call with a batch of wire bytes: each attempt clones it.
    pub async fn send(&self, batch: &Batch, expires: Option<Instant>) -> Outcome {
        let started = Instant::now();
        let mut timeout = self.first_timeout();
        let mut backoff = self.retry.as_ref().map(Backoff::new);
        let mut failing = None;
        loop {
            let last_chance = self.draining.is_cancelled();
            let answer = tokio::select! {
                biased;
                () = self.abort.cancelled() => return Outcome::Unsent(Refused::retryable("exporter is stopping")),
                answer = self.attempt(batch.clone(), &mut timeout) => answer,
            };
            let refused = match answer {
                Ok(()) => return Outcome::Delivered,
                Err(Failure::Panicked) => {
                    let refused = Refused::permanent("exporter failed inside the agent");
                    return Outcome::Failed(refused, DropReason::Internal);
                }
                Err(Failure::Refused(refused)) => refused,
            };
            if refused.permanent {
                return Outcome::Failed(refused, DropReason::PermanentError);
            }
            self.refusals.fetch_add(1, Ordering::Relaxed);
            if last_chance && !self.keep_trying.load(Ordering::Relaxed) {
                return Outcome::Unsent(refused);
            }
            let Some(backoff) = &mut backoff else {
                return Outcome::Failed(refused, DropReason::RetryLimit);
            };
            let delay = backoff
                .next_delay(self.jitter.unit())
                .max(refused.retry_after.unwrap_or_default());
            if backoff.is_over(started.elapsed() + delay) {
                return Outcome::Failed(refused, DropReason::RetryLimit);
            }
            if expires.is_some_and(|expires| Instant::now() + delay > expires) {
                return Outcome::Failed(refused, DropReason::AgeCap);
            }
            failing.get_or_insert_with(|| Failing::enter(&self.failing));
            self.log_retry(&refused, delay);
            tokio::select! {
                biased;
                () = tokio::time::sleep(delay) => {}
                () = self.draining.cancelled(), if !last_chance => {}
                () = self.abort.cancelled() => {}
            }
        }
    }

    /// Whether the far end refuses, or does not answer.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) > 0
    }

    /// One attempt, within `timeout`, which doubles when it was too short. Where another attempt was seen to need longer
    /// meanwhile, this one is given that too, once: to break it off would only send its data twice.
    async fn attempt(&self, batch: Batch, timeout: &mut Option<Duration>) -> Result<(), Failure> {
        let call = catch_panic(self.far_end.consume(batch));
        let Some(limit) = *timeout else {
            return flatten(call.await);
        };
        tokio::pin!(call);
        let started = Instant::now();
        let mut waits = limit;
        let mut answer = tokio::time::timeout_at(started + limit, &mut call).await;
        let learned = self.first_timeout().unwrap_or(limit);
        if answer.is_err() && learned > limit {
            waits = learned;
            answer = tokio::time::timeout_at(started + learned, &mut call).await;
        }
        match answer {
            Ok(answer) => {
                self.learn_from_answer(started.elapsed());
                flatten(answer)
            }
            Err(_) => {
                let longer = waits.saturating_mul(2).min(LONGEST_TIMEOUT).max(waits);
                *timeout = Some(longer);
                self.learned_timeout.fetch_max(millis(longer), Ordering::Relaxed);
                Err(Failure::Refused(Refused::retryable(format!(
                    "no answer within {waits:?}"
                ))))
            }
        }
    }

    fn first_timeout(&self) -> Option<Duration> {
        let learned = Duration::from_millis(self.learned_timeout.load(Ordering::Relaxed));
        self.timeout.map(|configured| configured.max(learned))
    }

    /// After an answer the timeout shrinks by a quarter, but not below twice what the answer took.
    fn learn_from_answer(&self, took: Duration) {
        let learned = self.learned_timeout.load(Ordering::Relaxed);
        if learned > 0 {
            let shrunk = (learned / 4 * 3).max(millis(took.saturating_mul(2))).min(learned);
            self.learned_timeout.store(shrunk, Ordering::Relaxed);
        }
    }

    fn log_retry(&self, refused: &Refused, delay: Duration) {
        if let Some(left_out) = self.retry_log.admit() {
            tracing::info!(
                exporter = %self.exporter, error = %cut(&refused.message), interval = ?delay, left_out,
                "Exporting failed. Will retry the request after interval."
            );
        }
    }

    /// Data is lost.
    pub fn log_dropped(&self, refused: &Refused, items: usize, reason: DropReason) {
        if let Some(left_out) = self.drop_log.admit() {
            tracing::error!(
                exporter = %self.exporter, error = %cut(&refused.message), dropped_items = items,
                reason = reason.name(), left_out,
                "Exporting failed. Dropping data."
            );
        }
    }

    /// The sender was told and still has the data.
    pub fn log_rejected(&self, refused: &Refused, items: usize) {
        if let Some(left_out) = self.reject_log.admit() {
            tracing::warn!(
                exporter = %self.exporter, error = %cut(&refused.message), rejected_items = items, left_out,
                "Exporting failed. Rejecting data."
            );
        }
    }
}

/// Counts a request that has to be tried again, until it is done with.
struct Failing<'a>(&'a AtomicUsize);

impl<'a> Failing<'a> {
    fn enter(failing: &'a AtomicUsize) -> Self {
        failing.fetch_add(1, Ordering::Relaxed);
        Self(failing)
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Failure {
    Refused(Refused),
    Panicked,
}

fn flatten(answer: Result<Result<(), Refused>, Panicked>) -> Result<(), Failure> {
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused)) => Err(Failure::Refused(refused)),
        Err(Panicked) => Err(Failure::Panicked),
    }
}

struct Panicked;

/// A bug in an exporter costs the request it happened with, counted, not the task that sends.
async fn catch_panic<F>(future: F) -> Result<F::Output, Panicked>
where
    F: Future + Unpin,
{
    let mut future = future;
    std::future::poll_fn(move |task| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| std::pin::Pin::new(&mut future).poll(task)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(_) => std::task::Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Texts of peers are cut to 256 bytes (reliability.md 3.5).
fn cut(text: &str) -> &str {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Growing delays with jitter.
pub struct Backoff {
    settings: RetrySettings,
    interval: Duration,
}

impl Backoff {
    /// Starts at the initial interval.
    pub fn new(settings: &RetrySettings) -> Self {
        Self {
            interval: settings.initial_interval,
            settings: settings.clone(),
        }
    }

    /// The delay before the next try; `unit` is a random number between 0 and 1.
    pub fn next_delay(&mut self, unit: f64) -> Duration {
        let settings = &self.settings;
        let factor = settings.randomization_factor.clamp(0.0, 1.0);
        let delay = scale(self.interval, 1.0 - factor + 2.0 * factor * unit);
        self.interval = scale(self.interval, settings.multiplier).min(settings.max_interval);
        delay
    }

    /// A try `elapsed` after the first one would be too late.
    pub fn is_over(&self, elapsed: Duration) -> bool {
        let limit = self.settings.max_elapsed_time;
        !limit.is_zero() && elapsed > limit
    }
}

fn scale(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// Spreads retries; needs no quality beyond differing between agents.
struct Jitter(AtomicU64);

impl Jitter {
    /// Between 0 and 1.
    fn unit(&self) -> f64 {
        // A step of splitmix64.
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}
