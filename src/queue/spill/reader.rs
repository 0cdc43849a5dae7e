//! Reads a spill file record by record. Damage is skipped and counted; memory is one record.

use std::io;

use bytes::Bytes;

use super::record::{self, HEAD_LEN, HEADER_LEN, Header, MARKER, Seed};
use crate::pdata::Batch;
use crate::queue::fs::FsFile;

/// Looking for the next record goes through the file in steps of this size.
const SCAN_STEP: usize = 64 * 1024;

/// See the module text.
pub struct Reader {
    file: Box<dyn FsFile>,
    seed: Seed,
    id: String,
    len: u64,
    offset: u64,
    /// Items of the records seen so far, lost ones included.
    items_seen: u64,
    /// The most items that the file is known to have held.
    total: u64,
    pub lost: u64,
    /// Something was not as it was written.
    pub damaged: bool,
}

impl Reader {
    /// Starts at the first record. A damaged head costs nothing but the knowledge of the total.
    pub fn new(mut file: Box<dyn FsFile>, seed: Seed, id: &str) -> io::Result<Self> {
        let len = file.length()?;
        let mut head = [0; HEAD_LEN];
        let total = match file.read_at(0, &mut head) {
            Ok(()) => record::decode_head(seed, &head),
            Err(_) => None,
        };
        Ok(Self {
            file,
            seed,
            id: id.to_owned(),
            len,
            offset: if total.is_some() { HEAD_LEN as u64 } else { 0 },
            items_seen: 0,
            total: total.unwrap_or(0),
            lost: 0,
            damaged: total.is_none(),
        })
    }

    /// The next whole record; `None` at the end, when `lost` says how many items the damage has cost.
    pub fn next(&mut self) -> Option<Batch> {
        while let Some(header) = self.find_header() {
            let start = self.offset;
            let body_start = start + HEADER_LEN as u64;
            let end_of_record = header.items_before.saturating_add(u64::from(header.items));
            self.total = self.total.max(end_of_record);
            let Some(batch) = self.read_body(&header, body_start) else {
                // Its items show as a gap; the next record may begin anywhere behind the header.
                self.damaged = true;
                self.offset = body_start;
                continue;
            };
            self.offset = body_start + header.body_len();
            if header.items_before < self.items_seen {
                // A range of the file stands there twice.
                self.damaged = true;
                continue;
            }
            self.lost += header.items_before - self.items_seen;
            self.items_seen = end_of_record;
            return Some(batch);
        }
        self.lost += self.total.saturating_sub(self.items_seen);
        self.items_seen = self.items_seen.max(self.total);
        self.damaged |= self.lost > 0;
        None
    }

    /// Moves to the next whole header.
    fn find_header(&mut self) -> Option<Header> {
        loop {
            let mut bytes = [0; HEADER_LEN];
            if self.file.read_at(self.offset, &mut bytes).is_ok()
                && let Some(header) = Header::decode(self.seed, &bytes)
            {
                return Some(header);
            }
            if self.offset >= self.len {
                return None;
            }
            self.damaged = true;
            self.offset = self.find_marker(self.offset + 1)?;
        }
    }

    /// The next place at or behind `from` where a record may begin.
    fn find_marker(&mut self, from: u64) -> Option<u64> {
        let mut at = from;
        let mut window = vec![0; SCAN_STEP];
        while at + (MARKER.len() as u64) <= self.len {
            let size = usize::try_from(self.len - at).unwrap_or(usize::MAX).min(SCAN_STEP);
            if self.file.read_at(at, &mut window[..size]).is_ok() {
                let found = window[..size].windows(MARKER.len()).position(|bytes| bytes == MARKER);
                if let Some(found) = found {
                    return Some(at + found as u64);
                }
            }
            // A marker may lie across two steps.
            at += (size - (MARKER.len() - 1)).max(1) as u64;
        }
        None
    }

    fn read_body(&mut self, header: &Header, start: u64) -> Option<Batch> {
        let len = header.body_len();
        if start.checked_add(len)? > self.len {
            return None;
        }
        let mut body = vec![0; usize::try_from(len).ok()?];
        self.file.read_at(start, &mut body).ok()?;
        record::decode_body(self.seed, header, &self.id, Bytes::from(body))
    }
}
