//! Looking into a log that no agent has open: what waits, what is damaged, and putting it in order.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{Header, Range, Totals};
use super::{OpenError, Opened, Read, SEGMENT_BYTES, open};
use crate::pdata::Batch;
use crate::queue::fs::{Fs, FsFile, FsLock};

/// A record that cannot be read is tried again so often.
const TRIES: usize = 4;

/// What is in a log.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whole records that wait.
    pub records: u64,
    pub items: u64,
    pub bytes: u64,
    /// What is missing or damaged of what should wait.
    pub lost: Totals,
    /// Segments in which something is not as it was written.
    pub damaged: Vec<String>,
    /// Files that could not be used.
    pub put_aside: Vec<String>,
    pub segments: usize,
    pub disk_bytes: u64,
}

impl Report {
    /// Nothing is missing and nothing is in the way.
    pub fn is_sound(&self) -> bool {
        self.lost.bytes == 0 && self.damaged.is_empty() && self.put_aside.is_empty()
    }
}

/// Reads all that waits and changes nothing; calls `visit` with each record.
///
/// # Errors
/// An agent has the log, or it cannot be read.
pub fn look(fs: Arc<dyn Fs>, dir: &Path, visit: impl FnMut(&Header, &Batch)) -> Result<Report, OpenError> {
    let fs: Arc<dyn Fs> = Arc::new(ReadOnly(fs));
    let mut opened = open(fs, dir, SEGMENT_BYTES, false)?;
    let (report, _) = read_all(&mut opened, visit);
    Ok(report)
}

/// Puts a log in order as a start would, and notes what is lost, so that no later start counts it again. Records are
/// never removed.
///
/// # Errors
/// An agent has the log, or it cannot be read or written.
pub fn repair(fs: Arc<dyn Fs>, dir: &Path) -> Result<Report, OpenError> {
    let failed = |error| OpenError::Io(dir.display().to_string(), error);
    let mut opened = open(fs, dir, SEGMENT_BYTES, true)?;
    let (report, lost) = read_all(&mut opened, |_, _| {});
    opened.writer.settle(&lost);
    opened.writer.snapshot().map_err(failed)?;
    opened.writer.remove_passed().map_err(failed)?;
    Ok(report)
}

fn read_all(opened: &mut Opened, mut visit: impl FnMut(&Header, &Batch)) -> (Report, Vec<Range>) {
    let mut report = Report {
        put_aside: opened.put_aside.clone(),
        ..Report::default()
    };
    let mut all_lost = Vec::new();
    let mut failures = 0;
    loop {
        let read = match failures {
            0..TRIES => opened.reader.read_next(),
            _ => opened.reader.read_past(),
        };
        if read.is_ok() {
            failures = 0;
        }
        match read {
            Ok(Read::Record(header, batch)) => {
                report.records += 1;
                report.items += u64::from(header.items);
                report.bytes += header.record_len();
                visit(&header, &batch);
            }
            Ok(Read::Lost(ranges)) => {
                for range in &ranges {
                    let size = range.size();
                    report.lost.records += if size.bytes > 0 { size.records } else { 0 };
                    report.lost.items += size.items;
                    report.lost.bytes += size.bytes;
                }
                all_lost.extend(ranges);
            }
            Ok(Read::Nothing) => break,
            Err(_) if failures < TRIES * 2 => failures += 1,
            Err(_) => break,
        }
    }
    let segments = opened.writer.segments.lock();
    report.segments = segments.len();
    report.disk_bytes = segments.iter().map(|segment| segment.disk_bytes).sum();
    let damaged = segments.iter().filter(|segment| segment.damaged);
    report.damaged = damaged.map(|segment| segment.name.clone()).collect();
    drop(segments);
    (report, all_lost)
}

/// The logs at or below a directory: itself, or its folders that hold one.
pub fn find_logs(fs: &dyn Fs, dir: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
    let is_log = |path: &Path| {
        let names = fs.list(path).unwrap_or_default();
        names
            .iter()
            .any(|name| name == "cursor" || super::files::parse_segment_name(name).is_some())
    };
    if is_log(dir) {
        return vec![dir.to_owned()];
    }
    folders.iter().filter(|folder| is_log(folder)).cloned().collect()
}

/// A file system on which nothing is changed. The lock is taken all the same.
struct ReadOnly(Arc<dyn Fs>);

impl Fs for ReadOnly {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.list(path).map(drop)
    }

    fn create(&self, _path: &Path) -> io::Result<Box<dyn FsFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.0.open(path)
    }

    fn open_to_write(&self, _path: &Path) -> io::Result<Box<dyn FsFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>> {
        self.0.lock(path)
    }
}
