//! Which tables there are, and which series that makes. A failed call keeps what was known.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::types::RecentlyActive;
use aws_sdk_dynamodb::types::{BillingMode, TableDescription};

use super::config::Config;
use super::shard::Clients;
use crate::aws::Failure;
use crate::aws::catalogue::{Metric, catalogue};
use crate::aws::cloudwatch::{Class, SeriesId, Want, ZeroFill, statistics};

pub const NAMESPACE: &str = "AWS/DynamoDB";

/// The resource id of everything that belongs to no table.
pub const ACCOUNT: &str = "";

const TABLE: &str = "TableName";
const INDEX: &str = "GlobalSecondaryIndexName";

/// One call lists every active metric; hourly is enough.
const LIST_METRICS_S: i64 = 3600;
const DESCRIBE_S: i64 = 900;
/// An operation that was seen once may be throttled again for so long.
const OPERATION_S: i64 = 14 * 86_400;

/// Units per second of one table or index; `None`: no maximum is set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    pub read: Option<f64>,
    pub write: Option<f64>,
}

/// A table or one of its indexes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub limits: Limits,
    /// Unix seconds from which it exists, as far as known.
    pub since: i64,
}

/// What DescribeTable said.
#[derive(Clone, Debug, PartialEq)]
pub struct TableInfo {
    pub name: String,
    pub arn: String,
    pub on_demand: bool,
    pub table: Part,
    pub indexes: BTreeMap<String, Part>,
}

impl TableInfo {
    /// The table (`None`) or one of its indexes.
    pub fn part(&self, index: Option<&str>) -> Option<&Part> {
        index.map_or(Some(&self.table), |index| self.indexes.get(index))
    }
}

/// The known world of one account and region.
#[derive(Default)]
pub struct Discovery {
    tables: BTreeMap<String, TableInfo>,
    /// Tables that ListTables named.
    names: BTreeSet<String>,
    next_describe: BTreeMap<String, i64>,
    next_list_tables: i64,
    next_list_metrics: i64,
    /// Series of ListMetrics, and until when they count.
    listed: BTreeMap<SeriesId, i64>,
}

impl Discovery {
    /// The tables that were described.
    pub fn tables(&self) -> impl Iterator<Item = &TableInfo> {
        self.tables.values()
    }

    /// By name.
    pub fn table(&self, name: &str) -> Option<&TableInfo> {
        self.tables.get(name)
    }

    /// Asks what is due. `Ok(true)` when something may have changed.
    ///
    /// # Errors
    /// The first failed call; what was learned before it stays.
    pub async fn refresh(&mut self, clients: &Clients, config: &Config, now: i64) -> Result<bool, Failure> {
        let mut changed = false;
        if now >= self.next_list_tables {
            self.list_tables(clients, config, now).await?;
            self.next_list_tables = now + config.discovery_interval;
            changed = true;
        }
        let due: Vec<String> = self
            .names
            .iter()
            .filter(|name| self.next_describe.get(*name).is_none_or(|at| now >= *at))
            .cloned()
            .collect();
        for name in due {
            self.describe(clients, &name, now).await?;
            changed = true;
        }
        if now >= self.next_list_metrics {
            self.list_metrics(clients, now).await?;
            self.next_list_metrics = now + LIST_METRICS_S;
            changed = true;
        }
        Ok(changed)
    }

