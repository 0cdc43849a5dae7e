//! Where what waits is: in memory, or in a log.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::bounded::Queue;
use super::durable::LogQueue;
use super::log::Range;
use super::ticket::{Answer, Cost, Piece};
use crate::component::{ComponentId, Refused};
use crate::pdata::Batch;

/// See the module text.
pub enum Backlog {
    Memory(Queue),
    Log(Arc<LogQueue>),
}

impl Backlog {
    /// Takes a batch, or refuses it. The answer is to be awaited where `wait_for_result` is set.
    pub async fn offer(&self, batch: Batch) -> Result<Option<oneshot::Receiver<Answer>>, Refused> {
        match self {
            Backlog::Memory(queue) => queue.offer(batch).await,
            Backlog::Log(queue) => queue.offer(batch).await,
        }
    }

    /// The oldest piece that waits; `None` at the end. Cancel-safe; for one caller at a time.
    pub async fn next(&self) -> Option<Piece> {
        match self {
            Backlog::Memory(queue) => queue.next().await,
            Backlog::Log(queue) => queue.next().await,
        }
    }

    /// What waits outlives the process.
    pub fn is_durable(&self) -> bool {
        matches!(self, Backlog::Log(_))
    }

    /// A sending task has so many items.
    pub fn started(&self, items: usize) {
        if let Backlog::Log(queue) = self {
            queue.started(items);
        }
    }

    /// A request in memory is done with.
    pub fn release(&self, cost: Cost) {
        if let Backlog::Memory(queue) = self {
            queue.release(cost);
        }
    }

    /// A record of the log is done with.
    pub fn settled(&self, range: Range) {
        if let Backlog::Log(queue) = self {
            queue.settled(range);
        }
    }

    /// Refuses from now on.
    pub fn close(&self) {
        match self {
            Backlog::Memory(queue) => queue.close(),
            Backlog::Log(queue) => queue.close(),
        }
    }

    /// What is left in a log stays there.
    pub fn stop_reading(&self) {
        if let Backlog::Log(queue) = self {
            queue.stop_reading();
        }
    }

    /// Everything that sends has ended.
    pub async fn end(&self, exporter: &ComponentId) {
        if let Backlog::Log(queue) = self {
            let items = queue.end().await;
            if items > 0 {
                tracing::info!(%exporter, items, "left in the log of the queue, to be sent after the next start");
            }
        }
    }
}
