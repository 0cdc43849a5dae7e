//! DynamoDB: the calls that describe tables. Of the data plane only a Query that counts.

use super::answer::{ApiError, Caller};
use super::insights;
use super::scenario::{Capacity, Table};
use super::value::Value;
use super::world::World;

/// Item counts are refreshed about every six hours.
const REFRESH_S: i64 = 6 * 3600;

/// Answers one DynamoDB operation at `now` (unix seconds).
pub fn call(world: &World, caller: &Caller, operation: &str, request: &Value, now: f64) -> Result<Value, ApiError> {
    match operation {
        "ListTables" => list_tables(world, caller, request, now),
        "DescribeTable" => describe_table(world, caller, request, now),
        "DescribeLimits" => Ok(Value::map([
            ("AccountMaxReadCapacityUnits", Value::Int(80_000)),
            ("AccountMaxWriteCapacityUnits", Value::Int(80_000)),
            ("TableMaxReadCapacityUnits", Value::Int(40_000)),
            ("TableMaxWriteCapacityUnits", Value::Int(40_000)),
        ])),
        "DescribeContributorInsights" => insights::describe(world, caller, request, now),
        "ListContributorInsights" => insights::list(world, caller, request, now),
        "Query" => insights::query(world, caller, request, now),
        other => Err(ApiError::sender(
            "UnknownOperationException",
            format!("the simulator does not know {other}"),
        )),
    }
}

fn list_tables(world: &World, caller: &Caller, request: &Value, now: f64) -> Result<Value, ApiError> {
    let limit = request.int("Limit").unwrap_or(100);
    if !(1..=100).contains(&limit) {
        return Err(ApiError::sender(
            "ValidationException",
            "1 validation error detected: Value at 'limit' failed to satisfy constraint: 1 to 100",
        ));
    }
    let after = request.str("ExclusiveStartTableName").unwrap_or_default();
    let tables = world.tables(&caller.account, &caller.region, now);
    let mut names: Vec<&str> = tables
        .iter()
        .map(|table| table.name.as_str())
        .filter(|name| *name > after)
        .collect();
    let more = names.len() > limit as usize;
    names.truncate(limit as usize);
    let last = names.last().copied();
    let list = names.iter().map(|name| Value::text(*name)).collect();
    let mut answer = Value::map([("TableNames", Value::List(list))]);
    if let (true, Some(last)) = (more, last) {
        answer.push("LastEvaluatedTableName", Value::text(last));
    }
    Ok(answer)
}

fn describe_table(world: &World, caller: &Caller, request: &Value, now: f64) -> Result<Value, ApiError> {
    let name = request.str("TableName").unwrap_or_default();
    // The name may be the ARN.
    let name = name.rsplit_once(":table/").map_or(name, |(_, name)| name);
    let tables = world.tables(&caller.account, &caller.region, now);
    let Some(table) = tables.iter().find(|table| table.name == name) else {
        return Err(ApiError::sender(
            "ResourceNotFoundException",
            format!("Requested resource not found: Table: {name} not found"),
        ));
    };
    let arn = format!(
        "arn:aws:dynamodb:{}:{}:table/{}",
        caller.region, caller.account, table.name
    );
    let items = items_at(world, table, now);
    let mut description = Value::map([
        ("TableName", Value::text(table.name.as_str())),
        ("TableArn", Value::text(arn.as_str())),
        ("TableId", Value::Text(table_id(&arn))),
        ("TableStatus", Value::text("ACTIVE")),
        ("CreationDateTime", Value::Time(created(world, table))),
        ("KeySchema", key_schema("pk", Some("sk"))),
        ("AttributeDefinitions", attributes(table)),
        ("ItemCount", Value::Int(items as i64)),
        ("TableSizeBytes", Value::Int((items * table.item_bytes) as i64)),
        ("DeletionProtectionEnabled", Value::Bool(false)),
    ]);
    description.push("ProvisionedThroughput", provisioned(table.capacity));
    if let Capacity::OnDemand { max_read, max_write } = table.capacity {
        let mode = Value::map([
            ("BillingMode", Value::text("PAY_PER_REQUEST")),
            ("LastUpdateToPayPerRequestDateTime", Value::Time(created(world, table))),
        ]);
        description.push("BillingModeSummary", mode);
        if let Some(limits) = on_demand(max_read, max_write) {
            description.push("OnDemandThroughput", limits);
        }
    }
    if !table.indexes.is_empty() {
        let indexes = table
            .indexes
            .iter()
            .map(|index| {
                let mut entry = Value::map([
                    ("IndexName", Value::text(index.name.as_str())),
                    ("IndexArn", Value::Text(format!("{arn}/index/{}", index.name))),
                    ("IndexStatus", Value::text("ACTIVE")),
                    ("KeySchema", key_schema("gk", None)),
                    ("Projection", Value::map([("ProjectionType", Value::text("ALL"))])),
                    ("ItemCount", Value::Int(items as i64)),
                    ("IndexSizeBytes", Value::Int((items * table.item_bytes) as i64)),
                    ("ProvisionedThroughput", provisioned(index.capacity)),
                ]);
                if let Capacity::OnDemand { max_read, max_write } = index.capacity
                    && let Some(limits) = on_demand(max_read, max_write)
                {
                    entry.push("OnDemandThroughput", limits);
                }
                entry
            })
            .collect();
        description.push("GlobalSecondaryIndexes", Value::List(indexes));
    }
    if !table.local_indexes.is_empty() {
        let indexes = table
            .local_indexes
            .iter()
            .map(|index| {
                Value::map([
                    ("IndexName", Value::text(index.as_str())),
                    ("IndexArn", Value::Text(format!("{arn}/index/{index}"))),
                    ("KeySchema", key_schema("pk", Some("lk"))),
                    ("Projection", Value::map([("ProjectionType", Value::text("ALL"))])),
                    ("ItemCount", Value::Int(items as i64)),
                    ("IndexSizeBytes", Value::Int((items * table.item_bytes) as i64)),
                ])
            })
            .collect();
        description.push("LocalSecondaryIndexes", Value::List(indexes));
    }
    Ok(Value::map([("Table", description)]))
}

