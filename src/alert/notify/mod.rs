//! What happens after an alert fires: who is told, together with what, when, how often and by which way.
//!
//! The engine tells a [`Notifier`] again and again what fires. `dispatch` finds what is new and decides; what it decides
//! is put into the small state together with the messages that follow from it, in one transaction; then the messages
//! leave through `send`, each outlet in a task of its own, and are taken out of the state when they have arrived. So
//! nothing is lost when the process ends, and what is told twice carries the same key.

mod api;
pub mod config;
mod counts;
mod dispatch;
#[cfg(test)]
mod dispatch_testing;
mod links;
mod message;
mod notifier;
mod outbox;
mod payload;
mod send;
mod state;
pub mod template;

pub use api::{Desk, router};
pub use config::Settings;
pub use notifier::Notifier;

/// RFC 3339, to the millisecond where there are any.
fn rfc3339(nanos: u64) -> String {
    let millis = i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    time.to_string()
}
