//! The receiver against the simulated AWS, on its virtual clock: nothing here sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::aws::Access;
use crate::aws::cloudwatch::engine::{Round, Shard, Shared};
use crate::aws::shards::Health;
use crate::component::{
    Clock, ComponentState, Deadline, InstrumentKind, Outlet, Refused, SampleValue, Stage, UnixNanos,
};
use crate::pdata::{Batch, Decoded};
use crate::simulator::{Fault, FaultKind, Lag, Scenario, Served, Simulator, Statistic, VirtualClock};

mod access;
mod alerts;
mod bill;
mod catalogue;
mod derived;
mod output;
mod restart;
mod together;
mod truth;

/// One point as it came out: resource, metric, attributes, start in seconds.
type Key = (String, String, Vec<(String, String)>, i64);

/// Least and greatest value.
type Range = (Option<f64>, Option<f64>);

#[derive(Default)]
struct Sink {
    refusing: Mutex<Option<Refused>>,
    /// Values of each point, in the order they came. A histogram gives `(count, sum)`.
    points: Mutex<BTreeMap<Key, Vec<(f64, f64)>>>,
    resources: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    units: Mutex<BTreeMap<String, String>>,
    /// Least and greatest value of the last histogram point of each metric.
    ranges: Mutex<BTreeMap<String, Range>>,
    /// Points since it was cleared.
    taken: Mutex<BTreeSet<Key>>,
    /// It takes what comes and never answers.
    hanging: Mutex<bool>,
    /// Who gets everything too.
    beside: Mutex<Option<Arc<dyn Stage>>>,
}

