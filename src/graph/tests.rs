//! The graph over components made for the tests: what they saw is kept in a journal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::checked::{Checked, CheckedComponent};
use super::*;
use crate::component::{
    BoxFuture, BuildContext, BuiltConnector, BuiltExporter, BuiltProcessor, ConnectorPlan, Delivery, ExporterPlan,
    ExtensionPlan, Outlet, Outlets, PipelineInfo, Plan, Processor, ProcessorPlan, QueueSettings, ReceiverPlan, Refused,
    Removed, Running, Stage,
};
use crate::pdata::{Batch, Origin, Signal};

/// What happened, in order; and the outlets that receivers were started with, to send through.
#[derive(Clone, Default)]
struct Journal {
    lines: Arc<Mutex<Vec<String>>>,
    outlets: Arc<Mutex<Vec<(String, Outlets)>>>,
    delivered: Arc<AtomicU64>,
}

impl Journal {
    fn note(&self, line: impl Into<String>) {
        self.lines.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    fn outlet(&self, receiver: &str) -> Outlet {
        let outlets = self.outlets.lock().unwrap();
        let (_, found) = outlets.iter().rev().find(|(id, _)| id == receiver).unwrap();
        found.get(Signal::Logs).unwrap().clone()
    }

    async fn send(&self, receiver: &str, items: u32) -> Result<(), Refused> {
        let batch = Batch::from_wire(
            Signal::Logs,
            bytes::Bytes::from_static(&[0x0a, 0]),
            items,
            Origin::internal(),
        );
        self.outlet(receiver).consume(batch).await
    }
}

struct Noted {
    journal: Journal,
    id: String,
}

impl Running for Noted {
    fn stop(&self, _deadline: Deadline) -> BoxFuture<'_, ()> {
        self.journal.note(format!("stop {}", self.id));
        Box::pin(std::future::ready(()))
    }
}

fn noted(journal: &Journal, context: &BuildContext, word: &str) -> Arc<dyn Running> {
    journal.note(format!("{word} {}", context.id));
    Arc::new(Noted {
        journal: journal.clone(),
        id: context.id.to_string(),
    })
}

/// One plan for all kinds: the id's type tells what it is.
#[derive(Clone)]
struct TestPlan {
    journal: Journal,
    behaviour: Behaviour,
    delivery: Delivery,
}

#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Works,
    FailsToStart,
    Panics,
    Refuses,
}

impl TestPlan {
    fn check(&self, context: &BuildContext) -> Result<(), StartError> {
        match self.behaviour {
            Behaviour::FailsToStart => Err(StartError::new(context, "on purpose")),
            _ => Ok(()),
        }
    }
}

impl ReceiverPlan for TestPlan {
    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async move {
            self.check(&context)?;
            self.journal
                .outlets
                .lock()
                .unwrap()
                .push((context.id.to_string(), next));
            Ok(noted(&self.journal, &context, "start"))
        })
    }
}

impl ExtensionPlan for TestPlan {
    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async move {
            self.check(&context)?;
            Ok(noted(&self.journal, &context, "start"))
        })
    }
}

struct FarEnd {
    plan: TestPlan,
    id: String,
}

impl Stage for FarEnd {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        assert!(self.plan.behaviour != Behaviour::Panics, "on purpose");
        Box::pin(async move {
            if self.plan.behaviour == Behaviour::Refuses {
                return Err(Refused::retryable("far end is down"));
            }
            // Gives others a turn, so that calls are under way when a reload comes.
            tokio::task::yield_now().await;
            self.plan
                .journal
                .delivered
                .fetch_add(batch.items() as u64, Ordering::Relaxed);
            self.plan.journal.note(format!("{} took {}", self.id, batch.items()));
            Ok(())
        })
    }
}

