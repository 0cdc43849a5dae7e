//! Configuration: text -> tree with positions -> checked sections. Knows no component.

mod frozen;
mod problem;
mod read;
mod scalar;
mod section;
mod source;
mod suggest;
mod tree;
pub mod types;
mod yaml;

pub use problem::{Place, Problem, Problems, Severity};
pub use section::Section;
