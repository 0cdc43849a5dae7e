//! The components of a running graph: what was built, from which plan, and how it is reached.
//!
//! Nodes are cheap to clone: a reload carries those it keeps over into the next state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::checked::CheckedComponent;
use super::host::Host;
use super::stages::{NotWired, Observed, PassThrough, Traced};
use crate::component::{
    BuildContext, BuiltProcessor, ComponentId, ComponentKind, ComponentState, Counter, Delivery, Gauge, Histogram,
    Outlet, Outlets, Overflow, PipelineInfo, Plan, Processor, Running, Stage, StartError,
};
use crate::pdata::Signal;
use crate::queue;

/// What every node knows of its origin.
#[derive(Clone)]
pub struct Origin {
    pub plan: Arc<CheckedComponent>,
    pub context: BuildContext,
}

impl Origin {
    pub fn new(host: &Host, plan: &Arc<CheckedComponent>) -> Self {
        let context = host.context(plan.kind, &plan.id);
        host.status.report(plan.kind, &plan.id, ComponentState::Starting);
        Self {
            plan: Arc::clone(plan),
            context,
        }
    }

    /// Built from the same configuration as `plan` would be.
    pub fn is_same(&self, plan: &CheckedComponent) -> bool {
        self.plan.fingerprint == plan.fingerprint
    }

    fn wrong_plan(&self) -> StartError {
        StartError::new(
            &self.context,
            "its factory answered with the plan of another kind of component",
        )
    }
}

/// Something with an orderly stop, and the token that ends it when the deadline has passed.
#[derive(Clone)]
pub struct Stoppable {
    pub context: BuildContext,
    pub running: Arc<dyn Running>,
}

/// What stands between the pipelines of one signal and a far end.
#[derive(Clone)]
pub struct Queued {
    pub stage: Arc<dyn Stage>,
    pub running: Arc<dyn Running>,
}

#[derive(Clone)]
pub struct Exporter {
    pub origin: Origin,
    pub far_end: Arc<dyn Stage>,
    pub running: Arc<dyn Running>,
    /// One queue, retry and timeout per signal that a pipeline sends to it.
    pub deliveries: BTreeMap<Signal, Queued>,
    /// What each was built from.
    pub settings: BTreeMap<Signal, Delivery>,
    /// Fingerprints of the processors that are told of its deliveries.
    pub watched_by: Vec<u64>,
}

impl Exporter {
    /// `watchers`: processors that want to know of its deliveries.
    pub fn build(
        host: &Host,
        plan: &Arc<CheckedComponent>,
        watchers: &[Arc<CheckedComponent>],
    ) -> Result<Self, StartError> {
        let origin = Origin::new(host, plan);
        let Plan::Exporter(exporter) = &plan.plan else {
            return Err(origin.wrong_plan());
        };
        let built = exporter.build(origin.context.clone())?;
        let mut far_end = built.far_end;
        if host.traced {
            far_end = Arc::new(Traced::before(far_end, format!("exporter/{}", plan.id)));
        }
        for watcher in watchers {
            let Plan::Processor(processor) = &watcher.plan else {
                continue;
            };
            let context = host.context(watcher.kind, &watcher.id);
            let observer = processor.observer(context, &plan.id)?;
            far_end = Arc::new(Observed::before(far_end, observer));
        }
        Ok(Self {
            origin,
            far_end,
            watched_by: watchers.iter().map(|watcher| watcher.fingerprint).collect(),
            running: built.running,
            deliveries: BTreeMap::new(),
            settings: BTreeMap::new(),
        })
    }

