//! One log line, in the console or the JSON form of the Collector.

use std::fmt::Debug;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

use crate::component::UnixNanos;

/// `service::telemetry::logs::encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// ISO time, level, caller, message, fields as JSON; separated by tabs.
    #[default]
    Console,
    /// One JSON object a line.
    Json,
}

/// Message and fields of an event.
#[derive(Default)]
pub struct Content {
    pub message: String,
    pub fields: Map<String, Value>,
}

impl Visit for Content {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(
            field,
            serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number),
        );
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::String(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }
}

impl Content {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

/// What stands on every line.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub encoding: Encoding,
    pub with_caller: bool,
    /// `resource` as an object; `None` with `disable_zap_resource`.
    pub resource: Option<Map<String, Value>>,
    pub initial_fields: Map<String, Value>,
}

/// Writes the line with its newline.
pub fn write(frame: &Frame, time: UnixNanos, metadata: &Metadata<'_>, content: Content) -> Vec<u8> {
    let time = iso_time(time);
    let caller = frame.with_caller.then(|| caller(metadata)).flatten();
    let mut fields = Map::new();
    if let Some(resource) = &frame.resource {
        fields.insert("resource".to_owned(), Value::Object(resource.clone()));
    }
    fields.extend(frame.initial_fields.clone());
    fields.extend(content.fields);
    match frame.encoding {
        Encoding::Console => {
            let mut line = format!("{time}\t{}", level_name(*metadata.level()));
            if let Some(caller) = caller {
                line.push('\t');
                line.push_str(&caller);
            }
            line.push('\t');
            push_without_control(&mut line, &content.message);
            if !fields.is_empty() {
                line.push('\t');
                line.push_str(&Value::Object(fields).to_string());
            }
            line.push('\n');
            line.into_bytes()
        }
        Encoding::Json => {
            let mut object = Map::new();
            object.insert("level".to_owned(), level_name(*metadata.level()).into());
            object.insert("ts".to_owned(), time.into());
            if let Some(caller) = caller {
                object.insert("caller".to_owned(), caller.into());
            }
            object.insert("msg".to_owned(), content.message.into());
            object.extend(fields);
            let mut line = Value::Object(object).to_string();
            line.push('\n');
            line.into_bytes()
        }
    }
}

/// A message may carry text from outside: a terminal must not obey it (RUSTSEC-2025-0055). JSON escapes by itself.
fn push_without_control(line: &mut String, message: &str) {
    for character in message.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        // The Collector knows nothing below debug.
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// `graph/mod.rs:42`.
fn caller(metadata: &Metadata<'_>) -> Option<String> {
    let file = metadata.file()?;
    let short = file.rsplit_once("src/").map_or(file, |(_, behind)| behind);
    Some(format!("{short}:{}", metadata.line().unwrap_or(0)))
}

/// `2026-11-20T09:00:00.000Z`.
pub fn iso_time(time: UnixNanos) -> String {
    let nanos = i128::from(time.0);
    jiff::Timestamp::from_nanosecond(nanos).map_or_else(|_| time.0.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_a_zone() {
        assert_eq!(
            iso_time(UnixNanos(1_700_000_000_123_456_789)),
            "2023-11-14T22:13:20.123Z"
        );
    }

    #[test]
    fn control_characters_of_a_message_are_shown_not_obeyed() {
        let mut line = String::new();
        push_without_control(&mut line, "a\u{1b}[31mred\nnew line");
        assert_eq!(line, "a\\u{1b}[31mred\\nnew line");
    }
}
