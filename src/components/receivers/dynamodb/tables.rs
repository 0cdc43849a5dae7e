//! What DescribeTable says of a table and its indexes, and what is assumed of one that may not be described.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{BillingMode, KeyType, TableDescription};

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
    /// As of the last refresh, about every six hours.
    pub items: Option<i64>,
    pub bytes: Option<i64>,
}

/// What DescribeTable said.
#[derive(Clone, Debug, PartialEq)]
pub struct TableInfo {
    pub name: String,
    pub arn: Arc<str>,
    /// `None`: the table may not be described.
    pub on_demand: Option<bool>,
    pub table: Part,
    pub indexes: BTreeMap<String, Part>,
    /// Names of partition and sort key, where it has both.
    pub keys: Option<(String, String)>,
}

impl TableInfo {
    /// A table of which only the name is known. Nothing is assumed of the time before it was seen.
    pub fn undescribed(name: &str, arn: Arc<str>, now: i64) -> Self {
        let table = Part {
            since: now,
            ..Part::default()
        };
        Self {
            name: name.to_owned(),
            arn,
            on_demand: None,
            table,
            indexes: BTreeMap::new(),
            keys: None,
        }
    }

    /// The table (`None`) or one of its indexes.
    pub fn part(&self, index: Option<&str>) -> Option<&Part> {
        index.map_or(Some(&self.table), |index| self.indexes.get(index))
    }
}

/// Reads the description; `known` is what was read before.
pub fn read_table(description: &TableDescription, name: &str, known: Option<&TableInfo>, now: i64) -> TableInfo {
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
            items: index.item_count(),
            bytes: index.index_size_bytes(),
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
        arn: description.table_arn().unwrap_or_default().into(),
        on_demand: Some(on_demand),
        table: Part {
            limits: limits(provisioned, maxima),
            since: created,
            items: description.item_count(),
            bytes: description.table_size_bytes(),
        },
        indexes,
        keys: keys(description),
    }
}

fn keys(description: &TableDescription) -> Option<(String, String)> {
    let name = |wanted: KeyType| {
        let found = description.key_schema().iter().find(|key| *key.key_type() == wanted);
        found.map(|key| key.attribute_name().to_owned())
    };
    Some((name(KeyType::Hash)?, name(KeyType::Range)?))
}
