//! PromQL: the part of the language that alert rules need, read and evaluated over the series store.
//!
//! Reading goes in three steps. [`tokens`] looks at the text with positions and refuses what is not supported where it
//! stands; promql-parser, which keeps no positions, says whether the grammar is kept; [`lower`] makes of its tree ours,
//! which holds supported things only. [`eval`] computes.

pub mod ast;
pub mod eval;
mod lower;
mod show;
#[cfg(test)]
mod tests;
mod tokens;

pub use ast::{Aggregation, Expr, Function, Grouping, Matcher, MatcherKind, Operator, Selector};
pub use eval::{Element, EvalError, Evaluation, Limits, Outcome};

/// Longest text of an expression, in bytes.
pub const LONGEST: usize = 8 << 10;
/// Deepest nesting.
pub const DEEPEST: usize = 64;

/// A checked expression.
#[derive(Clone, Debug)]
pub struct Expression {
    /// As written.
    pub text: String,
    pub root: Expr,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PromqlError {
    /// Bytes from the start of the text.
    pub offset: usize,
    pub message: String,
}

impl PromqlError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
        }
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong or not supported, and where.
    pub fn parse(text: &str) -> Result<Self, PromqlError> {
        let tokens = tokens::tokens(text)?;
        tokens::check(text, &tokens)?;
        let parsed = grammar(text).map_err(|message| blame(text, &tokens, message))?;
        let root = lower::lower(text, &tokens, &parsed)?;
        Ok(Self {
            text: text.to_owned(),
            root,
        })
    }

    /// Shows every selector, in the order they stand in the tree.
    pub fn selectors<'a>(&'a self, visit: &mut dyn FnMut(&'a Selector)) {
        self.root.selectors(visit);
    }

    /// How far back it looks from the time it is evaluated at, in milliseconds: windows, subqueries and offsets.
    pub fn reach(&self, lookback: i64) -> i64 {
        self.root.reach(lookback)
    }
}

/// What the grammar says. The parser is not ours: should it panic, that is an error like any other.
fn grammar(text: &str) -> Result<promql_parser::parser::Expr, String> {
    std::panic::catch_unwind(|| promql_parser::parser::parse(text))
        .unwrap_or_else(|_| Err("this expression cannot be read".to_owned()))
}

/// The innermost bracketed range that fails alone; else the start.
fn blame(text: &str, tokens: &[tokens::Token], message: String) -> PromqlError {
    let mut best: Option<(usize, usize, String)> = None;
    for part in tokens::parts(text, tokens) {
        let inner = &text[part.start..part.end];
        if inner.trim().is_empty() {
            continue;
        }
        let (alone, offset) = match part.bracket {
            '(' => (inner.to_owned(), part.start),
            '{' => (format!("x{{{inner}}}"), part.start),
            _ => (format!("x[{inner}]"), part.start),
        };
        // Lists of label names read as expressions; those of `by (a, b)` are taken apart at the commas.
        let Err(message) = grammar(&alone) else { continue };
        let length = part.end - part.start;
        if best.as_ref().is_none_or(|(_, least, _)| length < *least) {
            best = Some((offset + leading_space(inner), length, message));
        }
    }
    let (offset, message) = match best {
        Some((offset, _, message)) => (offset, message),
        None => (leading_space(text), message),
    };
    PromqlError::new(offset, one_line(&message))
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
