//! Configuration: text -> tree with positions -> checked sections. Knows no component.

mod section;
pub mod types;

pub use section::Section;
