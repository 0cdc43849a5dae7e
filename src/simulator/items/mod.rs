//! Tables of DynamoDB whose items are kept: GetItem, BatchGetItem, Query, Scan, PutItem, UpdateItem, DeleteItem,
//! BatchWriteItem, CreateTable and the time to live. Items past their time go late, as they do at AWS.
//!
//! `table.rs` keeps the items, `expression.rs` reads the few expressions that are known; an unknown one is an error.

mod expression;
mod table;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use self::expression::{Condition, KeyCondition, Names, assignments};
use self::table::{Item, Schema, Table, item_bytes};
use super::answer::{ApiError, Caller};

/// Items past their time are readable for so many seconds more: AWS promises "within a few days", two are usual.
const TTL_DELAY_S: f64 = 48.0 * 3600.0;
/// Bytes of a page.
const PAGE_BYTES: usize = 1 << 20;
/// Bytes of an item.
const LARGEST: usize = 400 * 1024;
const MOST_GETS: usize = 100;
const MOST_WRITES: usize = 25;

/// Account, region, name.
type Key = (String, String, String);

/// All tables with items.
pub struct Tables {
    tables: BTreeMap<Key, Table>,
    pub ttl_delay_s: f64,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            tables: BTreeMap::new(),
            ttl_delay_s: TTL_DELAY_S,
        }
    }
}

/// An answer and what it is billed for.
pub struct Answer {
    pub json: Json,
    /// Halves of a request unit: an eventually consistent read of 4 KB is one, a write of 1 KB is two.
    pub half_units: u64,
}

impl Tables {
    /// Whether the request is about one of these tables, or makes one.
    pub fn is_about(&self, caller: &Caller, operation: &str, request: &Json) -> bool {
        let known = |name: &str| self.tables.contains_key(&key(caller, name));
        match operation {
            "CreateTable" => true,
            "BatchGetItem" | "BatchWriteItem" => true,
            _ => known(request["TableName"].as_str().unwrap_or_default()),
        }
    }

    /// A table with the keys and indexes of MLflow's store, if there is none of this name.
    pub fn create_mlflow(&mut self, account: &str, region: &str, name: &str) {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        self.tables.entry(key).or_insert_with(|| Table::new(Schema::mlflow()));
    }

    /// The items of a table, expired ones left out as soon as they are gone, for tests.
    pub fn items(&mut self, account: &str, region: &str, name: &str, now: f64) -> Vec<Item> {
        let delay = self.ttl_delay_s;
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        let Some(table) = self.tables.get_mut(&key) else {
            return Vec::new();
        };
        table.sweep(now, delay);
        table.items.values().cloned().collect()
    }

    /// How many items each table has at `now`: `account/region/name`.
    pub fn counts(&mut self, now: f64) -> BTreeMap<String, usize> {
        let delay = self.ttl_delay_s;
        let mut counts = BTreeMap::new();
        for ((account, region, name), table) in &mut self.tables {
            table.sweep(now, delay);
            counts.insert(format!("{account}/{region}/{name}"), table.items.len());
        }
        counts
    }

    /// Puts an item as it is, for tests and scenarios.
    pub fn put(&mut self, account: &str, region: &str, name: &str, item: Item) -> Result<(), ApiError> {
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        let table = self.tables.get_mut(&key).ok_or_else(|| not_found(name))?;
        let key = table.schema.key_of(&item)?;
        table.items.insert(key, item);
        Ok(())
    }

