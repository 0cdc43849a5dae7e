//! The engine of every receiver that reads CloudWatch: one shard for each account and region, which asks, remembers,
//! hands on what is settled and keeps its cursors. Shards fail alone.
//!
//! The receiver brings a [`Source`]: which series, what a resource is called, what is computed from the points. It knows
//! nothing of polling. When a series is asked again is the [`Schedule`]'s business.
//!
//! A round: hand on what is left, discover, ask what is due, hand on what is settled, ask back a part of what was
//! missed, say how it goes, keep the cursors. While the pipeline refuses, AWS is not asked: the next window covers the
//! gap for free.

mod account;
mod backfill;
mod budget;
mod deliver;
mod forecast;
mod past;
mod poll;
mod shard;
mod sight;
mod telemetry;
mod together;

pub use forecast::{Forecast, Taken, forecast, usd_per_month};
use shard::judging;
pub use shard::{Round, Shard, Shared};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bill::Polling;
use super::output::{Builder, Resource};
use super::tracks::{Settled, Tracks};
use super::want::{Name, OutputForm, Want};
use crate::aws::rate::{Limits, Rates};
use crate::aws::shards::{Health, ShardTasks};
use crate::aws::{Access, AccessSettings, Calls, Failure};
use crate::component::{BoxFuture, BuildContext, Outlet, Running};

/// From when points are wanted at a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// Where the last run stopped, else `max_late` back.
    #[default]
    Checkpoint,
    /// What happened while nobody was reading is left out.
    Now,
    /// Where the last run stopped, else so many seconds back.
    Back(i64),
}

/// `backfill`: what is asked back after a gap longer than a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// Seconds; what is older is given up.
    pub max: i64,
    /// A series goes on when its gap is closed, and not at once.
    pub in_order: bool,
}

impl Default for Backfill {
    fn default() -> Self {
        Self {
            max: 24 * 3600,
            in_order: false,
        }
    }
}

/// How a receiver polls and hands on. Durations are seconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The receiver's type: scope `radiosonde/<receiver>`.
    pub receiver: &'static str,
    pub access: AccessSettings,
    pub max_late: i64,
    /// Age alone settles.
    pub strict: bool,
    /// What changed after it was emitted is emitted again.
    pub reemit: bool,
    pub output: OutputForm,
    pub cumulative: bool,
    pub start_from: StartFrom,
    pub backfill: Backfill,
    /// How often series are asked, and what it may cost.
    pub polling: Polling,
    /// What resources are called in `cloudwatch_blind{kind}`.
    pub resource_kind: &'static str,
}

/// One account and region as a source finds it.
#[derive(Clone)]
pub struct Desk {
    pub access: Arc<Access>,
    /// Region and credentials; clients are made from it by [`Access`].
    pub sdk: SdkConfig,
    pub account: String,
    pub region: String,
    pub context: BuildContext,
    /// `rate`: requests per second at most, by API.
    pub rate: BTreeMap<String, f64>,
}

impl Desk {
    /// The calls of one API; the rate is shared by everybody in the process who calls it in this account and region.
    /// `action`: the IAM action, named where it is denied.
    pub fn calls(&self, api: &'static str, action: &'static str, limits: Limits) -> Calls {
        let context = &self.context;
        let place = (self.account.as_str(), self.region.as_str());
        let limits = match self.rate.get(api) {
            Some(max) => Limits {
                start: limits.start.min(*max),
                max: *max,
            },
            None => limits,
        };
        let rates: Arc<Rates> = context.commons.get();
        let bucket = rates.bucket(place, api, limits, context.clock.now());
        Calls::through(
            bucket,
            (api, action),
            Arc::clone(&context.clock),
            &context.instruments,
            place,
        )
    }
}

/// A resource that is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    pub id: Name,
    /// Unix seconds from which it exists, as far as known.
    pub since: i64,
}

