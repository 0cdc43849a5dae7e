//! What follows from points and descriptions, kept between rounds: signals of whole tables, levels, hot keys.
//!
//! Points wait here until the pipeline has taken them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clients::Clients;
use super::config::Config;
use super::derived;
use super::discovery::{Discovery, NAMESPACE};
use super::hot_keys::HotKeys;
use super::levels::{Levels, of_account, of_collection};
use super::query::Queries;
use super::signals::{Point, Progress, Seen, Signals};
use crate::aws::Failure;
use crate::aws::cloudwatch::bill::Ledgers;
use crate::aws::cloudwatch::derived::throttle::Cause;
use crate::aws::cloudwatch::{ACCOUNT, Builder, Desk, Name, OwnPoint, Settled, Stat, Tracks};
use crate::component::{Counter, DropReason, LimitedLog, StateStore};
use crate::pdata::Signal;

/// Points that wait at most; the oldest go first.
const MOST_WAITING: usize = 50_000;
const MINUTE: i64 = 60;
/// What is not allowed is tried again after so long.
const DENIED_S: i64 = 600;
const HOT_KEYS: &str = "hot keys";
const QUERIES: &str = "queries";

/// Everything that is derived for one account and region.
pub struct Following {
    config: Arc<Config>,
    state: Arc<dyn StateStore>,
    signals: Signals,
    levels: Levels,
    queries: Queries,
    hot_keys: Option<HotKeys>,
    /// Resource and point.
    waiting: Vec<(Name, Point)>,
    /// How many of them were offered.
    offered: usize,
    /// What is not allowed, and when it is tried again.
    denied: BTreeMap<&'static str, (Failure, i64)>,
    state_trouble: LimitedLog,
    /// Points that waited for too long.
    overflow: Counter,
}

impl Following {
    pub fn new(config: &Arc<Config>, desk: &Desk) -> Self {
        let context = &desk.context;
        let billed = || {
            let labels = [
                ("account", desk.account.as_str()),
                ("region", desk.region.as_str()),
                ("source", "insights"),
            ];
            let help = "Metrics asked for, as AWS bills them.";
            context
                .instruments
                .counter("cloudwatch_billed_metrics_total", help, &labels)
        };
        Self {
            config: Arc::clone(config),
            state: Arc::clone(&context.state),
            signals: Signals::default(),
            levels: Levels::new(context.id.as_str(), &desk.account, &desk.region),
            queries: Queries::default(),
            hot_keys: config.hot_keys.map(|settings| {
                let ledger = context.commons.get::<Ledgers>().of(context.id.as_str());
                HotKeys::new(settings, billed(), ledger)
            }),
            waiting: Vec::new(),
            offered: 0,
            denied: BTreeMap::new(),
            state_trouble: LimitedLog::default(),
            overflow: context
                .instruments
                .dropped(Signal::Metrics, DropReason::OverflowDropOldest),
        }
    }

    /// Asks what is due beside discovery.
    pub async fn refresh(&mut self, clients: &Clients, discovery: &Discovery, now: i64) -> Vec<Failure> {
        let mut failures = Vec::new();
        if !self.config.derived {
            return failures;
        }
        if let Err(error) = self.levels.note(discovery, &self.state, now).await
            && self.state_trouble.admit().is_some()
        {
            tracing::warn!(%error, "item counts are not kept: their growth begins anew after a restart");
        }
        let config = Arc::clone(&self.config);
        if let Some(hot_keys) = self
            .hot_keys
            .as_mut()
            .filter(|_| is_allowed(&self.denied, HOT_KEYS, now))
        {
            let wanted = |table: &str| config.resources.take(table);
            let result = hot_keys.refresh(clients, &self.state, wanted, now).await;
            settle(&mut self.denied, HOT_KEYS, result, now, &mut failures);
        }
        if is_allowed(&self.denied, QUERIES, now) {
            let result = self
                .queries
                .go_on(clients, discovery, &config.item_collections, now)
                .await;
            settle(&mut self.denied, QUERIES, result, now, &mut failures);
        }
        failures
    }

    /// Permissions that are missing, in words for an operator.
    pub fn denied(&self) -> impl Iterator<Item = String> {
        self.denied.values().map(|(failure, _)| failure.to_string())
    }

    /// Takes a settled point in. Shown again it changes nothing.
    pub fn see(&self, point: &Settled, discovery: &Discovery, tracks: &Tracks, into: &mut Builder) {
        if !self.config.derived {
            return;
        }
        let utilization = derived::utilization(point, discovery, tracks, into);
        let want = &point.want;
        let Some(table) = want.dimension("TableName") else {
            return;
        };
        let (index, operation) = (want.dimension("GlobalSecondaryIndexName"), want.dimension("Operation"));
        // Series with more dimensions are parts of those with fewer.
        let plain = 1 + usize::from(index.is_some()) + usize::from(operation.is_some());
        if want.dimensions.len() != plain || want.shape.period != MINUTE {
            return;
        }
        let value = |wanted: &Stat| {
            let position = want.shape.statistics.iter().position(|stat| stat == wanted)?;
            point.values.get(position).copied()
        };
        self.signals.see(&Seen {
            table,
            metric: &want.shape.metric,
            index,
            operation,
            at: point.at,
            sum: value(&Stat::Sum).unwrap_or(0.0),
            count: value(&Stat::SampleCount).unwrap_or(0.0),
            p99: value(&Stat::Percentile("p99".to_owned())),
            utilization,
        });
    }

