//! The two attributes that hold JSON: consumed capacity and item collection metrics.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A longer text is not read: a hundred entries with their indexes are shorter.
const LONGEST_JSON: usize = 128 << 10;
/// Bytes of the unit that estimates of item collections come in (gigabytes, not gibibytes: the limit is 10 GB).
const GIGABYTE: f64 = 1e9;

/// Capacity that one table consumed in a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consumed {
    /// `None`: the call's only table.
    pub table: Option<String>,
    /// Units of the table with its local indexes.
    pub own: Units,
    /// Units of its global secondary indexes, where the call asked for them (`ReturnConsumedCapacity: INDEXES`).
    pub indexes: Vec<(String, Units)>,
}

/// Units of one table or index. A call that reads and writes tells them apart, others tell only the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    pub read: Option<f64>,
    pub write: Option<f64>,
    pub either: Option<f64>,
}

/// The size of one item collection, as estimated by DynamoDB in the answer to a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// `None`: the call's only table.
    pub table: Option<String>,
    /// The upper bound, bytes.
    pub bytes: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    table_name: Option<String>,
    capacity_units: Option<f64>,
    read_capacity_units: Option<f64>,
    write_capacity_units: Option<f64>,
    table: Option<Part>,
    #[serde(default)]
    local_secondary_indexes: Option<BTreeMap<String, Part>>,
    #[serde(default)]
    global_secondary_indexes: Option<BTreeMap<String, Part>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    capacity_units: Option<f64>,
    read_capacity_units: Option<f64>,
    write_capacity_units: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Box<Entry>),
    Many(Vec<Entry>),
}

impl From<Part> for Units {
    fn from(part: Part) -> Self {
        let sane = |units: Option<f64>| units.filter(|units| units.is_finite() && *units >= 0.0);
        Self {
            read: sane(part.read_capacity_units),
            write: sane(part.write_capacity_units),
            either: sane(part.capacity_units),
        }
    }
}

impl Units {
    fn plus(self, other: Units) -> Self {
        let add = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Self {
            read: add(self.read, other.read),
            write: add(self.write, other.write),
            either: add(self.either, other.either),
        }
    }

    /// Read and write units, where the operation says what the sum is made of.
    pub fn by_direction(self, operation_reads: bool) -> (f64, f64) {
        match (self.read, self.write, self.either) {
            (None, None, Some(units)) if operation_reads => (units, 0.0),
            (None, None, Some(units)) => (0.0, units),
            (read, write, _) => (read.unwrap_or(0.0), write.unwrap_or(0.0)),
        }
    }
}

/// Whether `CapacityUnits` of an operation are read units.
pub fn reads(operation: &str) -> bool {
    matches!(
        operation,
        "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems"
    )
}

/// Reads `aws.dynamodb.consumed_capacity`; nothing where it is no JSON of that form.
pub fn consumed(json: &str) -> Vec<Consumed> {
    if json.len() > LONGEST_JSON {
        return Vec::new();
    }
    match serde_json::from_str(json) {
        Ok(OneOrMany::One(entry)) => vec![read(*entry)],
        Ok(OneOrMany::Many(entries)) => entries.into_iter().map(read).collect(),
        Err(_) => Vec::new(),
    }
}

fn read(entry: Entry) -> Consumed {
    let whole = Part {
        capacity_units: entry.capacity_units,
        read_capacity_units: entry.read_capacity_units,
        write_capacity_units: entry.write_capacity_units,
    };
    let own = match entry.table {
        Some(table) => {
            let local = entry.local_secondary_indexes.unwrap_or_default();
            let local = local.into_values().map(Units::from);
            local.fold(Units::from(table), Units::plus)
        }
        None => whole.into(),
    };
    // Without the table's own part the sum has the indexes in it already.
    let global = match entry.table {
        Some(_) => entry.global_secondary_indexes.unwrap_or_default(),
        None => BTreeMap::new(),
    };
    let name = entry.table_name.filter(|name| !name.is_empty());
    Consumed {
        table: name.map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()),
        own,
        indexes: global.into_iter().map(|(name, part)| (name, part.into())).collect(),
    }
}

/// Reads `aws.dynamodb.item_collection_metrics`: one entry, a list of them, or lists by table. The keys of the
/// collections stay behind.
pub fn collections(json: &str) -> Vec<Collection> {
    if json.len() > LONGEST_JSON {
        return Vec::new();
    }
    let Ok(value) = serde_json::from_str::<Value>(json) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    gather(&value, None, &mut found);
    if let (Value::Object(tables), true) = (&value, found.is_empty()) {
        for (table, entries) in tables {
            gather(entries, Some(table), &mut found);
        }
    }
    found
}

/// The entry, or the entries of a list.
fn gather(value: &Value, table: Option<&str>, into: &mut Vec<Collection>) {
    let entries = match value {
        Value::Array(entries) => entries.as_slice(),
        single => std::slice::from_ref(single),
    };
    for entry in entries {
        let range = entry.get("SizeEstimateRangeGB").and_then(Value::as_array);
        let upper = range.and_then(|range| range.last()).and_then(Value::as_f64);
        into.extend(upper.filter(|upper| *upper >= 0.0).map(|upper| Collection {
            table: table.map(str::to_owned),
            bytes: upper * GIGABYTE,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_read_as_total_and_by_index() {
        let one = consumed(r#"{"TableName":"orders","CapacityUnits":2.5}"#);
        assert_eq!(one[0].table.as_deref(), Some("orders"));
        assert_eq!(one[0].own.by_direction(true), (2.5, 0.0));
        assert_eq!(one[0].own.by_direction(false), (0.0, 2.5));
        let split = consumed(
            r#"[{"TableName":"arn:aws:dynamodb:r:1:table/orders","CapacityUnits":6,"Table":{"CapacityUnits":1},
                "LocalSecondaryIndexes":{"l":{"CapacityUnits":2}},"GlobalSecondaryIndexes":{"g":{"CapacityUnits":3}}}]"#,
        );
        assert_eq!(split[0].table.as_deref(), Some("orders"));
        assert_eq!(split[0].own.by_direction(false), (0.0, 3.0));
        assert_eq!(split[0].indexes[0].1.by_direction(false), (0.0, 3.0));
        let transaction = consumed(r#"{"CapacityUnits":6,"ReadCapacityUnits":2,"WriteCapacityUnits":4}"#);
        assert_eq!(transaction[0].own.by_direction(false), (2.0, 4.0));
        assert!(consumed("ConsumedCapacity(TableName=orders, CapacityUnits=1.0)").is_empty());
        assert_eq!(
            consumed(r#"{"CapacityUnits":-1}"#)[0].own.by_direction(true),
            (0.0, 0.0)
        );
    }

    #[test]
    fn collections_are_read_in_every_form() {
        let entry = r#"{"ItemCollectionKey":{"pk":{"S":"secret"}},"SizeEstimateRangeGB":[0.5,1.5]}"#;
        for (json, table) in [
            (entry.to_owned(), None),
            (format!("[{entry}]"), None),
            (format!("{{\"orders\":[{entry}]}}"), Some("orders".to_owned())),
        ] {
            let found = collections(&json);
            assert_eq!(found, [Collection { table, bytes: 1.5e9 }], "{json}");
        }
        assert!(collections("{}").is_empty() && collections("[[[").is_empty());
    }
}
