//! The audit: X-Ray's traces, day by day and oldest first, against what archives hold.
//!
//! A day is listed twice in its life, when it is over and when its first traces are due. What has a complete copy that is
//! kept long enough is settled until the next listing; the others are kept in a file and looked at in every run, also
//! when X-Ray no longer has them: so a loss is told. A day that could not be read is `unknown`.

pub mod books;
mod compared;
mod day;
mod listing;
mod policy;
pub mod report;
mod rescue;
mod sampling;
pub mod telemetry;
#[cfg(feature = "simulator")]
#[cfg(test)]
mod tests;
mod weigh;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::books::{Books, Bucket, Runs, Spend};
use self::report::{Monthly, Report, ShardReport};
use self::telemetry::{Telemetry, Where};
use crate::aws::access::account_of_arn;
use crate::aws::xray::api::counted::counts;
use crate::aws::xray::api::{Clients, Names};
use crate::aws::{Access, Failure, Place};
use crate::component::{BuildContext, Clock, Outlet, StateError, UnixNanos};
use crate::queue::fs::Aside;
use crate::retention::archive::{Archive, Day};
use crate::retention::ledger::{Ledger, Listed, folder_name};
use crate::retention::noter::Awaited;
use crate::retention::settings::{Actions, Settings};
use crate::retention::state::State;
use crate::retention::watchlist::Watchlist;

/// A clock that is further off than this proves nothing about times.
const MOST_SKEW_S: i64 = 300;
/// Days around a trace's start in whose files its rows may stand: spans are put by their own start, and X-Ray takes them
/// for seven days.
const DAYS_BEFORE: u32 = 1;
const DAYS_AFTER: u32 = 8;
/// Log records of one run.
const MOST_TOLD: u64 = 100;

/// One archive as the auditor asks it.
#[derive(Clone)]
pub enum Side {
    /// By what was acknowledged.
    Ledger {
        ledger: Arc<Ledger>,
        /// Its place in the ledger.
        position: usize,
        name: String,
        /// How long its far end keeps copies; `None`: for ever.
        keep: Option<Duration>,
        /// The archive that can say whether they are still there; empty: none.
        verified_by: String,
    },
    /// By asking it.
    Probe(Arc<dyn Archive>),
}

impl Side {
    /// As metrics and messages name it.
    pub fn name(&self) -> &str {
        match self {
            Side::Ledger { name, .. } => name,
            Side::Probe(archive) => archive.name(),
        }
    }
}

/// One account in one region.
pub struct Shard {
    pub name: String,
    pub account: String,
    pub region: String,
    pub clients: Clients,
}

impl Shard {
    /// With clients whose calls are paced together with the poller's.
    pub async fn open(access: &Access, place: &Place, settings: &Settings, context: &BuildContext) -> Self {
        let sdk = access.config(place).await;
        let role = place.role.as_ref().and_then(|role| account_of_arn(&role.role_arn));
        let account = role.unwrap_or_default().to_owned();
        let names = Names {
            calls: telemetry::CALLS,
            account: &account,
            region: &place.region,
        };
        Self {
            name: place.name(),
            clients: Clients::new(access, &sdk, names, settings.rate, context),
            account,
            region: place.region.clone(),
        }
    }

