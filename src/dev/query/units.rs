//! Numbers with units, and times as people write them.

use jiff::Timestamp;

/// What a number with a unit measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// No unit.
    Plain(f64),
    /// In nanoseconds.
    Duration(f64),
    /// In bytes.
    Bytes(f64),
}

impl Quantity {
    /// In its base unit.
    pub fn base(self) -> f64 {
        match self {
            Quantity::Plain(value) | Quantity::Duration(value) | Quantity::Bytes(value) => value,
        }
    }
}

const DURATIONS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
];

const SIZES: [(&str, f64); 7] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
];

/// `100`, `1.5s`, `20MB`; `None` where it is no number.
pub fn quantity(text: &str) -> Option<Quantity> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && !matches!(letter, '.' | '-' | '+'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if unit.is_empty() || unit.starts_with(['e', 'E']) {
        return number_of(text).map(Quantity::Plain);
    }
    let number = number_of(number)?;
    if let Some((_, factor)) = DURATIONS.iter().find(|(name, _)| *name == unit) {
        return Some(Quantity::Duration(number * factor));
    }
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit)?;
    Some(Quantity::Bytes(number * factor))
}

fn number_of(text: &str) -> Option<f64> {
    // Not `inf`, `nan` and such, which Rust reads as numbers.
    let is_number = text.starts_with(|letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.'));
    let number = text.parse::<f64>().ok()?;
    (is_number && number.is_finite()).then_some(number)
}

/// A time: `now`, `-15m`, RFC 3339, or unix seconds, milliseconds, microseconds or nanoseconds (told apart by their
/// size). In nanoseconds since the epoch.
pub fn time(text: &str, now: u64) -> Option<u64> {
    if text == "now" {
        return Some(now);
    }
    if let Some(ago) = text.strip_prefix('-') {
        return match quantity(ago)? {
            Quantity::Duration(nanos) if nanos >= 0.0 => Some(now.saturating_sub(nanos as u64)),
            _ => None,
        };
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return unix_time(text);
    }
    let stamp: Timestamp = text.parse().ok()?;
    u64::try_from(stamp.as_nanosecond()).ok()
}

fn unix_time(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number: u64 = whole.parse().ok()?;
    let factor: u64 = match number {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    let part = format!("0.{fraction}0").parse::<f64>().ok()?;
    Some(
        number
            .saturating_mul(factor)
            .saturating_add((part * factor as f64) as u64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale_to_nanoseconds_and_bytes() {
        assert_eq!(quantity("1.5s"), Some(Quantity::Duration(1.5e9)));
        assert_eq!(quantity("100ms"), Some(Quantity::Duration(1e8)));
        assert_eq!(quantity("3MB"), Some(Quantity::Bytes(3e6)));
        assert_eq!(quantity("-2"), Some(Quantity::Plain(-2.0)));
        assert_eq!(quantity("1e3"), Some(Quantity::Plain(1e3)));
        for text in ["", "ms", "1x", "inf", "nan", "1.2.3s", "--1"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_read_in_every_form() {
        let now = 1_763_660_000_000_000_000;
        assert_eq!(time("now", now), Some(now));
        assert_eq!(time("-15m", now), Some(now - 900_000_000_000));
        let moment = 1_700_000_000_000_000_000;
        for text in [
            "1700000000",
            "1700000000000",
            "1700000000000000",
            "1700000000000000000",
            "2023-11-14T22:13:20Z",
        ] {
            assert_eq!(time(text, now), Some(moment), "{text}");
        }
        assert_eq!(time("1700000000.5", now), Some(moment + 500_000_000));
        for text in ["", "-15", "yesterday", "-5MB"] {
            assert_eq!(time(text, now), None, "{text}");
        }
    }
}
