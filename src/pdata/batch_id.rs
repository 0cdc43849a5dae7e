//! What a request is known by at every attempt: a number that a durable queue gives it, the same over restarts.
//!
//! A queue joins requests before it sends them, and may join them otherwise after a restart. So what is sent says which
//! requests it was joined of, each with its number and its length in bytes (requests written one after the other are one
//! request), and a receiver of ours takes it apart again. Its queues know which they have.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Batch, DoorLimits};

/// Name of the header, `radiosonde` to `radiosonde`: pieces in order, `<32 hex digits>:<bytes>[,<bytes>]*[;...]`. Behind
/// an id stand the lengths of the pieces with it and with the numbers that follow it.
pub const BATCH_ID_HEADER: &str = "x-radiosonde-batch-id";

/// No longer value is written: receivers of any make take 64 KiB of headers in all at most.
const LONGEST: usize = 24 << 10;
/// Pieces that a receiver takes at once.
const MOST: usize = 10_000;

/// See the module text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u128);

impl BatchId {
    /// The same data on another way through the pipelines, told by `way`, is another request: what one way has taken,
    /// another may still need.
    pub fn on_way(self, way: u64) -> Self {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&self.0.to_le_bytes());
        bytes[16..].copy_from_slice(&way.to_le_bytes());
        Self(xxhash_rust::xxh3::xxh3_128(&bytes))
    }
}

/// What a request was joined of: ids and lengths in bytes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces(pub Vec<(BatchId, usize)>);

impl Pieces {
    /// The header's value; `None` where there is nothing to say or it would be too long.
    pub fn to_header(&self) -> Option<String> {
        let mut text = String::new();
        let mut expected = None;
        for (id, bytes) in &self.0 {
            let follows = expected == Some(*id);
            let written = match follows {
                true => write!(text, ",{bytes}"),
                false if text.is_empty() => write!(text, "{:032x}:{bytes}", id.0),
                false => write!(text, ";{:032x}:{bytes}", id.0),
            };
            if written.is_err() || text.len() > LONGEST {
                return None;
            }
            expected = Some(BatchId(id.0.wrapping_add(1)));
        }
        (!text.is_empty()).then_some(text)
    }

    /// Reads a header's value. `None` where it is not of this form.
    pub fn of_header(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        for run in text.split(';') {
            let (id, lengths) = run.split_once(':')?;
            if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            let mut id = u128::from_str_radix(id, 16).ok()?;
            for length in lengths.split(',') {
                if pieces.len() == MOST {
                    return None;
                }
                pieces.push((BatchId(id), length.parse().ok()?));
                id = id.wrapping_add(1);
            }
        }
        Some(Self(pieces))
    }

    /// Bytes of all of them; `None` where no request is that large.
    pub fn bytes(&self) -> Option<usize> {
        self.0
            .iter()
            .try_fold(0usize, |sum, (_, bytes)| sum.checked_add(*bytes))
    }
}

impl Batch {
    /// The requests it was joined of, each under its id. `None` where it was not joined of these: their lengths do not
    /// add up, or one of them is no request.
    pub fn in_pieces(&self, pieces: &Pieces, limits: &DoorLimits) -> Option<Vec<Batch>> {
        if pieces.bytes() != Some(self.wire_len()) {
            return None;
        }
        let parts = self.clone().into_parts();
        let [whole] = parts.as_slice() else { return None };
        let mut batches = Vec::with_capacity(pieces.0.len());
        let mut begin = 0;
        for (id, bytes) in &pieces.0 {
            let piece = whole.slice(begin..begin + bytes);
            begin += bytes;
            if piece.is_empty() {
                continue;
            }
            let origin = Arc::new(self.origin().known_as(Some(*id)));
            let admitted = Batch::at_door(self.signal(), piece, limits, origin).ok()?;
            batches.push(admitted.batch);
        }
        let items: usize = batches.iter().map(Batch::items).sum();
        (items == self.items()).then_some(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdata::{Origin, Signal};

    #[test]
    fn a_joined_request_is_taken_apart_where_the_lengths_are_right() {
        // Two log records each: resource logs { scope logs { record, record } }.
        let request = [0x0a, 6, 0x12, 4, 0x12, 0, 0x12, 0];
        let joined = [request, request, request].concat();
        let batch = Batch::from_wire(Signal::Logs, joined.into(), 6, Origin::internal());
        let limits = DoorLimits::default();
        let pieces = Pieces(vec![(BatchId(1), 8), (BatchId(2), 16), (BatchId(3), 0)]);
        let apart = batch.in_pieces(&pieces, &limits).unwrap();
        let of = |batch: &Batch| (batch.origin().batch_id, batch.items());
        let found: Vec<_> = apart.iter().map(of).collect();
        assert_eq!(found, [(Some(BatchId(1)), 2), (Some(BatchId(2)), 4)]);
        for wrong in [
            vec![(BatchId(1), 24), (BatchId(2), 1)],
            vec![(BatchId(1), 7), (BatchId(2), 17)],
        ] {
            assert!(batch.in_pieces(&Pieces(wrong), &limits).is_none());
        }
    }

    #[test]
    fn what_is_written_is_read_and_numbers_that_follow_each_other_are_short() {
        let pieces = Pieces(vec![
            (BatchId(7), 10),
            (BatchId(8), 0),
            (BatchId(3), 5),
            (BatchId(u128::MAX), 1),
            (BatchId(0), 2),
        ]);
        let text = pieces.to_header().unwrap();
        assert_eq!(text.matches(':').count(), 3, "{text}");
        assert_eq!(Pieces::of_header(&text), Some(pieces.clone()));
        assert_eq!(pieces.bytes(), Some(18));
        assert_eq!(Pieces::default().to_header(), None);
    }

    #[test]
    fn whatever_a_stranger_writes_there_is_refused_or_read() {
        for text in ["", "x", ":", "00:1", "0000000000000000000000000000000g:1", ";"] {
            assert_eq!(Pieces::of_header(text), None, "{text}");
        }
        let id = "0".repeat(32);
        for lengths in ["", "-1", "1,", "99999999999999999999999"] {
            assert_eq!(Pieces::of_header(&format!("{id}:{lengths}")), None, "{lengths}");
        }
        let many = format!("{id}:{}", vec!["1"; MOST + 1].join(","));
        assert_eq!(Pieces::of_header(&many), None);
        let huge = Pieces::of_header(&format!("{id}:{max},{max}", max = usize::MAX)).unwrap();
        assert_eq!(huge.bytes(), None);
        let long = Pieces((0..MOST as u128).map(|id| (BatchId(id * 2), 1)).collect());
        assert_eq!(long.to_header(), None, "too long for a header");
    }

    #[test]
    fn another_way_is_another_request() {
        let id = BatchId(1);
        assert_ne!(id.on_way(0), id.on_way(1));
        assert_eq!(id.on_way(1), id.on_way(1));
    }
}