    /// Makes sure that there is a delivery for `signal`.
    pub fn serve(&mut self, signal: Signal, delivery: Delivery) -> Result<(), StartError> {
        if self.deliveries.contains_key(&signal) {
            return Ok(());
        }
        let context = &self.origin.context;
        if let Some(queue) = &delivery.queue {
            match queue::place_for(context, queue, signal) {
                queue::Place::Nowhere => {
                    let message = "sending_queue::durability needs a place: name a `storage`, or set a state directory";
                    return Err(StartError::new(context, message));
                }
                queue::Place::Memory if queue.overflow == Overflow::DropOldest => {
                    let message = "sending_queue::overflow: `drop_oldest` needs a durable queue: name a `storage`";
                    return Err(StartError::new(context, message));
                }
                queue::Place::Memory | queue::Place::Log(..) => {}
            }
        }
        let (stage, running) = queue::deliver(context, signal, &delivery, Arc::clone(&self.far_end));
        self.deliveries.insert(signal, Queued { stage, running });
        self.settings.insert(signal, delivery);
        Ok(())
    }
}

#[derive(Clone)]
pub struct Connector {
    pub origin: Origin,
    pub outlets: Outlets,
    pub stages: Vec<(Signal, Arc<dyn Stage>)>,
    pub running: Arc<dyn Running>,
}

impl Connector {
    pub fn build(host: &Host, plan: &Arc<CheckedComponent>, emits: &BTreeSet<Signal>) -> Result<Self, StartError> {
        let origin = Origin::new(host, plan);
        let Plan::Connector(connector) = &plan.plan else {
            return Err(origin.wrong_plan());
        };
        let outlets = outlets_for(emits);
        let built = connector.build(origin.context.clone(), outlets.clone())?;
        Ok(Self {
            origin,
            outlets,
            stages: built.stages,
            running: built.running,
        })
    }

    /// The stage that pipelines of `signal` feed.
    pub fn stage(&self, signal: Signal) -> Result<Arc<dyn Stage>, StartError> {
        let found = self.stages.iter().find(|(takes, _)| *takes == signal);
        found.map(|(_, stage)| Arc::clone(stage)).ok_or_else(|| {
            StartError::new(
                &self.origin.context,
                format!("takes no {signal}, but a pipeline of {signal} feeds it"),
            )
        })
    }
}

/// Bounds of `otelcol_processor_internal_duration`: a filter takes microseconds, a slow expression milliseconds.
const WORK_SECONDS: &[f64] = &[1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0];

#[derive(Clone)]
pub enum ProcessorBody {
    Pure {
        processor: Arc<dyn Processor>,
        /// `otelcol_processor_internal_duration`.
        duration: Histogram,
    },
    Active {
        stage: Arc<dyn Stage>,
        running: Arc<dyn Running>,
        outlet: Outlet,
    },
}

impl ProcessorBody {
    /// The same instance, not only the same kind.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (ProcessorBody::Pure { processor: mine, .. }, ProcessorBody::Pure { processor: theirs, .. }) => {
                Arc::ptr_eq(mine, theirs)
            }
            (ProcessorBody::Active { running: mine, .. }, ProcessorBody::Active { running: theirs, .. }) => {
                Arc::ptr_eq(mine, theirs)
            }
            _ => false,
        }
    }
}

/// One processor in one pipeline.
#[derive(Clone)]
pub struct PipelineProcessor {
    pub origin: Origin,
    pub body: ProcessorBody,
    pub incoming: Counter,
    pub outgoing: Counter,
    /// What it took out of batches that have no answer yet.
    pub in_flight: Gauge,
    /// Its work is done behind the queues.
    pub passes: bool,
}

impl PipelineProcessor {
    /// With `passes` it is only passed through: its work is done behind the queues.
    pub fn build(host: &Host, plan: &Arc<CheckedComponent>, signal: Signal, passes: bool) -> Result<Self, StartError> {
        let origin = Origin::new(host, plan);
        let Plan::Processor(processor) = &plan.plan else {
            return Err(origin.wrong_plan());
        };
        let outlet = Outlet::to(Arc::new(NotWired));
        let built = match passes {
            true => {
                let left = processor.passing(origin.context.clone(), signal, outlet.clone());
                left.unwrap_or_else(|| BuiltProcessor::Pure(Arc::new(PassThrough)))
            }
            false => processor.build(origin.context.clone(), signal, outlet.clone())?,
        };
        let labels = [("otel_signal", signal.name())];
        let instruments = &origin.context.instruments;
        let body = match built {
            BuiltProcessor::Pure(processor) => ProcessorBody::Pure {
                processor,
                duration: instruments.histogram(
                    "otelcol_processor_internal_duration",
                    "Time the processor worked on a batch, in seconds.",
                    &labels,
                    WORK_SECONDS,
                ),
            },
            BuiltProcessor::Active { stage, running } => ProcessorBody::Active { stage, running, outlet },
        };
        Ok(Self {
            incoming: instruments.counter(
                "otelcol_processor_incoming_items",
                "Items passed to the processor.",
                &labels,
            ),
            outgoing: instruments.counter(
                "otelcol_processor_outgoing_items",
                "Items that the processor passed on.",
                &labels,
            ),
            in_flight: instruments.gauge(
                "radiosonde_in_flight_items",
                "Items being sent or waiting for another try.",
                &[("data_type", signal.name())],
            ),
            origin,
            body,
            passes,
        })
    }
}

