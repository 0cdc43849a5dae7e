//! `GET /api/v1/pipeline`: the running graph with its live rates, drops with their reasons and queues, and who sends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::v1::{Component, GetStatusResponse};
use crate::dev::lints::Client;

/// `None` where it is not known.
fn word(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The answer of the page's pipeline view.
pub fn as_json(status: &GetStatusResponse, clients: &[Client], config: &str) -> Value {
    let pipelines = status.pipelines.iter().map(|pipeline| {
        json!({
            "id": pipeline.name, "signal": pipeline.signal, "receivers": pipeline.receivers,
            "processors": pipeline.processors, "exporters": pipeline.exporters,
        })
    });
    let components = status
        .components
        .iter()
        .map(|component| of_component(component, status));
    let clients = clients.iter().map(|client| {
        json!({
            "service": client.service, "sdk": client.sdk, "language": client.language, "version": client.version,
            "protocol": word(client.sent.protocol), "encoding": word(client.sent.encoding), "requests": client.requests, "items": client.items,
            "last": client.last.to_string(),
        })
    });
    let memory = status.memory.unwrap_or_default();
    let limit = (memory.limit_bytes > 0).then_some(memory.limit_bytes);
    json!({
        "v": 1,
        "ready": status.ready,
        "pipelines": pipelines.collect::<Vec<Value>>(),
        "components": components.collect::<Vec<Value>>(),
        "clients": clients.collect::<Vec<Value>>(),
        "config": config,
        "memory": {"rss": memory.resident_bytes, "admitted": memory.admitted_bytes, "limit": limit},
    })
}

/// Sums over the signals of a component, and each signal's own.
#[derive(Default)]
struct Sums {
    taken: u64,
    given: u64,
    failed: u64,
    rate_in: f64,
    rate_out: f64,
}

impl Sums {
    fn add(&mut self, what: &str, items: u64, rate: f64) {
        match what {
            "accepted" => {
                // A receiver gives on what it takes.
                self.taken += items;
                self.given += items;
                self.rate_in += rate;
                self.rate_out += rate;
            }
            "incoming" => {
                self.taken += items;
                self.rate_in += rate;
            }
            "outgoing" => {
                self.given += items;
                self.rate_out += rate;
            }
            "sent" => {
                self.taken += items;
                self.given += items;
                self.rate_in += rate;
                self.rate_out += rate;
            }
            "refused" | "failed" | "send_failed" | "enqueue_failed" => {
                self.taken += items;
                self.failed += items;
                self.rate_in += rate;
            }
            _ => {}
        }
    }

    fn as_json(&self) -> Value {
        json!({
            "in": self.taken, "out": self.given, "failed": self.failed, "rate_in": self.rate_in, "rate_out": self.rate_out,
        })
    }
}

fn of_component(component: &Component, status: &GetStatusResponse) -> Value {
    let mut whole = Sums::default();
    let mut signals: BTreeMap<&str, Sums> = BTreeMap::new();
    for flow in &component.flows {
        whole.add(&flow.what, flow.items, flow.items_per_second);
        let own = signals.entry(flow.signal.as_str()).or_default();
        own.add(&flow.what, flow.items, flow.items_per_second);
    }
    let lost = status.dropped.iter().filter(|loss| loss.component == component.id);
    let mut dropped: Vec<Value> = lost
        .map(|loss| json!({"reason": loss.reason, "items": loss.items, "signal": loss.signal}))
        .collect();
    // Discarded because the configuration says so: no loss, and told as what it is.
    let discarded: u64 = component
        .flows
        .iter()
        .filter(|flow| flow.what == "discarded")
        .map(|flow| flow.items)
        .sum();
    if discarded > 0 {
        dropped.push(json!({"reason": "discarded by configuration", "items": discarded}));
    }
    let queue = (!component.queues.is_empty()).then(|| {
        let items: f64 = component.queues.iter().map(|queue| queue.size).sum();
        let capacity: f64 = component.queues.iter().map(|queue| queue.capacity).sum();
        json!({"items": items, "bytes": null, "capacity": capacity})
    });
    let per_signal: serde_json::Map<String, Value> = signals
        .iter()
        .map(|(signal, sums)| ((*signal).to_owned(), sums.as_json()))
        .collect();
    let mut answer = whole.as_json();
    answer["id"] = component.id.clone().into();
    answer["kind"] = component.kind.clone().into();
    answer["state"] = super::state_name(component.state()).into();
    answer["message"] = component.message.clone().into();
    answer["signals"] = Value::from(per_signal.keys().cloned().collect::<Vec<String>>());
    answer["per_signal"] = per_signal.into();
    answer["dropped"] = dropped.into();
    answer["queue"] = queue.into();
    answer["in_flight"] = Value::Null;
    answer["memory"] = Value::Null;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::v1::{Dropped, Flow};

    #[test]
    fn rates_and_losses_stand_at_their_component() {
        let flow = |what: &str, items: u64| Flow {
            signal: "traces".to_owned(),
            what: what.to_owned(),
            items,
            items_per_second: 2.0,
        };
        let status = GetStatusResponse {
            components: vec![Component {
                kind: "exporter".to_owned(),
                id: "otlp/backup".to_owned(),
                flows: vec![flow("sent", 10), flow("send_failed", 3)],
                ..Component::default()
            }],
            dropped: vec![Dropped {
                component: "otlp/backup".to_owned(),
                signal: "traces".to_owned(),
                reason: "retry_limit".to_owned(),
                items: 3,
            }],
            ..GetStatusResponse::default()
        };
        let answer = as_json(&status, &[], "receivers: {}");
        let component = &answer["components"][0];
        assert_eq!(
            (&component["in"], &component["out"], &component["failed"]),
            (&json!(13), &json!(10), &json!(3))
        );
        assert_eq!(component["dropped"][0]["reason"], "retry_limit");
        assert_eq!(answer["config"], "receivers: {}");
    }
}
