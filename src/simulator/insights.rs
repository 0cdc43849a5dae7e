//! Contributor Insights: whether a table or index has its keys counted, the rules that do it, and their reports. And the
//! one call of the data plane that the simulator knows, a Query that counts.

use super::answer::{ApiError, Caller};
use super::load::table_minute;
use super::scenario::{HotKey, Insights, Table};
use super::value::Value;
use super::world::World;

/// DynamoDB answers a Query with at most so many bytes of items at a time.
const PAGE_BYTES: u64 = 1 << 20;
/// Contributors of a report.
const MOST_CONTRIBUTORS: i64 = 100;

fn not_found(name: &str) -> ApiError {
    ApiError::sender(
        "ResourceNotFoundException",
        format!("Requested resource not found: Table: {name} not found"),
    )
}

/// What the rules of a resource are called, with what they count.
fn rules(world: &World, resource: &str, insights: &Insights) -> Vec<(String, &'static str)> {
    let kinds: &[&'static str] = match (
        insights.throttled_only,
        insights.keys.iter().any(|key| key.sort.is_some()),
    ) {
        (true, false) => &["PKT"],
        (true, true) => &["PKT", "SKT"],
        (false, false) => &["PKC", "PKT"],
        (false, true) => &["PKC", "PKT", "SKC", "SKT"],
    };
    let since = world.scenario.start * 1000;
    let name = |kind: &&'static str| (format!("DynamoDBContributorInsights-{kind}-{resource}-{since}"), *kind);
    kinds.iter().map(name).collect()
}

/// DescribeContributorInsights.
pub fn describe(world: &World, caller: &Caller, request: &Value, now: f64) -> Result<Value, ApiError> {
    let name = request.str("TableName").unwrap_or_default();
    let tables = world.tables(&caller.account, &caller.region, now);
    let table = tables
        .iter()
        .find(|table| table.name == name)
        .ok_or_else(|| not_found(name))?;
    // Only tables have their keys counted in a scenario.
    let insights = table
        .contributor_insights
        .as_ref()
        .filter(|_| request.str("IndexName").is_none());
    let mut answer = Value::map([("TableName", Value::text(name))]);
    if let Some(index) = request.str("IndexName") {
        answer.push("IndexName", Value::text(index));
    }
    let Some(insights) = insights else {
        answer.push("ContributorInsightsStatus", Value::text("DISABLED"));
        return Ok(answer);
    };
    let rules = rules(world, name, insights);
    let list = rules.into_iter().map(|(rule, _)| Value::Text(rule)).collect();
    answer.push("ContributorInsightsRuleList", Value::List(list));
    answer.push("ContributorInsightsStatus", Value::text("ENABLED"));
    answer.push("ContributorInsightsMode", Value::text(mode(insights)));
    Ok(answer)
}

fn mode(insights: &Insights) -> &'static str {
    if insights.throttled_only {
        "THROTTLED_KEYS"
    } else {
        "ACCESSED_AND_THROTTLED_KEYS"
    }
}

/// ListContributorInsights: every table of the account, in one page.
pub fn list(world: &World, caller: &Caller, request: &Value, now: f64) -> Result<Value, ApiError> {
    let only = request.str("TableName");
    let mut summaries = Vec::new();
    for table in world.tables(&caller.account, &caller.region, now) {
        if only.is_some_and(|only| only != table.name) {
            continue;
        }
        let status = if table.contributor_insights.is_some() {
            "ENABLED"
        } else {
            "DISABLED"
        };
        let mut summary = Value::map([
            ("TableName", Value::text(table.name.as_str())),
            ("ContributorInsightsStatus", Value::text(status)),
        ]);
        if let Some(insights) = &table.contributor_insights {
            summary.push("ContributorInsightsMode", Value::text(mode(insights)));
        }
        summaries.push(summary);
    }
    Ok(Value::map([("ContributorInsightsSummaries", Value::List(summaries))]))
}