    /// Everything that is ready, and what was not taken before.
    pub fn points(&mut self, now: i64, discovery: &Discovery, tracks: &Tracks, into: &mut Builder) {
        if !self.config.derived {
            return;
        }
        self.signals.keep(|table| discovery.table(table).is_some());
        let watermarks = tracks.watermarks(now);
        for table in discovery.tables() {
            let Some(watermark) = watermarks.get(&table.arn) else {
                continue;
            };
            let decided = |metric: &str, operation: &str, at: i64| {
                let dimensions = [("Operation", operation), ("TableName", &*table.name)];
                is_decided(tracks, metric, &dimensions, at)
            };
            let cause_decided = |direction: &str, index: Option<&str>, at: i64| {
                let mut dimensions = Vec::with_capacity(2);
                dimensions.extend(index.map(|index| ("GlobalSecondaryIndexName", index)));
                dimensions.push(("TableName", &*table.name));
                Cause::TOLD.iter().all(|cause| {
                    let metric = format!("{direction}{}ThrottleEvents", cause.metric());
                    is_decided(tracks, &metric, &dimensions, at)
                })
            };
            let progress = Progress {
                watermark: watermark - MINUTE,
                max_late: self.config.engine.max_late,
                now,
                is_decided: &decided,
                is_cause_decided: &cause_decided,
            };
            let points = self.signals.judge(&table.name, &progress);
            let arn = Arc::clone(&table.arn);
            self.waiting
                .extend(points.into_iter().map(|point| (Arc::clone(&arn), point)));
        }
        if self.levels.is_due(now) {
            self.add_levels(now, discovery);
        }
        let account: Name = ACCOUNT.into();
        let mut of_tables = self.queries.take_points();
        of_tables.extend(
            self.hot_keys
                .iter_mut()
                .flat_map(|keys| std::mem::take(&mut keys.points)),
        );
        for point in of_tables {
            let resource = resource_of(&point, discovery).unwrap_or_else(|| Arc::clone(&account));
            self.waiting.push((resource, point));
        }
        let too_many = self.waiting.len().saturating_sub(MOST_WAITING);
        self.overflow.add(too_many as u64);
        self.waiting.drain(..too_many);
        for (resource, point) in &self.waiting {
            add(resource, point, into);
        }
        self.offered = self.waiting.len();
    }

    fn add_levels(&mut self, now: i64, discovery: &Discovery) {
        let account: Name = ACCOUNT.into();
        for point in of_account(discovery.limits(), discovery, now) {
            self.waiting.push((Arc::clone(&account), point));
        }
        for table in discovery.tables() {
            let mut parts = vec![(None, &table.table)];
            parts.extend(table.indexes.iter().map(|(name, part)| (Some(name.as_str()), part)));
            for point in self.levels.of_table(&table.name, &parts, now) {
                self.waiting.push((Arc::clone(&table.arn), point));
            }
        }
        for collection in &self.config.item_collections {
            // Of a table that is read here, whatever the account and region.
            let Some(table) = discovery.table(&collection.table) else {
                continue;
            };
            if let Some(model) = collection.model {
                let point = of_collection(collection, "model", model.bytes(), now);
                self.waiting.push((Arc::clone(&table.arn), point));
            }
        }
    }

    /// What became of the points that were offered last.
    pub fn answered(&mut self, taken: bool) {
        let offered = std::mem::take(&mut self.offered);
        if taken {
            self.waiting.drain(..offered.min(self.waiting.len()));
        }
    }
}

fn is_allowed(denied: &BTreeMap<&'static str, (Failure, i64)>, what: &str, now: i64) -> bool {
    denied.get(what).is_none_or(|(_, until)| now >= *until)
}

/// Keeps a denial until it is tried again; what else failed is only told.
fn settle(
    denied: &mut BTreeMap<&'static str, (Failure, i64)>,
    what: &'static str,
    result: Result<(), Failure>,
    now: i64,
    failures: &mut Vec<Failure>,
) {
    match result {
        Ok(()) => {
            denied.remove(what);
        }
        Err(failure) => {
            failures.push(failure.clone());
            if matches!(failure, Failure::Denied { .. }) {
                denied.insert(what, (failure, now + DENIED_S));
            }
        }
    }
}

fn is_decided(tracks: &Tracks, metric: &str, dimensions: &[(&str, &str)], at: i64) -> bool {
    let history = tracks.history(NAMESPACE, metric, dimensions);
    history.is_none_or(|history| history.cursor() > at)
}

fn resource_of(point: &Point, discovery: &Discovery) -> Option<Name> {
    let (_, table) = point.attributes.iter().find(|(key, _)| *key == "TableName")?;
    discovery.table(table).map(|table| Arc::clone(&table.arn))
}

fn add(resource: &str, point: &Point, into: &mut Builder) {
    let attributes: Vec<(&str, &str)> = point
        .attributes
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    into.add_derived(
        resource,
        &OwnPoint {
            name: point.name,
            unit: point.unit,
            attributes: &attributes,
            start: point.start,
            time: point.time,
            value: point.value,
        },
    );
}
