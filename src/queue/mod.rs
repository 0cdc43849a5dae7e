//! What stands between a pipeline and one exporter: bounded queue, batching, retry, timeout, in this order.
//!
//! [`deliver`] builds it from an exporter's [`Delivery`]; the graph puts it before each exporter and signal. Every item
//! that was taken is in exactly one state ([`counts`]): queued, in flight, delivered, dropped with a reason, returned to
//! a sender who waited, or spilled to a file at shutdown. Knows nothing of OTLP's transports.

mod backlog;
mod batcher;
mod bounded;
mod counts;
mod dead_letter;
mod dispatch;
#[cfg(test)]
mod drain_tests;
pub mod durable;
pub mod fs;
mod joined;
pub mod log;
#[cfg(test)]
mod model_tests;
mod recovering;
mod repeats;
mod sender;
#[cfg(test)]
pub mod sim_fs;
mod slots;
pub mod spill;
mod split;
pub mod state;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use bounded::{BOOKKEEPING_BYTES, QUEUE_IS_FULL};
pub use durable::{Place, place_for};
pub use joined::{PartList, SMALL_PART, join};
pub use spill::{Spill, spill_directory};
pub use split::pack_by_items;
pub use ticket::{Kept, Piece, Ticket};

use crate::component::{BoxFuture, BuildContext, Deadline, Delivery, DropReason, Refused, Running, Stage};
use crate::pdata::{Batch, Signal};
use backlog::Backlog;
use batcher::Batcher;
use bounded::Queue;
use counts::Counts;
use dead_letter::DeadLetter;
use dispatch::{Dispatcher, Shared};
use fs::{Fs, RealFs};
use recovering::Recovering;
use sender::{Outcome, Sender};
use slots::Slots;
use spill::Recovery;

/// Requests that a durable queue sends at the same time, if the far end bears them.
const MOST_CONCURRENT: usize = 64;

/// Builds what `delivery` asks for before `far_end`. Call it inside the runtime. The running part drains: it closes the
/// queue, flushes its batches, sends what can be sent before the deadline, and keeps the rest for the next start.
pub fn deliver(
    context: &BuildContext,
    signal: Signal,
    delivery: &Delivery,
    far_end: Arc<dyn Stage>,
) -> (Arc<dyn Stage>, Arc<dyn Running>) {
    deliver_with(context, signal, delivery, far_end, Arc::new(RealFs))
}

/// The same on another file system, for tests.
fn deliver_with(
    context: &BuildContext,
    signal: Signal,
    delivery: &Delivery,
    far_end: Arc<dyn Stage>,
    fs: Arc<dyn Fs>,
) -> (Arc<dyn Stage>, Arc<dyn Running>) {
    let spill = Arc::new(Spill::with_fs(context, signal, Arc::clone(&fs)));
    let counts = Arc::new(Counts::new(&context.instruments, signal));
    let delivery = &for_its_place(context, signal, delivery);
    let sender = Sender::new(context.id.clone(), delivery, far_end, fs.unique());
    let Some(settings) = &delivery.queue else {
        let direct = Arc::new(Direct {
            sender,
            counts,
            stop: context.stop.clone(),
        });
        return (Arc::clone(&direct) as Arc<dyn Stage>, direct);
    };
    let dead_letter = DeadLetter::new(context, settings, signal, &fs);
    let tasks = TaskTracker::new();
    let sender = Arc::new(sender);
    let (backlog, slots) = match durable::place_for(context, settings, signal) {
        durable::Place::Log(dir, durability) => {
            let log_settings = durable::DurableSettings::new(settings, dir, durability);
            let of_sender = Arc::clone(&sender);
            let is_failing = move || of_sender.is_failing();
            let queue = durable::LogQueue::start(context, log_settings, Arc::clone(&counts), fs, &tasks, is_failing);
            let most = settings.max_concurrency.unwrap_or(MOST_CONCURRENT);
            let slots = Slots::from_disk(settings.num_consumers, most, context.memory.clone());
            (Backlog::Log(queue), slots)
        }
        durable::Place::Memory | durable::Place::Nowhere => {
            let queue = Queue::new(settings, context.memory.clone(), Arc::clone(&counts));
            let slots = match settings.max_concurrency {
                Some(most) => Slots::adapting(settings.num_consumers, most),
                None => Slots::fixed(settings.num_consumers),
            };
            (Backlog::Memory(queue), slots)
        }
    };
    let shared = Arc::new(Shared {
        backlog,
        sender,
        counts,
        dead_letter,
        partition_keys: settings
            .batch
            .as_ref()
            .map_or_else(Vec::new, |batch| batch.partition_keys.clone()),
        unsent: Mutex::default(),
        unread: Mutex::default(),
    });
    tasks.spawn(dispatch::dispatch(Dispatcher {
        shared: Arc::clone(&shared),
        batcher: Batcher::new(settings.batch.clone()),
        recovering: Recovering::new(context.id.clone(), Arc::clone(&spill), Arc::clone(&shared.counts)),
        slots,
        tasks: tasks.clone(),
    }));
    let queued = Arc::new(Queued {
        shared,
        spill,
        tasks,
        stop: context.stop.clone(),
        stopped: OnceCell::new(),
    });
    (Arc::clone(&queued) as Arc<dyn Stage>, queued)
}

