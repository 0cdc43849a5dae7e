//! The status as the API gives it, from the status board, the instruments and the rates.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::rates::Series;
use super::v1::component::State;
use super::v1::{Component, Dropped, Flow, GetStatusResponse, Memory, Pipeline, Queue};
use crate::component::{ComponentKind, ComponentState, Sample, SampleValue, StatusBoard};
use crate::pdata::Signal;

/// What is read for one answer.
pub struct Reading<'a> {
    pub board: &'a StatusBoard,
    pub samples: &'a [Sample],
    /// Growth of each counter, and the time it took.
    pub grown: &'a HashMap<Series, u64>,
    pub window: Duration,
}

/// Sums of one component: by signal and by what became of the items.
type Flows = BTreeMap<(&'static str, &'static str), (u64, u64)>;

/// Puts pipelines, components and losses together; the caller adds what concerns the process.
pub fn of_components(reading: &Reading<'_>) -> GetStatusResponse {
    let mut flows: HashMap<(ComponentKind, String), Flows> = HashMap::new();
    let mut queues: HashMap<String, BTreeMap<String, Queue>> = HashMap::new();
    let mut dropped = Vec::new();
    for sample in reading.samples {
        match (&sample.value, sample.name) {
            (SampleValue::Counter(items), "otelcol_dropped_items") => dropped.push(Dropped {
                component: label(sample, "component").to_owned(),
                signal: label(sample, "signal").to_owned(),
                reason: label(sample, "reason").to_owned(),
                items: *items,
            }),
            (SampleValue::Counter(items), _) => {
                let Some((kind, id, signal, what)) = flow_of(sample, reading.board) else {
                    continue;
                };
                let growth = reading
                    .grown
                    .get(&(sample.name, sample.labels.clone()))
                    .copied()
                    .unwrap_or(0);
                let sum = flows.entry((kind, id)).or_default().entry((signal, what)).or_default();
                sum.0 += items;
                sum.1 += growth;
            }
            (SampleValue::Gauge(value), "otelcol_exporter_queue_size" | "otelcol_exporter_queue_capacity") => {
                let signal = label(sample, "data_type").to_owned();
                let of_exporter = queues.entry(label(sample, "exporter").to_owned()).or_default();
                let queue = of_exporter.entry(signal.clone()).or_default();
                queue.signal = signal;
                if sample.name.ends_with("size") {
                    queue.size = *value;
                } else {
                    queue.capacity = *value;
                }
            }
            _ => {}
        }
    }
    dropped.retain(|loss: &Dropped| loss.items > 0);
    let seconds = reading.window.as_secs_f64();
    let components = reading.board.components().into_iter().map(|(kind, id, state)| {
        let own = flows.remove(&(kind, id.as_str().to_owned())).unwrap_or_default();
        let own_queues = match kind {
            ComponentKind::Exporter => queues.remove(id.as_str()).unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        let (state, message) = state_of(state);
        Component {
            kind: kind.name().to_owned(),
            id: id.as_str().to_owned(),
            state: state.into(),
            message,
            flows: own.into_iter().map(|(of, counts)| flow(of, counts, seconds)).collect(),
            queues: own_queues.into_values().collect(),
        }
    });
    GetStatusResponse {
        ready: reading.board.is_ready(),
        components: components.collect(),
        pipelines: reading.board.pipelines().into_iter().map(pipeline).collect(),
        dropped,
        rate_window_seconds: seconds,
        ..GetStatusResponse::default()
    }
}

fn flow((signal, what): (&'static str, &'static str), (items, growth): (u64, u64), seconds: f64) -> Flow {
    Flow {
        signal: signal.to_owned(),
        what: what.to_owned(),
        items,
        items_per_second: if seconds > 0.0 { growth as f64 / seconds } else { 0.0 },
    }
}

fn pipeline(info: crate::component::PipelineInfo) -> Pipeline {
    let texts = |ids: &[crate::component::ComponentId]| ids.iter().map(|id| id.as_str().to_owned()).collect();
    Pipeline {
        signal: info.signal.name().to_owned(),
        receivers: texts(&info.receivers),
        processors: texts(&info.processors),
        exporters: texts(&info.exporters),
        name: info.name,
    }
}

fn state_of(state: ComponentState) -> (State, String) {
    match state {
        ComponentState::Starting => (State::Starting, String::new()),
        ComponentState::Ok => (State::Ok, String::new()),
        ComponentState::Degraded(message) => (State::Degraded, message),
        ComponentState::Stopping => (State::Stopping, String::new()),
        ComponentState::Stopped => (State::Stopped, String::new()),
    }
}

fn label<'a>(sample: &'a Sample, name: &str) -> &'a str {
    sample
        .labels
        .iter()
        .find(|(have, _)| *have == name)
        .map_or("", |(_, value)| value.as_str())
}

