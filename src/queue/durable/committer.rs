//! The one task that writes: opens the log, commits what waits in groups, and notes what is settled.
//!
//! At most one sync in [`EVERY`], or when [`MUCH`] waits, for all requests together.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{LogQueue, Opening, Pending, Recent};
use crate::component::{Durability, LimitedLog, Refused};
use crate::queue::fs::Fs;
use crate::queue::log::{self, Draft, LARGEST_GROUP, OpenError, Opened, Place, Range, Writer};

/// At most one sync in this time, at the same moments for all logs,
const EVERY: Duration = Duration::from_millis(5);
/// unless so many bytes wait.
pub const MUCH: u64 = 4 << 20;
/// How often a directory that cannot be used is tried again.
const OPEN_AGAIN: Duration = Duration::from_millis(500);
/// After so many failures what cannot be read counts as damaged, if the disk works otherwise: half a minute.
const READ_TRIES: u32 = 60;
/// Marks are safe from a power cut after this at the latest.
const SYNC_MARKS: Duration = Duration::from_secs(1);

/// Opens the log and writes it until the queue ends.
pub async fn run(queue: Arc<LogQueue>, fs: Arc<dyn Fs>) {
    let Some(writer) = open(&queue, fs).await else { return };
    let mut committer = Committer {
        writer: Some(writer),
        next_sync: Instant::now(),
        marks_sync: Instant::now() + SYNC_MARKS,
        next_interval: Instant::now() + queue.settings.interval,
        log: LimitedLog::default(),
        syncs_seen: 0,
    };
    while !queue.ending.is_cancelled() {
        committer.wait(&queue).await;
        committer.round(&queue).await;
    }
    committer.round(&queue).await;
    committer.close(&queue).await;
}

async fn open(queue: &Arc<LogQueue>, fs: Arc<dyn Fs>) -> Option<Writer> {
    let said = LimitedLog::default();
    let mut failures = 0;
    loop {
        let may_step_over = failures >= READ_TRIES;
        let (fs, dir, segment_bytes) = (
            Arc::clone(&fs),
            queue.settings.dir.clone(),
            queue.settings.segment_bytes,
        );
        let opening = queue
            .aside
            .run(move || {
                let step_over = may_step_over && log::disk_works(fs.as_ref(), &dir);
                log::open(fs, &dir, segment_bytes, step_over)
            })
            .await;
        let error = match opening {
            Ok(Ok(opened)) => return Some(take_over(queue, opened).await),
            Ok(Err(error)) => error,
            Err(error) => OpenError::Io(queue.settings.dir.display().to_string(), std::io::Error::other(error)),
        };
        failures += u32::from(matches!(error, OpenError::Io(..)));
        if let Some(left_out) = said.admit() {
            tracing::warn!(
                exporter = %queue.exporter, %error, left_out,
                "the durable queue cannot be opened yet; data is refused meanwhile"
            );
        }
        queue.lock().opening = Opening::Failed(error.to_string());
        queue.opened.notify_waiters();
        tokio::select! {
            biased;
            () = tokio::time::sleep(OPEN_AGAIN) => {}
            () = queue.ending.cancelled() => return None,
        }
    }
}

async fn take_over(queue: &Arc<LogQueue>, opened: Opened) -> Writer {
    let waiting = opened.waiting;
    for name in &opened.put_aside {
        tracing::error!(exporter = %queue.exporter, file = %name, "a file of the queue cannot be used; it is left aside");
    }
    if waiting.records > 0 {
        tracing::info!(
            exporter = %queue.exporter, requests = waiting.records, items = waiting.items, bytes = waiting.bytes,
            "the queue holds what an earlier run did not deliver"
        );
    }
    {
        let mut repeats = queue.lock_repeats();
        opened.ids.iter().for_each(|(id, at)| repeats.taken(*id, *at));
    }
    *queue.reader.lock().await = Some(opened.reader);
    let items = usize::try_from(waiting.items).unwrap_or(usize::MAX);
    queue.counts.recovered(items);
    queue
        .unstarted
        .fetch_add(items as i64, std::sync::atomic::Ordering::Relaxed);
    let cost = queue.cost_of(waiting);
    {
        let mut state = queue.lock();
        state.size += cost.size;
        state.bytes += cost.bytes;
        state.opening = Opening::Done;
        queue.gauges.set(&state);
        queue.gauges.byte_capacity.set(queue.settings.max_bytes as f64);
    }
    queue.board.queue_is_open(&queue.settings.dir);
    queue.opened.notify_waiters();
    queue.written.notify_one();
    opened.writer
}

/// The moments at which the logs of a process sync. Those of one disk are flushed together, instead of one after another.
pub struct Tick {
    from: Instant,
}

impl Default for Tick {
    fn default() -> Self {
        Self { from: Instant::now() }
    }
}

