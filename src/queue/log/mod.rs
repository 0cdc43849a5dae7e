//! A log on the disk: what a durable queue keeps its records in.
//!
//! One directory for each exporter and signal. Records go to the end in groups, are read in order, and are settled in
//! any order; a segment is removed when everything in it is settled. Nothing of the backlog is held in memory. Opening
//! always succeeds on a directory that can be read and written, whatever is in it; what was damaged is stepped over and
//! told as lost. Knows nothing of exporters, books or time. All calls block.

mod cursor;
mod files;
mod ids;
mod inspect;
mod reader;
pub mod record;
mod segments;
mod settled;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub use ids::Taken;
pub use inspect::{Report, find_logs, look, repair};
pub use reader::{Read, Reader};
pub use record::{Draft, Header, Range, Totals};
pub use writer::{LARGEST_GROUP, Place, Tally, Writer};

use self::cursor::Saved;
use self::files::{LOCK, PROBE, parse_segment_name, quarantine, retry};
use self::record::{HEAD_LEN, Head};
use self::segments::{Segment, Segments};
use self::settled::Settled;
use super::fs::Fs;
use super::repeats::KEPT;

/// Size of a segment unless it is configured smaller.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Numbers of segments end here: a file that claims a higher one is none of ours, and leaves none for the next.
const LAST_NUMBER: u64 = 1 << 62;
/// More records than a segment holds.
const UNKNOWN: u64 = 1 << 32;

/// A log that was opened.
pub struct Opened {
    pub writer: Writer,
    pub reader: Reader,
    /// What waits in it, what will turn out to be lost included.
    pub waiting: Totals,
    /// Files that could not be used and were put aside.
    pub put_aside: Vec<String>,
    /// Requests that came with an id and were taken lately, oldest first.
    pub ids: Vec<Taken>,
}

/// Why a log is not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the queue in {0} is in use by another process")]
    InUse(String),
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

/// Opens the log of a directory, making it where it is not there. Takes its lock. With `step_over` places that cannot
/// be read count as damaged: for those that were asked long enough on a disk that works ([`disk_works`]).
///
/// # Errors
/// Where somebody else has the log, or the directory or a file cannot be read now.
pub fn open(fs: Arc<dyn Fs>, dir: &Path, segment_bytes: u64, step_over: bool) -> Result<Opened, OpenError> {
    let failed = |error| OpenError::Io(dir.display().to_string(), error);
    fs.create_dir(dir).map_err(failed)?;
    let Some(lock) = retry(|| fs.lock(&dir.join(LOCK))).map_err(failed)? else {
        return Err(OpenError::InUse(dir.display().to_string()));
    };
    recover(fs, dir, (segment_bytes, step_over), lock).map_err(failed)
}

/// Whether files can be written and read in a directory. Where they cannot it is the disk that fails, and nothing in it
/// may count as damaged. A full disk works.
pub fn disk_works(fs: &dyn Fs, dir: &Path) -> bool {
    let path = dir.join(PROBE);
    let written = [0x5a; 512];
    let tried = (|| {
        match fs.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs.create(&path)?;
        files::write_all_at(file.as_mut(), 0, &written)?;
        file.sync()?;
        let mut read = [0; 512];
        fs.open(&path)?.read_at(0, &mut read)?;
        fs.remove(&path)?;
        Ok(read == written)
    })();
    match tried {
        Ok(same) => same,
        Err(error) => files::is_out_of_space(&error),
    }
}

