//! Span retention: which traces X-Ray will forget before a complete copy of them stands elsewhere.
//!
//! [`archive`] is what every place that keeps copies answers to; [`archives`] are the places themselves. Knows no
//! pipeline: what is written goes through exporters, what is played back through the command line.

pub mod archive;
pub mod archives;
