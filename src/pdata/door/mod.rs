//! The door: what comes in is checked and counted once, in one pass down to the item.
//!
//! With [`Check::Frame`] nothing below the item is looked at but the ids; with [`Check::Full`] everything is walked to
//! the bottom. A bad record never loses the rest: it is taken out and counted. A request is refused only where its
//! framing is broken, a limit is hit, or none of its records is usable.

mod frame;
mod full;

#[cfg(test)]
mod tests;

pub use full::estimate_decoded;
pub(super) use full::request_spec;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::smallvec;
use thiserror::Error;

use super::{Batch, Edit, Origin, Parts, Place, Rewriter, Signal, Visit};
use crate::wire::{Fields, WireError};
use frame::{Frame, Verdict};

/// How deep the door looks (`check` of the otlp receiver).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Down to the item and its ids.
    #[default]
    Frame,
    /// To the bottom: wire types, nesting, UTF-8, number of attributes, length of keys. 0.3 to 0.5 us a span.
    Full,
}

/// What happens to strings that are no UTF-8, where the door looks at them (`utf8` of the otlp receiver).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Utf8 {
    /// Invalid sequences become U+FFFD, counted by string.
    #[default]
    Replace,
    /// The record is rejected.
    Reject,
}

/// Limits of the door. The defaults are those of the reliability specification, section 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// Resource groups, scope groups, items and data points of a request together, empty ones included.
    pub max_elements: usize,
    /// How deep to look.
    pub check: Check,
    /// For [`Check::Full`].
    pub utf8: Utf8,
    /// Arrays and maps inside each other in one value. For [`Check::Full`] and JSON.
    pub max_nesting: usize,
    /// Attributes of one element. For [`Check::Full`] and JSON.
    pub max_attributes: usize,
    /// Length of an attribute's key in bytes. For [`Check::Full`] and JSON.
    pub max_key_bytes: usize,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            max_elements: 500_000,
            check: Check::Frame,
            utf8: Utf8::Replace,
            max_nesting: 64,
            max_attributes: 1_000,
            max_key_bytes: 1_024,
        }
    }
}

/// Why a whole request is not let in. Offering the same bytes again never helps: 400, or INVALID_ARGUMENT.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DoorError {
    /// No protobuf, or not of this signal.
    #[error("the request is no OTLP {signal}: in {what}: {error}")]
    Malformed {
        signal: Signal,
        what: &'static str,
        error: WireError,
    },
    #[error("the request has more than {limit} elements (resources, scopes, records, data points)")]
    TooManyElements { limit: usize },
    /// Every record was rejected, at least one of them not only for ids of zeroes.
    #[error("no record of the request is usable: {0}")]
    NothingUsable(Rejected),
    #[error("values are nested more than {limit} deep")]
    TooDeep { limit: usize },
    #[error("a resource or scope has a string that is no UTF-8")]
    Utf8,
    #[error("a resource or scope has more than {limit} attributes")]
    TooManyAttributes { limit: usize },
    #[error("a resource or scope has an attribute key longer than {limit} bytes")]
    KeyTooLong { limit: usize },
    /// OTLP/JSON that cannot be read; the text names the JSON path.
    #[error("{0}")]
    Json(String),
}

/// Items that were taken out of a request at the door, by reason; goes into OTLP's partial success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// `trace_id` is not 16 bytes or `span_id` not 8 (for log records: and not empty).
    pub wrong_length_ids: usize,
    /// `trace_id` or `span_id` of a span has nothing but zero bytes.
    pub zero_ids: usize,
    /// The bytes of the record are malformed.
    pub malformed: usize,
    /// A string is no UTF-8 and the receiver is set to reject that.
    pub invalid_utf8: usize,
    /// More attributes than allowed on one element, or too long a key.
    pub over_limit: usize,
    /// Strings that were repaired (not rejected).
    pub repaired_strings: usize,
    /// Words about the first fault of a JSON record, with its path.
    pub example: Option<Box<str>>,
}

impl Rejected {
    /// Items rejected, for `rejected_spans` and its kin.
    pub fn count(&self) -> usize {
        self.wrong_length_ids + self.zero_ids + self.malformed + self.invalid_utf8 + self.over_limit
    }

