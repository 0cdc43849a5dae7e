//! Routes by contact and severity, escalation as routes that wait, pairs and `inhibits` as inhibitions. Receivers have
//! names only: where they lead is the reader's to fill in.

use std::collections::{BTreeMap, BTreeSet};

use super::Exported;
use super::prometheus::after;
use super::yaml::{comment, quoted};
use crate::alert::rules::{Rule, RuleFile};

/// Where alerts go that only inform.
const NOBODY: &str = "nobody";
const DEFAULT: &str = "default";

pub fn export(files: &[RuleFile]) -> Exported {
    let rules: Vec<&Rule> = files
        .iter()
        .flat_map(|file| &file.groups)
        .flat_map(|group| &group.rules)
        .map(AsRef::as_ref)
        .filter(|rule: &&Rule| rule.extra.enabled != Some(false))
        .collect();
    let left_out = vec![
        "acknowledgement: an escalation ends when the alert does or is silenced".to_owned(),
        "flap digest and the limit of notifications for each receiver".to_owned(),
    ];
    let mut text = String::new();
    comment(
        &mut text,
        "Routes for Alertmanager, written by `radiosonde rules export --to alertmanager`.\nGive the receivers their \
         integrations.\n\nWhat Alertmanager cannot say:",
    );
    for line in &left_out {
        comment(&mut text, &format!("- {line}"));
    }
    let mut receivers = BTreeSet::from([DEFAULT.to_owned(), NOBODY.to_owned()]);
    text.push_str(&routes(&rules, &mut receivers));
    text.push_str(&inhibitions(&rules));
    text.push_str("receivers:\n");
    for receiver in receivers {
        text.push_str(&format!("- name: {}\n", quoted(&receiver)));
    }
    Exported { text, left_out }
}

fn routes(rules: &[&Rule], receivers: &mut BTreeSet<String>) -> String {
    let mut text = String::from(
        "route:\n  receiver: default\n  group_by: [alertname, account_id, region]\n  group_wait: 30s\n  \
         group_interval: 5m\n  repeat_interval: 4h\n  routes:\n",
    );
    text.push_str(&format!(
        "  - receiver: {NOBODY}\n    matchers: [\"severity=\\\"info\\\"\"]\n"
    ));
    for ((after, to), alerts) in escalations(rules) {
        receivers.insert(to.clone());
        text.push_str(&format!(
            "  - receiver: {}\n    group_wait: {after}\n    continue: true\n    matchers: {}\n",
            quoted(&to),
            matchers(&alerts, "severity=\"critical\"")
        ));
    }
    for (contact, alerts) in contacts(rules) {
        receivers.insert(contact.clone());
        text.push_str(&format!(
            "  - receiver: {}\n    matchers: {}\n",
            quoted(&contact),
            matchers(&alerts, "")
        ));
    }
    text
}

/// Which critical alerts go to whom, and when.
fn escalations(rules: &[&Rule]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut steps: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.severity() == "critical") {
        for step in &rule.guidance.escalation {
            let alerts = steps.entry((after(step).to_string(), step.to.clone())).or_default();
            alerts.insert(rule.name.clone());
        }
    }
    steps
}

fn contacts(rules: &[&Rule]) -> BTreeMap<String, BTreeSet<String>> {
    let mut contacts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| !rule.guidance.contact.is_empty()) {
        let alerts = contacts.entry(rule.guidance.contact.clone()).or_default();
        alerts.insert(rule.name.clone());
    }
    contacts
}

fn matchers(alerts: &BTreeSet<String>, more: &str) -> String {
    let names: Vec<String> = alerts.iter().map(|name| regex::escape(name)).collect();
    let mut matchers = vec![quoted(&format!("alertname=~\"{}\"", names.join("|")))];
    if !more.is_empty() {
        matchers.push(quoted(more));
    }
    format!("[{}]", matchers.join(", "))
}

fn inhibitions(rules: &[&Rule]) -> String {
    let mut lines = BTreeSet::new();
    for rule in rules {
        let equal = equal_labels(&rule.expr.text);
        if rule.extra.pair.is_some() {
            for (higher, lower) in [("critical", "warning|info"), ("warning", "info")] {
                lines.insert(inhibition(&rule.name, higher, &rule.name, lower, &equal));
            }
        }
        if !rule.extra.inhibits.is_empty() {
            let targets: Vec<String> = rule.extra.inhibits.iter().map(|name| regex::escape(name)).collect();
            lines.insert(inhibition(&rule.name, rule.severity(), &targets.join("|"), "", &equal));
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines.into_iter().collect();
    format!("inhibit_rules:\n{}", lines.concat())
}

fn inhibition(source: &str, severity: &str, targets: &str, target_severity: &str, equal: &[String]) -> String {
    let source = [
        quoted(&format!("alertname=\"{source}\"")),
        quoted(&format!("severity=\"{severity}\"")),
    ];
    let mut target = vec![quoted(&format!("alertname=~\"{targets}\""))];
    if !target_severity.is_empty() {
        target.push(quoted(&format!("severity=~\"{target_severity}\"")));
    }
    format!(
        "- source_matchers: [{}]\n  target_matchers: [{}]\n  equal: [{}]\n",
        source.join(", "),
        target.join(", "),
        equal.join(", ")
    )
}

/// The labels of the first `by (...)`: those by which alerts of one subject are told from others.
fn equal_labels(expr: &str) -> Vec<String> {
    let Some(list) = expr.split_once("by (").and_then(|(_, rest)| rest.split_once(')')) else {
        return Vec::new();
    };
    list.0.split(',').map(|label| label.trim().to_owned()).collect()
}
