//! Writes a log: records in groups, settled ranges, segments that come and go.
//!
//! A group of records is in one segment. Where writing or syncing fails, the segment is never trusted again: everything
//! that is not known to be on the disk is written to a new one, and only that one's sync acknowledges it. If that fails
//! too the group is refused, and its numbers are never used again. All calls block.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::cursor::Cursor;
use super::files::{is_out_of_space, quarantine, retry, segment_name, write_all_at};
use super::ids::{self, Taken};
use super::record::{self, Draft, HEAD_LEN, Range, Totals};
use super::segments::{Segment, Segments};
use super::settled::Settled;
use crate::queue::fs::{Fs, FsFile, FsLock};

/// A disk that has no room for a whole segment is asked for less, down to this.
const SMALLEST_SEGMENT: u64 = 256 << 10;

/// Records of one group.
pub const LARGEST_GROUP: usize = 1 << 15;

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment: u64,
    pub offset: u64,
    pub range: Range,
}

/// A record whose sync is not done.
struct Unsynced {
    draft: Draft,
    before: Totals,
    /// In its group.
    index: u16,
    /// In its segment.
    offset: u64,
}

struct Current {
    file: Box<dyn FsFile>,
    number: u64,
    nonce: u64,
    /// Where the next record goes.
    offset: u64,
    /// Known to be on the disk.
    synced: u64,
    capacity: u64,
}

/// Counted by the writer for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Syncs of data.
    pub syncs: u64,
    /// Segments begun because the one before could not be trusted.
    pub rewrites: u64,
}

/// See the module text.
pub struct Writer {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) segments: Arc<Segments>,
    pub(super) settled: Arc<Mutex<Settled>>,
    pub(super) segment_bytes: u64,
    pub(super) next_number: u64,
    pub(super) cursor: Cursor,
    /// Where the next record will stand.
    pub(super) next: Totals,
    /// Everything before it was synced.
    pub(super) synced: Totals,
    current: Option<Current>,
    /// The current segment cannot be trusted, or there is none.
    must_move: bool,
    unsynced: Vec<Unsynced>,
    /// So many of them may be read already (they were only to be written, not synced).
    published: usize,
    /// Settled since the last mark.
    unmarked: Vec<Range>,
    pub tally: Tally,
    /// Held for as long as the log is written.
    _lock: Box<dyn FsLock>,
}

/// What a recovery found, for the writer to go on from.
pub(super) struct Start {
    pub fs: Arc<dyn Fs>,
    pub segments: Arc<Segments>,
    pub settled: Arc<Mutex<Settled>>,
    pub segment_bytes: u64,
    pub next_number: u64,
    pub end: Totals,
    pub lock: Box<dyn FsLock>,
}

impl Writer {
    pub(super) fn new(start: Start) -> Self {
        Self {
            cursor: Cursor::new(Arc::clone(&start.fs), start.segments.dir.clone()),
            fs: start.fs,
            segments: start.segments,
            settled: start.settled,
            segment_bytes: start.segment_bytes,
            next_number: start.next_number,
            next: start.end,
            synced: start.end,
            current: None,
            must_move: true,
            unsynced: Vec::new(),
            published: 0,
            unmarked: Vec::new(),
            tally: Tally::default(),
            _lock: start.lock,
        }
    }

    /// Where the log ends.
    pub fn end(&self) -> Totals {
        self.next
    }

