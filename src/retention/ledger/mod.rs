//! What far ends have acknowledged, trace by trace: a folder for each archive, in it a file for each day of trace start.
//!
//! Rows are put into memory by whoever is told of a delivery, and appended to the day's open file a moment later. An
//! audit seals a day: its open files are sorted into one, in bounded memory, and that is joined with what X-Ray lists. A
//! row that a crash has taken makes a trace look less safe than it is, never more: the auditor then asks the archive.
//!
//! A delivery of the same spans that comes again is the same row and counts once. When nothing more is expected of a day
//! the rows of a trace are added up. A delivery that came again with its spans in other batches makes the sum wrong: the
//! trace then looks incomplete, and is archived again.

pub mod blocks;
mod join;
mod row;
mod sort;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use blocks::{About, Reader, Writer};
pub use join::{Lookup, Noted, Xors};
pub use row::{Entry, Listed, Mark, Row, key_of};
pub use sort::{Merge, Sorter};

use crate::queue::fs::{Fs, FsFile};
use crate::retention::archive::Day;

/// Files that are open for writing at the same time.
const MOST_OPEN: usize = 16;
/// Rows that wait for a disk that does not take them, in bytes: beyond it the oldest are given up.
const MOST_WAITING: usize = 16 << 20;
const ROWS: &str = ".rows";
const OPEN: &str = ".open";
const TMP: &str = ".tmp";

/// An archive's place in the ledger, and a day.
type Place = (usize, Day);

/// Where the ledger stands, and what has gone wrong with it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rows that were added since the start.
    pub added: AtomicU64,
    /// Calls of the disk that failed.
    pub failed: AtomicU64,
    /// Bytes at the ends of files that a crash has left half written.
    pub torn: AtomicU64,
    /// Rows that were given up because the disk did not take them.
    pub given_up: AtomicU64,
}

/// The ledger of some archives.
pub struct Ledger {
    fs: Arc<dyn Fs>,
    folders: Vec<PathBuf>,
    waiting: Mutex<BTreeMap<Place, Vec<u8>>>,
    files: Mutex<HashMap<Place, OpenFile>>,
    pub tally: Tally,
}

struct OpenFile {
    file: Box<dyn FsFile>,
    at: u64,
}

/// A file of a day by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Sorted(Day),
    Open(Day, u64),
    /// Was being written when the process ended.
    Unfinished,
}

fn named(name: &str) -> Option<Named> {
    if name.ends_with(TMP) || name.ends_with(".run") {
        return Some(Named::Unfinished);
    }
    if let Some(day) = name.strip_suffix(ROWS) {
        return Day::parse(day).map(Named::Sorted);
    }
    let (day, number) = name.strip_suffix(OPEN)?.split_once('.')?;
    let number = u64::from_str_radix(number, 16).ok()?;
    Day::parse(day).map(|day| Named::Open(day, number))
}

/// A name for a folder that no other archive has: what a file system may not take is replaced, and told apart by a hash.
pub fn folder_name(archive: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if archive.chars().all(plain) && !archive.is_empty() && archive.len() <= 64 {
        return archive.to_owned();
    }
    let kept: String = archive
        .chars()
        .take(48)
        .map(|letter| if plain(letter) { letter } else { '_' })
        .collect();
    format!("{kept}-{:08x}", xxhash_rust::xxh3::xxh3_64(archive.as_bytes()) as u32)
}

