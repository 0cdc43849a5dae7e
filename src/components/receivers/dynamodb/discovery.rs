//! Which tables there are, and which series that makes. A failed call keeps what was known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use aws_sdk_cloudwatch::types::RecentlyActive;

use super::clients::Clients;
use super::config::Config;
use super::levels::AccountLimits;
use super::series::{is_always_zero, is_described, shape};
use super::tables::{TableInfo, read_table};
use crate::aws::Failure;
use crate::aws::catalogue::catalogue;
use crate::aws::cloudwatch::tagged::Tagged;
use crate::aws::cloudwatch::{ACCOUNT, Name, Names, SeriesId, Shape, Want};

pub const NAMESPACE: &str = "AWS/DynamoDB";

const LIST_TABLES: &str = "dynamodb:ListTables";
const LIST_METRICS: &str = "cloudwatch:ListMetrics";
const DESCRIBE_LIMITS: &str = "dynamodb:DescribeLimits";
const DESCRIBE_TABLE: &str = "dynamodb:DescribeTable";

const TABLE: &str = "TableName";
const INDEX: &str = "GlobalSecondaryIndexName";

/// One call lists every active metric; hourly is enough.
const LIST_METRICS_S: i64 = 3600;
const DESCRIBE_S: i64 = 900;
/// Of each round so many seconds are for describing tables that are new, and for describing known ones again.
const NEW_S: f64 = 40.0;
const AGAIN_S: f64 = 10.0;
/// More than once a minute is throttled.
const DESCRIBE_LIMITS_S: i64 = 3600;
/// What is not allowed is tried again after so long.
const DENIED_S: i64 = 600;
/// An operation that was seen once may be throttled again for so long.
const OPERATION_S: i64 = 14 * 86_400;

/// The known world of one account and region.
#[derive(Default)]
pub struct Discovery {
    tables: BTreeMap<String, TableInfo>,
    /// Tables that ListTables named.
    names: BTreeSet<String>,
    next_describe: BTreeMap<String, i64>,
    next_list_tables: i64,
    next_list_metrics: i64,
    next_limits: i64,
    limits: Option<AccountLimits>,
    /// Series of ListMetrics, and until when they count.
    listed: BTreeMap<SeriesId, i64>,
    /// Actions that are not allowed, by action and table. Only what needs them is missing.
    denied: BTreeMap<(&'static str, String), Failure>,
    names_of: Names,
    /// How each metric is polled, by its name.
    shapes: HashMap<Name, Arc<Shape>>,
    /// Tables or series have come or gone since wants were last asked for.
    changed: bool,
}

impl Discovery {
    /// The tables that were described.
    pub fn tables(&self) -> impl Iterator<Item = &TableInfo> {
        self.tables.values()
    }

    /// What the account may provision, where that is known.
    pub fn limits(&self) -> Option<AccountLimits> {
        self.limits
    }

    /// By name.
    pub fn table(&self, name: &str) -> Option<&TableInfo> {
        self.tables.get(name)
    }

