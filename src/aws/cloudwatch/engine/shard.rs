//! One account in one region: its rounds, its cursors, its credentials. Shards fail alone.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::account::account_of;
use super::backfill::Backfilled;
use super::budget::Purse;
use super::poll::Polled;
use super::telemetry::ShardCounts;
use super::together::Shares;
use super::{Blueprint, Desk, Settings, Source, StartFrom};
use crate::aws::cloudwatch::bill::{FreePart, Ledger, Ledgers, Schedule};
use crate::aws::cloudwatch::cursors::Cursors;
use crate::aws::cloudwatch::exchange::{Exchanges, Seat};
use crate::aws::cloudwatch::tracks::{Judging, Tracks};
use crate::aws::rate::{Bucket, Limits, Rates};
use crate::aws::shards::Health;
use crate::aws::{Access, Calls, Failure, Place};
use crate::component::{BuildContext, Outlet, ReceiverCounts, with_state};

/// What all shards of a receiver have in common.
#[derive(Clone)]
pub struct Shared {
    pub blueprint: Arc<dyn Blueprint>,
    pub context: BuildContext,
    pub outlet: Outlet,
    pub health: Arc<Health>,
}

/// Expired credentials are read anew at once, and not again before so many seconds have passed.
const RENEW_S: i64 = 300;
/// Series that discovery brings so soon after a start belong to it: they are asked back as far as the start is.
const FIRST_S: i64 = 900;

/// The loop of one account and region.
pub struct Shard {
    blueprint: Arc<dyn Blueprint>,
    pub(super) context: BuildContext,
    pub(super) outlet: Outlet,
    place: Place,
    health: Arc<Health>,
    pub(super) desk: Desk,
    pub(super) client: aws_sdk_cloudwatch::Client,
    pub(super) get_metric_data: Calls,
    /// Points a second, over everybody who asks here.
    pub(super) points: Arc<Bucket>,
    pub(super) source: Box<dyn Source>,
    pub(super) get_metric_statistics: Calls,
    pub(super) ledger: Arc<Ledger>,
    pub(super) free: Arc<FreePart>,
    pub(super) purse: Purse,
    pub(super) tracks: Tracks,
    /// Among the shards of other receivers that read the same account and region.
    pub(super) seat: Seat,
    pub(super) shares: Shares,
    pub(super) counts: ShardCounts,
    pub(super) received: ReceiverCounts,
    cursors: Cursors,
    /// Since when the receiver has been reading here.
    start: i64,
    pub(super) backfilled: Backfilled,
    /// Something has changed since cursors were kept.
    pub(super) unsaved: bool,
    state_trouble: Option<String>,
    pub(super) started: i64,
    pub(super) dark_rounds: u32,
    pub(super) refused_since: Option<i64>,
    /// When credentials were last read anew because they had expired.
    renewed: Option<i64>,
    told: Option<(String, i64)>,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.ledger.leave(&self.purse.name);
        self.free.leave(&self.purse.name);
    }
}

/// What a round came to.
#[derive(Debug)]
pub struct Round {
    /// The pipeline refused: offer again after this time, without asking AWS in between.
    pub refused: Option<Duration>,
}

/// What discovery and one poll gave.
struct Asked {
    discovery: Vec<Failure>,
    polled: Polled,
}

impl Asked {
    fn has_expired(&self) -> bool {
        let failures = self.discovery.iter().chain(&self.polled.failure);
        failures.into_iter().any(|failure| *failure == Failure::Expired)
    }
}

impl Shard {
    /// Learns whose account it is, trying until it does, and where the last run stopped. `None` when told to stop
    /// first.
    pub async fn open(shared: Shared, access: Arc<Access>, place: Place, quit: &CancellationToken) -> Option<Self> {
        let Shared {
            blueprint,
            context,
            outlet,
            health,
        } = shared;
        let (access, account) = account_of(access, &place, &context, &health, quit).await?;
        let sdk = access.config(&place).await;
        let desk = Desk {
            region: place.region.clone(),
            access,
            sdk,
            account,
            context: context.clone(),
            rate: blueprint.settings().polling.rate.clone(),
        };
        let settings = blueprint.settings();
        let now = desk.access.now();
        let cursors = Cursors::new(context.id.as_str(), &desk.account, &desk.region);
        let counts = ShardCounts::new(
            &context.instruments,
            (&desk.account, &desk.region),
            settings.resource_kind,
        );
        let endpoint = desk.access.cloudwatch_endpoint();
        let exchange = context.commons.get::<Exchanges>();
        let exchange = exchange.at((&desk.account, &desk.region, endpoint));
        let mut shard = Self {
            client: desk.access.cloudwatch(&desk.sdk),
            get_metric_data: desk.calls("GetMetricData", "cloudwatch:GetMetricData", Limits::GET_METRIC_DATA),
            points: context.commons.get::<Rates>().bucket(
                (&desk.account, &desk.region),
                "GetMetricData points",
                Limits::POINTS,
                context.clock.now(),
            ),
            source: blueprint.source(&desk),
            get_metric_statistics: desk.calls(
                "GetMetricStatistics",
                "cloudwatch:GetMetricStatistics",
                Limits::GET_METRIC_STATISTICS,
            ),
            ledger: context.commons.get::<Ledgers>().of(context.id.as_str()),
            free: context.commons.get::<Ledgers>().free_of(&desk.account),
            purse: Purse::new(&desk),
            tracks: tracks(settings, now, None),
            seat: exchange.sit_down(2 * settings.max_late),
            shares: Shares::default(),
            counts,
            received: context.instruments.receiver("aws"),
            cursors,
            start: now,
            backfilled: Backfilled::default(),
            unsaved: false,
            state_trouble: None,
            started: now,
            dark_rounds: 0,
            refused_since: None,
            renewed: None,
            told: None,
            blueprint,
            context,
            outlet,
            place,
            health,
            desk,
        };
        shard.restore(now).await;
        Some(shard)
    }

