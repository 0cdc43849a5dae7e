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
use super::{Admitted, Batch, DoorError, DoorLimits, Origin, Rejected, Signal};
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

    /// The batch as one OTLP/JSON request. Strings that are no UTF-8 are written with U+FFFD.
    ///
    /// # Errors
    /// See [`JsonWriteError`].
    pub fn to_json(&self) -> Result<Vec<u8>, JsonWriteError> {
        let parts = self.clone().into_parts();
        write::write_request(request_spec(self.signal()), &parts)
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
