//! The auditor against the simulated X-Ray on its virtual clock: nothing here sleeps.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Mutex;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::compared::request;
use super::*;
use crate::component::{
    BoxFuture, ComponentKind, DeliveryObserver, LimitedLog, MemoryState, Refused, SampleValue, Stage, StateStore,
};
use crate::config::Section;
use crate::pdata::{Batch, Origin};
use crate::queue::fs::{Fs, RealFs};
use crate::retention::archive::{ArchiveError, Found, Page, Spent, StoredCopy, TraceId, span_xor};
use crate::retention::noter::Noter;
use crate::simulator::xray::TrueSpan;
use crate::simulator::{Fault, FaultKind, Scenario, Served, Simulator, VirtualClock};

mod actions;
mod edges;
mod passing;
mod places;
mod truth;

const DAY_S: u64 = 86_400;

/// An archive that is asked: copies by trace, and when the archive really deletes them.
#[derive(Default)]
struct Shelf {
    copies: Mutex<HashMap<TraceId, (StoredCopy, Option<UnixNanos>)>>,
    denied: Mutex<bool>,
    probes: Mutex<usize>,
    clock: Option<VirtualClock>,
    lifetime: Option<Duration>,
}

impl Archive for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    fn lifetime(&self) -> BoxFuture<'_, Result<Option<Duration>, ArchiveError>> {
        Box::pin(std::future::ready(Ok(self.lifetime)))
    }

    fn probe<'a>(&'a self, _day: Day, ids: &'a [TraceId]) -> BoxFuture<'a, Vec<Found>> {
        *self.probes.lock().unwrap() += ids.len();
        let now = self.clock.as_ref().map(|clock| clock.now());
        let answer = |id: &TraceId| {
            if *self.denied.lock().unwrap() {
                return Found::Unknown("access denied".to_owned());
            }
            match self.copies.lock().unwrap().get(id) {
                Some((copy, deleted)) if deleted.is_none_or(|at| now.is_none_or(|now| now < at)) => {
                    Found::Copy(copy.clone())
                }
                _ => Found::Nothing,
            }
        };
        let answers = ids.iter().map(answer).collect();
        Box::pin(std::future::ready(answers))
    }

    fn read(&self, _id: TraceId) -> BoxFuture<'_, Result<Option<Batch>, ArchiveError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn list(&self, _day: Day, _page: Option<String>) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        Box::pin(std::future::ready(Ok((Vec::new(), None))))
    }

    fn spent(&self) -> Spent {
        Spent::default()
    }
}

/// The far end behind the archiving pipeline: acknowledges, or does not.
struct FarEnd {
    noter: Noter,
    acknowledges: Mutex<bool>,
    refuses: Mutex<bool>,
    batches: Mutex<Vec<Batch>>,
}

impl Stage for FarEnd {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let answer = if *self.refuses.lock().unwrap() {
            Err(Refused::retryable("the queue is full"))
        } else {
            self.batches.lock().unwrap().push(batch.clone());
            if *self.acknowledges.lock().unwrap() {
                let mut wire = batch;
                wire.parts();
                self.noter.delivered(&wire);
            }
            Ok(())
        };
        Box::pin(std::future::ready(answer))
    }
}

struct Bench {
    simulator: Arc<Simulator>,
    clock: VirtualClock,
    served: Served,
    folder: tempfile::TempDir,
    settings: Arc<Settings>,
    context: BuildContext,
    state: Arc<dyn StateStore>,
    shelf: Arc<Shelf>,
    ledger: Arc<Ledger>,
    far_end: Arc<FarEnd>,
    auditor: Auditor,
}

fn scenario(traces_per_minute: f64, until: i64) -> Scenario {
    let mut scenario = Scenario::quiet();
    scenario.history = 0;
    scenario.xray.traces_per_minute = traces_per_minute;
    scenario.xray.until = Some(until);
    scenario.xray.in_progress = 0.0;
    scenario.xray.page = 20;
    scenario
}

