//! Connectors end some pipelines and begin others: both ends must be there, signals must fit, nothing may go round.

use super::check::Declared;
use super::pipelines::{Placed, signal_name};
use crate::component::{ComponentKind, Plan};
use crate::pdata::Signal;

/// Checks every use of every connector.
pub(super) fn check(declared: &[Declared<'_>], pipelines: &[Placed]) {
    let connectors: Vec<&Declared<'_>> = declared
        .iter()
        .filter(|entry| entry.kind == ComponentKind::Connector)
        .collect();
    for connector in &connectors {
        check_ends(connector, pipelines);
    }
    refuse_cycles(&connectors, pipelines);
}

/// Signals that a connector emits when fed with `from`.
fn emits(connector: &Declared<'_>, from: Signal) -> &'static [Signal] {
    match connector.component.as_ref().map(|component| &component.plan) {
        Some(Plan::Connector(plan)) => plan.emits(from),
        _ => &[],
    }
}

fn check_ends(connector: &Declared<'_>, pipelines: &[Placed]) {
    let fed_by: Vec<&Placed> = pipelines
        .iter()
        .filter(|pipeline| pipeline.info.exporters.contains(&connector.id))
        .collect();
    let read_by: Vec<&Placed> = pipelines
        .iter()
        .filter(|pipeline| pipeline.info.receivers.contains(&connector.id))
        .collect();
    if fed_by.is_empty() && read_by.is_empty() {
        return;
    }
    let id = &connector.id;
    if fed_by.is_empty() {
        let message = format!("the connector \"{id}\" is a receiver here, but no pipeline has it as exporter");
        read_by[0].section.error_at("receivers", message);
        return;
    }
    if read_by.is_empty() {
        let message = format!("the connector \"{id}\" is an exporter here, but no pipeline has it as receiver");
        fed_by[0].section.error_at("exporters", message);
        return;
    }
    if connector.component.is_none() {
        return;
    }
    for pipeline in &fed_by {
        let from = pipeline.info.signal;
        let fits = read_by
            .iter()
            .any(|reader| emits(connector, from).contains(&reader.info.signal));
        if !fits {
            let from = signal_name(from);
            let message = format!("the connector \"{id}\" cannot pass {from} to any pipeline that reads from it");
            pipeline.section.error_at("exporters", message);
        }
    }
    for pipeline in &read_by {
        let to = pipeline.info.signal;
        let fits = fed_by
            .iter()
            .any(|feeder| emits(connector, feeder.info.signal).contains(&to));
        if !fits {
            let to = signal_name(to);
            let message = format!("the connector \"{id}\" cannot make {to} of what it is fed with");
            pipeline.section.error_at("receivers", message);
        }
    }
}

/// Takes away pipelines that nothing feeds, again and again; what is left goes round.
fn refuse_cycles(connectors: &[&Declared<'_>], pipelines: &[Placed]) {
    let leads_to = |from: &Placed, to: &Placed| {
        connectors.iter().any(|connector| {
            from.info.exporters.contains(&connector.id)
                && to.info.receivers.contains(&connector.id)
                && emits(connector, from.info.signal).contains(&to.info.signal)
        })
    };
    let mut left: Vec<&Placed> = pipelines.iter().collect();
    loop {
        let before = left.len();
        // Off the cycle are those that nothing leads to, and those that lead nowhere.
        let snapshot = left.clone();
        left.retain(|pipeline| {
            let fed = snapshot.iter().any(|other| leads_to(other, pipeline));
            let feeds = snapshot.iter().any(|other| leads_to(pipeline, other));
            fed && feeds
        });
        if left.len() == before {
            break;
        }
    }
    if let Some(first) = left.first() {
        let names: Vec<&str> = left.iter().map(|pipeline| pipeline.info.name.as_str()).collect();
        first.section.error_on_key(format!(
            "connectors lead these pipelines in a circle: {}",
            names.join(", ")
        ));
    }
}
