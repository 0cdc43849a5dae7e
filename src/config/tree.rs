//! The configuration as a tree: every value knows where it was written. This form is built, merged and expanded;
//! [`super::frozen`] is the form that is read.

use std::sync::Arc;

use super::source::Span;

/// Deepest nesting of maps and lists, aliases and `a::b` paths included.
pub(crate) const MAX_DEPTH: usize = 64;
/// Most aliases in one document.
pub(crate) const MAX_ALIASES: usize = 1_000;
/// Most values in one document, those that aliases repeat included.
pub(crate) const MAX_VALUES: usize = 250_000;
/// Longest text of one document, in bytes.
pub(crate) const MAX_TEXT: usize = 8 << 20;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    pub span: Span,
    /// Set where the value came out of `${...}`.
    pub expanded: Option<Arc<Expanded>>,
}

/// What an expansion leaves behind for messages and for string fields.
#[derive(Clone, Debug)]
pub(crate) struct Expanded {
    /// The variable (or `file:...`) as messages name it.
    pub variable: String,
    /// The text itself: what a string field takes where the value became something else.
    pub text: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A scalar as written. Its type is decided by whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub text: String,
    /// Written in quotes, as a block, or joined from parts: always a text.
    pub quoted: bool,
}

/// One key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

impl Node {
    /// A null at `span`.
    pub fn null(span: Span) -> Self {
        Self {
            value: Value::Null,
            span,
            expanded: None,
        }
    }

    /// An empty map at `span`.
    pub fn empty_map(span: Span) -> Self {
        Self {
            value: Value::Map(Vec::new()),
            span,
            expanded: None,
        }
    }

    /// The number of values in this tree, itself included.
    pub fn count(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar(_) => 1,
            Value::List(elements) => 1 + elements.iter().map(Node::count).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|entry| entry.node.count()).sum::<usize>(),
        }
    }

    /// Levels of maps and lists in this tree.
    pub fn depth(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar(_) => 0,
            Value::List(elements) => 1 + elements.iter().map(Node::depth).max().unwrap_or(0),
            Value::Map(entries) => 1 + entries.iter().map(|entry| entry.node.depth()).max().unwrap_or(0),
        }
    }
}
