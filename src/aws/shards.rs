//! What the shards (one account in one region) of a receiver have in common: one word about their health, one stop.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::component::{BoxFuture, BuildContext, ComponentState, Deadline, Running};

/// The troubles of a receiver by place.
pub struct Health {
    context: BuildContext,
    troubles: Mutex<BTreeMap<String, String>>,
}

impl Health {
    pub fn new(context: BuildContext) -> Self {
        Self {
            context,
            troubles: Mutex::default(),
        }
    }

    /// What is wrong at a place; `None`: nothing any more.
    pub fn report(&self, place: &str, trouble: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => troubles.insert(place.to_owned(), trouble),
            None => troubles.remove(place),
        };
        let state = if troubles.is_empty() {
            ComponentState::Ok
        } else {
            let all: Vec<String> = troubles
                .iter()
                .map(|(place, trouble)| format!("{place}: {trouble}"))
                .collect();
            ComponentState::Degraded(all.join("; "))
        };
        self.context.status.report(self.context.kind, &self.context.id, state);
    }
}

/// The tasks of a receiver's shards: told to end, and waited for.
#[derive(Default)]
pub struct ShardTasks {
    pub quit: CancellationToken,
    pub tasks: TaskTracker,
}

impl Running for ShardTasks {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.quit.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(deadline.remaining(), self.tasks.wait()).await;
        })
    }
}
