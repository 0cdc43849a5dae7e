//! One batch under way: filled by callers, sent by a task of its own, which also owns the timer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::{Counts, Trigger};
use super::{Ack, Config};
use crate::component::{BuildContext, ComponentId, DropReason, LimitedLog, Offered, Outlet, Refused};
use crate::pdata::{Batch, Headers, Origin, Permit, Signal, TakenBy};
use crate::queue::{self, PartList, Piece, Ticket};

/// A group of one metadata combination that saw nothing for this long ends.
const IDLE: Duration = Duration::from_secs(60);
/// Delays between two offers of a batch that the next stage refused for now.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// What all groups of a processor share.
pub struct Common {
    pub id: ComponentId,
    signal: Signal,
    timeout: Duration,
    /// Full at this many items; at least 1.
    size: usize,
    /// `usize::MAX`: no bound.
    max_size: usize,
    everybody_waits: bool,
    pub next: Outlet,
    pub counts: Counts,
    /// The processor is stopping: flush.
    pub draining: CancellationToken,
    /// The deadline has come.
    pub abort: CancellationToken,
    /// The agent ends at once.
    pub stop: CancellationToken,
    /// Where a stop can leave what the next stage does not take.
    pub can_leave: AtomicBool,
    /// What a stop leaves.
    pub unsent: Mutex<Vec<Batch>>,
    kept_log: LimitedLog,
    lost_log: LimitedLog,
}

impl Common {
    pub fn new(context: &BuildContext, signal: Signal, config: &Config, next: Outlet) -> Self {
        let max_size = config.send_batch_max_size as usize;
        Self {
            id: context.id.clone(),
            signal,
            timeout: config.timeout.0,
            size: (config.send_batch_size as usize).max(1),
            max_size: if max_size == 0 { usize::MAX } else { max_size },
            everybody_waits: config.ack == Ack::Export,
            next,
            counts: Counts::new(context, signal),
            draining: CancellationToken::new(),
            abort: CancellationToken::new(),
            stop: context.stop.clone(),
            can_leave: AtomicBool::new(false),
            unsent: Mutex::default(),
            kept_log: LimitedLog::default(),
            lost_log: LimitedLog::default(),
        }
    }
}

impl Common {
    /// Items that were answered for are lost.
    pub fn lose(&self, items: usize, refused: &Refused, reason: DropReason) {
        self.counts.dropped(items, reason);
        if let Some(left_out) = self.lost_log.admit() {
            // The Collector's text and level for data that was answered for and is lost.
            tracing::warn!(
                processor = %self.id, error = %refused, dropped_items = items, reason = reason.name(), left_out,
                "Sender failed"
            );
        }
    }
}

/// A batch under way.
pub struct Group {
    common: Arc<Common>,
    /// The metadata it is batched by; the only metadata that survives.
    metadata: Headers,
    state: Mutex<State>,
    wake: Notify,
    room: Notify,
}

#[derive(Default)]
struct State {
    load: Load,
    /// When the oldest item came.
    opened: Option<Instant>,
    /// A batch is on its way to the next stage.
    sending: bool,
    /// The next stage refused what is on its way: new data gets the same answer.
    refused: Option<Refused>,
    ended: bool,
}

/// What was put together so far.
#[derive(Default)]
struct Load {
    items: usize,
    /// Data whose senders have their answer.
    kept: PartList,
    kept_items: usize,
    permits: SmallVec<[Arc<Permit>; 1]>,
    /// Data whose senders wait.
    waiting: Vec<Piece>,
    /// What was left when the batch before was split.
    carried: Vec<Piece>,
}

enum Offer {
    Taken(Option<oneshot::Receiver<Result<(), Refused>>>),
    Full(Batch),
    Ended(Batch),
}

