//! The file system as the queue uses it, behind a trait: tests bring one that fails and loses what was not synced.
//!
//! All calls block: make them from a blocking task. Directories are made 0700, files 0600.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};

/// A file. Those of a spill are written at their end, those of a log anywhere.
pub trait FsFile: Send + Sync {
    /// Writes all of `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Fills `into` from `offset`; an error of kind `UnexpectedEof` where the file is too short.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Returns when the content is on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Writes some of `bytes` at `offset`, as `pwrite` does; how many.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let _ = (offset, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Takes `len` bytes of the disk for the file, which reads as zeros of that length afterwards.
    fn allocate(&mut self, len: u64) -> io::Result<()> {
        let _ = len;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Cuts the file, or fills it with zeros up to `len`.
    fn set_length(&mut self, len: u64) -> io::Result<()> {
        let _ = len;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Returns when the content, and of the metadata what is needed to read it, is on the disk.
    fn sync_data(&mut self) -> io::Result<()> {
        self.sync()
    }
}

/// Released on drop.
pub trait FsLock: Send + Sync {}

/// What the queue does with files.
pub trait Fs: Send + Sync {
    /// Makes a directory and those above it; no error where it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// A new file; an error where one is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// An existing file, to be read.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// An existing file, to be changed with `write_at` and `set_length`.
    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.open(path)
    }
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Replaces `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns when names made, changed and removed in the directory are on the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// A number that no file here was named by.
    fn unique(&self) -> u64 {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        high ^ low
    }
    /// `None`: calls take their time, and none is made from a thread of the runtime. Otherwise they are made at once, after
    /// other tasks had so many turns.
    fn turns(&self) -> Option<usize> {
        None
    }
    /// Takes the lock file, making it where it is not there; `None` while somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>>;
}

/// Makes calls of a file system aside: on a thread of their own, or, where they never block, at once, so that what is
/// simulated happens in the same order each time.
#[derive(Clone)]
pub struct Aside(pub Arc<dyn Fs>);

impl Aside {
    /// Makes the calls.
    ///
    /// # Errors
    /// They panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        calls: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let Some(turns) = self.0.turns() else {
            return tokio::task::spawn_blocking(calls).await;
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        Ok(calls())
    }
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(RealFile(File::open(path)?)))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is no UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Box::new(RealLock(lock)))),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

struct RealFile(File);

impl FsFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        FileExt::write_at(&self.0, bytes, offset)
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        nix::fcntl::fallocate(&self.0, nix::fcntl::FallocateFlags::empty(), 0, len).map_err(io::Error::from)
    }

    fn set_length(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

struct RealLock(#[allow(dead_code)] Flock<File>); // Held, not read: dropping it unlocks.

impl FsLock for RealLock {}
