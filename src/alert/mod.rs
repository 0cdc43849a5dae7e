//! Alert rules: what is wrong, since when, and who is told what to do about it.
//!
//! `rules` reads rule files, `promql` their expressions; `intake` makes samples of what passes, `store` keeps those that a
//! rule selects; `engine` evaluates in event time and knows where each alert stands; `runtime` is an engine at work:
//! its tasks, its state on the disk, what it tells `notify`, which decides who else is told. `packs` are the shipped rules, `trial` tries rules out.

pub mod engine;
#[cfg(feature = "aws")]
pub mod export;
mod files;
pub mod intake;
pub mod notify;
pub mod packs;
pub mod promql;
pub mod rules;
pub mod runtime;
pub mod store;
mod template;
mod told;
pub mod trial;

pub use template::{Template, TemplateError};
pub use told::{EscalationStep, Guidance, Labels, Listener, Told};
