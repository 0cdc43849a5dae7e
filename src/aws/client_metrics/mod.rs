//! What client spans of AWS SDKs say about the calls: duration, errors, throttles, retries, capacity, by table and
//! operation. Reads spans by views over their bytes, in every generation of attributes that SDKs and X-Ray send.
//!
//! [`ClientCall`] is one span understood, [`Aggregate`] adds calls up into metrics. Keys and values of items are user
//! data: they are in attributes of spans, and are never read into either.

mod call;
mod capacity;
mod output;
mod series;
#[cfg(test)]
mod tests;

pub use call::ClientCall;
pub use series::{Added, Aggregate, AggregateSettings, Caller};
