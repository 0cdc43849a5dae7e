//! From a configuration section to something that can be built.

use std::path::PathBuf;
use std::sync::Arc;

use super::{
    BoxFuture, BuildContext, ComponentId, ComponentKind, Delivery, DeliveryObserver, Outlet, Outlets, Processor,
    QueueBatch, Running, Stage, StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// How far a component can be relied on; the Collector's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    Development,
    Alpha,
    Beta,
    Stable,
}

impl Stability {
    /// Lower case, as `components` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Stability::Development => "development",
            Stability::Alpha => "alpha",
            Stability::Beta => "beta",
            Stability::Stable => "stable",
        }
    }
}

/// One entry of the registry: what a component is called and how its section is checked.
pub trait Factory: Send + Sync {
    /// Receiver, processor, ...
    fn kind(&self) -> ComponentKind;
    /// The type as documented today, e.g. `otlp`.
    fn type_name(&self) -> &'static str;
    /// Other spellings that configurations use, e.g. `otlp_grpc` for `otlp`. One warning when an old one is used.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }
    /// Signals it can be used for; a connector's are those it takes. Empty for extensions.
    fn signals(&self) -> &'static [Signal];
    /// How far it can be relied on.
    fn stability(&self) -> Stability;
    /// One sentence for `components`.
    fn summary(&self) -> &'static str;
    /// A configuration of it as in its README; loaded by the contract test: the YAML below the component's id, and
    /// `{}` where the defaults will do.
    fn example(&self) -> &'static str;
    /// Parses and validates. Problems are reported to the section with their position; `None` when there is nothing to
    /// build. Opens no socket, creates nothing; may read files that the configuration names. What it leaves untaken in
    /// the section is reported as an unknown key by the caller.
    fn check(&self, section: &Section) -> Option<Plan>;
}

/// A checked section, ready to be built (as often as needed).
pub enum Plan {
    Receiver(Box<dyn ReceiverPlan>),
    Processor(Box<dyn ProcessorPlan>),
    Exporter(Box<dyn ExporterPlan>),
    Connector(Box<dyn ConnectorPlan>),
    Extension(Box<dyn ExtensionPlan>),
}

/// Starts a receiver. One instance serves all its pipelines.
pub trait ReceiverPlan: Send + Sync {
    /// The extensions that say who may send to its listeners, each with the path of the key that names it.
    fn authenticators(&self) -> Vec<(&'static str, &ComponentId)> {
        Vec::new()
    }
    /// Binds listeners or starts polling; returns once it is ready to accept.
    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>>;
}

/// A processor as built for one pipeline.
pub enum BuiltProcessor {
    /// Runs in the caller's task, fused with its neighbours.
    Pure(Arc<dyn Processor>),
    /// Owns tasks: given its own outlet, stopped in pipeline order.
    Active {
        stage: Arc<dyn Stage>,
        running: Arc<dyn Running>,
    },
}

/// Builds a processor.
pub trait ProcessorPlan: Send + Sync {
    /// For one pipeline of `signal`. A pure processor ignores `next`. Called inside the runtime.
    fn build(&self, context: BuildContext, signal: Signal, next: Outlet) -> Result<BuiltProcessor, StartError>;
    /// Exporters of whose deliveries it is told, each with the path of the key that names it.
    fn observes(&self) -> Vec<(String, ComponentId)> {
        Vec::new()
    }
    /// Who is told when the far end of one of these exporters has acknowledged. Called inside the runtime, before the
    /// processor is built; `context` is the processor's.
    fn observer(&self, context: BuildContext, exporter: &ComponentId) -> Result<Arc<dyn DeliveryObserver>, StartError> {
        let _ = exporter;
        Err(StartError::new(&context, "observes no exporter"))
    }
    /// Pipelines of traces that it feeds beside the stage behind it ([`PipelineHeads`](super::PipelineHeads)), each with
    /// the path of the key that names it.
    fn feeds(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// What a queue has to do in place of this processor, where it does nothing but batch. In a pipeline with a durable
    /// queue the batching stands behind the queue: nothing that was acknowledged may live only in a buffer.
    fn batching(&self) -> Option<QueueBatch> {
        None
    }
    /// What stands in its place then, where more is to be done than to pass on: handing on what an earlier run left.
    fn passing(&self, context: BuildContext, signal: Signal, next: Outlet) -> Option<BuiltProcessor> {
        let _ = (context, signal, next);
        None
    }
}

/// An exporter as built: one attempt at the far end for each `consume`.
pub struct BuiltExporter {
    /// One attempt; the answer says whether another try can help.
    pub far_end: Arc<dyn Stage>,
    /// Files or connections to close after the queues have drained.
    pub running: Arc<dyn Running>,
}

/// Builds an exporter.
pub trait ExporterPlan: Send + Sync {
    /// Queue, retry and timeout in front of the far end; carried out by `queue`.
    fn delivery(&self) -> Delivery;
    /// The extension that `auth::authenticator` names.
    fn authenticator(&self) -> Option<&ComponentId> {
        None
    }
    /// The signals that it can be used for as it is configured; `None`: all of its [factory's](Factory::signals).
    fn signals(&self) -> Option<&'static [Signal]> {
        None
    }
    /// The far end, shared by the pipelines of all signals. Called inside the runtime; does not wait for the peer.
    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError>;
}

/// A connector as built: the end of some pipelines, and the beginning of others.
pub struct BuiltConnector {
    /// What pipelines of a signal feed.
    pub stages: Vec<(Signal, Arc<dyn Stage>)>,
    /// Tasks, if it has any.
    pub running: Arc<dyn Running>,
}

/// Builds a connector.
pub trait ConnectorPlan: Send + Sync {
    /// Signals it can emit when fed with `from`.
    fn emits(&self, from: Signal) -> &'static [Signal];
    /// `next` has an outlet for each signal that a pipeline reads from it. Called inside the runtime.
    fn build(&self, context: BuildContext, next: Outlets) -> Result<BuiltConnector, StartError>;
}

/// Starts an extension.
pub trait ExtensionPlan: Send + Sync {
    /// It can be named by `auth::authenticator` of an exporter: it registers itself when it starts.
    fn authenticates(&self) -> bool {
        false
    }
    /// It can be named by `auth::authenticator` of a listener.
    fn authenticates_clients(&self) -> bool {
        false
    }
    /// Returns once it serves.
    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>>;
    /// The directory below which queues that name this extension keep their logs; `None` where it is no storage. A
    /// relative one lies below the state directory.
    fn storage(&self) -> Option<PathBuf> {
        None
    }
}
