//! The CloudWatch poller: what is wanted, how it is asked, when a value counts as settled, and how it becomes OTLP.
//!
//! Sends nothing on by itself: a receiver asks for the settled points, hands them on and acknowledges them. A point is
//! forgotten only after that.

pub mod derived;
mod fetch;
mod history;
mod output;
mod plan;
mod poller;
mod stream;
mod want;

pub use history::Changes;
pub use output::{Builder, OwnPoint, Resource};
pub use poller::{Polled, Poller, PollerSettings, Settled};
pub use stream::{StreamPoint, points_of};
pub use want::{Class, SeriesId, Stat, Want, ZeroFill, statistics};