    pub(super) fn settings(&self) -> &Settings {
        self.blueprint.settings()
    }

    /// The server's time, unix seconds.
    pub(super) fn now(&self) -> i64 {
        self.desk.access.now()
    }

    /// Goes on where the last run stopped.
    async fn restore(&mut self, now: i64) {
        let settings = self.blueprint.settings().clone();
        let fresh = judging(&settings, now, None);
        self.open_ledger().await;
        self.start = fresh.start;
        if settings.start_from == StartFrom::Now {
            let forgotten = self.cursors.clear();
            let cleared = with_state(&self.context.state, move |state| state.commit(forgotten)).await;
            self.state_trouble = cleared.err().map(|error| error.to_string());
            return;
        }
        let cursors = self.cursors.clone();
        let loaded = with_state(&self.context.state, move |state| cursors.load(state)).await;
        match loaded {
            Ok(None) => {}
            Ok(Some(restored)) => {
                tracing::info!(receiver = %self.context.id, account = %self.desk.account, region = %self.desk.region,
                    series = restored.series.len(), "going on where the last run stopped");
                self.cursors.go_on(&restored);
                self.start = restored.start;
                self.tracks = tracks(&settings, now, Some(restored.start));
                self.tracks.restore(restored.series, restored.saved_at, now);
                self.tracks.restore_lags(restored.lags);
            }
            Err(error) => self.state_trouble = Some(error.to_string()),
        }
    }

    /// Rounds until told to stop. What is being handed on is finished first.
    pub async fn run(mut self, quit: CancellationToken) {
        while !quit.is_cancelled() {
            let began = self.now();
            let Some(round) = self.round(&quit).await else { break };
            let wait = match round.refused {
                Some(wait) => wait,
                None => {
                    // Ticks are multiples, so that restarts keep them.
                    let tick = self.tracks.schedule.tick();
                    let next = began - began.rem_euclid(tick) + tick;
                    Duration::from_secs(u64::try_from(next - self.now()).unwrap_or(0))
                }
            };
            self.rest(wait, round.refused.is_some(), &quit).await;
        }
        self.unsaved = true;
        self.keep(true).await;
    }

