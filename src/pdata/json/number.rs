//! Numbers of JSON, exact: 64-bit integers do not pass through floating point.

/// Whether the text is a number by RFC 8259.
pub(super) fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let no_leading_zero = whole == "0" || !whole.starts_with('0');
    digits(whole)
        && no_leading_zero
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// The integer that a number is, whichever way it is written (`1000`, `1e3`, `1000.0`); `None` where it is none, or
/// beyond 128 bits.
pub(super) fn exact_integer(text: &str) -> Option<i128> {
    if !is_json_number(text) {
        return None;
    }
    if let Ok(integer) = text.parse::<i128>() {
        return Some(integer);
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    let mut shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    while shift < 0 {
        // Only zeroes may stand behind the point.
        if digits.pop()? != '0' {
            return None;
        }
        shift += 1;
        if digits.trim_start_matches('-').is_empty() {
            return Some(0);
        }
    }
    let integer: i128 = digits.parse().ok()?;
    if integer == 0 {
        return Some(0);
    }
    integer.checked_mul(10i128.checked_pow(shift.try_into().ok()?)?)
}

/// A double, from a JSON number or from the words that proto3's JSON mapping has for the rest.
pub(super) fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if is_json_number(text) => text.parse().ok(),
        _ => None,
    }
}
