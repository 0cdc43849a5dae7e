//! The file of a spill: a head and records, each with checksums, so that damage costs only what it hit.
//!
//! Head (32 bytes): magic, version, total items, checksum. Record: header (48 bytes) with a checksum of its own, then
//! exporter id, origin, payload, and a checksum over all of it. All numbers little endian. Checksums are xxh3 seeded from
//! the file's name, which holds a random part: a payload cannot contain a record that passes for one of the file.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::pdata::{Auth, Batch, Origin, Signal};

const FILE_MAGIC: &[u8; 8] = b"RADIOSPL";
const VERSION: u32 = 1;
pub const HEAD_LEN: usize = 32;
pub const MARKER: &[u8; 4] = b"RREC";
pub const HEADER_LEN: usize = 48;
const CHECKSUM_LEN: usize = 8;

/// Seed of all checksums of a file.
#[derive(Clone, Copy, Debug)]
pub struct Seed(u64);

impl Seed {
    /// From the file's name without its ending.
    pub fn of_name(stem: &str) -> Self {
        Self(xxh3_64_with_seed(stem.as_bytes(), 0))
    }

    fn checksum(self, bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
        xxh3_64_with_seed(bytes, self.0).to_le_bytes()
    }
}

/// The head of a file.
pub fn encode_head(seed: Seed, total_items: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_LEN);
    head.extend_from_slice(FILE_MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&0u32.to_le_bytes());
    head.extend_from_slice(&total_items.to_le_bytes());
    head.extend_from_slice(&seed.checksum(&head));
    head
}

/// Total items, where the head is whole; `None` for a damaged one or another version (records are looked for anyway).
pub fn decode_head(seed: Seed, head: &[u8]) -> Option<u64> {
    let (body, checksum) = head.split_at_checked(HEAD_LEN - CHECKSUM_LEN)?;
    let is_ours = checksum == seed.checksum(body) && body.starts_with(FILE_MAGIC);
    let version = u32::from_le_bytes(body[8..12].try_into().ok()?);
    let total = u64::from_le_bytes(body[16..24].try_into().ok()?);
    (is_ours && version == VERSION).then_some(total)
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub signal: Signal,
    pub items: u32,
    /// Items of all records before this one: a gap tells how many were lost.
    pub items_before: u64,
    pub id_len: u32,
    pub origin_len: u32,
    pub payload_len: u64,
}

impl Header {
    fn encode(&self, seed: Seed) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(MARKER);
        header.push(self.signal as u8);
        header.extend_from_slice(&[0; 3]);
        header.extend_from_slice(&self.items.to_le_bytes());
        header.extend_from_slice(&self.id_len.to_le_bytes());
        header.extend_from_slice(&self.origin_len.to_le_bytes());
        header.extend_from_slice(&0u32.to_le_bytes());
        header.extend_from_slice(&self.items_before.to_le_bytes());
        header.extend_from_slice(&self.payload_len.to_le_bytes());
        header.extend_from_slice(&seed.checksum(&header));
        header
    }

    /// `None` where there is no whole header.
    pub fn decode(seed: Seed, bytes: &[u8]) -> Option<Self> {
        let (body, rest) = bytes.split_at_checked(HEADER_LEN - CHECKSUM_LEN)?;
        if !body.starts_with(MARKER) || rest.get(..CHECKSUM_LEN)? != seed.checksum(body) {
            return None;
        }
        let u32_at = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            signal: Signal::ALL.get(usize::from(body[4])).copied()?,
            items: u32_at(8)?,
            id_len: u32_at(12)?,
            origin_len: u32_at(16)?,
            items_before: u64_at(24)?,
            payload_len: u64_at(32)?,
        })
    }

    /// Bytes behind the header.
    pub fn body_len(&self) -> u64 {
        let lens = [u64::from(self.id_len), u64::from(self.origin_len), self.payload_len];
        lens.iter()
            .fold(CHECKSUM_LEN as u64, |sum, len| sum.saturating_add(*len))
    }
}

/// What of an origin has to survive: what the exporter or a batch behind it looks at.
#[derive(Default, Serialize, Deserialize)]
struct StoredOrigin {
    metadata: Vec<(Box<str>, Vec<Box<str>>)>,
    auth: Option<Vec<(Box<str>, Box<str>)>>,
    client: Option<std::net::SocketAddr>,
}

/// A whole record.
pub fn encode(seed: Seed, id: &str, items_before: u64, batch: &Batch) -> Vec<u8> {
    let origin = batch.origin();
    let stored = StoredOrigin {
        metadata: origin.metadata.clone(),
        auth: origin.auth.as_ref().map(|auth| auth.attributes.clone()),
        client: origin.client,
    };
    let origin = serde_json::to_vec(&stored).unwrap_or_default();
    let parts = batch.clone().into_parts();
    let header = Header {
        signal: batch.signal(),
        items: u32::try_from(batch.items()).unwrap_or(u32::MAX),
        items_before,
        id_len: id.len() as u32,
        origin_len: origin.len() as u32,
        payload_len: parts.iter().map(|part| part.len() as u64).sum(),
    };
    let mut record = header.encode(seed);
    record.extend_from_slice(id.as_bytes());
    record.extend_from_slice(&origin);
    for part in &parts {
        record.extend_from_slice(part);
    }
    // Over the header too: a body that damage put behind another record's header is not that record.
    let checksum = seed.checksum(&record);
    record.extend_from_slice(&checksum);
    record
}

/// The batch of a record; `None` where the body is damaged or belongs to another exporter.
pub fn decode_body(seed: Seed, header: &Header, id: &str, body: Bytes) -> Option<Batch> {
    let content_len = body.len().checked_sub(CHECKSUM_LEN)?;
    let record = [&header.encode(seed), &body[..content_len]].concat();
    if body[content_len..] != seed.checksum(&record) {
        return None;
    }
    let id_end = header.id_len as usize;
    let origin_end = id_end.checked_add(header.origin_len as usize)?;
    if body.get(..id_end)? != id.as_bytes() {
        return None;
    }
    let stored: StoredOrigin = serde_json::from_slice(body.get(id_end..origin_end)?).ok()?;
    let origin = Origin {
        client: stored.client,
        metadata: stored.metadata,
        auth: stored.auth.map(|attributes| Auth { attributes }),
        ..Origin::default()
    };
    let payload = body.slice(origin_end..content_len);
    Some(Batch::from_wire(header.signal, payload, header.items, Arc::new(origin)))
}
