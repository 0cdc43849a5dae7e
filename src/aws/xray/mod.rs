//! X-Ray's segment documents: read from JSON whatever state they are in, turned into OTLP spans, and made from them.
//!
//! [`document`] is the JSON, [`translate`] a segment's way into OTLP, [`compose`] the way back, [`api`] the calls of the service.
//! Knows no receiver.
//! The tables of both ways are in the specification of the X-Ray components; what one way cannot derive the other
//! carries in attributes below `aws.xray.`.

pub mod api;
pub mod compose;
pub mod datagram;
pub mod document;
pub mod hold;
pub mod ids;
mod keys;
mod sql;
pub mod stack;
pub mod time;
pub mod translate;
mod urls;
