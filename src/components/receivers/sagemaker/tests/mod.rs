//! The receiver against the simulated AWS, on its virtual clock: nothing here sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::aws::Access;
use crate::aws::cloudwatch::Desk;
use crate::aws::cloudwatch::engine::{Shard, Shared};
use crate::aws::shards::Health;
use crate::component::{Clock, UnixNanos};
use crate::pdata::Decoded;
use crate::simulator::{Fault, FaultKind, Lag, Scenario, Served, Simulator, Statistic, VirtualClock};

mod alerts;
mod fleet;
mod signals;
mod truth;

/// Resource, metric, attributes, start in seconds.
type Key = (String, String, Vec<(String, String)>, i64);

#[derive(Default)]
struct Sink {
    refusing: Mutex<bool>,
    /// Values of each point, in the order they came: a histogram gives its sum.
    points: Mutex<BTreeMap<Key, Vec<f64>>>,
    resources: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// Body and attributes of each record.
    records: Mutex<Vec<(String, BTreeMap<String, String>)>>,
    /// Who gets everything too.
    beside: Mutex<Option<Arc<dyn Stage>>>,
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |entry: &KeyValue| match entry.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Any::StringValue(text)) => text,
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|entry| (entry.key.clone(), text(entry)))
        .collect()
}

impl Sink {
    fn take(&self, mut batch: Batch) -> Result<(), Refused> {
        assert!(batch.origin().cursor, "the sender holds a cursor");
        if *self.refusing.lock().unwrap() {
            return Err(Refused::retryable("full"));
        }
        match batch.decode().unwrap() {
            Decoded::Metrics(request) => {
                for resource in &request.resource_metrics {
                    let attributes = texts(&resource.resource.as_ref().unwrap().attributes);
                    let id = attributes.get("cloud.resource_id").cloned().unwrap_or_default();
                    self.resources.lock().unwrap().insert(id.clone(), attributes);
                    for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                        self.take_metric(&id, &metric.name, metric.data.as_ref().unwrap());
                    }
                }
            }
            Decoded::Logs(request) => {
                for resource in &request.resource_logs {
                    for record in resource.scope_logs.iter().flat_map(|scope| &scope.log_records) {
                        let body = match record.body.as_ref().and_then(|body| body.value.clone()) {
                            Some(Any::StringValue(text)) => text,
                            other => panic!("{other:?}"),
                        };
                        let mut attributes = texts(&record.attributes);
                        attributes.insert("severity".to_owned(), record.severity_text.clone());
                        attributes.insert("event".to_owned(), record.event_name.clone());
                        self.records.lock().unwrap().push((body, attributes));
                    }
                }
            }
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    fn take_metric(&self, id: &str, name: &str, data: &Data) {
        let add = |attributes: &[KeyValue], start: u64, time: u64, value: f64| {
            let at = if start == 0 { time } else { start } / 1_000_000_000;
            let attributes = texts(attributes).into_iter().collect();
            let key = (id.to_owned(), name.to_owned(), attributes, at as i64);
            self.points.lock().unwrap().entry(key).or_default().push(value);
        };
        let number = |value: Option<Number>| match value {
            Some(Number::AsDouble(value)) => value,
            other => panic!("{other:?}"),
        };
        match data {
            Data::Sum(sum) => {
                for point in &sum.data_points {
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    add(&point.attributes, start, time, number(point.value));
                }
            }
            Data::Gauge(gauge) => {
                for point in &gauge.data_points {
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    add(&point.attributes, start, time, number(point.value));
                }
            }
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    add(&point.attributes, start, time, point.sum.unwrap());
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// All points of a metric.
    fn of(&self, metric: &str) -> Vec<(Key, Vec<f64>)> {
        let points = self.points.lock().unwrap();
        let found = points.iter().filter(|((_, name, ..), _)| name == metric);
        found.map(|(key, values)| (key.clone(), values.clone())).collect()
    }

    /// Points of a metric whose attributes hold all of these: start and value.
    fn with(&self, metric: &str, wanted: &[(&str, &str)]) -> Vec<(i64, f64)> {
        let has = |attributes: &[(String, String)], (name, value): &(&str, &str)| {
            attributes.iter().any(|(have, its)| have == name && its == value)
        };
        let points = self.of(metric).into_iter();
        let points = points.filter(|((_, _, attributes, _), _)| wanted.iter().all(|pair| has(attributes, pair)));
        points.map(|((.., at), values)| (at, values[0])).collect()
    }
}

impl Stage for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let copy = batch.clone();
        let answer = self.take(batch);
        let beside = self.beside.lock().unwrap().clone().filter(|_| answer.is_ok());
        Box::pin(async move {
            if let Some(beside) = beside {
                beside.consume(copy).await?;
            }
            answer
        })
    }
}

/// Whenever the agent waits, time passes.
async fn driven<T>(clock: &VirtualClock, work: impl Future<Output = T>) -> T {
    let passing = async {
        loop {
            let wake = clock.next_wake().await;
            clock.advance_to(wake);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = passing => unreachable!("time passes for ever"),
    }
}

struct Bench {
    simulator: Arc<Simulator>,
    _served: Served,
    config: Arc<Config>,
    context: BuildContext,
    access: Arc<Access>,
    sink: Arc<Sink>,
    shard: Shard,
    start: i64,
}

impl Bench {
    async fn start(scenario: Scenario, extra: &str) -> Self {
        let simulator = Simulator::frozen(scenario);
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let text = format!(
            "regions: [eu-central-1]\nendpoint: {}\npolling: {{mode: uniform, source: gmd}}\n\
             credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}\n{extra}\n",
            served.url()
        );
        let section = Section::from_yaml(&text);
        let config = Arc::new(config::check(&section).unwrap());
        assert_eq!(section.problems(), Vec::<String>::new());
        let context = BuildContext {
            clock: Arc::new(simulator.clock().clone()),
            ..BuildContext::standalone(ComponentKind::Receiver, "sagemaker")
        };
        let sink = Arc::new(Sink::default());
        let outlet = || Outlet::to(Arc::clone(&sink) as Arc<dyn Stage>);
        let access = Access::load(config.common.engine.access.clone(), Arc::clone(&context.clock)).await;
        let access = Arc::new(access);
        let shared = Shared {
            blueprint: Arc::new(SageMakerFleet {
                config: Arc::clone(&config),
                logs: Some(outlet()),
                metrics: true,
            }),
            context: context.clone(),
            outlet: outlet(),
            health: Arc::new(Health::new(context.clone())),
        };
        let quit = CancellationToken::new();
        let place = access.places().remove(0);
        let opening = Shard::open(shared, Arc::clone(&access), place, &quit);
        let shard = driven(simulator.clock(), opening).await.unwrap();
        let start = simulator.world().scenario.start as i64;
        Self {
            simulator,
            _served: served,
            config,
            context,
            access,
            sink,
            shard,
            start,
        }
    }

    /// One round a minute up to this minute (exclusive).
    async fn run_to(&mut self, minute: i64) {
        loop {
            let now = self.simulator.clock().now().seconds() as i64;
            if now >= self.start + 60 * minute {
                return;
            }
            let quit = CancellationToken::new();
            driven(self.simulator.clock(), self.shard.round(&quit)).await.unwrap();
            let next = now - now.rem_euclid(60) + 60;
            self.simulator.clock().advance_to(UnixNanos::from_seconds(next as u64));
        }
    }

    async fn desk(&self) -> Desk {
        let place = self.access.places().remove(0);
        Desk {
            rate: std::collections::BTreeMap::new(),
            sdk: self.access.config(&place).await,
            access: Arc::clone(&self.access),
            account: "111122223333".to_owned(),
            region: place.region,
            context: self.context.clone(),
        }
    }

    fn minute(&self, at: i64) -> i64 {
        (at - self.start).div_euclid(60)
    }
}

fn scenario(name: &str) -> Scenario {
    let mut scenario = Scenario::named(name).unwrap();
    scenario.lag = Lag::NONE;
    scenario
}

#[test]
fn the_example_is_accepted_without_complaint() {
    let section = Section::from_yaml(SageMakerFactory.example());
    assert!(SageMakerFactory.check(&section).is_some());
    assert_eq!(section.problems(), Vec::<String>::new());
}
