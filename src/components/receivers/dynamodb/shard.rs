//! One account in one region: discovers, polls, hands on. Shards fail alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::config::Config;
use super::derived;
use super::discovery::{ACCOUNT, Discovery, NAMESPACE};
use super::telemetry::ShardCounts;
use crate::aws::access::{account_of_arn, partition};
use crate::aws::cloudwatch::{Builder, OwnPoint, Polled, Poller, PollerSettings, Resource, SeriesId, Settled};
use crate::aws::rate::Limits;
use crate::aws::{Access, Calls, Failure, Place};
use crate::component::{BuildContext, ComponentState, DropReason, Outlet, ReceiverCounts, Refused};
use crate::pdata::{Batch, Decoded, Origin, Permit, Signal};

/// Points of CloudWatch in one batch.
const BATCH: usize = 2_000;
/// How long to wait when the account cannot be told yet.
const RETRY: Duration = Duration::from_secs(30);

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

/// What all shards of a receiver have in common.
#[derive(Clone)]
pub struct Shared {
    pub config: Arc<Config>,
    pub context: BuildContext,
    pub outlet: Outlet,
    pub health: Arc<Health>,
}

/// Expired credentials are read anew at once, and not again before so many seconds have passed.
const RENEW_S: i64 = 300;

/// The loop of one account and region.
pub struct Shard {
    access: Arc<Access>,
    config: Arc<Config>,
    context: BuildContext,
    outlet: Outlet,
    place: Place,
    health: Arc<Health>,
    account: String,
    clients: Clients,
    discovery: Discovery,
    poller: Poller,
    counts: ShardCounts,
    received: ReceiverCounts,
    started: i64,
    last_answer: i64,
    /// When credentials were last read anew because they had expired.
    renewed: Option<i64>,
    /// The last trouble that was logged, and when.
    told: Option<(String, i64)>,
}

/// What one round did, for tests and for the waiting time.
#[derive(Debug, Default)]
pub struct Round {
    /// The pipeline refused: ask again after this time, without asking AWS in between.
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
    /// Learns whose account it is, trying until it does. `None` when told to stop first.
    pub async fn open(shared: Shared, access: Arc<Access>, place: Place, quit: &CancellationToken) -> Option<Self> {
        let Shared {
            config,
            context,
            outlet,
            health,
        } = shared;
        let (access, account) = match place.role.as_ref().and_then(|role| account_of_arn(&role.role_arn)) {
            Some(account) => (access, account.to_owned()),
            None => caller_account(access, &place, &context, &health, quit).await?,
        };
        let sdk = access.config(&place).await;
        let clients = Clients::new(&access, &sdk, (&account, &place.region), &context);
        let now = context.clock.now().seconds() as i64;
        let poller = Poller::new(PollerSettings {
            interval: config.interval,
            max_late: config.max_late,
            strict: config.strict,
            start: now - config.start_back.unwrap_or(config.max_late),
        });
        let counts = ShardCounts::new(&context.instruments, &account, &place.region);
        let received = context.instruments.receiver("aws");
        Some(Self {
            access,
            config,
            context,
            outlet,
            place,
            health,
            account,
            clients,
            discovery: Discovery::default(),
            poller,
            counts,
            received,
            started: now,
            last_answer: now,
            renewed: None,
            told: None,
        })
    }

    fn now(&self) -> i64 {
        self.context.clock.now().seconds() as i64
    }

    /// Rounds until told to stop. What is being handed on is finished first.
    pub async fn run(mut self, quit: CancellationToken) {
        while !quit.is_cancelled() {
            let began = self.now();
            let Some(round) = self.round(&quit).await else { return };
            let wait = match round.refused {
                Some(wait) => wait,
                None => {
                    // Ticks are multiples of the interval, so that restarts keep them.
                    let interval = self.config.interval;
                    let next = began - began.rem_euclid(interval) + interval;
                    Duration::from_secs(u64::try_from(next - self.now()).unwrap_or(0))
                }
            };
            tokio::select! {
                () = quit.cancelled() => return,
                () = self.context.clock.sleep(wait) => {}
            }
        }
    }

    /// Discovery, one poll, and everything settled handed on. `None` when told to stop in between.
    pub async fn round(&mut self, quit: &CancellationToken) -> Option<Round> {
        // What was refused goes first; while it is refused AWS is not asked: the next window covers the gap for free.
        if let Err(wait) = self.deliver().await {
            return Some(Round { refused: Some(wait) });
        }
        let polled = tokio::select! {
            () = quit.cancelled() => return None,
            polled = self.ask() => polled,
        };
        let refused = self.deliver().await.err();
        self.say_how_it_goes(&polled).await;
        Some(Round { refused })
    }