impl Group {
    pub fn new(common: Arc<Common>, metadata: Headers) -> Self {
        Self {
            common,
            metadata,
            state: Mutex::default(),
            wake: Notify::new(),
            room: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Idle for long, or stopped: takes nothing any more.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Adds a batch and gives the answer for its sender; gives the batch back where the group has ended.
    pub async fn take(&self, batch: Batch) -> Result<Result<(), Refused>, Batch> {
        let mut batch = batch;
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.offer(batch) {
                Err(refused) => return Ok(Err(refused)),
                Ok(Offer::Ended(given_back)) => {
                    if self.common.draining.is_cancelled() {
                        return Ok(Err(stopping()));
                    }
                    return Err(given_back);
                }
                Ok(Offer::Taken(None)) => return Ok(Ok(())),
                Ok(Offer::Taken(Some(answer))) => return Ok(answer.await.unwrap_or_else(|_| Err(stopping()))),
                Ok(Offer::Full(given_back)) => batch = given_back,
            }
            let waiting = self.common.counts.waiting(batch.items());
            room.await;
            drop(waiting);
        }
    }

    fn offer(&self, batch: Batch) -> Result<Offer, Refused> {
        let items = batch.items();
        let mut state = self.lock();
        if state.ended {
            return Ok(Offer::Ended(batch));
        }
        if let Some(refused) = &state.refused {
            return Err(refused.clone());
        }
        // One batch on its way and one that is full: who brings more waits.
        if state.sending && state.load.items >= self.common.size {
            return Ok(Offer::Full(batch));
        }
        let was_empty = state.opened.is_none();
        let answer = state.load.add(batch, self.common.everybody_waits);
        if was_empty {
            state.opened = Some(Instant::now());
        }
        self.common.counts.took(items);
        let is_full = state.load.items >= self.common.size;
        drop(state);
        if was_empty || is_full {
            self.wake.notify_one();
        }
        Ok(Offer::Taken(answer))
    }

    /// Sends until the processor stops, or the group has been idle for long.
    pub async fn run(self: Arc<Self>) {
        while let Some((load, trigger)) = self.next_load().await {
            self.send(load, trigger).await;
            self.lock().sending = false;
            self.room.notify_waiters();
        }
    }

    /// The next batch once it is due; `None` at the end.
    async fn next_load(&self) -> Option<(Load, Trigger)> {
        loop {
            let wait_until = {
                let mut state = self.lock();
                let draining = self.common.draining.is_cancelled();
                match state.opened {
                    None if draining => {
                        state.ended = true;
                        return None;
                    }
                    None => None,
                    Some(opened) => {
                        let due = opened + self.common.timeout;
                        let full = state.load.items >= self.common.size;
                        if full || draining || due <= Instant::now() {
                            state.opened = None;
                            state.sending = true;
                            let trigger = if full { Trigger::Size } else { Trigger::Timeout };
                            return Some((std::mem::take(&mut state.load), trigger));
                        }
                        Some(due)
                    }
                }
            };
            if !self.wait(wait_until).await && self.end_if_empty() {
                return None;
            }
        }
    }

    /// `false` when a group that may end was idle for long.
    async fn wait(&self, until: Option<Instant>) -> bool {
        let may_end = !self.metadata.is_empty();
        let idle = until.is_none() && may_end;
        let until = until.unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            () = self.wake.notified() => true,
            () = self.common.draining.cancelled() => true,
            () = tokio::time::sleep_until(until) => !idle,
        }
    }

    fn end_if_empty(&self) -> bool {
        let mut state = self.lock();
        state.ended = state.opened.is_none();
        state.ended
    }

    async fn send(&self, load: Load, trigger: Trigger) {
        let pieces = load.into_pieces(self.common.signal, &self.metadata);
        let mut chunks = queue::pack_by_items(pieces, self.common.max_size);
        if trigger == Trigger::Size && chunks.len() > 1 {
            // What is left of a split waits for company, as in the Collector.
            let is_short = chunks.last().is_some_and(|last| items_of(last) < self.common.size);
            if let Some(rest) = chunks.pop_if(|_| is_short) {
                self.put_back(rest);
            }
        }
        for chunk in chunks {
            self.send_chunk(chunk, trigger).await;
        }
        self.lock().refused = None;
    }

    fn put_back(&self, rest: Vec<Piece>) {
        let mut state = self.lock();
        state.load.items += items_of(&rest);
        state.load.carried = rest;
        state.opened.get_or_insert_with(Instant::now);
    }

