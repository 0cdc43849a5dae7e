//! What is done to attributes: the actions of the Collector's `attributes` and `resource` processors, which differ only
//! in whose attributes they edit. No component itself.
//!
//! Actions run in the order of the configuration, each on what the earlier ones left, on the wire bytes: attributes
//! that no action names are copied as they stand.

mod config;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use regex::Regex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::Section;
use crate::ottl;
use crate::pdata::Origin;
use crate::wire::{AttributeList, SetMode, Text, Value, WireError};

/// One checked action.
#[derive(Debug)]
enum Action {
    /// insert, update, upsert.
    Set {
        mode: SetMode,
        key: String,
        source: Source,
        /// Payload of the value that stands in for a missing source.
        default: Option<Vec<u8>>,
    },
    Delete(Keys),
    Hash(Keys),
    /// Named groups become attributes; those that exist are overwritten.
    Extract {
        key: String,
        regex: Regex,
        /// Of the groups, in their order.
        names: Vec<String>,
    },
    Convert {
        key: String,
        to: Target,
    },
}

/// Where the value of an attribute comes from.
#[derive(Debug)]
enum Source {
    /// The payload of an `AnyValue`.
    Value(Vec<u8>),
    Attribute(String),
    Context(ContextSource),
    /// Only the default.
    Nothing,
}

/// What is known of the client.
#[derive(Debug)]
enum ContextSource {
    Metadata(String),
    Auth(String),
    /// The IP address, without the port.
    ClientAddress,
}

/// A key, and all keys that match a pattern.
#[derive(Debug)]
struct Keys {
    key: Option<String>,
    pattern: Option<Regex>,
}

impl Keys {
    fn have(&self, key: Text<'_>) -> bool {
        let is_key = self
            .key
            .as_deref()
            .is_some_and(|wanted| wanted.as_bytes() == key.as_bytes());
        is_key
            || self
                .pattern
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(&key.lossy()))
    }
}

/// `converted_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    Int,
    Double,
    String,
}

/// A checked list of actions.
#[derive(Debug)]
pub struct Actions(Vec<Action>);

impl Actions {
    /// Reads and checks the list at `key`, which must not be empty. Problems are reported to the section.
    pub fn check(section: &Section, key: &str) -> Option<Self> {
        let Some(list) = section.take(key) else {
            section.error(format!("`{key}` is missing: the list of actions"));
            return None;
        };
        if list.elements().is_empty() {
            list.error("needs at least one action");
        }
        Some(Actions(config::check(&list)))
    }

    /// Ready for one batch: what comes from the client is looked up once.
    pub fn for_batch<'a>(&'a self, origin: &Origin) -> Run<'a> {
        let context = |action: &Action| match action {
            Action::Set {
                source: Source::Context(source),
                ..
            } => source.payload(origin),
            _ => None,
        };
        Run {
            actions: &self.0,
            from_context: self.0.iter().map(context).collect(),
            scratch: Vec::new(),
        }
    }
}

impl ContextSource {
    /// The value's payload; several values are joined by `;`.
    fn payload(&self, origin: &Origin) -> Option<Vec<u8>> {
        let text = match self {
            ContextSource::Metadata(key) => match origin.metadata_values(key) {
                [] => return None,
                values => values.join(";"),
            },
            ContextSource::Auth(key) => {
                let attributes = &origin.auth.as_ref()?.attributes;
                attributes.iter().find(|(name, _)| **name == **key)?.1.to_string()
            }
            ContextSource::ClientAddress => origin.client?.ip().to_string(),
        };
        let mut payload = Vec::new();
        encode_text(&text, &mut payload);
        Some(payload)
    }
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    out.clear();
    crate::wire::put_len(out, 1, text.as_bytes());
}

/// The actions under way over one batch.
pub struct Run<'a> {
    actions: &'a [Action],
    /// One for each action: the payload of its value from the client.
    from_context: Vec<Option<Vec<u8>>>,
    scratch: Vec<u8>,
}

