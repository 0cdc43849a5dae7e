//! What comes in, as it comes: a bounded subscription for terminal view, tail, wait, lints and the page.
//!
//! A subscriber that is slow misses changes and hears how many; it never slows intake. A change says which rows of which
//! segment are new, not the rows themselves: [`Store::segment`](super::store::Store::segment) has them.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value as Json;
use tokio::sync::broadcast;

use crate::pdata::Signal;

/// Changes a subscriber may lag behind.
const BUFFER: usize = 1_024;

/// New rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub signal: Signal,
    pub segment: u32,
    pub rows: Range<usize>,
    /// Nanoseconds since the epoch.
    pub arrival: u64,
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    New(Change),
    /// So many changes were missed.
    Missed(u64),
}

/// What another part of dev mode tells the pages: findings, the state of the pipeline.
#[derive(Debug)]
pub struct Bulletin {
    /// Topic of the stream.
    pub topic: &'static str,
    pub data: Json,
}

/// Bulletins that a subscriber may lag behind.
const BULLETINS: usize = 64;

/// Topic of the last bulletin: nothing more comes.
pub(crate) const END: &str = "end";

/// The sending side.
pub struct Live {
    changes: broadcast::Sender<Change>,
    bulletins: broadcast::Sender<Arc<Bulletin>>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            changes: broadcast::channel(BUFFER).0,
            bulletins: broadcast::channel(BULLETINS).0,
        }
    }
}

impl Live {
    /// Tells all subscribers.
    pub fn tell(&self, change: Change) {
        // Nobody listens: nothing to do.
        let _ = self.changes.send(change);
    }

    /// Puts something on the stream under its topic.
    pub fn announce(&self, topic: &'static str, data: Json) {
        let _ = self.bulletins.send(Arc::new(Bulletin { topic, data }));
    }

    /// Hears of every bulletin from now on.
    pub fn bulletins(&self) -> broadcast::Receiver<Arc<Bulletin>> {
        self.bulletins.subscribe()
    }

    /// Ends the streams of all pages: they would hold up a stop.
    pub fn end(&self) {
        self.announce(END, Json::Null);
    }

    /// Hears of everything from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.changes.subscribe())
    }
}

/// The receiving side.
pub struct Subscription(broadcast::Receiver<Change>);

impl Subscription {
    /// Waits for the next change; `None` when the store is gone.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(change) => Some(Heard::New(change)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next change if it is there already.
    pub fn try_next(&mut self) -> Option<Heard> {
        match self.0.try_recv() {
            Ok(change) => Some(Heard::New(change)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(_) => None,
        }
    }
}
