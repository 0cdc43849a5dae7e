//! What comes into the store, for whoever watches it pass: the terminal view and the lints.
//!
//! A watcher that is slow misses some and learns how much; the intake never waits for one.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::component::{Clock, SystemClock, UnixNanos};
use crate::pdata::Batch;

/// Batches that wait for one watcher.
const WAITING: usize = 512;
/// Their bytes; one larger batch alone is let through.
const WAITING_BYTES: usize = 16 << 20;

/// Where the exporter tells what it has stored. One for the process.
#[derive(Default)]
pub struct Feed {
    is_watched: AtomicBool,
    watchers: Mutex<Vec<Watcher>>,
}

struct Watcher {
    sender: mpsc::Sender<Fresh>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    bytes: AtomicUsize,
    missed: AtomicU64,
}

/// A batch, and when it came.
pub struct Fresh {
    pub batch: Batch,
    pub at: UnixNanos,
}

/// One watcher's end.
pub struct Watch {
    receiver: mpsc::Receiver<Fresh>,
    shared: Arc<Shared>,
}

impl Feed {
    /// Tells all watchers. Costs one load where there is none.
    pub fn tell(&self, batch: &Batch) {
        if !self.is_watched.load(Ordering::Relaxed) || batch.items() == 0 {
            return;
        }
        // Whoever watches lives by the machine's time, also where telemetry has a time of its own.
        let at = SystemClock.now();
        let bytes = batch.wire_len();
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| !watcher.sender.is_closed());
        self.is_watched.store(!watchers.is_empty(), Ordering::Relaxed);
        for watcher in watchers.iter() {
            watcher.offer(batch, bytes, at);
        }
    }

    /// Ends every watch once it has what is on its way.
    pub fn close(&self) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.is_watched.store(false, Ordering::Relaxed);
    }

    /// From now on.
    pub fn watch(&self) -> Watch {
        let (sender, receiver) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared::default());
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.push(Watcher {
            sender,
            shared: Arc::clone(&shared),
        });
        self.is_watched.store(true, Ordering::Relaxed);
        Watch { receiver, shared }
    }
}

impl Watcher {
    fn offer(&self, batch: &Batch, bytes: usize, at: UnixNanos) {
        let held = self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = held == 0 || held + bytes <= WAITING_BYTES;
        let fresh = Fresh {
            batch: batch.clone(),
            at,
        };
        if !fits || self.sender.try_send(fresh).is_err() {
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
            let items = u64::try_from(batch.items()).unwrap_or(u64::MAX);
            self.shared.missed.fetch_add(items, Ordering::Relaxed);
        }
    }
}

impl Watch {
    /// The next batch; `None` when the feed is gone.
    pub async fn next(&mut self) -> Option<Fresh> {
        let fresh = self.receiver.recv().await?;
        self.shared.bytes.fetch_sub(fresh.batch.wire_len(), Ordering::Relaxed);
        Some(fresh)
    }

    /// One that waits already.
    pub fn try_next(&mut self) -> Option<Fresh> {
        let fresh = self.receiver.try_recv().ok()?;
        self.shared.bytes.fetch_sub(fresh.batch.wire_len(), Ordering::Relaxed);
        Some(fresh)
    }

    /// Items that were skipped since the last call.
    pub fn take_missed(&self) -> u64 {
        self.shared.missed.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::pdata::{Origin, Signal};

    fn batch(bytes: usize) -> Batch {
        Batch::from_wire(
            Signal::Logs,
            Bytes::from(vec![0; bytes]),
            3,
            Arc::new(Origin::default()),
        )
    }

    #[tokio::test]
    async fn a_slow_watcher_misses_some_and_is_told_how_many() {
        let feed = Feed::default();
        feed.tell(&batch(1));
        let mut watch = feed.watch();
        for _ in 0..WAITING + 10 {
            feed.tell(&batch(1));
        }
        assert_eq!(watch.take_missed(), 30);
        assert!(watch.next().await.is_some());
        feed.tell(&batch(1));
        assert_eq!(watch.take_missed(), 0);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let feed = Feed::default();
        let mut watch = feed.watch();
        feed.tell(&batch(WAITING_BYTES + 1));
        feed.tell(&batch(1));
        assert_eq!(watch.take_missed(), 3);
        assert!(watch.try_next().is_some());
        feed.tell(&batch(WAITING_BYTES));
        feed.tell(&batch(1));
        assert_eq!(watch.take_missed(), 3);
        assert!(watch.try_next().is_some() && watch.try_next().is_none());
    }
}
