//! OTLP/JSON, read and written by our own code, after the tables of [`wire::schema`](crate::wire::schema).
//!
//! The reader turns JSON into the wire form and is tolerant where senders differ: both casings, unknown fields, `null`
//! anywhere, enums by name or number, 64-bit integers as string or number, `{}` as an empty value. The writer writes
//! what the OTLP specification says (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>):
//! lowerCamelCase, hexadecimal ids, 64-bit integers as strings, enums as numbers, other bytes in base64.

mod fault;
mod number;
mod read;
mod reader;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::door::{Check, request_spec};
use super::{Admitted, Batch, DoorError, DoorLimits, NoMemory, Origin, Permit, Rejected, Signal};
use crate::wire::WireError;
use read::{Outcome, read_request};

/// JSON may be nested so deep, unknown fields included.
const MAX_DEPTH: usize = 256;

/// Why a batch cannot be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JsonWriteError {
    /// Below the items, where the door did not look.
    #[error("a record cannot be read: {0}")]
    Malformed(#[from] WireError),
    /// As deep as a JSON reader has to follow.
    #[error("values are nested more than {limit} deep")]
    TooDeep { limit: usize },
    /// Control characters and numbers take up to twelve times as much in JSON.
    #[error("the JSON would be longer than {limit} bytes")]
    TooLong { limit: usize },
    /// Messages that stand more than once where they may stand once are read as one; nested ones would cost a copy each.
    #[error("its messages are written in too many pieces")]
    InPieces,
    /// Only of [`Batch::to_json_within`].
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

impl JsonWriteError {
    /// Whether another try may go well.
    pub fn is_retryable(&self) -> bool {
        *self == JsonWriteError::NoMemory(NoMemory::Now)
    }
}

impl Batch {
    /// Lets an OTLP/JSON request in. The limits below the item (nesting, attributes, keys, UTF-8) hold whatever
    /// [`DoorLimits::check`] says: the reader looks at everything anyway.
    ///
    /// # Errors
    /// [`DoorError::Json`] with the JSON path, or as [`Batch::at_door`].
    pub fn from_json(
        signal: Signal,
        text: &[u8],
        limits: &DoorLimits,
        origin: Arc<Origin>,
    ) -> Result<Admitted, DoorError> {
        let Outcome { bytes, rejected } =
            read_request(request_spec(signal), text, limits).map_err(|fault| DoorError::Json(fault.to_string()))?;
        let frame_only = DoorLimits {
            check: Check::Frame,
            ..limits.clone()
        };
        match Batch::at_door(signal, Bytes::from(bytes), &frame_only, origin) {
            Ok(mut admitted) => {
                admitted.rejected = add(rejected, &admitted.rejected);
                admitted.refuse_nothing_usable()?;
                Ok(admitted)
            }
            Err(DoorError::NothingUsable(more)) => Err(DoorError::NothingUsable(add(rejected, &more))),
            Err(error) => Err(error),
        }
    }

    /// [`Batch::to_json`] within the memory that the data was admitted by: the text, and the permit over it.
    ///
    /// # Errors
    /// See [`JsonWriteError`]; only the want of memory is worth another try.
    pub fn to_json_within(&self) -> Result<(Vec<u8>, Permit), JsonWriteError> {
        // The usual text is two to three times as long as the wire form; the longest possible about twenty times.
        const SMALLEST: usize = 64 << 10;
        const LARGEST: usize = 24;
        let wire = self.wire_len();
        let parts = self.clone().into_parts();
        for times in [3, 6, 12, LARGEST] {
            let limit = SMALLEST + times * wire;
            let mut permit = self.origin().reserve(limit)?;
            match write::write_request(request_spec(self.signal()), &parts, limit) {
                Err(JsonWriteError::TooLong { .. }) if times < LARGEST => {}
                written => {
                    let text = written?;
                    permit.shrink_to(text.capacity() as u64);
                    return Ok((text, permit));
                }
            }
        }
        Err(JsonWriteError::TooLong { limit: LARGEST * wire })
    }

    /// The batch as one OTLP/JSON request. Strings that are no UTF-8 are written with U+FFFD.
    ///
    /// # Errors
    /// See [`JsonWriteError`].
    pub fn to_json(&self) -> Result<Vec<u8>, JsonWriteError> {
        let parts = self.clone().into_parts();
        write::write_request(request_spec(self.signal()), &parts, usize::MAX)
    }
}

fn add(mut sum: Rejected, more: &Rejected) -> Rejected {
    sum.wrong_length_ids += more.wrong_length_ids;
    sum.zero_ids += more.zero_ids;
    sum.malformed += more.malformed;
    sum.invalid_utf8 += more.invalid_utf8;
    sum.over_limit += more.over_limit;
    sum.repaired_strings += more.repaired_strings;
    sum
}
