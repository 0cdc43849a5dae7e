//! What a drain could not deliver is left in a file and sent first at the next start.
//!
//! A memory queue has no other use for the disk: nothing is written while the agent runs. A file is written whole,
//! synced, and only then named; it is removed when the last of its records has been answered for. After a crash in
//! between it is sent again from its beginning (at least once). One process at a time reads: a lock file per exporter
//! and signal; everybody may write, as names are unique.

mod reader;
mod record;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::fs::{Aside, Fs, FsLock, RealFs};
use crate::component::BuildContext;
use crate::pdata::{Batch, Signal};
use reader::Reader;
use record::Seed;

/// How often is looked for a file that another instance may leave (a reload, a process that still holds the lock).
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);
const ENDING: &str = ".spill";
const UNFINISHED: &str = ".tmp";
/// Damaged files that are kept for whoever wants to look at them.
const QUARANTINED: usize = 8;

/// The place where one exporter (or batcher) and signal leaves what it could not deliver.
pub struct Spill {
    fs: Arc<dyn Fs>,
    dir: Option<PathBuf>,
    id: String,
    /// Beginning of all its file names.
    stem: String,
}

/// A recovery that was not finished, and the files whose records were copied from it.
type Rest<'a> = (&'a mut Recovery, &'a mut Vec<Arc<OpenFile>>);

/// A store that could not keep everything.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotStored {
    /// Batches from the first on that are safe all the same.
    pub kept: usize,
    pub error: io::Error,
}

/// What a look at the directory found.
pub enum Found {
    /// Nothing, or somebody else is reading it: look again later.
    NotYet,
    /// To be sent before anything else.
    Records(Box<Recovery>),
}

impl Spill {
    /// In the state directory, else in the spill directory; nowhere when the context has neither.
    pub fn new(context: &BuildContext, signal: Signal) -> Self {
        Self::with_fs(context, signal, Arc::new(RealFs))
    }

    /// The same on another file system.
    pub fn with_fs(context: &BuildContext, signal: Signal, fs: Arc<dyn Fs>) -> Self {
        let state_dir = context.state_dir.as_ref().map(|dir| dir.join("spill"));
        let id = format!("{}/{}", context.kind.name(), context.id);
        Self {
            fs,
            dir: state_dir.or_else(|| context.spill_dir.clone()),
            stem: stem_of(context, signal),
            id,
        }
    }

    /// Where the calls that block are made.
    pub fn aside(&self) -> Aside {
        Aside(Arc::clone(&self.fs))
    }

    /// Whether there is a directory to leave data in.
    pub fn has_directory(&self) -> bool {
        self.dir.is_some()
    }

    /// Whether an earlier run left something here. Blocks, for the time of one look into a directory.
    pub fn has_files(&self) -> bool {
        let names = self.dir.as_deref().and_then(|dir| self.fs.list(dir).ok());
        names.is_some_and(|names| names.iter().any(|name| self.is_ours(name)))
    }

