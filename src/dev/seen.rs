//! A span and a log record as the terminal view and the lints see them: read once from the bytes, owned and small.

use std::sync::Arc;

use crate::wire::{self, Attributes, LogRecord, Resource, Span, Value, WireError};

/// Longer texts are cut.
const LONGEST_TEXT: usize = 512;

/// 16 bytes.
pub type TraceId = [u8; 16];
/// 8 bytes.
pub type SpanId = [u8; 8];

/// Who sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSeen {
    /// `service.name`; `unknown_service` where there is none.
    pub name: Arc<str>,
    /// Whether it was written.
    pub is_named: bool,
    /// `radiosonde.run.id`.
    pub run: Option<Arc<str>>,
    /// `telemetry.sdk.name`, `.language`, `.version`.
    pub sdk: [String; 3],
}

/// An `exception` event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExceptionSeen {
    pub kind: String,
    pub message: String,
    /// The innermost place of its stack that is a file with a line.
    pub place: Option<String>,
}

/// Tokens that a model took and gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokensSeen {
    pub input: u64,
    pub output: u64,
}

/// A span.
#[derive(Clone, Debug)]
pub struct SpanSeen {
    pub trace: TraceId,
    pub span: SpanId,
    pub parent: Option<SpanId>,
    pub service: Arc<ServiceSeen>,
    pub name: String,
    /// 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    pub is_error: bool,
    pub status_message: String,
    /// Nanoseconds since the epoch.
    pub start: u64,
    pub end: u64,
    pub http_status: Option<i64>,
    /// The path or route that was asked for, where it says one.
    pub http_path: Option<String>,
    /// The statement of a database call.
    pub statement: Option<String>,
    pub exception: Option<ExceptionSeen>,
    pub tokens: Option<TokensSeen>,
    pub links: usize,
    /// Attributes, events and links that the sender left out.
    pub left_out: u32,
}

impl SpanSeen {
    /// Nanoseconds; 0 where the end is before the start.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// A health check of an orchestrator or a load balancer: nobody's request.
    pub fn is_health_check(&self) -> bool {
        const PATHS: [&str; 12] = [
            "/health",
            "/healthz",
            "/healthcheck",
            "/livez",
            "/readyz",
            "/startupz",
            "/ready",
            "/live",
            "/ping",
            "/-/healthy",
            "/-/ready",
            "/actuator/health",
        ];
        let path = self
            .http_path
            .as_deref()
            .map(|path| path.split('?').next().unwrap_or(path));
        let path = path.or_else(|| self.name.split_whitespace().find(|word| word.starts_with('/')));
        let is_path = path.is_some_and(|path| PATHS.contains(&path.trim_end_matches('/')));
        is_path || self.name.starts_with("grpc.health.v1.Health/")
    }
}

/// A log record.
#[derive(Clone, Debug)]
pub struct LogSeen {
    pub service: Arc<ServiceSeen>,
    pub trace: Option<TraceId>,
    pub span: Option<SpanId>,
    /// Nanoseconds since the epoch; 0 unknown.
    pub time: u64,
    /// `SeverityNumber`.
    pub severity: i32,
    pub body: String,
}

impl LogSeen {
    /// The name of its range of severities.
    pub fn level(&self) -> &'static str {
        level(self.severity)
    }
}

/// `SeverityNumber` in words.
pub fn level(severity: i32) -> &'static str {
    match severity {
        ..=0 => "log",
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        _ => "FATAL",
    }
}

/// What the resource says.
pub fn service_of(resource: &Resource<'_>) -> Result<ServiceSeen, WireError> {
    let text = |key: &str| resource.attribute(key).map(|value| value.map(|value| text_of(&value)));
    let name = text("service.name")?.filter(|name| !name.is_empty());
    let run = text("radiosonde.run.id")?.filter(|run| !run.is_empty());
    Ok(ServiceSeen {
        is_named: name.as_ref().is_some_and(|name| !name.starts_with("unknown_service")),
        name: name.as_deref().unwrap_or("unknown_service").into(),
        run: run.map(Into::into),
        sdk: [
            text("telemetry.sdk.name")?.unwrap_or_default(),
            text("telemetry.sdk.language")?.unwrap_or_default(),
            text("telemetry.sdk.version")?.unwrap_or_default(),
        ],
    })
}

