//! Writing YAML: as much as rule files and routes need.

/// A text in quotes. JSON's quoting is YAML's double-quoted form.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `key: text`, as a block where it has several lines.
pub fn entry(into: &mut String, indent: usize, key: &str, text: &str) {
    let space = " ".repeat(indent);
    let in_block = text.contains('\n') && !text.starts_with([' ', '\n']) && !text.contains('\r');
    if !in_block {
        into.push_str(&format!("{space}{key}: {}\n", quoted(text)));
        return;
    }
    into.push_str(&format!("{space}{key}: |-\n"));
    for line in text.trim_end().lines() {
        if line.is_empty() {
            into.push('\n');
        } else {
            into.push_str(&format!("{space}  {line}\n"));
        }
    }
}

/// Comment lines.
pub fn comment(into: &mut String, text: &str) {
    for line in text.lines() {
        into.push_str(&format!("# {line}\n"));
    }
}

/// Milliseconds as Prometheus writes them: the largest unit that leaves nothing.
pub fn duration(millis: i64) -> String {
    let units = [
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    for (unit, length) in units {
        if millis > 0 && millis % length == 0 {
            return format!("{}{unit}", millis / length);
        }
    }
    format!("{millis}ms")
}
