//! A condition as its users hold it.

use super::context::Context;
use super::expr::Test;
use super::parser::{parse_condition, parse_statement};
use super::resolve::{Resolver, infer};
use super::target::Target;
use super::{EvalError, SyntaxError};

/// A checked condition of one context.
#[derive(Debug)]
pub struct Condition {
    text: String,
    context: Context,
    test: Test,
}

impl Condition {
    /// Parses a condition and binds it to `context`. Paths may leave the context's own name out.
    ///
    /// # Errors
    /// With the byte offset of the mistake.
    pub fn new(text: &str, context: Context) -> Result<Self, SyntaxError> {
        let node = parse_condition(text)?;
        let resolver = Resolver {
            context,
            prefixed_only: false,
        };
        Ok(Self {
            text: text.to_owned(),
            context,
            test: resolver.test(&node)?,
        })
    }

    /// The same where the context is not said but follows from the paths, each of which begins with a context's name:
    /// it is the lowest that is named.
    ///
    /// # Errors
    /// As above, and where no context is named.
    pub fn inferred(text: &str) -> Result<Self, SyntaxError> {
        let node = parse_condition(text)?;
        let context = infer(&node)?;
        let resolver = Resolver {
            context,
            prefixed_only: true,
        };
        Ok(Self {
            text: text.to_owned(),
            context,
            test: resolver.test(&node)?,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is evaluated on.
    pub fn context(&self) -> Context {
        self.context
    }

    /// Whether it is true for an item. A field that the item does not have is nil.
    ///
    /// # Errors
    /// Where a function or operator cannot work with the item's values, or the item is malformed.
    #[inline]
    pub fn holds(&self, target: &Target<'_>) -> Result<bool, EvalError> {
        self.test.holds(target)
    }
}

/// Parses a statement and says what stands against carrying it out: no editor is built yet.
pub fn check_statement(text: &str, context: Context) -> SyntaxError {
    match parse_statement(text) {
        Ok(statement) => Resolver {
            context,
            prefixed_only: false,
        }
        .refuse_statement(&statement),
        Err(error) => error,
    }
}
