//! Reads a log record by record. Memory is one record, whatever the backlog.
//!
//! What is damaged is stepped over to the next whole header. Since each record says how much lies before it, what is
//! missing between two records is known exactly; it is told as lost, once, unless it was settled already.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::files::retry;
use super::record::{HEAD_LEN, HEADER_LEN, Header, Range, Totals};
use super::segments::{Segments, find_header, header_at};
use super::settled::Settled;
use super::writer::Place;
use crate::pdata::Batch;
use crate::queue::fs::{Fs, FsFile};

/// What came next.
#[derive(Debug)]
pub enum Read {
    /// A record that is not settled.
    Record(Header, Batch),
    /// Records that are gone for good; a range of no bytes was never there.
    Lost(Vec<Range>),
    /// Everything that was written has been read.
    Nothing,
}

struct Open {
    number: u64,
    offset: u64,
    nonce: u64,
    file: Option<Box<dyn FsFile>>,
}

impl Open {
    /// Whatever comes behind a segment.
    fn behind(number: u64) -> Self {
        Self {
            number: number.saturating_add(1),
            offset: HEAD_LEN,
            nonce: 0,
            file: None,
        }
    }
}

/// See the module text.
pub struct Reader {
    fs: Arc<dyn Fs>,
    segments: Arc<Segments>,
    settled: Arc<Mutex<Settled>>,
    at: Option<Open>,
    /// Where the next record should stand.
    expected: Totals,
    /// Where the log ended when it was opened, until that has been reached.
    found_end: Option<(u64, Totals)>,
    /// What cannot be read in this call counts as damaged.
    step_over: bool,
}

impl Reader {
    /// From `base` on. What an earlier run left ends with segment `last` at `end`.
    pub(super) fn new(
        fs: Arc<dyn Fs>,
        segments: Arc<Segments>,
        settled: Arc<Mutex<Settled>>,
        found_end: (u64, Totals),
    ) -> Self {
        let expected = settled.lock().unwrap_or_else(PoisonError::into_inner).base();
        Self {
            fs,
            segments,
            settled,
            at: None,
            expected,
            found_end: Some(found_end),
            step_over: false,
        }
    }

    /// The number of the record that should come next.
    pub fn expects(&self) -> u64 {
        self.expected.records
    }

    /// Steps over the next record, which somebody has in memory. `false` where it is not the next.
    pub fn skip(&mut self, place: Place) -> bool {
        if place.range.from != self.expected || self.found_end.is_some() {
            return false;
        }
        let end = place.offset + place.range.size().bytes;
        match &mut self.at {
            Some(open) if open.number == place.segment && open.offset == place.offset => open.offset = end,
            // The first record of a segment is read from the file: that opens it.
            _ => return false,
        }
        self.expected = place.range.to;
        true
    }

    /// The next record that is not settled, or what is missing before it. Blocks.
    ///
    /// # Errors
    /// The file cannot be read now; the next call tries again.
    pub fn read_next(&mut self) -> io::Result<Read> {
        let read = self.next_or_fail();
        if read.is_err()
            && let Some(open) = &mut self.at
        {
            open.file = None;
        }
        read
    }

    /// The same, but a place that cannot be read counts as damaged: for one that was tried long enough on a disk that
    /// works (see [`super::disk_works`]).
    ///
    /// # Errors
    /// Not even what lies around it can be read.
    pub fn read_past(&mut self) -> io::Result<Read> {
        self.step_over = true;
        let read = self.read_next();
        self.step_over = false;
        read
    }

