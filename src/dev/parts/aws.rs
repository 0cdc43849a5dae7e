//! `GET /api/v1/aws`: what the AWS receivers see, from the telemetry of theirs that is stored. No AWS call is made by it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

use super::problem;
use crate::component::{Commons, ComponentKind, ComponentState, Registry, SampleValue, StatusBoard};
use crate::dev::store::Store;
use crate::pdata::Signal;

/// Series that are looked at: the newest point of each.
const MOST_SERIES: usize = 20_000;
/// Rows of a list.
const MOST_ROWS: usize = 500;
/// Receivers that read AWS.
const RECEIVERS: [&str; 5] = ["dynamodb", "sagemaker", "awscloudwatch", "xray", "awsfirehose"];
/// Throttles are summed over so much time before the newest point. Nanoseconds.
const RECENT: u64 = 900 * 1_000_000_000;

const DYNAMODB: &str = "amazonaws.com/AWS/DynamoDB/";
const SAGEMAKER: &str = "amazonaws.com/AWS/SageMaker/";

/// Where the receivers' states and figures are.
#[derive(Clone)]
pub struct Sources {
    pub board: StatusBoard,
    pub registry: Registry,
}

#[derive(Clone)]
struct Aws {
    store: Arc<Store>,
    sources: Sources,
}

/// The route.
pub fn router(commons: &Commons, sources: Sources) -> Router {
    Router::new().route("/api/v1/aws", get(aws)).with_state(Aws {
        store: commons.get(),
        sources,
    })
}

async fn aws(State(aws): State<Aws>) -> Response {
    let sources = sources_of(&aws.sources.board);
    if sources.is_empty() {
        let how = "No receiver reads AWS here. `radiosonde demo` shows one; or radiosonde dev --config aws.yaml with a receiver \
                   dynamodb, sagemaker, awscloudwatch or xray in it (config/dynamodb.yaml is an example).";
        return Json(json!({"v": 1, "configured": false, "how": how})).into_response();
    }
    let store = Arc::clone(&aws.store);
    let read = tokio::task::spawn_blocking(move || Newest::of(&store)).await;
    let Ok(newest) = read else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "this answer could not be computed");
    };
    let samples = aws.sources.registry.gather();
    let figure = |name: &str, label: &str| -> Vec<Value> {
        let mut rows = Vec::new();
        for sample in samples.iter().filter(|sample| sample.name == name) {
            let value = match &sample.value {
                SampleValue::Counter(count) => *count as f64,
                SampleValue::Gauge(value) => *value,
                _ => continue,
            };
            let of = sample.labels.iter().find(|(key, _)| *key == label);
            rows.push(json!({label: of.map(|(_, value)| value.as_str()), "value": value, "labels": labels_json(&sample.labels)}));
        }
        rows
    };
    let sum = |name: &str| -> Option<f64> {
        let rows = figure(name, "api");
        (!rows.is_empty()).then(|| rows.iter().filter_map(|row| row["value"].as_f64()).sum())
    };
    Json(json!({
        "v": 1,
        "configured": true,
        "sources": sources,
        "tables": newest.tables(),
        "endpoints": newest.endpoints(),
        "jobs": [],
        "pipelines": [],
        "xray": {"traces": traces_of_xray(&aws.store), "service_graph": [], "sampling": [], "retention": {"states": {}, "min_time_to_expiry": null, "at_risk": []}},
        "calls": figure("aws_api_calls_total", "api"),
        "bill": {"estimated_usd": sum("aws_api_cost_usd_total"), "month_usd": null},
    }))
    .into_response()
}

fn labels_json(labels: &[(&'static str, String)]) -> Value {
    let pairs = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())));
    Value::Object(pairs.collect())
}

