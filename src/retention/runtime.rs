//! Span retention at work for one processor: the ledger and who writes it to the disk, and the auditor's schedule.
//!
//! One id is one of these, in however many pipelines it stands. Its exporters may deliver after it has been stopped:
//! what they acknowledge then is written at once.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::archive::{Archive, ArchiveError, Day, Found, Page, Spent, TraceId};
use super::auditor::books::Books;
use super::auditor::report::{Report, days};
use super::auditor::telemetry::Telemetry;
use super::auditor::{Auditor, Shard, Side};
use super::ledger::{Entry, Ledger, Row};
use super::noter::{Awaited, Noter};
use super::settings::Settings;
use super::state::State;
use crate::aws::Access;
use crate::aws::shards::Health;
use crate::component::{
    BoxFuture, BuildContext, Clock, ComponentId, Counter, Deadline, DeliveryObserver, LimitedLog, Outlet,
    PipelineHeads, Running, StartError,
};
use crate::pdata::Batch;
use crate::queue::fs::{Aside, Fs, RealFs};

/// Between two writes of the ledger.
const FLUSH: Duration = Duration::from_secs(1);
/// Between two looks at the sampling rules.
const SAMPLING: Duration = Duration::from_secs(300);
const LISTS: &str = "lists";

/// Those of the process, by id and configuration.
#[derive(Default)]
pub struct Runtimes(Mutex<HashMap<(String, u64), Weak<Runtime>>>);

/// See the module text.
pub struct Runtime {
    settings: Arc<Settings>,
    context: BuildContext,
    ledgers: Vec<Arc<Ledger>>,
    sides: Vec<Side>,
    /// Which side is which exporter's.
    noted: Vec<(ComponentId, usize)>,
    lists: PathBuf,
    awaited: Arc<Awaited>,
    errors: Counter,
    users: AtomicUsize,
    quit: CancellationToken,
    tasks: TaskTracker,
}

/// The ledgers of a configuration.
pub struct Sides {
    pub ledgers: Vec<Arc<Ledger>>,
    pub sides: Vec<Side>,
    /// Which side is which exporter's.
    pub noted: Vec<(ComponentId, usize)>,
}

/// The archives of a configuration that are known by what was acknowledged; their ledgers lie below `state_dir`.
///
/// # Errors
/// When a folder cannot be made.
pub fn sides_of(settings: &Settings, state_dir: &Path, fs: &Arc<dyn Fs>, only_reads: bool) -> std::io::Result<Sides> {
    let (mut ledgers, mut sides, mut noted) = (Vec::new(), Vec::new(), Vec::new());
    for wanted in &settings.ledgers {
        let names: Vec<&str> = wanted.exporters.iter().map(ComponentId::as_str).collect();
        let dir = state_dir.join(&wanted.path);
        let ledger = match only_reads {
            true => Ledger::to_read(Arc::clone(fs), &dir, &names),
            false => Ledger::open(Arc::clone(fs), &dir, &names)?,
        };
        let ledger = Arc::new(ledger);
        for (position, exporter) in wanted.exporters.iter().enumerate() {
            noted.push((exporter.clone(), sides.len()));
            sides.push(Side::Ledger {
                ledger: Arc::clone(&ledger),
                position,
                name: exporter.to_string(),
                keep: wanted.keep,
                verified_by: wanted.verified_by.clone(),
            });
        }
        ledgers.push(ledger);
    }
    Ok(Sides { ledgers, sides, noted })
}

/// With the archives that are asked behind them. One that cannot be opened answers every question so.
pub async fn opened(settings: &Settings, mut sides: Vec<Side>, clock: &Arc<dyn Clock>) -> Vec<Side> {
    let units = Some(settings.budget.read_units_per_s).filter(|units| *units > 0.0);
    for plan in &settings.asked {
        let archive = match plan.open(Arc::clone(clock), units).await {
            Ok(archive) => archive,
            Err(error) => Arc::new(Closed {
                name: plan.name().to_owned(),
                error,
            }),
        };
        sides.push(Side::Probe(archive));
    }
    sides
}

