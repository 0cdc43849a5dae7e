//! Document -> [`Checked`]: every component section through its factory, every reference to what it names.
//!
//! Nothing stops at the first problem: all of them are in the answer, in the order of the text.

use std::sync::Arc;

use super::names::{self, Found};
use super::pipelines::{Reader, read_extensions};
use super::{Checked, CheckedComponent, id, watched};
use crate::component::{ComponentId, ComponentKind, Factory, Plan};
use crate::config::{Document, Problems, Section, ServiceConfig};

/// Accepted without effect: its work is done by `memory`.
pub(super) const BALLAST: &str = "memory_ballast";

/// A component whose section was seen; the plan is `None` where the section was refused.
pub(super) struct Declared<'a> {
    pub section: Section,
    pub factory: Option<&'a dyn Factory>,
    pub component: Option<Arc<CheckedComponent>>,
    pub kind: ComponentKind,
    pub id: ComponentId,
}

/// Checks a whole configuration against the components of `registry`. Opens no socket and creates nothing.
///
/// # Errors
/// Every problem (warnings too) if one of them is an error.
pub fn check(document: &Document, registry: &[&dyn Factory]) -> Result<Checked, Problems> {
    let root = document.root();
    let mut declared = Vec::new();
    for kind in ComponentKind::ALL {
        if let Some(section) = root.take(kind.section()) {
            declare(kind, &section, registry, &mut declared);
        }
    }
    refuse_ambiguous_connectors(&declared);

    let mut checked = Checked::default();
    match root.take("service") {
        Some(service) => {
            checked.service = ServiceConfig::read(Some(&service));
            checked.extensions = read_extensions(&service, &declared);
            checked.pipelines = Reader::new(&declared).read(&service);
        }
        None => root.error("the key \"service\" with its pipelines is missing"),
    }
    check_authenticators(&declared, &checked);
    check_storages(&declared, &checked);
    watched::check(&declared, &checked);
    root.report_untaken();
    let problems = document.problems();
    if problems.has_errors() {
        return Err(problems);
    }
    note_unused(&declared, &checked);
    checked.warnings = document.problems();
    checked.components = declared.into_iter().filter_map(|declared| declared.component).collect();
    Ok(checked)
}

/// Checks the sections of one kind.
fn declare<'a>(kind: ComponentKind, section: &Section, registry: &[&'a dyn Factory], declared: &mut Vec<Declared<'a>>) {
    section.require_map();
    for key in section.keys() {
        let Some(component) = section.take(&key) else { continue };
        if let Some(problem) = id::problem_with(&key) {
            component.error_on_key(problem);
            component.take_all();
            continue;
        }
        let id = ComponentId::new(&key);
        if kind == ComponentKind::Extension && id.type_name() == BALLAST {
            component.warn_on_key("has no effect: memory is bounded by service::memory");
            component.take_all();
        }
        let mut entry = Declared {
            section: component,
            factory: None,
            component: None,
            kind,
            id,
        };
        check_section(&mut entry, registry);
        declared.push(entry);
    }
}

/// One section through its factory.
fn check_section<'a>(entry: &mut Declared<'a>, registry: &[&'a dyn Factory]) {
    let type_name = entry.id.type_name();
    let Some(Found { factory, old_spelling }) = names::find(registry, entry.kind, type_name) else {
        if !(entry.kind == ComponentKind::Extension && type_name == BALLAST) {
            entry
                .section
                .error_on_key(names::refusal(registry, entry.kind, type_name));
        }
        entry.section.take_all();
        return;
    };
    entry.factory = Some(factory);
    if old_spelling {
        let message = format!("\"{type_name}\" is the old name of \"{}\"", factory.type_name());
        entry.section.warn_on_key(message);
    }
    if !entry.section.require_map() {
        entry.section.take_all();
        return;
    }
    let plan = factory.check(&entry.section);
    entry.section.report_untaken();
    match plan {
        Some(plan) => {
            entry.component = Some(Arc::new(CheckedComponent {
                kind: entry.kind,
                id: entry.id.clone(),
                plan,
                fingerprint: entry.section.fingerprint(),
            }));
        }
        None if !entry.section.has_errors() => entry.section.error_on_key("the section cannot be used"),
        None => {}
    }
}