/// Reads a span. `None` where its ids are none.
pub fn span_of(service: &Arc<ServiceSeen>, span: &Span<'_>) -> Result<Option<SpanSeen>, WireError> {
    let (Some(trace), Some(id)) = (id_of(span.trace_id()?), id_of(span.span_id()?)) else {
        return Ok(None);
    };
    let status = span.status()?;
    let mut seen = SpanSeen {
        trace,
        span: id,
        parent: id_of(span.parent_span_id()?),
        service: Arc::clone(service),
        name: cut(&span.name()?.lossy()),
        kind: span.kind()?,
        is_error: status.code()? == 2,
        status_message: cut(&status.message()?.lossy()),
        start: span.start_time_unix_nano()?,
        end: span.end_time_unix_nano()?,
        http_status: None,
        http_path: None,
        statement: None,
        exception: None,
        tokens: None,
        links: span.links().count(),
        left_out: span
            .dropped_attributes_count()?
            .saturating_add(span.dropped_events_count()?)
            .saturating_add(span.dropped_links_count()?),
    };
    read_attributes(&mut seen, span.attributes())?;
    for event in span.events() {
        let event = event?;
        if event.name()? == "exception" {
            seen.exception = Some(exception_of(event.attributes())?);
        }
    }
    Ok(Some(seen))
}

fn read_attributes(seen: &mut SpanSeen, attributes: Attributes<'_>) -> Result<(), WireError> {
    let (mut input, mut output) = (None, None);
    for raw in attributes {
        let attribute = raw?;
        let key = attribute.key()?;
        match key.as_bytes() {
            b"http.response.status_code" | b"http.status_code" => seen.http_status = number_of(&attribute.value()?),
            b"http.route" | b"url.path" | b"http.target" if seen.http_path.is_none() => {
                seen.http_path = Some(text_of(&attribute.value()?));
            }
            b"db.query.text" | b"db.statement" => seen.statement = Some(text_of(&attribute.value()?)),
            b"gen_ai.usage.input_tokens" | b"gen_ai.usage.prompt_tokens" | b"llm.token_count.prompt" => {
                input = number_of(&attribute.value()?);
            }
            b"gen_ai.usage.output_tokens" | b"gen_ai.usage.completion_tokens" | b"llm.token_count.completion" => {
                output = number_of(&attribute.value()?);
            }
            _ => {}
        }
    }
    if input.is_some() || output.is_some() {
        let count = |tokens: Option<i64>| tokens.and_then(|tokens| u64::try_from(tokens).ok()).unwrap_or(0);
        seen.tokens = Some(TokensSeen {
            input: count(input),
            output: count(output),
        });
    }
    Ok(())
}

fn exception_of(attributes: Attributes<'_>) -> Result<ExceptionSeen, WireError> {
    let text = |key: &str| attributes.get(key).map(|value| value.map(|value| text_of(&value)));
    let stack = attributes.get("exception.stacktrace")?;
    Ok(ExceptionSeen {
        kind: text("exception.type")?.unwrap_or_default(),
        message: text("exception.message")?.unwrap_or_default(),
        place: stack
            .and_then(|stack| stack.as_text().map(|text| text.lossy().into_owned()))
            .and_then(|stack| place_in(&stack)),
    })
}

/// The innermost `file:line` of a stack in the style of Python (last line first called last) or of Java, Node, Go, Rust
/// (first line innermost).
pub fn place_in(stack: &str) -> Option<String> {
    let lines = || stack.lines().take(2_000);
    if stack.contains("Traceback (most recent call last)") {
        let innermost = lines().filter(|line| line.trim_start().starts_with("File \"")).last()?;
        let (file, rest) = innermost.trim_start().strip_prefix("File \"")?.split_once('"')?;
        let number: String = rest
            .strip_prefix(", line ")?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        return Some(format!("{}:{number}", short_path(file)));
    }
    lines().find_map(place_in_line)
}

fn place_in_line(line: &str) -> Option<String> {
    let mut words = line.split(|character: char| character.is_whitespace() || "()[]'\"".contains(character));
    words.find_map(place_of_word)
}

/// `file.js:10:5` has a column, `File.java:10` has none.
fn place_of_word(word: &str) -> Option<String> {
    let is_number = |text: &str| !text.is_empty() && text.len() < 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, last) = word.trim_end_matches([',', ';']).rsplit_once(':')?;
    if !is_number(last) {
        return None;
    }
    let (file, number) = match before.rsplit_once(':') {
        Some((file, line)) if is_number(line) => (file, line),
        _ => (before, last),
    };
    let file = file.strip_prefix("file://").unwrap_or(file);
    let name = file.rsplit(['/', '\\']).next()?;
    let is_file = name.contains('.') && !file.contains("://");
    is_file.then(|| format!("{}:{number}", short_path(file)))
}

/// The last two parts of a path.
fn short_path(path: &str) -> String {
    let mut parts: Vec<&str> = path.rsplit(['/', '\\']).take(2).collect();
    parts.reverse();
    cut(&parts.join("/"))
}

