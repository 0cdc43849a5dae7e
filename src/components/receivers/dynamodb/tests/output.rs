//! What the points look like, and which there are.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn output_carries_resource_units_periods_and_utilization() {
    let mut scenario = Scenario::demo();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "").await;
    bench.run_to(20).await;
    let orders = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders";
    let resource = bench.sink.resources.lock().unwrap()[orders].clone();
    let expected = [
        ("cloud.provider", "aws"),
        ("cloud.account.id", "111122223333"),
        ("cloud.region", "eu-central-1"),
        ("cloud.resource_id", orders),
        ("db.system.name", "aws.dynamodb"),
    ];
    let expected: BTreeMap<String, String> = expected.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    assert_eq!(resource, expected);
    let units = bench.sink.units.lock().unwrap().clone();
    for (name, unit) in [
        ("amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency", "ms"),
        ("amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency.p99", "ms"),
        ("amazonaws.com/AWS/DynamoDB/WriteThrottleEvents", "{Count}"),
        ("aws.dynamodb.capacity.utilization", "%"),
        ("aws.cloudwatch.poll.up", "1"),
    ] {
        assert_eq!(units[name], unit, "{name}");
    }
    let utilization = |table: &str, direction: &str, minute: i64| {
        let found =
            bench
                .sink
                .of("aws.dynamodb.capacity.utilization")
                .into_iter()
                .find(|((_, _, attributes, at), _)| {
                    let has = |name: &str, value: &str| attributes.iter().any(|(n, v)| n == name && v == value);
                    *at == bench.start + 60 * minute
                        && has("TableName", table)
                        && has("Direction", direction)
                        && !attributes.iter().any(|(name, _)| name == "GlobalSecondaryIndexName")
                });
        found.map(|((_, _, attributes, _), values)| (attributes[0].1.clone(), values[0].0))
    };
    assert_eq!(
        utilization("orders", "Write", 6),
        Some(("provisioned".to_owned(), 100.0))
    );
    let (basis, percent) = utilization("sessions", "Read", 6).unwrap();
    assert_eq!(basis, "account_table_max");
    assert!(percent > 0.0 && percent < 1.0, "{percent}");
    let index = bench.sink.of("aws.dynamodb.capacity.utilization");
    assert!(index.iter().any(|((_, _, attributes, _), _)| {
        attributes
            .iter()
            .any(|(name, value)| name == "GlobalSecondaryIndexName" && value == "by-customer")
    }));
    let up = bench.sink.of("aws.cloudwatch.poll.up");
    assert!(up.iter().all(|(_, values)| values[0].0 == 1.0));
}

#[tokio::test]
async fn names_are_filtered_and_minimum_and_maximum_come_when_asked() {
    let mut scenario = Scenario::demo();
    scenario.lag = Lag::NONE;
    let extra = "include: [\"*s\"]\nexclude: [\"s*\"]\nmin_max: true\npercentiles: [p99, p99.9, p10]\nderived: false\n\
                 metrics: {include: [\"*Latency\", Consumed*], exclude: [\"*Write*\"]}";
    let mut bench = Bench::start(scenario, extra).await;
    bench.run_to(20).await;
    let points = bench.sink.points.lock().unwrap().clone();
    let names: BTreeSet<&str> = points.keys().map(|(_, name, ..)| name.as_str()).collect();
    let tables: BTreeSet<&str> = points
        .keys()
        .flat_map(|(_, _, attributes, _)| attributes)
        .filter(|(name, _)| name == "TableName")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(Vec::from_iter(tables), ["orders", "reports"]);
    let latency = "amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency";
    for suffix in ["", ".p99", ".p99.9", ".p10"] {
        assert!(names.contains(format!("{latency}{suffix}").as_str()), "{names:?}");
    }
    assert!(names.contains("amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits"));
    assert!(
        names
            .iter()
            .all(|name| !name.contains("Write") && !name.contains("utilization"))
    );
    let (least, greatest) = bench.sink.ranges.lock().unwrap()[latency];
    assert!(least.unwrap() > 0.0 && greatest.unwrap() > least.unwrap());
    assert_eq!(
        bench.count("cloudwatch_billed_metrics_total", None),
        bench.simulator.bill().of("GetMetricData").units,
        "seven statistics of a metric are two units"
    );
}

#[tokio::test]
async fn the_receiver_counts_itself_without_naming_tables() {
    let mut bench = Bench::start(Scenario::demo(), "").await;
    bench.run_to(15).await;
    let samples = bench.context.instruments.registry().gather();
    for name in [
        "aws_api_requests_total",
        "aws_api_duration_seconds",
        "aws_api_rate_limit",
        "cloudwatch_billed_metrics_total",
        "cloudwatch_cost_usd",
        "cloudwatch_series",
        "cloudwatch_points_total",
        "cloudwatch_settle_seconds",
        "cloudwatch_watermark_age_seconds",
        "cloudwatch_open_minutes",
        "cloudwatch_blind",
        "cloudwatch_partial_total",
        "cloudwatch_discovery_errors_total",
        "cloudwatch_backfill_skipped_minutes_total",
    ] {
        assert!(samples.iter().any(|sample| sample.name == name), "{name}");
    }
    let labels = samples.iter().flat_map(|sample| &sample.labels);
    for (_, value) in labels {
        for word in ["orders", "sessions", "ThrottleEvents"] {
            assert!(!value.contains(word), "{value}");
        }
    }
}