/// The words for what became of items, as they stand in the metric names.
const WORDS: [(&str, ComponentKind, &str); 6] = [
    ("otelcol_receiver_accepted_", ComponentKind::Receiver, "accepted"),
    ("otelcol_receiver_refused_", ComponentKind::Receiver, "refused"),
    ("otelcol_receiver_failed_", ComponentKind::Receiver, "failed"),
    ("otelcol_exporter_sent_", ComponentKind::Exporter, "sent"),
    ("otelcol_exporter_send_failed_", ComponentKind::Exporter, "send_failed"),
    (
        "otelcol_exporter_enqueue_failed_",
        ComponentKind::Exporter,
        "enqueue_failed",
    ),
];

/// Which component, signal and word a counter belongs to; `None` where it counts no items of a component.
fn flow_of(sample: &Sample, board: &StatusBoard) -> Option<(ComponentKind, String, &'static str, &'static str)> {
    for (prefix, kind, what) in WORDS {
        if let Some(items) = sample.name.strip_prefix(prefix) {
            let signal = Signal::ALL.into_iter().find(|signal| signal.items_name() == items)?;
            return Some((kind, label(sample, kind.name()).to_owned(), signal.name(), what));
        }
    }
    let by_name = |signal: &str| Signal::ALL.into_iter().find(|known| known.name() == signal);
    match sample.name {
        "otelcol_processor_incoming_items" | "otelcol_processor_outgoing_items" => {
            let what = if sample.name.contains("incoming") {
                "incoming"
            } else {
                "outgoing"
            };
            let signal = by_name(label(sample, "otel_signal"))?.name();
            Some((
                ComponentKind::Processor,
                label(sample, "processor").to_owned(),
                signal,
                what,
            ))
        }
        "radiosonde_discarded_items" => {
            let id = label(sample, "component");
            let signal = by_name(label(sample, "signal"))?.name();
            // The counter does not say the kind; processors are those that discard, if one has this id.
            let kinds = [
                ComponentKind::Processor,
                ComponentKind::Exporter,
                ComponentKind::Receiver,
            ];
            let components = board.components();
            let has = |kind: &ComponentKind| {
                components
                    .iter()
                    .any(|(have, name, _)| have == kind && name.as_str() == id)
            };
            let kind = kinds.into_iter().find(has)?;
            Some((kind, id.to_owned(), signal, "discarded"))
        }
        _ => None,
    }
}

/// The answer as JSON: `"v":1`, 64-bit numbers as strings.
pub fn to_json(status: &GetStatusResponse) -> Value {
    let flow = |flow: &Flow| {
        json!({
            "signal": flow.signal,
            "what": flow.what,
            "items": flow.items.to_string(),
            "itemsPerSecond": flow.items_per_second,
        })
    };
    let queue = |queue: &Queue| json!({"signal": queue.signal, "size": queue.size, "capacity": queue.capacity});
    let component = |component: &Component| {
        json!({
            "kind": component.kind,
            "id": component.id,
            "state": state_name(component.state()),
            "message": component.message,
            "flows": component.flows.iter().map(flow).collect::<Vec<_>>(),
            "queues": component.queues.iter().map(queue).collect::<Vec<_>>(),
        })
    };
    let pipeline = |pipeline: &Pipeline| {
        json!({
            "name": pipeline.name,
            "signal": pipeline.signal,
            "receivers": pipeline.receivers,
            "processors": pipeline.processors,
            "exporters": pipeline.exporters,
        })
    };
    let loss = |loss: &Dropped| {
        json!({
            "component": loss.component,
            "signal": loss.signal,
            "reason": loss.reason,
            "items": loss.items.to_string(),
        })
    };
    let memory = status.memory.unwrap_or_default();
    json!({
        "v": 1,
        "version": status.version,
        "uptimeSeconds": status.uptime_seconds,
        "ready": status.ready,
        "rateWindowSeconds": status.rate_window_seconds,
        "pipelines": status.pipelines.iter().map(pipeline).collect::<Vec<_>>(),
        "components": status.components.iter().map(component).collect::<Vec<_>>(),
        "dropped": status.dropped.iter().map(loss).collect::<Vec<_>>(),
        "memory": memory_json(memory),
    })
}

fn memory_json(memory: Memory) -> Value {
    json!({
        "admittedBytes": memory.admitted_bytes.to_string(),
        "limitBytes": memory.limit_bytes.to_string(),
        "residentBytes": memory.resident_bytes.to_string(),
    })
}

/// `ok`, `degraded`, ...
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Starting => "starting",
        State::Ok => "ok",
        State::Degraded => "degraded",
        State::Stopping => "stopping",
        State::Stopped => "stopped",
    }
}
