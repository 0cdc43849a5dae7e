//! The single matchers: of texts, attributes, libraries and severities. Built once, asked for each item.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::value::ConfigValue;
use crate::config::Section;
use crate::ottl::{self, double_text};
use crate::wire::{self, WireError};

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchType {
    Strict,
    /// RE2, unanchored.
    Regexp,
    /// A language of its own (filter's metrics only); refused by name.
    Expr,
}

/// A list of texts: matches when one of them does.
#[derive(Debug)]
pub enum Texts {
    Strict(Vec<String>),
    Regexp(Vec<Regex>),
}

impl Texts {
    /// From the list at `key`; `None` where it is empty. Reports what is wrong.
    pub fn check(section: &Section, key: &str, match_type: MatchType, texts: Vec<String>) -> Option<Self> {
        if texts.is_empty() {
            return None;
        }
        if match_type != MatchType::Regexp {
            return Some(Texts::Strict(texts));
        }
        let mut compiled = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match ottl::regex::compile(text) {
                Ok(regex) => compiled.push(regex),
                Err(message) => section.error_in_text(&format!("{key}::{index}"), 0, message),
            }
        }
        Some(Texts::Regexp(compiled))
    }

    /// Whether one of the texts matches.
    pub fn matches(&self, text: wire::Text<'_>) -> bool {
        match self {
            Texts::Strict(texts) => texts.iter().any(|have| have.as_bytes() == text.as_bytes()),
            Texts::Regexp(regexes) => {
                let text = text.lossy();
                regexes.iter().any(|regex| regex.is_match(&text))
            }
        }
    }
}

/// `{key, value}` of a configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeConfig {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value: Option<ConfigValue>,
}

/// Attributes that must all be there.
#[derive(Debug)]
pub struct Attributes(Vec<AttributeMatcher>);

#[derive(Debug)]
struct AttributeMatcher {
    key: String,
    value: ValueMatcher,
}

#[derive(Debug)]
enum ValueMatcher {
    /// The key exists.
    Any,
    Equals(ConfigValue),
    Regexp(Regex),
}

impl Attributes {
    /// From the list at `key`; `None` where it is empty. Reports what is wrong.
    pub fn check(section: &Section, key: &str, match_type: MatchType, list: Vec<AttributeConfig>) -> Option<Self> {
        if list.is_empty() {
            return None;
        }
        let mut matchers = Vec::with_capacity(list.len());
        for (index, attribute) in list.into_iter().enumerate() {
            if attribute.key.is_empty() {
                section.error_at(&format!("{key}::{index}"), "`key` is missing");
            }
            let value = match (attribute.value, match_type) {
                (None | Some(ConfigValue::Null), _) => ValueMatcher::Any,
                (Some(ConfigValue::Text(pattern)), MatchType::Regexp) => match ottl::regex::compile(&pattern) {
                    Ok(regex) => ValueMatcher::Regexp(regex),
                    Err(message) => {
                        section.error_in_text(&format!("{key}::{index}::value"), 0, message);
                        continue;
                    }
                },
                (Some(_), MatchType::Regexp) => {
                    let message = "with match_type regexp the value is a regular expression: put it in quotes";
                    section.error_at(&format!("{key}::{index}::value"), message);
                    continue;
                }
                (Some(ConfigValue::List(_) | ConfigValue::Map(_)), _) => {
                    let message = "only strings, numbers and bools can be matched";
                    section.error_at(&format!("{key}::{index}::value"), message);
                    continue;
                }
                (Some(value), _) => ValueMatcher::Equals(value),
            };
            matchers.push(AttributeMatcher {
                key: attribute.key,
                value,
            });
        }
        Some(Attributes(matchers))
    }

