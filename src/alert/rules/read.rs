//! The text of a rule file -> groups of rules, and every problem with its place.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::block::{self, Block};
use super::{Group, PromDuration, Rule, RuleFile, SEVERITIES};
use crate::alert::Template;
use crate::alert::promql::Expression;
use crate::config::{Document, Environment, Problem, Problems, Section, Severity, suggest_among};

/// What came of a file.
pub struct Reading {
    pub file: RuleFile,
    /// Of both documents. Errors: the file is not to be used.
    pub problems: Vec<Problems>,
}

impl Reading {
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problems::has_errors)
    }

    /// Every problem as `file:line:column: message`.
    pub fn lines(&self) -> Vec<String> {
        self.problems.iter().flat_map(Problems::lines).collect()
    }

    /// The problems themselves, each with the document it belongs to.
    pub fn iter(&self) -> impl Iterator<Item = (&Problems, &Problem)> {
        self.problems
            .iter()
            .flat_map(|problems| problems.iter().map(move |problem| (problems, problem)))
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().map(|problems| problems.count(severity)).sum()
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct GroupHead {
    name: String,
    interval: Option<PromDuration>,
    limit: usize,
    query_offset: Option<PromDuration>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct RuleHead {
    alert: String,
    record: String,
    expr: String,
    #[serde(rename = "for")]
    hold: PromDuration,
    keep_firing_for: PromDuration,
}

/// Reads a file. `environment`: for `${...}` in our block; a rule's own texts are never expanded.
pub fn read(name: &str, text: &str, environment: &dyn Environment) -> Reading {
    let (rules, extra) = two_documents(text);
    let mut block = Block::default();
    // The second document is read where it stands, so that its places are those of the file.
    let extra = extra.map(|extra| Document::from_text(name, &extra, environment));
    if let Some(Ok(document)) = &extra {
        block::read_document(document.root(), &mut block);
    }
    let mut file = RuleFile {
        name: name.to_owned(),
        groups: Vec::new(),
    };
    let rules = Document::plain(name, &rules);
    if let Ok(document) = &rules {
        read_groups(document.root(), &mut file, &mut block);
        for (section, alert) in block.unused() {
            section.error_on_key(format!("no rule of this file is called {alert:?}"));
            section.take_all();
        }
    }
    let mut problems = Vec::new();
    for document in [Some(rules), extra].into_iter().flatten() {
        match document {
            Ok(document) => {
                document.root().report_untaken();
                problems.push(document.problems());
            }
            Err(found) => problems.push(found),
        }
    }
    Reading { file, problems }
}

/// The rules, and what stands behind the first `---` after them, each at its own lines.
fn two_documents(text: &str) -> (String, Option<String>) {
    let mut seen_content = false;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_end();
        if trimmed == "---" && seen_content {
            let before = &text[..offset];
            let blank: String = before.chars().filter(|c| *c == '\n').collect();
            return (
                before.to_owned(),
                Some(format!("{blank}\n{}", &text[offset + line.len()..])),
            );
        }
        if !trimmed.is_empty() && !trimmed.starts_with('#') && trimmed != "---" {
            seen_content = true;
        }
        offset += line.len();
    }
    (text.to_owned(), None)
}

fn read_groups(root: &Section, file: &mut RuleFile, block: &mut Block) {
    if !root.require_map() {
        return;
    }
    if let Some(inline) = root.take("x-radiosonde") {
        block::read_block(&inline, block);
    }
    let Some(groups) = root.take("groups") else {
        root.error("a rule file begins with `groups:`");
        return;
    };
    let mut names = HashSet::new();
    for section in groups.elements() {
        if !section.require_map() {
            continue;
        }
        let head: GroupHead = section.read().unwrap_or_default();
        if head.name.is_empty() {
            section.error("a group needs a name");
        } else if !names.insert(head.name.clone()) {
            section.error_at("name", format!("the group {:?} is there twice", head.name));
        }
        if head.interval.is_some_and(|interval| interval.0 < 1_000) {
            section.error_at("interval", "must be at least 1s");
        }
        if head.query_offset.is_some() {
            section.error_at(
                "query_offset",
                "is not needed: rules wait for their data; `delay` in x-radiosonde says how long",
            );
        }
        if let Some(inline) = section.take("x-radiosonde") {
            block::read_defaults(&inline, &head.name, block);
        }
        let mut group = Group {
            name: head.name,
            interval: head.interval.map(|interval| interval.0),
            limit: head.limit,
            rules: Vec::new(),
        };
        let common = section
            .take("labels")
            .map(|labels| templates(&labels))
            .unwrap_or_default();
        let rules = section.take("rules").map(|rules| rules.elements()).unwrap_or_default();
        for section in rules {
            if let Some(rule) = read_rule(&section, &group.name, &common, &file.name, block) {
                group.rules.push(Arc::new(rule));
            }
        }
        file.groups.push(group);
    }
}

fn read_rule(
    section: &Section,
    group: &str,
    common: &[(String, Template)],
    file: &str,
    block: &mut Block,
) -> Option<Rule> {
    if !section.require_map() {
        return None;
    }
    let head: RuleHead = section.read()?;
    let mut labels = section
        .take("labels")
        .map(|labels| templates(&labels))
        .unwrap_or_default();
    for (name, value) in common {
        if !labels.iter().any(|(have, _)| have == name) {
            labels.push((name.clone(), value.clone()));
        }
    }
    labels.sort_by(|a, b| a.0.cmp(&b.0));
    let mut annotations = section
        .take("annotations")
        .map(|texts| templates(&texts))
        .unwrap_or_default();
    annotations.sort_by(|a, b| a.0.cmp(&b.0));
    let inline = section.take("x-radiosonde");
    if !head.record.is_empty() {
        section.error_at(
            "record",
            "recording rules are not built; write the expression into the alerts that need it",
        );
        return None;
    }
    if head.alert.is_empty() {
        section.error("a rule needs `alert: <name>`");
    }
    let expr = match Expression::parse(&head.expr) {
        Ok(expr) => expr,
        Err(error) => {
            section.error_in_text("expr", error.offset, error.message);
            return None;
        }
    };
    for (name, _) in &labels {
        let reserved = name == "alertname" || name.starts_with("__");
        let valid = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if reserved || !valid {
            section.error_at(&format!("labels::{name}"), format!("{name:?} cannot be set as a label"));
        }
    }
    let severity = labels
        .iter()
        .find(|(name, _)| name == "severity")
        .map(|(_, value)| value.source().to_owned());
    match severity.as_deref() {
        Some(severity) if SEVERITIES.contains(&severity) => {}
        Some(other) => section.error_at(
            "labels::severity",
            format!("{other:?} is no severity{}", suggest_among(other, &SEVERITIES)),
        ),
        None => section.error_at("labels", "a rule needs the label severity: critical, warning or info"),
    }
    let described = block.of_rule(group, &head.alert, severity.as_deref(), inline.as_ref());
    if described.extra.datapoints.is_some() && head.hold.0 > 0 {
        section.error_at("for", "`for` and `datapoints` are two ways to wait: use one");
    }
    Some(Rule {
        group: group.to_owned(),
        name: head.alert,
        expr,
        hold: head.hold.0,
        keep_firing_for: head.keep_firing_for.0,
        labels,
        annotations,
        guidance: Arc::new(described.guidance),
        extra: described.extra,
        place: format!("{file}:{}", section.place_at("alert")),
    })
}

/// A map of texts with `{{ }}` in them.
fn templates(section: &Section) -> Vec<(String, Template)> {
    let mut list = Vec::new();
    if !section.require_map() {
        return list;
    }
    for name in section.keys() {
        let Some(text) = section.take(&name).and_then(|value| value.read::<String>()) else {
            continue;
        };
        match Template::parse(&text) {
            Ok(template) => list.push((name, template)),
            Err(error) => section.error_in_text(&name, error.offset, error.message),
        }
    }
    list
}
