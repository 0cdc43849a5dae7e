//! The demo's part about span retention: four traces of the last month that X-Ray is about to forget, a table in MLflow's
//! layout that has copies of two of them, and lines that say what the check finds.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::component::console::{BOLD, PLAIN};
use crate::component::{Registry, SampleValue};
use crate::queue::fs::{Fs, RealFs};
use crate::retention::auditor::report::days;
use crate::simulator::Simulator;

/// The table that holds copies.
const TABLE: &str = "mlflow-traces";
const EXPERIMENT: &str = "1";
const DAY_S: f64 = 86_400.0;
/// The service of these traces: the check of the demo is limited to it.
const SERVICE: &str = "archive-demo";

/// One of the traces: the last digits of its id, its age in days, and the spans of its copy; `None`: no copy.
const TRACES: [(u8, f64, Option<&str>); 4] = [
    (1, 27.0, None),
    (
        2,
        27.0,
        Some(r#"[{"name":"predict","span_id":"00000000000000a2","end_time_ns":1}]"#),
    ),
    (3, 27.0, Some("[]")),
    (4, 28.5, None),
];

/// Where this run keeps state; nothing of it is of use afterwards.
pub struct State {
    pub path: PathBuf,
}

impl State {
    /// A new folder for temporary things.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("radiosonde-demo-{:016x}", RealFs.unique()));
        RealFs
            .create_dir(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path })
    }

    /// Removes it; what cannot be removed is the system's to clean up.
    pub fn remove(self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Puts the traces into the simulated X-Ray, and copies into the simulated table.
///
/// # Errors
/// When the simulated account does not take them, which would be a defect.
pub fn prepare(simulator: &Simulator) -> Result<(), String> {
    let (account, region) = ("111122223333", "eu-central-1");
    let now = simulator.now_s();
    let mut tables = simulator.tables();
    tables.create_mlflow(account, region, TABLE);
    for (number, age, spans) in TRACES {
        let start = now - age * DAY_S;
        let id = format!("1-{:08x}-0000000000000000000000{number:02x}", start as u32);
        let end = start + 0.25;
        let document = json!({
            "trace_id": id, "id": format!("00000000000000a{number}"), "name": SERVICE,
            "start_time": start, "end_time": end,
        });
        // Sent when it had ended: the first check finds it.
        simulator.put_segment(document, end)?;
        let Some(spans) = spans else { continue };
        for item in items(&id, start, spans) {
            let item = item.as_object().cloned().unwrap_or_default();
            tables
                .put(account, region, TABLE, item)
                .map_err(|error| error.message)?;
        }
    }
    Ok(())
}

/// What MLflow's store writes of a trace: the item that names it, and its spans.
fn items(id: &str, start: f64, spans: &str) -> [Json; 2] {
    let (pk, sk) = (format!("EXP#{EXPERIMENT}"), format!("T#{id}"));
    [
        json!({
            "PK": {"S": pk}, "SK": {"S": sk}, "lsi1sk": {"S": format!("{:020}", (start * 1e3) as u64)},
            "gsi1pk": {"S": format!("TRACE#{id}")}, "gsi1sk": {"S": pk},
        }),
        json!({"PK": {"S": pk}, "SK": {"S": format!("{sk}#SPANS")}, "data": {"S": spans}}),
    ]
}

/// Says what the check has found, whenever that changes.
pub async fn tell(registry: &Registry, say: impl Fn(&str)) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let line = line(registry);
        if !line.is_empty() && line != told {
            say(&line);
            told = line;
        }
    }
}

/// The states of the traces in one line; empty before the first check has ended.
fn line(registry: &Registry) -> String {
    let samples = registry.gather();
    let value = |name: &str, state: Option<&str>| {
        samples.iter().find_map(|sample| {
            let is_state = |wanted: &str| {
                sample
                    .labels
                    .iter()
                    .any(|(name, value)| *name == "state" && value == wanted)
            };
            let fits = sample.name == name && state.is_none_or(is_state);
            match sample.value {
                SampleValue::Gauge(value) if fits => Some(value),
                _ => None,
            }
        })
    };
    let Some(due) = value("aws_xray_retention_traces", Some("due")) else {
        return String::new();
    };
    let count = |state: &str| value("aws_xray_retention_traces", Some(state)).unwrap_or(0.0);
    let mut parts = vec![format!("{} archived", count("archived"))];
    parts.push(format!("{} with an empty copy", count("empty_copy")));
    parts.push(format!("{due} due"));
    parts.push(format!("{} at risk", count("at_risk")));
    for state in ["partial_copy", "lost", "unknown"] {
        if count(state) > 0.0 {
            parts.push(format!("{} {}", count(state), state.replace('_', " ")));
        }
    }
    let next = value("aws_xray_retention_min_time_to_expiry_seconds", None);
    let next = next.map_or(String::new(), |left| {
        format!("; X-Ray forgets the next one in {}", days(left as u64))
    });
    format!(
        "{BOLD}retention{PLAIN}  traces that X-Ray will forget: {}{next}",
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{ComponentKind, Instruments};

    #[test]
    fn one_line_says_how_it_stands_and_nothing_before_the_first_check() {
        let instruments = Instruments::standalone(ComponentKind::Processor, "span_retention");
        assert_eq!(line(instruments.registry()), "");
        for (state, count) in [("archived", 1.0), ("empty_copy", 1.0), ("due", 1.0), ("at_risk", 1.0)] {
            instruments
                .gauge("aws_xray_retention_traces", "", &[("state", state)])
                .set(count);
        }
        instruments
            .gauge("aws_xray_retention_min_time_to_expiry_seconds", "", &[])
            .set(129_600.0);
        let line = line(instruments.registry());
        assert!(
            line.contains("1 archived, 1 with an empty copy, 1 due, 1 at risk"),
            "{line}"
        );
        assert!(line.ends_with("X-Ray forgets the next one in 1d 12h"), "{line}");
    }
}
