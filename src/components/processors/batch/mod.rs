//! `batch`: joins requests until enough items are together or the oldest has waited long enough.
//!
//! Nothing is decoded or copied (requests below 4 KiB are copied together): a batch is a list of the parts it came in.
//! Push callers are answered at once, callers that hold a cursor, and everybody with `ack: export`, when the next stage
//! has taken their data. A batch that the next stage refuses for now stays here, and new data is refused meanwhile.
//! One [`group::Group`] per combination of metadata values; this file holds configuration and the set of groups.

mod counts;
mod group;
mod leftovers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use crate::component::{
    BoxFuture, BuildContext, BuiltProcessor, ComponentKind, Deadline, Factory, Outlet, Plan, ProcessorPlan, QueueBatch,
    Refused, Running, Sizer, Stability, Stage, StartError,
};
use crate::config::Section;
use crate::config::types::GoDuration;
use crate::pdata::{Batch, Headers, Signal};
use crate::queue::Spill;
use group::{Common, Group};
use leftovers::Leftovers;

/// Whom an answer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Ack {
    /// Push callers are answered at once.
    #[default]
    Early,
    /// Everybody waits until the next stage has taken the data.
    Export,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    timeout: GoDuration,
    send_batch_size: u32,
    send_batch_max_size: u32,
    metadata_keys: Vec<String>,
    metadata_cardinality_limit: usize,
    ack: Ack,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: GoDuration(Duration::from_millis(200)),
            send_batch_size: 8192,
            send_batch_max_size: 0,
            metadata_keys: Vec::new(),
            metadata_cardinality_limit: 1000,
            ack: Ack::Early,
        }
    }
}

/// See the module text.
pub struct BatchFactory;

impl Factory for BatchFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Processor
    }

    fn type_name(&self) -> &'static str {
        "batch"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Joins requests until there are enough items or the oldest has waited long enough."
    }

    fn example(&self) -> &'static str {
        "timeout: 200ms\nsend_batch_size: 8192\nsend_batch_max_size: 16384\nmetadata_keys: [x-tenant]\n\
         metadata_cardinality_limit: 100\nack: export\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config: Config = section.read()?;
        if config.send_batch_max_size > 0 && config.send_batch_max_size < config.send_batch_size {
            section.error_at(
                "send_batch_max_size",
                format!("must be 0 or at least `send_batch_size` ({})", config.send_batch_size),
            );
        }
        if config.metadata_cardinality_limit == 0 && !config.metadata_keys.is_empty() {
            section.error_at("metadata_cardinality_limit", "must be at least 1");
        }
        let mut seen: Vec<String> = Vec::new();
        for key in &config.metadata_keys {
            let lower = key.to_ascii_lowercase();
            if seen.contains(&lower) {
                section.error_at(
                    "metadata_keys",
                    format!("{key:?} is named twice (case does not matter)"),
                );
            }
            seen.push(lower);
        }
        Some(Plan::Processor(Box::new(BatchPlan { config })))
    }
}

struct BatchPlan {
    config: Config,
}

impl ProcessorPlan for BatchPlan {
    fn build(&self, context: BuildContext, signal: Signal, next: Outlet) -> Result<BuiltProcessor, StartError> {
        let processor = Arc::new(BatchProcessor::new(&context, signal, &self.config, next));
        Ok(BuiltProcessor::Active {
            stage: Arc::clone(&processor) as Arc<dyn Stage>,
            running: processor,
        })
    }

    fn passing(&self, context: BuildContext, signal: Signal, next: Outlet) -> Option<BuiltProcessor> {
        if !Spill::new(&context, signal).has_files() {
            return None;
        }
        let mut processor = BatchProcessor::new(&context, signal, &self.config, next);
        processor.passes = true;
        let processor = Arc::new(processor);
        Some(BuiltProcessor::Active {
            stage: Arc::clone(&processor) as Arc<dyn Stage>,
            running: processor,
        })
    }

    fn batching(&self) -> Option<QueueBatch> {
        let config = &self.config;
        Some(QueueBatch {
            // A timeout of zero sends at once.
            flush_timeout: config.timeout.0.max(Duration::from_millis(1)),
            min_size: u64::from(config.send_batch_size).max(1),
            max_size: u64::from(config.send_batch_max_size),
            sizer: Sizer::Items,
            partition_keys: config.metadata_keys.clone(),
        })
    }
}

