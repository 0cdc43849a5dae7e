//! Every point once and right, whatever AWS or the pipeline do in between.

use super::*;

#[tokio::test]
async fn over_hours_of_late_data_every_point_comes_out_once_and_right() {
    let mut scenario = Scenario::busy();
    scenario.lag = lag();
    let mut bench = Bench::start(scenario, "settle: strict").await;
    bench.run_to(150).await;
    let comparison = bench.compare(-10, 135);
    comparison.assert_exact();
    assert!(comparison.filled > 100, "sentinels are filled with zeros");
    assert_eq!(bench.count("cloudwatch_points_total", Some("late")), 0);
    assert_eq!(bench.count("cloudwatch_points_total", Some("revised")), 0);
    assert_eq!(
        bench.count("cloudwatch_billed_metrics_total", None),
        bench.simulator.bill().of("GetMetricData").units,
        "our count of the bill is AWS' count"
    );
}

#[tokio::test]
async fn throttles_failures_and_partial_pages_lose_nothing() {
    let mut scenario = Scenario::demo();
    scenario.lag = lag();
    let mut bench = Bench::start(scenario, "settle: strict").await;
    let gmd = |from, to, kind| Fault::of("GetMetricData", from, to, kind);
    let error = FaultKind::Error {
        status: 500,
        code: "InternalFailure".to_owned(),
    };
    let internal = FaultKind::SeriesStatus {
        status: "InternalError".to_owned(),
        metric: Some("ConsumedReadCapacityUnits".to_owned()),
    };
    bench.simulator.set_faults(vec![
        gmd(3, 20, FaultKind::Throttle).every(2),
        gmd(20, 30, FaultKind::Throttle),
        gmd(32, 36, error),
        gmd(36, 45, FaultKind::Page { points: 333 }),
        gmd(45, 48, FaultKind::Truncate).every(2),
        gmd(48, 54, internal),
        gmd(54, 56, FaultKind::TokenTtl { seconds: 0.0 }),
        gmd(54, 56, FaultKind::Page { points: 2_000 }),
        Fault::of("ListMetrics", 58, 65, FaultKind::Throttle),
        Fault::of("ListTables", 25, 40, FaultKind::Throttle).every(2),
    ]);
    bench.run_to(95).await;
    bench.compare(-10, 80).assert_exact();
    assert!(bench.count("aws_api_requests_total", Some("throttled")) > 10);
    assert!(bench.count("cloudwatch_partial_total", None) > 0);
    assert_eq!(
        bench.count("cloudwatch_billed_metrics_total", None),
        bench.simulator.bill().of("GetMetricData").units,
    );
}

#[tokio::test]
async fn fast_settling_counts_every_value_that_changed_afterwards() {
    let mut bench = Bench::start(Scenario::demo(), "zero_fill: none").await;
    bench.run_to(75).await;
    let comparison = bench.compare(-10, 40);
    assert_eq!(comparison.missing, []);
    assert_eq!(comparison.doubled, []);
    let revised = bench.count("cloudwatch_points_total", Some("revised"));
    // A changed minute of a latency series differs in up to four metrics.
    assert!(
        comparison.wrong.len() as u64 <= 4 * revised,
        "{} {revised}",
        comparison.wrong.len()
    );
    assert!(comparison.right > 50 * comparison.wrong.len(), "{comparison:?}");
}

#[tokio::test]
async fn a_refusing_pipeline_keeps_the_points_and_stops_the_billed_polling() {
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "settle: strict").await;
    bench.run_to(15).await;
    *bench.sink.refusing.lock().unwrap() = Some(Refused::retryable("full"));
    bench.run_to(16).await;
    let billed = bench.simulator.bill().of("GetMetricData");
    for _ in 0..20 {
        let round = bench.round().await;
        assert_eq!(round.refused, Some(Duration::from_secs(5)));
        bench.simulator.clock().step(Duration::from_secs(60));
    }
    assert_eq!(bench.simulator.bill().of("GetMetricData"), billed);
    *bench.sink.refusing.lock().unwrap() = None;
    bench.run_to(60).await;
    bench.compare(-10, 45).assert_exact();
    assert!(bench.count("otelcol_receiver_refused_metric_points", None) > 0);
}

#[tokio::test]
async fn what_is_refused_for_good_is_dropped_and_counted() {
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "").await;
    *bench.sink.refusing.lock().unwrap() = Some(Refused::permanent("never"));
    bench.run_to(8).await;
    assert!(bench.count("cloudwatch_points_total", Some("dropped")) > 0);
    assert!(bench.count("otelcol_dropped_items", Some("permanent_error")) > 0);
    assert_eq!(bench.count("cloudwatch_points_total", Some("emitted")), 0);
}

#[tokio::test]
async fn what_a_throttle_leaves_is_made_up_for_before_the_next_round() {
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "").await;
    let throttle = Fault::of("GetMetricData", 0, 30, FaultKind::Throttle).every(2);
    bench.simulator.set_faults(vec![throttle]);
    for minute in 1..30 {
        bench.run_to(minute).await;
        assert_eq!(bench.state(), ComponentState::Ok, "minute {minute}");
    }
    assert!(bench.count("aws_api_requests_total", Some("throttled")) > 10);
    let up = bench.sink.of("aws.cloudwatch.poll.up");
    assert!(up.iter().all(|(_, values)| values[0].0 == 1.0));
    bench.run_to(45).await;
    bench.compare(-10, 30).assert_exact();
}

#[tokio::test]
async fn sentinels_at_zero_make_their_causes_zero_before_these_are_asked() {
    let mut scenario = Scenario::demo();
    scenario.lag = lag();
    let extra = "settle: strict\nzero_fill: all\npolling: {mode: adaptive, source: gmd}";
    let mut bench = Bench::start(scenario, extra).await;
    bench.run_to(55).await;
    let of_minute = |bench: &Bench, metric: &str, minute: i64| {
        let at = bench.start + 60 * minute;
        let name = format!("amazonaws.com/AWS/DynamoDB/{metric}");
        bench
            .sink
            .of(&name)
            .iter()
            .filter(|((.., start), _)| *start == at)
            .count()
    };
    // Asked once an hour, yet as new as their sentinels.
    for minute in [20, 30, 40] {
        let sentinels = of_minute(&bench, "WriteThrottleEvents", minute);
        let causes = of_minute(&bench, "WriteAccountLimitThrottleEvents", minute);
        assert!(
            sentinels > 0 && causes == sentinels,
            "{minute}: {causes} of {sentinels}"
        );
    }
    let causes = |name: &str| name.ends_with("ThrottleEvents");
    bench.compare_of(-10, 40, causes).assert_kept();
}