    fn next_or_fail(&mut self) -> io::Result<Read> {
        loop {
            let Some((readable, sealed)) = self.open_segment()? else {
                return Ok(self.reach_found_end(u64::MAX));
            };
            let step_over = self.step_over;
            let Some(open) = &mut self.at else {
                return Ok(Read::Nothing);
            };
            let Some(file) = &mut open.file else {
                return Ok(Read::Nothing);
            };
            let at_offset = match header_at(file.as_mut(), open.nonce, open.offset, readable) {
                Err(_) if step_over => None,
                read => read?.map(|header| (open.offset, header)),
            };
            let found = match at_offset {
                Some(found) => Some(found),
                None => find_header(file.as_mut(), open.nonce, open.offset, readable, step_over)?,
            };
            let found = found.filter(|(_, header)| self.segments.counts(open.number, header.before));
            let Some((offset, header)) = found else {
                open.offset = open.offset.max(readable);
                if !sealed {
                    return Ok(self.reach_found_end(u64::MAX));
                }
                let number = open.number;
                let lost = self.leave_segment(number);
                if !matches!(lost, Read::Nothing) {
                    return Ok(lost);
                }
                continue;
            };
            let is_damage = offset != open.offset;
            let number = open.number;
            if is_damage {
                open.offset = offset;
                self.segments.change(number, |segment| segment.damaged = true);
            }
            if header.before.records > self.expected.records {
                let gap = Range {
                    from: self.expected,
                    to: header.before,
                };
                self.expected = header.before;
                let lost = self.note_lost(gap);
                if !lost.is_empty() {
                    // Numbers without bytes were given to records that were refused in the end.
                    let is_damage = lost.iter().any(|range| range.size().bytes > 0);
                    self.segments.change(number, |segment| segment.damaged |= is_damage);
                    return Ok(Read::Lost(lost));
                }
            }
            let read = self.read_record(header)?;
            if let Some(read) = read {
                return Ok(read);
            }
        }
    }

    /// The record behind `header`, at the current offset. `None` where it is not wanted.
    fn read_record(&mut self, header: Header) -> io::Result<Option<Read>> {
        let step_over = self.step_over;
        let Some(open) = &mut self.at else { return Ok(None) };
        let range = header.range();
        let is_old = header.before.records < self.expected.records;
        let is_settled = || {
            let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            settled.contains(header.before.records)
        };
        if is_old || is_settled() {
            open.offset += header.record_len();
            if !is_old {
                self.expected = range.to;
            }
            return Ok(None);
        }
        let Some(file) = &mut open.file else { return Ok(None) };
        let mut body = vec![
            0;
            usize::try_from(header.record_len())
                .unwrap_or(0)
                .saturating_sub(HEADER_LEN)
        ];
        let read = retry(|| file.read_at(open.offset + HEADER_LEN as u64, &mut body));
        if let Err(error) = read
            && error.kind() != io::ErrorKind::UnexpectedEof
            && !step_over
        {
            return Err(error);
        }
        open.offset += header.record_len();
        self.expected = range.to;
        match header.decode_body(Bytes::from(body)) {
            Some(batch) => Ok(Some(Read::Record(header, batch))),
            None => {
                let number = open.number;
                self.segments.change(number, |segment| segment.damaged = true);
                Ok(Some(Read::Lost(self.note_lost(range))))
            }
        }
    }

    /// What of a gap was not settled is lost, and settled by that.
    fn note_lost(&self, gap: Range) -> Vec<Range> {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.missing_in(gap)
    }