    /// Asks what is due. A failed call keeps what was known, and the others go on. Returns what failed now; what is
    /// denied stands in [`Self::denied`].
    pub async fn refresh(&mut self, clients: &Clients, config: &Config, tags: &Tagged, now: i64) -> Vec<Failure> {
        let mut failures = Vec::new();
        if now >= self.next_list_tables {
            let result = self.list_tables(clients, config, tags, now).await;
            let wait = config.discovery_interval;
            if let Some(next) = self.settle((LIST_TABLES, ""), result, &mut failures) {
                self.next_list_tables = now + next.unwrap_or(wait);
            }
        }
        if now >= self.next_list_metrics {
            let result = self.list_metrics(clients, now).await;
            if let Some(next) = self.settle((LIST_METRICS, ""), result, &mut failures) {
                self.next_list_metrics = now + next.unwrap_or(LIST_METRICS_S);
            }
        }
        if config.derived && now >= self.next_limits {
            let result = self.describe_limits(clients).await;
            if let Some(next) = self.settle((DESCRIBE_LIMITS, ""), result, &mut failures) {
                self.next_limits = now + next.unwrap_or(DESCRIBE_LIMITS_S);
            }
        }
        if self.denied.contains_key(&(LIST_TABLES, String::new())) {
            self.names_from_metrics(clients, config, tags, now);
        }
        for name in self.to_describe(clients.describe_table.rate(), now) {
            if failures
                .iter()
                .any(|failure| !matches!(failure, Failure::Denied { .. }))
            {
                // What ails AWS ails the next call too; the next round asks again.
                break;
            }
            let result = self.describe(clients, &name, now).await;
            let was_denied = matches!(result, Err(Failure::Denied { .. }));
            if let Some(next) = self.settle((DESCRIBE_TABLE, &name), result, &mut failures) {
                // The first round comes at once; later ones are spread so that 1,000 tables make no burst.
                let spread = (xxhash_rust::xxh3::xxh3_64(name.as_bytes()) % 300) as i64;
                self.next_describe
                    .insert(name.clone(), now + next.unwrap_or(DESCRIBE_S - spread));
            }
            if was_denied {
                let info = || TableInfo::undescribed(&name, clients.arn_of_table(&name).into(), now);
                self.tables.entry(name.clone()).or_insert_with(info);
                self.changed = true;
            }
        }
        failures
    }

    /// The tables to describe in this round: those that are not known yet, then those that are due longest. No more than
    /// the rate allows in a part of the round, because series are polled when they have been described; a fleet that is too
    /// large for that is described less often.
    fn to_describe(&self, rate: f64, now: i64) -> Vec<String> {
        let (mut new, mut due) = (Vec::new(), Vec::new());
        for name in &self.names {
            match self.next_describe.get(name) {
                None => new.push(name.clone()),
                Some(at) if now >= *at => due.push((*at, name)),
                Some(_) => {}
            }
        }
        let at_most = |seconds: f64| (rate * seconds).max(1.0) as usize;
        new.truncate(at_most(NEW_S));
        due.sort_unstable();
        let room = at_most(AGAIN_S).saturating_sub(new.len());
        new.extend(due.into_iter().take(room).map(|(_, name)| name.clone()));
        new
    }

