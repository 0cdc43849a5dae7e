//! The bytes of a log: the head of a segment, the header of a record, and how far a log has come.
//!
//! All numbers are little endian. A record is a header of [`HEADER_LEN`] bytes, the origin as JSON, and the payload. The
//! header has a CRC32C of its own, which covers the checksum of origin and payload too: headers can be trusted without
//! reading what follows. Each record repeats the nonce of its segment (a part of the file's name), so that neither a
//! payload nor a copied file can hold a record that passes for one of the segment.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::component::UnixNanos;
use crate::pdata::{Auth, Batch, BatchId, Origin, Parts, Signal};

const SEGMENT_MAGIC: &[u8; 8] = b"RADIOWAL";
/// The layout described here.
pub const VERSION: u32 = 1;
/// Bytes of a segment before its first record.
pub const HEAD_LEN: u64 = 64;
/// What every record begins with.
pub const MAGIC: &[u8; 4] = b"RWAL";
/// Bytes of a record before its origin.
pub const HEADER_LEN: usize = 88;
const DATA: u8 = 1;
/// On the byte of the signal: the id came with the request, which its sender may bring again.
const ID_CAME_WITH_IT: u8 = 0x80;

/// So much lies before a place in the log: records, their items, their bytes (header included). Sequence numbers are
/// `records`. Since every record says where it stands, a gap says exactly what is missing in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Totals {
    pub records: u64,
    pub items: u64,
    pub bytes: u64,
}

impl Totals {
    /// Behind one record more.
    pub fn after(self, items: u64, bytes: u64) -> Self {
        Self {
            records: self.records.saturating_add(1),
            items: self.items.saturating_add(items),
            bytes: self.bytes.saturating_add(bytes),
        }
    }

    /// What lies between `self` and a later place.
    pub fn until(self, later: Self) -> Self {
        Self {
            records: later.records.saturating_sub(self.records),
            items: later.items.saturating_sub(self.items),
            bytes: later.bytes.saturating_sub(self.bytes),
        }
    }

    pub(super) fn put(self, into: &mut Vec<u8>) {
        for number in [self.records, self.items, self.bytes] {
            into.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn get(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            records: u64_at(bytes, at)?,
            items: u64_at(bytes, at + 8)?,
            bytes: u64_at(bytes, at + 16)?,
        })
    }
}

/// Records that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Totals,
    pub to: Totals,
}

impl Range {
    /// What is in it.
    pub fn size(self) -> Totals {
        self.from.until(self.to)
    }
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The head of a segment that begins at `first`.
pub fn encode_head(nonce: u64, first: Totals) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_LEN as usize);
    head.extend_from_slice(SEGMENT_MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&0u32.to_le_bytes());
    head.extend_from_slice(&nonce.to_le_bytes());
    first.put(&mut head);
    head.resize(HEAD_LEN as usize - 4, 0);
    let checksum = crc32c::crc32c(&head);
    head.extend_from_slice(&checksum.to_le_bytes());
    head
}

/// What the head of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Ours, and where the log was at its beginning.
    Whole(Totals),
    /// Written by a later version.
    Future(u32),
    /// Not as it was written: records are looked for all the same.
    Damaged,
}

/// Reads a head; a future version keeps magic, version and the checksum's place.
pub fn decode_head(nonce: u64, head: &[u8]) -> Head {
    let end = HEAD_LEN as usize - 4;
    let whole = head.len() == HEAD_LEN as usize
        && head.starts_with(SEGMENT_MAGIC)
        && u32_at(head, end) == Some(crc32c::crc32c(&head[..end]));
    match u32_at(head, 8) {
        Some(version) if whole && version > VERSION => Head::Future(version),
        Some(VERSION) if whole && u64_at(head, 16) == Some(nonce) => {
            Totals::get(head, 24).map_or(Head::Damaged, Head::Whole)
        }
        _ => Head::Damaged,
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub signal: Signal,
    pub items: u32,
    pub origin_len: u32,
    pub payload_len: u64,
    /// Where it stands in the log.
    pub before: Totals,
    /// When the queue took it.
    pub enqueued: UnixNanos,
    /// The same at every attempt, over restarts.
    pub batch_id: BatchId,
    /// The sender chose it, and may bring the same request again.
    pub id_came_with_it: bool,
    /// How many records of its group stand before it: a group is on the disk or was acknowledged to nobody.
    pub index: u16,
    body_checksum: u32,
}

impl Header {
    /// Header, origin and payload.
    pub fn record_len(&self) -> u64 {
        (HEADER_LEN as u64)
            .saturating_add(u64::from(self.origin_len))
            .saturating_add(self.payload_len)
    }

    /// The place of the record in the log.
    pub fn range(&self) -> Range {
        Range {
            from: self.before,
            to: self.before.after(u64::from(self.items), self.record_len()),
        }
    }

    /// The number of the first record of its group.
    pub fn group(&self) -> u64 {
        self.before.records.saturating_sub(u64::from(self.index))
    }

    fn put(&self, nonce: u64, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(MAGIC);
        let came = if self.id_came_with_it { ID_CAME_WITH_IT } else { 0 };
        into.extend_from_slice(&[DATA, self.signal as u8 | came]);
        into.extend_from_slice(&self.index.to_le_bytes());
        into.extend_from_slice(&self.items.to_le_bytes());
        into.extend_from_slice(&self.origin_len.to_le_bytes());
        into.extend_from_slice(&self.payload_len.to_le_bytes());
        self.before.put(into);
        into.extend_from_slice(&self.enqueued.0.to_le_bytes());
        into.extend_from_slice(&self.batch_id.0.to_le_bytes());
        into.extend_from_slice(&nonce.to_le_bytes());
        into.extend_from_slice(&self.body_checksum.to_le_bytes());
        let checksum = crc32c::crc32c(&into[start..]);
        into.extend_from_slice(&checksum.to_le_bytes());
    }

    /// `None` where these bytes are no whole header of this segment.
    pub fn decode(nonce: u64, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_LEN)?;
        let end = HEADER_LEN - 4;
        let is_ours = bytes.starts_with(MAGIC)
            && u32_at(bytes, end) == Some(crc32c::crc32c(&bytes[..end]))
            && u64_at(bytes, 72) == Some(nonce);
        if !is_ours || bytes[4] != DATA {
            return None;
        }
        Some(Self {
            signal: *Signal::ALL
                .iter()
                .find(|signal| **signal as u8 == bytes[5] & !ID_CAME_WITH_IT)?,
            items: u32_at(bytes, 8)?,
            origin_len: u32_at(bytes, 12)?,
            payload_len: u64_at(bytes, 16)?,
            before: Totals::get(bytes, 24)?,
            enqueued: UnixNanos(u64_at(bytes, 48)?),
            batch_id: BatchId(u128::from_le_bytes(bytes[56..72].try_into().ok()?)),
            id_came_with_it: bytes[5] & ID_CAME_WITH_IT != 0,
            index: u16::from_le_bytes(bytes[6..8].try_into().ok()?),
            body_checksum: u32_at(bytes, 80)?,
        })
    }

    /// The batch; `None` where origin or payload are not as they were written.
    pub fn decode_body(&self, body: Bytes) -> Option<Batch> {
        let origin_len = self.origin_len as usize;
        if crc32c::crc32c(&body) != self.body_checksum || body.len() < origin_len {
            return None;
        }
        let stored: StoredOrigin = match origin_len {
            0 => StoredOrigin::default(),
            _ => serde_json::from_slice(&body[..origin_len]).ok()?,
        };
        let origin = Origin {
            client: stored.client,
            metadata: stored.metadata,
            auth: stored.auth.map(|attributes| Auth { attributes }),
            ..Origin::default()
        };
        let payload = body.slice(origin_len..);
        Some(Batch::from_wire(self.signal, payload, self.items, Arc::new(origin)))
    }
}

