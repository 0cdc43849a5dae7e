//! A queue whose content is a log on the disk.
//!
//! A request is written as it came; the sender has its answer when the group it was written with is synced. From then on
//! the log is the only place it has to be: batching and sending read from it, and what was delivered is marked there.
//! What was written a moment ago is kept in memory as well, so that a back end that keeps up costs no reading.
//! [`committer`] writes, [`feeder`] reads; this file is what both share, and what the pipeline offers to.

mod committer;
mod feeder;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::TaskTracker;

pub use settings::{DurableSettings, Place, place_for};

use super::bounded::QUEUE_IS_FULL;
use super::counts::Counts;
use super::fs::{Aside, Fs};
use super::log::{self, Draft, Range, Reader, Totals};
use super::repeats::{Known, Repeats};
use super::ticket::{Answer, Cost, Piece};
use crate::component::{
    BuildContext, Clock, Counter, DropReason, Gauge, LimitedLog, Overflow, Refused, Sizer, StatusBoard,
};
use crate::pdata::{Batch, BatchId, MemoryBudget, Permit};

const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Requests that were just written are kept in memory up to this, or a sixteenth of the memory budget.
const RECENT_BYTES: u64 = 16 << 20;

/// See the module text.
pub struct LogQueue {
    settings: DurableSettings,
    counts: Arc<Counts>,
    memory: MemoryBudget,
    ids: Ids,
    repeats: Mutex<Repeats>,
    clock: Arc<dyn Clock>,
    aside: Aside,
    tick: Arc<committer::Tick>,
    board: StatusBoard,
    state: Mutex<State>,
    /// Taken out while somebody reads.
    reader: tokio::sync::Mutex<Option<Reader>>,
    /// For the committer: there is something to write.
    to_write: Notify,
    /// For the committer: enough for a sync before its time.
    much_to_write: Notify,
    /// For the feeder: there is something to read.
    written: Notify,
    freed: Notify,
    opened: Notify,
    pieces: tokio::sync::Mutex<mpsc::Receiver<Piece>>,
    /// Items in the log that no sending task has.
    unstarted: AtomicI64,
    /// Nothing more is to be read: what is left stays in the log.
    stop_reading: AtomicBool,
    /// Everything that sends has ended.
    ending: tokio_util::sync::CancellationToken,
    /// Nothing new is taken.
    closing: tokio_util::sync::CancellationToken,
    log_tasks: TaskTracker,
    gauges: Gauges,
    drop_log: LimitedLog,
    exporter: crate::component::ComponentId,
}

struct Gauges {
    size: Gauge,
    bytes: Gauge,
    /// Zero until the log is open: until then nothing is taken.
    byte_capacity: Gauge,
    disk_bytes: Gauge,
    syncs: Counter,
    corrupt: Counter,
}

#[derive(Default)]
struct State {
    opening: Opening,
    /// In units of the sizer; what is being sent counts until it is done.
    size: u64,
    bytes: u64,
    pending: Vec<Pending>,
    pending_bytes: u64,
    settled: Vec<Range>,
    recent: VecDeque<Recent>,
    recent_bytes: u64,
    waiters: HashMap<u64, oneshot::Sender<Answer>>,
    closed: bool,
}

#[derive(Default)]
enum Opening {
    #[default]
    Tried,
    Failed(String),
    Done,
}

/// A request that is to be written.
struct Pending {
    draft: Draft,
    batch: Batch,
    cost: Cost,
    books: Arc<Books>,
    written: oneshot::Sender<Result<(), Refused>>,
    waiter: Option<oneshot::Sender<Answer>>,
}

/// A request that was written and is still in memory.
struct Recent {
    place: log::Place,
    batch: Batch,
    enqueued: crate::component::UnixNanos,
    id: BatchId,
}

/// Where a request stands while its sender waits for the disk.
#[derive(Default)]
struct Books(Mutex<Stand>);

#[derive(Default)]
struct Stand {
    committed: bool,
    failed: bool,
    gone: bool,
}

impl Books {
    fn lock(&self) -> MutexGuard<'_, Stand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers for requests that came without one: a random half, and one that counts, so that those of requests that follow
/// each other do too.
struct Ids {
    run: u64,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        Self {
            run: uuid::Uuid::new_v4().as_u128() as u64,
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> BatchId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        BatchId(u128::from(self.run) << 64 | u128::from(number))
    }
}

/// A request with an id that is not in line yet: if its sender goes away it may come again.
struct Begun<'a> {
    queue: &'a LogQueue,
    id: Option<BatchId>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.queue.lock_repeats().refused(id);
        }
    }
}

/// A sender that waits for the disk; on the books as waiting until it is written.
struct Held<'a> {
    counts: &'a Counts,
    books: Arc<Books>,
    items: usize,
    answered: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _moving = self.counts.moving();
        let mut stand = self.books.lock();
        stand.gone = true;
        if stand.failed || (self.answered && !stand.committed) {
            // The sender has its data still.
            self.counts.waiting(-(self.items as f64));
        } else if !self.answered {
            // It is, or will be, in the log all the same.
            self.counts.left_behind(self.items as f64);
        }
    }
}