    async fn list_tables(&mut self, clients: &Clients, config: &Config, now: i64) -> Result<(), Failure> {
        let mut names = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let call = clients
                .dynamodb
                .list_tables()
                .set_exclusive_start_table_name(after.take());
            let page = clients.list_tables.send(|| call.send()).await?;
            names.extend(
                page.table_names()
                    .iter()
                    .filter(|name| config.tables.take(name))
                    .cloned(),
            );
            match page.last_evaluated_table_name() {
                Some(last) => after = Some(last.to_owned()),
                None => break,
            }
        }
        for name in names.difference(&self.names) {
            tracing::info!(table = %name, region = %clients.region, "found a DynamoDB table");
            self.next_describe.insert(name.clone(), now);
        }
        for name in self.names.difference(&names) {
            tracing::info!(table = %name, region = %clients.region, "a DynamoDB table is gone");
            self.next_describe.remove(name);
            self.tables.remove(name);
        }
        self.names = names;
        Ok(())
    }

    async fn describe(&mut self, clients: &Clients, name: &str, now: i64) -> Result<(), Failure> {
        let call = clients.dynamodb.describe_table().table_name(name);
        let answer = match clients.describe_table.send(|| call.send()).await {
            Ok(answer) => answer,
            // Deleted since the list was made.
            Err(Failure::Refused { code, .. }) if code == "ResourceNotFoundException" => {
                self.names.remove(name);
                self.next_describe.remove(name);
                self.tables.remove(name);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        if let Some(description) = answer.table() {
            let known = self.tables.get(name);
            let info = read_table(description, name, known, now);
            self.tables.insert(name.to_owned(), info);
        }
        // The first round comes at once; later ones are spread so that 1,000 tables make no burst.
        let spread = (xxhash_rust::xxh3::xxh3_64(name.as_bytes()) % 300) as i64;
        self.next_describe.insert(name.to_owned(), now + DESCRIBE_S - spread);
        Ok(())
    }

    async fn list_metrics(&mut self, clients: &Clients, now: i64) -> Result<(), Failure> {
        let mut token: Option<String> = None;
        loop {
            let call = clients
                .cloudwatch
                .list_metrics()
                .namespace(NAMESPACE)
                .recently_active(RecentlyActive::Pt3H)
                .set_next_token(token.take());
            let page = clients.list_metrics.send(|| call.send()).await?;
            for metric in page.metrics() {
                let dimensions: Vec<(&str, &str)> = metric
                    .dimensions()
                    .iter()
                    .filter_map(|dimension| Some((dimension.name()?, dimension.value()?)))
                    .collect();
                if let Some(name) = metric.metric_name() {
                    let series = SeriesId::new(NAMESPACE, name, &dimensions);
                    // Listed again within the hour, or gone after the three that it stands for.
                    self.listed.insert(series, now + 4 * LIST_METRICS_S);
                    self.remember_operation(&dimensions, now);
                }
            }
            match page.next_token() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        self.listed.retain(|_, until| now < *until);
        Ok(())
    }

    /// Throttles and errors of an operation are watched before they happen for the first time.
    fn remember_operation(&mut self, dimensions: &[(&str, &str)], now: i64) {
        let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
        if !names.contains(&"Operation") {
            return;
        }
        for metric in ["ThrottledRequests", "SystemErrors"] {
            let mut sorted = names.clone();
            sorted.sort_unstable();
            let exists = catalogue()
                .find(NAMESPACE, metric)
                .is_some_and(|metric| metric.has_dimensions(&sorted));
            if exists {
                self.listed
                    .insert(SeriesId::new(NAMESPACE, metric, dimensions), now + OPERATION_S);
            }
        }
    }

    /// Everything to poll.
    pub fn wants(&self, config: &Config) -> Vec<Want> {
        let mut wants: BTreeMap<SeriesId, Want> = BTreeMap::new();
        let mut add = |series: SeriesId, resource: &str, since: i64| {
            let names: Vec<&str> = series.dimensions.iter().map(|(name, _)| name.as_str()).collect();
            let metric = catalogue()
                .find(NAMESPACE, &series.metric)
                .filter(|metric| metric.has_dimensions(&names) && !is_always_zero(metric))
                .filter(|metric| config.metrics.take(&metric.metric));
            if let Some(metric) = metric {
                let want = want(metric, &series, config, resource, since);
                wants.entry(series).or_insert(want);
            }
        };
        for info in self.tables.values() {
            let parts = std::iter::once((None, &info.table));
            let parts = parts.chain(info.indexes.iter().map(|(name, part)| (Some(name.as_str()), part)));
            for (index, part) in parts {
                let mut dimensions = vec![(TABLE, info.name.as_str())];
                dimensions.extend(index.map(|index| (INDEX, index)));
                for metric in catalogue().of(NAMESPACE) {
                    if is_described(metric, info.on_demand) {
                        add(
                            SeriesId::new(NAMESPACE, &metric.metric, &dimensions),
                            &info.arn,
                            part.since,
                        );
                    }
                }
            }
        }
        for series in self.listed.keys() {
            match series.dimension(TABLE) {
                None => add(series.clone(), ACCOUNT, 0),
                Some(table) => {
                    if let Some(info) = self.tables.get(table) {
                        let part = info.part(series.dimension(INDEX));
                        let since = part.map_or(info.table.since, |part| part.since);
                        add(series.clone(), &info.arn, since);
                    }
                }
            }
        }
        // Without a dimension, so never listed while there was no error.
        add(SeriesId::new(NAMESPACE, "UserErrors", &[]), ACCOUNT, 0);
        wants.into_values().collect()
    }
}

fn read_table(description: &TableDescription, name: &str, known: Option<&TableInfo>, now: i64) -> TableInfo {
    let mode = description
        .billing_mode_summary()
        .and_then(|summary| summary.billing_mode());
    let on_demand = mode == Some(&BillingMode::PayPerRequest);
    // -1 stands for no maximum, 0 provisioned units for on-demand.
    let limit = |units: Option<i64>| units.filter(|units| *units > 0).map(|units| units as f64);
    let limits = |provisioned: Option<(Option<i64>, Option<i64>)>, maxima: Option<(Option<i64>, Option<i64>)>| {
        let (read, write) = if on_demand { maxima } else { provisioned }.unwrap_or((None, None));
        Limits {
            read: limit(read),
            write: limit(write),
        }
    };
    let created = description.creation_date_time().map_or(0, |time| time.secs());
    let mut indexes = BTreeMap::new();
    for index in description.global_secondary_indexes() {
        let Some(index_name) = index.index_name() else { continue };
        let provisioned = index
            .provisioned_throughput()
            .map(|units| (units.read_capacity_units(), units.write_capacity_units()));
        let maxima = index
            .on_demand_throughput()
            .map(|units| (units.max_read_request_units(), units.max_write_request_units()));
        // An index that appears on a known table is new; on a new table it is as old as that.
        let since = match known {
            Some(known) => known.indexes.get(index_name).map_or(now, |part| part.since),
            None => created,
        };
        let part = Part {
            limits: limits(provisioned, maxima),
            since,
        };
        indexes.insert(index_name.to_owned(), part);
    }
    let provisioned = description
        .provisioned_throughput()
        .map(|units| (units.read_capacity_units(), units.write_capacity_units()));
    let maxima = description
        .on_demand_throughput()
        .map(|units| (units.max_read_request_units(), units.max_write_request_units()));
    TableInfo {
        name: name.to_owned(),
        arn: description.table_arn().unwrap_or_default().to_owned(),
        on_demand,
        table: Part {
            limits: limits(provisioned, maxima),
            since: created,
        },
        indexes,
    }
}

fn want(metric: &Metric, series: &SeriesId, config: &Config, resource: &str, since: i64) -> Want {
    let class = class_of(metric);
    let fill = match config.zero_fill {
        ZeroFill::Core => class == Class::Sentinel || metric.metric == "UserErrors",
        ZeroFill::All => is_sparse(metric),
        ZeroFill::None => false,
    };
    Want {
        series: series.clone(),
        kind: metric.otel_kind,
        unit: metric.unit.clone(),
        statistics: statistics(metric, &config.percentiles, config.min_max),
        period: i64::from(metric.period_s),
        class,
        fill,
        resource: resource.to_owned(),
        exists_from: since,
    }
}

fn class_of(metric: &Metric) -> Class {
    match metric.metric.as_str() {
        _ if metric.period_s >= 300 => Class::Native,
        "ReadThrottleEvents" | "WriteThrottleEvents" => Class::Sentinel,
        "ConsumedReadCapacityUnits" | "ConsumedWriteCapacityUnits" | "SuccessfulRequestLatency" => Class::Core,
        _ => Class::Detail,
    }
}

/// Series that are asked for because the table is there, not because ListMetrics names them: a throttle that never
/// happened is invisible there, and the first one would be missed for 15 minutes.
fn is_described(metric: &Metric, on_demand: bool) -> bool {
    let name = metric.metric.as_str();
    match name {
        "ConsumedReadCapacityUnits" | "ConsumedWriteCapacityUnits" => true,
        "ProvisionedReadCapacityUnits" | "ProvisionedWriteCapacityUnits" => !on_demand,
        "OnDemandMaxReadRequestUnits" | "OnDemandMaxWriteRequestUnits" => on_demand,
        _ => name.ends_with("ThrottleEvents"),
    }
}

/// Index-building metrics that AWS still publishes, always as 0.
fn is_always_zero(metric: &Metric) -> bool {
    matches!(
        metric.metric.as_str(),
        "OnlineIndexConsumedWriteCapacity" | "OnlineIndexThrottleEvents"
    )
}

/// No point means nothing happened.
fn is_sparse(metric: &Metric) -> bool {
    let name = metric.metric.as_str();
    name.ends_with("ThrottleEvents")
        || name.starts_with("FaultInjection")
        || matches!(
            name,
            "ThrottledRequests"
                | "SystemErrors"
                | "UserErrors"
                | "ConditionalCheckFailedRequests"
                | "TransactionConflict"
                | "TimeToLiveDeletedItemCount"
        )
}
