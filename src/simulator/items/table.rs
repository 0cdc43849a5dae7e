//! A table: its keys, its indexes, its items in the order of their keys.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::super::answer::ApiError;
use super::invalid;

/// An item as the wire has it: `{"PK": {"S": ...}, ...}`.
pub type Item = Map<String, Json>;

/// What a table's items are found by.
pub struct Schema {
    hash: String,
    range: String,
    /// Name -> partition key, sort key.
    indexes: BTreeMap<String, (String, String)>,
    pub ttl: String,
}

pub struct Table {
    pub schema: Schema,
    pub items: BTreeMap<(String, String), Item>,
}

impl Table {
    pub fn new(schema: Schema) -> Self {
        Self {
            schema,
            items: BTreeMap::new(),
        }
    }

    /// Removes what is past its time by more than `delay_s`.
    pub fn sweep(&mut self, now: f64, delay_s: f64) {
        let ttl = &self.schema.ttl;
        self.items.retain(|_, item| match number(item.get(ttl)) {
            Some(at) if at > 0.0 => now < at + delay_s,
            _ => true,
        });
    }
}

impl Schema {
    /// As the provisioner of MLflow's store makes it.
    pub fn mlflow() -> Self {
        let mut indexes = BTreeMap::new();
        for n in 1..=5 {
            indexes.insert(format!("lsi{n}"), ("PK".to_owned(), format!("lsi{n}sk")));
            indexes.insert(format!("gsi{n}"), (format!("gsi{n}pk"), format!("gsi{n}sk")));
        }
        Self {
            hash: "PK".to_owned(),
            range: "SK".to_owned(),
            indexes,
            ttl: "ttl".to_owned(),
        }
    }

    /// From CreateTable. A table without a sort key has an empty one.
    pub fn read(request: &Json) -> Result<Self, ApiError> {
        let keys = |of: &Json| {
            let named = |kind: &str| {
                let keys = of["KeySchema"].as_array()?.iter();
                let key = keys.into_iter().find(|key| key["KeyType"] == kind)?;
                Some(key["AttributeName"].as_str()?.to_owned())
            };
            Some((named("HASH")?, named("RANGE").unwrap_or_default()))
        };
        let (hash, range) = keys(request).ok_or_else(|| invalid("KeySchema has no HASH key"))?;
        let mut indexes = BTreeMap::new();
        for kind in ["LocalSecondaryIndexes", "GlobalSecondaryIndexes"] {
            for index in request[kind].as_array().into_iter().flatten() {
                let name = index["IndexName"].as_str().unwrap_or_default();
                let keys = keys(index).ok_or_else(|| invalid("an index has no HASH key"))?;
                indexes.insert(name.to_owned(), keys);
            }
        }
        Ok(Self {
            hash,
            range,
            indexes,
            ttl: "ttl".to_owned(),
        })
    }

    pub fn key_schema(&self) -> Json {
        let mut keys = vec![json!({"AttributeName": self.hash, "KeyType": "HASH"})];
        if !self.range.is_empty() {
            keys.push(json!({"AttributeName": self.range, "KeyType": "RANGE"}));
        }
        json!(keys)
    }

    /// Both keys of an item.
    pub fn key_of(&self, item: &Item) -> Result<(String, String), ApiError> {
        let text = |name: &str| match item.get(name).map(key_text) {
            Some(Some(text)) => Ok(text),
            _ if name.is_empty() => Ok(String::new()),
            _ => Err(invalid(format!(
                "One of the required keys was not given a value: {name}"
            ))),
        };
        Ok((text(&self.hash)?, text(&self.range)?))
    }

    /// The keys of an index, or of the table.
    pub fn index(&self, name: Option<&str>) -> Result<(String, String), ApiError> {
        match name {
            None => Ok((self.hash.clone(), self.range.clone())),
            Some(name) => {
                let keys = self.indexes.get(name).cloned();
                keys.ok_or_else(|| invalid(format!("The table does not have the specified index: {name}")))
            }
        }
    }

    /// In how many indexes an item stands.
    pub fn indexes_of(&self, item: &Item) -> usize {
        let mut indexes = self.indexes.values();
        indexes
            .by_ref()
            .filter(|(hash, range)| item.contains_key(hash) && item.contains_key(range))
            .count()
    }

    /// Where the next page begins.
    pub fn start_key(&self, item: &Item, index: &(String, String)) -> Item {
        let names = [&self.hash, &self.range, &index.0, &index.1];
        let mut key = Item::new();
        for name in names {
            if let Some(value) = item.get(name) {
                key.insert(name.clone(), value.clone());
            }
        }
        key
    }
}

/// A key attribute: text or number. Numbers are not padded: those of our keys are only compared within an index.
fn key_text(value: &Json) -> Option<String> {
    let value = value.get("S").or_else(|| value.get("N"))?;
    value.as_str().map(str::to_owned)
}

/// A number attribute.
pub fn number(value: Option<&Json>) -> Option<f64> {
    value?.get("N")?.as_str()?.parse().ok()
}

/// The order of sort keys.
pub fn compare(a: &Json, b: &Json) -> Ordering {
    match (number(Some(a)), number(Some(b))) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => key_text(a).cmp(&key_text(b)),
    }
}

/// Bytes of an item as they are billed.
pub fn item_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Json) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|map| map.iter().next()) else {
        return 0;
    };
    match (kind.as_str(), value) {
        ("S", Json::String(text)) => text.len(),
        ("N", Json::String(text)) => text.len().div_ceil(2) + 1,
        // base64
        ("B", Json::String(text)) => text.len() / 4 * 3,
        ("SS" | "NS" | "BS", Json::Array(texts)) => texts.iter().filter_map(Json::as_str).map(str::len).sum(),
        ("L", Json::Array(values)) => 3 + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>(),
        ("M", Json::Object(map)) => {
            3 + map
                .iter()
                .map(|(name, value)| name.len() + 1 + value_bytes(value))
                .sum::<usize>()
        }
        _ => 1,
    }
}
