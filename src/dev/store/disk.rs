//! `data_dir`: what came, in files, so that a restart has it again.
//!
//! A file holds the requests in the order they came, each with its checksum; a start takes them as if they came now. A
//! torn tail is cut and told. Files go as wholes, when nothing of them is stored any more. One process writes (it holds
//! the lock), others may read.
//!
//! A file is `RSDEVST1`, then records: length and CRC32C of the body (both u32, little endian), the body: signal u8, packed
//! u8, items u32, arrival u64, length of the part u32, the part (zstd where that is smaller).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::fcntl::{Flock, FlockArg};

use super::tombstones::Tombstone;
use crate::pdata::{Batch, Origin, Signal};

const MAGIC: &[u8; 8] = b"RSDEVST1";
/// A file is closed and synced when it has so many bytes.
const FILE_BYTES: u64 = 16 << 20;
/// Longest body, and longest part when unpacked: a request may have 64 MiB.
const MOST_BODY: usize = 80 << 20;
/// Of a body before its part.
const META: usize = 18;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("data directory {path}: {reason}")]
    Unusable { path: String, reason: io::Error },
    #[error("data directory {path} is in use by process {holder}")]
    Taken { path: String, holder: String },
}

/// What was found at a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub requests: u64,
    /// Bytes that could not be read: a torn tail, or damage.
    pub cut: u64,
}

/// The writing side.
pub struct Disk {
    dir: PathBuf,
    file: File,
    number: u64,
    written: u64,
    /// Bytes of all files.
    total: u64,
    buffer: Vec<u8>,
    _lock: Flock<File>,
}

fn unusable(path: &Path, reason: io::Error) -> DiskError {
    DiskError::Unusable {
        path: path.display().to_string(),
        reason,
    }
}

impl Disk {
    /// Locks the directory, gives every request in it to `take` (with the number of its file), cuts a torn tail, and
    /// begins a new file.
    ///
    /// # Errors
    /// Where the directory cannot be used, or another process writes it.
    pub fn open(dir: &Path, take: impl FnMut(Batch, u64, u64)) -> Result<(Self, Loaded), DiskError> {
        let failed = |reason| unusable(dir, reason);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        let lock = lock(dir)?;
        let loaded = load(dir, true, take)?;
        let number = numbers(dir).map_err(failed)?.last().map_or(1, |last| last + 1);
        let file = create(dir, number).map_err(failed)?;
        let disk = Self {
            dir: dir.to_owned(),
            file,
            number,
            written: MAGIC.len() as u64,
            total: total(dir),
            buffer: Vec::new(),
            _lock: lock,
        };
        Ok((disk, loaded))
    }

    /// The file that is written.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends a part of a request. It survives a crash of the process at once, one of the machine when the file is
    /// closed or [`Disk::sync`] was called.
    ///
    /// # Errors
    /// Where the disk refuses; the next file is tried with the next request then.
    pub fn append(&mut self, signal: Signal, items: u32, arrival: u64, part: &[u8]) -> io::Result<()> {
        let packed = zstd::bulk::compress(part, 1)
            .ok()
            .filter(|packed| packed.len() < part.len());
        let body = packed.as_deref().unwrap_or(part);
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; 8]);
        self.buffer.push(signal as u8);
        self.buffer.push(u8::from(packed.is_some()));
        self.buffer.extend_from_slice(&items.to_le_bytes());
        self.buffer.extend_from_slice(&arrival.to_le_bytes());
        self.buffer.extend_from_slice(&(part.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(body);
        let length = (self.buffer.len() - 8) as u32;
        let checksum = crc32c::crc32c(&self.buffer[8..]);
        self.buffer[..4].copy_from_slice(&length.to_le_bytes());
        self.buffer[4..8].copy_from_slice(&checksum.to_le_bytes());
        let writing = self.file.write_all(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.total += self.buffer.len() as u64;
        // After a failed write nobody knows where the file ends: what follows goes into another.
        if writing.is_err() || self.written >= FILE_BYTES {
            self.roll()?;
        }
        writing
    }

    /// Closes the file and begins the next.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn roll(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.file = create(&self.dir, self.number + 1)?;
        self.number += 1;
        self.written = MAGIC.len() as u64;
        Ok(())
    }

    /// Brings what was written to the disk.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Removes the files before this one, and the oldest beyond `most` bytes.
    pub fn keep_from(&mut self, number: u64, most: u64) {
        let Ok(numbers) = numbers(&self.dir) else { return };
        for old in numbers.into_iter().filter(|old| *old < self.number) {
            if old >= number && self.total <= most {
                return;
            }
            let path = path_of(&self.dir, old);
            let length = fs::metadata(&path).map_or(0, |data| data.len());
            if fs::remove_file(&path).is_ok() {
                self.total = self.total.saturating_sub(length);
            }
        }
    }

    /// Keeps the tombstones.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn keep_tombstones(&self, stones: &[Tombstone]) -> io::Result<()> {
        let text = serde_json::to_vec(&serde_json::json!({"v": 1, "tombstones": stones}))?;
        let (new, path) = (self.dir.join("tombstones.new"), self.dir.join("tombstones.json"));
        fs::write(&new, text)?;
        fs::rename(new, path)
    }
}