    /// Answers one operation at `now` (unix seconds).
    pub fn call(&mut self, caller: &Caller, operation: &str, request: &Json, now: f64) -> Result<Answer, ApiError> {
        let name = request["TableName"].as_str().unwrap_or_default();
        match operation {
            "CreateTable" => return self.create(caller, request),
            "BatchGetItem" => return self.batch_get(caller, request, now),
            "BatchWriteItem" => return self.batch_write(caller, request, now),
            _ => {}
        }
        let delay = self.ttl_delay_s;
        let table = self.tables.get_mut(&key(caller, name)).ok_or_else(|| not_found(name))?;
        table.sweep(now, delay);
        let answered = match operation {
            "GetItem" => get(table, request),
            "Query" => query(table, request),
            "Scan" => scan(table, request),
            "PutItem" => put(table, request),
            "UpdateItem" => update(table, request),
            "DeleteItem" => delete(table, request),
            "DescribeTable" => Ok(Answer::free(json!({"Table": describe(name, table)}))),
            "DescribeTimeToLive" => Ok(Answer::free(json!({
                "TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": table.schema.ttl},
            }))),
            "UpdateTimeToLive" => {
                let of = &request["TimeToLiveSpecification"];
                table.schema.ttl = of["AttributeName"].as_str().unwrap_or("ttl").to_owned();
                Ok(Answer::free(json!({"TimeToLiveSpecification": of})))
            }
            other => Err(invalid(format!("the simulator does not know {other}"))),
        };
        answered.map(|answer| answer.with_capacity(request, name))
    }

    fn create(&mut self, caller: &Caller, request: &Json) -> Result<Answer, ApiError> {
        let name = request["TableName"]
            .as_str()
            .ok_or_else(|| invalid("TableName is missing"))?;
        let key = key(caller, name);
        if self.tables.contains_key(&key) {
            return Err(ApiError::sender(
                "ResourceInUseException",
                format!("Table already exists: {name}"),
            ));
        }
        let table = Table::new(Schema::read(request)?);
        let description = describe(name, &table);
        self.tables.insert(key, table);
        Ok(Answer::free(json!({"TableDescription": description})))
    }

    fn batch_get(&mut self, caller: &Caller, request: &Json, now: f64) -> Result<Answer, ApiError> {
        let empty = Map::new();
        let wanted = request["RequestItems"].as_object().unwrap_or(&empty);
        let asked = wanted
            .values()
            .map(|of| of["Keys"].as_array().map_or(0, Vec::len))
            .sum::<usize>();
        if asked == 0 || asked > MOST_GETS {
            return Err(invalid(format!(
                "Too many or no items requested for the BatchGetItem call: {asked}"
            )));
        }
        let (mut responses, mut capacity) = (Map::new(), Vec::new());
        let (mut unprocessed, mut bytes, mut total) = (Map::new(), 0, 0);
        for (name, of) in wanted {
            let delay = self.ttl_delay_s;
            let table = self.tables.get_mut(&key(caller, name)).ok_or_else(|| not_found(name))?;
            table.sweep(now, delay);
            let (mut found, mut left, mut units) = (Vec::new(), Vec::new(), 0);
            for key in of["Keys"].as_array().into_iter().flatten() {
                // Beyond 16 MB the rest comes back.
                if bytes > 16 << 20 {
                    left.push(key.clone());
                    continue;
                }
                let item = table.items.get(&table.schema.key_of(object(key)?)?);
                let size = item.map_or(0, item_bytes);
                bytes += size;
                units += read_units(size, &of["ConsistentRead"]);
                found.extend(item.map(|item| project(item, of)).transpose()?);
            }
            total += units;
            responses.insert(name.clone(), json!(found));
            capacity.push(json!({"TableName": name, "CapacityUnits": units as f64 / 2.0}));
            if !left.is_empty() {
                let mut of = of.clone();
                of["Keys"] = json!(left);
                unprocessed.insert(name.clone(), of);
            }
        }
        let mut json = json!({"Responses": responses, "UnprocessedKeys": unprocessed});
        if wants_capacity(request) {
            json["ConsumedCapacity"] = json!(capacity);
        }
        Ok(Answer {
            json,
            half_units: total,
        })
    }

    fn batch_write(&mut self, caller: &Caller, request: &Json, now: f64) -> Result<Answer, ApiError> {
        let empty = Map::new();
        let wanted = request["RequestItems"].as_object().unwrap_or(&empty);
        let asked = wanted
            .values()
            .map(|of| of.as_array().map_or(0, Vec::len))
            .sum::<usize>();
        if asked == 0 || asked > MOST_WRITES {
            return Err(invalid(format!(
                "Too many or no items requested for the BatchWriteItem call: {asked}"
            )));
        }
        let mut total = 0;
        for (name, of) in wanted {
            let delay = self.ttl_delay_s;
            let table = self.tables.get_mut(&key(caller, name)).ok_or_else(|| not_found(name))?;
            table.sweep(now, delay);
            for one in of.as_array().into_iter().flatten() {
                let answer = if one["PutRequest"].is_object() {
                    put(table, &json!({"Item": one["PutRequest"]["Item"]}))?
                } else {
                    delete(table, &json!({"Key": one["DeleteRequest"]["Key"]}))?
                };
                total += answer.half_units;
            }
        }
        Ok(Answer {
            json: json!({"UnprocessedItems": {}}),
            half_units: total,
        })
    }
}