impl Run<'_> {
    /// Runs all actions on the attributes of one element.
    ///
    /// # Errors
    /// Where the attributes are malformed.
    pub fn apply(&mut self, list: &mut AttributeList<'_>) -> Result<(), WireError> {
        let actions = self.actions;
        for (index, action) in actions.iter().enumerate() {
            match action {
                Action::Set {
                    mode,
                    key,
                    source,
                    default,
                } => {
                    let found = match source {
                        Source::Value(payload) => Some(payload.as_slice()),
                        Source::Attribute(from) => copy(list, from, &mut self.scratch)?,
                        Source::Context(_) => self.from_context[index].as_deref(),
                        Source::Nothing => None,
                    };
                    if let Some(payload) = found.or(default.as_deref()) {
                        list.set(*mode, key, payload)?;
                    }
                }
                Action::Delete(keys) => {
                    list.retain(|key| !keys.have(key))?;
                }
                Action::Hash(keys) => self.hash(list, keys)?,
                Action::Extract { key, regex, names } => extract(list, key, regex, names)?,
                Action::Convert { key, to } => convert(list, key, *to)?,
            }
        }
        Ok(())
    }

    fn hash(&mut self, list: &mut AttributeList<'_>, keys: &Keys) -> Result<(), WireError> {
        let mut found: Vec<String> = Vec::new();
        for attribute in list.iter() {
            let key = attribute.key()?;
            if keys.have(key) {
                found.push(key.lossy().into_owned());
            }
        }
        for key in found {
            let Some(value) = list.get(&key)? else { continue };
            encode_text(&hashed(&value), &mut self.scratch);
            list.set(SetMode::Update, &key, &self.scratch)?;
        }
        Ok(())
    }
}

/// The payload of another attribute's value.
fn copy<'s>(list: &AttributeList<'_>, key: &str, out: &'s mut Vec<u8>) -> Result<Option<&'s [u8]>, WireError> {
    let Some(value) = list.get(key)? else {
        return Ok(None);
    };
    out.clear();
    value.encode_to(out)?;
    Ok(Some(out))
}

/// SHA-256 in hexadecimal of what the Collector hashes: the text, one byte of a bool, the eight little-endian bytes of
/// a number. What has no bytes becomes an empty text.
fn hashed(value: &Value<'_>) -> String {
    let bytes: Cow<'_, [u8]> = match value {
        Value::String(text) => Cow::Borrowed(text.as_bytes()),
        Value::Bool(value) => Cow::Owned(vec![u8::from(*value)]),
        Value::Int(value) => Cow::Owned(value.to_le_bytes().to_vec()),
        Value::Double(value) => Cow::Owned(value.to_le_bytes().to_vec()),
        _ => Cow::Borrowed(&[]),
    };
    if bytes.is_empty() {
        return String::new();
    }
    hex::encode(Sha256::digest(&bytes))
}

fn extract(list: &mut AttributeList<'_>, key: &str, regex: &Regex, names: &[String]) -> Result<(), WireError> {
    let Some(Value::String(text)) = list.get(key)? else {
        return Ok(());
    };
    let text = text.lossy();
    let Some(captures) = regex.captures(&text) else {
        return Ok(());
    };
    // Collected first: the text may stand in the list that is about to change.
    let groups: Vec<String> = (1..=names.len())
        .map(|group| captures.get(group).map_or("", |found| found.as_str()).to_owned())
        .collect();
    let mut payload = Vec::new();
    for (name, group) in names.iter().zip(groups) {
        encode_text(&group, &mut payload);
        list.set(SetMode::Upsert, name, &payload)?;
    }
    Ok(())
}

/// A value that cannot be converted stays as it is.
fn convert(list: &mut AttributeList<'_>, key: &str, to: Target) -> Result<(), WireError> {
    let Some(value) = list.get(key)? else {
        return Ok(());
    };
    let mut text = String::new();
    let converted = match (to, value) {
        (Target::Int, Value::Double(value)) => Value::Int(value as i64),
        (Target::Int, Value::Bool(value)) => Value::Int(value.into()),
        (Target::Int, Value::String(value)) => match value.lossy().parse() {
            Ok(value) => Value::Int(value),
            Err(_) => return Ok(()),
        },
        (Target::Double, Value::Int(value)) => Value::Double(value as f64),
        (Target::Double, Value::Bool(value)) => Value::Double(u8::from(value).into()),
        (Target::Double, Value::String(value)) => match value.lossy().parse() {
            Ok(value) => Value::Double(value),
            Err(_) => return Ok(()),
        },
        (Target::String, Value::Empty) => Value::String(Text::default()),
        (Target::String, value) if !matches!(value, Value::String(_)) => {
            match ottl::Value::from(value).to_text() {
                Ok(written) => text.push_str(&written.unwrap_or_default()),
                // Nested deeper than anything is followed.
                Err(_) => return Ok(()),
            }
            Value::String(Text::new(text.as_bytes()))
        }
        _ => return Ok(()),
    };
    let payload = converted.encode()?;
    list.set(SetMode::Update, key, &payload)?;
    Ok(())
}