/// An archive that could not be opened.
struct Closed {
    name: String,
    error: ArchiveError,
}

impl Archive for Closed {
    fn name(&self) -> &str {
        &self.name
    }

    fn lifetime(&self) -> BoxFuture<'_, Result<Option<Duration>, ArchiveError>> {
        Box::pin(std::future::ready(Err(self.error.clone())))
    }

    fn probe<'a>(&'a self, _day: Day, ids: &'a [TraceId]) -> BoxFuture<'a, Vec<Found>> {
        let answer = Found::Unknown(format!("{}: {}", self.name, self.error));
        Box::pin(std::future::ready(vec![answer; ids.len()]))
    }

    fn read(&self, _id: TraceId) -> BoxFuture<'_, Result<Option<Batch>, ArchiveError>> {
        Box::pin(std::future::ready(Err(self.error.clone())))
    }

    fn list(&self, _day: Day, _page: Option<String>) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        Box::pin(std::future::ready(Err(self.error.clone())))
    }

    fn spent(&self) -> Spent {
        Spent::default()
    }
}

impl Runtime {
    /// That of this component; begun by the first that asks, at work with the first that [uses](Self::enter) it.
    ///
    /// # Errors
    /// Without a state directory, or where it cannot be written.
    pub fn of(settings: &Arc<Settings>, context: &BuildContext) -> Result<Arc<Self>, StartError> {
        let runtimes = context.commons.get::<Runtimes>();
        let mut runtimes = runtimes.0.lock().unwrap_or_else(PoisonError::into_inner);
        runtimes.retain(|_, runtime| runtime.strong_count() > 0);
        let key = (context.id.to_string(), settings.fingerprint);
        if let Some(runtime) = runtimes.get(&key).and_then(Weak::upgrade)
            && !runtime.quit.is_cancelled()
        {
            return Ok(runtime);
        }
        let runtime = Self::begin(settings, context)?;
        runtimes.insert(key, Arc::downgrade(&runtime));
        Ok(runtime)
    }

