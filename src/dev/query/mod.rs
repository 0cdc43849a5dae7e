//! The query language of dev mode, the same for page, command line, MCP, lints and API.
//!
//! `service=cart status=error duration>100ms http.route~"^/api" "card declined"`: terms are ANDed; `OR`, `NOT` or `-`,
//! parentheses; `key op value` with `= != < <= > >= ~ !~`, `key:text` (contains), `has(key)`, `key in (a, b)`; words and
//! quoted texts are searched in names, values, events and bodies, ignoring case.
//!
//! `parse` makes a [`Query`] of a text, `eval` finds the rows of a segment. `a!=b` is `NOT a=b`: it also holds where
//! there is no `a`. Keys are the built-in ones of [`Key`], else attributes: of the item, its events, resource and scope,
//! or of one of them with `span.`, `event.`, `res.`, `scope.`.

mod bits;
mod complete;
mod eval;
mod find;
mod parse;
#[cfg(test)]
mod tests;
pub mod units;

use regex::Regex;
use serde::Serialize;

pub use bits::Bits;
pub use complete::{Completion, Item, complete};
pub use eval::{Extras, NoExtras, Window};

use self::units::Quantity;
use crate::dev::store::Place;

/// A parsed query.
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) root: Node,
    text: String,
}

impl Query {
    /// Reads a query. Nothing is the query that everything fits.
    ///
    /// # Errors
    /// Where it is none, with the position and what may be meant.
    pub fn parse(text: &str, now: u64) -> Result<Self, QueryError> {
        Ok(Self {
            root: parse::parse(text, now)?,
            text: text.to_owned(),
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether everything fits.
    pub fn is_all(&self) -> bool {
        matches!(self.root, Node::All)
    }
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{error}")]
pub struct QueryError {
    pub error: String,
    /// In characters from the beginning.
    pub position: usize,
    pub suggestion: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// A word or a quoted text.
    Text(find::Needle),
    Has(Key),
    Compare(Key, Op, Operand),
    In(Key, Vec<Operand>),
}

/// What a term is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Signal,
    Service,
    Name,
    Kind,
    Status,
    Duration,
    SelfTime,
    Trace,
    Span,
    Parent,
    Scope,
    Severity,
    Body,
    Run,
    Time,
    Alert,
    /// The whole name; and with a prefix that says where it stands, the place and the name without it.
    Attribute(String, Option<(Place, String)>),
}

/// The built-in keys with what each is.
pub const BUILT_IN: [(&str, Key); 16] = [
    ("signal", Key::Signal),
    ("service", Key::Service),
    ("name", Key::Name),
    ("kind", Key::Kind),
    ("status", Key::Status),
    ("duration", Key::Duration),
    ("self", Key::SelfTime),
    ("trace", Key::Trace),
    ("span", Key::Span),
    ("parent", Key::Parent),
    ("scope", Key::Scope),
    ("severity", Key::Severity),
    ("body", Key::Body),
    ("run", Key::Run),
    ("time", Key::Time),
    ("alert", Key::Alert),
];

/// Prefixes that say where an attribute stands.
pub const PLACES: [(&str, Place); 5] = [
    ("res.", Place::Resource),
    ("resource.", Place::Resource),
    ("span.", Place::Own),
    ("event.", Place::Event),
    ("scope.", Place::Scope),
];

/// Names of span kinds, by their number.
pub const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
/// Names of status codes, by their number.
pub const STATUSES: [&str; 3] = ["unset", "ok", "error"];
/// Names of severities: level `n` is numbers `4n+1` to `4n+4`.
pub const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
/// Names of signals as a query has them.
pub const SIGNALS: [&str; 3] = ["traces", "metrics", "logs"];

impl Key {
    /// The key of this name.
    pub fn named(name: &str) -> Self {
        if let Some((_, key)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return key.clone();
        }
        let placed = PLACES
            .iter()
            .find_map(|(prefix, place)| Some((*place, name.strip_prefix(prefix)?.to_owned())));
        Key::Attribute(name.to_owned(), placed)
    }
}

/// How a key is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Matches,
    MatchesNot,
    Contains,
}

/// What a key is compared with.
#[derive(Clone, Debug)]
pub struct Operand {
    pub text: String,
    pub quantity: Option<Quantity>,
    pub(crate) regex: Option<Regex>,
    /// For contains.
    pub(crate) needle: Option<find::Needle>,
    /// For enumerations, durations and times: the number.
    pub(crate) number: u64,
}
