//! Numbers for people, digit for digit as Prometheus' template functions write them (template/template.go of
//! Prometheus, Go's `%.4g`).

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// Four digits and an SI prefix: `1.235k`.
    Humanize,
    /// A ratio in percent: `12.5%`.
    Percentage,
    /// Seconds as `1d 2h 3m 4s`.
    Duration,
}

const ABOVE_ONE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BELOW_ONE: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

impl Form {
    /// By the name of Prometheus' function.
    pub fn of_function(name: &str) -> Option<Self> {
        match name {
            "humanize" => Some(Form::Humanize),
            "humanizePercentage" => Some(Form::Percentage),
            "humanizeDuration" => Some(Form::Duration),
            _ => None,
        }
    }

    /// The text.
    pub fn write(self, value: f64) -> String {
        match self {
            Form::Plain => shortest(value),
            Form::Humanize => humanize(value),
            Form::Percentage => format!("{}%", four_digits(value * 100.0)),
            Form::Duration => duration(value),
        }
    }
}

fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four_digits(value);
    }
    let (mut value, mut prefix) = (value, "");
    if value.abs() >= 1.0 {
        for next in ABOVE_ONE {
            if value.abs() < 1000.0 {
                break;
            }
            (value, prefix) = (value / 1000.0, next);
        }
    } else {
        for next in BELOW_ONE {
            if value.abs() >= 1.0 {
                break;
            }
            (value, prefix) = (value * 1000.0, next);
        }
    }
    format!("{}{prefix}", four_digits(value))
}

fn duration(value: f64) -> String {
    if value == 0.0 {
        return "0s".to_owned();
    }
    if !value.is_finite() {
        return four_digits(value);
    }
    if value.abs() < 1.0 {
        return format!("{}s", humanize(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let whole = value as u64; // Saturates: 584 billion years.
    let (seconds, minutes) = (whole % 60, whole / 60 % 60);
    let (hours, days) = (whole / 3600 % 24, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four_digits(value)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// Go's `%v`: as few digits as tell it apart, with an exponent from a million on and below 1e-4.
fn shortest(value: f64) -> String {
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = parts(&scientific);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        return with_exponent(digits, exponent);
    }
    value.to_string()
}

/// Go's `%.4g`.
fn four_digits(value: f64) -> String {
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    let scientific = format!("{value:.3e}");
    let (digits, exponent) = parts(&scientific);
    if !(-4..4).contains(&exponent) {
        return with_exponent(without_zeros(digits), exponent);
    }
    let decimals = usize::try_from(3 - exponent).unwrap_or_default();
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// `1.5e7` in its two parts.
fn parts(scientific: &str) -> (&str, i32) {
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (digits, exponent.parse().unwrap_or_default())
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// Go writes at least two digits of exponent, and its sign.
fn with_exponent(digits: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_prometheus_writes_them() {
        let cases = [
            (Form::Humanize, 0.0, "0"),
            (Form::Humanize, 1.0, "1"),
            (Form::Humanize, 120.5, "120.5"),
            (Form::Humanize, 1_234_567.0, "1.235M"),
            (Form::Humanize, 7.5e9, "7.5G"),
            (Form::Humanize, -0.12, "-120m"),
            (Form::Humanize, f64::NAN, "NaN"),
            (Form::Humanize, f64::INFINITY, "+Inf"),
            (Form::Percentage, 0.812_345, "81.23%"),
            (Form::Percentage, 1.0, "100%"),
            (Form::Percentage, 123.0, "1.23e+04%"),
            (Form::Duration, 0.0, "0s"),
            (Form::Duration, 0.05, "50ms"),
            (Form::Duration, 59.5, "59.5s"),
            (Form::Duration, 61.0, "1m 1s"),
            (Form::Duration, -3_661.0, "-1h 1m 1s"),
            (Form::Duration, 172_799.0, "1d 23h 59m 59s"),
            (Form::Plain, 1.0, "1"),
            (Form::Plain, 0.85, "0.85"),
            (Form::Plain, 172_799.0, "172799"),
            (Form::Plain, 1_234_567.0, "1.234567e+06"),
            (Form::Plain, 0.000_012, "1.2e-05"),
        ];
        for (form, value, text) in cases {
            assert_eq!(form.write(value), text, "{form:?} of {value}");
        }
    }
}