    fn at(&self) -> Where<'_> {
        Where {
            account: &self.account,
            region: &self.region,
        }
    }
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{0}")]
    Aws(#[from] Failure),
    #[error("{0}")]
    State(#[from] StateError),
    #[error("the disk: {0}")]
    Disk(#[from] std::io::Error),
    #[error("the work on the disk was cut short")]
    Cut,
    /// And of what.
    #[error("the budget of {0} is spent for today")]
    Budget(&'static str),
    #[error("{0}")]
    Other(String),
}

/// Looks, and (where it may) does something about what it finds.
pub struct Auditor {
    pub id: String,
    pub settings: Arc<Settings>,
    pub clock: Arc<dyn Clock>,
    pub sides: Vec<Side>,
    pub books: Books,
    pub telemetry: Telemetry,
    pub awaited: Arc<Awaited>,
    /// Where traces go that are to be archived.
    pub outlet: Option<Outlet>,
    /// Where lists of traces are kept.
    pub lists: PathBuf,
    /// `Some`: nothing is written but here, and everything is listed now.
    pub scratch: Option<PathBuf>,
    pub aside: Aside,
    /// What the page shows.
    pub watchlist: Arc<Watchlist>,
    pub quit: CancellationToken,
    /// What was last said of each trace.
    #[cfg(test)]
    pub said: std::sync::Mutex<std::collections::HashMap<crate::retention::archive::TraceId, State>>,
}

/// What one run carries along.
struct Run {
    number: u64,
    spend: Spend,
    report: ShardReport,
    told: u64,
    untold: u64,
    /// Traces that are to be archived, the oldest first.
    rescues: rescue::Oldest,
    /// CloudWatch does not let us count.
    uncounted: bool,
    /// Of the traces that X-Ray has, the share that it lists.
    indexed: Option<f64>,
    /// Seconds of a window that held a comfortable number of traces.
    width: u64,
    /// Traces a second in the last window.
    density: f64,
    /// Days of ledgers (by the number of the side) that have been sealed.
    sealed: HashSet<(usize, Day)>,
}

impl Auditor {
    fn only_reads(&self) -> bool {
        self.scratch.is_some()
    }

    /// What is done about a state.
    fn actions(&self, state: State, urgent: bool) -> Actions {
        match state {
            _ if urgent => self.settings.on_at_risk,
            State::AtRisk => self.settings.on_at_risk,
            State::Due | State::EmptyCopy | State::PartialCopy => self.settings.on_due,
            // Told always: nothing can be done about it any more, or nobody knows.
            _ => Actions {
                metric: true,
                log: state == State::Lost,
                archive: false,
            },
        }
    }

    /// One run over all places; a run that a restart cut short goes on where it was.
    pub async fn run(&self, shards: &[Shard]) -> Report {
        let began = self.clock.now();
        let mut report = Report {
            sample: self.settings.sample,
            filter: self.settings.filter.clone(),
            ..Report::default()
        };
        match self.begin(began.seconds()).await {
            Ok(number) => {
                for shard in shards {
                    report.shards.push(self.run_in(shard, number).await);
                }
                let ended = Runs {
                    started: number,
                    finished: true,
                };
                if let Err(error) = self.books.save_runs(&ended).await {
                    report.failed = Some(error.to_string());
                }
            }
            Err(error) => report.failed = Some(error.to_string()),
        }
        if shards.is_empty() {
            report.failed = Some("no region: set `regions`, AWS_REGION or a profile".to_owned());
        }
        report.at = self.clock.now().seconds();
        report
    }

    /// The number of the run: when it began.
    async fn begin(&self, now: u64) -> Result<u64, StateError> {
        let last = self.books.runs().await?;
        let is_recent = now.saturating_sub(last.started) < self.settings.every.as_secs();
        if !last.finished && last.started > 0 && is_recent {
            return Ok(last.started);
        }
        // Two runs within a second are two runs.
        let number = now.max(last.started + 1);
        let begun = Runs {
            started: number,
            finished: false,
        };
        self.books.save_runs(&begun).await?;
        Ok(number)
    }

    /// Says what the checks will probably cost, before the first of them.
    pub async fn foresee(&self, shards: &[Shard]) -> f64 {
        let mut usd = 0.0;
        for shard in shards {
            let to = shard.clients.now() / 3_600 * 3_600;
            let counted = counts(&shard.clients, to.saturating_sub(86_400), to, 3_600).await;
            let Ok(counted) = counted else { continue };
            let traces: u64 = counted.into_iter().map(|(_, count)| count).sum();
            let monthly = Monthly::of_traces(traces as f64, 0.0);
            usd += monthly.total();
            tracing::info!(processor = %self.id, place = %shard.name, traces_per_day = traces,
                usd_per_month = monthly.total(), "each trace will be listed twice by the retention check");
        }
        usd
    }

    async fn run_in(&self, shard: &Shard, number: u64) -> ShardReport {
        let began = self.clock.now();
        let mut run = Run {
            number,
            spend: Spend::default(),
            report: ShardReport {
                place: shard.name.clone(),
                ..ShardReport::default()
            },
            told: 0,
            untold: 0,
            rescues: rescue::Oldest::default(),
            uncounted: !self.settings.filter.is_empty() || self.settings.sample < 1.0,
            indexed: None,
            width: 0,
            density: 0.0,
            sealed: HashSet::new(),
        };
        if let Err(trouble) = self.look(shard, &mut run).await {
            run.report.failed = Some(trouble.to_string());
            tracing::error!(processor = %self.id, place = %shard.name, %trouble, "the retention check cannot be made");
        }
        if run.untold > 0 {
            tracing::warn!(processor = %self.id, place = %shard.name, traces = run.untold,
                event = "aws.xray.trace.at_risk", "more traces need something done; not told one by one");
        }
        let took = self.clock.now().0.saturating_sub(began.0);
        run.report.took = Duration::from_nanos(took);
        if !self.only_reads() {
            let shown = |state| self.actions(state, false);
            self.telemetry.tell(shard.at(), &run.report, shard.clients.now(), shown);
        }
        run.report
    }

    /// Everything of one place.
    async fn look(&self, shard: &Shard, run: &mut Run) -> Result<(), Trouble> {
        let promises = self.look_at_policy(shard, run).await?;
        run.spend = self.books.spend().await?;
        let mut buckets = self.books.buckets(&shard.name).await?;
        // Its answer tells the service's time too.
        self.look_at_destination(shard, run).await?;
        match self.watch_sampling(shard).await {
            Ok(notes) => run.report.notes.extend(notes),
            Err(failure) => {
                let note = format!("whether sampling rules were changed cannot be told: {failure}");
                run.report.notes.push(note);
            }
        }
        let skew = shard.clients.ahead();
        if skew.abs() > MOST_SKEW_S {
            let known: u64 = buckets.values().map(|bucket| bucket.states().total()).sum();
            run.report.counts.add_many(State::Unknown, known.max(1));
            return Err(Trouble::Other(format!(
                "the clock is {} s off X-Ray's: no state can be told, and nothing is done",
                skew.abs()
            )));
        }
        let now = UnixNanos::from_seconds(shard.clients.now());
        self.forget_old(shard, &mut buckets, now).await?;
        self.list_anew_if_weaker(shard, run, &promises, &mut buckets).await?;
        for day in self.days(now, buckets.keys().copied()) {
            let mut bucket = buckets.remove(&day).unwrap_or_default();
            if bucket.run != run.number {
                self.look_at(shard, run, day, &mut bucket).await?;
                bucket.run = run.number;
                self.books.save(&shard.name, day, &bucket).await?;
                self.books.save_spend(&run.spend).await?;
            }
            note_bucket(&mut run.report, &bucket);
            buckets.insert(day, bucket);
        }
        if !self.only_reads() {
            self.books.save_promises(&shard.name, &promises).await?;
        }
        self.rescue(shard, run, &mut buckets).await?;
        self.sum_up(shard, run, &buckets, now);
        Ok(())
    }

    /// Days that have something to look at, oldest first.
    fn days(&self, now: UnixNanos, known: impl Iterator<Item = Day>) -> Vec<Day> {
        let (from, to) = self.listable(now);
        let mut days: Vec<Day> = (Day::of(from).0..=Day::of(to).0).map(Day).collect();
        days.extend(known);
        days.sort_unstable();
        days.dedup();
        days
    }

    /// The traces that X-Ray can be asked for: not about to go, and no longer written.
    fn listable(&self, now: UnixNanos) -> (UnixNanos, UnixNanos) {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let policy = &self.settings.policy;
        let from = now.0.saturating_sub(nanos(policy.xray_retention)) + nanos(self.settings.guard);
        (UnixNanos(from), UnixNanos(now.0.saturating_sub(nanos(policy.min_age))))
    }

    /// What is older than anybody requires.
    async fn forget_old(
        &self,
        shard: &Shard,
        buckets: &mut BTreeMap<Day, Bucket>,
        now: UnixNanos,
    ) -> Result<(), Trouble> {
        if self.only_reads() {
            return Ok(());
        }
        let keep = u64::try_from(self.settings.keep_files().as_nanos()).unwrap_or(u64::MAX);
        let before = Day::of(UnixNanos(now.0.saturating_sub(keep)));
        let old: Vec<Day> = buckets.range(..before).map(|(day, _)| *day).collect();
        for day in old {
            buckets.remove(&day);
            let path = self.list_path(shard, day);
            let fs = Arc::clone(&self.aside.0);
            let _ = self.on_disk(move || Ok(fs.remove(&path))).await?;
            self.books.forget(&shard.name, day).await?;
        }
        for side in &self.sides {
            if let Side::Ledger { ledger, .. } = side {
                let ledger = Arc::clone(ledger);
                self.on_disk(move || ledger.remove_before(before)).await?;
            }
        }
        Ok(())
    }

    /// The traces of a day that have something to be looked at.
    fn list_path(&self, shard: &Shard, day: Day) -> PathBuf {
        self.lists.join(format!("{}.{day}.list", folder_name(&shard.name)))
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        calls: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Trouble> {
        let done = self.aside.run(calls).await.map_err(|_| Trouble::Cut)?;
        Ok(done?)
    }

    fn sum_up(&self, shard: &Shard, run: &mut Run, buckets: &BTreeMap<Day, Bucket>, now: UnixNanos) {
        let report = &mut run.report;
        let not_required = |day: Day| {
            let required = self.settings.policy.required;
            !required.is_zero() && day.end().0.saturating_add(required.as_nanos() as u64) < now.0
        };
        for (day, bucket) in buckets {
            if !not_required(*day) {
                report.counts.extend(&bucket.states());
            }
            report.oldest = [report.oldest, bucket.oldest].into_iter().flatten().min();
        }
        if let Some(oldest) = report.oldest {
            let expiry = oldest.saturating_add(self.settings.policy.xray_retention.as_secs());
            report.min_left = Some(Duration::from_secs(expiry.saturating_sub(now.seconds())));
        }
        // Of the last days that were listed whole.
        let recent: Vec<&Bucket> = buckets
            .values()
            .rev()
            .filter(|bucket| bucket.listings > 0)
            .take(7)
            .collect();
        if !recent.is_empty() {
            let traces: u64 = recent.iter().map(|bucket| bucket.listed).sum();
            let without: u64 = recent.iter().map(|bucket| bucket.counts.iter().sum::<u64>()).sum();
            let a_day = |count: u64| count as f64 / recent.len() as f64;
            let rescues = self.settings.on_due.archive || self.settings.on_at_risk.archive;
            let fetched = if rescues { a_day(without) } else { 0.0 };
            report.monthly = Monthly::of_traces(a_day(traces), fetched);
        }
        tracing::debug!(processor = %self.id, place = %shard.name, listed = report.listed, "a retention check has ended");
    }

    /// Tells of one trace, while not too many have been told.
    fn tell_of(&self, shard: &Shard, run: &mut Run, listed: &Listed, state: State, left: Option<Duration>) {
        if self.only_reads() {
            return;
        }
        if run.told >= MOST_TOLD {
            run.untold += 1;
            return;
        }
        run.told += 1;
        tracing::warn!(
            processor = %self.id, place = %shard.name, event = "aws.xray.trace.at_risk", state = state.name(),
            trace_id = %listed.id, start = listed.start, time_left_s = left.map(|left| left.as_secs()),
            "a trace has no complete copy"
        );
    }
}

fn note_bucket(report: &mut ShardReport, bucket: &Bucket) {
    report.listed += bucket.listed;
    if let Some(expected) = bucket.expected {
        *report.expected.get_or_insert(0) += expected;
    }
    if let Some(trouble) = &bucket.trouble {
        report.trouble(trouble);
    }
}
