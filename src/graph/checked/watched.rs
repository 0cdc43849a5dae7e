//! What processors name beside their own pipeline: exporters of whose deliveries they are told, and pipelines they feed.

use super::Checked;
use super::check::Declared;
use crate::component::{ComponentId, ComponentKind, PipelineInfo, Plan};
use crate::pdata::Signal;

/// Every name leads somewhere, and nothing leads round.
pub(super) fn check(declared: &[Declared<'_>], checked: &Checked) {
    for entry in declared {
        let Some(Plan::Processor(plan)) = entry.component.as_ref().map(|component| &component.plan) else {
            continue;
        };
        let observes = plan.observes();
        for (key, exporter) in &observes {
            if let Some(problem) = problem_with_exporter(exporter, declared, checked) {
                entry.section.error_at(key, problem);
            }
        }
        for (key, pipeline) in plan.feeds() {
            match checked.pipelines.iter().find(|found| found.name == pipeline) {
                None => {
                    let message = format!("there is no pipeline \"{pipeline}\"");
                    entry.section.error_at(&key, message);
                }
                Some(found) => {
                    if let Some(problem) = problem_with_pipeline(found, &entry.id, checked) {
                        entry.section.error_at(&key, problem);
                    } else if !observes.is_empty() && !observes.iter().any(|(_, id)| found.exporters.contains(id)) {
                        entry.section.warn_at(
                            &key,
                            format!("none of the exporters of \"{pipeline}\" is one whose deliveries are noted"),
                        );
                    }
                }
            }
        }
    }
}

fn problem_with_exporter(id: &ComponentId, declared: &[Declared<'_>], checked: &Checked) -> Option<String> {
    let is_there = declared
        .iter()
        .any(|entry| entry.kind == ComponentKind::Exporter && entry.id == *id);
    if !is_there {
        return Some(format!("there is no exporter \"{id}\""));
    }
    let takes_traces = |pipeline: &&PipelineInfo| pipeline.signal == Signal::Traces && pipeline.exporters.contains(id);
    if checked.pipelines.iter().any(|pipeline| takes_traces(&pipeline)) {
        return None;
    }
    Some(format!("no pipeline of traces ends in the exporter \"{id}\""))
}

fn problem_with_pipeline(pipeline: &PipelineInfo, processor: &ComponentId, checked: &Checked) -> Option<String> {
    let name = &pipeline.name;
    if pipeline.signal != Signal::Traces {
        return Some(format!(
            "\"{name}\" is a pipeline of {}, not of traces",
            pipeline.signal
        ));
    }
    if leads_to(pipeline, processor, checked, 0) {
        return Some(format!("\"{name}\" leads to this processor again"));
    }
    None
}

/// Whether a pipeline has this processor, or leads by connectors to one that has.
fn leads_to(pipeline: &PipelineInfo, processor: &ComponentId, checked: &Checked, depth: usize) -> bool {
    if pipeline.processors.contains(processor) {
        return true;
    }
    let feeds =
        |to: &&PipelineInfo| to.name != pipeline.name && pipeline.exporters.iter().any(|id| to.receivers.contains(id));
    // Connectors lead nowhere round; this only bounds the search where that was found to be wrong.
    depth <= checked.pipelines.len()
        && checked
            .pipelines
            .iter()
            .filter(feeds)
            .any(|to| leads_to(to, processor, checked, depth + 1))
}
