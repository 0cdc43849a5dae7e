//! What is wrong where, for the status board.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::component::{BuildContext, ComponentState};

/// What the receiver says about all its shards together.
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
        let all: Vec<String> = troubles
            .iter()
            .map(|(place, trouble)| format!("{place}: {trouble}"))
            .collect();
        let state = if all.is_empty() {
            ComponentState::Ok
        } else {
            ComponentState::Degraded(all.join("; "))
        };
        self.context.status.report(self.context.kind, &self.context.id, state);
    }
}
