//! X-Ray's API as everybody here asks it: one bucket of calls for an account and region, windows listed to their last
//! page, traces by their ids, and how many traces CloudWatch has counted.

pub mod clients;
pub mod counted;
pub mod fetch;
pub mod listing;

pub use clients::{Clients, Names};

/// A range, unix seconds: from inclusive, to exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: u64,
    pub to: u64,
}
