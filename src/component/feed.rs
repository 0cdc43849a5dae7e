//! What passes a place, for whoever watches: what comes into the store of `dev`, what a component gives on.
//!
//! A watcher that is slow misses some and learns how much; nothing that passes ever waits for one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::{Clock, ComponentId, ComponentKind, SystemClock, UnixNanos};
use crate::pdata::Batch;

/// Batches that wait for one watcher.
const WAITING: usize = 512;
/// Their bytes; one larger batch alone is let through.
const WAITING_BYTES: usize = 16 << 20;

/// Where one tells what passes. That of the process is where the exporter `devstore` tells what it has stored.
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

/// The places in the running graph that can be watched: behind each receiver, processor and connector, before each
/// exporter. The graph makes them, the admin API watches them.
#[derive(Default)]
pub struct Taps(Mutex<BTreeMap<(ComponentKind, ComponentId), Arc<Feed>>>);

impl Taps {
    /// That of a component, one for all pipelines it stands in.
    pub fn of(&self, kind: ComponentKind, id: &ComponentId) -> Arc<Feed> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry((kind, id.clone())).or_default())
    }

    /// All of them.
    pub fn all(&self) -> Vec<(ComponentKind, ComponentId, Arc<Feed>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|((kind, id), feed)| (*kind, id.clone(), Arc::clone(feed)))
            .collect()
    }

    /// Those of components that are no longer there: whoever watches them hears the end.
    pub fn keep(&self, is_there: impl Fn(ComponentKind, &ComponentId) -> bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(kind, id), feed| {
            let stays = is_there(*kind, id);
            if !stays {
                feed.close();
            }
            stays
        });
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

    #[tokio::test]
    async fn a_component_has_one_tap_until_it_is_gone() {
        let taps = Taps::default();
        let id = ComponentId::new("otlp");
        let mut watch = taps.of(ComponentKind::Receiver, &id).watch();
        taps.of(ComponentKind::Receiver, &id).tell(&batch(1));
        assert!(watch.next().await.is_some());
        taps.keep(|kind, _| kind == ComponentKind::Exporter);
        assert!(watch.next().await.is_none() && taps.all().is_empty());
    }
}
