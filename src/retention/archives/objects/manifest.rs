//! Manifests: beside every object with spans one small file for each day of trace start in it, that says which traces it
//! holds and which of their spans. Audits read these and not the objects.
//!
//! ```text
//! "RSMF0001"  header length (u32)  header (JSON)
//! a row for each trace, sorted by its id:
//!     id (16)  smallest start in nanoseconds (u64)  flags (u8: 1 = limit exceeded)
//!     number of closed spans (u32)  number of open spans (u32)  their ids (8 each), both sorted
//! CRC32C of everything before (u32)
//! ```
//! Numbers are little endian. Two manifests of the same trace are added by the ids of the spans, so that what was
//! delivered twice counts once, and a span that was stored open and later closed is closed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::component::UnixNanos;
use crate::pdata::{Batch, Signal};
use crate::retention::archive::Day;
use crate::wire::{Span, Value, WireError, resources};

/// Where manifests stand below the prefix. What begins with `_` is left out by those who read tables from folders.
pub(super) const FOLDER: &str = "_manifest";
/// The ending of their names.
pub(super) const ENDING: &str = ".rsm";
const MAGIC: &[u8; 8] = b"RSMF0001";
const LIMIT_EXCEEDED: u8 = 1;
const ROW: usize = 16 + 8 + 1 + 4 + 4;
/// As the X-Ray receivers mark spans of a trace that was not whole.
const OPEN: &str = "aws.xray.inprogress";
const LIMITED: &str = "aws.xray.limit_exceeded";

/// What stands before the rows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Header {
    /// Where the object stands, below the same prefix.
    pub object: String,
    /// The day on which the traces began.
    pub day: String,
    pub traces: usize,
    pub spans: usize,
    pub written_unix_nano: u64,
}

/// What one object holds of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The smallest start of its spans.
    pub start: UnixNanos,
    pub limit_exceeded: bool,
    /// Sorted, none of them twice.
    pub closed: Vec<[u8; 8]>,
    pub open: Vec<[u8; 8]>,
}

/// The traces of one object that began on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub header: Header,
    pub rows: BTreeMap<[u8; 16], Row>,
}

/// Why a file is no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    #[error("is no manifest")]
    NotOne,
    #[error("is damaged: its checksum is wrong")]
    Checksum,
    #[error("is damaged: it ends too early")]
    Short,
}

impl Row {
    /// Adds what another object holds of the same trace.
    pub fn add(&mut self, other: &Row) {
        self.start = self.start.min(other.start);
        self.limit_exceeded |= other.limit_exceeded;
        self.closed.extend_from_slice(&other.closed);
        self.open.extend_from_slice(&other.open);
        self.settle();
    }

    fn settle(&mut self) {
        self.closed.sort_unstable();
        self.closed.dedup();
        self.open.sort_unstable();
        self.open.dedup();
        let closed = &self.closed;
        self.open.retain(|id| closed.binary_search(id).is_err());
    }
}

/// The rows of a batch of traces, by the day on which each trace began. A trace without any start began `now`.
///
/// # Errors
/// Where the spans are malformed.
pub fn rows_of(batch: &Batch, now: UnixNanos) -> Result<BTreeMap<Day, BTreeMap<[u8; 16], Row>>, WireError> {
    let mut rows: BTreeMap<[u8; 16], Row> = BTreeMap::new();
    debug_assert_eq!(batch.signal(), Signal::Traces, "only spans have traces");
    for part in batch.clone().into_parts() {
        for resource in resources(&part) {
            for scope in resource?.scopes() {
                for span in scope?.spans() {
                    take(&mut rows, &span?)?;
                }
            }
        }
    }
    let mut days: BTreeMap<Day, BTreeMap<[u8; 16], Row>> = BTreeMap::new();
    for (id, mut row) in rows {
        row.settle();
        if row.start == UnixNanos(u64::MAX) {
            row.start = now;
        }
        days.entry(Day::of(row.start)).or_default().insert(id, row);
    }
    Ok(days)
}

fn take(rows: &mut BTreeMap<[u8; 16], Row>, span: &Span<'_>) -> Result<(), WireError> {
    // Behind the door ids have their lengths.
    let (Ok(trace), Ok(id)) = (span.trace_id()?.try_into(), span.span_id()?.try_into()) else {
        return Ok(());
    };
    let row = rows.entry(trace).or_insert_with(|| Row {
        start: UnixNanos(u64::MAX),
        ..Row::default()
    });
    let start = span.start_time_unix_nano()?;
    if start > 0 {
        row.start = row.start.min(UnixNanos(start));
    }
    let flag = |key: &str| Ok::<bool, WireError>(matches!(span.attribute(key)?, Some(Value::Bool(true))));
    row.limit_exceeded |= flag(LIMITED)?;
    if span.end_time_unix_nano()? == 0 || flag(OPEN)? {
        row.open.push(id);
    } else {
        row.closed.push(id);
    }
    Ok(())
}