impl Tick {
    /// The next moment for a log that syncs now. One that comes a little late does not lose its next turn by that.
    fn next(&self, now: Instant) -> Instant {
        let earliest = now.saturating_duration_since(self.from) + EVERY * 4 / 5;
        let every = EVERY.as_nanos() as u64;
        let turns = u64::try_from(earliest.as_nanos()).unwrap_or(u64::MAX).div_ceil(every);
        self.from + Duration::from_nanos(turns.saturating_mul(every))
    }
}

struct Committer {
    /// `None` only while a blocking task has it.
    writer: Option<Writer>,
    next_sync: Instant,
    marks_sync: Instant,
    next_interval: Instant,
    log: LimitedLog,
    syncs_seen: u64,
}

/// What one round in the blocking task came to.
struct Done {
    writer: Writer,
    committed: std::io::Result<Vec<Place>>,
    error: Option<std::io::Error>,
}

impl Committer {
    /// Until there is something to do and it may be done.
    async fn wait(&mut self, queue: &LogQueue) {
        let unsynced = self.writer.as_ref().is_some_and(Writer::is_unsynced);
        let next = if unsynced {
            self.next_interval.min(self.marks_sync)
        } else {
            self.marks_sync
        };
        tokio::select! {
            biased;
            () = queue.to_write.notified() => {}
            () = tokio::time::sleep_until(next) => {}
            () = queue.ending.cancelled() => return,
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(self.next_sync) => {}
            () = queue.much_to_write.notified() => {}
            () = queue.ending.cancelled() => {}
        }
    }

    async fn round(&mut self, queue: &Arc<LogQueue>) {
        let (pending, settled) = take_work(queue);
        let Some(writer) = self.writer.take() else { return };
        let now = Instant::now();
        let sync_marks = now >= self.marks_sync;
        let sync_interval = now >= self.next_interval && writer.is_unsynced();
        if pending.is_empty() && settled.is_empty() && !sync_marks && !sync_interval {
            self.writer = Some(writer);
            return;
        }
        if sync_marks {
            self.marks_sync = now + SYNC_MARKS;
        }
        if sync_interval {
            self.next_interval = now + queue.settings.interval;
        }
        if !pending.is_empty() {
            self.next_sync = queue.tick.next(now);
        }
        let drafts: Vec<Draft> = pending.iter().map(|pending| pending.draft.clone()).collect();
        let sync = queue.settings.durability == Durability::Fsync;
        let work = Work {
            queue: Arc::clone(queue),
            drafts,
            settled,
            sync,
            sync_interval,
            sync_marks,
        };
        let done = match queue.aside.run(move || work.run(writer)).await {
            Ok(done) => done,
            Err(error) => {
                // A bug: the log is gone with its writer, and everything is refused until a restart.
                tracing::error!(exporter = %queue.exporter, %error, "the log of the queue failed inside the agent");
                let reason = "the log failed inside the agent".to_owned();
                queue.lock().opening = Opening::Failed(reason.clone());
                refuse_all(queue, pending, &reason);
                return;
            }
        };
        self.say(queue, &done);
        match done.committed {
            Ok(places) => publish(queue, pending, places),
            Err(error) => refuse_all(queue, pending, &format!("the durable queue cannot be written: {error}")),
        }
        let tally = done.writer.tally;
        queue.gauges.syncs.add(tally.syncs - self.syncs_seen);
        self.syncs_seen = tally.syncs;
        queue.gauges.disk_bytes.set(done.writer.disk_bytes() as f64);
        self.writer = Some(done.writer);
    }

    fn say(&self, queue: &LogQueue, done: &Done) {
        let error = done.committed.as_ref().err().or(done.error.as_ref());
        if let Some(error) = error
            && let Some(left_out) = self.log.admit()
        {
            tracing::warn!(
                exporter = %queue.exporter, %error, left_out,
                "the log of the queue cannot be written; data is refused, what is in it is still delivered"
            );
        }
    }

    async fn close(&mut self, queue: &LogQueue) {
        let Some(mut writer) = self.writer.take() else { return };
        let taken = queue.taken_lately();
        let closing = queue.aside.run(move || {
            let kept = writer.save_ids(writer.end().records, &taken);
            let closed = writer.close().and(kept);
            let disk_bytes = writer.disk_bytes();
            // The lock goes with the writer: the next may open the log.
            drop(writer);
            (closed, disk_bytes)
        });
        if let Ok((closed, disk_bytes)) = closing.await {
            queue.gauges.disk_bytes.set(disk_bytes as f64);
            if let Err(error) = closed {
                tracing::warn!(exporter = %queue.exporter, %error, "the queue's log was not closed in order; some may be sent twice");
            }
        }
    }
}

