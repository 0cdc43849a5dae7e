//! Configuration: text -> tree with positions -> checked sections. Knows no component.

mod document;
mod frozen;
mod gates;
mod print;
mod problem;
mod read;
mod render;
mod scalar;
mod section;
pub mod service;
mod source;
mod suggest;
mod tree;
pub mod types;
mod yaml;

pub use document::{Document, Environment, Inputs, ProcessEnvironment};
pub use problem::{Place, Problem, Problems, Severity};
pub use section::Section;
pub use service::ServiceConfig;
pub use suggest::hint as suggest_among;