    /// Opens the segment to read from: how far it may be read, and whether it will not grow.
    fn open_segment(&mut self) -> io::Result<Option<(u64, bool)>> {
        loop {
            let number = self.at.as_ref().map_or(0, |open| open.number);
            let Some(segment) = self.segments.at_or_behind(number) else {
                return Ok(None);
            };
            let is_open = |open: &Open| open.number == segment.number && open.nonce == segment.nonce;
            if !self.at.as_ref().is_some_and(is_open) {
                self.at = Some(Open {
                    number: segment.number,
                    offset: HEAD_LEN,
                    nonce: segment.nonce,
                    file: None,
                });
            }
            let Some(open) = &mut self.at else { return Ok(None) };
            if open.file.is_none() {
                let path = self.segments.dir.join(&segment.name);
                match retry(|| self.fs.open(&path)) {
                    Ok(file) => open.file = Some(file),
                    // Gone under our hands: what was in it shows as a gap.
                    Err(error) if error.kind() == io::ErrorKind::NotFound || self.step_over => {
                        let end = self.expected;
                        self.segments.change(segment.number, |segment| {
                            segment.sealed = true;
                            segment.readable = 0;
                            segment.end = Some(segment.end.unwrap_or(end));
                        });
                        self.at = Some(Open::behind(segment.number));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            return Ok(Some((segment.readable, segment.sealed)));
        }
    }

    /// The segment has been read to its end and will not grow.
    fn leave_segment(&mut self, number: u64) -> Read {
        let lost = self.reach_found_end(number);
        let end = self.expected;
        self.segments.change(number, |segment| {
            let known = segment
                .end
                .map_or(end, |known| if known.records > end.records { known } else { end });
            segment.end = Some(known);
        });
        self.at = Some(Open::behind(number));
        lost
    }

    /// Behind the last segment that an earlier run left: what the cursor promised beyond it is lost.
    fn reach_found_end(&mut self, number: u64) -> Read {
        let Some((last, end)) = self.found_end else {
            return Read::Nothing;
        };
        if number < last {
            return Read::Nothing;
        }
        self.found_end = None;
        if end.records <= self.expected.records {
            return Read::Nothing;
        }
        let gap = Range {
            from: self.expected,
            to: end,
        };
        self.expected = end;
        match self.note_lost(gap) {
            lost if lost.is_empty() => Read::Nothing,
            lost => Read::Lost(lost),
        }
    }
}

/// How a segment ends.
pub(super) struct Ending {
    /// Behind the last record.
    pub offset: u64,
    pub end: Totals,
    /// Something before the end is not as it was written.
    pub damaged: bool,
    /// What is missing of the last group. It was never whole unless the cursor says so.
    pub torn: Vec<Range>,
}

/// Walks all headers of a file whose log was at `first` when it began; reads the records of the last group whole.
pub(super) fn find_ending(
    fs: &dyn Fs,
    path: &Path,
    nonce: u64,
    first: Option<Totals>,
    readable: u64,
    step_over: bool,
) -> io::Result<Option<Ending>> {
    let mut file = retry(|| fs.open(path))?;
    let mut ending: Option<Ending> = None;
    let mut offset = HEAD_LEN;
    let mut expected = first;
    let mut group: Vec<(u64, Header)> = Vec::new();
    loop {
        let header = match header_at(file.as_mut(), nonce, offset, readable) {
            Err(_) if step_over => None,
            read => read?,
        };
        let found = match header {
            Some(header) => Some((offset, header)),
            None => find_header(file.as_mut(), nonce, offset, readable, step_over)?,
        };
        let Some((place, header)) = found else { break };
        let range = header.range();
        let before = ending.take();
        let mut torn = before.as_ref().map_or_else(Vec::new, |before| before.torn.clone());
        if group.first().is_none_or(|(_, first)| first.group() != header.group()) {
            group.clear();
            torn.clear();
        }
        let expects = expected.unwrap_or(header.before);
        let is_gap = header.before.records > expects.records;
        if is_gap && expects.records >= header.group() {
            torn.push(Range {
                from: expects,
                to: header.before,
            });
        }
        group.push((place, header));
        expected = Some(if range.to.records > expects.records {
            range.to
        } else {
            expects
        });
        let damaged = before.is_some_and(|before| before.damaged) || place != offset;
        offset = place + header.record_len();
        ending = Some(Ending {
            offset,
            end: expected.unwrap_or(range.to),
            damaged,
            torn,
        });
    }
    if let Some(ending) = &mut ending {
        for (place, header) in group {
            let mut body = vec![
                0;
                usize::try_from(header.record_len())
                    .unwrap_or(0)
                    .saturating_sub(HEADER_LEN)
            ];
            let read = retry(|| file.read_at(place + HEADER_LEN as u64, &mut body));
            if let Err(error) = read
                && !step_over
            {
                return Err(error);
            }
            if header.decode_body(Bytes::from(body)).is_none() {
                ending.torn.push(header.range());
            }
        }
    }
    Ok(ending)
}

/// The first whole header of a file.
pub(super) fn first_record(
    fs: &dyn Fs,
    path: &Path,
    nonce: u64,
    readable: u64,
    step_over: bool,
) -> io::Result<Option<Header>> {
    let mut file = retry(|| fs.open(path))?;
    Ok(find_header(file.as_mut(), nonce, HEAD_LEN.min(readable), readable, step_over)?.map(|(_, header)| header))
}
