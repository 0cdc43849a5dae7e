//! Durations as Prometheus writes them: `1w2d3h4m5s6ms`.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Milliseconds, read from Prometheus' notation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PromDuration(pub i64);

const UNITS: [(&str, i64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
/// Ten years.
const LONGEST: i64 = 10 * 31_536_000_000;

/// Reads a duration; `0` is one too.
///
/// # Errors
/// What is wrong with it.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    if text == "0" {
        return Ok(0);
    }
    let wrong = || format!("{text:?} is no duration; use 30s, 5m, 1h30m, 2d, 1w");
    let mut total: i64 = 0;
    let mut rest = text;
    // Each unit at most once, the larger first.
    let mut allowed = &UNITS[..];
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + letters];
        let position = allowed.iter().position(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if digits == 0 || digits > 12 {
            return Err(wrong());
        }
        let count: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        total = total.saturating_add(count.saturating_mul(allowed[position].1));
        allowed = &allowed[position + 1..];
        rest = &rest[digits + letters..];
    }
    if text.is_empty() {
        return Err(wrong());
    }
    if total > LONGEST {
        return Err("longer than ten years".to_owned());
    }
    Ok(total)
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, size) in UNITS {
            if rest >= size {
                write!(f, "{}{name}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl serde::Serialize for PromDuration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", self.0))
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(PromDuration).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_prometheus_does() {
        for (text, millis) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1w", 604_800_000),
            ("0", 0),
            ("15s", 15_000),
        ] {
            assert_eq!(parse_duration(text), Ok(millis));
        }
        for text in ["", "5", "m", "1m1h", "5m5m", "-1m", "1.5h", "99999999999y", "1é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(PromDuration(5_400_000).to_string(), "1h30m");
    }
}