    /// Offers one batch until the next stage takes it or refuses it for good.
    async fn send_chunk(&self, mut pieces: Vec<Piece>, trigger: Trigger) {
        let mut delay = FIRST_RETRY;
        let taken_by = Arc::new(TakenBy::default());
        loop {
            let draining = self.common.draining.is_cancelled();
            let batch = self.join(&pieces);
            let origin = batch.origin().remembering(&taken_by);
            let batch = batch.with_origin(origin);
            let items = batch.items();
            self.common.counts.sending(trigger, items, batch.wire_len());
            let counts = &self.common.counts;
            let call = Offered::new(
                counts.registry(),
                self.common.next.consume(batch),
                counts.custody(items),
            );
            let answer = tokio::select! {
                biased;
                answer = call => answer,
                () = self.common.abort.cancelled() => Err(stopping()),
            };
            let refused = match answer {
                Ok(()) => {
                    answer_all(&pieces, &Ok(()));
                    return;
                }
                Err(refused) => refused,
            };
            // Who waits has the data still and is told.
            let (waiting, kept): (Vec<Piece>, Vec<Piece>) =
                pieces.into_iter().partition(|piece| piece.ticket.has_waiter());
            self.common.counts.left(items_of(&waiting));
            answer_all(&waiting, &Err(refused.clone()));
            pieces = kept;
            if pieces.is_empty() {
                return;
            }
            if refused.permanent {
                return self
                    .common
                    .lose(items_of(&pieces), &refused, DropReason::PermanentError);
            }
            let is_last_try = draining && self.common.can_leave.load(Ordering::Relaxed);
            if is_last_try || self.common.abort.is_cancelled() {
                let mut unsent = self.common.unsent.lock().unwrap_or_else(PoisonError::into_inner);
                unsent.push(self.join(&pieces));
                return;
            }
            delay = self.wait_to_retry(refused, items_of(&pieces), delay).await;
        }
    }

    async fn wait_to_retry(&self, refused: Refused, items: usize, delay: Duration) -> Duration {
        let pause = refused.retry_after.unwrap_or(delay).min(LONGEST_RETRY);
        if let Some(left_out) = self.common.kept_log.admit() {
            tracing::warn!(
                processor = %self.common.id, error = %refused, items, left_out,
                "next stage refuses, batch is kept and new data refused"
            );
        }
        self.lock().refused = Some(refused);
        self.room.notify_waiters();
        // A stop does not wait as politely: the time until its deadline is all there is.
        let draining = self.common.draining.is_cancelled();
        let pause = if draining { FIRST_RETRY } else { pause };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.common.draining.cancelled(), if !draining => {}
            () = self.common.abort.cancelled() => {}
        }
        (delay * 2).min(LONGEST_RETRY)
    }

    fn join(&self, pieces: &[Piece]) -> Batch {
        match pieces {
            [only] if only.batch.origin().client.is_none() && only.batch.origin().metadata == self.metadata => {
                only.batch.clone()
            }
            many => queue::join(many.iter().map(|piece| piece.batch.clone()).collect(), &self.metadata),
        }
    }
}

impl Load {
    fn add(&mut self, batch: Batch, waits: bool) -> Option<oneshot::Receiver<Result<(), Refused>>> {
        self.items += batch.items();
        if waits || batch.origin().cursor {
            let (sender, receiver) = oneshot::channel();
            let ticket = Arc::new(Ticket::for_answer(Some(sender)));
            self.waiting.push(Piece { batch, ticket });
            return Some(receiver);
        }
        self.kept_items += batch.items();
        self.permits.extend(batch.origin().permits.iter().cloned());
        for part in batch.into_parts() {
            self.kept.push(part);
        }
        None
    }

    /// What was left before, what was answered for as one piece, then one piece for each who waits.
    fn into_pieces(self, signal: Signal, metadata: &Headers) -> Vec<Piece> {
        let mut pieces = self.carried;
        let parts = self.kept.finish();
        if !parts.is_empty() || self.kept_items > 0 {
            let origin = Origin {
                metadata: metadata.clone(),
                permits: self.permits,
                ..Origin::default()
            };
            let items = u32::try_from(self.kept_items).unwrap_or(u32::MAX);
            pieces.push(Piece {
                batch: Batch::from_parts(signal, parts, items, Arc::new(origin)),
                ticket: Arc::new(Ticket::for_answer(None)),
            });
        }
        pieces.extend(self.waiting);
        pieces
    }
}

fn items_of(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.batch.items()).sum()
}

fn answer_all(pieces: &[Piece], answer: &Result<(), Refused>) {
    for piece in pieces {
        // The ticket of a batch has no room to give back.
        let _last = piece.ticket.settle(answer.clone());
    }
}

fn stopping() -> Refused {
    Refused::retryable("batch processor is stopping")
}
