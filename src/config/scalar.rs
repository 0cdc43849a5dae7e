//! What the text of a scalar means: numbers, booleans, durations, sizes.
//!
//! The rules are those of the Collector's YAML reader (YAML 1.2 with the octal `010` and the `1_000` of 1.1).

use std::time::Duration;

/// The type that a plain scalar has where nobody asks for a particular one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    /// A date or time: the Collector's reader makes an error of it where a text is expected.
    Date,
    Text,
}

/// The kind of a plain (unquoted) scalar.
pub(crate) fn kind_of_plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Kind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let starts_as_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if !starts_as_number {
        return Kind::Text;
    }
    if let Some(value) = parse_int(text) {
        return Kind::Int(value);
    }
    if let Some(value) = parse_float(text) {
        return Kind::Float(value);
    }
    if is_date(text) { Kind::Date } else { Kind::Text }
}

/// A whole number: `42`, `-1`, `1_000`, `0x10`, `0o10`, `010` (= 8), `0b11`.
pub(crate) fn parse_int(text: &str) -> Option<i128> {
    // Longest 64-bit number in binary, with sign, prefix and as many underscores: more is no number.
    if text.len() > 140 {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some(two) if two.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let fits = value <= i128::from(u64::MAX);
    fits.then_some(if negative { -value } else { value })
}

/// Whether a whole number is written with the leading zero that makes it octal, which surprises most readers.
pub(crate) fn looks_decimal_but_is_octal(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// A decimal number: `1.5`, `.5`, `1e3`.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let has_digit = plain.bytes().any(|byte| byte.is_ascii_digit());
    let all_known = plain
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    if !has_digit || !all_known {
        return None;
    }
    plain.parse().ok()
}

/// `2026-11-20`, with or without a time behind it.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let day_len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let after_day = &rest[day_len..];
    let day_ends = after_day.is_empty() || after_day.starts_with(['T', 't', ' ']);
    year.len() == 4 && all_digits(year) && month.len() <= 2 && all_digits(month) && matches!(day_len, 1 | 2) && day_ends
}

/// A duration in Go's grammar: `1h30m`, `0.5s`, `200ms`. `Err` says what is wrong.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err("a duration is empty");
    }
    let mut nanos: f64 = 0.0;
    let mut whole_nanos: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let (number, behind) = rest.split_at(number_len);
        if number.is_empty() || number == "." || number.matches('.').count() > 1 {
            return Err("write a number with a unit, e.g. 1h30m, 10s or 200ms");
        }
        let unit_len = behind
            .bytes()
            .take_while(|byte| !byte.is_ascii_digit() && *byte != b'.')
            .count();
        let (unit, behind) = behind.split_at(unit_len);
        let unit_nanos: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err("a unit is missing; write e.g. 10s or 200ms (ns, us, ms, s, m, h)"),
            "d" => return Err("days are not a unit here; write hours, e.g. 24h"),
            _ => return Err("the unit is not known; units are ns, us, ms, s, m, h"),
        };
        // Whole numbers are added exactly; a fraction cannot be more exact than a nanosecond anyway.
        match number.parse::<u64>() {
            Ok(count) => whole_nanos = whole_nanos.saturating_add(u128::from(count) * u128::from(unit_nanos)),
            Err(_) => {
                let count: f64 = number.parse().map_err(|_| "the number is too large")?;
                nanos += count * unit_nanos as f64;
            }
        }
        rest = behind;
    }
    let total = whole_nanos.saturating_add(nanos as u128);
    // Go's durations are 63 bits of nanoseconds: 292 years.
    let total = i64::try_from(total).map_err(|_| "the duration is too long (the most is 292 years)")?;
    if negative && total != 0 {
        return Err("a duration below zero makes no sense here");
    }
    Ok(Duration::from_nanos(total.unsigned_abs()))
}

/// A number of bytes with or without a unit: `10MiB`, `64KB`, `1024`.
pub(crate) fn parse_size(text: &str) -> Result<u64, &'static str> {
    const HELP: &str = "write a number of bytes, with or without a unit, e.g. 10MiB or 64KB";
    let text = text.trim();
    let number_len = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_'))
        .count();
    let (number, unit) = text.split_at(number_len);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return Err(HELP),
    };
    let number = number.replace('_', "");
    if let Ok(count) = number.parse::<u64>() {
        return count.checked_mul(factor).ok_or("the size is too large");
    }
    let count: f64 = number.parse().map_err(|_| HELP)?;
    let bytes = count * factor as f64;
    if bytes >= 1e19 {
        return Err("the size is too large");
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_collectors_types() {
        let table = [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("True", Kind::Bool(true)),
            ("FALSE", Kind::Bool(false)),
            ("yes", Kind::Text),
            ("42", Kind::Int(42)),
            ("-7", Kind::Int(-7)),
            ("0x10", Kind::Int(16)),
            ("0o10", Kind::Int(8)),
            ("010", Kind::Int(8)),
            ("0123", Kind::Int(83)),
            ("089", Kind::Float(89.0)),
            ("0b11", Kind::Int(3)),
            ("1_000", Kind::Int(1000)),
            ("1e3", Kind::Float(1000.0)),
            ("1.5", Kind::Float(1.5)),
            (".5", Kind::Float(0.5)),
            ("18446744073709551615", Kind::Int(u64::MAX.into())),
            ("18446744073709551616", Kind::Float(18446744073709551616.0)),
            ("2026-11-20", Kind::Date),
            ("2026-11-20T10:00:00Z", Kind::Date),
            ("1.2.3", Kind::Text),
            ("10s", Kind::Text),
            ("-", Kind::Text),
            (".", Kind::Text),
            ("localhost:4317", Kind::Text),
            (".inf", Kind::Float(f64::INFINITY)),
        ];
        for (text, kind) in table {
            assert_eq!(kind_of_plain(text), kind, "{text:?}");
        }
    }

    #[test]
    fn durations_follow_gos_grammar() {
        let good = [
            ("1h30m", 5_400_000_000_000),
            ("0.5s", 500_000_000),
            ("200ms", 200_000_000),
            ("1.5h", 5_400_000_000_000),
            ("3us", 3_000),
            ("3µs", 3_000),
            ("7ns", 7),
            ("0", 0),
            ("1h0m0.25s", 3_600_250_000_000),
        ];
        for (text, nanos) in good {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "10", "1d", "s", "1x", "1..5s", "-5s", "9999999999h", "1h 30m"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        let good = [
            ("0", 0),
            ("1024", 1024),
            ("10MiB", 10 << 20),
            ("64KB", 64_000),
            ("64 kb", 64_000),
            ("1.5GiB", 1_610_612_736),
            ("1_000b", 1000),
            ("2gi", 2 << 30),
        ];
        for (text, bytes) in good {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "10MM", "-1", "99999999999999999999", "1.2.3k"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn octal_that_looks_decimal_is_recognised() {
        assert!(looks_decimal_but_is_octal("0123"));
        assert!(!looks_decimal_but_is_octal("0"));
        assert!(!looks_decimal_but_is_octal("0x12"));
        assert!(!looks_decimal_but_is_octal("0o12"));
    }
}
