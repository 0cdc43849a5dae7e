//! What stands in the ledger's files: entries of a fixed size, sorted by the hash of a trace's id.

use crate::retention::archive::TraceId;

/// The low byte of a hash is given up: a row keeps its mark there. Of ten million traces a day two have the same key
/// once in four years.
const KEY: u64 = !0xff;

/// What the ledger knows a trace by.
pub fn key_of(id: TraceId) -> u64 {
    id.hash() & KEY
}

/// Something that is kept sorted, in a fixed number of bytes.
pub trait Entry: Copy + Send + 'static {
    /// Its size in a file.
    const BYTES: usize;
    /// What it is sorted by, the key first. Entries that are equal in all of it say the same.
    fn order(&self) -> (u64, u64);
    /// Writes it.
    fn put(&self, into: &mut Vec<u8>);
    /// Reads what `put` has written; `bytes` has the right length.
    fn take(bytes: &[u8]) -> Self;
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// What is known of a copy beside its spans, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u8);

const OPEN: u8 = 0x80;
const LIMITED: u8 = 0x40;
const REVISION: u8 = 0x3f;

impl Mark {
    /// A span was still in progress when it was delivered.
    pub const OPEN: Self = Self(OPEN);
    /// X-Ray held a part of the trace back.
    pub const LIMITED: Self = Self(LIMITED);

    /// The spans were compared with X-Ray's at this revision and are the same. Revisions beyond 62 are not remembered:
    /// they are compared again.
    pub fn verified(revision: u32) -> Self {
        let revision = u8::try_from(revision).unwrap_or(u8::MAX);
        Self(if revision < REVISION { revision } else { 0 })
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        let flags = (self.0 | other.0) & !REVISION;
        Self(flags | (self.0 & REVISION).max(other.0 & REVISION))
    }

    /// The revision it was compared at.
    pub fn revision(self) -> Option<u32> {
        Some(u32::from(self.0 & REVISION)).filter(|revision| *revision > 0)
    }

    /// A span was open, and nobody has compared since.
    pub fn is_open(self) -> bool {
        self.0 & OPEN != 0 && self.revision().is_none()
    }

    /// X-Ray held a part back.
    pub fn is_limited(self) -> bool {
        self.0 & LIMITED != 0
    }
}

/// Spans of one trace that a far end has acknowledged: 16 bytes, the mark in the low byte of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// [`key_of`] the trace.
    pub key: u64,
    pub mark: Mark,
    /// [`span_xor`](crate::retention::archive::span_xor) of the spans. Zero: the row only marks.
    pub xor: u64,
}

impl Entry for Row {
    const BYTES: usize = 16;

    fn order(&self) -> (u64, u64) {
        (self.key, self.xor)
    }

    fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&(self.key | u64::from(self.mark.0)).to_le_bytes());
        into.extend_from_slice(&self.xor.to_le_bytes());
    }

    fn take(bytes: &[u8]) -> Self {
        let first = u64_at(bytes, 0);
        Self {
            key: first & KEY,
            mark: Mark((first & !KEY) as u8),
            xor: u64_at(bytes, 8),
        }
    }
}

/// A trace as it was listed: kept for traces that have no complete copy, so that a loss can be told when X-Ray no longer
/// lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: TraceId,
    /// Unix seconds, rounded down.
    pub start: u32,
    /// Zero: not told.
    pub revision: u16,
    pub flags: u8,
}

impl Listed {
    /// A segment was in progress.
    pub const PARTIAL: u8 = 1;
    /// Its loss has been counted.
    pub const COUNTED: u8 = 2;
    /// Its spans were compared, and the copy does not have all of them.
    pub const DIFFERS: u8 = 4;

    /// The key it is sorted by.
    pub fn key(&self) -> u64 {
        key_of(self.id)
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Entry for Listed {
    const BYTES: usize = 24;

    fn order(&self) -> (u64, u64) {
        let low = u64_at(&self.id.0, 8);
        (self.key(), low)
    }

    fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.id.0);
        into.extend_from_slice(&self.start.to_le_bytes());
        into.extend_from_slice(&self.revision.to_le_bytes());
        into.extend_from_slice(&[self.flags, 0]);
    }

    fn take(bytes: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[..16]);
        let mut start = [0; 4];
        start.copy_from_slice(&bytes[16..20]);
        Self {
            id: TraceId(id),
            start: u32::from_le_bytes(start),
            revision: u16::from_le_bytes([bytes[20], bytes[21]]),
            flags: bytes[22],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_were_written() {
        let row = Row {
            key: 0x1122_3344_5566_7700,
            mark: Mark::verified(7).and(Mark::OPEN),
            xor: 42,
        };
        let listed = Listed {
            id: TraceId([9; 16]),
            start: 1_700_000_000,
            revision: 300,
            flags: Listed::PARTIAL,
        };
        let mut bytes = Vec::new();
        row.put(&mut bytes);
        assert_eq!((bytes.len(), Row::take(&bytes)), (Row::BYTES, row));
        bytes.clear();
        listed.put(&mut bytes);
        assert_eq!((bytes.len(), Listed::take(&bytes)), (Listed::BYTES, listed));
    }

    #[test]
    fn a_comparison_outdoes_an_open_span_and_a_limit_stays() {
        assert!(Mark::OPEN.is_open());
        let compared = Mark::OPEN.and(Mark::verified(3)).and(Mark::verified(2));
        assert_eq!((compared.is_open(), compared.revision()), (false, Some(3)));
        assert!(compared.and(Mark::LIMITED).is_limited());
        assert_eq!(Mark::verified(63).revision(), None);
        assert_eq!(Mark::verified(62).revision(), Some(62));
        assert_eq!(Mark::verified(70_000).revision(), None);
    }
}
