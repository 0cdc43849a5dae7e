//! What is commonly published about DynamoDB's metrics and is not so: a check of queries and rules, with the corrected form.
//!
//! Sources: the catalogue (which dimensions a metric has), and CloudWatch's documentation of DynamoDB's metrics.

use crate::aws::catalogue::catalogue;

const NAMESPACE: &str = "AWS/DynamoDB";

/// A query of a CloudWatch metric, as somebody wrote it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a> {
    pub metric: &'a str,
    /// Names of the dimensions it selects or groups by.
    pub dimensions: &'a [&'a str],
    /// `Sum`, `Average`, `p99`, ...; empty where it is not told.
    pub statistic: &'a str,
    /// How several series or periods are put together: `avg`, `sum`, `max`; empty where they are not.
    pub combined_by: &'a str,
    /// Missing data counts as good.
    pub missing_is_good: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It never gives a value, so an alarm on it never fires.
    Empty,
    /// It gives another value than one would think.
    Misleading,
}

/// Something that is not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub weight: Weight,
    /// What is the case.
    pub truth: String,
    /// What to write in its place.
    pub instead: String,
}

fn finding(weight: Weight, truth: impl Into<String>, instead: impl Into<String>) -> Finding {
    Finding {
        weight,
        truth: truth.into(),
        instead: instead.into(),
    }
}

/// Everything that is wrong with a query of `AWS/DynamoDB`.
pub fn lint(query: &Query<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if catalogue().find(NAMESPACE, query.metric).is_none() {
        findings.extend(missing_metric(query.metric));
    } else {
        findings.extend(wrong_dimensions(query));
    }
    findings.extend(wrong_statistic(query));
    findings.extend(wrong_combination(query));
    if query.missing_is_good {
        findings.push(finding(
            Weight::Misleading,
            "most of these metrics have no point while they are zero, and AWS' pages disagree on whether \"missing = not \
             breaching\" is honoured for AWS/DynamoDB",
            "alert on zero-filled series, and on aws.cloudwatch.blind for missing data",
        ));
    }
    findings
}

fn missing_metric(metric: &str) -> Option<Finding> {
    let (truth, instead) = match metric {
        "ItemCount" | "TableSizeBytes" | "TableSize" => (
            format!("CloudWatch has no {metric}: it is in DescribeTable, refreshed about every six hours"),
            "aws.dynamodb.item_count and aws.dynamodb.table_size".to_owned(),
        ),
        _ if metric.ends_with("Latency") && metric != "ReplicationLatency" => {
            let operation = metric.trim_end_matches("Latency");
            (
                format!("there is no {metric}"),
                format!("SuccessfulRequestLatency by TableName and Operation ({operation}Item, Query, ...)"),
            )
        }
        _ => (
            format!("AWS/DynamoDB has no metric {metric}"),
            "one of the catalogue's".to_owned(),
        ),
    };
    Some(finding(Weight::Empty, truth, instead))
}

fn wrong_dimensions(query: &Query<'_>) -> Option<Finding> {
    let has = |name: &str| query.dimensions.contains(&name);
    match query.metric {
        "ThrottledRequests" | "SystemErrors" | "SuccessfulRequestLatency" if !has("Operation") => {
            let ready = match query.metric {
                "ThrottledRequests" => "aws.dynamodb.requests.throttled",
                "SystemErrors" => "aws.dynamodb.system_errors",
                _ => "aws.dynamodb.latency.mean and .p99_max",
            };
            let of_index = if has("GlobalSecondaryIndexName") {
                "; of an index Read/WriteThrottleEvents"
            } else {
                ""
            };
            Some(finding(
                Weight::Empty,
                format!(
                    "{} has series by TableName and Operation only; without Operation it is empty",
                    query.metric
                ),
                format!("the sum over Operation: {ready}{of_index}"),
            ))
        }
        "UserErrors" if !query.dimensions.is_empty() => Some(finding(
            Weight::Empty,
            "UserErrors has no dimension: it counts for account and region",
            "UserErrors without dimensions",
        )),
        _ if !query.metric.starts_with("Consumed") => None,
        _ if has("TableName") && !has("GlobalSecondaryIndexName") && query.combined_by == "sum" => Some(finding(
            Weight::Misleading,
            format!(
                "{} by TableName is the table without its global secondary indexes",
                query.metric
            ),
            "the sum of the table and each of its indexes",
        )),
        _ => None,
    }
}

