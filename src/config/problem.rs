//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

use super::source::{Sources, Span};

/// Whether the configuration can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
    /// Worth a line in the log, no reason to change anything.
    Info,
}

impl Severity {
    /// Lower case.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// The `::` path of the value; empty where the whole text is meant.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
    pub(crate) span: Option<Span>,
}

impl Problem {
    /// An error in a text of which no path is known yet.
    pub(crate) fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            path: String::new(),
            message: message.into(),
            span: Some(span),
        }
    }

    /// A warning likewise.
    pub(crate) fn warning(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// An error with no place in any text: no configuration was given, a file cannot be read.
    pub(crate) fn without_place(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            path: String::new(),
            message: message.into(),
            span: None,
        }
    }
}

/// Where a problem stands, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// File name, `env:NAME`, `--set #2`.
    pub source: &'a str,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// All problems of a configuration, ordered by position.
#[derive(Clone, Default)]
pub struct Problems {
    pub(crate) sources: Arc<Sources>,
    pub(crate) list: Vec<Problem>,
    /// What an excerpt must not show.
    pub(crate) secrets: Vec<Span>,
}

impl Problems {
    /// Puts the problems in order: by position, those without one first.
    pub(crate) fn new(sources: Arc<Sources>, mut list: Vec<Problem>, secrets: Vec<Span>) -> Self {
        list.sort_by(|a, b| a.span.cmp(&b.span).then(a.severity.cmp(&b.severity)));
        // A section that several read says the same several times.
        list.dedup();
        Self { sources, list, secrets }
    }

    /// In order of position.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Whether there is anything at all.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether something makes the configuration unusable.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Where a problem stands; `None` for those without a place.
    pub fn place(&self, problem: &Problem) -> Option<Place<'_>> {
        let span = problem.span?;
        let source = self.sources.get(span.source)?;
        let (line, column) = self.sources.line_column(span);
        Some(Place {
            source: &source.name,
            line,
            column,
        })
    }

    /// One line: `file:line:column: path: message`.
    pub fn line(&self, problem: &Problem) -> String {
        let mut line = String::new();
        if let Some(place) = self.place(problem) {
            line = format!("{}:{}:{}: ", place.source, place.line, place.column);
        }
        if problem.severity != Severity::Error {
            line.push_str(problem.severity.name());
            line.push_str(": ");
        }
        if !problem.path.is_empty() {
            line.push_str(&problem.path);
            line.push_str(": ");
        }
        line.push_str(&problem.message);
        line
    }

    /// Every problem as one line.
    pub fn lines(&self) -> Vec<String> {
        self.list.iter().map(|problem| self.line(problem)).collect()
    }
}

/// Errors and warnings with excerpts, without colours.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}