#[derive(Clone)]
pub struct Receiver {
    pub origin: Origin,
    pub outlets: Outlets,
    /// `None` where a reload could not start it.
    pub running: Option<Arc<dyn Running>>,
}

impl Receiver {
    /// Not started yet: its outlets have to lead somewhere first.
    pub fn prepare(host: &Host, plan: &Arc<CheckedComponent>, signals: &BTreeSet<Signal>) -> Self {
        Self {
            origin: Origin::new(host, plan),
            outlets: outlets_for(signals),
            running: None,
        }
    }

    pub async fn start(&mut self) -> Result<(), StartError> {
        let Plan::Receiver(receiver) = &self.origin.plan.plan else {
            return Err(self.origin.wrong_plan());
        };
        let running = receiver
            .start(self.origin.context.clone(), self.outlets.clone())
            .await?;
        self.running = Some(running);
        Ok(())
    }
}

#[derive(Clone)]
pub struct Extension {
    pub origin: Origin,
    pub running: Option<Arc<dyn Running>>,
}

impl Extension {
    pub async fn start(host: &Host, plan: &Arc<CheckedComponent>) -> Result<Self, StartError> {
        let origin = Origin::new(host, plan);
        let Plan::Extension(extension) = &plan.plan else {
            return Err(origin.wrong_plan());
        };
        let running = extension.start(origin.context.clone()).await?;
        Ok(Self {
            origin,
            running: Some(running),
        })
    }
}

fn outlets_for(signals: &BTreeSet<Signal>) -> Outlets {
    let mut outlets = Outlets::default();
    for signal in signals {
        outlets.set(*signal, Outlet::to(Arc::new(NotWired)));
    }
    outlets
}

/// Whether the outlets are exactly those of `signals`.
pub fn serves_exactly(outlets: &Outlets, signals: &BTreeSet<Signal>) -> bool {
    Signal::ALL
        .iter()
        .all(|signal| outlets.get(*signal).is_some() == signals.contains(signal))
}

/// Everything of one configuration that runs.
#[derive(Clone, Default)]
pub struct State {
    /// In the order of `service::extensions`.
    pub extensions: Vec<Extension>,
    pub exporters: BTreeMap<ComponentId, Exporter>,
    pub connectors: BTreeMap<ComponentId, Connector>,
    /// By pipeline name and id.
    pub processors: BTreeMap<(String, ComponentId), PipelineProcessor>,
    pub receivers: BTreeMap<ComponentId, Receiver>,
    /// Feeding pipelines before those they feed.
    pub pipelines: Vec<PipelineInfo>,
}

impl State {
    /// All components, for the status board.
    pub fn components(&self) -> BTreeSet<(ComponentKind, ComponentId)> {
        let mut all = BTreeSet::new();
        let mut add = |origin: &Origin| {
            all.insert((origin.plan.kind, origin.plan.id.clone()));
        };
        self.extensions.iter().for_each(|node| add(&node.origin));
        self.exporters.values().for_each(|node| add(&node.origin));
        self.connectors.values().for_each(|node| add(&node.origin));
        self.processors.values().for_each(|node| add(&node.origin));
        self.receivers.values().for_each(|node| add(&node.origin));
        all
    }
}
