//! Throttle storms, errors, traces that are not processed, tokens that expire, pipelines that refuse, budgets.

use super::*;

#[tokio::test]
async fn storms_of_throttles_errors_and_broken_connections_lose_and_repeat_nothing() {
    let bench = Bench::new(scenario(), "").await;
    let broken = FaultKind::Error {
        status: 503,
        code: "ServiceUnavailable".to_owned(),
    };
    bench.plan(vec![
        Fault::of("GetTraceSummaries", 0, 30, FaultKind::Throttle).every(2),
        Fault::of("BatchGetTraces", 0, 30, FaultKind::Throttle).every(3),
        Fault::of("BatchGetTraces", 3, 30, broken).every(5),
        Fault::of("BatchGetTraces", 5, 30, FaultKind::Reset).every(7),
        Fault::of("GetTraceSummaries", 5, 30, FaultKind::Truncate).every(5),
    ]);
    let mut shard = bench.open().await;
    for _ in 0..60 {
        bench.clock.step(Duration::from_secs(60));
        // A round may end early; the next one goes on.
        let _ = bench.round(&mut shard).await;
    }
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
    assert!(bench.metric("xray_receiver_throttled") > 10.0);
}

#[tokio::test]
async fn traces_that_are_not_processed_are_asked_for_again_then_parked_and_still_come() {
    let bench = Bench::new(scenario(), "").await;
    let code = "ThrottledException".to_owned();
    // Of every answer the first, third and fifth trace are left out, for half an hour.
    bench.plan(vec![Fault::of(
        "BatchGetTraces",
        0,
        30,
        FaultKind::Unprocessed { code },
    )]);
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 5, 60).await;
    assert!(bench.metric("xray_receiver_unprocessed") > 10.0);
    assert!(
        bench.metric("xray_receiver_parked") >= 1.0,
        "the last one of a batch is never processed"
    );
    drop(shard);
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 60, 60).await;
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
    assert_eq!(bench.metric("xray_receiver_parked"), 0.0);
}

#[tokio::test]
async fn expired_page_tokens_begin_the_window_again() {
    let bench = Bench::new(scenario(), "").await;
    bench.plan(vec![
        Fault::of("GetTraceSummaries", 0, 1000, FaultKind::TokenTtl { seconds: 0.0 }).every(6),
    ]);
    let mut shard = bench.open().await;
    for _ in 0..60 {
        bench.clock.step(Duration::from_secs(60));
        let _ = bench.round(&mut shard).await;
    }
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
}

#[tokio::test]
async fn a_pipeline_that_refuses_holds_the_cursor_and_one_that_refuses_for_good_is_counted() {
    let bench = Bench::new(scenario(), "").await;
    let mut shard = bench.open().await;
    bench.clock.step(Duration::from_secs(300));
    *bench.sink.refusing.lock().unwrap() = Some(Refused::retryable("full"));
    let held = tokio::time::timeout(Duration::from_millis(300), shard.round()).await;
    assert!(held.is_err(), "it offers again until it is taken");
    assert!(bench.sink.counts().is_empty());
    *bench.sink.refusing.lock().unwrap() = None;
    bench.rounds(&mut shard, 45, 60).await;
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));

    let bench = Bench::new(scenario(), "").await;
    let mut shard = bench.open().await;
    *bench.sink.refusing.lock().unwrap() = Some(Refused::permanent("never"));
    bench.rounds(&mut shard, 45, 60).await;
    assert!(bench.sink.counts().is_empty());
    assert_eq!(
        bench.metric("xray_receiver_dropped_spans") as usize,
        bench.truth().len()
    );
}

#[tokio::test]
async fn a_budget_takes_a_share_of_the_traces_and_says_so() {
    let bench = Bench::new(scenario(), "budget: {max_scanned_per_day: 100}").await;
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 30, 60).await;
    let scanned = bench.simulator.bill().of("GetTraceSummaries").units;
    assert!((50..=115).contains(&scanned), "{scanned}");
    assert_eq!(bench.metric("xray_receiver_budget_exhausted"), 1.0);
}

#[tokio::test]
async fn transaction_search_is_noticed_and_its_traces_come_by_retrieval() {
    let mut scenario = scenario();
    scenario.xray.pending_s = 30.0;
    let bench = Bench::new(scenario, "spans_log_group: ''").await;
    bench
        .simulator
        .command_xray(r#"{"destination": "CloudWatchLogs", "indexed_percent": 100}"#)
        .unwrap();
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 45, 60).await;
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
    let bill = bench.simulator.bill();
    assert!(bill.of("StartTraceRetrieval").requests > 10);
    assert_eq!(bill.of("BatchGetTraces").requests, 0);
    // A job that fails is begun again later.
    let failing = Bench::new(super::scenario(), "mode: retrieval\nspans_log_group: ''").await;
    failing.simulator.command_xray(r#"{"job_status": "FAILED"}"#).unwrap();
    let mut shard = failing.open().await;
    failing.rounds(&mut shard, 20, 60).await;
    assert!(failing.sink.counts().is_empty());
    failing.simulator.command_xray(r#"{"job_status": ""}"#).unwrap();
    failing.rounds(&mut shard, 40, 60).await;
    let (got, truth) = (failing.sink.counts(), failing.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
}

#[tokio::test]
async fn a_trace_that_is_not_given_whole_is_marked_and_the_rest_comes_when_it_is() {
    let bench = Bench::new(scenario(), "").await;
    bench.plan(vec![Fault::of("BatchGetTraces", 0, 10, FaultKind::LimitExceeded)]);
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 8, 60).await;
    let limited = bench.metric("xray_receiver_limit_exceeded");
    assert!(limited > 10.0);
    let spans = bench.sink.spans.lock().unwrap();
    let marked = spans.values().filter(|(_, span)| {
        span.attributes
            .iter()
            .any(|attribute| attribute.key == "aws.xray.limit_exceeded")
    });
    assert_eq!(marked.count(), spans.len());
}