/// GetInsightRuleReport of CloudWatch.
pub fn report(world: &World, caller: &Caller, request: &Value, now: f64) -> Result<Value, ApiError> {
    let missing = |what: &str| ApiError::sender("ValidationError", format!("{what} is required"));
    let name = request.str("RuleName").ok_or_else(|| missing("RuleName"))?;
    let start = request.time("StartTime").ok_or_else(|| missing("StartTime"))? as i64;
    let end = request.time("EndTime").ok_or_else(|| missing("EndTime"))? as i64;
    let period = request.int("Period").ok_or_else(|| missing("Period"))?;
    if start >= end || period < 60 || period % 60 != 0 {
        return Err(ApiError::sender(
            "ValidationError",
            "the time range or the period is invalid",
        ));
    }
    let most = request.int("MaxContributorCount").unwrap_or(10);
    if !(1..=MOST_CONTRIBUTORS).contains(&most) {
        return Err(ApiError::sender(
            "ValidationError",
            "MaxContributorCount must be between 1 and 100",
        ));
    }
    let found = world
        .tables(&caller.account, &caller.region, now)
        .into_iter()
        .find_map(|table| {
            let insights = table.contributor_insights.as_ref()?;
            let rules = rules(world, &table.name, insights);
            let kind = rules.into_iter().find(|(rule, _)| rule == name)?.1;
            Some((table, insights, kind))
        });
    let Some((table, insights, kind)) = found else {
        return Err(ApiError::sender("ResourceNotFoundException", format!("no rule {name}")));
    };
    let total = total(world, table, kind.ends_with('T'), (start, end.min(now as i64)));
    let with_sort = kind.starts_with("SK");
    let mut contributors: Vec<(Vec<&str>, f64)> = insights
        .keys
        .iter()
        .map(|key| (labels(key, with_sort), (total * key.share).round()))
        .filter(|(_, requests)| *requests > 0.0)
        .collect();
    contributors.sort_by(|a, b| b.1.total_cmp(&a.1));
    let unique = contributors.len() as i64;
    contributors.truncate(most as usize);
    let list = contributors.into_iter().map(|(keys, requests)| {
        let keys = keys.into_iter().map(Value::text).collect();
        Value::map([
            ("Keys", Value::List(keys)),
            ("ApproximateAggregateValue", Value::Float(requests)),
            ("Datapoints", Value::List(Vec::new())),
        ])
    });
    let mut key_labels = vec![Value::text("partition key")];
    key_labels.extend(with_sort.then(|| Value::text("sort key")));
    Ok(Value::map([
        ("KeyLabels", Value::List(key_labels)),
        ("AggregationStatistic", Value::text("Sum")),
        ("AggregateValue", Value::Float(total)),
        ("ApproximateUniqueCount", Value::Int(unique)),
        ("Contributors", Value::List(list.collect())),
        ("MetricDatapoints", Value::List(Vec::new())),
    ]))
}

fn labels(key: &HotKey, with_sort: bool) -> Vec<&str> {
    let mut labels = vec![key.key.as_str()];
    labels.extend(key.sort.as_deref().filter(|_| with_sort));
    labels
}

/// Requests that were served, or refused, from `start` to `end`.
fn total(world: &World, table: &Table, throttled: bool, (start, end): (i64, i64)) -> f64 {
    let mut total = 0.0;
    let mut minute = world.minute_of(start);
    while minute < world.minute_of(end) {
        let facts = table_minute(&world.scenario, table, minute);
        let requests = facts.requests.iter();
        let counted = requests.map(|of| if throttled { of.throttled } else { of.succeeded });
        total += counted.sum::<u64>() as f64;
        minute += 1;
    }
    total
}

/// Query with Select=COUNT, by the partition key and a prefix of the sort key: what stands in the scenario's collections.
pub fn query(world: &World, caller: &Caller, request: &Value, now: f64) -> Result<Value, ApiError> {
    let name = request.str("TableName").unwrap_or_default();
    let tables = world.tables(&caller.account, &caller.region, now);
    let table = tables
        .iter()
        .find(|table| table.name == name)
        .ok_or_else(|| not_found(name))?;
    let invalid = |text: &str| ApiError::sender("ValidationException", text);
    if request.str("Select") != Some("COUNT") {
        return Err(invalid("the simulator knows Query with Select=COUNT only"));
    }
    let texts: Vec<&str> = match request.get("ExpressionAttributeValues") {
        Some(Value::Map(values)) => values.iter().filter_map(|(_, value)| value.str("S")).collect(),
        _ => Vec::new(),
    };
    let [key, prefix] = texts[..] else {
        return Err(invalid(
            "KeyConditionExpression must compare the partition key and a prefix of the sort key",
        ));
    };
    let is_of = |key: &str, prefix: &str| {
        let of = table.collections.iter();
        of.filter(|of| of.key == key && of.prefix.starts_with(prefix))
            .map(|of| of.items)
            .sum::<u64>()
    };
    // Names of placeholders tell nothing about their order.
    let items = is_of(key, prefix).max(is_of(prefix, key));
    let before = request
        .get("ExclusiveStartKey")
        .and_then(|key| key.get("sk"))
        .and_then(|key| key.str("S"));
    let before: u64 = before.and_then(|text| text.parse().ok()).unwrap_or(0);
    let page = (PAGE_BYTES / table.item_bytes.max(1)).max(1);
    let count = items.saturating_sub(before).min(page);
    let mut answer = Value::map([
        ("Count", Value::Int(count as i64)),
        ("ScannedCount", Value::Int(count as i64)),
    ]);
    if before + count < items {
        let text = |text: String| Value::map([("S", Value::Text(text))]);
        let last = Value::map([("pk", text(key.to_owned())), ("sk", text((before + count).to_string()))]);
        answer.push("LastEvaluatedKey", last);
    }
    Ok(answer)
}