    fn is_ours(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.stem).and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|rest| rest.ends_with(ENDING) || rest.ends_with(UNFINISHED))
    }

    /// The directory, made where it is not there; `None` where nothing can be left. Blocks.
    pub fn prepare(&self) -> Option<&Path> {
        let dir = self.dir.as_deref()?;
        self.fs.create_dir(dir).ok()?;
        Some(dir)
    }

    /// Leaves batches, and the records of a recovery that was not finished. Where not everything fits on the disk, as
    /// many batches from the first on as do; a recovery stays in its own files then. Blocks.
    ///
    /// # Errors
    /// What could not be kept, and why.
    pub fn store(&self, batches: &[Batch], rest: Option<&mut Recovery>) -> Result<(), NotStored> {
        let had_rest = rest.is_some();
        let mut written = 0;
        let Err(error) = self.store_file(batches, rest, &mut written) else {
            return Ok(());
        };
        let mut count = fewer(batches.len() + usize::from(had_rest), written.min(batches.len()));
        while count > 0 {
            // A file of its own each time: a file is whole, or it is not there.
            if self.store_file(&batches[..count], None, &mut written).is_ok() {
                break;
            }
            count = fewer(count, written);
        }
        if count == batches.len() {
            // Only the recovery did not fit, and that is where it was.
            return Ok(());
        }
        Err(NotStored { kept: count, error })
    }

    /// One file, whole or not at all.
    fn store_file(&self, batches: &[Batch], rest: Option<&mut Recovery>, written: &mut usize) -> io::Result<()> {
        *written = 0;
        let nowhere = || io::Error::new(io::ErrorKind::NotFound, "no state or spill directory");
        let dir = self.dir.as_deref().ok_or_else(nowhere)?;
        self.fs.create_dir(dir)?;
        let name = format!("{}-{}", self.stem, uuid::Uuid::new_v4().simple());
        let unfinished = dir.join(format!("{name}{UNFINISHED}"));
        let mut copied = Vec::new();
        let seed = Seed::of_name(&name);
        let rest = rest.map(|rest| (rest, &mut copied));
        let whole = self.write(&unfinished, seed, batches, rest, written);
        let named = dir.join(format!("{name}{ENDING}"));
        let kept = whole
            .and_then(|()| self.fs.rename(&unfinished, &named))
            .and_then(|()| self.fs.sync_dir(dir));
        match kept {
            Ok(()) => copied.iter().for_each(|file| file.answered()),
            Err(_) => {
                // Nothing of it counts; a file that cannot be removed now is removed at the next start.
                let _ = self.fs.remove(&unfinished);
                let _ = self.fs.remove(&named);
            }
        }
        kept
    }

    fn write(
        &self,
        path: &Path,
        seed: Seed,
        batches: &[Batch],
        rest: Option<Rest<'_>>,
        written: &mut usize,
    ) -> io::Result<()> {
        let mut file = self.fs.create(path)?;
        let known: u64 = batches.iter().map(|batch| batch.items() as u64).sum();
        // Records of a recovery are copied one by one; how many items they have shows only then.
        let total = if rest.is_some() { 0 } else { known };
        file.append(&record::encode_head(seed, total))?;
        let mut items = 0;
        for batch in batches {
            file.append(&record::encode(seed, &self.id, items, batch))?;
            items += batch.items() as u64;
            *written += 1;
        }
        if let Some((recovery, copied)) = rest {
            while let Some(recovered) = recovery.next_record() {
                file.append(&record::encode(seed, &self.id, items, &recovered.batch))?;
                items += recovered.batch.items() as u64;
                // Answered for once the copy is safe, not before.
                copied.push(recovered.file);
            }
        }
        file.sync()
    }

    /// Looks for files and takes the lock where there are any. Blocks.
    pub fn look(&self) -> io::Result<Found> {
        let Some(dir) = self.dir.as_deref() else {
            return Ok(Found::NotYet);
        };
        let names = match self.fs.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::NotYet),
            Err(error) => return Err(error),
        };
        let is_ours = |name: &String| self.is_ours(name);
        if !names.iter().any(is_ours) {
            return Ok(Found::NotYet);
        }
        let Some(lock) = self.fs.lock(&dir.join(format!("{}.lock", self.stem)))? else {
            return Ok(Found::NotYet);
        };
        // Listed again: who held the lock may have read some of them.
        let (files, unfinished): (Vec<String>, Vec<String>) = self
            .fs
            .list(dir)?
            .into_iter()
            .filter(is_ours)
            .partition(|name| name.ends_with(ENDING));
        for name in unfinished {
            // Never acknowledged: whoever wrote it has counted its items as lost.
            self.fs.remove(&dir.join(name))?;
        }
        Ok(Found::Records(Box::new(Recovery {
            fs: Arc::clone(&self.fs),
            dir: dir.to_owned(),
            id: self.id.clone(),
            files: files.into(),
            current: None,
            lost: 0,
            lock: Arc::from(lock),
        })))
    }
}

/// What names of files and folders of one component and signal begin with: readable, and different for each id.
pub fn stem_of(context: &BuildContext, signal: Signal) -> String {
    let id = format!("{}/{}", context.kind.name(), context.id);
    let is_plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let readable: String = id.chars().take(48).map(is_plain).collect();
    format!("{readable}-{:016x}-{}", xxh3_64(id.as_bytes()), signal.name())
}

/// How many batches to try after `tried` failed, of which `written` went into the file. If all did it was the sync.
fn fewer(tried: usize, written: usize) -> usize {
    if written < tried { written } else { tried / 2 }
}

/// Files that an earlier run left, being read.
pub struct Recovery {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    id: String,
    files: VecDeque<String>,
    current: Option<(Reader, Arc<OpenFile>)>,
    /// Items of records that were damaged, not yet taken by [`Recovery::take_lost`].
    lost: u64,
    lock: Arc<dyn FsLock>,
}

