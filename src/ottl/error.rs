//! What can be wrong: with the text of a condition (once, when it is checked), and with an evaluation (as a value).

use std::fmt;

use crate::wire::WireError;

/// A mistake in the text of a condition or statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Bytes from the beginning of the text to where the mistake stands.
    pub offset: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl SyntaxError {
    /// A mistake at a byte offset.
    pub fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
        }
    }
}

/// Why an expression has no value for one item. Holds no text of its own: errors may be as frequent as items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// A function was given a value it cannot work with.
    Argument {
        function: &'static str,
        expected: &'static str,
        found: &'static str,
    },
    /// A function could not do its work with values of the right types.
    Failed {
        function: &'static str,
        reason: &'static str,
    },
    /// Arithmetic between values that have none.
    Arithmetic {
        left: &'static str,
        right: &'static str,
    },
    DivisionByZero,
    /// `[...]` behind a value that has no such element.
    Index {
        container: &'static str,
        key: &'static str,
    },
    /// A list index past the end, or below zero.
    IndexOutOfRange,
    /// A function used as a condition gave something else than a bool.
    NotABool {
        found: &'static str,
    },
    /// Lists and maps nested deeper than they are followed.
    TooDeep,
    /// The telemetry's bytes are malformed.
    Malformed(WireError),
}

impl From<WireError> for EvalError {
    fn from(error: WireError) -> Self {
        EvalError::Malformed(error)
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Argument {
                function,
                expected,
                found,
            } => write!(f, "{function}: expected {expected}, found {found}"),
            EvalError::Failed { function, reason } => write!(f, "{function}: {reason}"),
            EvalError::Arithmetic { left, right } => write!(f, "no arithmetic between {left} and {right}"),
            EvalError::DivisionByZero => f.write_str("division by zero"),
            EvalError::Index { container, key } => write!(f, "a {container} cannot be indexed by a {key}"),
            EvalError::IndexOutOfRange => f.write_str("index out of range"),
            EvalError::NotABool { found } => write!(f, "a condition must be true or false, found {found}"),
            EvalError::TooDeep => f.write_str("lists and maps nest too deep"),
            EvalError::Malformed(error) => write!(f, "malformed telemetry: {error}"),
        }
    }
}

impl std::error::Error for EvalError {}

/// `; did you mean "x"?` for the candidate nearest to `word`, or nothing when none is near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let limit = (word.len() / 3).max(1);
    let nearest = candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, candidate)) => format!("; did you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// Edit distance ignoring ASCII case; words longer than 64 bytes are no typing mistakes of anything.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = above[0];
        above[0] = i + 1;
        for (j, right) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = above[j + 1];
            above[j + 1] = replaced.min(above[j] + 1).min(diagonal + 1);
        }
    }
    above[b.len()]
}
