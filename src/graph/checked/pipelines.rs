//! `service::pipelines` and `service::extensions`: references, signals, cycles.

use super::check::{BALLAST, Declared};
use super::{connectors, id};
use crate::component::{ComponentId, ComponentKind, PipelineInfo, Plan};
use crate::config::{Section, suggest_among};
use crate::pdata::Signal;

const SIGNALS: [(&str, Signal); 3] = [
    ("traces", Signal::Traces),
    ("metrics", Signal::Metrics),
    ("logs", Signal::Logs),
];

/// A pipeline and where it stands.
pub(super) struct Placed {
    pub section: Section,
    pub info: PipelineInfo,
}

/// Reads the pipelines against what is declared.
pub(super) struct Reader<'a> {
    declared: &'a [Declared<'a>],
}

impl<'a> Reader<'a> {
    pub fn new(declared: &'a [Declared<'a>]) -> Self {
        Self { declared }
    }

    pub fn read(&self, service: &Section) -> Vec<PipelineInfo> {
        let Some(pipelines) = service.take("pipelines") else {
            service.error("the key \"pipelines\" is missing");
            return Vec::new();
        };
        if !pipelines.require_map() {
            return Vec::new();
        }
        let mut placed = Vec::new();
        for key in pipelines.keys() {
            if let Some(section) = pipelines.take(&key)
                && let Some(info) = self.pipeline(&key, &section)
            {
                placed.push(Placed { section, info });
            }
        }
        if pipelines.keys().is_empty() {
            pipelines.error("at least one pipeline is needed");
        }
        connectors::check(self.declared, &placed);
        placed.into_iter().map(|pipeline| pipeline.info).collect()
    }

    fn pipeline(&self, key: &str, section: &Section) -> Option<PipelineInfo> {
        if !section.require_map() {
            return None;
        }
        let signal = read_signal(key, section);
        let receivers = self.references(section, Role::Receiver, signal);
        let processors = self.references(section, Role::Processor, signal);
        let exporters = self.references(section, Role::Exporter, signal);
        warn_of_traps(section, &processors);
        section.report_untaken();
        Some(PipelineInfo {
            name: key.to_string(),
            signal: signal?,
            receivers,
            processors,
            exporters,
        })
    }

    /// One of the three lists of a pipeline.
    fn references(&self, section: &Section, role: Role, signal: Option<Signal>) -> Vec<ComponentId> {
        let Some(list) = section.take(role.key()) else {
            if role != Role::Processor {
                section.error_on_key(format!("a pipeline needs at least one of {}", role.key()));
            }
            return Vec::new();
        };
        let mut ids = Vec::new();
        let elements = list.elements();
        if elements.is_empty() && role != Role::Processor && !list.has_errors() {
            list.error_on_key(format!("a pipeline needs at least one of {}", role.key()));
        }
        for element in elements {
            let Some(text) = element.read::<String>() else { continue };
            let id = ComponentId::new(&text);
            let Some(entry) = self.find(role, &id) else {
                element.error(self.unknown(role, &text));
                continue;
            };
            if let Some(signal) = signal {
                check_signal(&element, entry, signal);
            }
            if !ids.contains(&id) {
                ids.push(id);
            } else if role == Role::Processor {
                element.error(format!("the processor \"{id}\" is in this pipeline twice"));
            } else {
                element.warn(format!("\"{id}\" is in this list twice; once counts"));
            }
        }
        ids
    }

    fn find(&self, role: Role, id: &ComponentId) -> Option<&Declared<'a>> {
        let kinds = role.kinds();
        self.declared
            .iter()
            .find(|entry| kinds.contains(&entry.kind) && entry.id == *id)
    }

    /// A reference to what is not declared.
    fn unknown(&self, role: Role, text: &str) -> String {
        let kinds = role.kinds();
        let elsewhere = self
            .declared
            .iter()
            .find(|entry| entry.id.as_str() == text && !kinds.contains(&entry.kind));
        if let Some(other) = elsewhere {
            let (what, section) = (role.name(), other.kind.section());
            return format!("no {what} is called \"{text}\"; it is declared under {section} only");
        }
        let known: Vec<&str> = self
            .declared
            .iter()
            .filter(|entry| kinds.contains(&entry.kind))
            .map(|entry| entry.id.as_str())
            .collect();
        let hint = suggest_among(text, &known);
        format!("no {} is called \"{text}\"{hint}", role.name())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Receiver,
    Processor,
    Exporter,
}

