//! Levels that DescribeTable and DescribeLimits know and CloudWatch does not: items and bytes of tables and indexes, how
//! they grow, what the account may provision, how large item collections are by their model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::discovery::Discovery;
use super::signals::{Direction, Point};
use super::tables::Part;
use crate::aws::cloudwatch::derived::collections::Model;
use crate::aws::cloudwatch::derived::growth::Samples;
use crate::component::{StateChange, StateError, StateStore, with_state};

/// How often levels are sent, seconds: often enough for what looks back five minutes.
const EVERY: i64 = 300;
/// Where samples are kept; keys are component, account, region, table and index.
const SPACE: &str = "dynamodb.items";
/// Tables and indexes that are remembered.
const MOST: usize = 20_000;

/// Units per second that an account may provision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccountLimits {
    pub account: [f64; 2],
    pub table: [f64; 2],
}

/// An item collection whose size is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    pub table: String,
    /// The partition key's value.
    pub key: String,
    pub model: Option<Model>,
    /// Bytes of an item by the prefix of its sort key.
    pub query: BTreeMap<String, f64>,
}

/// Table and index.
type Key = (String, Option<String>);

/// Item counts over time, of one account and region.
pub struct Levels {
    /// What all keys in the state begin with.
    prefix: Vec<u8>,
    samples: BTreeMap<Key, Samples>,
    loaded: bool,
    next: i64,
}

/// Parts of a key, none of which holds a zero byte.
fn joined(parts: &[&str]) -> Vec<u8> {
    parts.join("\0").into_bytes()
}

impl Levels {
    /// For a receiver in an account and region.
    pub fn new(component: &str, account: &str, region: &str) -> Self {
        Self {
            prefix: joined(&[component, account, region, ""]),
            samples: BTreeMap::new(),
            loaded: false,
            next: 0,
        }
    }

    fn state_key(&self, (table, index): &Key) -> Vec<u8> {
        let mut key = self.prefix.clone();
        key.extend(joined(&[table, index.as_deref().unwrap_or_default()]));
        key
    }

    fn read_key(&self, key: &[u8]) -> Option<Key> {
        let rest = std::str::from_utf8(key.strip_prefix(self.prefix.as_slice())?).ok()?;
        let (table, index) = rest.split_once('\0')?;
        Some((table.to_owned(), (!index.is_empty()).then(|| index.to_owned())))
    }

    /// Notes the counts that were described, and keeps what changed.
    ///
    /// # Errors
    /// Where the state cannot be read or written; the samples live in memory then.
    pub async fn note(
        &mut self,
        discovery: &Discovery,
        state: &Arc<dyn StateStore>,
        now: i64,
    ) -> Result<(), StateError> {
        if !self.loaded {
            self.load(state, now).await?;
        }
        let mut changes = Vec::new();
        for table in discovery.tables() {
            let parts = std::iter::once((None, &table.table));
            let parts = parts.chain(table.indexes.iter().map(|(name, part)| (Some(name.clone()), part)));
            for (index, part) in parts {
                let Some(items) = part.items else { continue };
                let key = (table.name.clone(), index);
                if !self.samples.contains_key(&key) && self.samples.len() >= MOST {
                    continue;
                }
                let samples = self.samples.entry(key.clone()).or_default();
                if samples.note(now, items) {
                    let bytes = samples.to_bytes();
                    changes.push(StateChange::put(SPACE, self.state_key(&key), bytes));
                }
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        with_state(state, move |state| state.commit(changes)).await
    }

    async fn load(&mut self, state: &Arc<dyn StateStore>, now: i64) -> Result<(), StateError> {
        let prefix = self.prefix.clone();
        let found = with_state(state, move |state| {
            let mut found = Vec::new();
            state.scan(SPACE, &prefix, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                found.len() < MOST
            })?;
            Ok(found)
        })
        .await?;
        let mut gone = Vec::new();
        for (key, value) in found {
            let samples = Samples::from_bytes(&value);
            match self.read_key(&key) {
                Some(place) if !samples.is_old(now) => {
                    self.samples.insert(place, samples);
                }
                // A table that was deleted long ago.
                _ => gone.push(StateChange::remove(SPACE, key)),
            }
        }
        self.loaded = true;
        with_state(state, move |state| state.commit(gone)).await
    }

    /// Whether it is time; the next time is noted.
    pub fn is_due(&mut self, now: i64) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now - now.rem_euclid(EVERY) + EVERY;
        }
        due
    }

    /// The levels of a table and its indexes.
    pub fn of_table(&self, name: &str, parts: &[(Option<&str>, &Part)], now: i64) -> Vec<Point> {
        let mut points = Vec::new();
        for (index, part) in parts {
            let mut add = |metric, unit, value| {
                let mut attributes = vec![("TableName", name.to_owned())];
                attributes.extend(index.map(|index| ("GlobalSecondaryIndexName", index.to_owned())));
                points.push(point(metric, unit, attributes, now, value));
            };
            if let Some(items) = part.items {
                add("aws.dynamodb.item_count", "{item}", items as f64);
            }
            if let Some(bytes) = part.bytes {
                add("aws.dynamodb.table_size", "By", bytes as f64);
            }
            let samples = self.samples.get(&(name.to_owned(), index.map(str::to_owned)));
            if let Some(growth) = samples.and_then(|samples| samples.growth(now)) {
                add("aws.dynamodb.item_count.growth_7d", "%", growth);
            }
        }
        points
    }
}

/// What the account may provision and what its tables do.
pub fn of_account(limits: Option<AccountLimits>, discovery: &Discovery, now: i64) -> Vec<Point> {
    let mut points = Vec::new();
    for (position, direction) in Direction::BOTH.into_iter().enumerate() {
        let of = |more: Option<&str>| {
            let mut attributes = vec![("Direction", direction.name().to_owned())];
            attributes.extend(more.map(|scope| ("Scope", scope.to_owned())));
            attributes
        };
        if let Some(limits) = limits {
            for (scope, values) in [("account", limits.account), ("table", limits.table)] {
                let attributes = of(Some(scope));
                let name = "aws.dynamodb.account.limit";
                points.push(point(name, "{unit}/s", attributes, now, values[position]));
            }
        }
        let mut provisioned = 0.0;
        for table in discovery.tables().filter(|table| table.on_demand == Some(false)) {
            for part in std::iter::once(&table.table).chain(table.indexes.values()) {
                let units = if position == 0 {
                    part.limits.read
                } else {
                    part.limits.write
                };
                provisioned += units.unwrap_or(0.0);
            }
        }
        let name = "aws.dynamodb.account.provisioned";
        points.push(point(name, "{unit}/s", of(None), now, provisioned));
    }
    points
}

/// The size of a collection by its model.
pub fn of_collection(collection: &Collection, source: &str, bytes: f64, now: i64) -> Point {
    let attributes = vec![
        ("TableName", collection.table.clone()),
        ("Collection", collection.key.clone()),
        ("Source", source.to_owned()),
    ];
    point("aws.dynamodb.item_collection.size", "By", attributes, now, bytes)
}

fn point(
    name: &'static str,
    unit: &'static str,
    attributes: Vec<(&'static str, String)>,
    now: i64,
    value: f64,
) -> Point {
    Point {
        name,
        unit,
        attributes,
        start: 0,
        time: now,
        value,
    }
}