struct Work {
    queue: Arc<LogQueue>,
    drafts: Vec<Draft>,
    settled: Vec<Range>,
    sync: bool,
    sync_interval: bool,
    sync_marks: bool,
}

impl Work {
    /// New data first: somebody waits for it.
    fn run(self, mut writer: Writer) -> Done {
        // What this round writes is known when it has been published.
        let covered = writer.end().records;
        let committed = match self.drafts.is_empty() {
            true => Ok(Vec::new()),
            false => writer.commit(&self.drafts, self.sync),
        };
        let mut error = None;
        let mut note = |result: std::io::Result<()>| error = result.err().or(error.take());
        if self.sync_interval {
            note(writer.sync());
        }
        writer.settle(&self.settled);
        if !self.settled.is_empty() || !self.drafts.is_empty() {
            note(writer.mark());
        }
        if self.sync_marks {
            note(writer.sync_marks());
        }
        if writer.has_passed() {
            note(writer.save_ids(covered, &self.queue.taken_lately()));
        }
        note(writer.remove_passed().map(drop));
        Done {
            writer,
            committed,
            error,
        }
    }
}

fn take_work(queue: &LogQueue) -> (Vec<Pending>, Vec<Range>) {
    let mut state = queue.lock();
    let rest = state.pending.len().min(LARGEST_GROUP);
    let rest = state.pending.split_off(rest);
    let pending = std::mem::replace(&mut state.pending, rest);
    let bytes: u64 = pending.iter().map(|pending| pending.cost.bytes).sum();
    state.pending_bytes = state.pending_bytes.saturating_sub(bytes);
    let mut settled = std::mem::take(&mut state.settled);
    settled.sort_unstable_by_key(|range| range.from.records);
    (pending, settled)
}

/// The records are in the log: on the books, readable, and their senders are told.
fn publish(queue: &LogQueue, pending: Vec<Pending>, places: Vec<Place>) {
    let limit = super::RECENT_BYTES.min(queue.memory.limit() / 16);
    let mut answers = Vec::with_capacity(pending.len());
    for (pending, place) in pending.into_iter().zip(places) {
        let items = pending.batch.items();
        {
            let _moving = queue.counts.moving();
            pending.books.lock().committed = true;
            queue.counts.waiting(-(items as f64));
            queue.counts.queued(items);
        }
        queue
            .unstarted
            .fetch_add(items as i64, std::sync::atomic::Ordering::Relaxed);
        if pending.draft.id_came_with_it() {
            queue
                .lock_repeats()
                .taken(pending.draft.batch_id(), pending.draft.enqueued());
        }
        let mut state = queue.lock();
        if let Some(waiter) = pending.waiter {
            state.waiters.insert(place.range.from.records, waiter);
        }
        // Only without a gap: the oldest that is not in memory is read from the file, and those behind it too.
        if state.recent_bytes + pending.cost.bytes <= limit {
            state.recent_bytes += pending.cost.bytes;
            state.recent.push_back(Recent {
                place,
                batch: pending.batch,
                enqueued: pending.draft.enqueued(),
                id: pending.draft.batch_id(),
            });
        }
        answers.push(pending.written);
    }
    queue.written.notify_one();
    for written in answers {
        // A sender that has gone away left its data here.
        let _gone = written.send(Ok(()));
    }
}

fn refuse_all(queue: &LogQueue, pending: Vec<Pending>, reason: &str) {
    for pending in pending {
        let items = pending.batch.items();
        {
            let _moving = queue.counts.moving();
            let mut stand = pending.books.lock();
            stand.failed = true;
            if stand.gone {
                queue.counts.waiting(-(items as f64));
                queue.counts.left_behind(-(items as f64));
            }
        }
        if pending.draft.id_came_with_it() {
            queue.lock_repeats().refused(pending.draft.batch_id());
        }
        {
            let mut state = queue.lock();
            state.size = state.size.saturating_sub(pending.cost.size);
            state.bytes = state.bytes.saturating_sub(pending.cost.bytes);
            queue.gauges.set(&state);
        }
        let refused = Refused::retryable(reason.to_owned()).after(super::TRY_AGAIN);
        let _gone = pending.written.send(Err(refused));
    }
    queue.freed.notify_waiters();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_that_sync_at_different_moments_meet_at_the_next_and_none_comes_too_often() {
        let tick = Tick::default();
        let at = |micros: u64| tick.from + Duration::from_micros(micros);
        for (now, next) in [
            (0, 5_000),
            (300, 5_000),
            (1_001, 10_000),
            (4_900, 10_000),
            (5_100, 10_000),
        ] {
            assert_eq!(tick.next(at(now)), at(next), "{now}");
        }
        let far = Duration::from_secs(400 * 86_400);
        assert!(tick.next(tick.from + far) > tick.from + far);
    }
}
