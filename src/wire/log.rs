//! Log records (`opentelemetry/proto/logs/v1/logs.proto`).

use super::view::view;
use super::{Pieces, Value, WireError};

view! {
    /// `LogRecord`.
    LogRecord {
        /// When it happened, nanoseconds since the epoch; 0 where the source does not know.
        time_unix_nano: fixed64 = 1,
        /// When it was seen by the collecting system, nanoseconds since the epoch.
        observed_time_unix_nano: fixed64 = 11,
        /// `SeverityNumber`: 0 unspecified, 1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error, 21-24 fatal.
        severity_number: enumeration = 2,
        /// The severity in the words of the source.
        severity_text: string = 3,
        /// Its attributes.
        attributes: attributes = 6,
        /// How many attributes the sender left out.
        dropped_attributes_count: uint32 = 7,
        /// W3C trace flags in the low 8 bits.
        flags: fixed32 = 8,
        /// 16 bytes, or none.
        trace_id: bytes = 9,
        /// 8 bytes, or none.
        span_id: bytes = 10,
        /// Set where the record is an event of that name.
        event_name: string = 12,
    }
}

impl<'a> LogRecord<'a> {
    /// The body; [`Value::Empty`] where none is written.
    ///
    /// # Errors
    /// Where the record or the first level of its body is malformed.
    pub fn body(&self) -> Result<Value<'a>, WireError> {
        match Pieces::find(self.raw, 5)? {
            Some(pieces) => Value::read_pieces(pieces),
            None => Ok(Value::Empty),
        }
    }

    /// Whether a body is written at all.
    ///
    /// # Errors
    /// Where the record is malformed.
    pub fn has_body(&self) -> Result<bool, WireError> {
        Ok(Pieces::find(self.raw, 5)?.is_some())
    }
}
