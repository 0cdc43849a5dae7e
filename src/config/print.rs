//! The configuration as it was understood: merged, expanded, with the defaults that hold, secrets redacted.

use serde_json::{Map, Value};

use super::document::Document;
use super::frozen::{Content, Frozen, NodeId};
use super::scalar::{self, Kind};
use super::tree::Scalar;

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
    /// Before the components are checked: what holds for the settings that nobody wrote will be printed too.
    pub fn print_defaults(&self) {
        self.root().frozen.keep_unwritten();
    }

    /// As YAML.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        self.printed().yaml(0, Position::Alone, &mut text);
        text
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        self.printed().json()
    }

    fn printed(&self) -> Printed {
        let reader = Reader {
            frozen: &self.root().frozen,
        };
        reader.value(0, false)
    }
}

/// What is shown: what is written, in the order of the file, and behind it the settings that nobody wrote.
enum Printed {
    Nothing,
    /// The value, and how it is written in YAML.
    Scalar(Value, String),
    List(Vec<Printed>),
    Map(Vec<(String, Printed)>),
}

struct Reader<'a> {
    frozen: &'a Frozen,
}

impl Reader<'_> {
    // Recursion is as deep as the tree: at most `MAX_DEPTH` levels.
    fn value(&self, node: NodeId, below_secret: bool) -> Printed {
        let secret = self.is_secret(node, below_secret);
        let unwritten = self.frozen.unwritten(node);
        match &self.frozen.slot(node).content {
            Content::Null if unwritten.is_empty() => Printed::Nothing,
            Content::Null => Printed::unwritten(Value::Object(unwritten), secret),
            Content::List(children) => Printed::List(children.iter().map(|child| self.value(*child, secret)).collect()),
            Content::Map(children) => {
                let mut entries = Vec::with_capacity(children.len() + unwritten.len());
                for child in children {
                    let key = self.frozen.key(*child).unwrap_or_default();
                    entries.push((key.to_owned(), self.value(*child, secret)));
                }
                for (key, value) in unwritten {
                    let secret = secret || is_secret_key(&key);
                    entries.push((key, Printed::unwritten(value, secret)));
                }
                Printed::Map(entries)
            }
            Content::Scalar(scalar) if scalar.text.is_empty() && !unwritten.is_empty() => {
                Printed::unwritten(Value::Object(unwritten), secret)
            }
            Content::Scalar(_) if self.hides(node, secret) => Printed::redacted(),
            Content::Scalar(scalar) => Printed::Scalar(value_of(scalar), yaml_of(scalar)),
        }
    }

    /// Whether a value is a secret, or stands below one.
    fn is_secret(&self, node: NodeId, below_secret: bool) -> bool {
        below_secret || self.frozen.is_secret(node) || self.frozen.key(node).is_some_and(is_secret_key)
    }

    /// A secret's structure and names are shown, its texts are not. `name` of a `{name, value}` header is a name.
    fn hides(&self, node: NodeId, secret: bool) -> bool {
        secret && self.frozen.key(node) != Some("name")
    }
}

impl Printed {
    fn redacted() -> Self {
        Self::Scalar(Value::from(REDACTED), format!("'{REDACTED}'"))
    }

    /// A default. Recursion is as deep as the type it comes from.
    fn unwritten(value: Value, secret: bool) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Array(values) => {
                Self::List(values.into_iter().map(|value| Self::unwritten(value, secret)).collect())
            }
            Value::Object(values) => {
                let shown = values.into_iter().filter(|(_, value)| !value.is_null() && value != "");
                let entry = |(key, value): (String, Value)| {
                    let secret = secret || is_secret_key(&key);
                    (key, Self::unwritten(value, secret))
                };
                Self::Map(shown.map(entry).collect())
            }
            Value::String(text) if secret && !text.is_empty() => Self::redacted(),
            Value::String(text) => {
                let written = quote_unless_plain_text(&text);
                Self::Scalar(Value::String(text), written)
            }
            number => {
                let written = number.to_string();
                Self::Scalar(number, written)
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Scalar(value, _) => value.clone(),
            Self::List(values) => values.iter().map(Self::json).collect(),
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.clone(), value.json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    fn yaml(&self, indent: usize, position: Position, text: &mut String) {
        let gap = if position == Position::Alone { "" } else { " " };
        match self {
            Self::Nothing if position == Position::Alone => text.push_str("{}\n"),
            Self::Nothing => text.push('\n'),
            Self::Scalar(_, written) => text.push_str(&format!("{gap}{written}\n")),
            Self::List(values) if values.is_empty() => text.push_str(&format!("{gap}[]\n")),
            Self::Map(entries) if entries.is_empty() => text.push_str(&format!("{gap}{{}}\n")),
            Self::List(values) => {
                if position != Position::Alone {
                    text.push('\n');
                }
                for value in values {
                    text.push_str(&" ".repeat(indent));
                    text.push('-');
                    value.yaml(indent + 2, Position::Dash, text);
                }
            }
            Self::Map(entries) => {
                for (index, (key, value)) in entries.iter().enumerate() {
                    let first = index == 0;
                    match position {
                        Position::Key if first => text.push('\n'),
                        Position::Dash if first => text.push(' '),
                        _ => {}
                    }
                    if !(first && position == Position::Dash) {
                        text.push_str(&" ".repeat(indent));
                    }
                    text.push_str(&quote_unless_plain_text(key));
                    text.push(':');
                    value.yaml(indent + 2, Position::Key, text);
                }
            }
        }
    }
}

/// What a value is written behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Alone,
    Key,
    Dash,
}

fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_KEYS.contains(&key.as_str()) || key == "headers" || key.ends_with("_password")
}

fn value_of(scalar: &Scalar) -> Value {
    let text = scalar.text.as_str();
    if scalar.quoted {
        return Value::from(text);
    }
    match scalar::kind_of_plain(text) {
        Kind::Bool(value) => Value::from(value),
        Kind::Int(value) => match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => Value::from(value),
            (_, Ok(value)) => Value::from(value),
            _ => Value::from(text),
        },
        Kind::Float(value) if value.is_finite() => Value::from(value),
        _ => Value::from(text),
    }
}

fn yaml_of(scalar: &Scalar) -> String {
    if scalar.quoted || !is_plain(&scalar.text) {
        quote_unless_plain_text(&scalar.text)
    } else {
        scalar.text.clone()
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