impl LogQueue {
    /// Starts to open the log, and the tasks that write and read it.
    pub fn start(
        context: &BuildContext,
        settings: DurableSettings,
        counts: Arc<Counts>,
        fs: Arc<dyn Fs>,
        tasks: &TaskTracker,
        is_failing: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        let gauges = Gauges::new(&counts, &settings);
        let (sender, receiver) = mpsc::channel(1);
        let queue = Arc::new(Self {
            settings,
            counts,
            memory: context.memory.clone(),
            ids: Ids::new(),
            repeats: Mutex::new(Repeats::within(context.memory.limit())),
            clock: Arc::clone(&context.clock),
            aside: Aside(Arc::clone(&fs)),
            tick: context.commons.get(),
            board: context.status.clone(),
            state: Mutex::default(),
            reader: tokio::sync::Mutex::new(None),
            to_write: Notify::new(),
            much_to_write: Notify::new(),
            written: Notify::new(),
            freed: Notify::new(),
            opened: Notify::new(),
            pieces: tokio::sync::Mutex::new(receiver),
            unstarted: AtomicI64::new(0),
            stop_reading: AtomicBool::new(false),
            ending: tokio_util::sync::CancellationToken::new(),
            closing: tokio_util::sync::CancellationToken::new(),
            log_tasks: TaskTracker::new(),
            gauges,
            drop_log: LimitedLog::default(),
            exporter: context.id.clone(),
        });
        queue.board.queue_opens(&queue.settings.dir);
        queue.log_tasks.spawn(committer::run(Arc::clone(&queue), fs));
        tasks.spawn(feeder::run(Arc::clone(&queue), sender, is_failing));
        queue
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch, or refuses it. `Ok` when it is as safe as the mode says; the answer of the far end is to be
    /// awaited where `wait_for_result` is set.
    pub async fn offer(&self, mut batch: Batch) -> Result<Option<oneshot::Receiver<Answer>>, Refused> {
        let came_with = batch.origin().batch_id;
        let draft = Draft::new(&mut batch, self.clock.now(), self.ids.next());
        let cost = self.cost_of(draft.range(Totals::default()).size());
        self.check_size(cost)?;
        let _permit = self.admit(&batch, cost.bytes)?;
        let items = batch.items();
        let books = Arc::new(Books::default());
        self.counts.waiting(items as f64);
        let mut held = Held {
            counts: &self.counts,
            books: Arc::clone(&books),
            items,
            answered: false,
        };
        // Until it is in line to be written a sender that goes away takes its data along.
        held.books.lock().failed = true;
        self.until_open().await?;
        if let Some(id) = came_with {
            match self.lock_repeats().begin(id) {
                Known::Nothing => {}
                Known::Taken => {
                    self.counts.suppressed(items);
                    return Ok(None);
                }
                Known::OnTheWay => {
                    return Err(Refused::retryable("the same request is being taken").after(TRY_AGAIN));
                }
            }
        }
        let mut begun = Begun {
            queue: self,
            id: came_with,
        };
        self.wait_for_room(cost).await?;
        // Whoever writes it says what became of it.
        begun.id = None;
        let (written, answer) = oneshot::channel();
        let (waiter, result) = match self.settings.wait_for_result {
            true => {
                let (waiter, result) = oneshot::channel();
                (Some(waiter), Some(result))
            }
            false => (None, None),
        };
        held.books.lock().failed = false;
        self.put_in_line(Pending {
            draft,
            batch,
            cost,
            books,
            written,
            waiter,
        });
        let answer = answer
            .await
            .unwrap_or_else(|_| Err(Refused::retryable("exporter is stopping")));
        held.answered = true;
        answer.map(|()| result)
    }

    /// Requests that came with an id, and when.
    fn taken_lately(&self) -> Vec<log::Taken> {
        self.lock_repeats().list(self.clock.now())
    }

    fn lock_repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cost_of(&self, size: Totals) -> Cost {
        Cost {
            size: match self.settings.sizer {
                Sizer::Requests => size.records,
                Sizer::Items => size.items,
                Sizer::Bytes => size.bytes,
            },
            bytes: size.bytes,
        }
    }

    fn check_size(&self, cost: Cost) -> Result<(), Refused> {
        if cost.size > self.settings.capacity || cost.bytes > self.settings.max_bytes {
            return Err(Refused::permanent(format!(
                "request of {} bytes is larger than the whole sending queue",
                cost.bytes
            )));
        }
        Ok(())
    }

    /// Data that no receiver asked the budget for (made in this process) asks here, for as long as it is in memory.
    fn admit(&self, batch: &Batch, bytes: u64) -> Result<Option<Permit>, Refused> {
        if !batch.origin().permits.is_empty() {
            return Ok(None);
        }
        match self.memory.try_acquire(bytes) {
            Some(permit) => Ok(Some(permit)),
            None => Err(Refused::retryable("data refused due to high memory usage").after(TRY_AGAIN)),
        }
    }

    async fn until_open(&self) -> Result<(), Refused> {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            {
                let state = self.lock();
                if state.closed {
                    return Err(Refused::retryable("exporter is stopping").after(TRY_AGAIN));
                }
                match &state.opening {
                    Opening::Done => return Ok(()),
                    Opening::Failed(reason) => {
                        let message = format!("the durable queue cannot be opened: {reason}");
                        return Err(Refused::retryable(message).after(TRY_AGAIN));
                    }
                    Opening::Tried => {}
                }
            }
            opened.await;
        }
    }

