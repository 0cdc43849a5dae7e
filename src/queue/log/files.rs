//! File names of a log, and calls that a signal may cut short.

use std::io;
use std::path::Path;

use crate::queue::fs::{Fs, FsFile};

/// Damaged segments that are kept for whoever wants to look at them.
const QUARANTINED: usize = 4;
/// Where they are kept.
pub const QUARANTINE: &str = "quarantine";
/// The lock of a directory.
pub const LOCK: &str = "lock";
/// Written and read to see whether the disk works.
pub const PROBE: &str = "probe";
const ENDING: &str = ".wal";

/// `<number>-<nonce>.wal`, both in 16 hexadecimal digits, so that the names sort as the numbers do.
pub fn segment_name(number: u64, nonce: u64) -> String {
    format!("{number:016x}-{nonce:016x}{ENDING}")
}

/// Number and nonce of a segment; `None` for a file that is none.
pub fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    let (number, nonce) = name.strip_suffix(ENDING)?.split_once('-')?;
    let hex = |digits: &str| {
        let is_hex = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        is_hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    };
    Some((hex(number)?, hex(nonce)?))
}

/// Calls again what a signal interrupted.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Writes all of `bytes`, however many calls that takes.
pub fn write_all_at(file: &mut dyn FsFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match retry(|| file.write_at(offset + done as u64, &bytes[done..]))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    Ok(())
}

/// The disk or a quota is full.
pub fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Keeps a damaged file aside; the oldest kept ones go.
pub fn quarantine(fs: &dyn Fs, dir: &Path, name: &str) -> io::Result<()> {
    let kept = dir.join(QUARANTINE);
    fs.create_dir(&kept)?;
    let mut names = fs.list(&kept)?;
    while names.len() >= QUARANTINED {
        fs.remove(&kept.join(names.remove(0)))?;
    }
    retry(|| fs.rename(&dir.join(name), &kept.join(name)))
}
