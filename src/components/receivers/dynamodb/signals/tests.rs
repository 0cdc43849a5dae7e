//! Minutes fed by hand.

use super::*;

const START: i64 = 1_767_225_600;

fn part(metric: &'static str, index: Option<&'static str>, minute: i64, sum: f64) -> Seen<'static> {
    Seen {
        table: "orders",
        metric,
        index,
        operation: None,
        at: START + minute * MINUTE,
        sum,
        count: 0.0,
        p99: None,
        utilization: None,
    }
}

fn operation(metric: &'static str, name: &'static str, minute: i64, sum: f64, count: f64) -> Seen<'static> {
    Seen {
        operation: Some(name),
        count,
        p99: (metric == "SuccessfulRequestLatency").then_some(sum),
        ..part(metric, None, minute, sum)
    }
}

/// Everything is settled up to `minute`.
fn judged(signals: &Signals, minute: i64) -> Vec<Point> {
    let decided = |_: &str, _: &str, _: i64| true;
    let cause = |_: &str, _: Option<&str>, _: i64| true;
    let progress = Progress {
        watermark: START + minute * MINUTE,
        max_late: 600,
        now: START + (minute + 2) * MINUTE,
        is_decided: &decided,
        is_cause_decided: &cause,
    };
    signals.judge("orders", &progress)
}

fn attribute<'a>(point: &'a Point, key: &str) -> &'a str {
    let found = point.attributes.iter().find(|(have, _)| *have == key);
    found.map_or("", |(_, value)| value)
}

fn throttling(points: &[Point]) -> Vec<(String, f64)> {
    let of = points
        .iter()
        .filter(|point| point.name == "aws.dynamodb.throttle.minutes");
    of.map(|point| {
        let keys = [
            "GlobalSecondaryIndexName",
            "Direction",
            "Cause",
            "Pattern",
            "Inferred",
            "gsi_backpressure",
        ];
        let values: Vec<&str> = keys.iter().map(|key| attribute(point, key)).collect();
        (values.join("/"), point.value)
    })
    .collect()
}

#[test]
fn an_episode_begins_goes_on_and_comes_back_to_zero() {
    let signals = Signals::default();
    let mut seen = Vec::new();
    for minute in 0..30 {
        let throttles = if (3..9).contains(&minute) { 12.0 } else { 0.0 };
        signals.see(&part("WriteThrottleEvents", None, minute, throttles));
        if throttles > 0.0 {
            signals.see(&part(
                "WriteProvisionedThroughputThrottleEvents",
                None,
                minute,
                throttles,
            ));
        }
        seen.push(throttling(&judged(&signals, minute)));
    }
    let provisioned = |pattern: &str, value: f64| (format!("/Write/provisioned_capacity/{pattern}/false/"), value);
    assert!(seen[2].is_empty());
    assert_eq!(seen[3], [provisioned("burst", 1.0)]);
    assert_eq!(seen[5], [provisioned("burst", 0.0), provisioned("intermittent", 3.0)]);
    assert_eq!(
        seen[7],
        [provisioned("intermittent", 0.0), provisioned("sustained", 5.0)]
    );
    assert_eq!(seen[8], [provisioned("sustained", 6.0)]);
    // The window has moved on over it.
    assert_eq!(seen[21], [provisioned("intermittent", 0.0), provisioned("burst", 2.0)]);
    assert_eq!(seen[22], [provisioned("burst", 1.0)]);
    assert_eq!(seen[23], [provisioned("burst", 0.0)]);
    assert!(seen[24].is_empty());
}

#[test]
fn a_throttled_minute_waits_for_its_causes_but_not_for_ever() {
    let signals = Signals::default();
    let mut seen = part("ReadThrottleEvents", None, 0, 5.0);
    signals.see(&seen);
    seen.metric = "ConsumedReadCapacityUnits";
    seen.utilization = Some(30.0);
    signals.see(&seen);
    let decided = |_: &str, _: &str, _: i64| true;
    let cause = |direction: &str, index: Option<&str>, _: i64| {
        assert_eq!((direction, index), ("Read", None));
        false
    };
    let mut progress = Progress {
        watermark: START,
        max_late: 600,
        now: START + 180,
        is_decided: &decided,
        is_cause_decided: &cause,
    };
    assert!(throttling(&signals.judge("orders", &progress)).is_empty());
    progress.now = START + 60 + 660;
    let points = signals.judge("orders", &progress);
    assert_eq!(
        throttling(&points),
        [("/Read/hot_partition/burst/true/".to_owned(), 1.0)]
    );
}