impl ExporterPlan for TestPlan {
    fn delivery(&self) -> Delivery {
        self.delivery.clone()
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        self.check(&context)?;
        Ok(BuiltExporter {
            far_end: Arc::new(FarEnd {
                plan: self.clone(),
                id: context.id.to_string(),
            }),
            running: noted(&self.journal, &context, "build"),
        })
    }
}

struct Passes;

impl Processor for Passes {
    fn process_noting(&self, batch: Batch, _removed: &mut Removed) -> Result<Option<Batch>, Refused> {
        Ok(Some(batch))
    }
}

impl ProcessorPlan for TestPlan {
    fn build(&self, context: BuildContext, _signal: Signal, next: Outlet) -> Result<BuiltProcessor, StartError> {
        self.check(&context)?;
        if context.id.type_name() == "pure" {
            return Ok(BuiltProcessor::Pure(Arc::new(Passes)));
        }
        Ok(BuiltProcessor::Active {
            stage: Arc::new(next),
            running: noted(&self.journal, &context, "build"),
        })
    }
}

impl ConnectorPlan for TestPlan {
    fn emits(&self, _from: Signal) -> &'static [Signal] {
        &[Signal::Logs]
    }

    fn build(&self, context: BuildContext, next: Outlets) -> Result<BuiltConnector, StartError> {
        let stage: Arc<dyn Stage> = Arc::new(next.get(Signal::Logs).unwrap().clone());
        Ok(BuiltConnector {
            stages: vec![(Signal::Logs, stage)],
            running: noted(&self.journal, &context, "build"),
        })
    }
}

/// A configuration in the making.
struct Config {
    journal: Journal,
    checked: Checked,
}

impl Config {
    fn new(journal: &Journal) -> Self {
        Self {
            journal: journal.clone(),
            checked: Checked::default(),
        }
    }

    fn with(self, kind: ComponentKind, id: &str, fingerprint: u64) -> Self {
        self.behaving(kind, id, fingerprint, Behaviour::Works)
    }

    fn behaving(self, kind: ComponentKind, id: &str, fingerprint: u64, behaviour: Behaviour) -> Self {
        self.delivering(kind, id, fingerprint, behaviour, Delivery::default())
    }

    fn delivering(
        mut self,
        kind: ComponentKind,
        id: &str,
        fingerprint: u64,
        behaviour: Behaviour,
        delivery: Delivery,
    ) -> Self {
        let plan = TestPlan {
            journal: self.journal.clone(),
            behaviour,
            delivery,
        };
        let plan = match kind {
            ComponentKind::Receiver => Plan::Receiver(Box::new(plan)),
            ComponentKind::Processor => Plan::Processor(Box::new(plan)),
            ComponentKind::Exporter => Plan::Exporter(Box::new(plan)),
            ComponentKind::Connector => Plan::Connector(Box::new(plan)),
            ComponentKind::Extension => Plan::Extension(Box::new(plan)),
        };
        let id = ComponentId::new(id);
        if kind == ComponentKind::Extension {
            self.checked.extensions.push(id.clone());
        }
        self.checked.components.push(Arc::new(CheckedComponent {
            kind,
            id,
            plan,
            fingerprint,
        }));
        self
    }

    fn pipeline(mut self, name: &str, receivers: &[&str], processors: &[&str], exporters: &[&str]) -> Self {
        let ids = |names: &[&str]| names.iter().map(|name| ComponentId::new(name)).collect();
        self.checked.pipelines.push(PipelineInfo {
            name: name.to_owned(),
            signal: Signal::Logs,
            receivers: ids(receivers),
            processors: ids(processors),
            exporters: ids(exporters),
        });
        self
    }
}

use ComponentKind::{Connector, Exporter, Extension as Ext, Processor as Proc, Receiver as Recv};