/// Values of the metadata keys, in the order of the keys.
type Key = Vec<Vec<Box<str>>>;

struct BatchProcessor {
    keys: Vec<Box<str>>,
    limit: usize,
    common: Arc<Common>,
    groups: Mutex<HashMap<Key, Arc<Group>, foldhash::fast::RandomState>>,
    /// The group of a processor without metadata keys: no map to look at.
    only: Option<Arc<Group>>,
    tasks: TaskTracker,
    /// What a stop could not hand on, and what an earlier one left.
    leftovers: Arc<Leftovers>,
    /// New data is only passed on: the batching stands behind a queue.
    passes: bool,
    stopped: OnceCell<()>,
}

impl BatchProcessor {
    fn new(context: &BuildContext, signal: Signal, config: &Config, next: Outlet) -> Self {
        let common = Arc::new(Common::new(context, signal, config, next));
        let tasks = TaskTracker::new();
        let leftovers = Arc::new(Leftovers::new(context, signal, Arc::clone(&common)));
        tasks.spawn(Arc::clone(&leftovers).hand_on());
        let only = config.metadata_keys.is_empty().then(|| {
            let group = Arc::new(Group::new(Arc::clone(&common), Headers::new()));
            tasks.spawn(Arc::clone(&group).run());
            group
        });
        Self {
            keys: config
                .metadata_keys
                .iter()
                .map(|key| key.to_ascii_lowercase().into())
                .collect(),
            limit: config.metadata_cardinality_limit,
            common,
            groups: Mutex::default(),
            only,
            tasks,
            leftovers,
            passes: false,
            stopped: OnceCell::new(),
        }
    }

    fn group_of(&self, batch: &Batch) -> Result<Arc<Group>, Refused> {
        if let Some(only) = &self.only {
            return Ok(Arc::clone(only));
        }
        let origin = batch.origin();
        let key: Key = self
            .keys
            .iter()
            .map(|key| origin.metadata_values(key).to_vec())
            .collect();
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(&key)
            && !group.has_ended()
        {
            return Ok(Arc::clone(group));
        }
        // Groups that saw nothing for a while have ended by themselves and leave room for new values.
        groups.retain(|_, group| !group.has_ended());
        if groups.len() >= self.limit {
            return Err(Refused::permanent("too many batcher metadata-value combinations"));
        }
        let metadata: Headers = self.keys.iter().cloned().zip(key.iter().cloned()).collect();
        let group = Arc::new(Group::new(Arc::clone(&self.common), metadata));
        if self.tasks.is_closed() {
            return Err(Refused::retryable("batch processor is stopping"));
        }
        self.tasks.spawn(Arc::clone(&group).run());
        groups.insert(key, Arc::clone(&group));
        self.common.counts.cardinality(groups.len());
        Ok(group)
    }
}

impl Stage for BatchProcessor {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        if self.passes {
            return Box::pin(async move { self.common.next.consume(batch).await });
        }
        Box::pin(async move {
            let mut batch = batch;
            loop {
                let group = self.group_of(&batch)?;
                match group.take(batch).await {
                    Ok(answer) => return answer,
                    // The group ended between the look-up and the offer: the next look-up makes a new one.
                    Err(given_back) => batch = given_back,
                }
            }
        })
    }
}

impl Running for BatchProcessor {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stopped.get_or_init(|| self.drain(deadline)).await;
        })
    }
}

impl BatchProcessor {
    async fn drain(&self, deadline: Deadline) {
        self.tasks.close();
        let can_leave = self.common.counts.holds_items() && self.leftovers.can_be_left().await;
        self.common.can_leave.store(can_leave, Ordering::Relaxed);
        self.common.draining.cancel();
        // Some of the time is kept for writing down what is left.
        let for_files = (deadline.remaining() / 5).min(Duration::from_secs(2));
        tokio::select! {
            () = self.tasks.wait() => {}
            () = tokio::time::sleep(deadline.remaining().saturating_sub(for_files)) => {}
            () = self.common.stop.cancelled() => {}
        }
        self.common.abort.cancel();
        self.tasks.wait().await;
        self.leftovers.leave().await;
    }
}
