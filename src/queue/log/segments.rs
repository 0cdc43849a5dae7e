//! The segments of a log as writer and reader both see them, and walking through one.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::files::retry;
use super::record::{HEADER_LEN, Header, MAGIC, Totals};
use crate::queue::fs::FsFile;

/// Looking for the next record goes through a file in steps of this size.
const SCAN_STEP: usize = 64 * 1024;
const NOTHING: [u8; 4096] = [0; 4096];

/// A file of the log.
#[derive(Clone, Debug)]
pub struct Segment {
    pub number: u64,
    pub nonce: u64,
    pub name: String,
    /// Where the log was at its beginning; unknown where its head is damaged.
    pub first: Option<Totals>,
    /// Bytes that may be read.
    pub readable: u64,
    /// Nothing is written to it any more.
    pub sealed: bool,
    /// Where the log is behind it; unknown for one that an earlier run left until it has been read.
    pub end: Option<Totals>,
    /// Something in it is not as it was written: it goes to the quarantine.
    pub damaged: bool,
    /// What it takes on the disk.
    pub disk_bytes: u64,
}

/// All of them, oldest first.
pub struct Segments {
    pub dir: PathBuf,
    list: Mutex<VecDeque<Segment>>,
}

impl Segments {
    pub fn new(dir: PathBuf, list: VecDeque<Segment>) -> Self {
        Self {
            dir,
            list: Mutex::new(list),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, VecDeque<Segment>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one.
    pub fn change(&self, number: u64, change: impl FnOnce(&mut Segment)) {
        if let Some(segment) = self.lock().iter_mut().find(|segment| segment.number == number) {
            change(segment);
        }
    }

    /// The one with this number, or else the next.
    pub fn at_or_behind(&self, number: u64) -> Option<Segment> {
        self.lock().iter().find(|segment| segment.number >= number).cloned()
    }

    /// Whether a record of segment `number` that begins at `place` counts. It does not where a later segment says that it
    /// begins before or at that place: then this is left of a write that failed. Either it was written again, under the
    /// same number, or it was refused, and its number was given up but not its bytes.
    pub fn counts(&self, number: u64, place: Totals) -> bool {
        let list = self.lock();
        let mut later = list.iter().filter(|segment| segment.number > number);
        later.all(|segment| {
            let first = segment.first.as_ref();
            first.is_none_or(|first| place.records < first.records && place.bytes < first.bytes)
        })
    }

    /// Bytes of all of them on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.lock().iter().map(|segment| segment.disk_bytes).sum()
    }
}

/// A whole header at `offset`, of a record that ends before `readable`.
pub fn header_at(file: &mut dyn FsFile, nonce: u64, offset: u64, readable: u64) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_LEN];
    if offset.saturating_add(HEADER_LEN as u64) > readable {
        return Ok(None);
    }
    match retry(|| file.read_at(offset, &mut bytes)) {
        Ok(()) => {}
        // Cut short by somebody: as good as damaged.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let header = Header::decode(nonce, &bytes);
    Ok(header.filter(|header| offset.saturating_add(header.record_len()) <= readable))
}

/// Where the next whole header begins, at or behind `from`. Parts that cannot be read are stepped over when `step_over`.
pub fn find_header(
    file: &mut dyn FsFile,
    nonce: u64,
    from: u64,
    readable: u64,
    step_over: bool,
) -> io::Result<Option<(u64, Header)>> {
    let mut window = vec![0; SCAN_STEP];
    let mut at = from;
    while at + (HEADER_LEN as u64) <= readable {
        let size = usize::try_from(readable - at).unwrap_or(usize::MAX).min(SCAN_STEP);
        match retry(|| file.read_at(at, &mut window[..size])) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || step_over => {
                at += size.min(4096) as u64;
                continue;
            }
            Err(error) => return Err(error),
        }
        let mut searched = 0;
        while let Some(found) = find(&window[searched..size]) {
            let place = at + (searched + found) as u64;
            match header_at(file, nonce, place, readable) {
                Ok(Some(header)) => return Ok(Some((place, header))),
                Ok(None) => {}
                Err(_) if step_over => {}
                Err(error) => return Err(error),
            }
            searched += found + 1;
        }
        // A magic may lie across two steps.
        at += (size - (MAGIC.len() - 1)).max(1) as u64;
    }
    Ok(None)
}

fn find(bytes: &[u8]) -> Option<usize> {
    for (index, page) in bytes.chunks(NOTHING.len()).enumerate() {
        // What was preallocated and never written is most of what is searched.
        if page == &NOTHING[..page.len()] {
            continue;
        }
        let start = index * NOTHING.len();
        let end = (start + page.len() + MAGIC.len() - 1).min(bytes.len());
        let found = bytes[start..end]
            .windows(MAGIC.len())
            .position(|window| window == MAGIC);
        if let Some(found) = found {
            return Some(start + found);
        }
    }
    None
}