/// A ledger's far end, made anew as by a restart.
fn far_end(ledger: &Arc<Ledger>, awaited: &Arc<Awaited>) -> Arc<FarEnd> {
    Arc::new(FarEnd {
        noter: Noter {
            ledger: Arc::clone(ledger),
            archive: 0,
            number: 0,
            awaited: Arc::clone(awaited),
            stopped: CancellationToken::new(),
            errors: crate::component::Counter::default(),
            log: LimitedLog::default(),
        },
        acknowledges: Mutex::new(true),
        refuses: Mutex::new(false),
        batches: Mutex::default(),
    })
}

impl Bench {
    async fn new(scenario: Scenario, yaml: &str) -> Self {
        Self::at("regions: [eu-central-1]", scenario, yaml).await
    }

    /// In other places.
    async fn at(places: &str, scenario: Scenario, yaml: &str) -> Self {
        let simulator = Simulator::frozen(scenario);
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let clock = simulator.clock().clone();
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "{places}\nendpoint: {}\ncredentials: {{access_key_id: AKIASIM0111122223333, \
             secret_access_key: simulated}}\narchives: [{{ledger: {{exporters: [otlp]}}}}]\n{yaml}\n",
            served.url()
        );
        let section = Section::from_yaml(&text);
        let settings = Settings::read(&section);
        assert!(!section.has_errors(), "{:?}", section.problems());
        let mut context = BuildContext::standalone(ComponentKind::Processor, "span_retention");
        context.clock = Arc::new(clock.clone());
        let shelf = Arc::new(Shelf {
            clock: Some(clock.clone()),
            ..Shelf::default()
        });
        let settings = Arc::new(settings.unwrap());
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::default());
        let (ledger, far_end, auditor) = start(&folder, &settings, &context, &state, &shelf);
        Self {
            simulator,
            clock,
            served,
            folder,
            settings,
            context,
            state,
            shelf,
            ledger,
            far_end,
            auditor,
        }
    }

    /// A restart with another configuration; `change` is what was written otherwise.
    fn reconfigured(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = (*self.settings).clone();
        change(&mut settings);
        self.settings = Arc::new(settings);
        self.ledger.flush().unwrap();
        self.restart();
    }

    /// As after a kill: what was not flushed is gone.
    fn restart(&mut self) {
        let (ledger, far_end, auditor) = start(&self.folder, &self.settings, &self.context, &self.state, &self.shelf);
        let said = std::mem::take(&mut *self.auditor.said.lock().unwrap());
        *auditor.said.lock().unwrap() = said;
        (self.ledger, self.far_end, self.auditor) = (ledger, far_end, auditor);
    }

    async fn shards(&self) -> Vec<Shard> {
        let access = Access::load(self.settings.access.clone(), Arc::clone(&self.context.clock)).await;
        let mut shards = Vec::new();
        for place in access.places() {
            shards.push(Shard::open(&access, &place, &self.settings, &self.context).await);
        }
        shards
    }

    async fn run(&self) -> Report {
        driven(&self.clock, async { self.auditor.run(&self.shards().await).await }).await
    }

    fn step_days(&self, days: f64) {
        self.clock.step(Duration::from_secs_f64(days * DAY_S as f64));
    }

    fn now(&self) -> u64 {
        self.clock.now().seconds()
    }

    /// Every trace that starts between two times, with its start (unix seconds) and its spans.
    fn traces(&self, from: u64, to: u64) -> BTreeMap<TraceId, (u64, Vec<TrueSpan>)> {
        let traces = self.simulator.true_spans(from as f64, to as f64);
        let read = |(id, spans): (String, Vec<TrueSpan>)| {
            let start = u64::from_str_radix(&id[2..10], 16).unwrap();
            (TraceId::parse(&id).unwrap(), (start, spans))
        };
        traces.into_iter().map(read).collect()
    }

    fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples = self.context.instruments.registry().gather();
        let has = |have: &[(&'static str, String)]| {
            labels
                .iter()
                .all(|(name, value)| have.iter().any(|(n, v)| n == name && v == value))
        };
        let mut values = samples
            .iter()
            .filter(|sample| sample.name == name && has(&sample.labels));
        values.next().map(|sample| match &sample.value {
            SampleValue::Counter(count) => *count as f64,
            SampleValue::Gauge(value) => *value,
            SampleValue::Histogram { .. } => 0.0,
        })
    }

    fn said(&self) -> HashMap<TraceId, State> {
        self.auditor.said.lock().unwrap().clone()
    }

    /// What an application sends to another backend beside X-Ray, acknowledged.
    fn deliver(&self, id: TraceId, start: u64, spans: &[&TrueSpan], open: bool) {
        self.far_end.noter.delivered(&spans_of(id, start, spans, open));
    }

    /// Delivers every trace that starts between two times, and gives how many those are.
    fn deliver_all(&self, from: u64, to: u64) -> u64 {
        let traces = self.traces(from, to);
        for (id, (start, spans)) in &traces {
            self.deliver(*id, *start, &spans.iter().collect::<Vec<_>>(), false);
        }
        self.ledger.flush().unwrap();
        traces.len() as u64
    }
}