fn sources_of(board: &StatusBoard) -> Vec<Value> {
    let mut sources = Vec::new();
    for (kind, id, state) in board.components() {
        if kind != ComponentKind::Receiver || !RECEIVERS.contains(&id.type_name()) {
            continue;
        }
        let (state, error) = match state {
            ComponentState::Degraded(message) if message.to_ascii_lowercase().contains("throttl") => {
                ("throttled", Some(message))
            }
            ComponentState::Degraded(message) => ("blind", Some(message)),
            _ => ("ok", None),
        };
        sources.push(json!({
            "receiver": id.as_str(), "account": null, "region": null, "last_success": null, "state": state, "error": error,
        }));
    }
    sources
}

fn traces_of_xray(store: &Store) -> usize {
    store.traces().count()
}

/// What a series is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Subject {
    account: String,
    region: String,
    /// The table or the endpoint.
    name: String,
    /// The index or the variant.
    part: String,
}

/// One value of a metric of a subject.
struct Dated {
    time: u64,
    value: f64,
}

/// The newest value of each metric, and recent sums of counts, by subject.
#[derive(Default)]
struct Newest {
    last: HashMap<(Subject, String), Dated>,
    sums: HashMap<(Subject, String), f64>,
}

impl Newest {
    fn of(store: &Store) -> Self {
        let mut newest = Self::default();
        let snapshot = store.snapshot();
        let segments = snapshot.of(Signal::Metrics);
        let latest = segments
            .iter()
            .flat_map(|segment| segment.starts.iter().copied())
            .max()
            .unwrap_or(0);
        for segment in segments.iter().rev() {
            for row in (0..segment.len()).rev() {
                let name = segment.name(row);
                let short = name.strip_prefix(DYNAMODB).or_else(|| name.strip_prefix(SAGEMAKER));
                let short = short.or_else(|| name.starts_with("aws.dynamodb.").then_some(name));
                let short = short.or_else(|| name.starts_with("aws.sagemaker.").then_some(name));
                let Some(short) = short else { continue };
                let text = |key: &str| segment.attribute(row, key).unwrap_or_default().to_owned();
                let first = |keys: [&str; 2]| {
                    keys.iter()
                        .map(|key| text(key))
                        .find(|text| !text.is_empty())
                        .unwrap_or_default()
                };
                let subject = Subject {
                    account: text("cloud.account.id"),
                    region: text("cloud.region"),
                    name: first(["TableName", "EndpointName"]),
                    part: first(["GlobalSecondaryIndexName", "VariantName"]),
                };
                if subject.name.is_empty() {
                    continue;
                }
                let labels: Vec<String> = ["Operation", "Direction"]
                    .iter()
                    .map(|key| text(key))
                    .filter(|text| !text.is_empty())
                    .collect();
                let metric = [vec![short.to_owned()], labels].concat().join("|");
                newest.put(subject, metric, (segment.starts[row], segment.values[row]), latest);
            }
        }
        newest
    }

    fn put(&mut self, subject: Subject, metric: String, (time, value): (u64, f64), latest: u64) {
        let key = (subject, metric);
        if time.saturating_add(RECENT) >= latest && (self.sums.len() < MOST_SERIES || self.sums.contains_key(&key)) {
            *self.sums.entry(key.clone()).or_default() += value;
        }
        if self.last.len() >= MOST_SERIES && !self.last.contains_key(&key) {
            return;
        }
        let last = self.last.entry(key).or_insert(Dated { time, value });
        if time > last.time {
            *last = Dated { time, value };
        }
    }

