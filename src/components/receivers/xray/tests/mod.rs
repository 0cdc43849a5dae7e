//! The receiver against the simulated X-Ray, on its virtual clock: nothing here sleeps.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_util::sync::CancellationToken;

use super::shard::{Shard, Shared, Stop};
use super::steps::{Step, Steps};
use super::*;
use crate::aws::shards::Health;
use crate::component::{ComponentId, Outlet, Refused, SampleValue, Stage};
use crate::pdata::{Batch, BatchId, Decoded};
use crate::simulator::xray::Late;
use crate::simulator::{Fault, FaultKind, Scenario, Served, Simulator, VirtualClock};

mod exactly_once;
mod faults;
mod logged;
mod signals;
mod steps;

/// Trace and span, in hex.
type Key = (String, String);

#[derive(Default)]
struct Sink {
    refusing: Mutex<Option<Refused>>,
    /// How often each span came, and the last of it.
    spans: Mutex<BTreeMap<Key, (u32, Span)>>,
    metrics: Mutex<Vec<ExportMetricsServiceRequest>>,
    batches: Mutex<u32>,
    /// As a durable queue: what has come under an id is not taken again.
    known: Mutex<Option<HashSet<BatchId>>>,
}

impl Sink {
    fn take(&self, mut batch: Batch) -> Result<(), Refused> {
        assert!(batch.origin().cursor, "the sender holds a cursor");
        if let Some(refused) = &*self.refusing.lock().unwrap() {
            return Err(refused.clone());
        }
        if let Some(known) = &mut *self.known.lock().unwrap()
            && let Some(id) = batch.origin().batch_id
            && !known.insert(id)
        {
            return Ok(());
        }
        *self.batches.lock().unwrap() += 1;
        match batch.decode().unwrap() {
            Decoded::Traces(request) => {
                let mut all = self.spans.lock().unwrap();
                let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                for span in scopes.flat_map(|scope| &scope.spans) {
                    let key = (hex::encode(&span.trace_id), hex::encode(&span.span_id));
                    let entry = all.entry(key).or_default();
                    entry.0 += 1;
                    entry.1 = span.clone();
                }
            }
            Decoded::Metrics(request) => self.metrics.lock().unwrap().push(std::mem::take(request)),
            Decoded::Logs(_) => panic!("no logs"),
        }
        Ok(())
    }

    /// How often each span came.
    fn counts(&self) -> BTreeMap<Key, u32> {
        let spans = self.spans.lock().unwrap();
        spans.iter().map(|(key, (count, _))| (key.clone(), *count)).collect()
    }

    /// Sums of a metric by one attribute.
    fn sums(&self, name: &str, attribute: &str) -> BTreeMap<String, i64> {
        let mut sums = BTreeMap::new();
        let requests = self.metrics.lock().unwrap();
        let scopes = requests.iter().flat_map(|request| &request.resource_metrics);
        let metrics = scopes
            .flat_map(|resource| &resource.scope_metrics)
            .flat_map(|scope| &scope.metrics);
        for metric in metrics.filter(|metric| metric.name == name) {
            let Some(Data::Sum(sum)) = &metric.data else {
                panic!("no sum")
            };
            for point in &sum.data_points {
                let value = point.attributes.iter().find(|have| have.key == attribute);
                let value = format!("{:?}", value.unwrap().value.as_ref().unwrap().value);
                let Some(Number::AsInt(count)) = point.value else {
                    panic!("no integer")
                };
                *sums.entry(value).or_default() += count;
            }
        }
        sums
    }
}

struct ToSink(Arc<Sink>);

impl Stage for ToSink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(std::future::ready(self.0.take(batch)))
    }
}

/// Minutes in which the application gets requests.
const MINUTES: i64 = 20;

/// Requests for twenty minutes; some segments come a quarter of an hour late, some traces are open for a while.
fn scenario() -> Scenario {
    let mut scenario = Scenario::demo();
    scenario.history = 0;
    scenario.xray.traces_per_minute = 9.0;
    scenario.xray.until = Some(MINUTES);
    scenario.xray.in_progress = 0.2;
    scenario.xray.independent = 0.3;
    scenario.xray.page = 20;
    scenario.xray.late = vec![Late {
        share: 0.15,
        after_s: 900.0,
    }];
    scenario
}

/// The simulator, the agent's side of it, and where the spans end.
struct Bench {
    simulator: Arc<Simulator>,
    clock: VirtualClock,
    sink: Arc<Sink>,
    served: Served,
    folder: tempfile::TempDir,
    yaml: String,
    context: BuildContext,
    steps: Steps,
}

