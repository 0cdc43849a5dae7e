//! Transaction Search's log group: every span once, though hardly any is indexed.

use super::*;

/// Transaction Search from the start on; one percent of the traces is indexed.
pub(super) async fn bench(mut scenario: Scenario) -> Bench {
    scenario.xray.pending_s = 0.0;
    let bench = Bench::new(scenario, "traces_processed: 'off'").await;
    bench
        .simulator
        .command_xray(r#"{"destination": "CloudWatchLogs", "indexed_percent": 1}"#)
        .unwrap();
    bench
}

/// The usual scenario, some of it ten minutes late.
fn late() -> Scenario {
    let mut scenario = scenario();
    scenario.xray.late = vec![Late {
        share: 0.15,
        after_s: 600.0,
    }];
    scenario
}

#[tokio::test]
async fn every_span_comes_once_from_the_log_group_late_ones_too() {
    let bench = bench(late()).await;
    let mut shard = bench.open().await;
    for round in 0..45 {
        bench.rounds(&mut shard, 1, 60).await;
        if round % 7 == 0 {
            drop(shard);
            shard = bench.open().await;
        }
    }
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
    assert!(bench.metric("xray_receiver_late_segments") > 20.0);
    let bill = bench.simulator.bill();
    assert_eq!(
        bill.of("BatchGetTraces").requests + bill.of("StartTraceRetrieval").requests,
        0
    );
    let spans = bench.sink.spans.lock().unwrap();
    let failed = spans.values().filter(|(_, span)| {
        let status = span.status.as_ref();
        status.is_some_and(|status| status.code == 2) && span.attributes.iter().any(|have| have.key == "error.type")
    });
    assert!(failed.count() > 0, "errors are told");
}

#[tokio::test]
async fn storms_do_no_harm_to_the_log_group_either_and_the_sweep_finds_what_came_very_late() {
    let mut scenario = scenario();
    scenario.xray.pending_s = 0.0;
    scenario.xray.late = vec![Late {
        share: 0.15,
        after_s: 2_000.0,
    }];
    let bench = Bench::new(scenario, "traces_processed: 'off'\nsweep: {every: 1h, window: 2h}").await;
    let command = r#"{"destination": "CloudWatchLogs", "indexed_percent": 1}"#;
    bench.simulator.command_xray(command).unwrap();
    bench.plan(vec![
        Fault::of("FilterLogEvents", 0, 30, FaultKind::Throttle).every(3),
        Fault::of("FilterLogEvents", 0, 30, FaultKind::Reset).every(5),
    ]);
    let mut shard = bench.open().await;
    for _ in 0..90 {
        bench.clock.step(Duration::from_secs(60));
        let _ = bench.round(&mut shard).await;
    }
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
    assert!(bench.metric("xray_receiver_swept") > 10.0);
    assert!(bench.metric("xray_receiver_throttled") > 2.0);
}

#[tokio::test]
async fn a_group_that_cannot_be_read_leaves_the_indexed_share() {
    let bench = bench(late()).await;
    bench.plan(vec![Fault::of("FilterLogEvents", 0, 1000, FaultKind::Denied)]);
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 45, 60).await;
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got.len() < truth.len() / 10, "{}", difference(&got, &truth));
    assert_eq!(bench.simulator.bill().of("FilterLogEvents").requests, 0);
    assert!(bench.simulator.bill().of("StartTraceRetrieval").requests > 0);
}
