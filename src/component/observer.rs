//! Who is told of deliveries: a processor that keeps a ledger names exporters, and the graph puts a stage between their
//! queues and their far ends.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pdata::Batch;

/// Is told what a far end has acknowledged. A queue that takes data is no acknowledgement.
pub trait DeliveryObserver: Send + Sync {
    /// The far end has taken all of the batch. Called in the task of the delivery: returns within microseconds, and what
    /// goes wrong is its own trouble.
    fn delivered(&self, batch: &Batch);
}

tokio::task_local! {
    /// Set by the far end of the delivery that this task is about.
    static IN_PART: AtomicBool;
}

/// A far end says that it answers `Ok` although a part of the batch was not kept (OTLP's partial success): nobody may
/// count it as delivered. Without effect where nobody observes.
pub fn taken_in_part() {
    let _ = IN_PART.try_with(|in_part| in_part.store(true, Ordering::Relaxed));
}

/// Runs a delivery; its answer, and whether the far end has said [`taken_in_part`].
pub async fn watching<T>(delivery: impl Future<Output = T>) -> (T, bool) {
    let watched = async {
        let answer = delivery.await;
        (answer, IN_PART.with(|in_part| in_part.load(Ordering::Relaxed)))
    };
    IN_PART.scope(AtomicBool::new(false), watched).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_delivery_in_part_is_told_to_its_own_watcher_only() {
        taken_in_part();
        let inner = async {
            let whole = watching(async { 1 }).await;
            taken_in_part();
            whole
        };
        assert_eq!(watching(inner).await, ((1, false), true));
    }
}
