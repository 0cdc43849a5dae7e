//! Values as text, in the Collector's spelling, with control characters escaped.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

/// Text of a sender: whatever a terminal could obey is escaped.
pub struct Safe<'a>(pub &'a str);

impl fmt::Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            // Direction overrides turn what is read, as control characters turn what is shown.
            let is_direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || is_direction {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Bytes of an id.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A point in time, as `2026-01-02 03:04:05.000000006 +0000 UTC`.
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(self.0)) else {
            return write!(f, "{} ns", self.0);
        };
        let civil = jiff::tz::Offset::UTC.to_datetime(time);
        let (date, clock) = (civil.date(), civil.time());
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            date.year(),
            date.month(),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second()
        )?;
        let nanos = self.0 % 1_000_000_000;
        if nanos > 0 {
            let digits = format!("{nanos:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str(" +0000 UTC")
    }
}

/// The value alone: texts bare, everything nested as JSON.
pub fn plain(value: Option<&AnyValue>) -> String {
    let Some(value) = value.and_then(|value| value.value.as_ref()) else {
        return String::new();
    };
    match value {
        any_value::Value::StringValue(text) => Safe(text).to_string(),
        any_value::Value::BytesValue(bytes) => STANDARD.encode(bytes),
        other => Safe(&json(Some(other)).to_string()).to_string(),
    }
}

/// The value with its type, as `Str(a)`.
pub fn typed(value: Option<&AnyValue>) -> String {
    let kind = match value.and_then(|value| value.value.as_ref()) {
        None => "Empty",
        Some(any_value::Value::StringValue(_)) => "Str",
        Some(any_value::Value::BoolValue(_)) => "Bool",
        Some(any_value::Value::IntValue(_)) => "Int",
        Some(any_value::Value::DoubleValue(_)) => "Double",
        Some(any_value::Value::ArrayValue(_)) => "Slice",
        Some(any_value::Value::KvlistValue(_)) => "Map",
        Some(any_value::Value::BytesValue(_)) => "Bytes",
        // A reference into a dictionary that only profiles have.
        Some(any_value::Value::StringValueStrindex(_)) => "Index",
    };
    format!("{kind}({})", plain(value))
}

/// Nesting is bounded by the decoder (100 levels).
fn json(value: Option<&any_value::Value>) -> serde_json::Value {
    use serde_json::Value as Json;
    let inner = |value: &AnyValue| json(value.value.as_ref());
    match value {
        None => Json::Null,
        Some(any_value::Value::StringValue(text)) => Json::from(text.as_str()),
        Some(any_value::Value::BoolValue(bool)) => Json::from(*bool),
        Some(any_value::Value::IntValue(int)) => Json::from(*int),
        Some(any_value::Value::StringValueStrindex(index)) => Json::from(*index),
        // JSON has no NaN and no infinity.
        Some(any_value::Value::DoubleValue(double)) if !double.is_finite() => Json::from(double.to_string()),
        Some(any_value::Value::DoubleValue(double)) => Json::from(*double),
        Some(any_value::Value::BytesValue(bytes)) => Json::from(STANDARD.encode(bytes)),
        Some(any_value::Value::ArrayValue(array)) => array.values.iter().map(inner).collect(),
        Some(any_value::Value::KvlistValue(map)) => {
            let entry = |entry: &KeyValue| (entry.key.clone(), entry.value.as_ref().map_or(Json::Null, inner));
            Json::Object(map.values.iter().map(entry).collect())
        }
    }
}

/// ` k=v k=v`, or nothing.
pub fn pairs(attributes: &[KeyValue]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        let _ = write!(text, " {}={}", Safe(&attribute.key), plain(attribute.value.as_ref()));
    }
    text
}
