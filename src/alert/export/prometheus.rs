//! A rule file for stock Prometheus 3 (windows open on the left). `datapoints` becomes `for`, guidance annotations.

use std::collections::BTreeMap;

use super::yaml::{comment, duration, entry, quoted};
use super::{Exported, Options};
use crate::alert::rules::{Group, Missing, PromDuration, Rule, RuleFile};
use crate::alert::{EscalationStep, Template};

const MINUTE: i64 = 60_000;

pub fn export(files: &[RuleFile], options: &Options) -> Exported {
    let mut left_out = Vec::new();
    let mut groups = String::new();
    for file in files {
        for group in &file.groups {
            groups.push_str(&rules_of(group, options, &mut left_out));
        }
    }
    let mut text = String::new();
    comment(
        &mut text,
        "Rules for Prometheus 3, written by `radiosonde rules export --to prometheus`.",
    );
    if !left_out.is_empty() {
        comment(&mut text, "\nWhat Prometheus cannot say:");
        for line in &left_out {
            comment(&mut text, &format!("- {line}"));
        }
    }
    text.push_str("groups:\n");
    text.push_str(&groups);
    Exported { text, left_out }
}

/// The rules of a group, in as many groups as they need intervals.
fn rules_of(group: &Group, options: &Options, left_out: &mut Vec<String>) -> String {
    let mut by_interval: BTreeMap<i64, String> = BTreeMap::new();
    let own = group.interval.unwrap_or(MINUTE);
    for rule in &group.rules {
        let Some((interval, text)) = rule_text(rule, own, options, left_out) else {
            continue;
        };
        by_interval.entry(interval).or_default().push_str(&text);
    }
    let mut text = String::new();
    for (interval, rules) in by_interval {
        let name = if interval == own {
            group.name.clone()
        } else {
            format!("{}-{}", group.name, duration(interval))
        };
        text.push_str(&format!(
            "- name: {}\n  interval: {}\n  rules:\n{rules}",
            quoted(&name),
            duration(interval)
        ));
    }
    text
}

/// The rule, and the interval at which it has to be evaluated.
fn rule_text(rule: &Rule, own: i64, options: &Options, left_out: &mut Vec<String>) -> Option<(i64, String)> {
    let mut text = String::new();
    let name = format!("{} ({})", rule.name, rule.severity());
    if rule.extra.enabled == Some(false) {
        left_out.push(format!("{name}: is switched off"));
        return None;
    }
    if rule.extra.anomaly.is_some() {
        left_out.push(format!(
            "{name}: left out; it compares with what is usual at this hour of the week"
        ));
        return None;
    }
    losses(rule, &name, left_out);
    let (mut interval, mut hold, mut expr) = (own, rule.hold, rule.expr.text.trim().to_owned());
    if let Some(points) = rule.extra.datapoints {
        interval = points.period;
        if points.m == points.n {
            hold = i64::from(points.n - 1) * points.period;
        } else {
            let window = i64::from(points.n) * points.period;
            expr = format!(
                "count_over_time((\n{expr}\n)[{}:{}]) >= {}",
                duration(window),
                duration(points.period),
                points.m
            );
            left_out.push(format!(
                "{name}: its value is the number of points that were above, not what was measured"
            ));
        }
    }
    entry(&mut text, 2, "- alert", &rule.name);
    entry(&mut text, 4, "expr", &expr);
    if hold > 0 {
        text.push_str(&format!("    for: {}\n", duration(hold)));
    }
    if rule.keep_firing_for > 0 {
        text.push_str(&format!("    keep_firing_for: {}\n", duration(rule.keep_firing_for)));
    }
    labels(&mut text, "labels", &sources(&rule.labels));
    let mut annotations = sources(&rule.annotations);
    if options.guidance {
        annotations.extend(guidance(rule));
    }
    labels(&mut text, "annotations", &annotations);
    Some((interval, text))
}

fn labels(text: &mut String, key: &str, labels: &BTreeMap<String, String>) {
    if labels.is_empty() {
        return;
    }
    text.push_str(&format!("    {key}:\n"));
    for (name, value) in labels {
        entry(text, 6, name, value);
    }
}

/// Texts as they were written.
fn sources(texts: &[(String, Template)]) -> BTreeMap<String, String> {
    let texts = texts.iter();
    texts
        .map(|(name, text)| (name.clone(), text.source().to_owned()))
        .collect()
}

/// Steps, contact and escalation. Annotations are templates: braces of the text must not open one.
fn guidance(rule: &Rule) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let mut say = |name: &str, text: String| {
        if !text.is_empty() {
            said.insert(name.to_owned(), text.replace("{{", "{ {"));
        }
    };
    let guidance = &rule.guidance;
    let steps = guidance.resolution_steps.iter().enumerate();
    let steps: Vec<String> = steps.map(|(number, step)| format!("{}. {step}", number + 1)).collect();
    say("resolution_steps", steps.join("\n"));
    say("contact", guidance.contact.clone());
    let escalation = guidance.escalation.iter();
    let escalation: Vec<String> = escalation
        .map(|step| format!("after {} to {}", after(step), step.to))
        .collect();
    say("escalation", escalation.join(", "));
    say("runbook_url", guidance.runbook_url.clone());
    said
}

/// When a step is taken, as Prometheus writes durations.
pub fn after(step: &EscalationStep) -> PromDuration {
    PromDuration(i64::try_from(step.after / 1_000_000).unwrap_or(i64::MAX))
}

fn losses(rule: &Rule, name: &str, left_out: &mut Vec<String>) {
    let extra = &rule.extra;
    if let Some(Missing::Hold(_) | Missing::NoData(_) | Missing::Breach) = extra.missing {
        left_out.push(format!("{name}: missing data is taken as silence"));
    }
    if extra.pair.is_some() {
        left_out.push(format!(
            "{name}: both levels of the pair fire; the Alertmanager export inhibits the lower one"
        ));
    }
    if !extra.inhibits.is_empty() {
        let others = extra.inhibits.join(", ");
        left_out.push(format!(
            "{name}: that it silences {others} is in the Alertmanager export"
        ));
    }
    if extra.min_state.is_some() {
        left_out.push(format!("{name}: does not wait until there is enough history"));
    }
    if extra.recover.is_some() {
        left_out.push(format!("{name}: has no condition of its own for recovery"));
    }
    if extra.classify.is_some() {
        left_out.push(format!("{name}: has no annotations for cause and pattern"));
    }
    if extra.datapoints.is_some() && extra.missing == Some(Missing::Ignore) {
        left_out.push(format!("{name}: a period without data begins the count anew"));
    }
}
