//! What a stop could not hand on: left in a file, and handed on first thing after the next start.
//!
//! A batch whose senders have their answer must not be lost because the queue behind it is full at the wrong moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::group::Common;
use crate::component::{BuildContext, DropReason, Offered, Refused};
use crate::pdata::{Batch, Signal, TakenBy};
use crate::queue::Spill;
use crate::queue::spill::{Found, LOOK_AGAIN, Recovery};

/// Between two offers of a record that the next stage refused for now.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// See the module text.
pub struct Leftovers {
    spill: Arc<Spill>,
    common: Arc<Common>,
    /// What of an earlier run's files was not handed on when the stop came.
    unread: Mutex<Option<Box<Recovery>>>,
    /// The record that was being offered then.
    untaken: Mutex<Option<crate::queue::spill::Recovered>>,
}

impl Leftovers {
    pub fn new(context: &BuildContext, signal: Signal, common: Arc<Common>) -> Self {
        Self {
            spill: Arc::new(Spill::new(context, signal)),
            common,
            unread: Mutex::default(),
            untaken: Mutex::default(),
        }
    }

    /// Whether there is a place to leave data. Makes the directory.
    pub async fn can_be_left(&self) -> bool {
        let spill = Arc::clone(&self.spill);
        let prepared = tokio::task::spawn_blocking(move || spill.prepare().is_some());
        prepared.await.unwrap_or(false)
    }

    /// Hands on what earlier runs left, until the processor stops.
    pub async fn hand_on(self: Arc<Self>) {
        if !self.spill.has_directory() {
            return;
        }
        while !self.common.draining.is_cancelled() {
            let spill = Arc::clone(&self.spill);
            let found = tokio::task::spawn_blocking(move || spill.look()).await;
            if let Ok(Ok(Found::Records(recovery))) = found {
                self.hand_on_records(recovery).await;
                continue;
            }
            if let Ok(Err(error)) = found {
                tracing::warn!(processor = %self.common.id, %error, "cannot look for data left by an earlier run");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.common.draining.cancelled() => {}
            }
        }
    }

    async fn hand_on_records(&self, mut recovery: Box<Recovery>) {
        tracing::info!(processor = %self.common.id, "handing on what an earlier run left");
        loop {
            let reading = tokio::task::spawn_blocking(move || {
                let recovered = recovery.next_record();
                (recovery, recovered)
            });
            // A failed task took the files with it unread: they are still there at the next look.
            let Ok((back, recovered)) = reading.await else { return };
            recovery = back;
            let Some(recovered) = recovered else { break };
            if !self.offer(&recovered.batch).await {
                *self.untaken.lock().unwrap_or_else(PoisonError::into_inner) = Some(recovered);
                *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(recovery);
                return;
            }
            recovered.file.answered();
        }
        let lost = recovery.take_lost();
        if lost > 0 {
            self.common.counts.corrupt(lost);
            tracing::error!(
                processor = %self.common.id, dropped_items = lost,
                "records left by an earlier run were damaged; the file is kept in quarantine"
            );
        }
    }

    /// `false` when the stop came before the next stage took it.
    async fn offer(&self, batch: &Batch) -> bool {
        let taken_by = Arc::new(TakenBy::default());
        let batch = batch.clone().with_origin(batch.origin().remembering(&taken_by));
        self.common.counts.recovered(batch.items());
        loop {
            if self.common.draining.is_cancelled() {
                // It stays in a file.
                self.common.counts.spilled(batch.items());
                return false;
            }
            let custody = self.common.counts.custody(batch.items());
            let call = self.common.next.consume(batch.clone());
            let refused = match Offered::new(self.common.counts.registry(), call, custody).await {
                Ok(()) => return true,
                Err(refused) => refused,
            };
            if refused.permanent {
                self.common.lose(batch.items(), &refused, DropReason::PermanentError);
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep(refused.retry_after.unwrap_or(TRY_AGAIN)) => {}
                () = self.common.draining.cancelled() => {}
            }
        }
    }

    /// Writes down what could not be handed on; what cannot be written either is lost, counted and said.
    pub async fn leave(&self) {
        let unsent = std::mem::take(&mut *self.common.unsent.lock().unwrap_or_else(PoisonError::into_inner));
        let untaken = self.untaken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if unsent.is_empty() && untaken.is_none() && unread.is_none() {
            return;
        }
        let sizes: Vec<usize> = unsent.iter().map(Batch::items).collect();
        let mut batches: Vec<Batch> = untaken.iter().map(|recovered| recovered.batch.clone()).collect();
        batches.extend(unsent);
        let spill = Arc::clone(&self.spill);
        let count = batches.len();
        let writing = tokio::task::spawn_blocking(move || spill.store(&batches, unread.as_deref_mut()));
        let (kept, error) = match writing.await {
            Ok(Ok(())) => (count, None),
            Ok(Err(stored)) => (stored.kept, Some(stored.error.to_string())),
            Err(error) => (0, Some(error.to_string())),
        };
        // The record that was being offered stands first; where it was not copied it is still in its own file.
        let before = usize::from(untaken.is_some());
        if let Some(recovered) = untaken.filter(|_| kept >= before) {
            recovered.file.answered();
        }
        let mut unsent_kept = sizes;
        let lost: usize = unsent_kept.split_off(kept.saturating_sub(before)).iter().sum();
        let items: usize = unsent_kept.iter().sum();
        if items > 0 || error.is_none() {
            self.common.counts.spilled(items);
            tracing::warn!(
                processor = %self.common.id, items,
                "could not be handed on before the end; left in a file for the next start"
            );
        }
        if let Some(error) = error.filter(|_| lost > 0) {
            let refused = Refused::retryable(format!(
                "the time to drain is over, and nothing can be written: {error}"
            ));
            self.common.lose(lost, &refused, DropReason::ShutdownDeadline);
            tracing::error!(processor = %self.common.id, dropped_items = lost, %error, "data is lost at the stop");
        }
    }
}