impl Bench {
    async fn new(scenario: Scenario, yaml: &str) -> Self {
        let simulator = Simulator::frozen(scenario);
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let clock = simulator.clock().clone();
        let folder = tempfile::tempdir().unwrap();
        let mut context = BuildContext::standalone(ComponentKind::Receiver, "xray/test");
        context.clock = Arc::new(clock.clone());
        context.state_dir = Some(folder.path().to_owned());
        context.id = ComponentId::new("xray/test");
        Self {
            simulator,
            clock,
            sink: Arc::default(),
            served,
            folder,
            yaml: yaml.to_owned(),
            context,
            steps: Steps::default(),
        }
    }

    /// Opens the receiver as a start would.
    async fn open(&self) -> Shard {
        let text = format!(
            "regions: [eu-central-1]\nendpoint: {}\ncredentials: {{access_key_id: AKIASIM0111122223333, \
             secret_access_key: simulated}}\n{}\n",
            self.served.url(),
            self.yaml
        );
        let section = Section::from_yaml(&text);
        let config = config::check(&section).unwrap();
        assert!(!section.has_errors(), "{:?}", section.problems());
        let outlet = || Some(Outlet::to(Arc::new(ToSink(Arc::clone(&self.sink)))));
        let shared = Shared {
            config: Arc::new(config),
            health: Arc::new(Health::new(self.context.clone())),
            context: self.context.clone(),
            outlets: Outlets {
                traces: outlet(),
                metrics: outlet(),
                logs: None,
            },
            steps: self.steps.clone(),
        };
        let access = Access::load(shared.config.access.clone(), Arc::clone(&self.context.clock)).await;
        let place = access.places().remove(0);
        let access = Arc::new(access);
        // A transaction of a killed receiver may still hold the file for a moment.
        for _ in 0..10_000 {
            let quit = CancellationToken::new();
            match Shard::open(shared.clone(), Arc::clone(&access), place.clone(), quit).await {
                Ok(shard) => return shard,
                Err(_) => tokio::task::yield_now().await,
            }
        }
        panic!("the state stays open");
    }

    /// One round; whoever waits for the clock is woken at once.
    async fn round(&self, shard: &mut Shard) -> Result<(), Stop> {
        driven(&self.clock, shard.round()).await
    }

    /// Rounds a minute apart, so many.
    async fn rounds(&self, shard: &mut Shard, count: usize, apart: u64) {
        for _ in 0..count {
            self.clock.step(Duration::from_secs(apart));
            self.round(shard).await.unwrap();
        }
    }

    /// Every span that a reader must give once.
    fn truth(&self) -> BTreeMap<Key, u32> {
        let start = self.simulator.world().scenario.start as f64;
        let mut truth = BTreeMap::new();
        for (trace, spans) in self.simulator.true_spans(start - 1e6, start + 1e6) {
            let trace = trace.replace('-', "")[1..].to_owned();
            for span in spans {
                truth.insert((trace.clone(), span.id), 1);
            }
        }
        truth
    }

    fn metric(&self, name: &str) -> f64 {
        let samples = self.context.instruments.registry().gather();
        let values = samples
            .iter()
            .filter(|sample| sample.name == name)
            .map(|sample| match &sample.value {
                SampleValue::Counter(count) => *count as f64,
                SampleValue::Gauge(value) => *value,
                SampleValue::Histogram { .. } => 0.0,
            });
        values.sum()
    }

    fn plan(&self, faults: Vec<Fault>) {
        self.simulator.set_faults(faults);
    }
}

/// Runs `work`; whenever it waits for the clock, the clock moves to where it wants to be.
async fn driven<T>(clock: &VirtualClock, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            at = clock.next_wake() => clock.advance_to(at),
        }
        // Whoever was woken may be another task.
        tokio::task::yield_now().await;
    }
}

/// What differs, in words that fit on a screen.
fn difference(got: &BTreeMap<Key, u32>, truth: &BTreeMap<Key, u32>) -> String {
    let missing = truth.keys().filter(|key| !got.contains_key(key)).count();
    let strange: Vec<&Key> = got.keys().filter(|key| !truth.contains_key(key)).take(3).collect();
    let again = got.iter().filter(|(_, count)| **count > 1).count();
    format!(
        "{} of {}: {missing} missing, {again} again, strange: {strange:?}",
        got.len(),
        truth.len()
    )
}

fn size_of(folder: &Path) -> u64 {
    let mut size = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        size += if meta.is_dir() {
            size_of(&entry.path())
        } else {
            meta.len()
        };
    }
    size
}
