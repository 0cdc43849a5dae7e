//! The deserializer's error: a message for people and the value it belongs to.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::config::frozen::NodeId;
use crate::config::suggest;

#[derive(Debug)]
pub(in crate::config) struct ReadError {
    /// The innermost value that the error passed; set on the way out.
    pub node: Option<NodeId>,
    pub what: What,
}

#[derive(Debug)]
pub(in crate::config) enum What {
    Message(String),
    /// Not an error: the value is empty in a way that means 'as if it were not there'.
    UseDefault,
    Missing(&'static str),
}

impl ReadError {
    pub fn message(message: impl Into<String>) -> Self {
        Self {
            node: None,
            what: What::Message(message.into()),
        }
    }

    pub fn use_default() -> Self {
        Self {
            node: None,
            what: What::UseDefault,
        }
    }

    /// Says where, unless something deeper has said it.
    pub fn at(mut self, node: NodeId) -> Self {
        self.node.get_or_insert(node);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Message(message) => f.write_str(message),
            What::UseDefault => f.write_str("empty"),
            What::Missing(key) => write!(f, "the required key \"{key}\" is missing"),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        if message.starts_with("data did not match any variant of untagged enum") {
            return Self::message("the value has none of the forms that are allowed here");
        }
        Self::message(message)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::message(format!("expected {}, found {}", plain(expected), found(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::message(format!("{length} elements, expected {}", plain(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggest::hint(variant, expected);
        Self::message(format!("unknown value \"{}\"{hint}", variant.escape_debug()))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggest::hint(field, expected);
        Self::message(format!("unknown key \"{}\"{hint}", field.escape_debug()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            node: None,
            what: What::Missing(field),
        }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::message(format!("\"{field}\" is given twice, under two of its names"))
    }
}

/// What a reader wanted, without the names of our types.
fn plain(expected: &dyn Expected) -> String {
    let words = expected.to_string();
    match words.as_str() {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a string" | "a borrowed string" | "string or map" => "a text".into(),
        "a boolean" => "true or false".into(),
        "a map" | "map" => "a map".into(),
        "unit" => "nothing".into(),
        other if other.starts_with("a nonzero") => "a number above zero".into(),
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum") => "a map".into(),
        other if other.starts_with("enum ") || other.starts_with("variant ") => "one of the allowed values".into(),
        other if other.starts_with("tuple ") => "a list".into(),
        other => other.to_string(),
    }
}

/// What was there. Texts are not repeated: they may be secret.
fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "a text".into(),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        _ => "something else".into(),
    }
}
