//! The bounded queue between a pipeline and one exporter. Counts requests, items or bytes, and bytes always. Knows
//! nothing of batching, retries or files.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::counts::Counts;
use super::ticket::{Answer, Cost, Piece, Ticket};
use crate::component::{Gauge, Overflow, QueueSettings, Refused, Sizer};
use crate::pdata::{Batch, MemoryBudget, Permit};

/// What a client reads and people alert on; the Collector's text.
pub const QUEUE_IS_FULL: &str = "sending queue is full";
/// How long a refused sender is asked to wait.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// A waiting request costs this beside its bytes: batch, ticket, origin and the queue's own slot.
pub const BOOKKEEPING_BYTES: u64 = 512;

/// Bytes that may wait or be on their way for each processor before [`Queue::is_busy`]: about one full batch of the size
/// that `batch` makes, so that each processor has one to compress.
const BUSY_BYTES_EACH: u64 = 4 << 20;

/// A bounded queue; offered to by the pipeline, emptied by one dispatcher.
pub struct Queue {
    sizer: Sizer,
    capacity: u64,
    max_bytes: Option<u64>,
    busy_bytes: u64,
    block: bool,
    max_age: Duration,
    wait_for_result: bool,
    memory: MemoryBudget,
    counts: Arc<Counts>,
    /// Set under the lock, not observed: an observer that took the lock would wait for a move that waits for it.
    size_gauge: Gauge,
    state: Mutex<State>,
    arrived: Notify,
    freed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Piece>,
    /// In units of the sizer; what is being sent counts until it is done.
    size: u64,
    bytes: u64,
    closed: bool,
}

/// The size of a batch in units of a sizer.
pub fn size_of(batch: &Batch, sizer: Sizer) -> u64 {
    match sizer {
        Sizer::Requests => 1,
        Sizer::Items => batch.items() as u64,
        Sizer::Bytes => batch.wire_len() as u64,
    }
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: &QueueSettings, memory: MemoryBudget, counts: Arc<Counts>) -> Self {
        let (size_gauge, capacity_gauge) = counts.queue_gauges();
        size_gauge.set(0.0);
        capacity_gauge.set(settings.queue_size as f64);
        Self {
            sizer: settings.sizer,
            capacity: settings.queue_size,
            max_bytes: settings.max_bytes,
            busy_bytes: BUSY_BYTES_EACH * std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            block: settings.block_on_overflow || settings.overflow == Overflow::Block,
            max_age: settings.max_age,
            wait_for_result: settings.wait_for_result,
            memory,
            counts,
            size_gauge,
            state: Mutex::default(),
            arrived: Notify::new(),
            freed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asked at every offer: a `memory_limiter` may change the budget while the queue runs.
    fn byte_limit(&self) -> u64 {
        self.max_bytes.unwrap_or_else(|| self.memory.limit() / 4)
    }

    /// Takes a batch, or refuses it; waits for room with `block_on_overflow`. The answer is to be awaited where
    /// `wait_for_result` is set.
    pub async fn offer(&self, mut batch: Batch) -> Result<Option<oneshot::Receiver<Answer>>, Refused> {
        // Structs are several times as large as the bytes they came from: what waits, waits as bytes.
        batch.parts();
        let cost = Cost {
            size: size_of(&batch, self.sizer),
            bytes: batch.wire_len() as u64 + BOOKKEEPING_BYTES,
        };
        if cost.size > self.capacity {
            return Err(Refused::permanent(format!(
                "request of {} {} is larger than the whole sending queue of {}",
                cost.size,
                sizer_unit(self.sizer),
                self.capacity
            )));
        }
        let permit = self.admit(&batch, cost.bytes)?;
        let (sender, receiver) = if self.wait_for_result {
            let (sender, receiver) = oneshot::channel();
            (Some(sender), Some(receiver))
        } else {
            (None, None)
        };
        let mut ticket = Ticket::new(cost, sender, permit);
        ticket.expires = (!self.max_age.is_zero()).then(|| Instant::now() + self.max_age);
        let mut piece = Piece {
            batch,
            ticket: Arc::new(ticket),
        };
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            piece = match self.push(piece)? {
                None => return Ok(receiver),
                Some(piece) => piece,
            };
            if !self.block {
                return Err(Refused::retryable(QUEUE_IS_FULL).after(TRY_AGAIN));
            }
            let waiting = Waiting::begin(&self.counts, piece.batch.items());
            freed.await;
            drop(waiting);
        }
    }

    /// Data that no receiver asked the budget for (made in this process) asks here.
    fn admit(&self, batch: &Batch, bytes: u64) -> Result<Option<Permit>, Refused> {
        if !batch.origin().permits.is_empty() {
            return Ok(None);
        }
        match self.memory.try_acquire(bytes) {
            Some(permit) => Ok(Some(permit)),
            None => Err(Refused::retryable("data refused due to high memory usage").after(TRY_AGAIN)),
        }
    }

    /// Gives the piece back when there is no room.
    fn push(&self, piece: Piece) -> Result<Option<Piece>, Refused> {
        // Before the lock: a move must not begin while somebody inside one may want it.
        let _moving = self.counts.moving();
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::retryable("exporter is stopping").after(TRY_AGAIN));
        }
        let cost = piece.ticket.cost();
        let fits = state.size + cost.size <= self.capacity;
        // One request larger than the byte bound goes alone: the budget has admitted it already.
        let bytes_fit = state.bytes == 0 || state.bytes.saturating_add(cost.bytes) <= self.byte_limit();
        if !(fits && bytes_fit) {
            return Ok(Some(piece));
        }
        state.size += cost.size;
        state.bytes += cost.bytes;
        self.size_gauge.set(state.size as f64);
        self.counts.queued(piece.batch.items());
        state.waiting.push_back(piece);
        drop(state);
        self.arrived.notify_one();
        Ok(None)
    }

    /// The oldest waiting piece; `None` once the queue is closed and empty. Cancel-safe; for one caller at a time.
    pub async fn next(&self) -> Option<Piece> {
        loop {
            {
                let mut state = self.lock();
                if let Some(piece) = state.waiting.pop_front() {
                    return Some(piece);
                }
                if state.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// A request is done with: its room is free again.
    pub fn release(&self, cost: Cost) {
        let mut state = self.lock();
        debug_assert!(state.size >= cost.size && state.bytes >= cost.bytes, "released twice");
        state.size -= cost.size;
        state.bytes -= cost.bytes;
        self.size_gauge.set(state.size as f64);
        drop(state);
        self.freed.notify_waiters();
    }

    /// Whether more is on its way than a far end that keeps up would leave.
    pub fn is_busy(&self) -> bool {
        let state = self.lock();
        state.bytes >= self.busy_bytes && !state.closed
    }

    /// Waits until it is not busy, or is closed.
    pub async fn until_calm(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if !self.is_busy() {
                return;
            }
            freed.await;
        }
    }

    /// Refuses from now on; what is inside can still be taken out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
        self.freed.notify_waiters();
    }
}

/// A sender that is held back.
struct Waiting<'a> {
    counts: &'a Counts,
    items: usize,
}

impl<'a> Waiting<'a> {
    fn begin(counts: &'a Counts, items: usize) -> Self {
        counts.waiting(items as f64);
        Self { counts, items }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counts.waiting(-(self.items as f64));
    }
}

fn sizer_unit(sizer: Sizer) -> &'static str {
    match sizer {
        Sizer::Requests => "requests",
        Sizer::Items => "items",
        Sizer::Bytes => "bytes",
    }
}
