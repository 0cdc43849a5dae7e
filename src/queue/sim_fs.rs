//! For tests: a disk that loses on a power cut what was not synced, in every way a disk may, and fails when told.
//!
//! Unsynced writes survive or not block by block (512 bytes), in any combination, so in any order; names that were made,
//! changed or removed survive or not one by one until their directory is synced. A sync that fails leaves what was
//! written readable and forgets it all the same, as Linux does.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::queue::fs::{Fs, FsFile, FsLock};

const BLOCK: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every call from then on fails: the power is gone.
    PowerCut,
    /// EIO.
    Io,
    /// ENOSPC.
    Full,
    /// EINTR.
    Interrupted,
    /// A write takes half of what it was given; other calls work.
    Short,
}

/// A fault, when, and for how many calls.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub fault: Fault,
    pub at: usize,
    pub calls: usize,
}

/// A small generator of numbers, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Inode {
    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.pending.push(change);
    }

    fn crash(&mut self, dice: &mut Dice) {
        // Sometimes all or nothing, so that the plain cases are met often.
        let mode = dice.below(4);
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Length(_) if mode == 0 || (mode > 1 && dice.below(2) == 0) => {}
                Change::Length(len) => self.durable.resize(len, 0),
                Change::Write(offset, bytes) => {
                    let mut done = 0;
                    while done < bytes.len() {
                        // Blocks of the disk, not of the write.
                        let size = (BLOCK - (offset + done) % BLOCK).min(bytes.len() - done);
                        let survives = mode == 1 || (mode > 1 && dice.below(2) == 0);
                        if survives {
                            let part = bytes[done..done + size].to_vec();
                            apply(&mut self.durable, &Change::Write(offset + done, part));
                        }
                        done += size;
                    }
                }
            }
        }
        self.now = self.durable.clone();
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(len) => content.resize(*len, 0),
        Change::Write(offset, bytes) => {
            let end = offset + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(bytes);
        }
    }
}

type File = Arc<Mutex<Inode>>;
type Names = BTreeMap<PathBuf, File>;

#[derive(Clone, Debug)]
enum NameChange {
    Made(PathBuf, File),
    Removed(PathBuf),
    Renamed(PathBuf, PathBuf, File),
}