impl Ledger {
    /// Opens the ledger below `dir`, with a folder for each of `archives`. Blocks, as everything here that reads or writes.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, archives: &[&str]) -> io::Result<Self> {
        let folders: Vec<PathBuf> = archives.iter().map(|archive| dir.join(folder_name(archive))).collect();
        for folder in &folders {
            fs.create_dir(folder)?;
            for name in fs.list(folder)? {
                if named(&name) == Some(Named::Unfinished) {
                    fs.remove(&folder.join(name))?;
                }
            }
        }
        Ok(Self::reading(fs, folders))
    }

    /// The ledger below `dir` as it is, for who only reads: nothing is made or changed there.
    pub fn to_read(fs: Arc<dyn Fs>, dir: &Path, archives: &[&str]) -> Self {
        let folders = archives.iter().map(|archive| dir.join(folder_name(archive)));
        Self::reading(fs, folders.collect())
    }

    fn reading(fs: Arc<dyn Fs>, folders: Vec<PathBuf>) -> Self {
        Self {
            fs,
            folders,
            waiting: Mutex::default(),
            files: Mutex::default(),
            tally: Tally::default(),
        }
    }

    /// The disk it lies on.
    pub fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    /// Notes rows of one archive. Does not touch the disk.
    pub fn add(&self, archive: usize, rows: impl IntoIterator<Item = (Day, Row)>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut added = 0;
        // Rows of one delivery nearly always are of one day: it is looked up once.
        let mut rows = rows.into_iter().peekable();
        while let Some((day, first)) = rows.next() {
            let bytes = waiting.entry((archive, day)).or_default();
            first.put(bytes);
            added += 1;
            while let Some((_, row)) = rows.next_if(|(next, _)| *next == day) {
                row.put(bytes);
                added += 1;
            }
        }
        self.tally.added.fetch_add(added, Ordering::Relaxed);
    }

    /// Bytes that wait for the disk.
    pub fn waiting(&self) -> usize {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().map(Vec::len).sum()
    }

    /// Writes what waits; on the disk when it returns.
    ///
    /// # Errors
    /// When the disk does not take it: it goes on waiting.
    pub fn flush(&self) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failure = None;
        for (place, rows) in waiting {
            if let Err(error) = self.append(&mut files, place, &rows) {
                self.tally.failed.fetch_add(1, Ordering::Relaxed);
                // What was written of it stands before a place that is not good: a new file is begun.
                files.remove(&place);
                self.put_back(place, rows);
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn append(&self, files: &mut HashMap<Place, OpenFile>, place: Place, rows: &[u8]) -> io::Result<()> {
        if !files.contains_key(&place) {
            if files.len() >= MOST_OPEN
                && let Some(oldest) = files.keys().min_by_key(|(_, day)| *day).copied()
            {
                files.remove(&oldest);
            }
            let file = self.new_file(place)?;
            files.insert(place, OpenFile { file, at: 0 });
        }
        let Some(open) = files.get_mut(&place) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut out = Vec::with_capacity(rows.len() + rows.len() / 64 + 16);
        blocks::put_blocks(rows, Row::BYTES, &mut out);
        blocks::write_all(open.file.as_mut(), open.at, &out)?;
        open.at += out.len() as u64;
        open.file.sync_data()
    }

    fn new_file(&self, (archive, day): Place) -> io::Result<Box<dyn FsFile>> {
        let folder = self.folder(archive)?;
        let (_, open, sorted) = self.files_of(archive, day)?;
        let mut number = open.last().map_or(0, |(number, _)| *number);
        if sorted && let Ok(reader) = self.sorted_reader(archive, day) {
            number = number.max(reader.about().through);
        }
        let file = self
            .fs
            .create(&folder.join(format!("{day}.{:08x}{OPEN}", number + 1)))?;
        self.fs.sync_dir(folder)?;
        Ok(file)
    }

    fn put_back(&self, place: Place, mut rows: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = waiting.remove(&place).unwrap_or_default();
        rows.extend_from_slice(&newer);
        let held: usize = waiting.values().map(Vec::len).sum();
        let room = MOST_WAITING.saturating_sub(held) / Row::BYTES * Row::BYTES;
        if rows.len() > room {
            let gone = rows.len() - room;
            rows.drain(..gone);
            self.tally
                .given_up
                .fetch_add((gone / Row::BYTES) as u64, Ordering::Relaxed);
        }
        waiting.insert(place, rows);
    }

    fn folder(&self, archive: usize) -> io::Result<&Path> {
        let folder = self.folders.get(archive).map(PathBuf::as_path);
        folder.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The folder, the open files of a day by their numbers, and whether there is a sorted one.
    #[allow(clippy::type_complexity)] // For the caller below it alone.
    fn files_of(&self, archive: usize, day: Day) -> io::Result<(&Path, Vec<(u64, PathBuf)>, bool)> {
        let folder = self.folder(archive)?;
        let mut open = Vec::new();
        let mut sorted = false;
        let names = match self.fs.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        for name in names {
            match named(&name) {
                Some(Named::Sorted(of)) if of == day => sorted = true,
                Some(Named::Open(of, number)) if of == day => open.push((number, folder.join(name))),
                _ => {}
            }
        }
        open.sort_unstable();
        Ok((folder, open, sorted))
    }

    fn sorted_path(&self, archive: usize, day: Day) -> io::Result<PathBuf> {
        Ok(self.folder(archive)?.join(format!("{day}{ROWS}")))
    }

    fn sorted_reader(&self, archive: usize, day: Day) -> io::Result<Reader<Row>> {
        Reader::sorted(self.fs.open(&self.sorted_path(archive, day)?)?)
    }

    /// Sorts what has come for a day into its sorted file. `settle`: nothing more is expected, rows of a trace are added
    /// up. Safe to be killed anywhere.
    ///
    /// # Errors
    /// Those of the disk, and `InvalidData` where the sorted file is damaged: then all stays as it is.
    pub fn seal(&self, archive: usize, day: Day, settle: bool) -> io::Result<()> {
        {
            // What is added from now on begins a new file.
            let _ = self.flush();
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            files.remove(&(archive, day));
        }
        let (folder, mut open, sorted) = self.files_of(archive, day)?;
        let mut about = About::default();
        let mut have = Vec::new();
        if sorted {
            let reader = self.sorted_reader(archive, day)?;
            about = reader.about();
            have.push(reader);
        }
        // Sorted in before the process was killed.
        for (_, path) in open.extract_if(.., |(number, _)| *number <= about.through) {
            self.fs.remove(&path)?;
        }
        if open.is_empty() && (!sorted || about.settled || !settle) {
            return Ok(());
        }
        let through = open.last().map_or(about.through, |(number, _)| *number);
        let to = self.sorted_path(archive, day)?;
        self.sort_into(
            &open,
            have,
            &to,
            About {
                through,
                settled: settle,
            },
        )?;
        self.fs.sync_dir(folder)?;
        for (_, path) in &open {
            self.fs.remove(path)?;
        }
        self.fs.sync_dir(folder)
    }

    fn sort_into(&self, open: &[(u64, PathBuf)], have: Vec<Reader<Row>>, to: &Path, about: About) -> io::Result<()> {
        let mut sorter = Sorter::new(&self.fs, to.to_owned());
        for (_, path) in open {
            let mut reader = Reader::<Row>::open_file(self.fs.open(path)?)?;
            while let Some(row) = reader.next()? {
                sorter.push(row)?;
            }
            if reader.torn() > 0 {
                self.tally.torn.fetch_add(reader.torn(), Ordering::Relaxed);
                tracing::warn!(file = %path.display(), bytes = reader.torn(),
                    "the end of a file of the retention ledger was torn and is left out");
            }
        }
        let mut merge = sorter.merged(have)?;
        write_sorted(self.fs.as_ref(), to, about, |writer| {
            let mut group = Group::default();
            while let Some(row) = merge.next()? {
                group.add(row, about.settled, writer)?;
            }
            group.end(about.settled, writer)
        })
    }

    /// The sorted rows of a day, of some days around it; without any there is nothing to find. What cannot be read makes
    /// every answer [`Noted::Unreadable`].
    pub fn lookup(&self, archive: usize, days: impl Iterator<Item = Day>) -> Lookup {
        let mut readers = Vec::new();
        for day in days {
            match self.sorted_reader(archive, day) {
                Ok(reader) => readers.push(reader),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.tally.failed.fetch_add(1, Ordering::Relaxed);
                    return Lookup::broken(format!("the ledger of {day}: {error}"));
                }
            }
        }
        Lookup::over(readers)
    }

    /// As [`seal`](Self::seal) and [`lookup`](Self::lookup) in one, for who may only read: what has to be sorted is
    /// sorted in `scratch`, a folder of the caller's.
    pub fn lookup_beside(&self, archive: usize, days: impl Iterator<Item = Day>, scratch: &Path) -> Lookup {
        let mut readers = Vec::new();
        for day in days {
            match self.sorted_beside(archive, day, scratch) {
                Ok(Some(reader)) => readers.push(reader),
                Ok(None) => {}
                Err(error) => return Lookup::broken(format!("the ledger of {day}: {error}")),
            }
        }
        Lookup::over(readers)
    }

    fn sorted_beside(&self, archive: usize, day: Day, scratch: &Path) -> io::Result<Option<Reader<Row>>> {
        let (_, mut open, sorted) = self.files_of(archive, day)?;
        let mut have = Vec::new();
        if sorted {
            let reader = self.sorted_reader(archive, day)?;
            let through = reader.about().through;
            open.retain(|(number, _)| *number > through);
            if open.is_empty() {
                return Ok(Some(reader));
            }
            have.push(reader);
        }
        if open.is_empty() {
            return Ok(None);
        }
        let to = scratch.join(format!("{archive}-{day}{ROWS}"));
        if let Ok(file) = self.fs.open(&to) {
            return Reader::sorted(file).map(Some);
        }
        self.sort_into(&open, have, &to, About::default())?;
        Reader::sorted(self.fs.open(&to)?).map(Some)
    }

    /// Removes what is of days before `day`. Says how many files.
    ///
    /// # Errors
    /// The first file that could not be removed.
    pub fn remove_before(&self, day: Day) -> io::Result<usize> {
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(_, of), _| *of >= day);
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(_, of), _| *of >= day);
        let mut removed = 0;
        for folder in &self.folders {
            for name in self.fs.list(folder)? {
                if let Some(Named::Sorted(of) | Named::Open(of, _)) = named(&name)
                    && of < day
                {
                    self.fs.remove(&folder.join(name))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Bytes on the disk.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for folder in &self.folders {
            for name in self.fs.list(folder)? {
                // Removed meanwhile.
                if let Ok(file) = self.fs.open(&folder.join(name)) {
                    bytes += file.length()?;
                }
            }
        }
        Ok(bytes)
    }
}

/// Writes a sorted file: new, to its end, and only then in place of the one that was there.
///
/// # Errors
/// Those of the disk, and of `write`.
pub fn write_sorted<E: Entry>(
    fs: &dyn Fs,
    to: &Path,
    about: About,
    write: impl FnOnce(&mut Writer<E>) -> io::Result<()>,
) -> io::Result<()> {
    let mut tmp = to.as_os_str().to_owned();
    tmp.push(TMP);
    let tmp = PathBuf::from(tmp);
    // Left behind by a process that was killed.
    let _ = fs.remove(&tmp);
    let mut writer = Writer::begin(fs.create(&tmp)?, about)?;
    write(&mut writer)?;
    writer.finish()?;
    fs.rename(&tmp, to)
}

/// The rows of one trace on their way into a sorted file.
#[derive(Default)]
struct Group {
    key: Option<u64>,
    mark: Mark,
    xors: Vec<u64>,
}

impl Group {
    fn add(&mut self, row: Row, settle: bool, writer: &mut Writer<Row>) -> io::Result<()> {
        if self.key != Some(row.key) {
            self.end(settle, writer)?;
            self.key = Some(row.key);
        }
        self.mark = self.mark.and(row.mark);
        // In order: the same spans twice stand side by side. Zero only marks.
        if row.xor != 0 && self.xors.last() != Some(&row.xor) {
            self.xors.push(row.xor);
        }
        Ok(())
    }

    fn end(&mut self, settle: bool, writer: &mut Writer<Row>) -> io::Result<()> {
        let Some(key) = self.key.take() else {
            return Ok(());
        };
        if settle {
            let sum = self.xors.iter().fold(0, |sum, xor| sum ^ xor);
            self.xors.clear();
            self.xors.push(sum);
        } else if self.xors.is_empty() {
            self.xors.push(0);
        }
        for (number, xor) in self.xors.drain(..).enumerate() {
            let mark = if number == 0 { self.mark } else { Mark::default() };
            writer.push(&Row { key, mark, xor })?;
        }
        self.mark = Mark::default();
        Ok(())
    }
}