/// What a receiver knows of one account and region.
pub trait Source: Send + Sync {
    /// Other credentials: clients are to be made anew.
    fn renew(&mut self, desk: &Desk);

    /// Asks what is due of resources and metrics. What failed now; what is known stays known.
    fn discover(&mut self, now: i64) -> BoxFuture<'_, Vec<Failure>>;

    /// Permissions that are missing, in words for an operator.
    fn denied(&self) -> Vec<String>;

    /// Everything to poll; `None` where that has not changed since the last call.
    fn wants(&mut self) -> Option<Vec<Want>>;

    /// The resources whose watermark and blindness are told.
    fn watched(&self) -> Vec<Watched>;

    /// The attributes of a resource.
    fn describe(&self, resource: &str) -> Resource;

    /// Adds what follows from settled points. May be called again for the same points when the pipeline refused them,
    /// so it changes nothing.
    fn derive(&self, points: &[Settled], tracks: &Tracks, into: &mut Builder) {
        let _nothing = (points, tracks, into);
    }

    /// Adds what the source knows by itself, once a round; a refusal is not tried again.
    fn own_points(&mut self, now: i64, tracks: &Tracks, into: &mut Builder) {
        let _nothing = (now, tracks, into);
    }

    /// Whether the pipeline took the last own points, or will never take them: a source may offer them again else.
    fn own_points_answered(&mut self, taken: bool) {
        let _nothing = taken;
    }
}

/// What makes the shards of a receiver.
pub trait Blueprint: Send + Sync {
    /// How to poll.
    fn settings(&self) -> &Settings;
    /// The source of one account and region.
    fn source(&self, desk: &Desk) -> Box<dyn Source>;
}

/// How long to wait for a region to appear.
const RETRY: Duration = Duration::from_secs(30);

/// Starts the receiver: everything happens in the background, because asking for regions and credentials takes time.
pub fn start(blueprint: Arc<dyn Blueprint>, context: BuildContext, outlet: Outlet) -> Arc<dyn Running> {
    let receiver = ShardTasks::default();
    let start = Start {
        blueprint,
        context,
        outlet,
        quit: receiver.quit.clone(),
        tasks: receiver.tasks.clone(),
    };
    receiver.tasks.spawn(start.run());
    Arc::new(receiver)
}

struct Start {
    blueprint: Arc<dyn Blueprint>,
    context: BuildContext,
    outlet: Outlet,
    quit: CancellationToken,
    tasks: TaskTracker,
}

impl Start {
    async fn run(self) {
        let stop = self.context.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.open_shards() => {}
        }
    }

    async fn open_shards(&self) {
        let context = &self.context;
        let health = Arc::new(Health::new(context.clone()));
        let (access, places) = loop {
            let settings = self.blueprint.settings().access.clone();
            let loading = Access::load(settings, Arc::clone(&context.clock));
            let access = tokio::select! {
                () = self.quit.cancelled() => return,
                access = loading => access,
            };
            let places = access.places();
            if !places.is_empty() {
                break (Arc::new(access), places);
            }
            let trouble = "no region: set `regions`, AWS_REGION or a profile";
            tracing::warn!(receiver = %context.id, "{trouble}; trying on");
            health.report("regions", Some(trouble.to_owned()));
            tokio::select! {
                () = self.quit.cancelled() => return,
                () = context.clock.sleep(RETRY) => {}
            }
        };
        health.report("regions", None);
        for place in places {
            let shared = Shared {
                blueprint: Arc::clone(&self.blueprint),
                context: context.clone(),
                outlet: self.outlet.clone(),
                health: Arc::clone(&health),
            };
            let (access, quit) = (Arc::clone(&access), self.quit.clone());
            self.tasks.spawn(async move {
                let stop = shared.context.stop.clone();
                let work = async {
                    if let Some(shard) = Shard::open(shared, access, place, &quit).await {
                        shard.run(quit.clone()).await;
                    }
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = work => {}
                }
            });
        }
    }
}
