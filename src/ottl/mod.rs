//! The OpenTelemetry Transformation Language: parser, functions, evaluator. Conditions so far; statements are parsed
//! and refused, since no editor is built yet.
//!
//! A text is parsed to a syntax tree ([`parser`]), and its paths, enum symbols and functions are bound to a
//! [`Context`] ([`Condition::new`]) when a configuration is checked. What is left for each item is reading: a
//! [`Target`] holds the wire views of the item and of what stands above it, and values are borrowed from them.
//!
//! ```
//! use radiosonde::component::SystemClock;
//! use radiosonde::ottl::{Condition, Context, Item, Target};
//! use radiosonde::pdata::Origin;
//! use radiosonde::wire;
//!
//! let slow = Condition::new(r#"attributes["http.route"] == "/health" and kind == SPAN_KIND_SERVER"#, Context::Span)?;
//! # fn spans(request: &[u8], slow: &Condition) -> Result<(), Box<dyn std::error::Error>> {
//! for resource in wire::resources(request) {
//!     let resource = resource?;
//!     for scope in resource.scopes() {
//!         let scope = scope?;
//!         for span in scope.spans() {
//!             let target = Target {
//!                 resource,
//!                 scope: Some(scope),
//!                 item: Item::Span(span?),
//!                 origin: &Origin::default(),
//!                 clock: &SystemClock,
//!             };
//!             println!("{}", slow.holds(&target)?);
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! # Ok::<(), radiosonde::ottl::SyntaxError>(())
//! ```
//!
//! Bounds: a text has at most 64 KiB and nests at most 64 deep; values of the telemetry are followed 64 deep.

pub mod ast;
mod compare;
mod condition;
mod context;
mod enums;
mod error;
mod expr;
mod fields;
mod functions;
mod lexer;
pub mod parser;
pub mod regex;
mod resolve;
mod target;
mod time;
mod value;

#[cfg(test)]
mod tests;

pub use condition::{Condition, check_statement};
pub use context::Context;
pub use error::{EvalError, SyntaxError};
pub use fields::kind_symbol;
pub use target::{Item, Target};
pub use value::{List, Map, Value, double_text};