/// Reads a log record.
pub fn log_of(service: &Arc<ServiceSeen>, record: &LogRecord<'_>) -> Result<LogSeen, WireError> {
    let time = record.time_unix_nano()?;
    let time = if time == 0 {
        record.observed_time_unix_nano()?
    } else {
        time
    };
    Ok(LogSeen {
        service: Arc::clone(service),
        trace: id_of(record.trace_id()?),
        span: id_of(record.span_id()?),
        time,
        severity: record.severity_number()?,
        body: text_of(&record.body()?),
    })
}

/// The id, unless it has another length or is all zeros.
pub fn id_of<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let id: [u8; N] = bytes.try_into().ok()?;
    (id != [0; N]).then_some(id)
}

/// A value as one line of text; arrays and maps are named, not walked.
pub fn text_of(value: &Value<'_>) -> String {
    match value {
        Value::Empty => String::new(),
        Value::String(text) => cut(&text.lossy()),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Array(_) => "[...]".to_owned(),
        Value::Map(fields) => map_text(fields),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::StringIndex(index) => index.to_string(),
    }
}

/// `{key: value, ...}` one level deep.
fn map_text(fields: &Attributes<'_>) -> String {
    let mut text = String::from("{");
    for raw in *fields {
        let Ok(attribute) = raw else { break };
        let (Ok(key), Ok(value)) = (attribute.key(), attribute.value()) else {
            break;
        };
        if text.len() > 1 {
            text.push_str(", ");
        }
        text.push_str(&key.lossy());
        text.push_str(": ");
        match value {
            Value::Map(_) | Value::Array(_) => text.push_str("..."),
            plain => text.push_str(&text_of(&plain)),
        }
        if text.len() > LONGEST_TEXT {
            break;
        }
    }
    text.push('}');
    cut(&text)
}

/// A whole number, also one that was written as text.
pub fn number_of(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Double(number) if number.is_finite() => Some(*number as i64),
        Value::String(text) => text.to_str()?.trim().parse().ok(),
        _ => None,
    }
}

/// The beginning, up to a bound in bytes.
pub fn cut(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    let end = (0..=LONGEST_TEXT)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text[..end].to_owned()
}

/// Calls `each` for every span of a part of a traces request.
pub fn spans_in(part: &[u8], mut each: impl FnMut(SpanSeen, &Span<'_>)) -> Result<(), WireError> {
    for group in wire::resources(part) {
        let group = group?;
        let service = Arc::new(service_of(&group.resource()?)?);
        for scope in group.scopes() {
            for span in scope?.spans() {
                let span = span?;
                if let Some(seen) = span_of(&service, &span)? {
                    each(seen, &span);
                }
            }
        }
    }
    Ok(())
}

/// Calls `each` for every record of a part of a logs request.
pub fn logs_in(part: &[u8], mut each: impl FnMut(LogSeen, &LogRecord<'_>)) -> Result<(), WireError> {
    for group in wire::resources(part) {
        let group = group?;
        let service = Arc::new(service_of(&group.resource()?)?);
        for scope in group.scopes() {
            for record in scope?.log_records() {
                let record = record?;
                each(log_of(&service, &record)?, &record);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_place_of_a_stack_is_found_whatever_language_wrote_it() {
        for (stack, place) in [
            (
                "Traceback (most recent call last):\n  File \"/app/web/main.py\", line 12, in quote\n    f()\n  File \
                 \"/app/fx/client.py\", line 88, in rates\n    raise TimeoutError()\nTimeoutError: 100ms\n",
                "fx/client.py:88",
            ),
            (
                "java.lang.IllegalStateException: no\n\tat com.shop.Cart.add(Cart.java:42)\n\tat com.shop.Main.main(Main.java:7)",
                "Cart.java:42",
            ),
            (
                "TypeError: x is undefined\n    at quote (/srv/app/routes/quote.js:10:5)\n    at next (node.js:1:1)",
                "routes/quote.js:10",
            ),
            (
                "goroutine 1 [running]:\nmain.f()\n\t/src/shop/main.go:33 +0x1d",
                "shop/main.go:33",
            ),
            ("   0: shop::quote\n             at src/quote.rs:9:13", "src/quote.rs:9"),
        ] {
            assert_eq!(place_in(stack).as_deref(), Some(place), "{stack}");
        }
        assert_eq!(place_in("it went wrong at 12:30"), None);
        assert_eq!(place_in("http://localhost:80"), None);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "ä".repeat(LONGEST_TEXT);
        let short = cut(&long);
        assert!(short.len() <= LONGEST_TEXT && short.chars().all(|character| character == 'ä'));
    }
}
