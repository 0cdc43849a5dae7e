//! Files of entries: blocks with a checksum each. A file that is written to ends where its last good block ends; a sorted
//! one says at its end how many entries it has, so that a cut is noticed.

use std::io;
use std::marker::PhantomData;

use super::row::Entry;
use crate::queue::fs::FsFile;

/// Entries of a block.
pub const BLOCK: usize = 4_096;
/// Of a block, before its entries: magic, count, checksum, nothing.
const HEAD: usize = 16;
/// Of a sorted file, before its blocks: magic, the last open file in it, whether it is settled, checksum.
const FILE_HEAD: usize = 32;
const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"RSb1");
const END_MAGIC: u32 = u32::from_le_bytes(*b"RSe1");
const FILE_MAGIC: &[u8; 8] = b"RSledgr1";

/// What a sorted file says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Open files up to this number are in it.
    pub through: u64,
    /// Each trace has one row: rows of several deliveries were added up.
    pub settled: bool,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// Writes all of `bytes`, however many calls that takes.
///
/// # Errors
/// The first call that failed.
pub fn write_all(file: &mut dyn FsFile, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(at + done as u64, &bytes[done..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts entries (as written by [`Entry::put`]) into blocks behind what is in `out`.
pub fn put_blocks(payload: &[u8], entry_bytes: usize, out: &mut Vec<u8>) {
    for block in payload.chunks(BLOCK * entry_bytes) {
        put_head(
            BLOCK_MAGIC,
            (block.len() / entry_bytes) as u32,
            crc32c::crc32c(block),
            out,
        );
        out.extend_from_slice(block);
    }
}

fn put_head(magic: u32, count: u32, checksum: u32, out: &mut Vec<u8>) {
    for number in [magic, count, checksum, 0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Writes a sorted file from its beginning to its end.
pub struct Writer<E> {
    file: Box<dyn FsFile>,
    at: u64,
    block: Vec<u8>,
    scratch: Vec<u8>,
    entries: u64,
    kind: PhantomData<fn(E)>,
}

impl<E: Entry> Writer<E> {
    /// Begins a new file.
    ///
    /// # Errors
    /// Those of the disk; so for all below.
    pub fn begin(file: Box<dyn FsFile>, about: About) -> io::Result<Self> {
        let mut head = FILE_MAGIC.to_vec();
        head.extend_from_slice(&about.through.to_le_bytes());
        head.extend_from_slice(&[u8::from(about.settled), 0, 0, 0]);
        let checksum = crc32c::crc32c(&head);
        head.extend_from_slice(&checksum.to_le_bytes());
        head.resize(FILE_HEAD, 0);
        let mut writer = Self {
            file,
            at: 0,
            block: Vec::with_capacity(BLOCK * E::BYTES),
            scratch: Vec::new(),
            entries: 0,
            kind: PhantomData,
        };
        writer.write(&head)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all(self.file.as_mut(), self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The next entry; they come in order.
    ///
    /// # Errors
    /// As above.
    pub fn push(&mut self, entry: &E) -> io::Result<()> {
        entry.put(&mut self.block);
        self.entries += 1;
        if self.block.len() >= BLOCK * E::BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        put_blocks(&self.block, E::BYTES, &mut out);
        let written = self.write(&out);
        self.scratch = out;
        self.block.clear();
        written
    }

    /// Writes the end, and returns the number of entries when all of it is on the disk.
    ///
    /// # Errors
    /// As above.
    pub fn finish(mut self) -> io::Result<u64> {
        self.end_block()?;
        let total = self.entries.to_le_bytes();
        let mut end = Vec::with_capacity(HEAD);
        end.extend_from_slice(&END_MAGIC.to_le_bytes());
        end.extend_from_slice(&crc32c::crc32c(&total).to_le_bytes());
        end.extend_from_slice(&total);
        self.write(&end)?;
        self.file.sync()?;
        Ok(self.entries)
    }
}

/// Reads entries one after the other.
pub struct Reader<E> {
    file: Box<dyn FsFile>,
    at: u64,
    length: u64,
    block: Vec<u8>,
    next: usize,
    entries: u64,
    /// A sorted file; what is wrong with it is an error, and not its end.
    about: Option<About>,
    done: bool,
    torn: u64,
    /// Blocks were left out: their entries are not counted.
    skipped: bool,
    kind: PhantomData<fn() -> E>,
}

impl<E: Entry> Reader<E> {
    /// A file that was written to: it ends before the first block that is not good.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open_file(file: Box<dyn FsFile>) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self {
            file,
            at: 0,
            length,
            block: Vec::new(),
            next: 0,
            entries: 0,
            about: None,
            done: false,
            torn: 0,
            skipped: false,
            kind: PhantomData,
        })
    }

    /// A sorted file.
    ///
    /// # Errors
    /// Those of the disk, and `InvalidData` where it is damaged; so for [`Reader::next`].
    pub fn sorted(file: Box<dyn FsFile>) -> io::Result<Self> {
        let mut reader = Self::open_file(file)?;
        let mut head = [0; FILE_HEAD];
        if reader.length < FILE_HEAD as u64 {
            return Err(damaged("a sorted file has no head"));
        }
        reader.file.read_at(0, &mut head)?;
        if head[..8] != FILE_MAGIC[..] || u32_at(&head, 20) != crc32c::crc32c(&head[..20]) {
            return Err(damaged("the head of a sorted file is damaged"));
        }
        reader.about = Some(About {
            through: u64_at(&head, 8),
            settled: head[16] != 0,
        });
        reader.at = FILE_HEAD as u64;
        Ok(reader)
    }

    /// What a sorted file says of itself.
    pub fn about(&self) -> About {
        self.about.unwrap_or_default()
    }

    /// Bytes at the end that were no good block.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// As above.
    #[allow(clippy::should_implement_trait)] // It can fail.
    pub fn next(&mut self) -> io::Result<Option<E>> {
        if self.next >= self.block.len() && (self.done || !self.next_block()?) {
            return Ok(None);
        }
        let entry = E::take(&self.block[self.next..self.next + E::BYTES]);
        self.next += E::BYTES;
        Ok(Some(entry))
    }

    /// In a sorted file: the next entry will be the first that is not before `key`. Blocks in between are not read.
    ///
    /// # Errors
    /// As above.
    pub fn skip_to(&mut self, key: u64) -> io::Result<()> {
        if self.about.is_none() || self.done {
            return Ok(());
        }
        if !self.ends_before(key) {
            self.skip_in_block(key);
            return Ok(());
        }
        // The block that is read next begins here.
        let full = (HEAD + BLOCK * E::BYTES) as u64;
        let (next, rest) = ((self.at - FILE_HEAD as u64) / full, (self.at - FILE_HEAD as u64) % full);
        if rest > 0 {
            // Behind the last block, the only one that is not full.
            self.next = self.block.len();
            return Ok(());
        }
        let blocks = (self.length - FILE_HEAD as u64)
            .saturating_sub(HEAD as u64)
            .div_ceil(full);
        // The last block that begins before the key; nearly always the next one, so near ones are tried first.
        let (mut from, mut step) = (next, 1);
        while from + step < blocks && self.begins_before(from + step, key)? {
            from += step;
            step *= 2;
        }
        let mut to = (from + step).min(blocks);
        while from + 1 < to {
            let middle = from.midpoint(to);
            if self.begins_before(middle, key)? {
                from = middle;
            } else {
                to = middle;
            }
        }
        self.skipped |= from > next;
        self.at = FILE_HEAD as u64 + from * full;
        loop {
            self.next = self.block.len();
            if self.done || !self.next_block()? {
                return Ok(());
            }
            if !self.ends_before(key) {
                self.skip_in_block(key);
                return Ok(());
            }
        }
    }

    fn ends_before(&self, key: u64) -> bool {
        let last = self.block.len().checked_sub(E::BYTES);
        last.is_none_or(|last| E::take(&self.block[last..]).order().0 < key)
    }

    fn skip_in_block(&mut self, key: u64) {
        let at = |number: usize| {
            E::take(&self.block[number * E::BYTES..(number + 1) * E::BYTES])
                .order()
                .0
        };
        let (mut from, mut to) = (self.next / E::BYTES, self.block.len() / E::BYTES);
        while from < to {
            let middle = from.midpoint(to);
            if at(middle) < key {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        self.next = from * E::BYTES;
    }

    /// Of the block with this number. What stands there is read again, and checked, when it is used.
    fn begins_before(&mut self, number: u64, key: u64) -> io::Result<bool> {
        let full = (HEAD + BLOCK * E::BYTES) as u64;
        let mut first = vec![0; E::BYTES];
        let at = FILE_HEAD as u64 + number * full + HEAD as u64;
        if at + E::BYTES as u64 + HEAD as u64 > self.length {
            return Ok(false);
        }
        self.file.read_at(at, &mut first)?;
        Ok(E::take(&first).order().0 < key)
    }

    fn next_block(&mut self) -> io::Result<bool> {
        self.next = 0;
        self.block.clear();
        let found = self.read_block();
        match found {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.done = true;
                Ok(false)
            }
            Err(error) if self.about.is_none() && error.kind() == io::ErrorKind::InvalidData => {
                self.block.clear();
                self.done = true;
                self.torn = self.length - self.at;
                Ok(false)
            }
            Err(error) => {
                self.block.clear();
                self.done = true;
                Err(error)
            }
        }
    }

    fn read_block(&mut self) -> io::Result<bool> {
        let left = self.length - self.at;
        if left == 0 && self.about.is_none() {
            return Ok(false);
        }
        if left < HEAD as u64 {
            return Err(damaged("a block is cut off"));
        }
        let mut head = [0; HEAD];
        self.file.read_at(self.at, &mut head)?;
        let (magic, count) = (u32_at(&head, 0), u32_at(&head, 4) as usize);
        if magic == END_MAGIC && self.about.is_some() {
            let total = &head[8..];
            let is_all = self.skipped || u64_at(total, 0) == self.entries;
            let is_whole = u32_at(&head, 4) == crc32c::crc32c(total) && is_all;
            return if is_whole {
                Ok(false)
            } else {
                Err(damaged("entries are missing"))
            };
        }
        let bytes = count * E::BYTES;
        if magic != BLOCK_MAGIC || count == 0 || count > BLOCK || left < (HEAD + bytes) as u64 {
            return Err(damaged("a block is damaged"));
        }
        self.block.resize(bytes, 0);
        self.file.read_at(self.at + HEAD as u64, &mut self.block)?;
        if crc32c::crc32c(&self.block) != u32_at(&head, 8) {
            return Err(damaged("the checksum of a block is wrong"));
        }
        self.at += (HEAD + bytes) as u64;
        self.entries += count as u64;
        Ok(true)
    }
}
