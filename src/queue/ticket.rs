//! What is owed for one request that the queue took: its room, and an answer where somebody waits for it.
//!
//! A request may be split and its pieces may travel in different batches; the ticket is settled when the last piece is.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::log::Range;
use super::spill::OpenFile;
use crate::component::Refused;
use crate::pdata::{Batch, BatchId, Permit};

/// What a waiting sender is told.
pub type Answer = Result<(), Refused>;

/// Room that a request takes in its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// In units of the queue's sizer.
    pub size: u64,
    /// Wire bytes and bookkeeping.
    pub bytes: u64,
}

/// A request, or part of it, on its way.
pub struct Piece {
    pub batch: Batch,
    pub ticket: Arc<Ticket>,
}

/// One request that the queue took.
pub struct Ticket {
    cost: Cost,
    state: Mutex<State>,
    /// Held for data that came without a permit of its own.
    _permit: Option<Permit>,
    /// Where it is kept until it has been answered for.
    pub kept: Kept,
    /// No try after this.
    pub expires: Option<Instant>,
    /// What the whole of it is known by.
    id: Option<BatchId>,
}

/// Where else a request is.
pub enum Kept {
    /// Nowhere.
    Here,
    /// In a file that an earlier run left, which may go when its records have been answered for.
    File(Arc<OpenFile>),
    /// In the queue's log.
    Log(Range),
}

struct State {
    open: usize,
    /// It goes in parts.
    in_parts: bool,
    worst: Option<Refused>,
    waiter: Option<oneshot::Sender<Answer>>,
}

impl Ticket {
    /// For a request in one piece.
    pub fn new(cost: Cost, waiter: Option<oneshot::Sender<Answer>>, permit: Option<Permit>) -> Self {
        Self {
            cost,
            state: Mutex::new(State {
                open: 1,
                in_parts: false,
                worst: None,
                waiter,
            }),
            _permit: permit,
            kept: Kept::Here,
            expires: None,
            id: None,
        }
    }

    /// For a record that an earlier run left.
    pub fn recovered(file: Arc<OpenFile>) -> Self {
        Self {
            kept: Kept::File(file),
            ..Self::for_answer(None)
        }
    }

    /// For a record of the queue's log.
    pub fn of_log(
        cost: Cost,
        waiter: Option<oneshot::Sender<Answer>>,
        permit: Option<Permit>,
        (range, id): (Range, BatchId),
        expires: Option<Instant>,
    ) -> Self {
        Self {
            kept: Kept::Log(range),
            expires,
            id: Some(id),
            ..Self::new(cost, waiter, permit)
        }
    }

    /// For a request that takes no room in a queue.
    pub fn for_answer(waiter: Option<oneshot::Sender<Answer>>) -> Self {
        Self::new(Cost::default(), waiter, None)
    }

    /// The room to give back.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Another piece was split off.
    pub fn split(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open += 1;
        state.in_parts = true;
    }

    /// What it is known by; `None` where it has no id, or goes in parts.
    pub fn id_of_whole(&self) -> Option<BatchId> {
        let in_parts = self.state.lock().unwrap_or_else(PoisonError::into_inner).in_parts;
        self.id.filter(|_| !in_parts)
    }

    /// Whether somebody still waits for the answer.
    pub fn has_waiter(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiter.as_ref().is_some_and(|waiter| !waiter.is_closed())
    }

    /// One piece is done with. `true` when it was the last: the room is to be given back.
    #[must_use]
    pub fn settle(&self, answer: Answer) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(refused) = answer {
            state.worst = Some(match state.worst.take() {
                None => refused,
                Some(before) => before.worse(refused),
            });
        }
        debug_assert!(state.open > 0, "a piece was settled twice");
        state.open -= 1;
        if state.open > 0 {
            return false;
        }
        if let Some(waiter) = state.waiter.take() {
            // A waiter that has gone away does not matter any more.
            let _ = waiter.send(state.worst.take().map_or(Ok(()), Err));
        }
        true
    }
}