    /// Whether there is anything to tell the sender: rejections, or repairs (a warning).
    pub fn has_message(&self) -> bool {
        self.count() > 0 || self.repaired_strings > 0
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = [
            (
                self.wrong_length_ids,
                "with a trace id that is not 16 bytes or a span id that is not 8",
            ),
            (self.zero_ids, "with an id of zeroes"),
            (self.malformed, "malformed"),
            (self.invalid_utf8, "with a string that is no UTF-8"),
            (self.over_limit, "with too many attributes or too long a key"),
            (self.repaired_strings, "strings repaired: they were no UTF-8"),
        ];
        let mut separator = "";
        for (count, fault) in faults.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {fault}")?;
            separator = ", ";
        }
        if let Some(example) = &self.example {
            write!(f, "{separator}{example}")?;
        }
        Ok(())
    }
}

/// What was let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// May have no items at all: an empty request is a valid one.
    pub batch: Batch,
    /// What was taken out.
    pub rejected: Rejected,
}

impl Batch {
    /// Lets the bytes of an Export request in.
    ///
    /// # Errors
    /// See [`DoorError`]; none of them is worth another try.
    pub fn at_door(
        signal: Signal,
        bytes: Bytes,
        limits: &DoorLimits,
        origin: Arc<Origin>,
    ) -> Result<Admitted, DoorError> {
        let mut frame = Frame::new(signal, limits.max_elements);
        frame.walk(&bytes)?;
        let parts = if frame.foreign {
            cut_foreign(&bytes)
        } else {
            smallvec![bytes]
        };
        let batch = Batch::from_parts(signal, parts, u32::try_from(frame.items).unwrap_or(u32::MAX), origin);
        let mut admitted = Admitted {
            batch,
            rejected: frame.rejected,
        };
        if admitted.rejected.count() > 0 {
            admitted.take_out_rejected()?;
        }
        if limits.check == Check::Full {
            full::check(&mut admitted, limits)?;
        }
        admitted.refuse_nothing_usable()?;
        Ok(admitted)
    }
}

impl Admitted {
    /// Takes out the records the frame check has found bad.
    fn take_out_rejected(&mut self) -> Result<(), DoorError> {
        let signal = self.batch.signal();
        let found = self.rejected.count();
        // The frame check counted only what it let pass; the rewriter subtracts what it drops.
        let with_bad = Batch::from_parts(
            signal,
            self.batch.clone().into_parts(),
            u32::try_from(self.batch.items() + found).unwrap_or(u32::MAX),
            self.batch.origin().clone(),
        );
        let rewritten = with_bad
            .rewrite(&mut TakeOut(signal))
            .map_err(|error| malformed(signal, "the request", error))?;
        debug_assert_eq!(rewritten.dropped, found, "what was found bad is what goes");
        self.batch = rewritten
            .batch
            .unwrap_or_else(|| empty(signal, self.batch.origin().clone()));
        Ok(())
    }

    /// A request of which nothing is left is refused, unless all its faults were ids of zeroes.
    pub(super) fn refuse_nothing_usable(&self) -> Result<(), DoorError> {
        let rejected = &self.rejected;
        let only_zeroes = rejected.count() == rejected.zero_ids;
        if self.batch.items() == 0 && !only_zeroes {
            return Err(DoorError::NothingUsable(rejected.clone()));
        }
        Ok(())
    }
}

/// A batch of nothing.
pub(super) fn empty(signal: Signal, origin: Arc<Origin>) -> Batch {
    Batch::from_parts(signal, Parts::new(), 0, origin)
}

fn malformed(signal: Signal, what: &'static str, error: WireError) -> DoorError {
    DoorError::Malformed { signal, what, error }
}

/// Drops every record that the frame check rejects.
struct TakeOut(Signal);

impl Rewriter for TakeOut {
    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        Ok(match frame::judge(self.0, edit.bytes()) {
            Verdict::Good => Visit::Keep,
            _ => Visit::Drop,
        })
    }
}

/// The runs of field-1 records of a request that has other fields as well.
fn cut_foreign(bytes: &Bytes) -> Parts {
    // Beyond this many runs one copy is smaller than the list of slices.
    const MANY: usize = 16;
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let mut fields = Fields::new(bytes);
    let mut start = 0;
    while let Ok(Some(field)) = fields.next_field() {
        let end = bytes.len() - fields.rest().len();
        if field.number == 1 {
            match runs.last_mut().filter(|run| run.end == start) {
                Some(run) => run.end = end,
                None => runs.push(start..end),
            }
        }
        start = end;
    }
    let kept: usize = runs.iter().map(|run| run.len()).sum();
    // A slice keeps its whole buffer: what holds less than a quarter of it is copied.
    if runs.len() > MANY || kept < bytes.len() / 4 {
        let mut copy = Vec::with_capacity(kept);
        for run in runs {
            copy.extend_from_slice(&bytes[run]);
        }
        return smallvec![Bytes::from(copy)];
    }
    runs.into_iter().map(|run| bytes.slice(run)).collect()
}