fn recover(
    fs: Arc<dyn Fs>,
    dir: &Path,
    (segment_bytes, step_over): (u64, bool),
    lock: Box<dyn super::fs::FsLock>,
) -> io::Result<Opened> {
    let mut put_aside = Vec::new();
    let (mut list, unreadable) = find_segments(fs.as_ref(), dir, &mut put_aside, step_over)?;
    let last_number = list.back().map_or(0, |segment| segment.number);
    let next_number = last_number.max(unreadable.unwrap_or(0).min(LAST_NUMBER)) + 1;
    let saved = match cursor::load(fs.as_ref(), dir) {
        Err(_) if step_over => None,
        saved => saved?,
    };
    let promised = saved.as_ref().map_or(0, |saved| saved.end.records);
    let (found_end, torn) = find_end(fs.as_ref(), dir, &mut list, promised, step_over)?;
    let mut saved = match saved {
        Some(saved) => saved,
        None => Saved {
            settled: Settled::from(
                find_base(fs.as_ref(), dir, &list, step_over)?
                    .or(found_end)
                    .unwrap_or_default(),
            ),
            end: Totals::default(),
        },
    };
    let mut end = saved.end;
    if let Some(found) = found_end.filter(|found| found.records > end.records) {
        end = found;
    }
    // Numbers that were never used for anything that was acknowledged.
    for range in &torn {
        saved.settled.insert(*range);
    }
    let last_settled = saved
        .settled
        .ranges()
        .last()
        .map_or(saved.settled.base(), |range| range.to);
    if last_settled.records >= end.records {
        end = last_settled;
    }
    if unreadable.is_some() {
        // Nobody knows which numbers are in a segment that was left out. One used twice would hide a record.
        let behind = Totals {
            records: end.records.saturating_add(UNKNOWN),
            ..end
        };
        saved.settled.insert(Range { from: end, to: behind });
        end = behind;
    }
    let waiting = saved.settled.open_until(end);
    let ids = ids::load(fs.as_ref(), dir, list.make_contiguous(), KEPT.as_nanos() as u64);
    let segments = Arc::new(Segments::new(dir.to_owned(), list));
    let settled = Arc::new(Mutex::new(saved.settled));
    let reader = Reader::new(
        Arc::clone(&fs),
        Arc::clone(&segments),
        Arc::clone(&settled),
        (last_number, end),
    );
    let mut writer = Writer::new(writer::Start {
        fs,
        segments,
        settled,
        segment_bytes,
        next_number,
        end,
        lock,
    });
    if !torn.is_empty() {
        writer.note_torn(&torn);
    }
    Ok(Opened {
        writer,
        reader,
        waiting,
        put_aside,
        ids,
    })
}

/// The segments of a directory, and the highest number of those that cannot be read. Files that are not ours stay where
/// they are, segments of a later version are put aside.
fn find_segments(
    fs: &dyn Fs,
    dir: &Path,
    put_aside: &mut Vec<String>,
    step_over: bool,
) -> io::Result<(VecDeque<Segment>, Option<u64>)> {
    let mut list: VecDeque<Segment> = VecDeque::new();
    let mut unreadable = None;
    for name in retry(|| fs.list(dir))? {
        let Some((number, nonce)) = parse_segment_name(&name) else {
            continue;
        };
        let path = dir.join(&name);
        let read = retry(|| fs.open(&path)).and_then(|mut file| {
            let readable = retry(|| file.length())?;
            let mut head = vec![0; HEAD_LEN.min(readable) as usize];
            retry(|| file.read_at(0, &mut head))?;
            Ok((readable, head))
        });
        let (readable, head) = match read {
            Ok(read) => read,
            // A directory of that name, a file that we may not read, a place on the disk that is gone for good.
            Err(error) if step_over || is_for_good(&error) => {
                unreadable = unreadable.max(Some(number));
                put_aside.push(name);
                continue;
            }
            Err(error) => return Err(error),
        };
        let said: Head = record::decode_head(nonce, &head);
        let is_second = list.back().is_some_and(|before| before.number == number);
        if matches!(said, Head::Future(_)) || is_second || number > LAST_NUMBER {
            // Where it cannot be moved it stays, and is left out all the same.
            let _best_effort = quarantine(fs, dir, &name);
            put_aside.push(name);
            continue;
        }
        list.push_back(Segment {
            number,
            nonce,
            name,
            first: match said {
                Head::Whole(first) => Some(first),
                Head::Future(_) | Head::Damaged => None,
            },
            readable,
            sealed: true,
            end: None,
            // A file that was only just made has no head; it goes to the quarantine only if there is something in it.
            damaged: said == Head::Damaged && head.iter().any(|byte| *byte != 0),
            disk_bytes: readable,
        });
    }
    Ok((list, unreadable))
}