    /// Bytes of all segments on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.segments.disk_bytes()
    }

    /// Writes records as one group of at most [`LARGEST_GROUP`], and syncs them where `sync`. With `Ok` they may be read.
    ///
    /// # Errors
    /// None of them is in the log.
    pub fn commit(&mut self, drafts: &[Draft], sync: bool) -> io::Result<Vec<Place>> {
        let start = self.next;
        for (index, draft) in drafts.iter().enumerate() {
            let before = self.next;
            self.next = draft.range(before).to;
            self.unsynced.push(Unsynced {
                draft: draft.clone(),
                before,
                index: u16::try_from(index).unwrap_or(u16::MAX),
                offset: 0,
            });
        }
        if let Err(error) = self.persist(sync) {
            self.unsynced.truncate(self.published);
            // Parts of them may be on the disk: a number that is used twice would hide the second record.
            let burned = Totals {
                records: self.next.records,
                ..start
            };
            self.next = burned;
            self.settle(&[Range {
                from: start,
                to: burned,
            }]);
            return Err(error);
        }
        let Some(current) = &self.current else {
            return Ok(Vec::new());
        };
        let (number, readable) = (current.number, current.offset);
        let places = self.unsynced[self.published..].iter().map(|record| Place {
            segment: number,
            offset: record.offset,
            range: record.draft.range(record.before),
        });
        let places = places.collect();
        self.published = self.unsynced.len();
        if sync {
            self.all_synced();
        }
        let end = self.next;
        self.segments.change(number, |segment| {
            segment.readable = readable;
            segment.end = Some(end);
        });
        Ok(places)
    }

    /// Syncs what was only written.
    ///
    /// # Errors
    /// It is still in memory, and is tried again with the next call.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        if !self.must_move {
            match self.sync_current() {
                Ok(()) => {
                    self.all_synced();
                    return Ok(());
                }
                Err(_) => self.must_move = true,
            }
        }
        self.move_to_new_segment()?;
        let Some(current) = &self.current else { return Ok(()) };
        let (number, readable, end) = (current.number, current.offset, self.next);
        self.all_synced();
        self.segments.change(number, |segment| {
            segment.readable = readable;
            segment.end = Some(end);
        });
        Ok(())
    }

    /// Something is written that is not synced.
    pub fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    fn all_synced(&mut self) {
        self.unsynced.clear();
        self.published = 0;
        self.synced = self.next;
    }

    fn persist(&mut self, sync: bool) -> io::Result<()> {
        if !self.must_move {
            match self.write_to_current(sync) {
                Ok(()) => return Ok(()),
                Err(_) => self.must_move = true,
            }
        }
        self.move_to_new_segment()
    }

    fn new_bytes(&self) -> u64 {
        let new = self.unsynced[self.published..].iter();
        new.map(|record| record.draft.record_len()).sum()
    }

    fn write_to_current(&mut self, sync: bool) -> io::Result<()> {
        let needed = self.new_bytes();
        let is_full = self
            .current
            .as_ref()
            .is_none_or(|current| current.offset + needed > current.capacity);
        if is_full {
            self.rotate(needed)?;
        }
        let first = self.published;
        let Some(current) = &mut self.current else {
            return Err(io::ErrorKind::NotFound.into());
        };
        write_records(current, &mut self.unsynced[first..])?;
        if sync { self.sync_current() } else { Ok(()) }
    }

    fn sync_current(&mut self) -> io::Result<()> {
        self.tally.syncs += 1;
        let Some(current) = &mut self.current else {
            return Err(io::ErrorKind::NotFound.into());
        };
        retry(|| current.file.sync_data())?;
        current.synced = current.offset;
        Ok(())
    }

    /// Goes on in a new segment; the one before is synced and trusted.
    fn rotate(&mut self, needed: u64) -> io::Result<()> {
        if self.published > 0 {
            self.sync_current()?;
            self.unsynced.drain(..self.published);
            self.published = 0;
        }
        let first = self.unsynced.first().map_or(self.next, |record| record.before);
        let fresh = self.create_segment(first, needed)?;
        if let Some(old) = self.current.replace(fresh) {
            self.seal(old);
        }
        Ok(())
    }

    /// Writes everything that is not known to be on the disk to a new segment, and syncs it.
    fn move_to_new_segment(&mut self) -> io::Result<()> {
        let needed = self.unsynced.iter().map(|record| record.draft.record_len()).sum();
        let first = self.unsynced.first().map_or(self.next, |record| record.before);
        let mut fresh = self.create_segment(first, needed)?;
        self.tally.syncs += 1;
        let written = write_records(&mut fresh, &mut self.unsynced).and_then(|()| retry(|| fresh.file.sync_data()));
        if let Err(error) = written {
            self.forget(fresh.number);
            return Err(error);
        }
        fresh.synced = fresh.offset;
        if let Some(old) = self.current.replace(fresh) {
            self.tally.rewrites += 1;
            self.seal(old);
        }
        self.must_move = false;
        // All of them are in the new segment; what could be read before can be read there.
        if self.published > 0 {
            let offset = self.unsynced[self.published - 1].offset;
            let len = self.unsynced[self.published - 1].draft.record_len();
            if let Some(current) = &self.current {
                self.segments
                    .change(current.number, |segment| segment.readable = offset + len);
            }
        }
        Ok(())
    }

    /// What was not synced is not in it.
    fn seal(&mut self, mut old: Current) {
        let _best_effort = old.file.set_length(old.synced);
        self.segments.change(old.number, |segment| {
            segment.readable = old.synced;
            segment.sealed = true;
            segment.disk_bytes = old.synced;
        });
    }

    fn create_segment(&mut self, first: Totals, needed: u64) -> io::Result<Current> {
        let (number, nonce) = (self.next_number, self.fs.unique());
        let name = segment_name(number, nonce);
        let path = self.segments.dir.join(&name);
        // A number is not used again even where this fails: a file that cannot be removed may be left.
        self.next_number += 1;
        let mut file = retry(|| self.fs.create(&path))?;
        let prepared = self.prepare(file.as_mut(), HEAD_LEN + needed).and_then(|capacity| {
            write_all_at(file.as_mut(), 0, &record::encode_head(nonce, first))?;
            retry(|| file.sync())?;
            retry(|| self.fs.sync_dir(&self.segments.dir))?;
            Ok(capacity)
        });
        let capacity = match prepared {
            Ok(capacity) => capacity,
            Err(error) => {
                let _best_effort = self.fs.remove(&path);
                return Err(error);
            }
        };
        self.segments.lock().push_back(Segment {
            number,
            nonce,
            name,
            first: Some(first),
            readable: HEAD_LEN,
            sealed: false,
            end: Some(first),
            damaged: false,
            disk_bytes: capacity,
        });
        Ok(Current {
            file,
            number,
            nonce,
            offset: HEAD_LEN,
            synced: HEAD_LEN,
            capacity,
        })
    }

    /// Takes the room on the disk; less where there is not enough for a whole segment.
    fn prepare(&self, file: &mut dyn FsFile, needed: u64) -> io::Result<u64> {
        let mut capacity = self.segment_bytes.max(needed);
        loop {
            match retry(|| file.allocate(capacity)) {
                Ok(()) => return Ok(capacity),
                Err(error) if is_out_of_space(&error) && capacity / 2 >= needed.max(SMALLEST_SEGMENT) => capacity /= 2,
                Err(error) if is_out_of_space(&error) => return Err(error),
                // A file system that cannot do that: the file grows as it is written.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(capacity),
                Err(error) => return Err(error),
            }
        }
    }

    fn forget(&mut self, number: u64) {
        let mut list = self.segments.lock();
        if let Some(index) = list.iter().position(|segment| segment.number == number)
            && let Some(segment) = list.remove(index)
        {
            let _best_effort = self.fs.remove(&self.segments.dir.join(&segment.name));
        }
    }

    /// Notes what is done with; on the disk after the next [`Writer::mark`].
    pub fn settle(&mut self, ranges: &[Range]) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        for range in ranges {
            settled.insert(*range);
            match self.unmarked.last_mut() {
                Some(last) if last.to.records == range.from.records => last.to = range.to,
                _ => self.unmarked.push(*range),
            }
        }
    }

    /// Writes down what a start has found torn: nobody may tell it as lost when other segments stand behind it.
    pub(super) fn note_torn(&mut self, torn: &[Range]) {
        if self.snapshot().is_err() {
            self.unmarked.extend_from_slice(torn);
        }
    }

    /// Writes down what is settled and how far the log has come. Does not sync.
    pub fn mark(&mut self) -> io::Result<()> {
        if !self.cursor.is_full() && self.cursor.mark(&self.unmarked, self.synced).is_ok() {
            self.unmarked.clear();
            return Ok(());
        }
        self.snapshot()
    }

    /// A whole new cursor file.
    pub fn snapshot(&mut self) -> io::Result<()> {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let end = if self.synced.records < settled.base().records {
            settled.base()
        } else {
            self.synced
        };
        self.cursor.snapshot(&settled, end)?;
        self.unmarked.clear();
        self.cursor.keep_reserve();
        Ok(())
    }

    /// Makes the marks safe from a power cut.
    pub fn sync_marks(&mut self) -> io::Result<()> {
        if self.cursor.is_dirty() {
            self.cursor.sync()?;
        }
        Ok(())
    }

    /// Whether there is a segment of which everything is settled.
    pub fn has_passed(&self) -> bool {
        let base = self.settled.lock().unwrap_or_else(PoisonError::into_inner).base();
        let first = self.segments.lock().front().cloned();
        first.is_some_and(|segment| segment.sealed && segment.end.is_some_and(|end| end.records <= base.records))
    }

    /// Writes down which requests were taken lately: `ids` are those of all records before `covered`. Before a segment
    /// that tells of them is removed.
    ///
    /// # Errors
    /// They could not be written; if their senders bring those requests again they will be taken twice.
    pub fn save_ids(&mut self, covered: u64, ids: &[Taken]) -> io::Result<()> {
        // A file of earlier ones tells of nothing that is still asked for: it may stay as it is.
        if ids.is_empty() {
            return Ok(());
        }
        ids::save(self.fs.as_ref(), &self.segments.dir, covered, ids)
    }

    /// Removes the segments of which everything is settled. How many went.
    ///
    /// # Errors
    /// Neither a new cursor nor a mark could be made safe: the segments stay.
    pub fn remove_passed(&mut self) -> io::Result<usize> {
        let base = self.settled.lock().unwrap_or_else(PoisonError::into_inner).base();
        let is_passed =
            |segment: &Segment| segment.sealed && segment.end.is_some_and(|end| end.records <= base.records);
        if !self.segments.lock().front().is_some_and(is_passed) {
            return Ok(0);
        }
        // First the cursor, so that it never stands before the first segment. A full disk has no room for a new one;
        // a mark in the one that is there says the same.
        if let Err(error) = self.snapshot() {
            self.cursor.mark(&self.unmarked, self.synced).map_err(|_| error)?;
            self.unmarked.clear();
            self.cursor.sync()?;
        }
        let mut removed = 0;
        loop {
            let first = self
                .segments
                .lock()
                .front()
                .filter(|segment| is_passed(segment))
                .cloned();
            let Some(segment) = first else { break };
            let dir = &self.segments.dir;
            if segment.damaged {
                quarantine(self.fs.as_ref(), dir, &segment.name)
                    .or_else(|_| self.fs.remove(&dir.join(&segment.name)))?;
            } else {
                match retry(|| self.fs.remove(&dir.join(&segment.name))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            self.segments.lock().pop_front();
            removed += 1;
        }
        Ok(removed)
    }

    /// Everything on the disk that there is to say; for an orderly end. The current segment gives back the room it did
    /// not need.
    pub fn close(&mut self) -> io::Result<()> {
        self.sync()?;
        if let Some(current) = self.current.take() {
            self.seal(current);
        }
        self.must_move = true;
        self.snapshot()?;
        self.remove_passed().map(drop)
    }
}

fn write_records(current: &mut Current, records: &mut [Unsynced]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(records.iter().map(|record| record.draft.record_len() as usize).sum());
    for record in records.iter_mut() {
        record.offset = current.offset + bytes.len() as u64;
        record.draft.put(current.nonce, record.before, record.index, &mut bytes);
    }
    write_all_at(current.file.as_mut(), current.offset, &bytes)?;
    current.offset += bytes.len() as u64;
    Ok(())
}