impl Role {
    fn key(self) -> &'static str {
        match self {
            Role::Receiver => "receivers",
            Role::Processor => "processors",
            Role::Exporter => "exporters",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Role::Receiver => "receiver",
            Role::Processor => "processor",
            Role::Exporter => "exporter",
        }
    }

    /// A connector is both ends.
    fn kinds(self) -> &'static [ComponentKind] {
        match self {
            Role::Receiver => &[ComponentKind::Receiver, ComponentKind::Connector],
            Role::Processor => &[ComponentKind::Processor],
            Role::Exporter => &[ComponentKind::Exporter, ComponentKind::Connector],
        }
    }
}

/// `traces/name` -> traces.
fn read_signal(key: &str, section: &Section) -> Option<Signal> {
    if let Some(problem) = id::problem_with(key) {
        section.error_on_key(problem);
        return None;
    }
    let (word, _) = key.split_once('/').unwrap_or((key, ""));
    let found = SIGNALS.iter().find(|(name, _)| *name == word);
    if let Some((_, signal)) = found {
        return Some(*signal);
    }
    if word == "profiles" {
        section.error_on_key("pipelines of profiles are not supported");
    } else {
        let hint = suggest_among(word, &["traces", "metrics", "logs"]);
        section.error_on_key(format!("unknown signal \"{word}\"{hint}"));
    }
    None
}

/// Whether a component can be used in a pipeline of a signal. Connectors are looked at when all pipelines are known.
fn check_signal(element: &Section, entry: &Declared<'_>, signal: Signal) {
    let Some(factory) = entry.factory else { return };
    let configured = match entry.component.as_ref().map(|component| &component.plan) {
        Some(Plan::Exporter(plan)) => plan.signals(),
        _ => None,
    };
    let signals = configured.unwrap_or(factory.signals());
    if entry.kind == ComponentKind::Connector || signals.contains(&signal) {
        return;
    }
    let supported: Vec<&str> = signals.iter().map(|signal| signal_name(*signal)).collect();
    let as_it_is = if factory.signals().contains(&signal) {
        " as it is configured"
    } else {
        ""
    };
    element.error(format!(
        "the {} \"{}\" does not do {}{as_it_is}; it does {}",
        entry.kind.name(),
        entry.id,
        signal_name(signal),
        supported.join(", ")
    ));
}

/// As pipelines are called.
pub fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "traces",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    }
}

/// What works and is rarely meant.
fn warn_of_traps(section: &Section, processors: &[ComponentId]) {
    let limiter = processors.iter().position(|id| id.type_name() == "memory_limiter");
    if limiter.is_some_and(|position| position > 0) {
        section.warn_at(
            "processors",
            "memory_limiter is not the first processor: what stands before it works on data that it would refuse",
        );
    }
}

/// `service::extensions`.
pub(super) fn read_extensions(service: &Section, declared: &[Declared<'_>]) -> Vec<ComponentId> {
    let Some(list) = service.take("extensions") else {
        return Vec::new();
    };
    let known: Vec<&str> = declared
        .iter()
        .filter(|entry| entry.kind == ComponentKind::Extension)
        .map(|entry| entry.id.as_str())
        .collect();
    let mut ids = Vec::new();
    for element in list.elements() {
        let Some(text) = element.read::<String>() else { continue };
        let id = ComponentId::new(&text);
        if !known.contains(&text.as_str()) {
            let hint = suggest_among(&text, &known);
            element.error(format!("no extension is called \"{text}\"{hint}"));
        } else if ids.contains(&id) {
            element.warn(format!("\"{id}\" is in this list twice; once counts"));
        } else if id.type_name() != BALLAST {
            ids.push(id);
        }
    }
    ids
}
