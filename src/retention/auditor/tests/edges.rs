//! What cannot be read, clocks that are wrong, days that are empty, runs that are cut short.

use super::*;

#[tokio::test]
async fn what_x_ray_does_not_list_is_unknown_and_raises_the_alarm() {
    for kind in [FaultKind::Denied, FaultKind::Throttle] {
        let bench = Bench::new(scenario(0.02, 1_440), "schedule: {every: 24h}").await;
        bench.step_days(3.0);
        bench
            .simulator
            .set_faults(vec![Fault::of("GetTraceSummaries", 0, 100_000, kind)]);
        let report = bench.run().await;
        assert!(report.counts().of(State::Unknown) > 0);
        assert_eq!(report.counts().of(State::Archived) + report.counts().of(State::Lost), 0);
        assert_eq!(report.exit_code(true), 3);
        assert!(report.shards[0].coverage() < 0.99);
        assert_eq!(bench.metric("aws_xray_retention_check_last_success_seconds", &[]), None);
        bench.simulator.set_faults(Vec::new());
        bench.step_days(0.5);
        let report = bench.run().await;
        assert_eq!(report.counts().of(State::Unknown), 0, "{:?}", report.shards[0].troubles);
        assert!(
            bench
                .metric("aws_xray_retention_check_last_success_seconds", &[])
                .is_some()
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_proves_nothing() {
    let yaml = "schedule: {every: 24h}\non_at_risk: [archive]\narchive_pipeline: traces/archive";
    let bench = Bench::new(scenario(0.02, 1_440), yaml).await;
    bench.step_days(29.0);
    bench.simulator.set_skew(301.0);
    let report = bench.run().await;
    assert!(
        report.shards[0]
            .failed
            .as_ref()
            .is_some_and(|why| why.contains("the clock is")),
        "{:?}",
        report.shards[0]
    );
    assert_eq!(report.counts().of(State::Unknown), 1);
    assert_eq!(bench.far_end.batches.lock().unwrap().len(), 0, "nothing is done");
    assert_eq!(report.exit_code(true), 3);
    assert_eq!(report.exit_code(false), 3, "a check that failed never looks green");
    bench.simulator.set_skew(250.0);
    assert_eq!(bench.run().await.shards[0].failed, None);
}

#[tokio::test]
async fn a_spent_budget_leaves_the_younger_days_unknown() {
    let bench = Bench::new(
        scenario(0.05, 7 * 1_440),
        "schedule: {every: 24h}\nbudget: {scanned_per_day: 150}",
    )
    .await;
    bench.step_days(8.0);
    let report = bench.run().await;
    let scanned = bench.simulator.bill().of("GetTraceSummaries").units;
    assert!(scanned <= 150 + 20, "{scanned}");
    let counts = report.counts();
    assert!(
        counts.of(State::Pending) > 0 && counts.of(State::Unknown) > 0,
        "{counts:?}"
    );
    let troubles = &report.shards[0].troubles;
    assert!(
        troubles.keys().any(|why| why.contains("the budget of scanned traces")),
        "{troubles:?}"
    );
    // The oldest days were read first.
    let said = bench.said();
    let (first, last) = (bench.now() - 8 * DAY_S, bench.now() - 2 * DAY_S);
    assert!(
        bench
            .traces(first, first + DAY_S / 2)
            .keys()
            .all(|id| said.contains_key(id))
    );
    assert!(bench.traces(last, last + DAY_S).keys().all(|id| !said.contains_key(id)));
    // The next days bring the rest.
    for _ in 0..12 {
        bench.step_days(1.0);
        bench.run().await;
    }
    assert_eq!(
        bench.metric("aws_xray_retention_traces", &[("state", "unknown")]),
        Some(0.0)
    );
}

#[tokio::test]
async fn with_transaction_search_what_is_not_indexed_is_unknown() {
    let bench = Bench::new(scenario(0.2, 1_440), "schedule: {every: 24h}").await;
    bench
        .simulator
        .command_xray(r#"{"destination": "CloudWatchLogs", "indexed_percent": 10}"#)
        .unwrap();
    bench.step_days(3.0);
    let report = bench.run().await;
    let counts = report.counts();
    assert!(counts.of(State::Unknown) > 4 * counts.of(State::Pending), "{counts:?}");
    assert!(
        report.shards[0]
            .notes
            .iter()
            .any(|note| note.contains("Transaction Search is on"))
    );
    assert!(report.shards[0].coverage() < 0.5);
    assert_eq!(report.exit_code(true), 3);
}

#[tokio::test]
async fn an_archive_that_keeps_too_short_is_a_gap_of_the_policy() {
    let yaml = "schedule: {every: 24h}";
    let mut bench = Bench::new(scenario(0.0, 1), yaml).await;
    let shelf = Shelf {
        lifetime: Some(Duration::from_secs(30 * DAY_S)),
        ..Shelf::default()
    };
    bench.auditor.sides[1] = Side::Probe(Arc::new(shelf));
    bench.step_days(3.0);
    let report = bench.run().await;
    assert_eq!(report.shards[0].policy_gaps["shelf"], 60.0 * DAY_S as f64);
    assert_eq!(report.shards[0].policy_gaps["otlp"], 0.0);
    assert_eq!(report.exit_code(true), 1);
    let gap = bench.metric("aws_xray_retention_policy_gap_seconds", &[("archive", "shelf")]);
    assert_eq!(gap, Some(60.0 * DAY_S as f64));
}

#[tokio::test]
async fn a_run_that_was_cut_short_goes_on_where_it_was() {
    let mut bench = Bench::new(scenario(0.05, 10 * 1_440), "schedule: {every: 24h}").await;
    bench.step_days(11.5);
    let whole = {
        let mut work = pin!(bench.run());
        std::future::poll_fn(|context| {
            if bench.simulator.bill().of("GetTraceSummaries").units > 300 {
                return std::task::Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    };
    let scanned = bench.simulator.bill().of("GetTraceSummaries").units;
    assert!(whole.is_none() && scanned > 0, "it was cut short: {scanned}");
    bench.restart();
    let report = bench.run().await;
    let traces = bench.traces(bench.now() - 12 * DAY_S, bench.now()).len() as u64;
    assert_eq!(report.counts().total(), traces, "{:?}", report.shards[0].troubles);
    let again = bench.simulator.bill().of("GetTraceSummaries").units - traces;
    assert!(again < traces / 2, "{again} of {traces} were listed twice");
}

#[tokio::test]
async fn a_damaged_ledger_makes_its_days_unknown_and_not_lost() {
    let bench = Bench::new(scenario(0.05, 1_440), "schedule: {every: 24h}").await;
    let begin = bench.now();
    for (id, (start, spans)) in bench.traces(begin, begin + DAY_S) {
        bench.deliver(id, start, &spans.iter().collect::<Vec<_>>(), false);
    }
    bench.ledger.flush().unwrap();
    bench
        .ledger
        .seal(0, Day::of(UnixNanos::from_seconds(begin)), false)
        .unwrap();
    let file = bench.folder.path().join("retention-ledger/otlp");
    let path = std::fs::read_dir(&file).unwrap().map(|entry| entry.unwrap().path());
    for path in path.filter(|path| path.extension().is_some_and(|ending| ending == "rows")) {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    bench.step_days(2.0);
    let counts = bench.run().await.counts();
    assert_eq!(counts.of(State::Archived) + counts.of(State::Pending), 0, "{counts:?}");
    assert!(counts.of(State::Unknown) > 0);
}

#[tokio::test]
async fn old_days_are_forgotten_with_their_files() {
    let bench = Bench::new(scenario(0.01, 1_440), "schedule: {every: 24h}\nrequired_retention: 30d").await;
    let begin = bench.now();
    for (id, (start, spans)) in bench.traces(begin, begin + DAY_S) {
        bench.deliver(id, start, &spans.iter().collect::<Vec<_>>(), false);
    }
    bench.ledger.flush().unwrap();
    bench.step_days(2.0);
    bench.run().await;
    assert!(bench.ledger.bytes().unwrap() > 0);
    bench.step_days(40.0);
    let report = bench.run().await;
    assert_eq!(bench.ledger.bytes().unwrap(), 0);
    assert_eq!(report.counts().total(), 0, "{:?}", report.counts());
}

#[tokio::test]
async fn no_trace_id_is_a_label() {
    let bench = Bench::new(scenario(0.05, 1_440), "schedule: {every: 24h}").await;
    let begin = bench.now();
    bench.step_days(31.5);
    bench.run().await;
    let ids: Vec<String> = bench
        .traces(begin, begin + DAY_S)
        .keys()
        .map(TraceId::to_string)
        .collect();
    for sample in bench.context.instruments.registry().gather() {
        for (_, value) in &sample.labels {
            assert!(!ids.contains(value), "{sample:?}");
            assert!(value.len() < 64, "{sample:?}");
        }
    }
}

#[tokio::test]
async fn copies_that_were_deleted_after_the_acknowledgement_are_found_by_a_sample() {
    let mut bench = Bench::new(scenario(0.05, 1_440), "schedule: {every: 24h}").await;
    if let Side::Ledger { verified_by, .. } = &mut bench.auditor.sides[0] {
        *verified_by = "shelf".to_owned();
    }
    let begin = bench.now();
    let traces = bench.traces(begin, begin + DAY_S);
    for (number, (id, (start, spans))) in traces.iter().enumerate() {
        bench.deliver(*id, *start, &spans.iter().collect::<Vec<_>>(), false);
        // Of every third the copy is gone.
        if number % 3 > 0 {
            bench.shelf.copies.lock().unwrap().insert(*id, (copy_of(spans), None));
        }
    }
    bench.ledger.flush().unwrap();
    bench.step_days(2.0);
    let report = bench.run().await;
    let told = report.shards[0]
        .troubles
        .keys()
        .any(|why| why.contains("has lost copies that it had acknowledged"));
    assert!(told, "{:?}", report.shards[0].troubles);
    bench.step_days(1.0);
    let counts = bench.run().await.counts();
    let gone = traces.len().div_ceil(3) as u64;
    assert_eq!(
        (counts.of(State::Pending), counts.of(State::Archived)),
        (gone, traces.len() as u64 - gone),
        "{counts:?}"
    );
}