impl Answer {
    fn free(json: Json) -> Self {
        Self { json, half_units: 0 }
    }

    fn with_capacity(mut self, request: &Json, name: &str) -> Self {
        if wants_capacity(request) {
            self.json["ConsumedCapacity"] = json!({"TableName": name, "CapacityUnits": self.half_units as f64 / 2.0});
        }
        self
    }
}

fn key(caller: &Caller, name: &str) -> Key {
    (caller.account.clone(), caller.region.clone(), name.to_owned())
}

fn not_found(name: &str) -> ApiError {
    let message = format!("Requested resource not found: Table: {name} not found");
    ApiError::sender("ResourceNotFoundException", message)
}

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::sender("ValidationException", message)
}

fn object(json: &Json) -> Result<&Item, ApiError> {
    json.as_object().ok_or_else(|| invalid("an item must be a map"))
}

fn wants_capacity(request: &Json) -> bool {
    !matches!(request["ReturnConsumedCapacity"].as_str(), None | Some("NONE"))
}

/// Halves of a unit; nothing costs as much as the smallest.
fn read_units(bytes: usize, consistent: &Json) -> u64 {
    let blocks = bytes.div_ceil(4096).max(1) as u64;
    if *consistent == json!(true) { 2 * blocks } else { blocks }
}

fn project(item: &Item, request: &Json) -> Result<Json, ApiError> {
    let Some(wanted) = request["ProjectionExpression"].as_str() else {
        return Ok(json!(item));
    };
    let names = Names::of(request);
    let mut kept = Map::new();
    for name in wanted.split(',') {
        let name = names.resolve(name.trim())?;
        if let Some(value) = item.get(&name) {
            kept.insert(name, value.clone());
        }
    }
    Ok(json!(kept))
}

fn get(table: &Table, request: &Json) -> Result<Answer, ApiError> {
    let key = table.schema.key_of(object(&request["Key"])?)?;
    let item = table.items.get(&key);
    let mut json = json!({});
    if let Some(item) = item {
        json["Item"] = project(item, request)?;
    }
    Ok(Answer {
        json,
        half_units: read_units(item.map_or(0, item_bytes), &request["ConsistentRead"]),
    })
}

fn query(table: &Table, request: &Json) -> Result<Answer, ApiError> {
    let (hash, range) = table.schema.index(request["IndexName"].as_str())?;
    let text = request["KeyConditionExpression"].as_str().unwrap_or_default();
    let condition = KeyCondition::read(text, &hash, &range, &Names::of(request))?;
    let is_indexed = |item: &&Item| item.contains_key(&hash) && (range.is_empty() || item.contains_key(&range));
    let items = table.items.values().filter(is_indexed);
    let mut found: Vec<&Item> = items.filter(|item| condition.holds(item)).collect();
    let none = Json::Null;
    found.sort_by(|a, b| table::compare(a.get(&range).unwrap_or(&none), b.get(&range).unwrap_or(&none)));
    if request["ScanIndexForward"] == json!(false) {
        found.reverse();
    }
    page(table, &found, request)
}

fn scan(table: &Table, request: &Json) -> Result<Answer, ApiError> {
    let found: Vec<&Item> = table.items.values().collect();
    page(table, &found, request)
}

