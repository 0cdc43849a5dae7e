//! The dispatcher's view of what an earlier run left: found, read one record at a time, and sent before new data.

use std::sync::Arc;

use tokio::time::Instant;

use super::counts::Counts;
use super::fs::Aside;
use super::spill::{Found, LOOK_AGAIN, Recovered, Recovery, Spill};
use super::ticket::{Piece, Ticket};
use crate::component::ComponentId;

/// See the module text.
pub struct Recovering {
    exporter: ComponentId,
    spill: Arc<Spill>,
    counts: Arc<Counts>,
    state: State,
}

enum State {
    Looking(Instant),
    Reading(Box<Recovery>),
}

impl Recovering {
    /// Looks at once.
    pub fn new(exporter: ComponentId, spill: Arc<Spill>, counts: Arc<Counts>) -> Self {
        Self {
            exporter,
            spill,
            counts,
            state: State::Looking(Instant::now()),
        }
    }

    /// When to look; `None` while reading, and where there is nowhere to look.
    pub fn look_at(&self) -> Option<Instant> {
        match &self.state {
            State::Looking(at) => Some(*at).filter(|_| self.spill.has_directory()),
            State::Reading(_) => None,
        }
    }

    /// The next record that an earlier run left; `None` when there is none now.
    pub async fn next(&mut self) -> Option<Piece> {
        if let State::Looking(at) = self.state {
            if at > Instant::now() || !self.spill.has_directory() {
                return None;
            }
            self.state = self.look().await;
        }
        let State::Reading(recovery) = std::mem::replace(&mut self.state, look_later()) else {
            return None;
        };
        let (recovery, recovered) = read(self.spill.aside(), recovery).await?;
        let Some(Recovered { batch, file }) = recovered else {
            self.report_end(recovery);
            return None;
        };
        self.state = State::Reading(recovery);
        self.counts.recovered(batch.items());
        let ticket = Arc::new(Ticket::recovered(file));
        Some(Piece { batch, ticket })
    }

    async fn look(&self) -> State {
        let spill = Arc::clone(&self.spill);
        match self.spill.aside().run(move || spill.look()).await {
            Ok(Ok(Found::Records(recovery))) => {
                tracing::info!(exporter = %self.exporter, "sending what an earlier run left");
                State::Reading(recovery)
            }
            Ok(Ok(Found::NotYet)) | Err(_) => look_later(),
            Ok(Err(error)) => {
                tracing::warn!(exporter = %self.exporter, %error, "cannot look for data left by an earlier run");
                look_later()
            }
        }
    }

    fn report_end(&self, mut recovery: Box<Recovery>) {
        let lost = recovery.take_lost();
        if lost > 0 {
            self.counts.corrupt(lost);
            tracing::error!(
                exporter = %self.exporter, dropped_items = lost,
                "records left by an earlier run were damaged; the file is kept in quarantine"
            );
        }
    }

    /// What was not read yet, for the next start.
    pub fn into_rest(self) -> Option<Box<Recovery>> {
        match self.state {
            State::Looking(_) => None,
            State::Reading(recovery) => Some(recovery),
        }
    }
}

fn look_later() -> State {
    State::Looking(Instant::now() + LOOK_AGAIN)
}

/// Reads one record off the runtime.
async fn read(aside: Aside, mut recovery: Box<Recovery>) -> Option<(Box<Recovery>, Option<Recovered>)> {
    let reading = aside.run(move || {
        let recovered = recovery.next_record();
        (recovery, recovered)
    });
    // A failed task took the files with it unread: they are still there at the next look.
    reading.await.ok()
}
