//! Takes requests out of the queue, joins them where the queue batches, and has them sent, at most `num_consumers` at
//! a time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tonic::Code;

use super::backlog::Backlog;
use super::batcher::Batcher;
use super::counts::Counts;
use super::dead_letter::DeadLetter;
use super::recovering::Recovering;
use super::sender::{Outcome, Sender};
use super::slots::Slots;
use super::spill::Recovery;
use super::ticket::{Kept, Piece};
use crate::component::{DropReason, Refused};
use crate::pdata::{Batch, Pieces};

/// An acknowledgement is not held back longer than this: a far end with a long way to it may have much on its way.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// What the tasks of one queue share.
pub struct Shared {
    pub backlog: Backlog,
    pub sender: Arc<Sender>,
    pub counts: Arc<Counts>,
    /// Where what was refused for good is kept.
    pub dead_letter: Option<DeadLetter>,
    /// What batches are kept apart by: the only metadata of a joined batch.
    pub partition_keys: Vec<String>,
    /// What the drain could not send.
    pub unsent: Mutex<Vec<Piece>>,
    /// What of an earlier run's files was not read when the drain came.
    pub unread: Mutex<Option<Box<Recovery>>>,
}

/// What a dispatcher works with.
pub struct Dispatcher {
    pub shared: Arc<Shared>,
    pub batcher: Batcher,
    pub recovering: Recovering,
    /// How much may be on its way.
    pub slots: Arc<Slots>,
    /// Where sending tasks are spawned.
    pub tasks: TaskTracker,
}

/// Runs until the queue is closed and empty and everything was handed to a sending task.
pub async fn dispatch(dispatcher: Dispatcher) {
    let Dispatcher {
        shared,
        mut batcher,
        mut recovering,
        slots,
        tasks,
    } = dispatcher;
    let mut open = true;
    while open || !batcher.is_empty() {
        if let Some(work) = batcher.take_ready(!open) {
            let bytes = match slots.counts_bytes() {
                true => work.iter().map(|piece| piece.batch.wire_len() as u64).sum(),
                false => 0,
            };
            let Some(slot) = slots.take(bytes).await else {
                // Nobody closes them.
                return;
            };
            let (shared, slots) = (Arc::clone(&shared), Arc::clone(&slots));
            tasks.spawn(async move {
                let before = shared.sender.refusals.load(Ordering::Relaxed);
                shared.send(work).await;
                let met_refusal = shared.sender.refusals.load(Ordering::Relaxed) != before;
                slots.give_back(slot, met_refusal);
            });
            continue;
        }
        let is_draining = shared.sender.draining.is_cancelled();
        if !is_draining && let Some(piece) = recovering.next().await {
            batcher.add(piece);
            continue;
        }
        let flush_at = batcher.next_flush();
        // A drain does not look: a moment that has passed would wake this loop for ever.
        let look_at = recovering.look_at().filter(|_| !is_draining);
        tokio::select! {
            biased;
            piece = shared.backlog.next(), if open => match piece {
                Some(piece) => batcher.add(piece),
                None => open = false,
            },
            () = sleep_until(flush_at) => {}
            () = sleep_until(look_at), if open => {}
        }
    }
    *shared.unread.lock().unwrap_or_else(PoisonError::into_inner) = recovering.into_rest();
}

