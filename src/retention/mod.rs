//! Span retention: which traces X-Ray will forget before a complete copy of them stands elsewhere.
//!
//! [`archive`] is what every place that keeps copies answers to; [`archives`] are the places themselves. [`state`] says
//! what a trace's copies make of it, [`ledger`] remembers what far ends acknowledged, [`noter`] hears of it, [`auditor`]
//! compares that with X-Ray, [`watchlist`] holds what it found for the page, [`runtime`] is all of it at work for one
//! processor. Knows no pipeline: what is written goes through exporters, what is played back through the command line.

pub mod archive;
pub mod archives;
pub mod auditor;
pub mod ledger;
pub mod noter;
pub mod runtime;
pub mod settings;
pub mod state;
pub mod watchlist;
