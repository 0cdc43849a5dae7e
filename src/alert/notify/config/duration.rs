//! Durations as Prometheus and Alertmanager write them: `30s`, `4h`, `1d12h`, `1w`.

/// Units in their order, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Nanoseconds.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<u64, &'static str> {
    const HELP: &str =
        "is no duration; write e.g. 30s, 4h, 1d12h (y, w, d, h, m, s, ms, each at most once, in this order)";
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().map_err(|_| HELP)?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[..letters];
        rest = &rest[letters..];
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or(HELP)?;
        let added = count.checked_mul(*millis).and_then(|millis| total.checked_add(millis));
        total = added.ok_or("is too long a duration")?;
    }
    if text.is_empty() {
        return Err(HELP);
    }
    total.checked_mul(1_000_000).ok_or("is too long a duration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_prometheus_own() {
        for (text, seconds) in [
            ("30s", 30),
            ("4h", 14_400),
            ("1d12h", 129_600),
            ("1w", 604_800),
            ("1m30s", 90),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(seconds * 1_000_000_000), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(250_000_000));
        for text in ["", "5", "1s1m", "1.5h", "x", "99999999999y", "-1s", "1h1h", "s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