/// A durable queue tries for ever, unless it is told not to.
fn for_its_place(context: &BuildContext, signal: Signal, delivery: &Delivery) -> Delivery {
    let mut delivery = delivery.clone();
    let is_durable = delivery
        .queue
        .as_ref()
        .is_some_and(|queue| matches!(durable::place_for(context, queue, signal), durable::Place::Log(..)));
    if let Some(retry) = &mut delivery.retry
        && is_durable
        && !retry.limit_is_configured
    {
        retry.max_elapsed_time = Duration::ZERO;
    }
    delivery
}

/// Without a queue: the caller waits, and has the answer.
struct Direct {
    sender: Sender,
    counts: Arc<Counts>,
    stop: CancellationToken,
}

impl Stage for Direct {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let items = batch.items();
            let mut books = InFlight::enter(&self.counts, items);
            match self.sender.send(&batch, None).await {
                Outcome::Delivered => {
                    books.delivered();
                    Ok(())
                }
                Outcome::Failed(refused, _) | Outcome::Unsent(refused) => {
                    drop(books);
                    self.sender.log_rejected(&refused, items);
                    Err(refused)
                }
            }
        })
    }
}

/// Items of one synchronous call. A caller that goes away in the middle still has its data: returned.
struct InFlight<'a> {
    counts: &'a Counts,
    items: usize,
    delivered: bool,
}

impl<'a> InFlight<'a> {
    fn enter(counts: &'a Counts, items: usize) -> Self {
        counts.taken_in_flight(items);
        counts.requests(1);
        Self {
            counts,
            items,
            delivered: false,
        }
    }

    fn delivered(&mut self) {
        self.counts.delivered(self.items);
        self.delivered = true;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counts.requests(-1);
        if !self.delivered {
            self.counts.returned(self.items);
        }
    }
}

impl Running for Direct {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        // Callers that wait for a retry try once more; at the deadline they get their data back. They are the
        // pipeline's, which has been drained before: nobody is left to wait for.
        self.sender.draining.cancel();
        Box::pin(async move {
            if deadline.remaining().is_zero() || self.stop.is_cancelled() {
                self.sender.abort.cancel();
            }
        })
    }
}

/// With a queue.
struct Queued {
    shared: Arc<Shared>,
    spill: Arc<Spill>,
    tasks: TaskTracker,
    stop: CancellationToken,
    stopped: OnceCell<()>,
}

