//! What is sent: Alertmanager's webhook body (version 4), its list of alerts, and the data of templates.

use serde_json::{Value as Json, json};

use super::super::Labels;
use super::config::{Links, label};
use super::links::{self, AlertLinks};
use super::message::{Facts, Line, Message};
use super::rfc3339;
use super::template::Value;

/// Go's zero time: an alert that has not ended.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn map(labels: &Labels) -> Json {
    Json::Object(
        labels
            .iter()
            .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
            .collect(),
    )
}

fn status(facts: &Facts) -> &'static str {
    if facts.fires() { "firing" } else { "resolved" }
}

/// `15m0s: oncall`.
fn escalation(facts: &Facts) -> Vec<String> {
    let steps = facts.escalation.iter();
    steps.map(|(after, to)| format!("{}: {to}", span(*after))).collect()
}

/// As Go writes a duration of whole seconds.
fn span(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The body of a webhook. What Alertmanager does not know stands under `radiosonde`.
pub fn webhook(message: &Message, settings: &Links, max_alerts: usize) -> Json {
    let most = if max_alerts == 0 { usize::MAX } else { max_alerts };
    let left_out = message.lines.len().saturating_sub(most);
    let alerts = message
        .lines
        .iter()
        .take(most)
        .map(|line| webhook_alert(line, settings));
    json!({
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": message.truncated + left_out,
        "status": message.status(),
        "receiver": message.receiver,
        "groupLabels": map(&message.group_labels),
        "commonLabels": map(&message.common(|facts| &facts.labels)),
        "commonAnnotations": map(&message.common(|facts| &facts.annotations)),
        "externalURL": settings.external_url,
        "alerts": alerts.collect::<Vec<Json>>(),
        "radiosonde": {"kind": message.kind.name(), "step": message.step, "repeat": message.repeat, "key": message.key()},
    })
}

fn webhook_alert(line: &Line, settings: &Links) -> Json {
    let facts = &line.facts;
    let links = links::of(facts, settings);
    json!({
        "status": status(facts),
        "labels": map(&facts.labels),
        "annotations": map(&facts.annotations),
        "startsAt": rfc3339(facts.starts_at),
        "endsAt": facts.ends_at.map_or_else(|| NEVER.to_owned(), rfc3339),
        "generatorURL": links.silence,
        "fingerprint": format!("{:016x}", facts.fingerprint),
        "radiosonde": details(line, &links),
    })
}

/// What we know of an alert beyond labels and annotations.
pub fn details(line: &Line, links: &AlertLinks) -> Json {
    let facts = &line.facts;
    json!({
        "summary": label(&facts.annotations, "summary"),
        "severity": facts.severity(),
        "value": facts.value,
        "pattern": facts.pattern,
        "cause": facts.cause,
        "resolution_steps": facts.resolution_steps,
        "contact": facts.contact,
        "escalation": escalation(facts),
        "acknowledged_by": line.acknowledged_by,
        "links": {
            "traces": links.traces, "console": links.console, "runbook": links.runbook, "silence": links.silence,
        },
    })
}

/// The body for an Alertmanager. `until`: when it may take an alert that fires for over, if we say nothing more.
pub fn alertmanager(alerts: &[Facts], settings: &Links, until: u64) -> Json {
    let alerts = alerts.iter().map(|facts| {
        let links = links::of(facts, settings);
        let mut annotations = facts.annotations.clone();
        let steps: Vec<String> = facts
            .resolution_steps
            .iter()
            .enumerate()
            .map(|(at, step)| format!("{}. {step}", at + 1))
            .collect();
        for (name, value) in [
            ("value", facts.value.clone()),
            ("pattern", facts.pattern.clone()),
            ("cause", facts.cause.clone()),
            ("resolution_steps", steps.join("\n")),
            ("contact", facts.contact.clone()),
            ("escalation", escalation(facts).join(", ")),
            ("runbook_url", links.runbook.clone()),
            ("trace_url", links.traces.first().cloned().unwrap_or_default()),
            ("console_url", links.console.clone()),
            ("silence_url", links.silence.clone()),
        ] {
            // An annotation of the rule itself says it better.
            if !value.is_empty() && label(&facts.annotations, name).is_empty() {
                annotations.push((name.to_owned(), value));
            }
        }
        let mut alert = json!({
            "labels": map(&facts.labels),
            "annotations": map(&annotations),
            "startsAt": rfc3339(facts.starts_at),
            "endsAt": rfc3339(facts.ends_at.unwrap_or(until)),
        });
        if !links.silence.is_empty() {
            alert["generatorURL"] = Json::from(links.silence);
        }
        alert
    });
    Json::Array(alerts.collect())
}

/// The data of a template.
pub fn template_data(message: &Message, settings: &Links) -> Value {
    let pairs = |labels: &Labels| Value::pairs(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let texts = |texts: &[String]| Value::list(texts.iter().map(|text| Value::text(text.as_str())));
    let alerts = message.lines.iter().map(|line| {
        let facts = &line.facts;
        let links = links::of(facts, settings);
        Value::record([
            ("Status", Value::text(status(facts))),
            ("Labels", pairs(&facts.labels)),
            ("Annotations", pairs(&facts.annotations)),
            ("StartsAt", Value::text(rfc3339(facts.starts_at))),
            (
                "EndsAt",
                Value::text(facts.ends_at.map_or_else(|| NEVER.to_owned(), rfc3339)),
            ),
            ("GeneratorURL", Value::text(links.silence.as_str())),
            ("Fingerprint", Value::text(format!("{:016x}", facts.fingerprint))),
            ("Value", Value::text(facts.value.as_str())),
            ("Pattern", Value::text(facts.pattern.as_str())),
            ("Cause", Value::text(facts.cause.as_str())),
            ("ResolutionSteps", texts(&facts.resolution_steps)),
            ("Contact", Value::text(facts.contact.as_str())),
            ("Escalation", texts(&escalation(facts))),
            ("RunbookURL", Value::text(links.runbook.as_str())),
            ("TraceURLs", texts(&links.traces)),
            ("ConsoleURL", Value::text(links.console.as_str())),
            ("SilenceURL", Value::text(links.silence.as_str())),
            ("AcknowledgedBy", Value::text(line.acknowledged_by.as_str())),
            ("Transitions", Value::Number(line.transitions as f64)),
        ])
    });
    Value::record([
        ("Receiver", Value::text(message.receiver.as_str())),
        ("Status", Value::text(message.status())),
        ("Kind", Value::text(message.kind.name())),
        ("Step", Value::Number(message.step as f64)),
        ("TruncatedAlerts", Value::Number(message.truncated as f64)),
        ("Alerts", Value::list(alerts)),
        ("GroupLabels", pairs(&message.group_labels)),
        ("CommonLabels", pairs(&message.common(|facts| &facts.labels))),
        ("CommonAnnotations", pairs(&message.common(|facts| &facts.annotations))),
        ("ExternalURL", Value::text(settings.external_url.as_str())),
    ])
}
