//! Stopping, in the order in which data flows, before a deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::nodes::{ProcessorBody, State, Stoppable};
use crate::component::{BuildContext, ComponentId, Deadline, Retired, Running};

/// How long a component that does not obey its deadline is waited for once it has been told to end at once.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Stops all of these side by side. Whoever has not come back at the deadline is told to end at once, and left behind
/// if it does not.
pub async fn stop_all(parts: Vec<Stoppable>, deadline: Deadline) {
    let mut stopping = JoinSet::new();
    for part in parts {
        stopping.spawn(async move {
            let context = part.context;
            let stop = part.running.stop(deadline);
            tokio::pin!(stop);
            let in_time = tokio::time::timeout_at(deadline.0, &mut stop).await.is_ok();
            if !in_time {
                warn!(
                    otelcol.component.id = %context.id,
                    otelcol.component.kind = context.kind.name(),
                    "The component did not stop in time and is ended."
                );
                context.stop.cancel();
                let _gone = tokio::time::timeout(LAST_WORDS, stop).await;
            }
        });
    }
    // A panic while stopping has been reported by the panic hook; the others still stop.
    while stopping.join_next().await.is_some() {}
}

/// Waits until no call passes through what outlets led to before.
pub async fn until_quiet(mut retired: Vec<Retired>, deadline: Deadline) {
    // Asked every millisecond: the alternative is a notification on the path of every batch.
    while Instant::now() < deadline.0 {
        retired.retain(|old| !old.is_quiet());
        if retired.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    warn!(
        calls = retired.len(),
        "Calls under way did not end before the deadline of the reload."
    );
}

/// Receivers get a third of the grace: the rest belongs to what they have already taken.
fn receivers_deadline(deadline: Deadline) -> Deadline {
    Deadline::after(deadline.remaining() / 3)
}

/// Everything of `state`, receivers first, extensions last.
pub async fn stop_state(state: &State, deadline: Deadline) {
    let receivers = state.receivers.values();
    let receivers = receivers.filter_map(|node| Some((&node.origin.context, node.running.as_ref()?)));
    stop_all(
        receivers.map(|(context, running)| part(context, running)).collect(),
        receivers_deadline(deadline),
    )
    .await;

    stop_processors(state, |_| true, deadline).await;

    let connectors = state.connectors.values();
    stop_all(
        connectors
            .map(|node| part(&node.origin.context, &node.running))
            .collect(),
        deadline,
    )
    .await;

    let mut queues = Vec::new();
    for node in state.exporters.values() {
        queues.extend(
            node.deliveries
                .values()
                .map(|queued| part(&node.origin.context, &queued.running)),
        );
    }
    stop_all(queues, deadline).await;

    let exporters = state.exporters.values();
    // Queues had all the time there was; closing a file or a connection is still allowed a moment.
    let closing = Deadline(deadline.0.max(Instant::now() + LAST_WORDS));
    stop_all(
        exporters
            .map(|node| part(&node.origin.context, &node.running))
            .collect(),
        closing,
    )
    .await;

    let extensions = state.extensions.iter().rev();
    let extensions = extensions.filter_map(|node| Some((&node.origin.context, node.running.as_ref()?)));
    stop_all(
        extensions.map(|(context, running)| part(context, running)).collect(),
        closing,
    )
    .await;
}

/// The active processors of `state` for which `goes` holds, in the order of flow: what one flushes the next takes.
pub async fn stop_processors(state: &State, goes: impl Fn(&(String, ComponentId)) -> bool, deadline: Deadline) {
    for pipeline in &state.pipelines {
        for id in &pipeline.processors {
            let key = (pipeline.name.clone(), id.clone());
            let Some(node) = state.processors.get(&key).filter(|_| goes(&key)) else {
                continue;
            };
            if let ProcessorBody::Active { running, .. } = &node.body {
                stop_all(vec![part(&node.origin.context, running)], deadline).await;
            }
        }
    }
}

/// What `old` had and `new` has not, receivers excepted: stopped in the order of flow.
pub async fn stop_difference(old: &State, new: &State, deadline: Deadline) {
    let replaced = |key: &(String, ComponentId)| {
        let kept = old.processors.get(key).zip(new.processors.get(key));
        !kept.is_some_and(|(before, after)| before.body.is(&after.body))
    };
    stop_processors(old, replaced, deadline).await;

    let mut connectors = Vec::new();
    for (id, node) in &old.connectors {
        let kept = new
            .connectors
            .get(id)
            .is_some_and(|after| Arc::ptr_eq(&after.running, &node.running));
        if !kept {
            connectors.push(part(&node.origin.context, &node.running));
        }
    }
    stop_all(connectors, deadline).await;

    let mut queues = Vec::new();
    let mut exporters = Vec::new();
    for (id, node) in &old.exporters {
        let after = new.exporters.get(id);
        let kept = after.filter(|after| Arc::ptr_eq(&after.far_end, &node.far_end));
        for (signal, queued) in &node.deliveries {
            if !kept.is_some_and(|after| after.deliveries.contains_key(signal)) {
                queues.push(part(&node.origin.context, &queued.running));
            }
        }
        if kept.is_none() {
            exporters.push(part(&node.origin.context, &node.running));
        }
    }
    stop_all(queues, deadline).await;
    stop_all(exporters, deadline).await;
}

/// One thing to stop, with the context whose token ends it.
pub fn part(context: &BuildContext, running: &Arc<dyn Running>) -> Stoppable {
    Stoppable {
        context: context.clone(),
        running: Arc::clone(running),
    }
}