    async fn wait_for_room(&self, cost: Cost) -> Result<(), Refused> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.reserve(cost)? {
                return Ok(());
            }
            match self.settings.overflow {
                Overflow::Refuse => return Err(Refused::retryable(QUEUE_IS_FULL).after(TRY_AGAIN)),
                Overflow::Block => freed.await,
                Overflow::DropOldest => {
                    if !self.drop_oldest().await {
                        // All of it is on its way: there is nothing older to give up.
                        return Err(Refused::retryable(QUEUE_IS_FULL).after(TRY_AGAIN));
                    }
                }
            }
        }
    }

    fn reserve(&self, cost: Cost) -> Result<bool, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::retryable("exporter is stopping").after(TRY_AGAIN));
        }
        let fits = state.size.saturating_add(cost.size) <= self.settings.capacity
            && state.bytes.saturating_add(cost.bytes) <= self.settings.max_bytes;
        if fits {
            state.size += cost.size;
            state.bytes += cost.bytes;
            self.gauges.set(&state);
        }
        Ok(fits)
    }

    fn put_in_line(&self, pending: Pending) {
        let mut state = self.lock();
        state.pending_bytes += pending.cost.bytes;
        let is_much = state.pending_bytes >= committer::MUCH;
        state.pending.push(pending);
        drop(state);
        self.to_write.notify_one();
        if is_much {
            self.much_to_write.notify_one();
        }
    }

    /// The next piece to send; `None` once nothing more is to be read. Cancel-safe.
    pub async fn next(&self) -> Option<Piece> {
        self.pieces.lock().await.recv().await
    }

    /// A sending task has so many items.
    pub fn started(&self, items: usize) {
        self.unstarted.fetch_sub(items as i64, Ordering::Relaxed);
    }

    /// A record is done with: its room is free, and the log forgets it.
    pub fn settled(&self, range: Range) {
        let cost = self.cost_of(range.size());
        let mut state = self.lock();
        state.size = state.size.saturating_sub(cost.size);
        state.bytes = state.bytes.saturating_sub(cost.bytes);
        self.gauges.set(&state);
        state.settled.push(range);
        drop(state);
        self.freed.notify_waiters();
        self.to_write.notify_one();
    }

    /// Items of the log that nobody will send are lost.
    fn lose(&self, items: u64, reason: DropReason, why: &str) {
        let items = usize::try_from(items).unwrap_or(usize::MAX);
        self.started(items);
        {
            // The counter is made before the move: no instrument may be made while a gather is held off.
            let dropped = self.counts.drop_counter(reason);
            let _moving = self.counts.moving();
            self.counts.started(items);
            self.counts.dropped_by(items, &dropped);
        }
        if let Some(left_out) = self.drop_log.admit() {
            tracing::error!(
                exporter = %self.exporter, dropped_items = items, reason = reason.name(), left_out,
                "{why}"
            );
        }
    }

    /// Refuses from now on. What is in the log is read for as long as the far end takes it.
    pub fn close(&self) {
        self.lock().closed = true;
        self.closing.cancel();
        self.opened.notify_waiters();
        self.freed.notify_waiters();
        self.written.notify_one();
        self.to_write.notify_one();
    }

    /// What is left stays in the log.
    pub fn stop_reading(&self) {
        self.stop_reading.store(true, Ordering::Relaxed);
        self.written.notify_one();
    }

    /// Everything that sends has ended: writes down what is settled, and gives the log back. Gives the items left in it.
    pub async fn end(&self) -> usize {
        self.ending.cancel();
        self.log_tasks.close();
        self.log_tasks.wait().await;
        self.board.queue_is_gone(&self.settings.dir);
        // Nothing holds the log open any more.
        drop(self.reader.lock().await.take());
        let left = usize::try_from(self.unstarted.swap(0, Ordering::Relaxed)).unwrap_or(0);
        self.counts.stays(left);
        left
    }
}

impl Gauges {
    fn new(counts: &Counts, settings: &DurableSettings) -> Self {
        let (size, capacity) = counts.queue_gauges();
        capacity.set(settings.capacity as f64);
        let (bytes, byte_capacity) = counts.byte_gauges();
        let (disk_bytes, syncs, corrupt) = counts.log_instruments();
        Self {
            size,
            bytes,
            byte_capacity,
            disk_bytes,
            syncs,
            corrupt,
        }
    }

    fn set(&self, state: &State) {
        self.size.set(state.size as f64);
        self.bytes.set(state.bytes as f64);
    }
}