    /// Waits for the next round; what other receivers asked for us in the meantime goes out at once.
    async fn rest(&mut self, wait: Duration, refused: bool, quit: &CancellationToken) {
        let clock = Arc::clone(&self.context.clock);
        let bell = Arc::clone(&self.seat.bell);
        let over = clock.sleep(wait);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = quit.cancelled() => return,
                () = &mut over => return,
                // A pipeline that refuses is not offered more before its time.
                () = bell.notified(), if !refused => {
                    let changes = self.accept_gifts();
                    self.counts.changed(changes);
                    if self.deliver().await.is_err() {
                        return;
                    }
                    self.keep_cursors().await;
                }
            }
        }
    }

    /// Discovery, one poll, and everything settled handed on. `None` when told to stop in between.
    pub async fn round(&mut self, quit: &CancellationToken) -> Option<Round> {
        // What was refused goes first; while it is refused AWS is not asked: the next window covers the gap for free.
        if let Err(wait) = self.deliver().await {
            self.keep_cursors().await;
            return Some(Round { refused: Some(wait) });
        }
        let polled = tokio::select! {
            () = quit.cancelled() => return None,
            polled = self.ask_all() => polled,
        };
        let mut refused = polled.refused;
        if refused.is_none() {
            refused = self.deliver().await.err();
        }
        if refused.is_none() {
            // What the sentinels said has gone out; what follows from it goes out behind them.
            self.tracks.imply_zeros();
            refused = self.deliver().await.err();
        }
        if refused.is_none() && !failed_altogether(&polled) {
            let back = tokio::select! {
                () = quit.cancelled() => None,
                back = self.backfill() => Some(back),
            };
            refused = back?.err();
        }
        if refused.is_none() && !failed_altogether(&polled) {
            tokio::select! {
                () = quit.cancelled() => return None,
                // In a box: it is rarely there, and large.
                () = Box::pin(self.ask_past()) => {}
            }
        }
        self.say_how_it_goes(&polled).await;
        self.keep_cursors().await;
        Some(Round { refused })
    }

    /// One transaction a cycle.
    pub(super) async fn keep_cursors(&mut self) {
        self.keep(false).await;
    }

    /// `last`: the receiver stops.
    async fn keep(&mut self, last: bool) {
        if !std::mem::take(&mut self.unsaved) {
            return;
        }
        let now = self.now();
        let mut changes = self.cursors.changes(self.tracks.keep(), self.start, now);
        changes.extend(self.spend_to_keep());
        changes.extend(self.cursors.lag_changes(self.tracks.lags(), now, last));
        let kept = with_state(&self.context.state, move |state| state.commit(changes)).await;
        if let Err(error) = &kept {
            tracing::debug!(receiver = %self.context.id, %error, "cursors could not be kept");
            self.cursors.failed();
            self.unsaved = true;
        }
        self.state_trouble = kept.err().map(|error| format!("cursors: {error}"));
    }

    async fn ask_all(&mut self) -> Polled {
        let mut asked = self.ask_once().await;
        if asked.has_expired() && self.renew().await {
            let before = asked.polled;
            asked = self.ask_once().await;
            asked.polled.asked = before.asked;
            asked.polled.answered += before.answered;
        }
        let polled = asked.polled;
        let mut troubles = self.source.denied();
        let passing = asked.discovery.iter();
        troubles.extend(
            passing
                .filter(|failure| !matches!(failure, Failure::Denied { .. }))
                .map(|failure| format!("discovery: {failure}")),
        );
        troubles.extend(polled.failure.iter().map(|failure| format!("polling: {failure}")));
        let forbidden = self.tracks.forbidden();
        if forbidden > 0 {
            let text = "metrics may not be read by cloudwatch:GetMetricData";
            troubles.push(format!("{forbidden} {text}"));
        }
        troubles.extend(self.state_trouble.clone());
        self.tell((!troubles.is_empty()).then(|| troubles.join("; ")));
        polled
    }

    async fn ask_once(&mut self) -> Asked {
        let now = self.now();
        let discovery = self.source.discover(now).await;
        // Also after a failure: what was learned before it counts.
        let wants = self.source.wants();
        let changed = wants.is_some();
        if let Some(wants) = wants {
            self.tracks.set_wants(wants, now);
        }
        self.tracks.drop_left(now);
        self.seat.publish(self.tracks.iter().map(|track| &track.want), changed);
        self.mind_the_budget(now);
        let polled = self.poll().await;
        self.unsaved |= polled.answered > 0;
        self.counts.polled(&polled, &self.tracks);
        if !discovery.is_empty() {
            self.counts.discovery_errors.add(1);
        }
        Asked { discovery, polled }
    }

    /// Reads the credentials anew. False where that has just been done.
    async fn renew(&mut self) -> bool {
        let now = self.now();
        if self.renewed.is_some_and(|at| now - at < RENEW_S) {
            return false;
        }
        self.renewed = Some(now);
        tracing::info!(receiver = %self.context.id, account = %self.desk.account, region = %self.desk.region,
            "the AWS credentials have expired; reading them anew");
        self.desk.access = Arc::new(self.desk.access.renewed().await);
        self.desk.sdk = self.desk.access.config(&self.place).await;
        self.client = self.desk.access.cloudwatch(&self.desk.sdk);
        self.source.renew(&self.desk);
        true
    }

    /// Reports and logs a trouble: when it changes, and once an hour.
    fn tell(&mut self, trouble: Option<String>) {
        let now = self.now();
        let place = self.place.name();
        match &trouble {
            Some(text) => {
                let known = self
                    .told
                    .as_ref()
                    .is_some_and(|(last, at)| last == text && now - at < 3600);
                if !known {
                    tracing::warn!(receiver = %self.context.id, account = %self.desk.account,
                        region = %self.desk.region, trouble = %text,
                        "CloudWatch polling has trouble; nothing is lost yet");
                    self.told = Some((text.clone(), now));
                }
            }
            None => {
                if self.told.take().is_some() {
                    tracing::info!(receiver = %self.context.id, account = %self.desk.account,
                        region = %self.desk.region, "CloudWatch polling works again");
                }
            }
        }
        self.health.report(&place, trouble);
    }
}

/// Everything that was asked failed: asking back would fail too.
fn failed_altogether(polled: &Polled) -> bool {
    polled.asked > 0 && polled.answered == 0
}

fn tracks(settings: &Settings, now: i64, known: Option<i64>) -> Tracks {
    let polling = &settings.polling;
    let schedule = Schedule::new(polling.rhythm, polling.pin.clone());
    Tracks::new(judging(settings, now, known), settings.cumulative).scheduled(schedule)
}

/// `known`: since when an earlier run has been reading.
pub(super) fn judging(settings: &Settings, now: i64, known: Option<i64>) -> Judging {
    let back = match settings.start_from {
        StartFrom::Checkpoint => settings.max_late,
        StartFrom::Now => 0,
        StartFrom::Back(seconds) => seconds,
    };
    Judging {
        max_late: settings.max_late,
        strict: settings.strict,
        reemit: settings.reemit,
        start: known.unwrap_or(now - back),
        whole_until: if known.is_some() { i64::MIN } else { now + FIRST_S },
    }
}