    /// Sorts out a result: `None`, try again in the next round; else after so many seconds, or as usual.
    fn settle(
        &mut self,
        what: (&'static str, &str),
        result: Result<(), Failure>,
        failures: &mut Vec<Failure>,
    ) -> Option<Option<i64>> {
        let key = (what.0, what.1.to_owned());
        match result {
            Ok(()) => {
                self.denied.remove(&key);
                Some(None)
            }
            Err(failure) => {
                failures.push(failure.clone());
                if !matches!(failure, Failure::Denied { .. }) {
                    return None;
                }
                self.denied.insert(key, failure);
                Some(Some(DENIED_S))
            }
        }
    }

    /// The first denial of each action, and how many tables it concerns.
    pub fn denied(&self) -> Vec<String> {
        let mut by_action: BTreeMap<&str, (String, usize)> = BTreeMap::new();
        for ((action, _), failure) in &self.denied {
            by_action.entry(action).or_insert_with(|| (failure.to_string(), 0)).1 += 1;
        }
        let told = by_action.into_values().map(|(text, count)| match count {
            1 => text,
            more => format!("{text} (and {} more)", more - 1),
        });
        told.collect()
    }

    /// Where tables may not be listed their metrics name them.
    fn names_from_metrics(&mut self, clients: &Clients, config: &Config, tags: &Tagged, now: i64) {
        let tables = self.listed.keys().filter_map(|series| series.dimension(TABLE));
        let names: BTreeSet<&str> = tables
            .filter(|name| config.resources.take(name) && tags.take(&clients.arn_of_table(name)))
            .collect();
        for name in names {
            if self.names.insert(name.to_owned()) {
                self.next_describe.insert(name.to_owned(), now);
            }
        }
    }

    fn forget(&mut self, name: &str) {
        self.next_describe.remove(name);
        self.tables.remove(name);
        self.changed = true;
        self.denied.remove(&(DESCRIBE_TABLE, name.to_owned()));
    }

    async fn list_tables(
        &mut self,
        clients: &Clients,
        config: &Config,
        tags: &Tagged,
        now: i64,
    ) -> Result<(), Failure> {
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
                    .filter(|name| config.resources.take(name) && tags.take(&clients.arn_of_table(name)))
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
        let gone: Vec<String> = self.names.difference(&names).cloned().collect();
        for name in gone {
            tracing::info!(table = %name, region = %clients.region, "a DynamoDB table is gone");
            self.forget(&name);
        }
        self.names = names;
        Ok(())
    }

    async fn describe_limits(&mut self, clients: &Clients) -> Result<(), Failure> {
        let call = clients.dynamodb.describe_limits();
        let answer = clients.describe_limits.send(|| call.send()).await?;
        let units = |units: Option<i64>| units.map(|units| units as f64);
        let all = [
            units(answer.account_max_read_capacity_units()),
            units(answer.account_max_write_capacity_units()),
            units(answer.table_max_read_capacity_units()),
            units(answer.table_max_write_capacity_units()),
        ];
        if let [Some(read), Some(write), Some(table_read), Some(table_write)] = all {
            self.limits = Some(AccountLimits {
                account: [read, write],
                table: [table_read, table_write],
            });
        }
        Ok(())
    }

    async fn describe(&mut self, clients: &Clients, name: &str, now: i64) -> Result<(), Failure> {
        let call = clients.dynamodb.describe_table().table_name(name);
        let answer = match clients.describe_table.send(|| call.send()).await {
            Ok(answer) => answer,
            // Deleted since the list was made.
            Err(Failure::Refused { code, .. }) if code == "ResourceNotFoundException" => {
                self.names.remove(name);
                self.forget(name);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        if let Some(description) = answer.table() {
            let known = self.tables.get(name);
            let mut info = read_table(description, name, known, now);
            info.arn = self.names_of.name(&info.arn);
            self.changed |= known != Some(&info);
            self.tables.insert(name.to_owned(), info);
        }
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
                    let series = self.names_of.series(NAMESPACE, name, &dimensions);
                    // Listed again within the hour, or gone after the three that it stands for.
                    let new = self.listed.insert(series, now + 4 * LIST_METRICS_S).is_none();
                    self.changed |= new;
                    self.remember_operation(&dimensions, now);
                }
            }
            match page.next_token() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        let before = self.listed.len();
        self.listed.retain(|_, until| now < *until);
        self.changed |= self.listed.len() < before;
        self.names_of.tidy();
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
                let series = self.names_of.series(NAMESPACE, metric, dimensions);
                self.changed |= self.listed.insert(series, now + OPERATION_S).is_none();
            }
        }
    }

    /// Something else that is polled has come or gone.
    pub fn note(&mut self, changed: bool) {
        self.changed |= changed;
    }

    /// Everything to poll; `None` where that is what it was at the last call.
    pub fn wants_if_changed(&mut self, config: &Config) -> Option<Vec<Want>> {
        std::mem::take(&mut self.changed).then(|| self.wants(config))
    }