async fn sleep_until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    /// Holds the acknowledgement back for a moment while a healthy far end is slower than what comes in: senders slow
    /// down then, and the queue does not grow for nothing. It is there for a far end that fails; then nobody waits here.
    pub async fn wait_while_busy(&self) {
        let Backlog::Memory(queue) = &self.backlog else {
            return;
        };
        if !queue.is_busy() || self.sender.is_failing() {
            return;
        }
        tokio::select! {
            biased;
            () = queue.until_calm() => {}
            () = self.sender.draining.cancelled() => {}
            () = tokio::time::sleep(LONGEST_HOLD) => {}
        }
    }

    /// Sends what was joined; where the far end does not like the whole, its parts.
    async fn send(&self, work: Vec<Piece>) {
        let items: usize = work.iter().map(|piece| piece.batch.items()).sum();
        {
            let of_backlog = |piece: &&Piece| !matches!(piece.ticket.kept, Kept::File(_));
            let own: usize = work.iter().filter(of_backlog).map(|piece| piece.batch.items()).sum();
            self.backlog.started(own);
            self.counts.started(items);
        }
        let mut todo = vec![work];
        while let Some(mut pieces) = todo.pop() {
            let mut batch = self.join(&pieces);
            if let Some(ids) = Self::ids_of(&pieces) {
                let mut origin = batch.origin().known_as(None);
                origin.pieces = Some(ids);
                batch = batch.with_origin(Arc::new(origin));
            }
            self.counts.requests(1);
            let outcome = self.sender.send(&batch, expires_of(&pieces)).await;
            self.counts.requests(-1);
            match outcome {
                // Somebody's bad data must not cost the others theirs: halve until it is alone.
                Outcome::Failed(refused, DropReason::PermanentError)
                    if pieces.len() > 1 && is_about_content(&refused) =>
                {
                    let second_half = pieces.split_off(pieces.len() / 2);
                    todo.push(second_half);
                    todo.push(pieces);
                }
                outcome => {
                    if let (Some(kept), Outcome::Failed(_, DropReason::PermanentError)) = (&self.dead_letter, &outcome)
                    {
                        // Whoever waits for the answer has the data.
                        let lost = pieces.iter().filter(|piece| !piece.ticket.has_waiter());
                        kept.keep(lost.map(|piece| piece.batch.clone()).collect()).await;
                    }
                    self.settle(pieces, &outcome);
                }
            }
        }
    }

    fn join(&self, pieces: &[Piece]) -> Batch {
        let first = match pieces {
            [only] => return only.batch.clone(),
            many => many[0].batch.origin(),
        };
        let values = |key: &String| (key.as_str().into(), first.metadata_values(key).to_vec());
        let metadata = self.partition_keys.iter().map(values).collect();
        super::joined::join(pieces.iter().map(|piece| piece.batch.clone()).collect(), &metadata)
    }

    /// For a next hop that knows the parts. Nothing where one of them has no id of its own.
    fn ids_of(pieces: &[Piece]) -> Option<Arc<Pieces>> {
        let id_and_bytes = |piece: &Piece| Some((piece.ticket.id_of_whole()?, piece.batch.wire_len()));
        let pieces: Option<Vec<_>> = pieces.iter().map(id_and_bytes).collect();
        Some(Arc::new(Pieces(pieces?)))
    }

    fn settle(&self, pieces: Vec<Piece>, outcome: &Outcome) {
        let mut lost = 0;
        for piece in pieces {
            let items = piece.batch.items();
            match outcome {
                Outcome::Delivered => {
                    self.counts.delivered(items);
                    self.finish(&piece, Ok(()));
                }
                Outcome::Failed(refused, _) if piece.ticket.has_waiter() => {
                    self.counts.returned(items);
                    self.finish(&piece, Err(refused.clone()));
                }
                Outcome::Failed(refused, reason) => {
                    lost += items;
                    self.counts.dropped(items, *reason);
                    self.finish(&piece, Err(refused.clone()));
                }
                Outcome::Unsent(refused) if piece.ticket.has_waiter() => {
                    self.counts.returned(items);
                    self.finish(&piece, Err(refused.clone()));
                }
                Outcome::Unsent(_) if matches!(piece.ticket.kept, Kept::Log(_)) => {
                    // It is where it was. Nothing else is tried: the next start will.
                    self.counts.spilled(items);
                    self.backlog.stop_reading();
                }
                Outcome::Unsent(_) => self.unsent.lock().unwrap_or_else(PoisonError::into_inner).push(piece),
            }
        }
        if let (true, Outcome::Failed(refused, reason)) = (lost > 0, outcome) {
            self.sender.log_dropped(refused, lost, *reason);
        }
    }

    /// A piece is done with.
    pub fn finish(&self, piece: &Piece, answer: Result<(), Refused>) {
        if piece.ticket.settle(answer) {
            match &piece.ticket.kept {
                Kept::Here => self.backlog.release(piece.ticket.cost()),
                Kept::File(file) => file.answered(),
                Kept::Log(range) => self.backlog.settled(*range),
            }
        }
    }
}

/// When the youngest of them is too old; never, where one has no such moment.
fn expires_of(pieces: &[Piece]) -> Option<tokio::time::Instant> {
    let mut latest = None;
    for piece in pieces {
        latest = latest.max(Some(piece.ticket.expires?));
    }
    latest
}

/// Whether the far end refused the data itself, not the sender: then parts of it may pass.
fn is_about_content(refused: &Refused) -> bool {
    !matches!(
        refused.code,
        Some(Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::NotFound)
    )
}
