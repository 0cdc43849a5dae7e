//! One account in one region: windows from the cursor on, the traces in them, what is due, the sweep.
//!
//! The cursor moves, in the transaction that remembers the window's traces, when the pipeline has taken all of them. A
//! window that ends early (a stop, an error, a refusal) remembers what was taken: the next try does not bring it again.

mod aside;
mod hand_on;
mod logged;
mod pass;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::pass::Job;
use super::CALLS;
use super::budget::{self, Budget};
use super::config::{Config, Mode, StartFrom};
use super::emit::Emitter;
use super::seen::trace_key;
use super::signals::Signals;
use super::state::{Commit, Due, State, StateError, day_of};
use super::steps::{Step, Steps};
use super::telemetry::Counts;
use super::windows::Cutter;
use crate::aws::shards::Health;
use crate::aws::xray::api::listing::{Listed, RangeType, list};
use crate::aws::xray::api::{Clients, Names, Window};
use crate::aws::{Access, Failure, Place};
use crate::component::{BuildContext, Outlets, ReceiverCounts};
use crate::pdata::Decoded;

/// Credentials are read anew at most so often.
const RENEW_S: u64 = 60;

/// What all shards of a receiver have in common.
#[derive(Clone)]
pub struct Shared {
    pub config: Arc<Config>,
    pub context: BuildContext,
    pub outlets: Outlets,
    pub health: Arc<Health>,
    pub steps: Steps,
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error("told to stop")]
    Quit,
    #[error("{0}")]
    Aws(#[from] Failure),
    #[error("{0}")]
    State(#[from] StateError),
}

/// Polls one account and region.
pub struct Shard {
    shared: Shared,
    place: Place,
    access: Arc<Access>,
    clients: Arc<Clients>,
    state: Arc<State>,
    counts: Counts,
    received: ReceiverCounts,
    emitter: Emitter,
    signals: Signals,
    budget: Budget,
    cutter: Cutter,
    quit: CancellationToken,
    cursor: u64,
    due: BTreeMap<String, Due>,
    /// Where the sweep stands, and where it ends; both the same: it is over.
    sweep: (u64, u64),
    swept_at: u64,
    retrieves: bool,
    /// The log group cannot be read.
    without_log: bool,
    /// Up to here the log group was looked at a second time.
    looked: u64,
    destination_at: Option<u64>,
    renewed_at: u64,
    told: Option<String>,
    told_short: bool,
}

impl Shard {
    /// Opens the state of a place.
    ///
    /// # Errors
    /// When the state can be neither opened nor begun.
    pub async fn open(
        shared: Shared,
        access: Arc<Access>,
        place: Place,
        quit: CancellationToken,
    ) -> Result<Self, StateError> {
        let (config, context) = (Arc::clone(&shared.config), shared.context.clone());
        let name = file_name(context.id.as_str(), &place.name());
        let path = context
            .state_dir
            .as_ref()
            .map(|folder| folder.join(&config.state_path).join(name));
        let opened = tokio::task::spawn_blocking(move || State::open(path.as_deref()));
        let (state, told) = opened.await.map_err(|error| StateError(error.to_string()))??;
        if let Some(told) = told {
            tracing::error!(receiver = %context.id, region = %place.region, trouble = %told,
                "what was handed on is forgotten: traces that change may come again");
        }
        if !state.is_durable() {
            tracing::warn!(receiver = %context.id, "no state directory: a restart begins anew and hands on late \
                segments with their whole trace");
        }
        let sdk = access.config(&place).await;
        let account = place
            .role
            .as_ref()
            .and_then(|role| crate::aws::access::account_of_arn(&role.role_arn));
        let names = Names {
            calls: CALLS,
            account: account.unwrap_or_default(),
            region: place.region.as_str(),
        };
        let clients = Clients::new(&access, &sdk, names, config.rate, &context);
        let now = context.clock.now().seconds();
        let number = |name: &str| state.number(name);
        let cursor = match (config.start_from, number("cursor")?) {
            (StartFrom::Checkpoint, Some(cursor)) => cursor,
            (StartFrom::Checkpoint, None) => now.saturating_sub(config.settle),
            (StartFrom::Back(back), _) => now.saturating_sub(config.settle + back),
        };
        // A start that ends before its first window has begun here all the same.
        let begun: Vec<(&'static str, u64)> = ["cursor", "looked", "graph", "processed"]
            .into_iter()
            .filter(|name| !matches!(number(name), Ok(Some(_))))
            .map(|name| (name, cursor))
            .collect();
        if !begun.is_empty() {
            state.commit(&Commit {
                numbers: begun,
                ..Commit::default()
            })?;
        }
        let sweep = (number("sweep_from")?.unwrap_or(0), number("sweep_to")?.unwrap_or(0));
        let swept_at = number("swept_at")?.unwrap_or(now);
        let spent = |name| number(name).map(Option::unwrap_or_default);
        let budget = Budget::new(config.budget, spent("day")?, spent("scanned")?, spent("retrieved")?);
        let due = state.due()?;
        let graph_cursor = number("graph")?.unwrap_or(cursor);
        let processed = number("processed")?.unwrap_or(cursor);
        let looked = number("looked")?.unwrap_or(cursor);
        Ok(Self {
            counts: Counts::new(&context.instruments, &place.region),
            received: context.instruments.receiver("aws"),
            emitter: Emitter::new(config.options.clone()),
            signals: Signals::new(&config, &place.region, graph_cursor, processed),
            budget,
            cutter: Cutter::new(config.settle, config.max_window, config.poll_interval),
            retrieves: config.mode == Mode::Retrieval,
            without_log: false,
            looked,
            clients: Arc::new(clients),
            state: Arc::new(state),
            shared,
            place,
            access,
            quit,
            cursor,
            due,
            sweep,
            swept_at,
            destination_at: None,
            renewed_at: 0,
            told: None,
            told_short: false,
        })
    }

    fn now(&self) -> u64 {
        self.clients.now()
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Rounds until told to stop.
    pub async fn run(mut self) {
        while !self.quit.is_cancelled() {
            let result = self.round().await;
            let wait = match &result {
                Err(Stop::Quit) => return,
                Ok(()) => {
                    self.tell(None);
                    let until = self.cutter.wait(self.cursor, self.now());
                    Duration::from_secs(until.max(self.config().poll_interval))
                }
                Err(stop) => {
                    self.tell(Some(stop.to_string()));
                    Duration::from_secs(self.config().poll_interval)
                }
            };
            let clock = Arc::clone(&self.shared.context.clock);
            tokio::select! {
                () = self.quit.cancelled() => return,
                () = clock.sleep(wait) => {}
            }
        }
    }

    /// Everything that can be read now.
    ///
    /// # Errors
    /// What ended it early; what had been handed on by then is remembered.
    pub async fn round(&mut self) -> Result<(), Stop> {
        let result = self.round_once().await;
        if let Err(Stop::Aws(Failure::Expired)) = &result
            && self.renew().await
        {
            return self.round_once().await;
        }
        result
    }

    async fn round_once(&mut self) -> Result<(), Stop> {
        self.look_at_the_destination().await?;
        self.fetch_what_is_due().await?;
        while let Some(window) = self.cutter.next(self.cursor, self.now()) {
            if self.reads_log() {
                self.log_window(window).await?;
            } else {
                self.window(window).await?;
            }
        }
        self.look_again().await?;
        self.sweep_on().await?;
        let now = self.now();
        self.counts.lag.set(now.saturating_sub(self.cursor) as f64);
        self.say_what_it_costs();
        let (clients, config) = (Arc::clone(&self.clients), Arc::clone(&self.shared.config));
        let Some(outlet) = self.shared.outlets.metrics.clone() else {
            return Ok(());
        };
        if let Some(request) = self.signals.round(&clients, &config, now).await? {
            self.hand_on(&outlet, Decoded::Metrics(request)).await?;
        }
        if self.signals.has_moved() {
            let numbers = self.signals.cursors();
            self.commit(Commit {
                numbers,
                ..Commit::default()
            })
            .await?;
        }
        self.signals.acknowledge();
        Ok(())
    }

    /// One window of changes: listed to its end, fetched, handed on, remembered.
    async fn window(&mut self, window: Window) -> Result<(), Stop> {
        let listed = match self.list(window, RangeType::Event).await {
            Err(Stop::Aws(Failure::Refused { code, message })) if self.cutter.narrow() => {
                tracing::info!(receiver = %self.shared.context.id, %code, %message, seconds = window.to - window.from,
                    "X-Ray refused a window; trying a narrower one");
                return Ok(());
            }
            other => other?,
        };
        self.shared.steps.over(Step::Listed).await;
        let count = listed.len();
        let jobs = self.jobs(listed).await?;
        self.pass(jobs, Some(("cursor", window.to))).await?;
        self.cursor = window.to;
        self.shared.steps.over(Step::Moved).await;
        self.cutter.drained(count);
        Ok(())
    }

    async fn list(&mut self, window: Window, kind: RangeType) -> Result<Vec<Listed>, Stop> {
        let share = self.budget.scan_share(self.now());
        let listing = list(
            &self.clients,
            &self.shared.config.filter,
            window,
            kind,
            share,
            &self.shared.context.clock,
        );
        let listing = tokio::select! {
            () = self.quit.cancelled() => return Err(Stop::Quit),
            listing = listing => listing,
        };
        // What was scanned is billed even if the last page failed.
        self.counts.scanned.add(listing.scanned);
        self.counts.throttled.add(listing.throttled);
        self.budget.add(self.now(), listing.scanned, 0);
        if let Some(failure) = listing.failure {
            return Err(failure.into());
        }
        if kind == RangeType::Event && self.shared.config.filter.is_empty() {
            self.signals.processed(window, listing.scanned, share);
        }
        Ok(listing.traces)
    }

    async fn jobs(&mut self, listed: Vec<Listed>) -> Result<Vec<Job>, Stop> {
        let keys: Vec<u64> = listed.iter().map(|listed| trace_key(&listed.id)).collect();
        let state = Arc::clone(&self.state);
        let known = blocking(move || state.known(&keys)).await?;
        let jobs = listed.into_iter().zip(known);
        Ok(jobs
            .map(|(listed, known)| Job {
                listed,
                known,
                close: false,
            })
            .collect())
    }

    /// Traces whose time has come: open for too long, or not processed before.
    async fn fetch_what_is_due(&mut self) -> Result<(), Stop> {
        let now = self.now();
        let mut listed = Vec::new();
        let mut forgotten = BTreeMap::new();
        for (id, due) in &self.due {
            if now.saturating_sub(due.since) > self.config().keep {
                forgotten.insert(id.clone(), None);
            } else if due.at <= now {
                listed.push(Listed {
                    id: id.clone(),
                    revision: None,
                    partial: false,
                    start: due.since.saturating_sub(self.config().keep),
                    end: now,
                });
            }
        }
        if !forgotten.is_empty() {
            tracing::error!(receiver = %self.shared.context.id, traces = forgotten.len(),
                "traces could not be retrieved as long as they were waited for; they are given up");
            self.counts.given_up.add(forgotten.len() as u64);
            self.commit(Commit {
                due: forgotten,
                ..Commit::default()
            })
            .await?;
        }
        if listed.is_empty() {
            return Ok(());
        }
        let mut jobs = self.jobs(listed).await?;
        for job in &mut jobs {
            job.close = self.due.get(&job.listed.id).is_some_and(|due| due.open);
        }
        self.pass(jobs, None).await
    }

    /// One transaction; what is due is known here too.
    async fn commit(&mut self, mut commit: Commit) -> Result<(), Stop> {
        let now = self.now();
        commit.forget_before = day_of(now.saturating_sub(self.config().keep));
        commit.forget_spans_before = day_of(now.saturating_sub(self.config().sweep_window + logged::KEEP_S));
        // What is read by other means than the log group needs no second look.
        let cursor = commit.numbers.iter().find(|(name, _)| *name == "cursor");
        if let Some((_, cursor)) = cursor.copied()
            && !self.reads_log()
        {
            commit.numbers.push(("looked", cursor));
        }
        let (day, scanned, retrieved) = self.budget.spent();
        commit
            .numbers
            .extend([("day", day), ("scanned", scanned), ("retrieved", retrieved)]);
        let state = Arc::clone(&self.state);
        let due = commit.due.clone();
        let remembered = blocking(move || {
            state.commit(&commit)?;
            state.traces()
        });
        self.counts.remembered.set(remembered.await? as f64);
        self.shared.steps.over(Step::Written).await;
        for (id, entry) in due {
            match entry {
                Some(entry) => self.due.insert(id, entry),
                None => self.due.remove(&id),
            };
        }
        let open = self.due.values().filter(|due| due.open).count();
        self.counts.held.set(open as f64);
        self.counts.parked.set((self.due.len() - open) as f64);
        Ok(())
    }

    async fn renew(&mut self) -> bool {
        let now = self.shared.context.clock.now().seconds();
        if now.saturating_sub(self.renewed_at) < RENEW_S {
            return false;
        }
        self.renewed_at = now;
        tracing::info!(receiver = %self.shared.context.id, region = %self.place.region,
            "the AWS credentials have expired; reading them anew");
        self.access = Arc::new(self.access.renewed().await);
        let sdk = self.access.config(&self.place).await;
        let access = Arc::clone(&self.access);
        if let Some(clients) = Arc::get_mut(&mut self.clients) {
            clients.renew(&access, &sdk);
        }
        true
    }

    fn say_what_it_costs(&mut self) {
        let now = self.now();
        let reads = self.counts.scanned.value() + self.counts.fetched.value();
        self.counts.cost.set(budget::cost(reads));
        let short = self.budget.is_short(now);
        self.counts.short.set(f64::from(u8::from(short)));
        if short && !self.told_short {
            tracing::warn!(receiver = %self.shared.context.id, region = %self.place.region,
                share = self.budget.scan_share(now),
                "the budget of the day would not last: only a share of the traces is read until midnight UTC");
        }
        self.told_short = short;
    }

    /// Reports and logs a trouble when it changes.
    fn tell(&mut self, trouble: Option<String>) {
        if trouble != self.told {
            let (receiver, region) = (&self.shared.context.id, &self.place.region);
            match &trouble {
                Some(trouble) => {
                    tracing::warn!(receiver = %receiver, region = %region, %trouble, "reading X-Ray has trouble; \
                        nothing is lost yet");
                }
                None => tracing::info!(receiver = %receiver, region = %region, "reading X-Ray works again"),
            }
            self.told.clone_from(&trouble);
        }
        self.shared.health.report(&self.place.name(), trouble);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StateError> + Send + 'static) -> Result<T, Stop> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StateError(error.to_string()))?
        .map_err(Stop::State)
}

/// A file's name for one receiver and place.
fn file_name(id: &str, place: &str) -> String {
    let plain = |text: &str| -> String {
        let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        text.chars().map(letter).collect()
    };
    // The hash keeps apart what looks the same after that.
    let hash = trace_key(&format!("{id} {place}"));
    format!("{}-{}-{hash:016x}.redb", plain(id), plain(place))
}