impl Stage for Queued {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let items = batch.items();
            match self.shared.backlog.offer(batch).await {
                Ok(None) => {
                    self.shared.wait_while_busy().await;
                    Ok(())
                }
                Ok(Some(answer)) => {
                    let mut sender = SenderStays {
                        counts: &self.shared.counts,
                        items,
                        answered: false,
                    };
                    let gone = Refused::retryable("exporter is stopping");
                    let answer = answer.await.unwrap_or(Err(gone));
                    sender.answered = true;
                    answer
                }
                Err(refused) => {
                    self.shared.counts.enqueue_failed(items);
                    self.shared.sender.log_rejected(&refused, items);
                    Err(refused)
                }
            }
        })
    }
}

/// A sender that waits for the result; if it goes away the queue delivers all the same.
struct SenderStays<'a> {
    counts: &'a Counts,
    items: usize,
    answered: bool,
}

impl Drop for SenderStays<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.counts.left_behind(self.items as f64);
        }
    }
}

impl Running for Queued {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stopped.get_or_init(|| self.drain(deadline)).await;
        })
    }
}

impl Queued {
    async fn drain(&self, deadline: Deadline) {
        let shared = &self.shared;
        shared.backlog.close();
        // With a place to leave data everything is tried once more and no longer; without one, until the deadline.
        let keep_trying = !shared.backlog.is_durable() && !shared.counts.is_idle() && !self.can_spill().await;
        shared.sender.keep_trying.store(keep_trying, Ordering::Relaxed);
        shared.sender.draining.cancel();
        self.tasks.close();
        // Some of the time is kept for writing down what is left.
        let for_files = (deadline.remaining() / 5).min(Duration::from_secs(2));
        tokio::select! {
            biased;
            () = self.tasks.wait() => {}
            () = tokio::time::sleep(deadline.remaining().saturating_sub(for_files)) => {}
            () = self.stop.cancelled() => {}
        }
        shared.sender.abort.cancel();
        self.tasks.wait().await;
        let unsent = std::mem::take(&mut *shared.unsent.lock().unwrap_or_else(PoisonError::into_inner));
        shared.backlog.end(&shared.sender.exporter).await;
        let unread = shared.unread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !unsent.is_empty() || unread.is_some() {
            self.leave(unsent, unread).await;
        }
    }

    async fn can_spill(&self) -> bool {
        let spill = Arc::clone(&self.spill);
        let aside = spill.aside();
        aside.run(move || spill.prepare().is_some()).await.unwrap_or(false)
    }

    /// Writes down what could not be sent; what cannot be written either is lost, counted and said.
    async fn leave(&self, unsent: Vec<Piece>, unread: Option<Box<Recovery>>) {
        let shared = &self.shared;
        let batches: Vec<Batch> = unsent.iter().map(|piece| piece.batch.clone()).collect();
        let spill = Arc::clone(&self.spill);
        let mut unread = unread;
        let aside = spill.aside();
        let writing = aside.run(move || spill.store(&batches, unread.as_deref_mut()));
        let (kept, error) = match writing.await {
            Ok(Ok(())) => (unsent.len(), None),
            Ok(Err(stored)) => (stored.kept, Some(stored.error.to_string())),
            Err(error) => (0, Some(error.to_string())),
        };
        let mut unsent = unsent;
        let lost = unsent.split_off(kept);
        let kept_items: usize = unsent.iter().map(|piece| piece.batch.items()).sum();
        if error.is_none() || kept > 0 {
            tracing::warn!(
                exporter = %shared.sender.exporter, items = kept_items,
                "could not be sent before the end; left in a file, to be sent first at the next start"
            );
        }
        for piece in unsent {
            shared.counts.spilled(piece.batch.items());
            shared.finish(&piece, Ok(()));
        }
        let Some(error) = error else { return };
        let refused = Refused::retryable(format!(
            "the time to drain is over, and nothing can be written: {error}"
        ));
        for piece in lost {
            let items = piece.batch.items();
            if matches!(piece.ticket.kept, Kept::File(_)) {
                // Still in the file it came from, which nobody has answered for.
                shared.counts.spilled(items);
                continue;
            }
            shared.counts.dropped(items, DropReason::ShutdownDeadline);
            shared.sender.log_dropped(&refused, items, DropReason::ShutdownDeadline);
            shared.finish(&piece, Err(refused.clone()));
        }
    }
}
