//! The one task that reads: from memory what was just written, from the files what was not, in the order of the log.
//!
//! Reads ahead by one piece; whoever sends decides how much is on its way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::LogQueue;
use crate::component::{DropReason, LimitedLog, UnixNanos};
use crate::pdata::{Batch, BatchId, Permit};
use crate::queue::log::{self, Range, Read, Reader};
use crate::queue::ticket::{Piece, Ticket};

/// Read from the files at a time.
const AT_ONCE: usize = 64;
/// The same in bytes.
const AT_ONCE_BYTES: u64 = 1 << 20;
/// A file that cannot be read is tried again after this,
const READ_AGAIN: Duration = Duration::from_secs(1);
/// and counts as damaged after so many failures, if the disk works otherwise.
const READ_TRIES: u32 = 30;
/// Reading waits so long at most for memory: what is being sent will free some.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// A record as it was read.
struct Found {
    range: Range,
    batch: Batch,
    enqueued: UnixNanos,
    id: BatchId,
    /// From a file: the memory is not accounted for yet.
    from_file: bool,
}

enum Next {
    Found(Found),
    Lost(Range),
    /// There is no more now.
    End,
    Failed(std::io::Error),
}

/// Feeds `pieces` until the queue is closed and empty, or reading is to stop.
pub async fn run(queue: Arc<LogQueue>, pieces: mpsc::Sender<Piece>, is_failing: impl Fn() -> bool) {
    let mut ahead = VecDeque::new();
    let mut failures = 0;
    let said = LimitedLog::default();
    loop {
        if queue.stop_reading.load(Ordering::Relaxed) {
            return;
        }
        let is_closed = queue.lock().closed;
        if is_closed && is_failing() {
            // It will be sent after the next start.
            return;
        }
        let next = queue.read(&mut ahead, failures).await;
        if !matches!(next, Next::Failed(_)) {
            failures = 0;
        }
        match next {
            Next::Found(found) => {
                if let Some(piece) = queue.piece_of(found).await
                    && pieces.send(piece).await.is_err()
                {
                    return;
                }
            }
            Next::Lost(range) => queue.tell_lost(range),
            Next::End if is_closed => return,
            Next::End => queue.written.notified().await,
            Next::Failed(error) => {
                failures += 1;
                if let Some(left_out) = said.admit() {
                    tracing::warn!(exporter = %queue.exporter, %error, left_out, "the log of the queue cannot be read now");
                }
                if is_closed {
                    // It is where it was, and the next start finds it there.
                    return;
                }
                tokio::select! {
                    biased;
                    () = queue.closing.cancelled() => {}
                    () = tokio::time::sleep(READ_AGAIN) => {}
                }
            }
        }
    }
}

impl LogQueue {
    /// The next record, which could not be read so many times. `ahead` holds what was read with it.
    async fn read(&self, ahead: &mut VecDeque<Next>, failures: u32) -> Next {
        if let Some(next) = ahead.pop_front() {
            return next;
        }
        let mut place = self.reader.lock().await;
        let Some(mut reader) = place.take() else {
            return Next::End;
        };
        if let Some(found) = self.take_recent(&mut reader) {
            *place = Some(reader);
            return Next::Found(found);
        }
        let (fs, dir) = (Arc::clone(&self.aside.0), self.settings.dir.clone());
        let reading = self.aside.run(move || {
            let past = failures >= READ_TRIES && log::disk_works(fs.as_ref(), &dir);
            let read = if past {
                read_past(&mut reader)
            } else {
                read_some(&mut reader)
            };
            (reader, read)
        });
        match reading.await {
            Ok((reader, read)) => {
                self.forget_recent(reader.expects());
                *place = Some(reader);
                ahead.extend(read);
                ahead.pop_front().unwrap_or(Next::End)
            }
            // A bug: without its reader the queue only takes in.
            Err(error) => Next::Failed(std::io::Error::other(error)),
        }
    }

    /// The next record where it is in memory.
    fn take_recent(&self, reader: &mut Reader) -> Option<Found> {
        let mut state = self.lock();
        let first = state.recent.front()?;
        if first.place.range.from.records != reader.expects() || !reader.skip(first.place) {
            return None;
        }
        let recent = state.recent.pop_front()?;
        state.recent_bytes = state.recent_bytes.saturating_sub(recent.place.range.size().bytes);
        Some(Found {
            range: recent.place.range,
            batch: recent.batch,
            enqueued: recent.enqueued,
            id: recent.id,
            from_file: false,
        })
    }

    /// What stands before `expects` has been read from the files.
    fn forget_recent(&self, expects: u64) {
        let mut state = self.lock();
        while state
            .recent
            .front()
            .is_some_and(|recent| recent.place.range.from.records < expects)
        {
            if let Some(recent) = state.recent.pop_front() {
                state.recent_bytes = state.recent_bytes.saturating_sub(recent.place.range.size().bytes);
            }
        }
    }

