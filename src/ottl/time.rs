//! Times and durations as text.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::types::GoDuration;

/// Nanoseconds since the epoch as jiff's timestamp; every `i64` is inside its range.
pub(super) fn timestamp(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or_default()
}

/// `2026-01-02T03:04:05.6Z`.
pub(super) fn rfc3339(nanos: i64) -> String {
    timestamp(nanos).to_string()
}

/// Unit, and how many nanoseconds it has. Longer names first where one begins another.
const UNITS: &[(&str, f64)] = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
];

/// Go's durations: a sign, then numbers with units (`1h30m`, `-0.5s`).
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        nanos += number * factor;
    }
    let total = (sign * nanos).round();
    (total.abs() < i64::MAX as f64).then_some(total as i64)
}

/// As Go writes durations: `1h30m0s`, `1.5s`, `200ms`, `0s`.
pub(super) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}", GoDuration(Duration::from_nanos(nanos.unsigned_abs())))
}