    fn begin(settings: &Arc<Settings>, context: &BuildContext) -> Result<Arc<Self>, StartError> {
        let Some(state_dir) = &context.state_dir else {
            let message = "keeps its ledger in the state directory: set `--state-dir` or `service::state_directory`";
            return Err(StartError::new(context, message));
        };
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let cannot = |error: std::io::Error| {
            let place = state_dir.display();
            StartError::new(
                context,
                format!("the retention ledger below {place} cannot be opened: {error}"),
            )
        };
        let Sides { ledgers, sides, noted } = sides_of(settings, state_dir, &fs, false).map_err(cannot)?;
        let root = settings
            .ledgers
            .first()
            .map_or("retention-ledger", |ledger| ledger.path.as_str());
        let lists = state_dir.join(root).join(LISTS);
        fs.create_dir(&lists).map_err(cannot)?;
        for ledger in &ledgers {
            let before = ledger.bytes().map_err(cannot)? / Row::BYTES as u64;
            let observed = Arc::downgrade(ledger);
            let help = "Rows of the ledger: about one for each trace that a far end has acknowledged.";
            context
                .instruments
                .observe("aws_xray_retention_ledger_entries", help, &[], move || {
                    let added = observed
                        .upgrade()
                        .map(|ledger| ledger.tally.added.load(Ordering::Relaxed));
                    (before + added.unwrap_or(0)) as f64
                });
        }
        let errors = context.instruments.counter(
            "aws_xray_retention_ledger_errors_total",
            "Failures of the disk, torn files and unreadable deliveries: what they concern is not in the ledger.",
            &[],
        );
        Ok(Arc::new(Self {
            settings: Arc::clone(settings),
            context: context.clone(),
            ledgers,
            sides,
            noted,
            lists,
            awaited: Arc::default(),
            errors,
            users: AtomicUsize::new(0),
            quit: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// One more pipeline uses it; the first begins its work.
    pub fn enter(self: &Arc<Self>) {
        if self.users.fetch_add(1, Ordering::Relaxed) > 0 {
            return;
        }
        let worker = Arc::clone(self);
        self.tasks.spawn(async move { worker.write_down().await });
        let worker = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = worker.quit.cancelled() => {}
                () = worker.context.stop.cancelled() => {}
                () = worker.audit() => {}
            }
        });
    }

    /// Who is told of what an exporter delivers.
    pub fn observer(self: &Arc<Self>, exporter: &ComponentId) -> Arc<dyn DeliveryObserver> {
        let mine = self.noted.iter().filter(|(id, _)| id == exporter);
        let noters = mine.filter_map(|(_, number)| {
            let Some(Side::Ledger { ledger, position, .. }) = self.sides.get(*number) else {
                return None;
            };
            Some(Noter {
                ledger: Arc::clone(ledger),
                archive: *position,
                number: *number,
                awaited: Arc::clone(&self.awaited),
                stopped: self.quit.clone(),
                errors: self.errors.clone(),
                log: LimitedLog::default(),
            })
        });
        Arc::new(Watch {
            noters: noters.collect(),
            _runtime: Arc::clone(self),
        })
    }

    /// Writes the ledger to the disk until the end.
    async fn write_down(&self) {
        let log = LimitedLog::default();
        let mut counted = 0;
        loop {
            let more = self.quit.run_until_cancelled(tokio::time::sleep(FLUSH)).await.is_some();
            for ledger in &self.ledgers {
                if ledger.waiting() == 0 {
                    continue;
                }
                let writing = Arc::clone(ledger);
                let written = tokio::task::spawn_blocking(move || writing.flush()).await;
                if let Ok(Err(error)) = written
                    && let Some(left_out) = log.admit()
                {
                    tracing::warn!(processor = %self.context.id, %error, left_out,
                        "the retention ledger cannot be written; its rows wait in memory");
                }
            }
            let tallies = self.ledgers.iter().map(|ledger| &ledger.tally);
            let all: u64 = tallies
                .map(|tally| {
                    let torn = u64::from(tally.torn.load(Ordering::Relaxed) > 0);
                    tally.failed.load(Ordering::Relaxed) + tally.given_up.load(Ordering::Relaxed) + torn
                })
                .sum();
            self.errors.add(all.saturating_sub(counted));
            counted = counted.max(all);
            if !more {
                return;
            }
        }
    }

    async fn auditor(&self) -> Auditor {
        let heads = self.context.commons.get::<PipelineHeads>();
        Auditor {
            id: self.context.id.to_string(),
            settings: Arc::clone(&self.settings),
            clock: Arc::clone(&self.context.clock),
            sides: opened(&self.settings, self.sides.clone(), &self.context.clock).await,
            books: Books::new(Arc::clone(&self.context.state), self.context.id.as_str()),
            telemetry: Telemetry::new(&self.context.instruments),
            awaited: Arc::clone(&self.awaited),
            outlet: self.settings.archive_pipeline.as_ref().map(|name| heads.of(name)),
            lists: self.lists.clone(),
            scratch: None,
            aside: Aside(Arc::new(RealFs)),
            watchlist: self.context.commons.get(),
            quit: self.quit.clone(),
            #[cfg(test)]
            said: Mutex::default(),
        }
    }

    /// One run now, outside of the schedule, that archives by `outlet`; the ledger is on the disk when it returns.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn run_now(&self, outlet: Outlet) -> std::io::Result<Report> {
        let mut auditor = self.auditor().await;
        auditor.outlet = Some(outlet);
        let report = auditor.run(&self.shards().await).await;
        for ledger in &self.ledgers {
            ledger.flush()?;
        }
        Ok(report)
    }

    async fn shards(&self) -> Vec<Shard> {
        let access = Access::load(self.settings.access.clone(), Arc::clone(&self.context.clock)).await;
        let mut shards = Vec::new();
        for place in access.places() {
            shards.push(Shard::open(&access, &place, &self.settings, &self.context).await);
        }
        shards
    }

