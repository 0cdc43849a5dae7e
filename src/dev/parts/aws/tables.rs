//! DynamoDB: tables and indexes as the page lists them.

use serde_json::{Map, Value, json};

use super::MOST_ROWS;
use super::newest::{Facts, Newest, Subject};

/// Keys of a table that are shown.
const HOT_KEYS: usize = 5;

/// Metrics that make a table's row.
const WANTED: [&str; 8] = [
    "Consumed",
    "Provisioned",
    "ReadThrottle",
    "WriteThrottle",
    "Throttled",
    "Successful",
    "aws.dynamodb.",
    "SystemErrors",
];

/// The rows. `alerts`: those that fire for a table or one of its indexes.
pub fn rows(newest: &Newest, alerts: impl Fn(&Subject) -> Vec<Value>) -> Vec<Value> {
    let is_wanted = |metric: &str| WANTED.iter().any(|start| metric.starts_with(start));
    let subjects = newest.subjects(is_wanted);
    let rows = subjects.iter().take(MOST_ROWS);
    rows.map(|(subject, facts)| row(subject, facts, alerts(subject)))
        .collect()
}

fn row(subject: &Subject, facts: &Facts<'_>, alerts: Vec<Value>) -> Value {
    // CloudWatch tells sums of a minute.
    let a_second = |metric: &str| facts.value(metric).map(|sum| sum / 60.0);
    // In percent as a metric, a share of one here.
    let used = |direction: &str| {
        let percent = facts.labelled("aws.dynamodb.capacity.utilization", "Direction", direction);
        percent.map(|percent| percent / 100.0)
    };
    let (read, write) = (used("Read"), used("Write"));
    let size = facts.of("aws.dynamodb.table_size").next().map(|(_, seen)| *seen);
    let throttle = throttle_of(facts);
    json!({
        "account": subject.account,
        "region": subject.region,
        "table": subject.name,
        "index": (!subject.part.is_empty()).then_some(&subject.part),
        "consumed_read": a_second("ConsumedReadCapacityUnits"),
        "consumed_write": a_second("ConsumedWriteCapacityUnits"),
        "provisioned_read": facts.value("ProvisionedReadCapacityUnits"),
        "provisioned_write": facts.value("ProvisionedWriteCapacityUnits"),
        "utilisation": (read.into_iter().chain(write).reduce(f64::max)),
        "utilisation_read": read,
        "utilisation_write": write,
        "throttles": facts.recent("ReadThrottleEvents") + facts.recent("WriteThrottleEvents"),
        "pattern": throttle.as_ref().map(|(pattern, _)| pattern),
        "cause": throttle.as_ref().map(|(_, cause)| cause),
        "latency": latency_of(facts),
        "size": size.map(|seen| seen.value),
        "items": facts.value("aws.dynamodb.item_count"),
        // Bytes since the first that is stored, and over which time.
        "growth": size.map(|seen| seen.value - seen.first.1),
        "growth_over": size.map(|seen| seen.time.saturating_sub(seen.first.0).to_string()),
        "growth_7d_percent": facts.value("aws.dynamodb.item_count.growth_7d"),
        "hot_keys": hot_keys_of(facts),
        "alerts": alerts,
    })
}

/// Pattern and cause of what throttles now.
fn throttle_of(facts: &Facts<'_>) -> Option<(String, String)> {
    let current = facts.current("aws.dynamodb.throttle.minutes");
    let worst = current.filter(|(_, seen)| seen.value > 0.0).max_by(|(_, a), (_, b)| {
        (a.time, a.value)
            .partial_cmp(&(b.time, b.value))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    worst.map(|(metric, _)| (metric.label("Pattern").to_owned(), metric.label("Cause").to_owned()))
}

/// By operation: the statistics of its latency, milliseconds.
fn latency_of(facts: &Facts<'_>) -> Map<String, Value> {
    let mut latency = Map::new();
    for (metric, seen) in &facts.all {
        let Some(rest) = metric.name.strip_prefix("SuccessfulRequestLatency") else {
            continue;
        };
        // Without a statistic it is a distribution, of which the store has no one number.
        let Some(statistic) = rest.strip_prefix('.') else {
            continue;
        };
        let operation = match metric.label("Operation") {
            "" => "all",
            operation => operation,
        };
        let entry = latency.entry(operation.to_owned()).or_insert_with(|| json!({}));
        entry[statistic] = seen.value.into();
    }
    latency
}

/// The keys with the most requests, as the receiver tells them: hashed, unless it is told otherwise.
fn hot_keys_of(facts: &Facts<'_>) -> Vec<Value> {
    let mut keys: Vec<_> = facts.current("aws.dynamodb.hot_key.requests").collect();
    keys.sort_by(|(a, one), (b, other)| other.value.total_cmp(&one.value).then_with(|| a.cmp(b)));
    let shown = keys.into_iter().take(HOT_KEYS).map(|(metric, seen)| {
        let key = match metric.label("Key") {
            "" => metric.label("KeyHash"),
            plain => plain,
        };
        json!({"key": key, "rule": metric.label("Rule"), "requests": seen.value})
    });
    shown.collect()
}