/// A record of a file, and the file that may go when it has been answered for.
pub struct Recovered {
    pub batch: Batch,
    pub file: Arc<OpenFile>,
}

impl Recovery {
    /// The next record of all files; `None` at the end. Blocks.
    pub fn next_record(&mut self) -> Option<Recovered> {
        loop {
            if self.current.is_none() {
                self.open_next()?;
            }
            let (reader, file) = self.current.as_mut()?;
            if let Some(batch) = reader.next() {
                file.open.fetch_add(1, Ordering::AcqRel);
                return Some(Recovered {
                    batch,
                    file: Arc::clone(file),
                });
            }
            self.lost += reader.lost;
            file.damaged.store(reader.damaged, Ordering::Release);
            // The count that stood for the reading itself.
            file.answered();
            self.current = None;
        }
    }

    /// Items of damaged records since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn open_next(&mut self) -> Option<()> {
        loop {
            let name = self.files.pop_front()?;
            let path = self.dir.join(&name);
            let seed = Seed::of_name(name.trim_end_matches(ENDING));
            let opened = self.fs.open(&path).and_then(|file| Reader::new(file, seed, &self.id));
            match opened {
                Ok(reader) => {
                    let file = OpenFile {
                        fs: Arc::clone(&self.fs),
                        dir: self.dir.clone(),
                        name,
                        open: AtomicUsize::new(1),
                        damaged: AtomicBool::new(false),
                        _lock: Arc::clone(&self.lock),
                    };
                    self.current = Some((reader, Arc::new(file)));
                    return Some(());
                }
                // It stays where it is for the next start.
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "cannot read data left by an earlier run")
                }
            }
        }
    }
}

/// A file whose records are on their way; removed with the last answer.
pub struct OpenFile {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    name: String,
    open: AtomicUsize,
    damaged: AtomicBool,
    /// Held until the file is gone: at the next look its records on their way must not be read a second time.
    _lock: Arc<dyn FsLock>,
}

impl OpenFile {
    /// A record was delivered, dropped and counted, or written to another file. With the last one the file goes; a
    /// damaged one goes to `quarantine/`.
    pub fn answered(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let path = self.dir.join(&self.name);
        let gone = if self.damaged.load(Ordering::Acquire) {
            self.quarantine(&path)
        } else {
            self.fs.remove(&path)
        };
        if let Err(error) = gone {
            tracing::warn!(file = %path.display(), %error, "cannot remove a file that was sent: it will be sent again");
        }
    }

    fn quarantine(&self, path: &Path) -> io::Result<()> {
        let quarantine = self.dir.join("quarantine");
        self.fs.create_dir(&quarantine)?;
        let mut kept = self.fs.list(&quarantine)?;
        while kept.len() >= QUARANTINED {
            self.fs.remove(&quarantine.join(kept.remove(0)))?;
        }
        self.fs.rename(path, &quarantine.join(&self.name))
    }
}

/// Where a drain may leave data when no state directory is configured: the first of `$STATE_DIRECTORY`,
/// `$XDG_STATE_HOME/radiosonde` and `~/.local/state/radiosonde` that can be written, in a folder named by the hash of the
/// configuration's URIs, so that the next start with the same URIs finds it. Creates nothing.
pub fn spill_directory(uris: &[String], env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let candidates = [
        // systemd gives several, separated by colons.
        set("STATE_DIRECTORY").and_then(|dirs| dirs.split(':').next().map(PathBuf::from)),
        set("XDG_STATE_HOME").map(|dir| Path::new(&dir).join("radiosonde")),
        set("HOME").map(|home| Path::new(&home).join(".local/state/radiosonde")),
    ];
    let base = candidates
        .into_iter()
        .flatten()
        .find(|dir| dir.is_absolute() && can_be_written(dir))?;
    let mut text = Vec::new();
    for uri in uris {
        text.extend_from_slice(&(uri.len() as u64).to_le_bytes());
        text.extend_from_slice(uri.as_bytes());
    }
    Some(base.join("spill").join(format!("{:016x}", xxh3_64(&text))))
}

/// The directory itself, or the nearest one above it that exists.
fn can_be_written(dir: &Path) -> bool {
    let existing = dir.ancestors().find(|dir| dir.exists());
    let access = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    existing.is_some_and(|dir| dir.is_dir() && nix::unistd::access(dir, access).is_ok())
}