/// The tombstones that an earlier process left.
pub fn tombstones(dir: &Path) -> Vec<Tombstone> {
    #[derive(serde::Deserialize)]
    struct Kept {
        tombstones: Vec<Tombstone>,
    }
    let text = fs::read(dir.join("tombstones.json")).unwrap_or_default();
    serde_json::from_slice::<Kept>(&text)
        .map(|kept| kept.tombstones)
        .unwrap_or_default()
}

fn lock(dir: &Path) -> Result<Flock<File>, DiskError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(dir.join("lock")).map_err(|reason| unusable(dir, reason))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let pid = format!("{}\n", std::process::id());
            let written = lock
                .set_len(0)
                .and_then(|()| lock.rewind())
                .and_then(|()| lock.write_all(pid.as_bytes()));
            written.map_err(|reason| unusable(dir, reason))?;
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut holder = String::new();
            let _unknown = Read::by_ref(&mut file).take(32).read_to_string(&mut holder);
            Err(DiskError::Taken {
                path: dir.display().to_string(),
                holder: holder.trim().to_owned(),
            })
        }
    }
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("store-{number:08}.rsd"))
}

fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_prefix("store-")?.strip_suffix(".rsd")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn total(dir: &Path) -> u64 {
    let numbers = numbers(dir).unwrap_or_default();
    let lengths = numbers
        .into_iter()
        .map(|number| fs::metadata(path_of(dir, number)).map_or(0, |data| data.len()));
    lengths.sum()
}

fn create(dir: &Path, number: u64) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path_of(dir, number))?;
    file.write_all(MAGIC)?;
    Ok(file)
}

/// Gives every request of a directory to `take`, oldest first. With `cut`, what cannot be read at the end of a file is
/// taken off it.
///
/// # Errors
/// Where the directory or a file cannot be opened.
pub fn load(dir: &Path, cut: bool, mut take: impl FnMut(Batch, u64, u64)) -> Result<Loaded, DiskError> {
    let failed = |reason| unusable(dir, reason);
    let mut loaded = Loaded::default();
    for number in numbers(dir).map_err(failed)? {
        let path = path_of(dir, number);
        let bytes = fs::read(&path).map_err(failed)?;
        let mut rest = bytes.strip_prefix(MAGIC).unwrap_or_default();
        while let Some((batch, arrival, after)) = next_record(rest) {
            take(batch, arrival, number);
            loaded.requests += 1;
            rest = after;
        }
        let is_ours = bytes.starts_with(MAGIC);
        let unread = if is_ours { rest.len() } else { bytes.len() };
        if unread > 0 {
            loaded.cut += unread as u64;
            tracing::warn!(file = %path.display(), bytes = unread, "What stands at the end of this file cannot be read; it is left out.");
        }
        if cut && unread > 0 && is_ours {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            file.set_len((bytes.len() - unread) as u64).map_err(failed)?;
        }
    }
    Ok(loaded)
}

/// The request at the beginning, when it arrived, and what follows; `None` where it is not whole.
fn next_record(bytes: &[u8]) -> Option<(Batch, u64, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if !(META..=MOST_BODY).contains(&length) {
        return None;
    }
    let (body, after) = rest.split_at_checked(length)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (meta, part) = body.split_at_checked(META)?;
    let signal = Signal::ALL.into_iter().find(|signal| *signal as u8 == meta[0])?;
    let items = u32::from_le_bytes(meta[2..6].try_into().ok()?);
    let arrival = u64::from_le_bytes(meta[6..14].try_into().ok()?);
    let whole = u32::from_le_bytes(meta[14..18].try_into().ok()?) as usize;
    if whole > MOST_BODY {
        return None;
    }
    let part = match meta[1] {
        0 => part.to_vec(),
        // The length is under the checksum that was just verified.
        _ => zstd::bulk::Decompressor::new().ok()?.decompress(part, whole).ok()?,
    };
    Some((
        Batch::from_wire(signal, Bytes::from(part), items, Origin::internal()),
        arrival,
        after,
    ))
}