#[test]
fn an_index_that_holds_back_its_table_is_told() {
    let signals = Signals::default();
    signals.see(&part("WriteThrottleEvents", None, 0, 0.0));
    signals.see(&part("WriteThrottleEvents", Some("by-status"), 0, 9.0));
    signals.see(&part(
        "WriteProvisionedThroughputThrottleEvents",
        Some("by-status"),
        0,
        9.0,
    ));
    let points = throttling(&judged(&signals, 0));
    assert_eq!(
        points,
        [("by-status/Write/provisioned_capacity/burst/false/true".to_owned(), 1.0)]
    );
}

#[test]
fn operations_are_added_up_once() {
    let signals = Signals::default();
    signals.see(&operation("SuccessfulRequestLatency", "GetItem", 0, 180.0, 90.0));
    signals.see(&operation("ThrottledRequests", "GetItem", 0, 10.0, 1.0));
    signals.see(&operation("SystemErrors", "Query", 0, 2.0, 1.0));
    // The same again, as after a refusal.
    signals.see(&operation("ThrottledRequests", "GetItem", 0, 10.0, 1.0));
    let points = judged(&signals, 0);
    let value = |name: &str, keys: &[(&str, &str)]| {
        let found = points.iter().find(|point| {
            point.name == format!("aws.dynamodb.{name}")
                && keys.iter().all(|(key, value)| attribute(point, key) == *value)
        });
        found.map(|point| point.value)
    };
    assert_eq!(value("requests.throttled", &[]), Some(10.0));
    assert_eq!(value("system_errors", &[]), Some(2.0));
    assert_eq!(value("latency.mean", &[]), Some(2.0));
    assert_eq!(value("latency.p99_max", &[]), Some(180.0));
    assert_eq!(
        value("error_ratio", &[("Operation", "GetItem"), ("Type", "throttle")]),
        Some(0.1)
    );
    assert_eq!(
        value("error_ratio", &[("Operation", "Query"), ("Type", "system")]),
        Some(1.0)
    );
    assert!(judged(&signals, 0).is_empty(), "each minute once");
    let next = judged(&signals, 1);
    assert_eq!(next.len(), 2, "silence is zero: {next:?}");
}

#[test]
fn operations_wait_for_their_slowest_series() {
    let signals = Signals::default();
    signals.see(&operation("SuccessfulRequestLatency", "GetItem", 0, 180.0, 90.0));
    let decided = |metric: &str, operation: &str, at: i64| {
        assert_eq!((operation, at), ("GetItem", START));
        metric != "SystemErrors"
    };
    let cause = |_: &str, _: Option<&str>, _: i64| true;
    let mut progress = Progress {
        watermark: START,
        max_late: 600,
        now: START + 180,
        is_decided: &decided,
        is_cause_decided: &cause,
    };
    assert!(signals.judge("orders", &progress).is_empty());
    progress.now = START + 60 + 900;
    assert!(!signals.judge("orders", &progress).is_empty());
}

#[test]
fn what_is_remembered_is_bounded() {
    let signals = Signals::default();
    for minute in 0..1_000 {
        signals.see(&part("ReadThrottleEvents", None, minute, 0.0));
        signals.see(&operation("ThrottledRequests", "GetItem", minute, 0.0, 0.0));
    }
    let points = judged(&signals, 999);
    let minutes = points
        .iter()
        .filter(|point| point.name == "aws.dynamodb.requests.throttled")
        .count();
    assert!((60..=61).contains(&minutes), "{minutes}");
    signals.keep(|_| false);
    assert!(judged(&signals, 1_000).is_empty());
}