impl Manifest {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let header = serde_json::to_vec(&self.header).unwrap_or_default();
        let mut bytes = Vec::with_capacity(16 + header.len() + self.rows.len() * (ROW + 64));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&length(header.len()));
        bytes.extend_from_slice(&header);
        for (id, row) in &self.rows {
            bytes.extend_from_slice(id);
            bytes.extend_from_slice(&row.start.0.to_le_bytes());
            bytes.push(if row.limit_exceeded { LIMIT_EXCEEDED } else { 0 });
            bytes.extend_from_slice(&length(row.closed.len()));
            bytes.extend_from_slice(&length(row.open.len()));
            for span in row.closed.iter().chain(&row.open) {
                bytes.extend_from_slice(span);
            }
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the file.
    ///
    /// # Errors
    /// See [`BadManifest`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(BadManifest::NotOne)?;
        if !body.starts_with(MAGIC) {
            return Err(BadManifest::NotOne);
        }
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(BadManifest::Checksum);
        }
        let mut rest = Rest(&body[MAGIC.len()..]);
        let header = rest.length()?;
        let header = serde_json::from_slice(rest.take(header)?).map_err(|_bad| BadManifest::NotOne)?;
        let mut rows = BTreeMap::new();
        while !rest.0.is_empty() {
            let id = rest.array::<16>()?;
            let start = UnixNanos(u64::from_le_bytes(rest.array()?));
            let [flags] = rest.array::<1>()?;
            let (closed, open) = (rest.length()?, rest.length()?);
            let row = Row {
                start,
                limit_exceeded: flags & LIMIT_EXCEEDED != 0,
                closed: rest.ids(closed)?,
                open: rest.ids(open)?,
            };
            rows.insert(id, row);
        }
        Ok(Self { header, rows })
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], BadManifest> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(BadManifest::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadManifest> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(BadManifest::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn length(&mut self) -> Result<usize, BadManifest> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn ids(&mut self, count: usize) -> Result<Vec<[u8; 8]>, BadManifest> {
        // Taken before anything is allocated by it.
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes.as_chunks::<8>().0.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest(rows: BTreeMap<[u8; 16], Row>) -> Manifest {
        let header = Header {
            object: "2026/traces_1.binpb.zst".to_owned(),
            day: "2026-11-20".to_owned(),
            traces: rows.len(),
            spans: rows.values().map(|row| row.closed.len() + row.open.len()).sum(),
            written_unix_nano: 7,
        };
        Manifest { header, rows }
    }

    fn a_row() -> impl Strategy<Value = Row> {
        let ids = || prop::collection::vec(any::<[u8; 8]>(), 0..6);
        (any::<u64>(), any::<bool>(), ids(), ids()).prop_map(|(start, limit_exceeded, closed, open)| {
            let mut row = Row {
                start: UnixNanos(start),
                limit_exceeded,
                closed,
                open,
            };
            row.settle();
            row
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::btree_map(any::<[u8; 16]>(), a_row(), 0..20)) {
            let manifest = manifest(rows);
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }

        #[test]
        fn damage_is_seen(rows in prop::collection::btree_map(any::<[u8; 16]>(), a_row(), 1..5), at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut bytes = manifest(rows).encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(Manifest::decode(&bytes).is_err());
            bytes.truncate(at);
            prop_assert!(Manifest::decode(&bytes).is_err());
        }
    }

    #[test]
    fn lengths_that_lie_allocate_nothing() {
        let mut bytes = manifest(BTreeMap::from([([1; 16], Row::default())])).encode();
        let end = bytes.len() - 4;
        bytes[end - 4..end].copy_from_slice(&[0xff; 4]);
        let sum = crc32c::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Manifest::decode(&bytes), Err(BadManifest::Short));
    }

    #[test]
    fn the_same_trace_in_two_objects_counts_each_span_once() {
        let mut row = Row {
            start: UnixNanos(5),
            limit_exceeded: false,
            closed: vec![[1; 8]],
            open: vec![[2; 8], [3; 8]],
        };
        let other = Row {
            start: UnixNanos(3),
            limit_exceeded: true,
            closed: vec![[1; 8], [2; 8]],
            open: vec![[3; 8]],
        };
        row.add(&other);
        assert_eq!(
            (row.closed.as_slice(), row.open.as_slice()),
            (&[[1; 8], [2; 8]][..], &[[3; 8]][..])
        );
        assert!(row.limit_exceeded && row.start == UnixNanos(3));
    }
}
