//! For tests: a file system in memory that fails when told, and forgets on a crash what was not synced.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::fs::{Fs, FsFile, FsLock};

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: usize,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    /// Names as they are on the disk: what a crash leaves.
    durable: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    locked: Vec<PathBuf>,
    calls: usize,
    fail_at: Option<usize>,
    /// Bytes that fit on it.
    capacity: Option<usize>,
}

/// See the module text. Clones share the disk.
#[derive(Clone, Default)]
pub struct FakeFs(Arc<Mutex<Disk>>);

impl FakeFs {
    /// The `call`-th call from now on (0 the next) fails with ENOSPC, and every one after it.
    pub fn fail_from(&self, call: usize) {
        let mut disk = self.0.lock().unwrap();
        disk.fail_at = Some(disk.calls + call);
    }

    /// So many bytes of all files together fit, and no more.
    pub fn holds(&self, bytes: usize) {
        self.0.lock().unwrap().capacity = Some(bytes);
    }

    fn is_full(&self, more: usize) -> bool {
        let (capacity, used) = {
            let disk = self.0.lock().unwrap();
            let used: usize = disk
                .files
                .values()
                .map(|content| content.lock().unwrap().now.len())
                .sum();
            (disk.capacity, used)
        };
        capacity.is_some_and(|capacity| used + more > capacity)
    }

    /// Works again.
    pub fn heal(&self) {
        self.0.lock().unwrap().fail_at = None;
    }

    /// Calls made so far.
    pub fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    /// A power cut: unsynced content and unsynced names are gone, locks too.
    pub fn crash(&self) {
        let mut disk = self.0.lock().unwrap();
        disk.files = disk.durable.clone();
        disk.locked.clear();
        for content in disk.files.values() {
            let mut content = content.lock().unwrap();
            let synced = content.synced;
            content.now.truncate(synced);
        }
    }

    /// All files and their content.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.0.lock().unwrap();
        let files = disk.files.iter();
        files
            .map(|(path, content)| (path.clone(), content.lock().unwrap().now.clone()))
            .collect()
    }

    /// Changes the content of a file.
    pub fn damage(&self, path: &Path, damage: impl FnOnce(&mut Vec<u8>)) {
        let disk = self.0.lock().unwrap();
        damage(&mut disk.files[path].lock().unwrap().now);
    }

    fn call(&self) -> io::Result<std::sync::MutexGuard<'_, Disk>> {
        let mut disk = self.0.lock().unwrap();
        let call = disk.calls;
        disk.calls += 1;
        if disk.fail_at.is_some_and(|fail_at| call >= fail_at) {
            return Err(io::Error::new(ErrorKind::StorageFull, "no space left"));
        }
        Ok(disk)
    }
}

impl Fs for FakeFs {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.call().map(drop)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut disk = self.call()?;
        if disk.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let content = Arc::<Mutex<Content>>::default();
        disk.files.insert(path.to_owned(), Arc::clone(&content));
        Ok(Box::new(FakeFile {
            fs: self.clone(),
            content,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let disk = self.call()?;
        let content = disk.files.get(path).cloned().ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(FakeFile {
            fs: self.clone(),
            content,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.call()?;
        let in_dir = disk.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(in_dir
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.call()?;
        let content = disk.files.remove(from).ok_or(ErrorKind::NotFound)?;
        disk.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.call()?;
        disk.files.remove(path).map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut disk = self.call()?;
        disk.durable = disk.files.clone();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>> {
        let mut disk = self.call()?;
        if disk.locked.iter().any(|locked| locked == path) {
            return Ok(None);
        }
        disk.locked.push(path.to_owned());
        Ok(Some(Box::new(FakeLock {
            fs: self.clone(),
            path: path.to_owned(),
        })))
    }
}

struct FakeFile {
    fs: FakeFs,
    content: Arc<Mutex<Content>>,
}

impl FsFile for FakeFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let full = self.fs.is_full(bytes.len());
        let called = self.fs.call().map(drop);
        if let Err(error) = called.and_then(|()| {
            if full {
                Err(ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }) {
            // A full disk takes what fits.
            self.content
                .lock()
                .unwrap()
                .now
                .extend_from_slice(&bytes[..bytes.len() / 2]);
            return Err(error);
        }
        self.content.lock().unwrap().now.extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        drop(self.fs.call()?);
        let content = self.content.lock().unwrap();
        let start = offset as usize;
        let bytes = content
            .now
            .get(start..start + into.len())
            .ok_or(ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        drop(self.fs.call()?);
        let mut content = self.content.lock().unwrap();
        content.synced = content.now.len();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        drop(self.fs.call()?);
        Ok(self.content.lock().unwrap().now.len() as u64)
    }
}

struct FakeLock {
    fs: FakeFs,
    path: PathBuf,
}

impl FsLock for FakeLock {}

impl Drop for FakeLock {
    fn drop(&mut self) {
        self.fs.0.lock().unwrap().locked.retain(|locked| *locked != self.path);
    }
}