    /// What is to be sent; nothing where the record is too old.
    async fn piece_of(&self, found: Found) -> Option<Piece> {
        let size = found.range.size();
        let waiter = self.lock().waiters.remove(&found.range.from.records);
        let age = Duration::from_nanos(self.clock.now().0.saturating_sub(found.enqueued.0));
        let max_age = self.settings.max_age;
        if !max_age.is_zero() && age > max_age && waiter.is_none() {
            self.lose(
                size.items,
                DropReason::AgeCap,
                "Data waited longer than `max_age`. Dropping data.",
            );
            self.settled(found.range);
            return None;
        }
        let permit = match found.from_file {
            true => self.wait_for_memory(size.bytes).await,
            false => None,
        };
        let expires = (!max_age.is_zero()).then(|| tokio::time::Instant::now() + max_age.saturating_sub(age));
        let ticket = Ticket::of_log(self.cost_of(size), waiter, permit, (found.range, found.id), expires);
        Some(Piece {
            batch: found.batch,
            ticket: Arc::new(ticket),
        })
    }

    async fn wait_for_memory(&self, bytes: u64) -> Option<Permit> {
        self.memory.acquire(bytes, MEMORY_WAIT).await
    }

    /// Records that cannot be read are gone: counted, and forgotten by the log.
    fn tell_lost(&self, range: Range) {
        let size = range.size();
        if size.bytes > 0 {
            self.gauges.corrupt.add(size.records.max(1));
        }
        if size.items > 0 {
            self.lose(
                size.items,
                DropReason::CorruptRecord,
                "Records of the queue were damaged and are lost; the file is kept in quarantine.",
            );
        }
        let mut state = self.lock();
        for record in range.from.records..range.to.records.min(range.from.records + 100_000) {
            // Whoever waits hears that nobody answered.
            if state.waiters.is_empty() {
                break;
            }
            state.waiters.remove(&record);
        }
        drop(state);
        self.settled(range);
    }

    /// Gives up the oldest record that nobody is sending yet. `false` where there is none.
    pub(super) async fn drop_oldest(&self) -> bool {
        let mut ahead = VecDeque::new();
        // Read one by one: what is not dropped must stay for the feeder.
        let mut place = self.reader.lock().await;
        let Some(mut reader) = place.take() else { return false };
        let next = match self.take_recent(&mut reader) {
            Some(found) => {
                *place = Some(reader);
                Next::Found(found)
            }
            None => {
                let reading = self.aside.run(move || {
                    let read = read_one(&mut reader);
                    (reader, read)
                });
                let Ok((reader, read)) = reading.await else {
                    return false;
                };
                self.forget_recent(reader.expects());
                *place = Some(reader);
                ahead.extend(read);
                ahead.pop_front().unwrap_or(Next::End)
            }
        };
        drop(place);
        match next {
            Next::Found(found) => {
                let waiter = self.lock().waiters.remove(&found.range.from.records);
                drop(waiter);
                self.lose(
                    found.range.size().items,
                    DropReason::OverflowDropOldest,
                    "The queue is full. Dropping its oldest data.",
                );
                self.settled(found.range);
                true
            }
            Next::Lost(range) => {
                self.tell_lost(range);
                ahead.drain(..).for_each(|next| {
                    if let Next::Lost(range) = next {
                        self.tell_lost(range);
                    }
                });
                true
            }
            Next::End | Next::Failed(_) => false,
        }
    }
}

fn read_one(reader: &mut Reader) -> Vec<Next> {
    next_of(reader.read_next())
}

/// What cannot be read counts as damaged.
fn read_past(reader: &mut Reader) -> Vec<Next> {
    next_of(reader.read_past())
}

fn next_of(read: std::io::Result<Read>) -> Vec<Next> {
    match read {
        Ok(Read::Record(header, batch)) => vec![Next::Found(Found {
            range: header.range(),
            batch,
            enqueued: header.enqueued,
            id: header.batch_id,
            from_file: true,
        })],
        Ok(Read::Lost(ranges)) => ranges.into_iter().map(Next::Lost).collect(),
        Ok(Read::Nothing) => vec![Next::End],
        Err(error) => vec![Next::Failed(error)],
    }
}

fn read_some(reader: &mut Reader) -> Vec<Next> {
    let mut read = Vec::new();
    let mut bytes = 0;
    while read.len() < AT_ONCE && bytes < AT_ONCE_BYTES {
        for next in read_one(reader) {
            match next {
                // The end is told when there is nothing before it.
                Next::End if !read.is_empty() => return read,
                Next::Found(found) => {
                    bytes += found.range.size().bytes;
                    read.push(Next::Found(found));
                }
                Next::Lost(range) => read.push(Next::Lost(range)),
                last @ (Next::End | Next::Failed(_)) => {
                    read.push(last);
                    return read;
                }
            }
        }
    }
    read
}