/// Trying again will not help.
fn is_for_good(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotFound, PermissionDenied, UnexpectedEof};
    matches!(
        error.kind(),
        IsADirectory | NotFound | PermissionDenied | InvalidInput | UnexpectedEof
    )
}

/// Where the log ends by its segments, and what is missing of a last group that nobody was promised. What the last
/// segments have beyond the end is given back to the disk, unless they should hold more.
fn find_end(
    fs: &dyn Fs,
    dir: &Path,
    list: &mut VecDeque<Segment>,
    promised: u64,
    step_over: bool,
) -> io::Result<(Option<Totals>, Vec<Range>)> {
    let mut end = None;
    let mut torn = Vec::new();
    let mut seen = Vec::new();
    for segment in list.iter_mut().rev() {
        let path = dir.join(&segment.name);
        let found = reader::find_ending(fs, &path, segment.nonce, segment.first, segment.readable, step_over)?;
        if let Some(ending) = found {
            torn = ending.torn;
            torn.retain(|range| range.from.records >= promised);
            segment.damaged |= ending.damaged && torn.is_empty();
            seen.push((segment, ending.offset));
            end = Some(ending.end);
            break;
        }
        let offset = HEAD_LEN.min(segment.readable);
        seen.push((segment, offset));
    }
    let is_short = end.map_or(0, |end: Totals| end.records) < promised;
    let last_seen = seen.last().map(|(segment, _)| segment.number);
    for (segment, offset) in seen {
        // What was torn by a crash was promised to nobody; what was promised and is not there is damage.
        segment.damaged |= is_short && offset < segment.readable;
        if segment.damaged || offset >= segment.readable {
            continue;
        }
        let path = dir.join(&segment.name);
        let cut = retry(|| fs.open_to_write(&path)).and_then(|mut file| file.set_length(offset));
        if cut.is_ok() {
            segment.disk_bytes = offset;
        }
        segment.readable = offset;
    }
    // A copy of an older segment behind the others, or one whose head is gone, says nothing about where the log ends. A
    // number that is used twice would hide a record, so then all of them are asked.
    if last_seen.is_some_and(|last| !is_last(list, last)) {
        torn.clear();
        for segment in list.iter() {
            let path = dir.join(&segment.name);
            let found = reader::find_ending(fs, &path, segment.nonce, segment.first, segment.readable, step_over)?;
            let found = found.map(|ending| ending.end);
            if found.map(|found| found.records) > end.map(|end| end.records) {
                end = found;
            }
        }
    }
    Ok((end, torn))
}

/// Whether the heads of all segments say that what is in segment `last` comes behind what is in those before it.
fn is_last(list: &VecDeque<Segment>, last: u64) -> bool {
    let first_of = |segment: &Segment| segment.first.map(|first| first.records);
    let Some(first) = list.iter().find(|segment| segment.number == last).and_then(first_of) else {
        return false;
    };
    let mut before = list.iter().filter(|segment| segment.number < last);
    before.all(|segment| first_of(segment).is_some_and(|number| number <= first))
}

/// Without a cursor everything that is there is to be sent.
fn find_base(fs: &dyn Fs, dir: &Path, list: &VecDeque<Segment>, step_over: bool) -> io::Result<Option<Totals>> {
    for segment in list {
        let first = reader::first_record(fs, &dir.join(&segment.name), segment.nonce, segment.readable, step_over)?;
        if let Some(header) = first {
            return Ok(Some(header.before));
        }
    }
    Ok(None)
}
