//! CloudWatch units as UCUM, the way OTLP writes them. Nothing is scaled.

/// `Seconds` -> `s`, `Kilobytes/Second` -> `kBy/s`, `Count` -> `{Count}`; unknown text passes through.
pub fn ucum(unit: &str) -> String {
    if let Some(rate) = unit.strip_suffix("/Second") {
        return format!("{}/s", ucum(rate));
    }
    let plain = match unit {
        "Seconds" => "s",
        "Milliseconds" => "ms",
        "Microseconds" => "us",
        "Percent" => "%",
        "Count" => "{Count}",
        "None" => "1",
        "Bytes" => "By",
        "Bits" => "bit",
        _ => "",
    };
    if !plain.is_empty() {
        return plain.to_owned();
    }
    for (prefix, short) in [("Kilo", "k"), ("Mega", "M"), ("Giga", "G"), ("Tera", "T")] {
        match unit.strip_prefix(prefix) {
            Some("bytes") => return format!("{short}By"),
            Some("bits") => return format!("{short}bit"),
            _ => {}
        }
    }
    unit.to_owned()
}

#[cfg(test)]
mod tests {
    use super::ucum;

    #[test]
    fn units_follow_ucum() {
        let cases = [
            ("Milliseconds", "ms"),
            ("Kilobytes", "kBy"),
            ("Gigabits/Second", "Gbit/s"),
            ("Count/Second", "{Count}/s"),
            ("None", "1"),
            ("Percent", "%"),
            ("Furlongs", "Furlongs"),
        ];
        for (from, to) in cases {
            assert_eq!(ucum(from), to);
        }
    }
}