    /// Whether every attribute is there with its value.
    ///
    /// # Errors
    /// Where the attributes are malformed.
    pub fn match_all(&self, attributes: wire::Attributes<'_>) -> Result<bool, WireError> {
        for matcher in &self.0 {
            let Some(value) = attributes.get(&matcher.key)? else {
                return Ok(false);
            };
            let matches = match &matcher.value {
                ValueMatcher::Any => true,
                ValueMatcher::Equals(wanted) => wanted.is(&value),
                ValueMatcher::Regexp(regex) => matches_text(regex, &value),
            };
            if !matches {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Numbers and bools are matched as they are written; other values match nothing.
fn matches_text(regex: &Regex, value: &wire::Value<'_>) -> bool {
    match value {
        wire::Value::String(text) => regex.is_match(&text.lossy()),
        wire::Value::Int(value) => regex.is_match(&value.to_string()),
        wire::Value::Bool(value) => regex.is_match(&value.to_string()),
        wire::Value::Double(value) => regex.is_match(&double_text(*value)),
        _ => false,
    }
}

/// `{name, version}` of a configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryConfig {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: Option<String>,
}

/// Instrumentation scopes: matches when one of them does.
#[derive(Debug)]
pub struct Libraries(Vec<(Texts, Option<Texts>)>);

impl Libraries {
    /// From the list at `key`; `None` where it is empty. Reports what is wrong.
    pub fn check(section: &Section, key: &str, match_type: MatchType, list: Vec<LibraryConfig>) -> Option<Self> {
        if list.is_empty() {
            return None;
        }
        let mut libraries = Vec::with_capacity(list.len());
        for (index, library) in list.into_iter().enumerate() {
            if library.name.is_empty() {
                section.error_at(&format!("{key}::{index}"), "`name` is missing");
            }
            let texts = |text| Texts::check(section, &format!("{key}::{index}"), match_type, vec![text]);
            let version = library.version.map(texts);
            if let Some(name) = texts(library.name) {
                libraries.push((name, version.flatten()));
            }
        }
        Some(Libraries(libraries))
    }

    /// Whether the scope is one of them. A library without version matches any version.
    ///
    /// # Errors
    /// Where the scope is malformed.
    pub fn match_any(&self, scope: wire::Scope<'_>) -> Result<bool, WireError> {
        let (name, version) = (scope.name()?, scope.version()?);
        let is_one = |(names, versions): &(Texts, Option<Texts>)| {
            names.matches(name) && versions.as_ref().is_none_or(|versions| versions.matches(version))
        };
        Ok(self.0.iter().any(is_one))
    }
}

/// `{min, match_undefined}` of a configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityConfig {
    #[serde(default)]
    min: Option<ConfigValue>,
    #[serde(default)]
    match_undefined: bool,
}

/// A least severity.
#[derive(Clone, Copy, Debug)]
pub struct Severity {
    min: i32,
    match_undefined: bool,
}

impl Severity {
    /// From the map at `key`. Reports what is wrong.
    pub fn check(section: &Section, key: &str, config: &SeverityConfig) -> Option<Self> {
        let min = match &config.min {
            Some(ConfigValue::Int(number)) => i32::try_from(*number).ok().filter(|number| (0..=24).contains(number)),
            Some(ConfigValue::Text(name)) => severity_number(name),
            _ => None,
        };
        if min.is_none() {
            let message = "`min` is a severity: 1 to 24, or a name such as INFO, WARN2, ERROR";
            section.error_at(&format!("{key}::min"), message);
        }
        Some(Self {
            min: min?,
            match_undefined: config.match_undefined,
        })
    }

    /// Whether a record's severity is at least this.
    pub fn matches(self, number: i32) -> bool {
        if number == 0 {
            return self.match_undefined;
        }
        number >= self.min
    }
}

/// The number of `INFO`, `warn2`, `SEVERITY_NUMBER_ERROR`, ... (OpenTelemetry's log data model).
fn severity_number(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SEVERITY_NUMBER_").unwrap_or(&upper);
    let (word, step) = match short.as_bytes().last()? {
        digit @ b'2'..=b'4' => (&short[..short.len() - 1], i32::from(digit - b'1')),
        _ => (short, 0),
    };
    let words = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let level = words.iter().position(|have| *have == word)?;
    Some(i32::try_from(level).ok()? * 4 + 1 + step)
}
