//! Segment times: decimal seconds in text, nanoseconds here. Never a float in between.

/// Digits of a number that are looked at; a nanosecond of a u64 is the twentieth.
const DIGITS: usize = 40;

/// Nanoseconds since the epoch from a JSON number (`1478293361.271`, `1.478293361271E9`, `1478293361`), cut after the
/// ninth decimal. `None` for negative ones, ones beyond the year 2554, and what is no number.
pub fn nanos_of(text: &str) -> Option<u64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        // An exponent of more digits than an i32 has is far outside of any time.
        Some((mantissa, exponent)) => (mantissa, exponent.trim_start_matches('+').parse::<i32>().ok()?),
        None => (text, 0),
    };
    if let Some(zero) = mantissa.strip_prefix('-') {
        return zero.bytes().all(|byte| matches!(byte, b'0' | b'.')).then_some(0);
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value: u128 = 0;
    // How many tens the value has yet to be multiplied with to be nanoseconds.
    let mut shift = exponent
        .checked_add(9)?
        .checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let mut taken = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return None;
        }
        if taken > 0 || digit != b'0' {
            taken += 1;
        }
        if taken > DIGITS - 2 {
            shift = shift.checked_add(1)?;
        } else {
            value = value * 10 + u128::from(digit - b'0');
        }
    }
    if value == 0 {
        return Some(0);
    }
    let power = 10u128.checked_pow(shift.unsigned_abs());
    let nanos = if shift >= 0 {
        value.checked_mul(power?)?
    } else {
        // A divisor that is too large for the type is larger than the value.
        power.map_or(0, |power| value / power)
    };
    u64::try_from(nanos).ok()
}

/// Seconds as text that [`nanos_of`] reads back equal.
pub fn write_seconds(nanos: u64, text: &mut String) {
    use std::fmt::Write;
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let begin = text.len();
    // Writing to a String cannot fail.
    let _ = write!(text, "{seconds}.{fraction:09}");
    while text.len() > begin + 2 && text.ends_with('0') && !text.ends_with(".0") {
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_spelling_exactly() {
        for (text, nanos) in [
            ("1478293361.271", Some(1_478_293_361_271_000_000)),
            ("1.478293361271E9", Some(1_478_293_361_271_000_000)),
            ("1478293361271e-3", Some(1_478_293_361_271_000_000)),
            ("1478293361", Some(1_478_293_361_000_000_000)),
            ("1478293361.1234567899", Some(1_478_293_361_123_456_789)),
            ("0", Some(0)),
            ("-0.0", Some(0)),
            ("-1", None),
            ("1e400", None),
            ("1e-400", Some(0)),
            ("0.000000001", Some(1)),
            ("18446744073.709551615", Some(u64::MAX)),
            ("18446744073.709551616", None),
            ("x", None),
            ("0e2000000000", Some(0)),
        ] {
            assert_eq!(nanos_of(text), nanos, "{text}");
        }
        let long = format!("1478293361.{}", "3".repeat(60_000));
        assert_eq!(nanos_of(&long), Some(1_478_293_361_333_333_333));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(nanos: u64) {
            let mut text = String::new();
            write_seconds(nanos, &mut text);
            prop_assert_eq!(nanos_of(&text), Some(nanos));
        }
    }
}