    async fn ask(&mut self) -> Polled {
        let mut asked = self.ask_once().await;
        if asked.has_expired() && self.renew().await {
            let polled = asked.polled;
            asked = self.ask_once().await;
            asked.polled.asked = polled.asked;
            asked.polled.answered += polled.answered;
        }
        let polled = asked.polled;
        if polled.answered > 0 {
            self.last_answer = self.now();
        }
        let mut troubles = self.discovery.denied();
        let passing = asked.discovery.iter();
        troubles.extend(
            passing
                .filter(|failure| !matches!(failure, Failure::Denied { .. }))
                .map(|failure| format!("discovery: {failure}")),
        );
        troubles.extend(polled.failure.iter().map(|failure| format!("polling: {failure}")));
        if polled.forbidden > 0 {
            let text = "metrics may not be read by cloudwatch:GetMetricData";
            troubles.push(format!("{} {text}", polled.forbidden));
        }
        self.tell((!troubles.is_empty()).then(|| troubles.join("; ")));
        polled
    }

    async fn ask_once(&mut self) -> Asked {
        let now = self.now();
        let discovery = self.discovery.refresh(&self.clients, &self.config, now).await;
        // Also after a failure: what was learned before it counts.
        let wants = self.discovery.wants(&self.config);
        self.poller.set_wants(wants, now);
        let clock = Arc::clone(&self.context.clock);
        let polled = self
            .poller
            .poll(&self.clients.cloudwatch, &self.clients.get_metric_data, clock.as_ref())
            .await;
        self.counts.polled(&polled, &self.poller);
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
        tracing::info!(receiver = %self.context.id, account = %self.account, region = %self.place.region,
            "the AWS credentials have expired; reading them anew");
        self.access = Arc::new(self.access.renewed().await);
        let sdk = self.access.config(&self.place).await;
        self.clients.renew(&self.access, &sdk);
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
                    tracing::warn!(receiver = %self.context.id, account = %self.account, region = %self.place.region,
                        trouble = %text, "CloudWatch polling has trouble; nothing is lost yet");
                    self.told = Some((text.clone(), now));
                }
            }
            None => {
                if self.told.take().is_some() {
                    tracing::info!(receiver = %self.context.id, account = %self.account, region = %self.place.region,
                        "CloudWatch polling works again");
                }
            }
        }
        self.health.report(&place, trouble);
    }

    fn resource(&self, id: &str) -> Resource {
        let mut attributes = vec![
            ("cloud.provider".to_owned(), "aws".to_owned()),
            ("cloud.account.id".to_owned(), self.account.clone()),
            ("cloud.region".to_owned(), self.place.region.clone()),
        ];
        if id != ACCOUNT {
            attributes.push(("cloud.resource_id".to_owned(), id.to_owned()));
        }
        attributes.push(("db.system.name".to_owned(), "aws.dynamodb".to_owned()));
        Resource { attributes }
    }

    /// Hands on what is settled. The cursor moves when the pipeline has taken it.
    ///
    /// # Errors
    /// How long to wait before offering again; nothing is lost.
    async fn deliver(&mut self) -> Result<(), Duration> {
        let settled = self.poller.settled();
        for points in settled.chunks(BATCH) {
            let mut builder = Builder::new("dynamodb");
            for point in points {
                builder.add(point);
                if self.config.derived {
                    derived::utilization(point, &self.discovery, &self.poller, &mut builder);
                }
            }
            let request = builder.finish(|id| self.resource(id));
            match self.hand_on(request).await {
                Ok(()) => {
                    self.counts.emitted(points, self.now());
                    self.poller.acknowledge(points);
                }
                Err(refused) if refused.permanent => {
                    self.give_up(points, &refused);
                    self.poller.acknowledge(points);
                }
                Err(refused) => {
                    tracing::warn!(receiver = %self.context.id, points = settled.len(), reason = %refused,
                        "the pipeline refused metrics; they are kept and AWS is not asked meanwhile");
                    return Err(refused.retry_after.unwrap_or(Duration::from_secs(5)));
                }
            }
        }
        Ok(())
    }

    fn give_up(&self, points: &[Settled], refused: &Refused) {
        let items = points.len() as u64;
        tracing::error!(receiver = %self.context.id, points = items, reason = %refused,
            "the pipeline refused metrics for good; they are lost");
        self.context
            .instruments
            .dropped(Signal::Metrics, DropReason::PermanentError)
            .add(items);
        self.counts.dropped.add(items);
    }

    async fn hand_on(&self, request: ExportMetricsServiceRequest) -> Result<(), Refused> {
        let bytes = request.encoded_len() as u64;
        let context = &self.context;
        let permit: Option<Permit> = context.memory.acquire(bytes, context.admission_wait).await;
        let Some(permit) = permit else {
            return Err(Refused::retryable(format!("no memory for {bytes} bytes of metrics")));
        };
        let origin = Origin {
            cursor: true,
            permits: [Arc::new(permit)].into_iter().collect(),
            ..Origin::default()
        };
        let batch = Batch::from_decoded(Decoded::Metrics(request), Arc::new(origin));
        let items = batch.items();
        let call = self.outlet.consume(batch);
        self.received.offer(Signal::Metrics, items, call).await
    }

    /// Whether polling works and how far each table is known: a rule must not take blindness for silence.
    async fn say_how_it_goes(&mut self, polled: &Polled) {
        let now = self.now();
        let up = polled.asked == 0 || polled.answered > 0;
        let mut builder = Builder::new("dynamodb");
        let mut gauge = |resource: &str, name: &str, unit: &str, value: f64| {
            let point = OwnPoint {
                name,
                unit,
                attributes: &[],
                start: 0,
                time: now,
                value,
            };
            builder.add_own(resource, &point);
        };
        gauge(ACCOUNT, "aws.cloudwatch.poll.up", "1", f64::from(u8::from(up)));
        let mut blind_tables = 0;
        let limit = 3 * self.config.max_late;
        let silent = now - self.last_answer >= limit;
        let mut oldest = None;
        for table in self.discovery.tables() {
            let watermark = self.poller.watermark(&table.arn);
            if let Some(watermark) = watermark {
                gauge(&table.arn, "aws.cloudwatch.watermark", "s", watermark as f64);
                oldest = Some(oldest.unwrap_or(watermark).min(watermark));
            }
            let heartbeat = ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"]
                .iter()
                .filter_map(|metric| {
                    let series = SeriesId::new(NAMESPACE, metric, &[("TableName", &table.name)]);
                    self.poller.newest_settled(&series)
                })
                .max();
            let since = heartbeat.unwrap_or(self.started.max(table.table.since));
            let blind = silent || now - since >= limit;
            // Until the first heartbeat nothing is known either way.
            if heartbeat.is_some() || blind {
                gauge(&table.arn, "aws.cloudwatch.blind", "1", f64::from(u8::from(blind)));
            }
            blind_tables += i32::from(blind);
        }
        self.counts.blind.set(f64::from(blind_tables));
        self.counts
            .watermark_age
            .set(oldest.map_or(0.0, |oldest| (now - oldest) as f64));
        let request = builder.finish(|id| self.resource(id));
        // Said again in the next round: a refusal needs no second try.
        if let Err(refused) = self.hand_on(request).await {
            tracing::debug!(receiver = %self.context.id, reason = %refused, "poll state was refused");
        }
    }
}