    /// Runs on schedule. A run that takes longer than the schedule's interval lets the next ones pass.
    async fn audit(&self) {
        let auditor = self.auditor().await;
        let clock = &self.context.clock;
        let every = self.settings.every;
        clock.sleep(self.first_wait(&auditor).await).await;
        let mut first = true;
        let health = Health::new(self.context.clone());
        let mut unknown_since = None;
        loop {
            let began = clock.now();
            let shards = self.shards().await;
            if std::mem::take(&mut first) {
                auditor.foresee(&shards).await;
            }
            let report = auditor.run(&shards).await;
            if let Some(failed) = &report.failed {
                tracing::error!(processor = %self.context.id, trouble = %failed, "the retention check cannot be made");
            }
            self.say_how_long(&health, &mut unknown_since, &report);
            let took = Duration::from_nanos(clock.now().0.saturating_sub(began.0));
            let (passed, wait) = next_run(took, every);
            for _ in 0..passed.min(1_000) {
                auditor.telemetry.skipped();
            }
            self.watch_sampling(&auditor, &shards, wait).await;
        }
    }

    /// Waits for the next run, and looks at the sampling rules meanwhile.
    async fn watch_sampling(&self, auditor: &Auditor, shards: &[Shard], mut wait: Duration) {
        let clock = &self.context.clock;
        while wait > SAMPLING {
            let began = clock.now();
            clock.sleep(SAMPLING).await;
            for shard in shards {
                // The next run tells what is wrong.
                let _ = auditor.watch_sampling(shard).await;
            }
            wait = wait.saturating_sub(Duration::from_nanos(clock.now().0.saturating_sub(began.0)));
        }
        clock.sleep(wait).await;
    }

    /// What nobody can tell is no alarm at once; when it lasts it is.
    fn say_how_long(&self, health: &Health, since: &mut Option<u64>, report: &Report) {
        let unknown = report.counts().of(State::Unknown);
        let blind = report.exit_code(false) == 3;
        if unknown == 0 && !blind {
            *since = None;
            health.report("retention", None);
            return;
        }
        let since = *since.get_or_insert(report.at);
        if report.at.saturating_sub(since) < self.settings.unknown_for.as_secs() {
            return;
        }
        let trouble = format!(
            "the state of {unknown} traces has been unknown for {}",
            days(report.at - since)
        );
        tracing::error!(processor = %self.context.id, event = "aws.xray.retention.unknown", unknown, since,
            "the retention check does not see all traces");
        health.report("retention", Some(trouble));
    }

    /// After a restart the schedule goes on; processes that start together do not ask together.
    async fn first_wait(&self, auditor: &Auditor) -> Duration {
        let share = RealFs.unique() as f64 / u64::MAX as f64;
        let jitter = self.settings.jitter.mul_f64(share.clamp(0.0, 1.0));
        let runs = auditor.books.runs().await.unwrap_or_default();
        if !runs.finished {
            return jitter;
        }
        let since = self.context.clock.now().seconds().saturating_sub(runs.started);
        self.settings.every.saturating_sub(Duration::from_secs(since)) + jitter
    }
}

/// Runs that came due while one took so long, and how long it is to the next.
fn next_run(took: Duration, every: Duration) -> (u128, Duration) {
    let passed = took.as_nanos() / every.as_nanos().max(1);
    let until_next = every.as_nanos() * (passed + 1) - took.as_nanos();
    (
        passed,
        Duration::from_nanos(u64::try_from(until_next).unwrap_or(u64::MAX)),
    )
}

/// All who note one exporter's deliveries. The runtime writes down what they note, so it lives while they do.
struct Watch {
    noters: Vec<Noter>,
    _runtime: Arc<Runtime>,
}

impl DeliveryObserver for Watch {
    fn delivered(&self, batch: &Batch) {
        for noter in &self.noters {
            noter.delivered(batch);
        }
    }
}

impl Running for Runtime {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let users = self
                .users
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |users| users.checked_sub(1));
            if users.is_ok_and(|before| before > 1) {
                return;
            }
            self.quit.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(deadline.remaining(), self.tasks.wait()).await;
        })
    }
}
