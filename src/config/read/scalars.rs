//! What a scalar says to somebody who wants a text, a number or a boolean.

use std::time::Duration;

use super::error::ReadError;
use super::{Reader, describe_text};
use crate::config::frozen::NodeId;
use crate::config::scalar::{self, Kind};

/// A scalar, or one piece of a scalar that stands for a list.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub reader: &'a Reader<'a>,
    pub node: NodeId,
    pub text: &'a str,
    pub quoted: bool,
    /// Came out of `${...}`.
    pub expanded: bool,
    /// Quotes say nothing about it (it was expanded, or cut out of a list): texts and numbers mix without a warning.
    pub untyped: bool,
}

impl<'a> Text<'a> {
    fn fail(&self, expected: &str) -> ReadError {
        let found = if self.reader.frozen.is_secret(self.node) {
            "something else".to_string()
        } else {
            describe_text(self.text, self.quoted)
        };
        ReadError::message(format!("expected {expected}, found {found}")).at(self.node)
    }

    /// The type that the text has by itself.
    pub fn kind(&self) -> Kind {
        if self.quoted {
            Kind::Text
        } else {
            scalar::kind_of_plain(self.text)
        }
    }

    /// The type that the text would have without its quotes; taken with a warning.
    fn kind_without_quotes(&self, wanted: &str) -> Kind {
        let kind = scalar::kind_of_plain(self.text.trim());
        let is_plain = !self.quoted || self.untyped || matches!(kind, Kind::Text | Kind::Null | Kind::Date);
        if !is_plain && !self.reader.frozen.is_secret(self.node) {
            let message = format!("{wanted} is expected; the text \"{}\" is taken as one", self.text);
            self.reader.warn(self.node, message);
        }
        kind
    }

    /// The text as written; a warning where it would be a number without quotes.
    pub fn as_text(&self) -> &'a str {
        let surprising = matches!(self.kind(), Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Date);
        if surprising && !self.untyped && !self.reader.frozen.is_secret(self.node) {
            let message = format!("a text is expected; {} is taken as it is written", self.text);
            self.reader.warn(self.node, message);
        }
        self.text
    }

    pub fn as_bool(&self) -> Result<bool, ReadError> {
        match self.kind_without_quotes("true or false") {
            Kind::Bool(value) => Ok(value),
            Kind::Null => Err(self.nothing()),
            _ => Err(self.fail("true or false")),
        }
    }

    pub fn as_int(&self) -> Result<i128, ReadError> {
        match self.kind_without_quotes("a whole number") {
            Kind::Int(value) => {
                if scalar::looks_decimal_but_is_octal(self.text) {
                    let message = format!("{} is octal and means {value}", self.text);
                    self.reader.warn(self.node, message);
                }
                Ok(value)
            }
            Kind::Float(value) if value.is_finite() && value.abs() < 1e20 => {
                if value.fract() != 0.0 {
                    let message = format!("a whole number is expected; {} is cut to {}", self.text, value.trunc());
                    self.reader.warn(self.node, message);
                }
                Ok(value.trunc() as i128)
            }
            Kind::Null => Err(self.nothing()),
            _ => Err(self.fail("a whole number")),
        }
    }

    /// A whole number between two bounds.
    pub fn as_int_within(&self, least: i128, most: i128) -> Result<i128, ReadError> {
        let value = self.as_int()?;
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        let message = if least == 0 && value < 0 {
            format!("{value} is below zero")
        } else if most > i128::from(u32::MAX) {
            format!("{value} is too large")
        } else {
            format!("{value} is out of range; allowed: {least} to {most}")
        };
        Err(ReadError::message(message).at(self.node))
    }

    pub fn as_float(&self) -> Result<f64, ReadError> {
        match self.kind_without_quotes("a number") {
            Kind::Int(value) => Ok(value as f64),
            Kind::Float(value) => Ok(value),
            Kind::Null => Err(self.nothing()),
            _ => Err(self.fail("a number")),
        }
    }

    /// Go's grammar; a bare whole number is nanoseconds, which nobody means.
    pub fn as_duration(&self) -> Result<Duration, ReadError> {
        let text = self.text.trim();
        if let Kind::Int(value) = scalar::kind_of_plain(text) {
            let Ok(nanos) = i64::try_from(value) else {
                return Err(self.fail("a duration"));
            };
            if nanos < 0 {
                return Err(ReadError::message("a duration below zero makes no sense here").at(self.node));
            }
            if nanos != 0 {
                let message = format!("a duration without a unit is in nanoseconds; write {text}s if you mean seconds");
                self.reader.warn(self.node, message);
            }
            return Ok(Duration::from_nanos(nanos.unsigned_abs()));
        }
        if text.is_empty() {
            return Err(self.nothing());
        }
        scalar::parse_duration(text).map_err(|reason| {
            let found = describe_text(self.text, true);
            ReadError::message(format!("{found} is not a duration: {reason}")).at(self.node)
        })
    }

    /// Bytes, with or without a unit.
    pub fn as_size(&self) -> Result<u64, ReadError> {
        let text = self.text.trim();
        if text.is_empty() {
            return Err(self.nothing());
        }
        if let Kind::Int(value) = scalar::kind_of_plain(text) {
            return u64::try_from(value).map_err(|_| self.fail("a size in bytes"));
        }
        scalar::parse_size(text).map_err(|reason| {
            let found = describe_text(self.text, true);
            ReadError::message(format!("{found} is not a size: {reason}")).at(self.node)
        })
    }

    /// An empty text where a value is expected: an unset variable leaves the default, as in the Collector.
    fn nothing(&self) -> ReadError {
        if self.expanded {
            ReadError::use_default().at(self.node)
        } else {
            self.fail("a value")
        }
    }
}
