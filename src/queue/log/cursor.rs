//! The file that says what is settled, and how far the log had come when it was last synced.
//!
//! A snapshot (written new, synced, renamed, directory synced) and behind it room for marks, which are written into the
//! same file between snapshots: nothing of that needs free space. Every part has a checksum; a cursor that is lost or
//! damaged costs duplicates, never data.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{is_out_of_space, retry, write_all_at};
use super::record::{Range, Totals, u32_at};
use super::settled::Settled;
use crate::queue::fs::{Fs, FsFile};

const MAGIC: &[u8; 8] = b"RADIOCUR";
const VERSION: u32 = 1;
/// Magic, version, number of ranges, base, end.
const FIXED: usize = 8 + 4 + 4 + 24 + 24;
const RANGE_LEN: usize = 48;
const MARK_LEN: usize = 56;
/// Marks of one snapshot.
const MARKS: usize = 1024;
const SETTLED: u32 = 1;
const END: u32 = 2;
/// A cursor larger than this is none of ours: a million ranges would be in flight.
const LARGEST: u64 = 64 << 20;
const NAME: &str = "cursor";
const UNFINISHED: &str = "cursor.new";
const RESERVE: &str = "reserve";
/// Given up when the disk is full and the cursor has to be written.
const RESERVE_BYTES: u64 = 256 << 10;

/// What a cursor file said.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    pub settled: Settled,
    /// Everything before it was written and synced.
    pub end: Totals,
}

/// See the module text.
pub struct Cursor {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    file: Option<Box<dyn FsFile>>,
    marks_at: u64,
    marks: usize,
    /// Marks that are not synced.
    dirty: bool,
}

