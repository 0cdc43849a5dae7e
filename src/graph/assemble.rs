//! From a checked configuration, and what runs already, to the next state and its wiring.
//!
//! Nothing here changes how data flows: outlets are led to their new targets only when the whole of the next state
//! could be built ([`Wiring::apply`]), so that a failure leaves the running one as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::checked::{Checked, CheckedComponent};
use super::drain::part;
use super::fan_out::{Branch, FanOut};
use super::host::Host;
use super::nodes::{Connector, Exporter, PipelineProcessor, ProcessorBody, Receiver, State, Stoppable, serves_exactly};
use super::stages::{PanicGuard, Segment, Step, Tapped, Traced};
use crate::component::{
    BuildContext, ComponentId, ComponentKind, Counter, Delivery, Feed, Gauge, Outlet, PipelineHeads, PipelineInfo,
    Plan, QueueBatch, Retired, Stage, StartError, Taps,
};
use crate::pdata::Signal;
use crate::queue::{Place, place_for};

/// Which outlet is to lead where.
pub struct Wiring {
    traced: bool,
    leads: Vec<(Outlet, Arc<dyn Stage>)>,
}

impl Wiring {
    /// Every wired outlet is guarded: a panic behind it must end neither a connection nor a component's task.
    fn lead(&mut self, context: &BuildContext, outlet: &Outlet, to: Arc<dyn Stage>) {
        let place = format!("{} {:?}", context.kind.name(), context.id.as_str());
        let panics = context.instruments.counter(
            "radiosonde_panics_total",
            "Batches refused because a stage behind this component panicked.",
            &[],
        );
        let tap = tap(context);
        let mut stage: Arc<dyn Stage> = Arc::new(PanicGuard::before(to, place, panics, tap));
        if self.traced {
            // Outside the guard, so that a span ends well when what it covers panics.
            let name = format!("{}/{}", context.kind.name(), context.id);
            stage = Arc::new(Traced::before(stage, name));
        }
        self.leads.push((outlet.clone(), stage));
    }

    /// Leads every outlet to its new target. The answer tells when the old targets are quiet.
    pub fn apply(self) -> Vec<Retired> {
        self.leads
            .into_iter()
            .map(|(outlet, stage)| outlet.repoint(stage))
            .collect()
    }
}

/// The next state, not yet in use.
pub struct Assembled {
    pub state: State,
    pub wiring: Wiring,
    /// Receivers of `state` that do not run yet.
    pub to_start: Vec<ComponentId>,
}

/// Builds what is new or changed, takes over from `old` what is the same.
///
/// # Errors
/// The first component that cannot be built, after what was built for it has been given to `fresh` for stopping.
pub fn assemble(
    host: &Host,
    checked: &Checked,
    old: &State,
    fresh: &mut Vec<Stoppable>,
) -> Result<Assembled, StartError> {
    let mut assembly = Assembly {
        host,
        checked,
        old,
        fresh,
        state: State::default(),
    };
    assembly.state.pipelines = in_flow_order(&checked.pipelines);
    assembly.build_exporters()?;
    assembly.build_connectors()?;
    assembly.build_processors()?;
    let to_start = assembly.prepare_receivers()?;
    let wiring = assembly.wire()?;
    Ok(Assembled {
        state: assembly.state,
        wiring,
        to_start,
    })
}

/// A pipeline's name and the stage that its receivers feed.
type Head<'a> = (&'a str, Arc<dyn Stage>);

struct Assembly<'a> {
    host: &'a Host,
    checked: &'a Checked,
    old: &'a State,
    fresh: &'a mut Vec<Stoppable>,
    state: State,
}