fn wrong_statistic(query: &Query<'_>) -> Option<Finding> {
    if !query.metric.starts_with("Consumed") {
        return None;
    }
    match query.statistic {
        "Average" => Some(finding(
            Weight::Misleading,
            format!("Average of {} is units per request", query.metric),
            "Sum divided by the period: aws.dynamodb.capacity.utilization has it as a share of what is provisioned",
        )),
        "SampleCount" => Some(finding(
            Weight::Misleading,
            format!(
                "SampleCount of {} is no number of requests: zeros of idle times count",
                query.metric
            ),
            "SampleCount of SuccessfulRequestLatency",
        )),
        _ => None,
    }
}

fn wrong_combination(query: &Query<'_>) -> Option<Finding> {
    let percentile = query.statistic.strip_prefix('p');
    let percentile = percentile.filter(|rest| rest.parse::<f64>().is_ok())?;
    if !matches!(query.combined_by, "avg" | "sum") {
        return None;
    }
    let weighted = "aws.dynamodb.latency.mean, or the maximum as an upper bound: aws.dynamodb.latency.p99_max";
    Some(finding(
        Weight::Misleading,
        format!(
            "percentiles do not add up: {} of p{percentile} is no percentile",
            query.combined_by
        ),
        weighted,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: &str, dimensions: &[&str], statistic: &str, combined_by: &str) -> Vec<Weight> {
        let query = Query {
            metric,
            dimensions,
            statistic,
            combined_by,
            missing_is_good: false,
        };
        let found = lint(&query);
        assert!(found.iter().all(|one| !one.truth.is_empty() && !one.instead.is_empty()));
        found.into_iter().map(|one| one.weight).collect()
    }

    #[test]
    fn what_guides_publish_is_corrected() {
        use Weight::{Empty, Misleading};
        let table = &["TableName"][..];
        let index = &["TableName", "GlobalSecondaryIndexName"][..];
        for metric in ["ThrottledRequests", "SystemErrors", "SuccessfulRequestLatency"] {
            assert_eq!(of(metric, table, "Sum", ""), [Empty], "{metric}");
            assert_eq!(of(metric, index, "Sum", ""), [Empty], "{metric}");
            assert_eq!(of(metric, &["TableName", "Operation"], "Sum", "sum"), [], "{metric}");
        }
        assert_eq!(of("UserErrors", table, "Sum", ""), [Empty]);
        assert_eq!(of("UserErrors", &[], "Sum", ""), []);
        for metric in ["ItemCount", "GetLatency", "PutLatency", "QueryLatency", "Nonsense"] {
            assert_eq!(of(metric, table, "Average", ""), [Empty], "{metric}");
        }
        assert_eq!(of("ConsumedReadCapacityUnits", table, "Sum", "sum"), [Misleading]);
        assert_eq!(of("ConsumedReadCapacityUnits", index, "Average", ""), [Misleading]);
        assert_eq!(of("ConsumedWriteCapacityUnits", table, "SampleCount", ""), [Misleading]);
        assert_eq!(of("ConsumedWriteCapacityUnits", table, "Sum", ""), []);
        let operation = &["TableName", "Operation"][..];
        assert_eq!(of("SuccessfulRequestLatency", operation, "p99", "avg"), [Misleading]);
        assert_eq!(of("SuccessfulRequestLatency", operation, "p99", "sum"), [Misleading]);
        assert_eq!(of("SuccessfulRequestLatency", operation, "p99", "max"), []);
    }

    #[test]
    fn missing_data_is_not_good_data() {
        let query = Query {
            metric: "ReadThrottleEvents",
            dimensions: &["TableName"],
            statistic: "Sum",
            missing_is_good: true,
            ..Query::default()
        };
        let found = lint(&query);
        assert_eq!(found.len(), 1);
        assert!(found[0].instead.contains("zero-filled"));
    }
}
