//! Alert rules. First small form: one threshold over one metric, per label set, with what to do about it. The full engine
//! (rule files, PromQL, routes, persistence) replaces it; nothing here pretends to be that.

pub mod notify;
pub mod packs;
pub mod promql;
pub mod store;
mod template;
mod threshold;
mod told;
pub mod trial;

pub use template::{Template, TemplateError};
pub use threshold::{Alert, Labels, Rule, Sample, Threshold, Transition};
pub use told::{EscalationStep, Guidance, Listener, Told};
