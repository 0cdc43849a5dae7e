//! Checked configuration to running stages: fusing, fan-out, start order, drain, reload by difference.
//!
//! A pipeline becomes: the outlets of its receivers -> fused pure processors -> an active processor and its outlet ->
//! ... -> fan-out -> per exporter and signal the queue, retry and timeout of `queue::deliver` -> the far end. A start is
//! a reload from nothing: what is the same in both configurations keeps running, what differs is built new, and the
//! outlets before it are led to their new targets. The graph knows no component by name.

mod assemble;
pub mod checked;
mod drain;
mod fan_out;
mod host;
mod nodes;
pub mod stages;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tracing::{error, info, warn};

pub use host::Host;

use self::assemble::{Assembled, assemble};
use self::checked::Checked;
use self::drain::{part, stop_all, stop_difference, stop_state, until_quiet};
use self::nodes::{Extension, Receiver, State};
use crate::component::{ComponentId, ComponentKind, ComponentState, Deadline, StartError, Taps};

/// How long a reload waits for calls under way and for the queues of what it removed.
const RELOAD_GRACE: Duration = Duration::from_secs(25);

/// The running configuration.
pub struct Graph {
    host: Host,
    state: State,
}

impl Graph {
    /// Builds and starts everything: extensions, exporters, processors, receivers. Returns once all receivers accept.
    ///
    /// # Errors
    /// The first component that could not start; what had been started before it has been stopped again.
    pub async fn start(host: Host, checked: &Checked) -> Result<Self, StartError> {
        let mut graph = Self {
            host,
            state: State::default(),
        };
        match graph.start_all(checked).await {
            Ok(()) => {
                graph.publish();
                graph.host.status.set_ready(true);
                Ok(graph)
            }
            Err(error) => {
                stop_state(&graph.state, Deadline::after(RELOAD_GRACE)).await;
                Err(error)
            }
        }
    }

    async fn start_all(&mut self, checked: &Checked) -> Result<(), StartError> {
        for id in &checked.extensions {
            if let Some(plan) = checked.component(ComponentKind::Extension, id) {
                self.state.extensions.push(Extension::start(&self.host, plan).await?);
            }
        }
        let assembled = self.build(checked).await?;
        let extensions = std::mem::take(&mut self.state.extensions);
        self.state = assembled.state;
        self.state.extensions = extensions;
        assembled.wiring.apply();
        for id in &assembled.to_start {
            if let Some(node) = self.state.receivers.get_mut(id) {
                node.start().await?;
            }
        }
        Ok(())
    }

    /// Builds the next state. What was built before a failure is stopped again, so that nothing of it stays.
    async fn build(&self, checked: &Checked) -> Result<Assembled, StartError> {
        let mut fresh = Vec::new();
        let assembled = assemble(&self.host, checked, &self.state, &mut fresh);
        if assembled.is_err() {
            stop_all(fresh, Deadline::after(Duration::from_secs(1))).await;
        }
        assembled
    }

    /// Goes over to another configuration. Components whose configuration is the same keep running: receivers their
    /// listeners, exporters their queues, processors what they hold. No call under way is cut off.
    ///
    /// # Errors
    /// A component that could not be built: then everything runs on as it was. A receiver or extension that could not
    /// start is no error of the reload: it is logged, shown as degraded, and replaced by its old configuration where it
    /// had one.
    pub async fn reload(&mut self, checked: &Checked) -> Result<(), StartError> {
        let Assembled {
            mut state,
            wiring,
            to_start,
        } = self.build(checked).await?;
        let deadline = Deadline::after(RELOAD_GRACE);
        state.extensions = self.reload_extensions(checked, deadline).await;
        let old = std::mem::take(&mut self.state);
        let retired = wiring.apply();

        let leaving = old
            .receivers
            .iter()
            .filter(|(id, _)| !state.receivers.contains_key(*id) || to_start.contains(id));
        let leaving = leaving.filter_map(|(_, node)| Some(part(&node.origin.context, node.running.as_ref()?)));
        stop_all(leaving.collect(), deadline).await;
        for id in &to_start {
            if let Some(node) = state.receivers.get_mut(id) {
                start_or_fall_back(&self.host, node, old.receivers.get(id)).await;
            }
        }

        until_quiet(retired, deadline).await;
        stop_difference(&old, &state, deadline).await;
        self.state = state;
        self.forget_what_is_gone(&old);
        self.publish();
        Ok(())
    }