/// Asks STS until it answers, and gives the access it answered to.
async fn caller_account(
    mut access: Arc<Access>,
    place: &Place,
    context: &BuildContext,
    health: &Health,
    quit: &CancellationToken,
) -> Option<(Arc<Access>, String)> {
    let calls = Calls::new(
        "GetCallerIdentity",
        "sts:GetCallerIdentity",
        Limits::STS,
        Arc::clone(&context.clock),
        &context.instruments,
        ("", &place.region),
    );
    let mut told: Option<Failure> = None;
    loop {
        let sts = access.sts(&access.config(place).await);
        let answer = tokio::select! {
            () = quit.cancelled() => return None,
            answer = calls.send(|| sts.get_caller_identity().send()) => answer,
        };
        let failure = match answer {
            Ok(identity) => match identity.account() {
                Some(account) => {
                    health.report(&place.name(), None);
                    return Some((access, account.to_owned()));
                }
                None => Failure::Refused {
                    code: "no account".to_owned(),
                    message: "GetCallerIdentity named no account".to_owned(),
                },
            },
            Err(failure) => failure,
        };
        if told.as_ref() != Some(&failure) {
            tracing::warn!(receiver = %context.id, region = %place.region, partition = partition(&place.region),
                trouble = %failure, "cannot tell the AWS account yet; trying on");
        }
        health.report(&place.name(), Some(format!("account unknown: {failure}")));
        let with_credentials = failure.ends_the_round();
        told = Some(failure);
        tokio::select! {
            () = quit.cancelled() => return None,
            () = context.clock.sleep(RETRY) => {}
        }
        if with_credentials {
            access = Arc::new(access.renewed().await);
        }
    }
}