fn apply_name(names: &mut Names, change: NameChange) {
    match change {
        NameChange::Made(path, file) => drop(names.insert(path, file)),
        NameChange::Removed(path) => drop(names.remove(&path)),
        NameChange::Renamed(from, to, file) => {
            if names.get(&from).is_some_and(|there| Arc::ptr_eq(there, &file)) {
                names.remove(&from);
            }
            names.insert(to, file);
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    names: Names,
    durable: Names,
    pending: Vec<NameChange>,
    locked: Vec<PathBuf>,
    calls: usize,
    plan: Option<Plan>,
    /// A place that cannot be read any more.
    bad: Option<(PathBuf, std::ops::Range<usize>)>,
    /// Bytes that fit on it.
    capacity: Option<usize>,
    syncs: usize,
    /// Numbers given out.
    named: u64,
    /// Processes that were killed, or lost their power.
    deaths: usize,
}

/// See the module text. Clones share the disk.
#[derive(Clone, Debug, Default)]
pub struct SimFs(Arc<Mutex<Disk>>, Option<usize>);

impl SimFs {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// The disk as one process sees it: after [`SimFs::crash`] or [`SimFs::kill`] it changes nothing any more, though
    /// tasks of it may still run here.
    pub fn process(&self) -> Self {
        let deaths = self.disk().deaths;
        Self(Arc::clone(&self.0), Some(deaths))
    }

    fn is_dead(&self) -> bool {
        self.1.is_some_and(|deaths| deaths != self.disk().deaths)
    }

    /// Fails as planned, counted from now.
    pub fn plan(&self, plan: Plan) {
        let mut disk = self.disk();
        let at = disk.calls + plan.at;
        disk.plan = Some(Plan { at, ..plan });
    }

    /// The `call`-th call from now on (0 the next) fails, and every one after it until [`SimFs::heal`].
    pub fn fails_from(&self, call: usize, fault: Fault) {
        self.plan(Plan {
            fault,
            at: call,
            calls: usize::MAX / 2,
        });
    }

    /// Works again.
    pub fn heal(&self) {
        let mut disk = self.disk();
        disk.plan = None;
        disk.capacity = None;
    }

    /// So many bytes of all files fit on it.
    pub fn holds(&self, bytes: Option<usize>) {
        self.disk().capacity = bytes;
    }

    /// Whatever touches this place of a file cannot be read.
    pub fn spoil(&self, path: &Path, place: std::ops::Range<usize>) {
        self.disk().bad = Some((path.to_owned(), place));
    }

    /// Calls made so far.
    pub fn calls(&self) -> usize {
        self.disk().calls
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> usize {
        self.disk().syncs
    }

    /// The power is cut and comes back.
    pub fn crash(&self, seed: u64) {
        let mut dice = Dice(seed);
        let mut disk = self.disk();
        let mode = dice.below(3);
        for change in std::mem::take(&mut disk.pending) {
            if mode == 1 || (mode == 2 && dice.below(2) == 0) {
                apply_name(&mut disk.durable, change);
            }
        }
        disk.names = disk.durable.clone();
        for file in disk.names.values() {
            file.lock().unwrap().crash(&mut dice);
        }
        disk.locked.clear();
        disk.plan = None;
        disk.deaths += 1;
    }

    /// The process is killed: what it wrote is in the page cache.
    pub fn kill(&self) {
        let mut disk = self.disk();
        disk.locked.clear();
        disk.plan = None;
        disk.deaths += 1;
    }

    /// Names of all files, and their content.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.disk();
        let files = disk.names.iter();
        files
            .map(|(path, file)| (path.clone(), file.lock().unwrap().now.clone()))
            .collect()
    }

    /// Changes a file behind everybody's back.
    pub fn damage(&self, path: &Path, damage: impl FnOnce(&mut Vec<u8>)) {
        let file = Arc::clone(&self.disk().names[path]);
        let mut inode = file.lock().unwrap();
        damage(&mut inode.now);
        inode.durable = inode.now.clone();
        inode.pending.clear();
    }

    /// Removes a file behind everybody's back.
    pub fn lose(&self, path: &Path) {
        let mut disk = self.disk();
        disk.names.remove(path);
        disk.durable.remove(path);
    }

    /// Puts a file there.
    pub fn put(&self, path: &Path, content: Vec<u8>) {
        let file = File::default();
        file.lock().unwrap().now = content.clone();
        file.lock().unwrap().durable = content;
        let mut disk = self.disk();
        disk.names.insert(path.to_owned(), Arc::clone(&file));
        disk.durable.insert(path.to_owned(), file);
    }

    fn fault(&self) -> Option<Fault> {
        let mut disk = self.disk();
        let call = disk.calls;
        disk.calls += 1;
        let plan = disk.plan?;
        let for_ever = plan.fault == Fault::PowerCut;
        (call >= plan.at && (for_ever || call < plan.at + plan.calls)).then_some(plan.fault)
    }

    fn call(&self) -> io::Result<MutexGuard<'_, Disk>> {
        if self.is_dead() {
            return Err(io::Error::from_raw_os_error(5));
        }
        match self.fault() {
            None | Some(Fault::Short) => Ok(self.disk()),
            Some(Fault::Full) => Err(ErrorKind::StorageFull.into()),
            Some(Fault::Interrupted) => Err(ErrorKind::Interrupted.into()),
            Some(Fault::Io | Fault::PowerCut) => Err(io::Error::from_raw_os_error(5)),
        }
    }

    fn fits(&self, more: usize) -> io::Result<()> {
        let disk = self.disk();
        let used: usize = disk.names.values().map(|file| file.lock().unwrap().now.len()).sum();
        match disk.capacity {
            Some(capacity) if more > 0 && used + more > capacity => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn handle(&self, file: &File) -> Box<dyn FsFile> {
        Box::new(SimFile {
            fs: self.clone(),
            inode: Arc::clone(file),
        })
    }
}

impl Fs for SimFs {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.call().map(drop)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut disk = self.call()?;
        if disk.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = File::default();
        disk.names.insert(path.to_owned(), Arc::clone(&file));
        disk.pending.push(NameChange::Made(path.to_owned(), Arc::clone(&file)));
        drop(disk);
        Ok(self.handle(&file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let disk = self.call()?;
        let file = disk.names.get(path).cloned().ok_or(ErrorKind::NotFound)?;
        drop(disk);
        Ok(self.handle(&file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.call()?;
        let in_dir = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(in_dir
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.call()?;
        let file = disk.names.remove(from).ok_or(ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), Arc::clone(&file));
        let change = NameChange::Renamed(from.to_owned(), to.to_owned(), file);
        disk.pending.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.call()?;
        disk.names.remove(path).ok_or(ErrorKind::NotFound)?;
        disk.pending.push(NameChange::Removed(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut disk = self.call()?;
        disk.durable = disk.names.clone();
        disk.pending.clear();
        Ok(())
    }

    /// The same numbers in each run.
    fn unique(&self) -> u64 {
        let mut disk = self.disk();
        disk.named += 1;
        Dice(disk.named).roll()
    }

    /// Now soon, now late: all orders in which threads may come.
    fn turns(&self) -> Option<usize> {
        let mut disk = self.disk();
        disk.named += 1;
        Some(Dice(disk.named).below(5).pow(2))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FsLock>>> {
        let mut disk = self.call()?;
        if disk.locked.iter().any(|locked| locked == path) {
            return Ok(None);
        }
        disk.locked.push(path.to_owned());
        Ok(Some(Box::new(SimLock {
            fs: self.clone(),
            path: path.to_owned(),
        })))
    }
}

struct SimFile {
    fs: SimFs,
    inode: File,
}

impl FsFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.inode.lock().unwrap().now.len() as u64;
        self.write_at(end, bytes).map(drop)
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let disk = self.fs.call()?;
        let start = usize::try_from(offset).unwrap();
        if let Some((path, place)) = &disk.bad
            && disk.names.get(path).is_some_and(|file| Arc::ptr_eq(file, &self.inode))
            && place.start < start + into.len()
            && start < place.end
        {
            return Err(io::Error::from_raw_os_error(5));
        }
        drop(disk);
        let inode = self.inode.lock().unwrap();
        let bytes = inode
            .now
            .get(start..start + into.len())
            .ok_or(ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.fs.is_dead() {
            return Err(io::Error::from_raw_os_error(5));
        }
        let called = self.fs.call().map(|mut disk| disk.syncs += 1);
        let mut inode = self.inode.lock().unwrap();
        match called {
            Ok(()) => {
                inode.durable = inode.now.clone();
                inode.pending.clear();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            // The power went before anything happened.
            Err(error) if self.fs.disk().plan.is_some_and(|plan| plan.fault == Fault::PowerCut) => Err(error),
            Err(error) => {
                inode.pending.clear();
                Err(error)
            }
        }
    }

    fn length(&self) -> io::Result<u64> {
        drop(self.fs.call()?);
        Ok(self.inode.lock().unwrap().now.len() as u64)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if self.fs.is_dead() {
            return Err(io::Error::from_raw_os_error(5));
        }
        let fault = self.fs.fault();
        let offset = offset as usize;
        let grows = (offset + bytes.len()).saturating_sub(self.inode.lock().unwrap().now.len());
        let full = self.fs.fits(grows);
        let mut inode = self.inode.lock().unwrap();
        let half = bytes.len().div_ceil(2);
        match (fault, full) {
            (None, Ok(())) => {
                inode.change(Change::Write(offset, bytes.to_vec()));
                Ok(bytes.len())
            }
            (Some(Fault::Interrupted), _) => Err(ErrorKind::Interrupted.into()),
            (Some(Fault::Short), Ok(())) => {
                inode.change(Change::Write(offset, bytes[..half].to_vec()));
                Ok(half)
            }
            (Some(Fault::Full), _) | (None | Some(Fault::Short), Err(_)) => Err(ErrorKind::StorageFull.into()),
            (Some(Fault::Io | Fault::PowerCut), _) => {
                // Some of it was written when it failed.
                inode.change(Change::Write(offset, bytes[..half].to_vec()));
                Err(io::Error::from_raw_os_error(5))
            }
        }
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        drop(self.fs.call()?);
        let len = len as usize;
        let grows = len.saturating_sub(self.inode.lock().unwrap().now.len());
        self.fs.fits(grows)?;
        if grows > 0 {
            self.inode.lock().unwrap().change(Change::Length(len));
        }
        Ok(())
    }

    fn set_length(&mut self, len: u64) -> io::Result<()> {
        drop(self.fs.call()?);
        self.inode.lock().unwrap().change(Change::Length(len as usize));
        Ok(())
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    path: PathBuf,
}

impl FsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        // The dead hold nothing: what is locked under that name is somebody else's.
        if !self.fs.is_dead() {
            self.fs.disk().locked.retain(|locked| *locked != self.path);
        }
    }
}