/// The items behind `ExclusiveStartKey`, up to a page's size or `Limit`.
fn page(table: &Table, found: &[&Item], request: &Json) -> Result<Answer, ApiError> {
    let after = request["ExclusiveStartKey"].as_object();
    let after = after.map(|key| table.schema.key_of(key)).transpose()?;
    let mut begin = 0;
    if let Some(after) = after {
        let at = found
            .iter()
            .position(|item| table.schema.key_of(item).is_ok_and(|key| key == after));
        begin = at.map_or(found.len(), |at| at + 1);
    }
    let limit = request["Limit"].as_u64().map_or(usize::MAX, |limit| limit as usize);
    let (mut bytes, mut taken) = (0, 0);
    for item in &found[begin..] {
        if taken >= limit || bytes >= PAGE_BYTES {
            break;
        }
        bytes += item_bytes(item);
        taken += 1;
    }
    let on_page = &found[begin..begin + taken];
    let mut json = json!({"Count": taken, "ScannedCount": taken});
    if request["Select"].as_str() != Some("COUNT") {
        let items: Result<Vec<Json>, ApiError> = on_page.iter().map(|item| project(item, request)).collect();
        json["Items"] = json!(items?);
    }
    if begin + taken < found.len()
        && let Some(last) = on_page.last()
    {
        let index = table.schema.index(request["IndexName"].as_str())?;
        json["LastEvaluatedKey"] = json!(table.schema.start_key(last, &index));
    }
    Ok(Answer {
        json,
        half_units: read_units(bytes, &request["ConsistentRead"]),
    })
}

fn check(item: Option<&Item>, request: &Json) -> Result<(), ApiError> {
    let Some(text) = request["ConditionExpression"].as_str() else {
        return Ok(());
    };
    if Condition::read(text, &Names::of(request))?.holds(item) {
        return Ok(());
    }
    Err(ApiError::sender(
        "ConditionalCheckFailedException",
        "The conditional request failed",
    ))
}

fn put(table: &mut Table, request: &Json) -> Result<Answer, ApiError> {
    let item = object(&request["Item"])?;
    let key = table.schema.key_of(item)?;
    check(table.items.get(&key), request)?;
    store(table, key, item.clone())
}

fn store(table: &mut Table, key: (String, String), item: Item) -> Result<Answer, ApiError> {
    let size = item_bytes(&item);
    if size > LARGEST {
        return Err(invalid("Item size has exceeded the maximum allowed size"));
    }
    // Once into the table and once into every index that has its keys.
    let writes = 1 + table.schema.indexes_of(&item);
    table.items.insert(key, item);
    Ok(Answer {
        json: json!({}),
        half_units: 2 * (size.div_ceil(1024).max(1) * writes) as u64,
    })
}

fn update(table: &mut Table, request: &Json) -> Result<Answer, ApiError> {
    let wanted = object(&request["Key"])?;
    let key = table.schema.key_of(wanted)?;
    check(table.items.get(&key), request)?;
    let mut item = table.items.get(&key).cloned().unwrap_or_else(|| wanted.clone());
    let text = request["UpdateExpression"].as_str().unwrap_or_default();
    for (name, value) in assignments(text, &Names::of(request))? {
        item.insert(name, value);
    }
    store(table, key, item)
}

fn delete(table: &mut Table, request: &Json) -> Result<Answer, ApiError> {
    let key = table.schema.key_of(object(&request["Key"])?)?;
    check(table.items.get(&key), request)?;
    let size = table.items.remove(&key).map_or(0, |item| item_bytes(&item));
    Ok(Answer {
        json: json!({}),
        half_units: 2 * size.div_ceil(1024).max(1) as u64,
    })
}

fn describe(name: &str, table: &Table) -> Json {
    json!({
        "TableName": name, "TableStatus": "ACTIVE", "ItemCount": table.items.len(),
        "TableSizeBytes": table.items.values().map(item_bytes).sum::<usize>(),
        "KeySchema": table.schema.key_schema(),
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    })
}