fn created(world: &World, table: &Table) -> f64 {
    let minute = table.created.unwrap_or(-30 * 24 * 60);
    (world.scenario.start as i64 + 60 * minute) as f64
}

/// The count as of the last refresh.
fn items_at(world: &World, table: &Table, now: f64) -> u64 {
    let refreshed = (now as i64) - (now as i64).rem_euclid(REFRESH_S);
    let hours = (refreshed - world.scenario.start as i64) as f64 / 3600.0;
    (table.items as f64 + hours * table.items_per_hour).max(0.0) as u64
}

fn table_id(arn: &str) -> String {
    let hash = xxhash_rust::xxh3::xxh3_128(arn.as_bytes());
    uuid::Uuid::from_u128(hash).to_string()
}

fn provisioned(capacity: Capacity) -> Value {
    let (read, write) = match capacity {
        Capacity::Provisioned { read, write } => (read, write),
        Capacity::OnDemand { .. } => (0.0, 0.0),
    };
    Value::map([
        ("NumberOfDecreasesToday", Value::Int(0)),
        ("ReadCapacityUnits", Value::Int(read as i64)),
        ("WriteCapacityUnits", Value::Int(write as i64)),
    ])
}

fn on_demand(max_read: Option<f64>, max_write: Option<f64>) -> Option<Value> {
    if max_read.is_none() && max_write.is_none() {
        return None;
    }
    // -1 means without a maximum.
    let limit = |limit: Option<f64>| Value::Int(limit.map_or(-1, |limit| limit as i64));
    Some(Value::map([
        ("MaxReadRequestUnits", limit(max_read)),
        ("MaxWriteRequestUnits", limit(max_write)),
    ]))
}

fn key_schema(hash: &str, range: Option<&str>) -> Value {
    let key =
        |name: &str, kind: &str| Value::map([("AttributeName", Value::text(name)), ("KeyType", Value::text(kind))]);
    let mut keys = vec![key(hash, "HASH")];
    keys.extend(range.map(|range| key(range, "RANGE")));
    Value::List(keys)
}

fn attributes(table: &Table) -> Value {
    let mut names = vec!["pk", "sk"];
    if !table.indexes.is_empty() {
        names.push("gk");
    }
    if !table.local_indexes.is_empty() {
        names.push("lk");
    }
    let list = names.into_iter().map(|name| {
        Value::map([
            ("AttributeName", Value::text(name)),
            ("AttributeType", Value::text("S")),
        ])
    });
    Value::List(list.collect())
}
