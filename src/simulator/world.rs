//! The series of a simulated account and their values: what is finally true, and what shows at a given moment.

use std::collections::HashMap;
use std::sync::Arc;

use super::everything;
use super::load::{Cause, TableMinute, table_minute};
use super::memory::{Listing, PerSeries, Ring};
use super::random::Dice;
use super::sagemaker;
use super::scenario::{Capacity, Direction, Lag, Scenario, Table};
use super::statistics::Samples;

/// What a series measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    Consumed(Option<usize>, Direction),
    Provisioned(Option<usize>, Direction),
    OnDemandMax(Option<usize>, Direction),
    Throttles(Option<usize>, Direction),
    Caused(Option<usize>, Direction, Cause),
    Latency(usize),
    ThrottledRequests(usize),
    SystemErrors(usize),
    ReturnedItems(usize),
    ConditionalFailures,
    TransactionConflicts,
    ExpiredItems,
    UserErrors,
    /// A number that does not change.
    Constant(f64),
    /// Something around 10: for metrics that no load gives.
    Any,
    /// Position in the fleet's list.
    SageMaker(usize),
}

/// One metric with its dimensions.
#[derive(Clone, Debug)]
pub struct Series {
    pub account: String,
    pub region: String,
    pub namespace: String,
    pub metric: String,
    /// Sorted by name.
    pub dimensions: Vec<(String, String)>,
    pub measure: Measure,
    /// Seconds between points.
    pub period: i64,
    /// Position in the scenario; `None`: account-wide.
    table: Option<usize>,
    key: String,
    /// Position in the world.
    position: usize,
}

/// What a series is called.
pub struct SeriesName<'a> {
    /// Account and region.
    pub place: (&'a str, &'a str),
    pub namespace: &'a str,
    pub metric: &'a str,
    /// Sorted by name.
    pub dimensions: Vec<(String, String)>,
}

impl Series {
    /// `table`: position in the scenario of the table whose life it shares.
    pub fn new(name: SeriesName<'_>, measure: Measure, period: i64, table: Option<usize>) -> Self {
        let (account, region) = name.place;
        Self {
            key: key(name.place, name.namespace, name.metric, &name.dimensions),
            account: account.to_owned(),
            region: region.to_owned(),
            namespace: name.namespace.to_owned(),
            metric: name.metric.to_owned(),
            dimensions: name.dimensions,
            measure,
            period,
            table,
            position: 0,
        }
    }

    /// All of its name in one text.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// The namespace of the tables' metrics.
pub const NAMESPACE: &str = "AWS/DynamoDB";

/// Account-wide ceilings of a fresh account.
const ACCOUNT_MAX: f64 = 80_000.0;
const TABLE_MAX: f64 = 40_000.0;

/// The account and its metrics at every minute.
pub struct World {
    pub scenario: Scenario,
    series: Vec<Series>,
    by_key: HashMap<String, usize>,
    /// Standard deviation of the logarithm of the lag.
    lag_sigma: f64,
    // Values do not depend on the order of requests; these only save work.
    minutes: PerSeries<Ring<Arc<TableMinute>>>,
    samples: PerSeries<Ring<Arc<Samples>>>,
    listings: PerSeries<Listing>,
    /// What SageMaker's series measure.
    fleet: Vec<sagemaker::Measure>,
}

fn key(place: (&str, &str), namespace: &str, metric: &str, dimensions: &[(String, String)]) -> String {
    let (account, region) = place;
    let mut key = format!("{account}/{region}/{namespace}/{metric}");
    for (name, value) in dimensions {
        key.push('/');
        key.push_str(name);
        key.push('=');
        key.push_str(value);
    }
    key
}

impl World {
    pub fn new(scenario: Scenario) -> Self {
        let mut series = Vec::new();
        for (position, table) in scenario.tables.iter().enumerate() {
            table_series(&scenario, position, table, &mut series);
        }
        for (account, region) in places(&scenario) {
            account_series(&scenario, &account, &region, &mut series);
        }
        everything::table_series(&scenario, &mut series);
        let fleet = everything::fleet_series(&scenario, &mut series);
        for (position, series) in series.iter_mut().enumerate() {
            series.position = position;
        }
        let by_key = series
            .iter()
            .enumerate()
            .map(|(position, series)| (series.key.clone(), position))
            .collect();
        let median = scenario.lag.median_s.max(0.001);
        Self {
            // 2.326 standard deviations lie below the 99th percentile.
            lag_sigma: (scenario.lag.p99_s.max(median) / median).ln() / 2.326,
            minutes: PerSeries::new(scenario.tables.len()),
            samples: PerSeries::new(series.len()),
            listings: PerSeries::new(series.len()),
            scenario,
            series,
            by_key,
            fleet,
        }
    }