/// What an archive that has all of a trace says of it.
fn copy_of(spans: &[TrueSpan]) -> StoredCopy {
    let ids = spans
        .iter()
        .map(|span| <[u8; 8]>::try_from(hex::decode(&span.id).unwrap()).unwrap());
    StoredCopy {
        spans: spans.len() as u32,
        span_xor: Some(span_xor(ids)),
        ..StoredCopy::default()
    }
}

fn start(
    folder: &tempfile::TempDir,
    settings: &Arc<Settings>,
    context: &BuildContext,
    state: &Arc<dyn StateStore>,
    shelf: &Arc<Shelf>,
) -> (Arc<Ledger>, Arc<FarEnd>, Auditor) {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let crate::retention::runtime::Sides { ledgers, mut sides, .. } =
        crate::retention::runtime::sides_of(settings, folder.path(), &fs, false).unwrap();
    sides.push(Side::Probe(Arc::clone(shelf) as Arc<dyn Archive>));
    let awaited: Arc<Awaited> = Arc::default();
    let ledger = Arc::clone(&ledgers[0]);
    let far_end = far_end(&ledger, &awaited);
    let lists = folder.path().join("lists");
    fs.create_dir(&lists).unwrap();
    let auditor = Auditor {
        id: context.id.to_string(),
        settings: Arc::clone(settings),
        clock: Arc::clone(&context.clock),
        sides,
        books: Books::new(Arc::clone(state), context.id.as_str()),
        telemetry: Telemetry::new(&context.instruments),
        awaited,
        outlet: Some(Outlet::to(Arc::clone(&far_end) as Arc<dyn Stage>)),
        lists,
        scratch: None,
        aside: Aside(fs),
        watchlist: context.commons.get(),
        quit: CancellationToken::new(),
        said: Mutex::default(),
    };
    (ledger, far_end, auditor)
}

fn spans_of(id: TraceId, start: u64, spans: &[&TrueSpan], open: bool) -> Batch {
    let flag = KeyValue {
        key: "aws.xray.inprogress".to_owned(),
        value: Some(AnyValue {
            value: Some(Value::BoolValue(true)),
        }),
        ..KeyValue::default()
    };
    let span = |span: &&TrueSpan| Span {
        trace_id: id.0.to_vec(),
        span_id: hex::decode(&span.id).unwrap(),
        name: span.name.clone(),
        start_time_unix_nano: start * 1_000_000_000,
        attributes: open.then(|| flag.clone()).into_iter().collect(),
        ..Span::default()
    };
    let scope = ScopeSpans {
        spans: spans.iter().map(span).collect(),
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    let mut batch = Batch::from_decoded(request(vec![resource]), Origin::internal());
    batch.parts();
    batch
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
