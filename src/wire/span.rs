//! Spans (`opentelemetry/proto/trace/v1/trace.proto`).

use super::field::{last_len, last_varint};
use super::view::view;
use super::{Pieces, Text, WireError};

view! {
    /// `Span`.
    Span {
        /// 16 bytes behind the door.
        trace_id: bytes = 1,
        /// 8 bytes behind the door.
        span_id: bytes = 2,
        /// W3C `tracestate`.
        trace_state: string = 3,
        /// 8 bytes, or none for a root span. The door does not look at it.
        parent_span_id: bytes = 4,
        /// W3C trace flags in the low 8 bits; bits 8 and 9 say whether the parent is remote.
        flags: fixed32 = 16,
        /// What it did.
        name: string = 5,
        /// `SpanKind`: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
        kind: enumeration = 6,
        /// Nanoseconds since the epoch.
        start_time_unix_nano: fixed64 = 7,
        /// Nanoseconds since the epoch.
        end_time_unix_nano: fixed64 = 8,
        /// Its attributes.
        attributes: attributes = 9,
        /// How many attributes the sender left out.
        dropped_attributes_count: uint32 = 10,
        /// What happened during it.
        events: repeated<SpanEvent<'a>> = 11,
        /// How many events the sender left out.
        dropped_events_count: uint32 = 12,
        /// Other spans it has to do with.
        links: repeated<SpanLink<'a>> = 13,
        /// How many links the sender left out.
        dropped_links_count: uint32 = 14,
    }
}

impl<'a> Span<'a> {
    /// How it ended; unset where none is written.
    ///
    /// # Errors
    /// Where the span is malformed.
    pub fn status(&self) -> Result<Status<'a>, WireError> {
        let pieces = Pieces::find(self.raw, 15)?.unwrap_or_default();
        Ok(Status { pieces })
    }
}

/// `Status` of a span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status<'a> {
    pieces: Pieces<'a>,
}

impl<'a> Status<'a> {
    /// 0 unset, 1 ok, 2 error.
    ///
    /// # Errors
    /// Where the status is malformed.
    pub fn code(&self) -> Result<i32, WireError> {
        last_varint(self.pieces, 3).map(|code| code as i32)
    }

    /// The developer's words about an error.
    ///
    /// # Errors
    /// Where the status is malformed.
    pub fn message(&self) -> Result<Text<'a>, WireError> {
        last_len(self.pieces, 2).map(Text::new)
    }
}

view! {
    /// `Span.Event`.
    SpanEvent {
        /// Nanoseconds since the epoch.
        time_unix_nano: fixed64 = 1,
        /// What happened.
        name: string = 2,
        /// Its attributes.
        attributes: attributes = 3,
        /// How many attributes the sender left out.
        dropped_attributes_count: uint32 = 4,
    }
}

view! {
    /// `Span.Link`.
    SpanLink {
        /// Trace of the linked span.
        trace_id: bytes = 1,
        /// The linked span.
        span_id: bytes = 2,
        /// Its W3C `tracestate`.
        trace_state: string = 3,
        /// Attributes of the link.
        attributes: attributes = 4,
        /// How many attributes the sender left out.
        dropped_attributes_count: uint32 = 5,
        /// As [`Span::flags`].
        flags: fixed32 = 6,
    }
}