/// Reads the cursor of a directory; `None` where there is none that can be trusted.
///
/// # Errors
/// It cannot be read now. To go on without it would be to forget what it says.
pub fn load(fs: &dyn Fs, dir: &Path) -> io::Result<Option<Saved>> {
    let mut file = match retry(|| fs.open(&dir.join(NAME))) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = retry(|| file.length())?;
    if len > LARGEST {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    retry(|| file.read_at(0, &mut bytes))?;
    Ok(decode(&bytes))
}

/// A snapshot and its marks.
pub fn decode(bytes: &[u8]) -> Option<Saved> {
    if !bytes.starts_with(MAGIC) || u32_at(bytes, 8)? != VERSION {
        return None;
    }
    let ranges = u32_at(bytes, 12)? as usize;
    let marks_at = FIXED.checked_add(ranges.checked_mul(RANGE_LEN)?)?.checked_add(4)?;
    let snapshot = bytes.get(..marks_at - 4)?;
    if u32_at(bytes, marks_at - 4)? != crc32c::crc32c(snapshot) {
        return None;
    }
    let mut settled = Settled::from(Totals::get(bytes, 16)?);
    let mut end = Totals::get(bytes, 40)?;
    for place in snapshot[FIXED..].chunks_exact(RANGE_LEN) {
        settled.insert(range_of(place, 0)?);
    }
    for mark in bytes[marks_at..].chunks_exact(MARK_LEN) {
        // Marks do not depend on each other: a damaged one costs duplicates only.
        if u32_at(mark, MARK_LEN - 4) != Some(crc32c::crc32c(&mark[..MARK_LEN - 4])) {
            continue;
        }
        let range = range_of(mark, 4)?;
        match u32_at(mark, 0) {
            Some(SETTLED) => settled.insert(range),
            Some(END) if range.to.records > end.records => end = range.to,
            _ => {}
        }
    }
    if end.records < settled.base().records {
        end = settled.base();
    }
    Some(Saved { settled, end })
}

fn range_of(bytes: &[u8], at: usize) -> Option<Range> {
    let range = Range {
        from: Totals::get(bytes, at)?,
        to: Totals::get(bytes, at + 24)?,
    };
    // Checked, for what a checksum let through must not end in nonsense.
    (range.from.records <= range.to.records).then_some(range)
}

fn encode(settled: &Settled, end: Totals) -> Vec<u8> {
    let ranges: Vec<&Range> = settled.ranges().collect();
    let mut bytes = Vec::with_capacity(FIXED + ranges.len() * RANGE_LEN + 4 + MARKS * MARK_LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(ranges.len() as u32).to_le_bytes());
    settled.base().put(&mut bytes);
    end.put(&mut bytes);
    for range in ranges {
        range.from.put(&mut bytes);
        range.to.put(&mut bytes);
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

impl Cursor {
    /// Nothing is written before the first mark.
    pub fn new(fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        Self {
            fs,
            dir,
            file: None,
            marks_at: 0,
            marks: 0,
            dirty: false,
        }
    }

    /// The next mark needs a snapshot first.
    pub fn is_full(&self) -> bool {
        self.file.is_none() || self.marks >= MARKS
    }

    /// Marks are written that a power cut would take.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Notes that ranges are settled, and where the log ends now. Not synced.
    pub fn mark(&mut self, settled: &[Range], end: Totals) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut bytes = Vec::new();
        let mut put = |kind: u32, range: Range| {
            let start = bytes.len();
            bytes.extend_from_slice(&kind.to_le_bytes());
            range.from.put(&mut bytes);
            range.to.put(&mut bytes);
            let checksum = crc32c::crc32c(&bytes[start..]);
            bytes.extend_from_slice(&checksum.to_le_bytes());
        };
        for range in settled {
            put(SETTLED, *range);
        }
        put(END, Range { from: end, to: end });
        let marks = bytes.len() / MARK_LEN;
        if self.marks + marks > MARKS {
            return Err(io::ErrorKind::StorageFull.into());
        }
        write_all_at(file.as_mut(), self.marks_at + (self.marks * MARK_LEN) as u64, &bytes)?;
        self.marks += marks;
        self.dirty = true;
        Ok(())
    }

    /// Returns when the marks are on the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        if let (Some(file), true) = (&mut self.file, self.dirty) {
            retry(|| file.sync_data())?;
            self.dirty = false;
        }
        Ok(())
    }

    /// A new snapshot in place of the file. On a full disk the reserve is given up for it.
    pub fn snapshot(&mut self, settled: &Settled, end: Totals) -> io::Result<()> {
        let written = match self.write(settled, end) {
            Err(error) if is_out_of_space(&error) && self.fs.remove(&self.dir.join(RESERVE)).is_ok() => {
                self.write(settled, end)
            }
            written => written,
        };
        match written {
            Ok((file, marks_at)) => {
                self.file = Some(file);
                self.marks_at = marks_at;
                self.marks = 0;
                self.dirty = false;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, settled: &Settled, end: Totals) -> io::Result<(Box<dyn FsFile>, u64)> {
        let unfinished = self.dir.join(UNFINISHED);
        match retry(|| self.fs.remove(&unfinished)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = retry(|| self.fs.create(&unfinished))?;
        let mut bytes = encode(settled, end);
        let marks_at = bytes.len() as u64;
        bytes.resize(bytes.len() + MARKS * MARK_LEN, 0);
        write_all_at(file.as_mut(), 0, &bytes)?;
        retry(|| file.sync())?;
        retry(|| self.fs.rename(&unfinished, &self.dir.join(NAME)))?;
        // Whatever comes now: the file that was marked so far has lost its name, and marks in it would be lost.
        self.file = None;
        retry(|| self.fs.sync_dir(&self.dir))?;
        Ok((file, marks_at))
    }

    /// Makes the reserve where it is not there. It may be missing: it is a help, not a need.
    pub fn keep_reserve(&self) {
        let path = self.dir.join(RESERVE);
        if let Ok(mut file) = self.fs.create(&path)
            && file.allocate(RESERVE_BYTES).is_err()
        {
            let _best_effort = self.fs.remove(&path);
        }
    }
}