impl Assembly<'_> {
    fn find(&self, kind: ComponentKind, id: &ComponentId) -> Option<&Arc<CheckedComponent>> {
        self.checked.component(kind, id)
    }

    /// The checked configuration has resolved every reference; said anyway, because a panic would end the process.
    fn required(&self, kind: ComponentKind, id: &ComponentId) -> Result<Arc<CheckedComponent>, StartError> {
        self.find(kind, id).cloned().ok_or_else(|| StartError {
            kind,
            id: id.clone(),
            message: "a pipeline names it, but it is not configured".to_owned(),
        })
    }

    /// Ids in pipelines' lists of one side that are components of `kind`, and the signals they are used for.
    fn used(
        &self,
        kind: ComponentKind,
        side: impl Fn(&PipelineInfo) -> &[ComponentId],
    ) -> BTreeMap<ComponentId, BTreeSet<Signal>> {
        let mut used: BTreeMap<ComponentId, BTreeSet<Signal>> = BTreeMap::new();
        for pipeline in &self.state.pipelines {
            for id in side(pipeline) {
                // A connector stands in the lists of receivers and exporters under its own id.
                let is_connector = self.find(ComponentKind::Connector, id).is_some();
                if is_connector == (kind == ComponentKind::Connector) {
                    used.entry(id.clone()).or_default().insert(pipeline.signal);
                }
            }
        }
        used
    }

    fn build_exporters(&mut self) -> Result<(), StartError> {
        for (id, signals) in self.used(ComponentKind::Exporter, |pipeline| &pipeline.exporters) {
            let plan = self.required(ComponentKind::Exporter, &id)?;
            let watchers = self.watchers_of(&id);
            let is_watched_the_same = |node: &&Exporter| {
                let now = watchers.iter().map(|watcher| &watcher.fingerprint);
                node.watched_by.iter().eq(now)
            };
            let kept = self
                .old
                .exporters
                .get(&id)
                .filter(|node| node.origin.is_same(&plan) && self.is_delivered_the_same(node, &signals))
                .filter(is_watched_the_same)
                .cloned();
            let is_kept = kept.is_some();
            let mut node = match kept {
                Some(node) => node,
                None => Exporter::build(self.host, &plan, &watchers)?,
            };
            if !is_kept {
                self.fresh.push(part(&node.origin.context, &node.running));
            }
            let unused = |signal: &Signal| !signals.contains(signal);
            node.deliveries.retain(|signal, _| !unused(signal));
            node.settings.retain(|signal, _| !unused(signal));
            for signal in &signals {
                let is_new = !node.deliveries.contains_key(signal);
                node.serve(*signal, self.delivery_of(&id, *signal).unwrap_or_default())?;
                if is_new && let Some(queued) = node.deliveries.get(signal) {
                    self.fresh.push(part(&node.origin.context, &queued.running));
                }
            }
            self.state.exporters.insert(id, node);
        }
        Ok(())
    }

    /// Processors of pipelines that are to be told of an exporter's deliveries, each once.
    fn watchers_of(&self, exporter: &ComponentId) -> Vec<Arc<CheckedComponent>> {
        let named = self.state.pipelines.iter().flat_map(|pipeline| &pipeline.processors);
        let named: BTreeSet<&ComponentId> = named.collect();
        let found = named
            .into_iter()
            .filter_map(|id| self.find(ComponentKind::Processor, id));
        let watches = |component: &&Arc<CheckedComponent>| match &component.plan {
            Plan::Processor(plan) => plan.observes().iter().any(|(_, id)| id == exporter),
            _ => false,
        };
        found.filter(watches).cloned().collect()
    }

    /// Whether queues that go on are what they would be if they were built now.
    fn is_delivered_the_same(&self, node: &Exporter, signals: &BTreeSet<Signal>) -> bool {
        let mut kept = node.settings.iter().filter(|(signal, _)| signals.contains(signal));
        kept.all(|(signal, delivery)| self.delivery_of(&node.origin.plan.id, *signal).as_ref() == Some(delivery))
    }

    /// Queue, retry and timeout of an exporter, with what other components add: the place of a storage, and what a
    /// batch processor would do that stands before a durable queue.
    fn delivery_of(&self, id: &ComponentId, signal: Signal) -> Option<Delivery> {
        let mut delivery = self.own_delivery_of(id)?;
        let queue = delivery.queue.as_mut();
        if let Some(queue) = queue.filter(|queue| queue.batch.is_none()) {
            let mut before = self.state.pipelines.iter().filter(|pipeline| {
                pipeline.signal == signal && self.leads_to(pipeline, id) && self.is_durable(pipeline)
            });
            queue.batch = before.find_map(|pipeline| self.batching_in(pipeline));
        }
        Some(delivery)
    }

    fn own_delivery_of(&self, id: &ComponentId) -> Option<Delivery> {
        let Plan::Exporter(plan) = &self.find(ComponentKind::Exporter, id)?.plan else {
            return None;
        };
        let mut delivery = plan.delivery();
        if let Some(queue) = &mut delivery.queue
            && let Some(storage) = &queue.storage
            && let Some(extension) = self.find(ComponentKind::Extension, &ComponentId::new(storage))
            && let Plan::Extension(extension) = &extension.plan
        {
            queue.storage_dir = extension.storage();
        }
        Some(delivery)
    }

    /// The pipelines that a pipeline feeds by connectors.
    fn fed_by<'b>(&'b self, pipeline: &'b PipelineInfo) -> impl Iterator<Item = &'b PipelineInfo> {
        let is_connector = |id: &&ComponentId| self.find(ComponentKind::Connector, id).is_some();
        let feeds = move |to: &PipelineInfo| {
            let connectors = pipeline.exporters.iter().filter(is_connector);
            connectors.into_iter().any(|id| to.receivers.contains(id))
        };
        let others = self.state.pipelines.iter().filter(|to| to.name != pipeline.name);
        others.filter(move |to| feeds(to))
    }

    /// What a pipeline takes ends in a durable queue, at once or behind connectors. Those lead nowhere round.
    fn is_durable(&self, pipeline: &PipelineInfo) -> bool {
        let is_durable = |id: &ComponentId| {
            let queue = self.own_delivery_of(id).and_then(|delivery| delivery.queue);
            let context = self.host.context(ComponentKind::Exporter, id);
            queue.is_some_and(|queue| matches!(place_for(&context, &queue, pipeline.signal), Place::Log(..)))
        };
        pipeline.exporters.iter().any(is_durable) || self.fed_by(pipeline).any(|next| self.is_durable(next))
    }

    fn leads_to(&self, pipeline: &PipelineInfo, id: &ComponentId) -> bool {
        pipeline.exporters.contains(id) || self.fed_by(pipeline).any(|next| self.leads_to(next, id))
    }

    /// What the first of a pipeline's processors that only batches does.
    fn batching_in(&self, pipeline: &PipelineInfo) -> Option<QueueBatch> {
        pipeline.processors.iter().find_map(|id| self.batching_of(id))
    }

    fn batching_of(&self, id: &ComponentId) -> Option<QueueBatch> {
        match &self.find(ComponentKind::Processor, id)?.plan {
            Plan::Processor(plan) => plan.batching(),
            _ => None,
        }
    }

    fn build_connectors(&mut self) -> Result<(), StartError> {
        let fed = self.used(ComponentKind::Connector, |pipeline| &pipeline.exporters);
        let feeding = self.used(ComponentKind::Connector, |pipeline| &pipeline.receivers);
        let nothing = BTreeSet::new();
        for id in fed.keys().chain(feeding.keys()).collect::<BTreeSet<_>>() {
            let plan = self.required(ComponentKind::Connector, id)?;
            let emits = feeding.get(id).unwrap_or(&nothing);
            let kept = self.old.connectors.get(id);
            let kept = kept.filter(|node| node.origin.is_same(&plan) && serves_exactly(&node.outlets, emits));
            let node = match kept {
                Some(node) => node.clone(),
                None => {
                    let node = Connector::build(self.host, &plan, emits)?;
                    self.fresh.push(part(&node.origin.context, &node.running));
                    node
                }
            };
            self.state.connectors.insert(id.clone(), node);
        }
        Ok(())
    }

    fn build_processors(&mut self) -> Result<(), StartError> {
        for pipeline in self.state.pipelines.clone() {
            let is_durable = self.is_durable(&pipeline);
            for id in &pipeline.processors {
                let key = (pipeline.name.clone(), id.clone());
                let plan = self.required(ComponentKind::Processor, id)?;
                let passes = is_durable && self.batching_of(id).is_some();
                let kept = self.old.processors.get(&key);
                let kept = kept.filter(|node| node.origin.is_same(&plan) && node.passes == passes);
                let node = match kept {
                    Some(node) => node.clone(),
                    None => {
                        let node = PipelineProcessor::build(self.host, &plan, pipeline.signal, passes)?;
                        if let ProcessorBody::Active { running, .. } = &node.body {
                            self.fresh.push(part(&node.origin.context, running));
                        }
                        node
                    }
                };
                self.state.processors.insert(key, node);
            }
        }
        Ok(())
    }

    fn prepare_receivers(&mut self) -> Result<Vec<ComponentId>, StartError> {
        let mut to_start = Vec::new();
        for (id, signals) in self.used(ComponentKind::Receiver, |pipeline| &pipeline.receivers) {
            let plan = self.required(ComponentKind::Receiver, &id)?;
            let kept = self.old.receivers.get(&id).filter(|node| {
                node.running.is_some() && node.origin.is_same(&plan) && serves_exactly(&node.outlets, &signals)
            });
            let node = match kept {
                Some(node) => node.clone(),
                None => {
                    to_start.push(id.clone());
                    Receiver::prepare(self.host, &plan, &signals)
                }
            };
            self.state.receivers.insert(id, node);
        }
        Ok(to_start)
    }

    fn wire(&mut self) -> Result<Wiring, StartError> {
        let mut wiring = Wiring {
            traced: self.host.traced,
            leads: Vec::new(),
        };
        let mut heads: BTreeMap<(ComponentId, Signal), Vec<Head<'_>>> = BTreeMap::new();
        for pipeline in &self.state.pipelines {
            let head = self.wire_pipeline(pipeline, &mut wiring)?;
            self.lead_feeders(pipeline, &head, &mut wiring);
            for id in &pipeline.receivers {
                heads
                    .entry((id.clone(), pipeline.signal))
                    .or_default()
                    .push((&pipeline.name, Arc::clone(&head)));
            }
        }
        for ((id, signal), pipelines) in heads {
            let feeder = match self.state.connectors.get(&id) {
                Some(node) => Some((&node.origin.context, &node.outlets)),
                None => self
                    .state
                    .receivers
                    .get(&id)
                    .map(|node| (&node.origin.context, &node.outlets)),
            };
            if let Some((context, outlets)) = feeder
                && let Some(outlet) = outlets.get(signal)
            {
                let branch = |(name, stage)| Branch {
                    stage,
                    ahead: ahead(context, &[("pipeline", name), ("data_type", signal.name())]),
                };
                let branches = pipelines.into_iter().map(branch).collect();
                wiring.lead(context, outlet, FanOut::to(branches, &self.host.registry));
            }
        }
        Ok(wiring)
    }

    /// Processors that feed a pipeline by its name.
    fn lead_feeders(&self, pipeline: &PipelineInfo, head: &Arc<dyn Stage>, wiring: &mut Wiring) {
        let heads = self.host.commons.get::<PipelineHeads>();
        let feeds = |node: &&PipelineProcessor| match &node.origin.plan.plan {
            Plan::Processor(plan) => plan.feeds().iter().any(|(_, name)| *name == pipeline.name),
            _ => false,
        };
        if let Some(node) = self.state.processors.values().find(feeds) {
            wiring.lead(&node.origin.context, &heads.of(&pipeline.name), Arc::clone(head));
        }
    }

    /// From the exporters back to the first processor: gives the stage that receivers feed.
    fn wire_pipeline(&self, pipeline: &PipelineInfo, wiring: &mut Wiring) -> Result<Arc<dyn Stage>, StartError> {
        let mut targets = Vec::with_capacity(pipeline.exporters.len());
        for id in &pipeline.exporters {
            targets.push(self.far_side(id, pipeline.signal)?);
        }
        let mut next = FanOut::to(targets, &self.host.registry);
        let mut steps = Vec::new();
        let mut enters: Option<Counter> = None;
        for id in pipeline.processors.iter().rev() {
            let Some(node) = self.state.processors.get(&(pipeline.name.clone(), id.clone())) else {
                continue;
            };
            match &node.body {
                ProcessorBody::Pure { processor, duration } => steps.insert(
                    0,
                    Step {
                        processor: Arc::clone(processor),
                        duration: duration.clone(),
                        incoming: node.incoming.clone(),
                        outgoing: node.outgoing.clone(),
                        in_flight: node.in_flight.clone(),
                        tap: tap(&node.origin.context),
                    },
                ),
                ProcessorBody::Active { stage, outlet, .. } => {
                    let behind = Segment {
                        left: Some(node.outgoing.clone()),
                        steps: std::mem::take(&mut steps),
                        enters: enters.replace(node.incoming.clone()),
                        next,
                        registry: self.host.registry.clone(),
                    };
                    wiring.lead(&node.origin.context, outlet, behind.into_stage());
                    next = Arc::clone(stage);
                }
            }
        }
        let head = Segment {
            left: None,
            steps,
            enters,
            next,
            registry: self.host.registry.clone(),
        };
        Ok(head.into_stage())
    }

    fn far_side(&self, id: &ComponentId, signal: Signal) -> Result<Branch, StartError> {
        let data_type = [("data_type", signal.name())];
        if let Some(connector) = self.state.connectors.get(id) {
            return Ok(Branch {
                stage: connector.stage(signal)?,
                ahead: ahead(&connector.origin.context, &data_type),
            });
        }
        let exporter = self.state.exporters.get(id);
        let delivery = exporter.and_then(|node| Some((node, node.deliveries.get(&signal)?)));
        delivery
            .map(|(node, queued)| Branch {
                stage: Arc::new(Tapped::before(Arc::clone(&queued.stage), tap(&node.origin.context))),
                ahead: ahead(&node.origin.context, &data_type),
            })
            .ok_or_else(|| StartError {
                kind: ComponentKind::Exporter,
                id: id.clone(),
                message: format!("has no delivery for {signal}"),
            })
    }
}