    async fn reload_extensions(&self, checked: &Checked, deadline: Deadline) -> Vec<Extension> {
        let mut kept = Vec::new();
        let mut leaving = Vec::new();
        for node in &self.state.extensions {
            let plan = checked.component(ComponentKind::Extension, &node.origin.plan.id);
            let stays = checked.extensions.contains(&node.origin.plan.id)
                && plan.is_some_and(|plan| node.origin.is_same(plan))
                && node.running.is_some();
            if stays {
                kept.push(node.clone());
            } else if let Some(running) = &node.running {
                leaving.push(part(&node.origin.context, running));
            }
        }
        stop_all(leaving, deadline).await;
        let mut next = Vec::new();
        for id in &checked.extensions {
            if let Some(node) = kept.iter().find(|node| node.origin.plan.id == *id) {
                next.push(node.clone());
                continue;
            }
            let Some(plan) = checked.component(ComponentKind::Extension, id) else {
                continue;
            };
            match Extension::start(&self.host, plan).await {
                Ok(node) => next.push(node),
                Err(problem) => {
                    error!(error = %problem, "An extension could not be started by the reload.");
                    let state = ComponentState::Degraded(problem.message);
                    self.host.status.report(ComponentKind::Extension, id, state);
                }
            }
        }
        next
    }

    /// Stops everything in the order in which data flows. Health turns unready at once, and the listeners serve on for
    /// `delay`, so that a balancer has seen it before they close; then all has to be over within `grace`.
    pub async fn stop(self, delay: Duration, grace: Duration) {
        self.host.status.set_ready(false);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let components = self.state.components();
        for (kind, id) in &components {
            self.host.status.report(*kind, id, ComponentState::Stopping);
        }
        stop_state(&self.state, Deadline::after(grace)).await;
        for (kind, id) in &components {
            self.host.status.report(*kind, id, ComponentState::Stopped);
        }
    }

    /// Shows the pipelines, and as working whatever has not said otherwise about itself.
    fn publish(&self) {
        self.host.status.set_pipelines(self.state.pipelines.clone());
        for (kind, id, state) in self.host.status.components() {
            if state == ComponentState::Starting {
                self.host.status.report(kind, &id, ComponentState::Ok);
            }
        }
    }

    fn forget_what_is_gone(&self, old: &State) {
        let now = self.state.components();
        let taps = self.host.commons.get::<Taps>();
        taps.keep(|kind, id| now.contains(&(kind, id.clone())));
        for (kind, id) in old.components() {
            if !now.contains(&(kind, id.clone())) {
                self.host.status.forget(kind, &id);
                self.host.registry.forget(kind.name(), id.as_str());
                info!(otelcol.component.id = %id, otelcol.component.kind = kind.name(), "The reload removed a component.");
            }
        }
    }
}

/// Starts a receiver of a reload. Where that fails, its old configuration is better than none.
async fn start_or_fall_back(host: &Host, node: &mut Receiver, old: Option<&Receiver>) {
    let Err(problem) = node.start().await else { return };
    let id: ComponentId = node.origin.plan.id.clone();
    error!(error = %problem, "A receiver could not be started by the reload.");
    if let Some(old) = old {
        let changed = std::mem::replace(&mut node.origin.plan, old.origin.plan.clone());
        match node.start().await {
            Ok(()) => warn!(otelcol.component.id = %id, "The receiver runs on with its old configuration."),
            Err(_) => node.origin.plan = changed,
        }
    }
    let state = ComponentState::Degraded(problem.message);
    host.status.report(ComponentKind::Receiver, &id, state);
}