/// What of an origin has to survive: what the exporter or a batch behind it looks at.
#[derive(Default, Serialize, Deserialize)]
struct StoredOrigin {
    #[serde(default)]
    metadata: Vec<(Box<str>, Vec<Box<str>>)>,
    auth: Option<Vec<(Box<str>, Box<str>)>>,
    client: Option<std::net::SocketAddr>,
}

/// A record that has no place in the log yet. Cheap to clone: the payload is shared.
#[derive(Clone, Debug)]
pub struct Draft {
    signal: Signal,
    items: u32,
    origin: Bytes,
    parts: Parts,
    payload_len: u64,
    checksum: u32,
    enqueued: UnixNanos,
    batch_id: BatchId,
    id_came_with_it: bool,
}

impl Draft {
    /// Reads the payload once, for its checksum. A batch without an id of its own is known by `id`.
    pub fn new(batch: &mut Batch, enqueued: UnixNanos, id: BatchId) -> Self {
        let origin = batch.origin();
        let own_id = origin.batch_id;
        let stored = StoredOrigin {
            metadata: origin.metadata.clone(),
            auth: origin.auth.as_ref().map(|auth| auth.attributes.clone()),
            client: origin.client,
        };
        let origin: Bytes = serde_json::to_vec(&stored).unwrap_or_default().into();
        let mut checksum = crc32c::crc32c(&origin);
        let parts = batch.parts().clone();
        for part in &parts {
            checksum = crc32c::crc32c_append(checksum, part);
        }
        Self {
            signal: batch.signal(),
            items: u32::try_from(batch.items()).unwrap_or(u32::MAX),
            origin,
            payload_len: parts.iter().map(|part| part.len() as u64).sum(),
            parts,
            checksum,
            enqueued,
            batch_id: own_id.unwrap_or(id),
            id_came_with_it: own_id.is_some(),
        }
    }

    /// Bytes it takes in the log.
    pub fn record_len(&self) -> u64 {
        HEADER_LEN as u64 + self.origin.len() as u64 + self.payload_len
    }

    /// Spans, points or records.
    pub fn items(&self) -> u32 {
        self.items
    }

    /// When the queue took it.
    pub fn enqueued(&self) -> UnixNanos {
        self.enqueued
    }

    /// What it is known by.
    pub fn batch_id(&self) -> BatchId {
        self.batch_id
    }

    /// The sender chose that, and may bring the same request again.
    pub fn id_came_with_it(&self) -> bool {
        self.id_came_with_it
    }

    /// Where it stands if `before` lies before it.
    pub fn range(&self, before: Totals) -> Range {
        Range {
            from: before,
            to: before.after(u64::from(self.items), self.record_len()),
        }
    }

    /// The whole record, as the `index`-th of its group.
    pub fn put(&self, nonce: u64, before: Totals, index: u16, into: &mut Vec<u8>) {
        let header = Header {
            signal: self.signal,
            items: self.items,
            origin_len: self.origin.len() as u32,
            payload_len: self.payload_len,
            before,
            enqueued: self.enqueued,
            batch_id: self.batch_id,
            id_came_with_it: self.id_came_with_it,
            index,
            body_checksum: self.checksum,
        };
        header.put(nonce, into);
        into.extend_from_slice(&self.origin);
        for part in &self.parts {
            into.extend_from_slice(part);
        }
    }
}
