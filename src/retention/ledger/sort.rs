//! Sorting more than fits into memory: sorted runs on the disk, merged as they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::blocks::{About, Reader, Writer};
use super::row::Entry;
use crate::queue::fs::Fs;

/// Entries that are sorted in memory at once: 16 or 24 MB of them.
const RUN: usize = 1 << 20;

/// Takes entries in any order.
pub struct Sorter<E> {
    fs: Arc<dyn Fs>,
    /// Runs are called so, with a number behind.
    prefix: PathBuf,
    run: Vec<E>,
    most: usize,
    runs: Vec<PathBuf>,
}

impl<E: Entry> Sorter<E> {
    /// Runs are files beside `prefix`, and go with what is made of them.
    pub fn new(fs: &Arc<dyn Fs>, prefix: PathBuf) -> Self {
        Self::with_runs_of(fs, prefix, RUN)
    }

    /// The same with another size of runs.
    pub fn with_runs_of(fs: &Arc<dyn Fs>, prefix: PathBuf, most: usize) -> Self {
        Self {
            fs: Arc::clone(fs),
            prefix,
            run: Vec::new(),
            most,
            runs: Vec::new(),
        }
    }

    /// One more.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn push(&mut self, entry: E) -> io::Result<()> {
        self.run.push(entry);
        if self.run.len() >= self.most {
            self.write_run()?;
        }
        Ok(())
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.run.sort_unstable_by_key(Entry::order);
        let mut name = self.prefix.clone().into_os_string();
        name.push(format!(".{}.run", self.runs.len()));
        let path = PathBuf::from(name);
        // Left behind by a process that was killed.
        let _ = self.fs.remove(&path);
        let file = self.fs.create(&path)?;
        self.runs.push(path);
        let mut writer = Writer::begin(file, About::default())?;
        for entry in &self.run {
            writer.push(entry)?;
        }
        writer.finish()?;
        self.run.clear();
        Ok(())
    }

    /// All of them in order, with those of sorted files.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn merged(mut self, sorted: Vec<Reader<E>>) -> io::Result<Merge<E>> {
        self.run.sort_unstable_by_key(Entry::order);
        let mut sources = vec![Source::Memory(std::mem::take(&mut self.run).into_iter())];
        sources.extend(sorted.into_iter().map(Source::File));
        for path in &self.runs {
            sources.push(Source::File(Reader::sorted(self.fs.open(path)?)?));
        }
        let mut merge = Merge {
            heads: Vec::with_capacity(sources.len()),
            heap: BinaryHeap::with_capacity(sources.len()),
            sources,
            _runs: self,
        };
        for number in 0..merge.sources.len() {
            let head = merge.sources[number].next()?;
            merge.heads.push(head);
            if let Some(entry) = head {
                merge.heap.push(Reverse((entry.order(), number)));
            }
        }
        Ok(merge)
    }
}

impl<E> Drop for Sorter<E> {
    fn drop(&mut self) {
        for path in &self.runs {
            let _ = self.fs.remove(path);
        }
    }
}

enum Source<E> {
    Memory(std::vec::IntoIter<E>),
    File(Reader<E>),
}

impl<E: Entry> Source<E> {
    fn next(&mut self) -> io::Result<Option<E>> {
        match self {
            Source::Memory(entries) => Ok(entries.next()),
            Source::File(reader) => reader.next(),
        }
    }
}

/// Entries of all sources in order.
pub struct Merge<E> {
    sources: Vec<Source<E>>,
    heads: Vec<Option<E>>,
    heap: BinaryHeap<Reverse<((u64, u64), usize)>>,
    /// Its files go when the merge goes.
    _runs: Sorter<E>,
}

impl<E: Entry> Merge<E> {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// Those of the disk, and `InvalidData` where a sorted file is damaged.
    #[allow(clippy::should_implement_trait)] // It can fail.
    pub fn next(&mut self) -> io::Result<Option<E>> {
        let Some(mut top) = self.heap.peek_mut() else {
            return Ok(None);
        };
        let Reverse((_, number)) = *top;
        let next = self.sources[number].next()?;
        let entry = std::mem::replace(&mut self.heads[number], next);
        match next {
            Some(next) => *top = Reverse((next.order(), number)),
            None => {
                std::collections::binary_heap::PeekMut::pop(top);
            }
        }
        Ok(entry)
    }
}