fn simple(journal: &Journal, exporter_fingerprint: u64) -> Config {
    Config::new(journal)
        .with(Ext, "health", 1)
        .with(Recv, "in", 1)
        .with(Proc, "pure", 1)
        .with(Proc, "active", 1)
        .with(Exporter, "out", exporter_fingerprint)
        .pipeline("logs", &["in"], &["pure", "active", "pure/2"], &["out"])
        .with(Proc, "pure/2", 1)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn starts_against_the_flow_and_stops_with_it() {
    let journal = Journal::default();
    let host = Host::default();
    let graph = Graph::start(host.clone(), &simple(&journal, 1).checked).await.unwrap();
    assert_eq!(
        journal.take(),
        ["start health", "build out", "build active", "start in"]
    );
    assert!(host.status.is_ready());
    journal.send("in", 3).await.unwrap();
    assert_eq!(journal.take(), ["out took 3"]);
    graph.stop(Duration::ZERO, SECOND).await;
    assert_eq!(journal.take(), ["stop in", "stop active", "stop out", "stop health"]);
    assert!(!host.status.is_ready());
}

#[tokio::test]
async fn a_component_that_cannot_start_stops_what_was_started_before_it() {
    let journal = Journal::default();
    let config = Config::new(&journal)
        .with(Recv, "in", 1)
        .behaving(Recv, "taken", 1, Behaviour::FailsToStart)
        .with(Exporter, "out", 1)
        .pipeline("logs", &["in", "taken"], &[], &["out"]);
    let error = Graph::start(Host::default(), &config.checked).await.err().unwrap();
    assert_eq!(error.to_string(), "receiver \"taken\": on purpose");
    assert_eq!(journal.take(), ["build out", "start in", "stop in", "stop out"]);
}

#[tokio::test]
async fn one_receiver_feeds_all_its_pipelines_and_a_connector_feeds_the_next() {
    let journal = Journal::default();
    let config = Config::new(&journal)
        .with(Recv, "in", 1)
        .with(Connector, "forward", 1)
        .with(Exporter, "a", 1)
        .with(Exporter, "b", 1)
        .pipeline("logs/second", &["forward"], &[], &["b"])
        .pipeline("logs/first", &["in"], &[], &["a", "forward"]);
    let graph = Graph::start(Host::default(), &config.checked).await.unwrap();
    journal.take();
    journal.send("in", 2).await.unwrap();
    let mut took = journal.take();
    took.sort();
    assert_eq!(took, ["a took 2", "b took 2"]);
    graph.stop(Duration::ZERO, SECOND).await;
}

#[tokio::test]
async fn a_reload_keeps_what_did_not_change() {
    let journal = Journal::default();
    let mut graph = Graph::start(Host::default(), &simple(&journal, 1).checked)
        .await
        .unwrap();
    journal.take();
    graph.reload(&simple(&journal, 2).checked).await.unwrap();
    assert_eq!(journal.take(), ["build out", "stop out"]);
    journal.send("in", 1).await.unwrap();
    assert_eq!(journal.take(), ["out took 1"]);
    graph.stop(Duration::ZERO, SECOND).await;
}

#[tokio::test]
async fn a_reload_that_cannot_be_built_leaves_everything_as_it_was() {
    let journal = Journal::default();
    let mut graph = Graph::start(Host::default(), &simple(&journal, 1).checked)
        .await
        .unwrap();
    journal.take();
    let broken = Config::new(&journal)
        .with(Recv, "in", 1)
        .with(Exporter, "a", 1)
        .behaving(Exporter, "b", 1, Behaviour::FailsToStart)
        .pipeline("logs", &["in"], &[], &["a", "b"]);
    assert!(graph.reload(&broken.checked).await.is_err());
    assert_eq!(journal.take(), ["build a", "stop a"]);
    journal.send("in", 1).await.unwrap();
    assert_eq!(journal.take(), ["out took 1"]);
    graph.stop(Duration::ZERO, SECOND).await;
}

#[tokio::test]
async fn a_receiver_that_a_reload_cannot_start_runs_on_with_its_old_configuration() {
    let journal = Journal::default();
    let host = Host::default();
    let mut graph = Graph::start(host.clone(), &simple(&journal, 1).checked).await.unwrap();
    journal.take();
    let moved = Config::new(&journal)
        .behaving(Recv, "in", 2, Behaviour::FailsToStart)
        .with(Exporter, "out", 1)
        .pipeline("logs", &["in"], &[], &["out"]);
    graph.reload(&moved.checked).await.unwrap();
    assert!(journal.take().contains(&"start in".to_owned()));
    journal.send("in", 1).await.unwrap();
    let (_, _, state) = host
        .status
        .components()
        .into_iter()
        .find(|(kind, ..)| *kind == Recv)
        .unwrap();
    assert_eq!(state, ComponentState::Degraded("on purpose".to_owned()));
    graph.stop(Duration::ZERO, SECOND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_batch_fails_or_is_lost_while_the_configuration_is_reloaded_under_load() {
    let journal = Journal::default();
    let queued = |fingerprint: u64| {
        let delivery = Delivery {
            queue: Some(QueueSettings::default()),
            ..Delivery::default()
        };
        Config::new(&journal)
            .with(Recv, "in", 1)
            .with(Proc, "active", fingerprint)
            .delivering(Exporter, "out", fingerprint, Behaviour::Works, delivery)
            .with(Exporter, "direct", fingerprint / 2)
            .pipeline("logs", &["in"], &["active"], &["out", "direct"])
    };
    let mut graph = Graph::start(Host::default(), &queued(1).checked).await.unwrap();
    let mut senders = JoinSet::new();
    let sending = tokio_util::sync::CancellationToken::new();
    for _ in 0..4 {
        let (journal, sending) = (journal.clone(), sending.clone());
        senders.spawn(async move {
            let mut sent = 0;
            while !sending.is_cancelled() {
                journal.send("in", 1).await.unwrap();
                sent += 1;
                tokio::task::yield_now().await;
            }
            sent
        });
    }
    for fingerprint in 2..30 {
        graph.reload(&queued(fingerprint).checked).await.unwrap();
    }
    sending.cancel();
    let sent: u64 = senders.join_all().await.into_iter().sum();
    graph.stop(Duration::ZERO, Duration::from_secs(20)).await;
    assert!(sent > 0);
    assert_eq!(
        journal.delivered.load(Ordering::Relaxed),
        2 * sent,
        "two exporters, {sent} batches"
    );
}

#[tokio::test]
async fn a_panic_of_an_exporter_refuses_its_batch_and_nothing_else() {
    let journal = Journal::default();
    let host = Host::default();
    let config = Config::new(&journal)
        .with(Recv, "in", 1)
        .behaving(Exporter, "bad", 1, Behaviour::Panics)
        .pipeline("logs", &["in"], &[], &["bad"]);
    let graph = Graph::start(host.clone(), &config.checked).await.unwrap();
    for _ in 0..2 {
        let refused = journal.send("in", 1).await.unwrap_err();
        assert!(refused.permanent);
    }
    let samples = host.registry.gather();
    assert!(samples.iter().any(|sample| sample.name == "radiosonde_panics_total"));
    graph.stop(Duration::ZERO, SECOND).await;
}

#[tokio::test]
async fn a_refusal_of_a_synchronous_exporter_reaches_the_receiver() {
    let journal = Journal::default();
    let config = Config::new(&journal)
        .with(Recv, "in", 1)
        .behaving(Exporter, "down", 1, Behaviour::Refuses)
        .with(Exporter, "up", 1)
        .pipeline("logs", &["in"], &[], &["down", "up"]);
    let graph = Graph::start(Host::default(), &config.checked).await.unwrap();
    journal.take();
    let refused = journal.send("in", 4).await.unwrap_err();
    assert!(!refused.permanent);
    assert_eq!(journal.take(), ["up took 4"]);
    graph.stop(Duration::ZERO, SECOND).await;
}
