//! Joining batches: parts in one list, small ones copied together, one origin that holds every permit.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::pdata::{Batch, Headers, Origin, Parts};

/// Parts below this are copied into a common buffer. Handing thousands of tiny parts to a socket costs more than the
/// copy: a 4 KiB copy takes about 0.1 microseconds, a part of its own about as much in reference counts alone, and the
/// small part pins the buffer it was read into.
pub const SMALL_PART: usize = 4 * 1024;
/// A common buffer is closed when it would grow beyond this.
const CHUNK: usize = 64 * 1024;

/// Puts wire parts in one list and copies runs of small ones together.
#[derive(Default)]
pub struct PartList {
    parts: Parts,
    chunk: BytesMut,
}

impl PartList {
    /// Adds a part behind all others.
    pub fn push(&mut self, part: Bytes) {
        if part.is_empty() {
            return;
        }
        if part.len() >= SMALL_PART {
            self.close_chunk();
            self.parts.push(part);
            return;
        }
        if self.chunk.len() + part.len() > CHUNK {
            self.close_chunk();
        }
        self.chunk.extend_from_slice(&part);
    }

    fn close_chunk(&mut self) {
        if !self.chunk.is_empty() {
            self.parts.push(std::mem::take(&mut self.chunk).freeze());
        }
    }

    /// The parts.
    pub fn finish(mut self) -> Parts {
        self.close_chunk();
        self.parts
    }
}

/// Joins batches of one signal. The origin holds the permits of all and `metadata`, what they were batched by: the
/// metadata of one client must not travel with the data of another. The client address is lost, as in the Collector;
/// an identity stays where all have the same. There must be at least one batch.
pub fn join(batches: Vec<Batch>, metadata: &Headers) -> Batch {
    let first = batches.first().expect("the caller joins at least one batch");
    let signal = first.signal();
    let auth = first.origin().auth.clone();
    let one_identity = batches.iter().all(|batch| batch.origin().auth == auth);
    let mut list = PartList::default();
    let mut items = 0u32;
    let mut permits = SmallVec::new();
    let mut cursor = false;
    for batch in batches {
        items = items.saturating_add(u32::try_from(batch.items()).unwrap_or(u32::MAX));
        permits.extend(batch.origin().permits.iter().cloned());
        cursor |= batch.origin().cursor;
        for part in batch.into_parts() {
            list.push(part);
        }
    }
    let origin = Origin {
        client: None,
        metadata: metadata.clone(),
        auth: auth.filter(|_| one_identity),
        cursor,
        permits,
        ..Origin::default()
    };
    Batch::from_parts(signal, list.finish(), items, Arc::new(origin))
}