    /// The subjects that have a metric of this service.
    fn subjects(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<&Subject, BTreeMap<&str, &Dated>> {
        let mut subjects: BTreeMap<&Subject, BTreeMap<&str, &Dated>> = BTreeMap::new();
        for ((subject, metric), dated) in &self.last {
            if is_wanted(metric) {
                subjects.entry(subject).or_default().insert(metric, dated);
            }
        }
        subjects
    }

    fn sum(&self, subject: &Subject, starts: &[&str]) -> f64 {
        let fits = |metric: &str| starts.contains(&metric);
        let sums = self
            .sums
            .iter()
            .filter(|((own, metric), _)| own == subject && fits(metric));
        sums.map(|(_, value)| *value).filter(|value| value.is_finite()).sum()
    }

    fn tables(&self) -> Vec<Value> {
        let is_dynamodb = |metric: &str| {
            const OURS: [&str; 9] = [
                "Consumed",
                "Provisioned",
                "ReadThrottle",
                "WriteThrottle",
                "Throttled",
                "Successful",
                "aws.dynamodb",
                "SystemErrors",
                "UserErrors",
            ];
            OURS.iter().any(|start| metric.starts_with(start))
        };
        let subjects = self.subjects(is_dynamodb);
        let rows = subjects.iter().take(MOST_ROWS).map(|(subject, metrics)| {
            let value = |metric: &str| metrics.get(metric).map(|dated| dated.value).filter(|value| value.is_finite());
            let a_second = |metric: &str| value(metric).map(|sum| sum / 60.0);
            let mut latency = serde_json::Map::new();
            for (metric, dated) in metrics {
                let Some(rest) = metric.strip_prefix("SuccessfulRequestLatency") else { continue };
                let (statistic, operation) = rest.split_once('|').unwrap_or((rest, "all"));
                let statistic = if statistic.is_empty() { "sum" } else { statistic.trim_start_matches('.') };
                let entry = latency.entry(operation.to_owned()).or_insert_with(|| json!({}));
                entry[statistic] = dated.value.into();
            }
            let throttles = self.sum(subject, &["ReadThrottleEvents", "WriteThrottleEvents"]);
            // In percent as a metric, a share of one here.
            let used = |direction: &str| {
                value(&format!("aws.dynamodb.capacity.utilization|{direction}")).map(|percent| percent / 100.0)
            };
            let utilisation = [used("Read"), used("Write")].into_iter().flatten().reduce(f64::max);
            json!({
                "account": subject.account, "region": subject.region, "table": subject.name,
                "index": (!subject.part.is_empty()).then_some(&subject.part),
                "consumed_read": a_second("ConsumedReadCapacityUnits"), "consumed_write": a_second("ConsumedWriteCapacityUnits"),
                "provisioned_read": value("ProvisionedReadCapacityUnits"), "provisioned_write": value("ProvisionedWriteCapacityUnits"),
                "utilisation": utilisation, "utilisation_read": used("Read"), "utilisation_write": used("Write"),
                "throttles": throttles, "pattern": null, "latency": latency,
                "size": value("aws.dynamodb.table.size"), "items": value("aws.dynamodb.table.items"), "growth": null,
                "hot_keys": [], "alerts": [],
            })
        });
        rows.collect()
    }

    fn endpoints(&self) -> Vec<Value> {
        let is_sagemaker = |metric: &str| {
            const OURS: [&str; 12] = [
                "Invocation",
                "Invocations",
                "ModelLatency",
                "OverheadLatency",
                "CPUUtilization",
                "MemoryUtilization",
                "GPUUtilization",
                "GPUMemoryUtilization",
                "DiskUtilization",
                "Invocation4XXErrors",
                "Invocation5XXErrors",
                "aws.sagemaker",
            ];
            OURS.iter().any(|start| metric.starts_with(start))
        };
        let subjects = self.subjects(is_sagemaker);
        let rows = subjects.iter().take(MOST_ROWS).map(|(subject, metrics)| {
            let metrics: serde_json::Map<String, Value> =
                metrics.iter().map(|(metric, dated)| ((*metric).to_owned(), dated.value.into())).collect();
            let value = |name: &str| metrics.get(name).cloned().unwrap_or_default();
            json!({
                "account": subject.account, "region": subject.region, "endpoint": subject.name, "variant": subject.part,
                "invocations": value("Invocations"), "errors_4xx": value("Invocation4XXErrors"), "errors_5xx": value("Invocation5XXErrors"),
                "model_latency_p99": value("ModelLatency.p99"), "overhead_latency_p99": value("OverheadLatency.p99"),
                "cpu": value("CPUUtilization"), "memory": value("MemoryUtilization"), "gpu": value("GPUUtilization"),
                "gpu_memory": value("GPUMemoryUtilization"), "metrics": metrics, "alerts": [],
            })
        });
        rows.collect()
    }
}