impl Sink {
    fn take(&self, batch: Batch) -> Result<(), Refused> {
        assert!(batch.origin().cursor, "the sender holds a cursor");
        if let Some(refused) = &*self.refusing.lock().unwrap() {
            return Err(Refused {
                message: "full".into(),
                retry_after: refused.retry_after,
                permanent: refused.permanent,
                code: None,
            });
        }
        let mut batch = batch;
        let Decoded::Metrics(request) = batch.decode().unwrap() else {
            panic!("metrics only");
        };
        for resource in &request.resource_metrics {
            let attributes: BTreeMap<String, String> = texts(&resource.resource.as_ref().unwrap().attributes)
                .into_iter()
                .collect();
            let id = attributes.get("cloud.resource_id").cloned().unwrap_or_default();
            self.resources.lock().unwrap().insert(id.clone(), attributes);
            for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                self.units
                    .lock()
                    .unwrap()
                    .insert(metric.name.clone(), metric.unit.clone());
                let add = |attributes, start: u64, time: u64, value| {
                    let mut attributes = texts(attributes);
                    attributes.sort();
                    let at = if start == 0 { time } else { start } / 1_000_000_000;
                    let key = (id.clone(), metric.name.clone(), attributes, at as i64);
                    self.taken.lock().unwrap().insert(key.clone());
                    self.points.lock().unwrap().entry(key).or_default().push(value);
                };
                match metric.data.as_ref().unwrap() {
                    Data::Sum(sum) => {
                        assert!(sum.is_monotonic && sum.aggregation_temporality > 0);
                        for point in &sum.data_points {
                            add(
                                &point.attributes,
                                point.start_time_unix_nano,
                                point.time_unix_nano,
                                number(point.value),
                            );
                        }
                    }
                    Data::Gauge(gauge) => {
                        for point in &gauge.data_points {
                            add(
                                &point.attributes,
                                point.start_time_unix_nano,
                                point.time_unix_nano,
                                number(point.value),
                            );
                        }
                    }
                    Data::Histogram(histogram) => {
                        for point in &histogram.data_points {
                            assert_eq!(point.bucket_counts, [point.count]);
                            assert!(point.explicit_bounds.is_empty());
                            let range = (point.min, point.max);
                            self.ranges.lock().unwrap().insert(metric.name.clone(), range);
                            let value = (point.count as f64, point.sum.unwrap());
                            add(
                                &point.attributes,
                                point.start_time_unix_nano,
                                point.time_unix_nano,
                                value,
                            );
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        Ok(())
    }

    /// All points of a metric: attributes, start, values.
    fn of(&self, metric: &str) -> Vec<(Key, Vec<(f64, f64)>)> {
        let points = self.points.lock().unwrap();
        let found = points.iter().filter(|((_, name, _, _), _)| name == metric);
        found.map(|(key, values)| (key.clone(), values.clone())).collect()
    }
}

impl Stage for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let copy = batch.clone();
        let answer = self.take(batch);
        let beside = self.beside.lock().unwrap().clone().filter(|_| answer.is_ok());
        let hanging = *self.hanging.lock().unwrap();
        Box::pin(async move {
            if hanging {
                std::future::pending::<()>().await;
            }
            if let Some(beside) = beside {
                beside.consume(copy).await?;
            }
            answer
        })
    }
}

fn number(value: Option<Number>) -> (f64, f64) {
    match value {
        Some(Number::AsDouble(value)) => (value, 0.0),
        other => panic!("{other:?}"),
    }
}

fn texts(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> Vec<(String, String)> {
    let text = |value: &Any| match value {
        Any::StringValue(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|entry| {
            let value = entry.value.as_ref().and_then(|value| value.value.as_ref());
            (entry.key.clone(), text(value.unwrap()))
        })
        .collect()
}

struct Bench {
    simulator: Arc<Simulator>,
    served: Served,
    config: Arc<Config>,
    context: BuildContext,
    sink: Arc<Sink>,
    shard: Shard,
    start: i64,
}

fn config_with(url: &str, extra: &str) -> Arc<Config> {
    // Every series every minute, where a test does not say otherwise: what comes out is then known by the minute.
    let polling = if extra.contains("polling") {
        ""
    } else {
        "polling: {mode: uniform, source: gmd}\n"
    };
    let text = format!(
        "regions: [eu-central-1]\nendpoint: {url}\n\
         credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}\n{polling}{extra}\n"
    );
    let section = Section::from_yaml(&text);
    let config = config::check(&section).unwrap();
    assert_eq!(section.problems(), Vec::<String>::new());
    Arc::new(config)
}

fn context_with(clock: &VirtualClock) -> BuildContext {
    BuildContext {
        clock: Arc::new(clock.clone()),
        ..BuildContext::standalone(ComponentKind::Receiver, "dynamodb")
    }
}

/// Starts the whole receiver on the simulator's clock.
async fn start_receiver(
    simulator: &Simulator,
    config: Arc<Config>,
    sink: &Arc<Sink>,
) -> (BuildContext, Arc<dyn Running>) {
    let plan = DynamoDbPlan { config };
    let context = context_with(simulator.clock());
    let mut outlets = Outlets::default();
    outlets.set(Signal::Metrics, Outlet::to(Arc::clone(sink) as Arc<dyn Stage>));
    let running = plan.start(context.clone(), outlets).await.unwrap();
    (context, running)
}

/// Lets time pass until `done`.
async fn pass_until(simulator: &Simulator, done: impl Fn() -> bool) {
    let passing = async {
        while !done() {
            let wake = simulator.clock().next_wake().await;
            simulator.clock().advance_to(wake);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), passing).await.unwrap();
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

async fn open(
    simulator: &Arc<Simulator>,
    config: &Arc<Config>,
    context: &BuildContext,
    outlet: Outlet,
) -> Option<Shard> {
    let access = Access::load(config.engine.access.clone(), Arc::clone(&context.clock)).await;
    let place = access.places().remove(0);
    let access = Arc::new(access);
    let shared = Shared {
        blueprint: Arc::new(Tables {
            config: Arc::clone(config),
        }),
        context: context.clone(),
        outlet,
        health: Arc::new(Health::new(context.clone())),
    };
    let quit = CancellationToken::new();
    let opening = Shard::open(shared, access, place, &quit);
    driven(simulator.clock(), opening).await
}

impl Bench {
    async fn start(scenario: Scenario, extra: &str) -> Self {
        let simulator = Simulator::frozen(scenario);
        let context = context_with(simulator.clock());
        Self::of(simulator, context, extra).await
    }

    async fn of(simulator: Arc<Simulator>, context: BuildContext, extra: &str) -> Self {
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let config = config_with(&served.url(), extra);
        let sink = Arc::new(Sink::default());
        let outlet = Outlet::to(Arc::clone(&sink) as Arc<dyn Stage>);
        let shard = open(&simulator, &config, &context, outlet).await.unwrap();
        let start = simulator.world().scenario.start as i64;
        Self {
            simulator,
            served,
            config,
            context,
            sink,
            shard,
            start,
        }
    }

    async fn round(&mut self) -> Round {
        let quit = CancellationToken::new();
        driven(self.simulator.clock(), self.shard.round(&quit)).await.unwrap()
    }

    /// One round a minute up to this minute (exclusive).
    async fn run_to(&mut self, minute: i64) {
        loop {
            let now = self.simulator.clock().now().seconds() as i64;
            if now >= self.start + 60 * minute {
                return;
            }
            self.round().await;
            let next = now - now.rem_euclid(60) + 60;
            self.simulator.clock().advance_to(UnixNanos::from_seconds(next as u64));
        }
    }

    /// What the receiver says of itself.
    fn state(&self) -> ComponentState {
        self.context.status.components()[0].2.clone()
    }

    fn count(&self, name: &str, label: Option<&str>) -> u64 {
        let samples = self.context.instruments.registry().gather();
        let wanted = samples
            .iter()
            .filter(|sample| sample.name == name && sample.kind == InstrumentKind::Counter);
        wanted
            .filter(|sample| label.is_none_or(|label| sample.labels.iter().any(|(_, value)| value == label)))
            .map(|sample| match sample.value {
                SampleValue::Counter(n) => n,
                _ => 0,
            })
            .sum()
    }

    /// The sum of a gauge over its labels.
    fn gauge(&self, name: &str) -> f64 {
        let samples = self.context.instruments.registry().gather();
        let wanted = samples.iter().filter(|sample| sample.name == name);
        wanted
            .map(|sample| match sample.value {
                SampleValue::Gauge(value) => value,
                _ => 0.0,
            })
            .sum()
    }

    /// Compares everything that came out for the minutes `from..to` with what was finally true.
    fn compare(&self, from: i64, to: i64) -> Comparison {
        self.compare_of(from, to, |_| true)
    }

    /// The same where only the last value counts.
    fn compare_last(&self, from: i64, to: i64) -> Comparison {
        for values in self.sink.points.lock().unwrap().values_mut() {
            values.drain(..values.len() - 1);
        }
        self.compare(from, to)
    }

    /// The same of some metrics.
    fn compare_of(&self, from: i64, to: i64, wanted: impl Fn(&str) -> bool) -> Comparison {
        let world = self.simulator.world();
        let points = self.sink.points.lock().unwrap();
        let mut result = Comparison::default();
        let own = world
            .series()
            .iter()
            .filter(|series| series.namespace == "AWS/DynamoDB");
        for series in own.filter(|series| wanted(&series.metric)) {
            let table = series.dimensions.iter().find(|(name, _)| name == "TableName");
            let resource = table.map_or(String::new(), |(_, table)| {
                format!("arn:aws:dynamodb:{}:{}:table/{table}", series.region, series.account)
            });
            let name = format!("amazonaws.com/AWS/DynamoDB/{}", series.metric);
            let metric = crate::aws::catalogue::catalogue()
                .find("AWS/DynamoDB", &series.metric)
                .unwrap();
            let mut at = self.start + 60 * from;
            while at < self.start + 60 * to {
                let samples = world.final_samples(series, at);
                let get = |statistic: &str| samples.get(Statistic::parse(statistic).unwrap());
                let mut expected = Vec::new();
                match metric.otel_kind {
                    crate::aws::catalogue::Kind::SumDelta => {
                        expected.push((String::new(), get("Sum").map(|sum| (sum, 0.0))))
                    }
                    crate::aws::catalogue::Kind::Gauge => {
                        let level = if metric.lists("Average") {
                            get("Average")
                        } else {
                            get("Maximum")
                        };
                        expected.push((String::new(), level.map(|level| (level, 0.0))));
                    }
                    crate::aws::catalogue::Kind::Histogram => {
                        expected.push((String::new(), get("SampleCount").zip(get("Sum"))));
                        if metric.lists_percentiles() {
                            for percentile in ["p50", "p90", "p99"] {
                                let value = get(percentile).map(|value| (value, 0.0));
                                expected.push((format!(".{percentile}"), value));
                            }
                        }
                    }
                }
                for (suffix, value) in expected {
                    let key = (
                        resource.clone(),
                        format!("{name}{suffix}"),
                        series.dimensions.clone(),
                        at,
                    );
                    let got = points.get(&key).map_or(&[][..], Vec::as_slice);
                    match (value, got) {
                        (None, []) => {}
                        (None, [(zero, _)]) if *zero == 0.0 => result.filled += 1,
                        (Some(value), [got]) if value == *got => result.right += 1,
                        (Some(_), []) => result.missing.push(key),
                        (_, [_, _, ..]) => result.doubled.push(key),
                        _ => result.wrong.push(key),
                    }
                }
                at += series.period;
            }
        }
        result
    }
}

#[derive(Debug, Default)]
struct Comparison {
    right: usize,
    filled: usize,
    missing: Vec<Key>,
    doubled: Vec<Key>,
    wrong: Vec<Key>,
}

impl Comparison {
    /// The same of few points.
    fn assert_kept(&self) {
        assert_eq!(self.missing, [], "lost");
        assert_eq!(self.doubled, [], "sent twice");
        assert_eq!(self.wrong, [], "wrong value");
    }

    fn assert_exact(&self) {
        assert_eq!(self.missing, [], "lost");
        assert_eq!(self.doubled, [], "sent twice");
        assert_eq!(self.wrong, [], "wrong value");
        assert!(self.right > 500, "{}", self.right);
    }
}

/// Late data, but none later than `max_late`.
fn lag() -> Lag {
    Lag {
        max_s: 590.0,
        ..Lag::default()
    }
}

#[tokio::test]
async fn the_whole_receiver_runs_on_a_fast_clock_and_stops_when_told() {
    let simulator = Simulator::frozen(Scenario::demo());
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let sink = Arc::new(Sink::default());
    let (_, running) = start_receiver(&simulator, config_with(&served.url(), ""), &sink).await;
    pass_until(&simulator, || {
        sink.of("amazonaws.com/AWS/DynamoDB/WriteThrottleEvents")
            .iter()
            .any(|((resource, ..), values)| resource.ends_with("table/orders") && values[0].0 > 0.0)
    })
    .await;
    let at = simulator.clock().now().seconds() as i64;
    let minutes = (at - simulator.world().scenario.start as i64) / 60;
    assert!(minutes <= 15, "the first throttle showed after {minutes} minutes");
    running.stop(Deadline::after(Duration::from_secs(10))).await;
    let calls = simulator.calls().len();
    simulator.clock().step(Duration::from_secs(600));
    tokio::task::yield_now().await;
    assert_eq!(simulator.calls().len(), calls, "a stopped receiver does not ask");
}

#[test]
fn the_example_is_accepted_without_complaint() {
    let section = Section::from_yaml(DynamoDbFactory.example());
    assert!(DynamoDbFactory.check(&section).is_some());
    assert_eq!(section.problems(), Vec::<String>::new());
}