    /// Every series that may ever have a point.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// The series with exactly these dimensions (sorted by name); `place` is account and region.
    pub fn find(
        &self,
        place: (&str, &str),
        namespace: &str,
        metric: &str,
        dimensions: &[(String, String)],
    ) -> Option<&Series> {
        let position = self.by_key.get(&key(place, namespace, metric, dimensions))?;
        self.series.get(*position)
    }

    /// Tables of an account and region that exist at `now` (unix seconds), by name.
    pub fn tables(&self, account: &str, region: &str, now: f64) -> Vec<&Table> {
        let minute = self.minute_of(now as i64);
        let mut tables: Vec<&Table> = self
            .scenario
            .tables
            .iter()
            .filter(|table| table_account(&self.scenario, table) == account && table.region == region)
            .filter(|table| exists(table, minute))
            .collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    /// Minutes since the scenario's start.
    pub fn minute_of(&self, unix_seconds: i64) -> i64 {
        (unix_seconds - self.scenario.start as i64).div_euclid(60)
    }

    fn table_minute(&self, position: usize, minute: i64) -> Option<Arc<TableMinute>> {
        let table = self.scenario.tables.get(position)?;
        self.minutes.with(position, |ring| {
            ring.get(minute, |minute| Arc::new(table_minute(&self.scenario, table, minute)))
        })
    }

    /// The final samples of the point that starts at `at` (unix seconds, a multiple of the series' period).
    pub fn final_samples(&self, series: &Series, at: i64) -> Samples {
        if at.rem_euclid(series.period) != 0 {
            return Samples::default();
        }
        let minute = self.minute_of(at);
        if minute < -self.scenario.history {
            return Samples::default();
        }
        let dice = Dice::new(self.scenario.seed, &series.key, minute);
        if let Measure::SageMaker(position) = series.measure {
            let Some(measure) = self.fleet.get(position) else {
                return Samples::default();
            };
            let moment = sagemaker::Moment {
                seed: self.scenario.seed,
                minute,
                dice: Dice::new(self.scenario.seed, &series.key, at.div_euclid(series.period.min(60))),
            };
            return sagemaker::samples(&self.scenario.sagemaker, measure, moment);
        }
        let Some(position) = series.table else {
            return match series.measure {
                Measure::UserErrors => Samples::ones(dice.count(0, self.scenario.user_errors)),
                Measure::Constant(value) => Samples::one(value),
                Measure::Any => Samples::log_normal(10.0, 0.2, 5, dice),
                _ => Samples::default(),
            };
        };
        let Some(table) = self.scenario.tables.get(position).filter(|table| exists(table, minute)) else {
            return Samples::default();
        };
        let Some(facts) = self.table_minute(position, minute) else {
            return Samples::default();
        };
        let costly = matches!(series.measure, Measure::Latency(_) | Measure::ReturnedItems(_));
        let draw = |minute: i64| {
            let dice = Dice::new(self.scenario.seed, &series.key, minute);
            table_samples(table, &facts, series.measure, minute, dice)
        };
        if !costly {
            return draw(minute);
        }
        let known = self.samples.with(series.position, |ring| ring.find(minute));
        if let Some(known) = known.flatten() {
            return known.as_ref().clone();
        }
        let drawn = Arc::new(draw(minute));
        self.samples
            .with(series.position, |ring| ring.put(minute, Arc::clone(&drawn)));
        Arc::unwrap_or_clone(drawn)
    }

    /// Whether there is a point at all, without drawing its samples.
    fn has_point(&self, series: &Series, at: i64) -> bool {
        let minute = self.minute_of(at);
        let counted = match (series.table, series.measure) {
            (Some(table), Measure::Latency(operation) | Measure::ReturnedItems(operation)) => Some((table, operation)),
            _ => None,
        };
        let Some((position, operation)) = counted.filter(|_| minute >= -self.scenario.history) else {
            return !self.final_samples(series, at).is_empty();
        };
        let exists = self
            .scenario
            .tables
            .get(position)
            .is_some_and(|table| exists(table, minute));
        let facts = self.table_minute(position, minute);
        let requests = facts.and_then(|facts| facts.requests.get(operation).copied());
        exists && requests.is_some_and(|requests| requests.succeeded > 0)
    }

    /// What of the point at `at` shows at `now` (both unix seconds).
    pub fn visible_samples(&self, series: &Series, at: i64, now: f64) -> Samples {
        // Older than any lag: complete.
        if now >= (at + series.period) as f64 + self.scenario.lag.max_s {
            return self.final_samples(series, at);
        }
        let (early, complete) = self.arrival(series, at);
        if now < early {
            return Samples::default();
        }
        let samples = self.final_samples(series, at);
        if now >= complete { samples } else { samples.first_part() }
    }

    /// When the point at `at` shows first, and when it is complete (unix seconds).
    pub fn arrival(&self, series: &Series, at: i64) -> (f64, f64) {
        let lag: Lag = self.scenario.lag;
        let end = (at + series.period) as f64;
        if lag.max_s <= 0.0 {
            return (end, end);
        }
        let dice = Dice::new(self.scenario.seed ^ 0x1a6, &series.key, at.div_euclid(60));
        let median = lag.median_s.max(0.001);
        let late = (median * (self.lag_sigma * dice.normal(0)).exp()).min(lag.max_s);
        let complete = end + late;
        if dice.uniform(90) >= lag.partial {
            return (complete, complete);
        }
        // Some values begin to show while their minute still runs.
        let first = end - 30.0 + dice.uniform(91) * (late + 30.0);
        (first.min(complete), complete)
    }

    /// The start of the first and of the last point that had certainly arrived at `now`.
    pub fn points_known(&self, series: &Series, now: i64) -> Option<(i64, i64)> {
        let start = self.scenario.start as i64 - 60 * self.scenario.history;
        let until = now - series.period - self.scenario.lag.max_s.ceil() as i64;
        self.listings.with(series.position, |listing| {
            let mut at = listing.scanned.unwrap_or(start + (-start).rem_euclid(series.period));
            while at <= until {
                if self.has_point(series, at) {
                    listing.note(at);
                }
                at += series.period;
            }
            listing.scanned = Some(at);
            listing.first_and_last()
        })?
    }
}

/// The account a table lives in.
pub fn table_account<'a>(scenario: &'a Scenario, table: &'a Table) -> &'a str {
    table.account.as_deref().unwrap_or(&scenario.account)
}

fn exists(table: &Table, minute: i64) -> bool {
    table.created.is_none_or(|created| created <= minute) && table.deleted.is_none_or(|deleted| minute < deleted)
}

fn places(scenario: &Scenario) -> Vec<(String, String)> {
    let mut places: Vec<(String, String)> = scenario
        .tables
        .iter()
        .map(|table| (table_account(scenario, table).to_owned(), table.region.clone()))
        .collect();
    places.sort();
    places.dedup();
    places
}

fn table_series(scenario: &Scenario, position: usize, table: &Table, into: &mut Vec<Series>) {
    let account = table_account(scenario, table);
    let mut add = |metric: String, more: Option<(&str, &str)>, measure: Measure, period: i64| {
        let mut dimensions = vec![("TableName".to_owned(), table.name.clone())];
        dimensions.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        dimensions.sort();
        let name = SeriesName {
            place: (account, &table.region),
            namespace: NAMESPACE,
            metric: &metric,
            dimensions,
        };
        into.push(Series::new(name, measure, period, Some(position)));
    };
    let mut parts = vec![(None, None, table.capacity)];
    for (index, settings) in table.indexes.iter().enumerate() {
        let dimension = ("GlobalSecondaryIndexName", settings.name.as_str());
        parts.push((Some(index), Some(dimension), settings.capacity));
    }
    for (index, dimension, capacity) in parts {
        for direction in [Direction::Read, Direction::Write] {
            let name = direction.name();
            add(
                format!("Consumed{name}CapacityUnits"),
                dimension,
                Measure::Consumed(index, direction),
                60,
            );
            add(
                format!("{name}ThrottleEvents"),
                dimension,
                Measure::Throttles(index, direction),
                60,
            );
            for cause in Cause::ALL {
                let metric = format!("{name}{}ThrottleEvents", cause.name());
                add(metric, dimension, Measure::Caused(index, direction, cause), 60);
            }
            let (metric, measure) = match capacity {
                Capacity::Provisioned { .. } => (
                    format!("Provisioned{name}CapacityUnits"),
                    Measure::Provisioned(index, direction),
                ),
                Capacity::OnDemand { .. } => (
                    format!("OnDemandMax{name}RequestUnits"),
                    Measure::OnDemandMax(index, direction),
                ),
            };
            add(metric, dimension, measure, 300);
        }
    }
    for (operation, settings) in table.operations.iter().enumerate() {
        let dimension = Some(("Operation", settings.name.as_str()));
        add(
            "SuccessfulRequestLatency".into(),
            dimension,
            Measure::Latency(operation),
            60,
        );
        add(
            "ThrottledRequests".into(),
            dimension,
            Measure::ThrottledRequests(operation),
            60,
        );
        add("SystemErrors".into(), dimension, Measure::SystemErrors(operation), 60);
        if settings.items > 0.0 {
            add(
                "ReturnedItemCount".into(),
                dimension,
                Measure::ReturnedItems(operation),
                60,
            );
        }
    }
    for (metric, measure) in [
        ("ConditionalCheckFailedRequests", Measure::ConditionalFailures),
        ("TransactionConflict", Measure::TransactionConflicts),
        ("TimeToLiveDeletedItemCount", Measure::ExpiredItems),
    ] {
        add(metric.into(), None, measure, 60);
    }
}

/// Sum and maximum of what is provisioned in one direction over the tables and indexes of a place.
fn provisioned(scenario: &Scenario, account: &str, region: &str, direction: Direction) -> (f64, f64) {
    let (mut sum, mut most) = (0.0, 0.0f64);
    for table in &scenario.tables {
        if table_account(scenario, table) != account || table.region != region {
            continue;
        }
        let indexes = table.indexes.iter().map(|index| index.capacity);
        for capacity in std::iter::once(table.capacity).chain(indexes) {
            if matches!(capacity, Capacity::Provisioned { .. }) {
                let units = limit_of(Some(capacity), direction).unwrap_or_default();
                sum += units;
                most = most.max(units);
            }
        }
    }
    (sum, most)
}

fn account_series(scenario: &Scenario, account: &str, region: &str, into: &mut Vec<Series>) {
    let mut add = |metric: &str, measure: Measure, period: i64| {
        let name = SeriesName {
            place: (account, region),
            namespace: NAMESPACE,
            metric,
            dimensions: Vec::new(),
        };
        into.push(Series::new(name, measure, period, None));
    };
    add("UserErrors", Measure::UserErrors, 60);
    add("AccountMaxReads", Measure::Constant(ACCOUNT_MAX), 300);
    add("AccountMaxWrites", Measure::Constant(ACCOUNT_MAX), 300);
    add("AccountMaxTableLevelReads", Measure::Constant(TABLE_MAX), 300);
    add("AccountMaxTableLevelWrites", Measure::Constant(TABLE_MAX), 300);
    for direction in [Direction::Read, Direction::Write] {
        let (sum, most) = provisioned(scenario, account, region, direction);
        let name = direction.name();
        let of_account = Measure::Constant(sum / ACCOUNT_MAX * 100.0);
        add(&format!("AccountProvisioned{name}CapacityUtilization"), of_account, 300);
        let of_table = Measure::Constant(most / TABLE_MAX * 100.0);
        add(&format!("MaxProvisionedTable{name}CapacityUtilization"), of_table, 300);
    }
}

fn table_samples(table: &Table, facts: &TableMinute, measure: Measure, minute: i64, dice: Dice) -> Samples {
    let requests = |operation: usize| facts.requests.get(operation).copied().unwrap_or_default();
    match measure {
        // Published as one 0 while idle.
        Measure::Consumed(index, direction) => Samples::spread(facts.flow(index, direction).served),
        Measure::Provisioned(index, direction) | Measure::OnDemandMax(index, direction) => {
            let capacity = index.map_or(Some(table.capacity), |index| {
                table.indexes.get(index).map(|index| index.capacity)
            });
            limit_of(capacity, direction).map_or(Samples::default(), Samples::one)
        }
        Measure::Throttles(index, direction) => Samples::ones(facts.flow(index, direction).throttles()),
        Measure::Caused(index, direction, cause) => {
            let flow = facts.flow(index, direction);
            let caused = flow.cause == Some(cause);
            Samples::ones(if caused { flow.throttles() } else { 0 })
        }
        Measure::Latency(operation) => match table.operations.get(operation) {
            Some(settings) => {
                let slow = settings
                    .slow
                    .iter()
                    .find(|slow| slow.from <= minute && minute < slow.to);
                let median = slow.map_or(settings.latency_ms, |slow| slow.latency_ms);
                Samples::log_normal(median, settings.spread, requests(operation).succeeded, dice)
            }
            None => Samples::default(),
        },
        Measure::ThrottledRequests(operation) => Samples::ones(requests(operation).throttled),
        Measure::SystemErrors(operation) => Samples::ones(requests(operation).failed),
        Measure::ReturnedItems(operation) => {
            let items = table.operations.get(operation).map_or(0.0, |settings| settings.items);
            Samples::log_normal(items, 0.5, requests(operation).succeeded, dice).rounded()
        }
        Measure::ConditionalFailures => Samples::ones(dice.count(0, table.conditional_failures)),
        Measure::TransactionConflicts => Samples::ones(dice.count(0, table.transaction_conflicts)),
        Measure::ExpiredItems => Samples::ones(dice.count(0, table.expired_items)),
        Measure::Any => Samples::log_normal(10.0, 0.2, 5, dice),
        Measure::UserErrors | Measure::Constant(_) | Measure::SageMaker(_) => Samples::default(),
    }
}

/// The ceiling of one direction, units per second.
pub fn limit_of(capacity: Option<Capacity>, direction: Direction) -> Option<f64> {
    match (capacity?, direction) {
        (Capacity::Provisioned { read, .. }, Direction::Read) => Some(read),
        (Capacity::Provisioned { write, .. }, Direction::Write) => Some(write),
        (Capacity::OnDemand { max_read, .. }, Direction::Read) => max_read,
        (Capacity::OnDemand { max_write, .. }, Direction::Write) => max_write,
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::Statistic;
    use super::*;

    fn sum(world: &World, metric: &str, dimensions: &[(&str, &str)], minute: i64) -> Option<f64> {
        let dimensions: Vec<(String, String)> = dimensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let series = world
            .find(("111122223333", "eu-central-1"), NAMESPACE, metric, &dimensions)
            .unwrap();
        let at = world.scenario.start as i64 + 60 * minute;
        world.final_samples(series, at).get(Statistic::Sum)
    }

    #[test]
    fn writes_beyond_the_provisioned_capacity_are_throttled_and_say_why() {
        let world = World::new(Scenario::demo());
        let table = [("TableName", "orders")];
        assert_eq!(sum(&world, "WriteThrottleEvents", &table, 1), None);
        assert_eq!(sum(&world, "ConsumedWriteCapacityUnits", &table, 5), Some(6000.0));
        let events = sum(&world, "WriteThrottleEvents", &table, 5).unwrap();
        assert!(events > 1000.0);
        assert_eq!(
            sum(&world, "WriteProvisionedThroughputThrottleEvents", &table, 5),
            Some(events)
        );
        let put = sum(
            &world,
            "ThrottledRequests",
            &[("Operation", "PutItem"), ("TableName", "orders")],
            5,
        )
        .unwrap();
        let update = sum(
            &world,
            "ThrottledRequests",
            &[("Operation", "UpdateItem"), ("TableName", "orders")],
            5,
        )
        .unwrap();
        assert!((put + update - events).abs() <= 2.0, "{put} + {update} = {events}");
    }

    #[test]
    fn an_index_that_is_too_small_refuses_the_writes_of_its_table() {
        let world = World::new(Scenario::busy());
        let index = [("GlobalSecondaryIndexName", "by-status"), ("TableName", "backpressure")];
        let table = [("TableName", "backpressure")];
        assert!(sum(&world, "WriteThrottleEvents", &index, 10).unwrap() > 1000.0);
        assert_eq!(sum(&world, "WriteThrottleEvents", &table, 10), None);
        assert_eq!(sum(&world, "ConsumedWriteCapacityUnits", &table, 10), Some(3600.0));
    }

    #[test]
    fn a_value_shows_late_and_may_first_be_incomplete() {
        let world = World::new(Scenario::demo());
        let mut partial = 0;
        for series in world
            .series()
            .iter()
            .filter(|series| series.metric == "ConsumedReadCapacityUnits")
        {
            for minute in 0..200 {
                let at = world.scenario.start as i64 + 60 * minute;
                let (early, complete) = world.arrival(series, at);
                assert!(world.visible_samples(series, at, early - 0.1).is_empty());
                assert_eq!(
                    world.visible_samples(series, at, complete),
                    world.final_samples(series, at)
                );
                if early < complete {
                    let first = world.visible_samples(series, at, early).get(Statistic::SampleCount);
                    partial += i32::from(first < world.final_samples(series, at).get(Statistic::SampleCount));
                }
            }
        }
        assert!(partial > 50, "{partial}");
    }
}
