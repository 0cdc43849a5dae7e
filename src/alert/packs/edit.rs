//! Edits of the text of a shipped rule file. Its form is ours and tests hold it: one line `  - alert: NAME` begins a rule,
//! `    expr:` its expression, and below `x-radiosonde` each alert has one block.

use super::parameters::{Filter, RuleName};

/// The parts of a file that are expressions, by what rule they belong to.
struct Place {
    alert: String,
    severity: String,
    /// Lines from..to of the expression.
    lines: std::ops::Range<usize>,
}

fn places(lines: &[&str]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if *line == "---" {
            break;
        }
        if let Some(alert) = line.strip_prefix("  - alert: ") {
            places.push(Place {
                alert: alert.to_owned(),
                severity: String::new(),
                lines: 0..0,
            });
        }
        let Some(place) = places.last_mut() else { continue };
        if line.starts_with("    expr:") {
            let more = lines[number + 1..].iter().take_while(|next| next.starts_with("     "));
            place.lines = number..number + 1 + more.count();
        }
        if let Some(rest) = line.strip_prefix("    labels: {severity: ") {
            rest.trim_end_matches('}').clone_into(&mut place.severity);
        }
    }
    places
}

/// Calls `edit` with every line of the expressions of the rules that `chosen` picks.
fn expressions(text: &str, chosen: impl Fn(&Place) -> bool, edit: impl Fn(&str) -> String) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let places = places(&lines);
    let mut edited = String::with_capacity(text.len() + 256);
    for (number, line) in lines.iter().enumerate() {
        let inside = places
            .iter()
            .any(|place| place.lines.contains(&number) && chosen(place));
        if inside {
            edited.push_str(&edit(line));
        } else {
            edited.push_str(line);
        }
        edited.push('\n');
    }
    edited
}

const COMPARISONS: [&str; 6] = [">= ", "<= ", "> ", "< ", "== ", "!= "];

/// Writes `value` where the rule compares with `default`.
pub(super) fn threshold(text: &str, rule: &RuleName, default: &str, value: &str) -> String {
    let chosen =
        |place: &Place| place.alert == rule.alert && (rule.severity.is_empty() || rule.severity == place.severity);
    expressions(text, chosen, |line| replace_compared(line, default, value))
}

/// `> 0.80` -> `> VALUE`; a number that only begins so is another one.
fn replace_compared(line: &str, default: &str, value: &str) -> String {
    let mut done = String::new();
    let mut rest = line;
    while let Some((start, end)) = compared(rest, default) {
        done.push_str(&rest[..start]);
        done.push_str(value);
        rest = &rest[end..];
    }
    done.push_str(rest);
    done
}

/// Where the first comparison with this number stands.
fn compared(line: &str, number: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = line[from..].find(number) {
        let (start, end) = (from + found, from + found + number.len());
        let is_compared = COMPARISONS.iter().any(|comparison| line[..start].ends_with(comparison));
        let ends = line[end..].chars().next();
        let is_whole = !ends.is_some_and(|next| next.is_ascii_alphanumeric() || next == '.');
        if is_compared && is_whole {
            return Some((start, end));
        }
        from = end;
    }
    None
}

/// Adds `label=~"pattern"` to every selector whose metric has the label.
pub(super) fn filter(text: &str, filter: &Filter, pattern: &str) -> String {
    let quoted = serde_json::Value::from(pattern).to_string();
    let matcher = format!("{}=~{quoted}", filter.label);
    expressions(text, |_| true, |line| with_matcher(line, filter, &matcher))
}

fn with_matcher(line: &str, filter: &Filter, matcher: &str) -> String {
    let mut done = String::new();
    let mut rest = line;
    let mut before = String::new();
    while let Some(open) = rest.find('{') {
        let (head, tail) = rest.split_at(open);
        before.push_str(head);
        let metric = before
            .rsplit(|other: char| !other.is_ascii_alphanumeric() && other != '_')
            .next()
            .unwrap_or_default();
        // A selector by pattern names its metrics in quotes behind the brace.
        let pattern = tail.split('"').nth(1).unwrap_or_default();
        let name = if metric.is_empty() { pattern } else { metric };
        done.push_str(head);
        done.push('{');
        let behind = &tail[1..];
        if filter.applies_to(name) {
            done.push_str(matcher);
            if !behind.starts_with('}') {
                done.push_str(", ");
            }
        }
        // The rest of the selector: patterns may have braces of their own.
        let close = end_of_selector(behind);
        done.push_str(&behind[..close]);
        before.clear();
        rest = &behind[close..];
    }
    done.push_str(rest);
    done
}

/// Where the selector's `}` stands, outside of quotes; the end where there is none.
fn end_of_selector(text: &str) -> usize {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '}' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// Switches an alert on or off in the `x-radiosonde` document.
pub(super) fn enable(text: &str, alert: &str, enabled: bool) -> String {
    let block = format!("    {alert}:\n");
    let off = format!("{block}      enabled: false\n");
    if enabled {
        text.replacen(&off, &block, 1)
    } else {
        text.replacen(&block, &off, 1)
    }
}

/// Replaces the default escalation.
pub(super) fn escalation(text: &str, steps: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.starts_with("    escalation: ") {
            format!("    escalation: {steps}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}
