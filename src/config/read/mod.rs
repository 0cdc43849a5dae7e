//! Reads Rust types from the tree: a serde deserializer that knows positions and goes on after an error.
//!
//! A bad value is reported and masked, and the type is read again without it, so that its default stands in and the
//! next bad value is found. The rules for scalars are the Collector's (text from a bare number, numbers from a quoted
//! text, lists from a text with commas).

mod deserialize;
mod error;
mod scalars;

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::DeserializeOwned;

use super::frozen::{Content, Frozen, NodeId, Slot};
use super::problem::Severity;
use super::scalar::{self, Kind};
use deserialize::At;
use error::What;

/// Most bad values that one read finds; each costs one more pass over the section.
const MAX_PASSES: usize = 200;

/// Names that our own types give themselves so that the reader treats them in its own way.
pub(crate) mod special {
    pub(crate) const DURATION: &str = "$radiosonde::duration";
    pub(crate) const SIZE: &str = "$radiosonde::size";
    pub(crate) const SECRET: &str = "$radiosonde::secret";
    pub(crate) const SECRET_URL: &str = "$radiosonde::secret_url";
}

/// What a pass over the tree carries along.
pub(super) struct Reader<'a> {
    frozen: &'a Frozen,
    /// Values that are left out because they are bad.
    masked: RefCell<HashSet<NodeId>>,
}

impl Reader<'_> {
    fn is_masked(&self, node: NodeId) -> bool {
        self.masked.borrow().contains(&node)
    }

    fn warn(&self, node: NodeId, message: String) {
        self.frozen.report(Severity::Warning, node, message);
    }

    /// Whether a key is missing only because its value was bad.
    fn was_masked(&self, map: NodeId, key: &str) -> bool {
        self.frozen.child(map, key).is_some_and(|child| self.is_masked(child))
    }
}

/// Reads `T` at `node`. See [`super::Section::read`].
pub(super) fn read<T: DeserializeOwned>(frozen: &Frozen, node: NodeId) -> Option<T> {
    let reader = Reader {
        frozen,
        masked: RefCell::new(HashSet::new()),
    };
    for _ in 0..MAX_PASSES {
        let error = match T::deserialize(At::top(&reader, node)) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let at = error.node.unwrap_or(node);
        match error.what {
            What::UseDefault => {}
            What::Missing(key) if reader.was_masked(at, key) => {}
            What::Missing(key) => {
                frozen.report(Severity::Error, at, format!("the required key \"{key}\" is missing"));
            }
            What::Message(message) => frozen.report(Severity::Error, at, message),
        }
        let new = reader.masked.borrow_mut().insert(at);
        if at == node || !new {
            break;
        }
    }
    frozen.mark_failed(node);
    None
}

/// What stands somewhere, in the words of a message. Never the text of a secret.
pub(super) fn describe(slot: &Slot) -> String {
    match &slot.content {
        Content::Null => "nothing".to_string(),
        Content::List(_) => "a list".to_string(),
        Content::Map(_) => "a map".to_string(),
        Content::Scalar(scalar) => describe_text(&scalar.text, scalar.quoted),
    }
}

fn describe_text(text: &str, quoted: bool) -> String {
    const LONGEST: usize = 40;
    let kind = if quoted {
        Kind::Text
    } else {
        scalar::kind_of_plain(text)
    };
    match kind {
        Kind::Null => "nothing".to_string(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(_) | Kind::Float(_) => format!("the number {text}"),
        Kind::Date => format!("the date {text}"),
        Kind::Text if text.chars().count() > LONGEST => {
            let start: String = text.chars().take(LONGEST).collect();
            format!("\"{}...\"", start.escape_debug())
        }
        Kind::Text => format!("\"{}\"", text.escape_debug()),
    }
}