    /// Everything to poll.
    pub fn wants(&mut self, config: &Config) -> Vec<Want> {
        let mut wants: Vec<Want> = Vec::new();
        // Equal names are one name in memory. One that is not would be wanted twice, which does no harm.
        let mut known: HashSet<(usize, usize)> = HashSet::new();
        let (names, shapes) = (&mut self.names_of, &mut self.shapes);
        let account = names.name(ACCOUNT);
        let mut add = |series: SeriesId, resource: &Name, since: i64, names: &mut Names| {
            let addresses = (series.metric.as_ptr() as usize, series.dimensions.as_ptr() as usize);
            if !known.insert(addresses) {
                return;
            }
            let dimensions: Vec<&str> = series.dimensions.iter().map(|(name, _)| &**name).collect();
            let metric = catalogue()
                .find(NAMESPACE, &series.metric)
                .filter(|metric| metric.has_dimensions(&dimensions))
                .filter(|metric| !is_always_zero(metric) || config.metrics.names(&metric.metric))
                .filter(|metric| config.metrics.take(&metric.metric));
            if let Some(metric) = metric {
                let made = || Arc::new(shape(metric, config, names));
                let shape = shapes.entry(Arc::clone(&series.metric)).or_insert_with(made);
                let want = Want {
                    shape: Arc::clone(shape),
                    dimensions: Arc::clone(&series.dimensions),
                    resource: Arc::clone(resource),
                    exists_from: since,
                };
                wants.push(want);
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
                        let series = names.series(NAMESPACE, &metric.metric, &dimensions);
                        add(series, &info.arn, part.since, names);
                    }
                }
            }
        }
        for series in self.listed.keys() {
            match series.dimension(TABLE) {
                None => add(series.clone(), &account, 0, names),
                Some(table) => {
                    if let Some(info) = self.tables.get(table) {
                        let part = info.part(series.dimension(INDEX));
                        let since = part.map_or(info.table.since, |part| part.since);
                        add(series.clone(), &info.arn, since, names);
                    }
                }
            }
        }
        // Without a dimension, so never listed while there was no error.
        let series = names.series(NAMESPACE, "UserErrors", &[]);
        add(series, &account, 0, names);
        wants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Section;

    #[test]
    fn a_large_fleet_is_described_in_parts_new_tables_first() {
        let mut discovery = Discovery {
            names: (0..1_000).map(|number| format!("t{number:04}")).collect(),
            ..Discovery::default()
        };
        assert_eq!(discovery.to_describe(5.0, 0).len(), 200);
        for number in 0..998 {
            discovery.next_describe.insert(format!("t{number:04}"), 2_000 - number);
        }
        let next = discovery.to_describe(5.0, 1_500);
        assert_eq!(next.len(), 50);
        assert_eq!(next[..3], ["t0998", "t0999", "t0997"], "new ones, then the longest due");
        assert_eq!(discovery.to_describe(5.0, 0).len(), 2);
        assert_eq!(
            discovery.to_describe(0.05, 1_500).len(),
            2,
            "slow, but never not at all"
        );
    }

    #[test]
    fn every_metric_of_the_catalogue_is_wanted_in_every_set_of_dimensions() {
        let mut discovery = Discovery::default();
        let table = TableInfo::undescribed("t", "arn".into(), 0);
        discovery.tables.insert("t".to_owned(), table);
        let mut expected = Vec::new();
        for metric in catalogue().of(NAMESPACE) {
            for set in &metric.dimensions {
                let values = set
                    .iter()
                    .map(|name| (name.as_str(), if name == TABLE { "t" } else { "x" }));
                let series = SeriesId::new(NAMESPACE, &metric.metric, &values.collect::<Vec<_>>());
                discovery.listed.insert(series.clone(), 1);
                expected.push((series, metric));
            }
        }
        let config = super::super::config::check(&Section::from_yaml("regions: [eu-central-1]")).unwrap();
        let wants = discovery.wants(&config);
        let text = "regions: [eu-central-1]\nmetrics: {include: [\"*\", \"OnlineIndex*\"]}";
        let config = super::super::config::check(&Section::from_yaml(text)).unwrap();
        let named = discovery.wants(&config);
        assert!(expected.len() > 60, "{}", expected.len());
        for (series, metric) in expected {
            let want = wants.iter().find(|want| want.series() == series);
            // Two that AWS always publishes as 0: only for whoever names them.
            if metric.metric.starts_with("OnlineIndex") && metric.metric != "OnlineIndexPercentageProgress" {
                assert!(want.is_none(), "{series:?}");
                assert!(named.iter().any(|want| want.series() == series), "{series:?}");
                continue;
            }
            let want = want.unwrap_or_else(|| panic!("{series:?} is not asked for"));
            let want = &want.shape;
            assert_eq!(*want.unit, *metric.unit);
            assert_eq!(want.kind, metric.otel_kind);
            assert_eq!(want.period, i64::from(metric.period_s));
            assert!(
                (1..=5).contains(&want.statistics.len()),
                "{series:?} {:?}",
                want.statistics
            );
        }
    }
}
