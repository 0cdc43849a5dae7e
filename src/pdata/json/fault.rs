//! What is wrong with a JSON request, and where: the path is put together while the reader backs out.

use std::borrow::Cow;
use std::fmt;

/// One step of a JSON path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A field of OTLP; what the sender made up is never repeated to it.
    Field(&'static str),
    Index(usize),
}

/// How far a fault reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The whole request is refused.
    Request,
    /// The record goes: an id cannot be used.
    BadId,
    /// The record goes: too many attributes, too long a key.
    OverLimit,
    /// The record goes: a string is no UTF-8 and the receiver rejects that.
    Utf8,
}

#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) reach: Reach,
    message: Cow<'static, str>,
    /// Innermost first.
    path: Vec<Step>,
}

impl Fault {
    pub(super) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reach: Reach::Request,
            message: message.into(),
            path: Vec::new(),
        }
    }

    pub(super) fn of_record(reach: Reach, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reach,
            ..Self::new(message)
        }
    }

    /// What is wrong, without the path.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The same fault, seen from outside.
    #[cold]
    pub(super) fn inside(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Deep values have long paths: the outer steps say where to look.
        const SHOWN: usize = 12;
        for (at, step) in self.path.iter().rev().take(SHOWN).enumerate() {
            match step {
                Step::Field(name) if at == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if self.path.len() > SHOWN {
            f.write_str("...")?;
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}