/// Where one looks on at a component.
fn tap(context: &BuildContext) -> Arc<Feed> {
    context.commons.get::<Taps>().of(context.kind, &context.id)
}

/// What a branch of a fan-out took while another refused. The queue counts there too, what a sender gave up on.
fn ahead(context: &BuildContext, labels: &[(&'static str, &str)]) -> Gauge {
    context.instruments.taken_though_refused(labels)
}

/// Pipelines that feed others (by a connector) before those they feed. The checked configuration has no cycles; if one
/// came through, its pipelines would stand last in the order of the file.
fn in_flow_order(pipelines: &[PipelineInfo]) -> Vec<PipelineInfo> {
    let mut waiting: Vec<&PipelineInfo> = pipelines.iter().collect();
    let mut ordered = Vec::with_capacity(pipelines.len());
    while !waiting.is_empty() {
        let feeds = |from: &PipelineInfo, to: &PipelineInfo| {
            from.name != to.name && from.exporters.iter().any(|id| to.receivers.contains(id))
        };
        let (ready, blocked): (Vec<&PipelineInfo>, Vec<&PipelineInfo>) = waiting
            .iter()
            .partition(|to| !waiting.iter().any(|from| feeds(from, to)));
        if ready.is_empty() {
            ordered.extend(blocked.into_iter().cloned());
            break;
        }
        ordered.extend(ready.into_iter().cloned());
        waiting = blocked;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str, receivers: &[&str], exporters: &[&str]) -> PipelineInfo {
        let ids = |names: &[&str]| names.iter().map(|name| ComponentId::new(name)).collect();
        PipelineInfo {
            name: name.to_owned(),
            signal: Signal::Logs,
            receivers: ids(receivers),
            processors: Vec::new(),
            exporters: ids(exporters),
        }
    }

    fn order(pipelines: &[PipelineInfo]) -> Vec<String> {
        in_flow_order(pipelines)
            .into_iter()
            .map(|pipeline| pipeline.name)
            .collect()
    }

    #[test]
    fn a_pipeline_that_feeds_another_comes_first() {
        let pipelines = [
            pipeline("logs/c", &["forward/2"], &["nop"]),
            pipeline("logs/b", &["forward/1"], &["forward/2"]),
            pipeline("logs/a", &["otlp"], &["forward/1"]),
        ];
        assert_eq!(order(&pipelines), ["logs/a", "logs/b", "logs/c"]);
    }

    #[test]
    fn a_cycle_ends_the_ordering_and_loses_no_pipeline() {
        let pipelines = [pipeline("logs/a", &["x"], &["y"]), pipeline("logs/b", &["y"], &["x"])];
        assert_eq!(order(&pipelines).len(), 2);
    }
}
