//! The configuration as it was understood: merged, expanded, secrets redacted.

use serde_json::{Map, Value};

use super::document::Document;
use super::frozen::{Content, Frozen, NodeId};
use super::scalar::{self, Kind};

const REDACTED: &str = "[REDACTED]";

/// Keys whose values are secret whoever reads them: also in sections that nobody could read.
const SECRET_KEYS: [&str; 14] = [
    "password",
    "passwd",
    "secret",
    "token",
    "tokens",
    "api_key",
    "apikey",
    "access_key",
    "secret_key",
    "client_secret",
    "private_key",
    "key_pem",
    "authorization",
    "bearer_token",
];

impl Document {
    /// As YAML.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        let printer = Printer {
            frozen: &self.root().frozen,
        };
        printer.yaml(0, 0, Position::Alone, false, &mut text);
        text
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let printer = Printer {
            frozen: &self.root().frozen,
        };
        printer.json(0, false)
    }
}

struct Printer<'a> {
    frozen: &'a Frozen,
}

/// What a value is written behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Alone,
    Key,
    Dash,
}

impl Printer<'_> {
    /// Whether a value is a secret, or stands below one.
    fn is_secret(&self, node: NodeId, below_secret: bool) -> bool {
        below_secret
            || self.frozen.is_secret(node)
            || self.frozen.key(node).is_some_and(|key| {
                let key = key.to_ascii_lowercase();
                SECRET_KEYS.contains(&key.as_str()) || key == "headers" || key.ends_with("_password")
            })
    }

    /// A secret's structure and names are shown, its texts are not. `name` of a `{name, value}` header is a name.
    fn hides(&self, node: NodeId, secret: bool) -> bool {
        secret && self.frozen.key(node) != Some("name")
    }

    // Recursion is as deep as the tree: at most `MAX_DEPTH` levels.
    fn json(&self, node: NodeId, below_secret: bool) -> Value {
        let secret = self.is_secret(node, below_secret);
        match &self.frozen.slot(node).content {
            Content::Null => Value::Null,
            Content::List(children) => children.iter().map(|child| self.json(*child, secret)).collect(),
            Content::Map(children) => {
                let mut map = Map::new();
                for child in children {
                    let key = self.frozen.key(*child).unwrap_or_default();
                    map.insert(key.to_string(), self.json(*child, secret));
                }
                Value::Object(map)
            }
            Content::Scalar(_) if self.hides(node, secret) => Value::from(REDACTED),
            Content::Scalar(scalar) if scalar.quoted => Value::from(scalar.text.as_str()),
            Content::Scalar(scalar) => match scalar::kind_of_plain(&scalar.text) {
                Kind::Bool(value) => Value::from(value),
                Kind::Int(value) => match (i64::try_from(value), u64::try_from(value)) {
                    (Ok(value), _) => Value::from(value),
                    (_, Ok(value)) => Value::from(value),
                    _ => Value::from(scalar.text.as_str()),
                },
                Kind::Float(value) if value.is_finite() => Value::from(value),
                _ => Value::from(scalar.text.as_str()),
            },
        }
    }

    // Recursion is as deep as the tree: at most `MAX_DEPTH` levels.
    fn yaml(&self, node: NodeId, indent: usize, position: Position, below_secret: bool, text: &mut String) {
        let secret = self.is_secret(node, below_secret);
        let gap = if position == Position::Alone { "" } else { " " };
        match &self.frozen.slot(node).content {
            Content::Null if position == Position::Alone => text.push_str("{}\n"),
            Content::Null => text.push('\n'),
            Content::Scalar(_) if self.hides(node, secret) => text.push_str(&format!("{gap}'{REDACTED}'\n")),
            Content::Scalar(scalar) => {
                let written = if scalar.quoted || !is_plain(&scalar.text) {
                    quote_unless_plain_text(&scalar.text)
                } else {
                    scalar.text.clone()
                };
                text.push_str(&format!("{gap}{written}\n"));
            }
            Content::List(children) if children.is_empty() => text.push_str(&format!("{gap}[]\n")),
            Content::Map(children) if children.is_empty() => text.push_str(&format!("{gap}{{}}\n")),
            Content::List(children) => {
                if position != Position::Alone {
                    text.push('\n');
                }
                for child in children {
                    text.push_str(&" ".repeat(indent));
                    text.push('-');
                    self.yaml(*child, indent + 2, Position::Dash, secret, text);
                }
            }
            Content::Map(children) => {
                for (index, child) in children.iter().enumerate() {
                    let first = index == 0;
                    match position {
                        Position::Key if first => text.push('\n'),
                        Position::Dash if first => text.push(' '),
                        _ => {}
                    }
                    if !(first && position == Position::Dash) {
                        text.push_str(&" ".repeat(indent));
                    }
                    let key = self.frozen.key(*child).unwrap_or_default();
                    text.push_str(&quote_unless_plain_text(key));
                    text.push(':');
                    self.yaml(*child, indent + 2, Position::Key, secret, text);
                }
            }
        }
    }
}

/// Whether a text can stand in YAML without quotes and without becoming something else than it was written as.
fn is_plain(text: &str) -> bool {
    let safe =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | '%' | '@' | '(' | ')' | '=' | '~');
    let fine_colons = text
        .match_indices(':')
        .all(|(at, _)| text[at + 1..].starts_with(|c: char| !c.is_whitespace()));
    let starts_well = text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '+' | '(' | '-'));
    let dash_is_part = !text.starts_with('-') || text[1..].starts_with(|c: char| c.is_alphanumeric());
    starts_well
        && dash_is_part
        && fine_colons
        && text.chars().all(|c| safe(c) || c == ':' || c == ' ')
        && !text.ends_with(' ')
}

/// A text that stays a text.
fn quote_unless_plain_text(text: &str) -> String {
    let stays_text = matches!(scalar::kind_of_plain(text), Kind::Text);
    if stays_text && is_plain(text) {
        text.to_string()
    } else {
        // JSON's strings are YAML's double-quoted ones.
        Value::from(text).to_string()
    }
}
