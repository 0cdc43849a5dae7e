//! Prints what the alert rules find: what it is, since when, what to do about it, and when it is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use crate::alert::notify::Desk;
use crate::cli::output;
use crate::component::console::{ALARM, BOLD, PLAIN, WELL};
use crate::dev::terminal::text::harmless;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// Columns of a step, beside its number.
const STEP_WIDTH: usize = 90;

/// Prints until it is dropped.
pub async fn tell(desk: Arc<Desk>) {
    // By fingerprint: whether the last that was told of it was that it fires.
    let mut told: HashMap<String, bool> = HashMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        // State that cannot be read now is read the next time.
        let Ok(incidents) = desk.incidents().await else {
            continue;
        };
        for incident in incidents.iter().filter(|incident| !is_about_ourselves(incident)) {
            let id = incident["fingerprint"].as_str().unwrap_or_default().to_owned();
            let fires = incident["state"] == "firing";
            let before = told.insert(id, fires);
            if fires && before != Some(true) {
                output::text(&fired(incident));
            } else if !fires && before == Some(true) {
                output::text(&over(incident));
            }
        }
    }
}

/// The watchdog and the like of the pack `self`: for whoever runs an agent, not for a first look at one.
fn is_about_ourselves(incident: &Json) -> bool {
    let name = incident["labels"]["alertname"].as_str();
    name.is_some_and(|name| name.starts_with("Radiosonde"))
}

fn head(colour: &str, word: &str, incident: &Json) -> String {
    let labels = &incident["labels"];
    let severity = labels["severity"].as_str().unwrap_or("warning").to_uppercase();
    let name = harmless(labels["alertname"].as_str().unwrap_or_default());
    format!("\n{colour}{word} [{severity}] {name}{PLAIN}\n")
}

fn summary(incident: &Json) -> String {
    harmless(incident["annotations"]["summary"].as_str().unwrap_or_default())
}

/// `14:20` of a time as RFC 3339 writes it.
fn minute(time: &Json) -> &str {
    time.as_str().and_then(|time| time.get(11..16)).unwrap_or("--:--")
}

fn fired(incident: &Json) -> String {
    let is_critical = incident["labels"]["severity"] == "critical";
    let mut text = head(if is_critical { ALARM } else { BOLD }, "ALERT", incident);
    text.push_str(&format!("  {}\n", summary(incident)));
    let steps = incident["resolution_steps"].as_array().map_or(&[][..], Vec::as_slice);
    let what = if steps.is_empty() { "" } else { " What to do:" };
    text.push_str(&format!("  since {} UTC.{what}\n", minute(&incident["startsAt"])));
    for (number, step) in steps.iter().filter_map(Json::as_str).enumerate() {
        let lines = wrapped(&harmless(step), STEP_WIDTH);
        text.push_str(&format!("{:>3}. {}\n", number + 1, lines.join("\n     ")));
    }
    text.push('\n');
    text
}

fn over(incident: &Json) -> String {
    let mut text = head(WELL, "RESOLVED", incident);
    let (began, ended) = (minute(&incident["startsAt"]), minute(&incident["endsAt"]));
    text.push_str(&format!(
        "  last: {}\n  began {began} UTC, over at {ended} UTC\n\n",
        summary(incident)
    ));
    text
}

/// Lines of at most `width` characters, broken between words; a longer word stands alone.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_says_what_it_is_and_what_to_do() {
        let incident = json!({
            "state": "firing", "labels": {"alertname": "Throttled", "severity": "critical"},
            "annotations": {"summary": "orders: 12 requests\u{1b}[2J throttled"}, "startsAt": "2026-11-20T14:20:00Z",
            "endsAt": "2026-11-20T14:31:00Z", "resolution_steps": ["Compare.", "word ".repeat(30)],
        });
        let text = fired(&incident);
        assert!(text.contains("ALERT [CRITICAL] Throttled"), "{text}");
        assert!(
            text.contains(
                "\n  orders: 12 requests\u{fffd}[2J throttled\n  since 14:20 UTC. What to do:\n  1. Compare.\n  2. word"
            ),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() < 100), "{text}");
        let text = over(&incident);
        assert!(
            text.contains("RESOLVED") && text.contains("began 14:20 UTC, over at 14:31 UTC"),
            "{text}"
        );
    }
}