/// A connector stands in the lists of receivers and exporters: its id must be its own there.
fn refuse_ambiguous_connectors(declared: &[Declared<'_>]) {
    for connector in declared.iter().filter(|entry| entry.kind == ComponentKind::Connector) {
        let other = declared.iter().find(|entry| {
            matches!(entry.kind, ComponentKind::Receiver | ComponentKind::Exporter) && entry.id == connector.id
        });
        if let Some(other) = other {
            let (what, id) = (other.kind.name(), &connector.id);
            let message = format!("the {what} \"{id}\" has the same id; give one of them another name");
            connector.section.error_on_key(message);
        }
    }
}

/// `auth::authenticator` names an extension that runs and can prove something.
fn check_authenticators(declared: &[Declared<'_>], checked: &Checked) {
    for entry in declared {
        let named = match entry.component.as_ref().map(|component| &component.plan) {
            Some(Plan::Exporter(plan)) => {
                let named = plan.authenticator();
                named.map(|id| ("auth::authenticator", id)).into_iter().collect()
            }
            Some(Plan::Receiver(plan)) => plan.authenticators(),
            _ => continue,
        };
        for (key, id) in named {
            if let Some(message) = problem_with_authenticator(id, entry.kind, declared, checked) {
                entry.section.error_at(key, message);
            }
        }
    }
}

/// `kind`: of who names it.
fn problem_with_authenticator(
    id: &ComponentId,
    kind: ComponentKind,
    declared: &[Declared<'_>],
    checked: &Checked,
) -> Option<String> {
    let extension = declared
        .iter()
        .find(|entry| entry.kind == ComponentKind::Extension && entry.id == *id);
    let Some(extension) = extension else {
        return Some(format!("there is no extension \"{id}\""));
    };
    // Where it has none its own section says what is wrong with it.
    let plan = extension.component.as_ref().map(|found| &found.plan)?;
    let Plan::Extension(plan) = plan else { return None };
    let (fits, other, whom) = match kind {
        ComponentKind::Receiver => (
            plan.authenticates_clients(),
            plan.authenticates(),
            "the clients of a listener",
        ),
        _ => (plan.authenticates(), plan.authenticates_clients(), "an exporter"),
    };
    match (fits, other) {
        (true, _) if checked.extensions.contains(id) => None,
        (true, _) => Some(format!("the extension \"{id}\" is not in service::extensions")),
        (false, true) => Some(format!("the extension \"{id}\" cannot authenticate {whom}")),
        (false, false) => Some(format!("the extension \"{id}\" is no authenticator")),
    }
}

/// A queue that names a storage needs one that is started.
fn check_storages(declared: &[Declared<'_>], checked: &Checked) {
    for entry in declared {
        let Some(Plan::Exporter(plan)) = entry.component.as_ref().map(|component| &component.plan) else {
            continue;
        };
        let Some(storage) = plan.delivery().queue.and_then(|queue| queue.storage) else {
            continue;
        };
        let is_named = |other: &&Declared<'_>| other.kind == ComponentKind::Extension && other.id.as_str() == storage;
        let problem = match declared.iter().find(is_named) {
            None => format!("no extension is called \"{storage}\""),
            Some(other) if !checked.extensions.contains(&other.id) => {
                format!("the extension \"{storage}\" is not in service::extensions")
            }
            Some(other) => match other.component.as_ref().map(|component| &component.plan) {
                Some(Plan::Extension(plan)) if plan.storage().is_none() => {
                    format!("the extension \"{storage}\" is no storage")
                }
                // Used, or refused for a reason of its own.
                _ => continue,
            },
        };
        entry.section.error_at("sending_queue::storage", problem);
    }
}

/// Checked and never started: worth knowing.
fn note_unused(declared: &[Declared<'_>], checked: &Checked) {
    for entry in declared {
        let in_pipelines = checked.pipelines.iter().any(|pipeline| match entry.kind {
            ComponentKind::Receiver => pipeline.receivers.contains(&entry.id),
            ComponentKind::Processor => pipeline.processors.contains(&entry.id),
            ComponentKind::Exporter => pipeline.exporters.contains(&entry.id),
            ComponentKind::Connector => pipeline.receivers.contains(&entry.id),
            ComponentKind::Extension => false,
        });
        if !in_pipelines && !checked.extensions.contains(&entry.id) {
            entry
                .section
                .note_on_key("checked, but not started: nothing in service uses it");
        }
    }
}
