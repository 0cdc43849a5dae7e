//! Names of the layout, as its source has them at commit 3ccbc9e.

use crate::retention::archive::TraceId;

pub const PK: &str = "PK";
pub const SK: &str = "SK";
/// Request time in milliseconds, padded, of every trace of an experiment.
pub const LSI1: &str = "lsi1";
pub const LSI1_SK: &str = "lsi1sk";
/// From a trace to its experiments.
pub const GSI1: &str = "gsi1";
pub const GSI1_PK: &str = "gsi1pk";
pub const GSI1_SK: &str = "gsi1sk";
/// From a workspace to its experiments.
pub const GSI2: &str = "gsi2";
pub const GSI2_PK: &str = "gsi2pk";
/// The experiments of the workspace that every table has.
pub const ACTIVE: &str = "EXPERIMENTS#default#active";
pub const EXPERIMENT: &str = "EXP#";
pub const TRACE: &str = "T#";
pub const CONFIG: &str = "CONFIG";
pub const TTL_POLICY: &str = "TTL_POLICY";
pub const RETENTION_DAYS: &str = "trace_retention_days";
/// Where the policy has no days.
pub const DEFAULT_DAYS: u32 = 30;
/// The spans, as a JSON list.
pub const DATA: &str = "data";
/// Ours, beside it: the same spans as OTLP, zstd; MLflow's form has no resource, no scope, no links.
pub const OTLP: &str = "radiosonde_otlp";
/// Ours: how often we wrote the item. Two writers at the same time see each other by it.
pub const REVISION: &str = "radiosonde_revision";

/// `EXP#<experiment>`.
pub fn experiment(id: &str) -> String {
    format!("{EXPERIMENT}{id}")
}

/// `T#<trace>`.
pub fn meta(trace: &str) -> String {
    format!("{TRACE}{trace}")
}

/// `T#<trace>#SPANS`.
pub fn spans(trace: &str) -> String {
    format!("{TRACE}{trace}#SPANS")
}

/// How many spans the trace has by its own word.
pub fn size_stats(trace: &str) -> String {
    format!("{TRACE}{trace}#RMETA#mlflow.trace.sizeStats")
}

/// A request time as LSI1 sorts it.
pub fn padded(milliseconds: u64) -> String {
    format!("{milliseconds:020}")
}

/// MLflow's own form of an id.
pub fn mlflow_form(id: TraceId) -> String {
    format!("tr-{id}")
}

/// Every form under which a trace may be kept: nobody converts them.
pub fn forms(id: TraceId) -> [String; 3] {
    let hex = id.to_string();
    [mlflow_form(id), format!("1-{}-{}", &hex[..8], &hex[8..]), hex]
}

/// The trace of a META item; `None` for every other item.
pub fn trace_of_meta(sk: &str) -> Option<&str> {
    sk.strip_prefix(TRACE).filter(|trace| !trace.contains('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_id_is_the_same_trace() {
        let id = TraceId::parse("5759e988bd862e3fe1be46a994272793").unwrap();
        for form in forms(id) {
            assert_eq!(TraceId::parse(&form), Some(id), "{form}");
            assert_eq!(trace_of_meta(&meta(&form)), Some(form.as_str()));
            assert_eq!(trace_of_meta(&spans(&form)), None);
        }
        assert_eq!(padded(1_795_176_000_123), "00000001795176000123");
    }
}
