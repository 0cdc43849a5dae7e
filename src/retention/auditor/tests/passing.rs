//! What changes while time goes by: tokens that expire, windows that meet, traces that are open or ahead of their time,
//! requirements that are raised.

use super::*;

const EVERY_DAY: &str = "schedule: {every: 24h}";

/// A trace of one segment, put there as if it had been sent when it ended.
fn put(bench: &Bench, number: u32, start: f64, open: bool) -> TraceId {
    let id = format!("1-{:08x}-00000000000000000000{number:04x}", start as u32);
    let span = format!("{number:016x}");
    let mut document = serde_json::json!({"trace_id": id, "id": span, "name": "checkout", "start_time": start});
    if open {
        document["in_progress"] = true.into();
    } else {
        document["end_time"] = (start + 0.5).into();
    }
    bench.simulator.put_segment(document, start + 0.5).unwrap();
    TraceId::parse(&id).unwrap()
}

#[tokio::test]
async fn tokens_that_expire_cost_calls_and_never_a_trace() {
    // Every token, or that of every third page only.
    for every in [1, 3] {
        let mut scenario = scenario(1.0, 1_440);
        scenario.xray.page = 20;
        let bench = Bench::new(scenario, EVERY_DAY).await;
        let begin = bench.now();
        let expires = FaultKind::TokenTtl { seconds: -1.0 };
        let fault = Fault::of("GetTraceSummaries", 0, 100_000, expires).every(every);
        bench.simulator.set_faults(vec![fault]);
        bench.step_days(2.5);
        let traces = bench.traces(begin, begin + DAY_S);
        let report = bench.run().await;
        assert_eq!(
            report.counts().of(State::Pending),
            traces.len() as u64,
            "{:?}",
            report.shards[0].troubles
        );
        assert_eq!(report.counts().total(), traces.len() as u64);
        let said = bench.said();
        assert!(traces.keys().all(|id| said.contains_key(id)), "each has been seen");
        let billed = bench.simulator.bill().of("GetTraceSummaries").units;
        assert_eq!(report.cost().scanned, billed, "what was scanned in vain is counted too");
        assert!(
            billed > traces.len() as u64 && billed < 8 * traces.len() as u64,
            "{billed} of {}",
            traces.len()
        );
    }
}

#[tokio::test]
async fn traces_on_the_edges_of_windows_and_days_are_counted_once() {
    let bench = Bench::new(scenario(0.0, 1), EVERY_DAY).await;
    let midnight = (bench.now() / DAY_S + 2) * DAY_S;
    // Windows are ten minutes to six hours wide.
    let offsets = [0.0, 0.001, 599.999, 600.0, 1_800.0, 6.0 * 3_600.0, 86_399.999, 86_400.0];
    bench.step_days(4.2);
    let ids: Vec<TraceId> = offsets
        .iter()
        .enumerate()
        .map(|(number, offset)| put(&bench, number as u32 + 1, midnight as f64 + offset, false))
        .collect();
    for _ in 0..3 {
        let report = bench.run().await;
        assert_eq!(
            report.counts().of(State::Pending),
            ids.len() as u64,
            "{:?}",
            report.shards[0]
        );
        assert_eq!(report.counts().total(), ids.len() as u64);
        bench.step_days(0.4);
    }
    // The same at the second listing.
    bench.step_days(21.5);
    let report = bench.run().await;
    assert_eq!(report.counts().total(), ids.len() as u64, "{:?}", report.counts());
    assert_eq!(
        bench.simulator.bill().of("GetTraceSummaries").units,
        2 * ids.len() as u64
    );
}

#[tokio::test]
async fn a_day_without_listed_traces_of_which_cloudwatch_has_counted_some_is_unknown() {
    let mut scenario = scenario(0.05, 1_440);
    // They are gone before anybody lists them.
    scenario.xray.retention_s = 3_600.0;
    let bench = Bench::new(scenario, EVERY_DAY).await;
    let begin = bench.now();
    bench.step_days(2.5);
    let counted = bench.traces(begin, begin + DAY_S).len() as u64;
    let report = bench.run().await;
    let counts = report.counts();
    assert!(
        counted > 30 && counts.of(State::Unknown) >= counted,
        "{counted} {counts:?}"
    );
    assert_eq!(
        counts.of(State::Archived) + counts.of(State::Lost) + counts.of(State::Pending),
        0
    );
    let told = |why: &String| why.contains("for which CloudWatch has counted some");
    assert!(
        report.shards[0].troubles.keys().any(told),
        "{:?}",
        report.shards[0].troubles
    );
    assert!(report.shards[0].coverage() < 0.01);
    assert_eq!(report.exit_code(true), 3);
    assert_eq!(bench.metric("aws_xray_retention_check_last_success_seconds", &[]), None);
    // It is asked for again in every run, and does not become good by itself.
    let calls = bench.simulator.calls().len();
    bench.step_days(1.0);
    assert!(bench.run().await.counts().of(State::Unknown) >= counted);
    assert!(bench.simulator.calls().len() > calls);
}

#[tokio::test]
async fn a_segment_that_never_ends_makes_a_copy_partial_and_one_that_ends_in_time_does_not() {
    let mut scenario = scenario(0.03, 1_440);
    scenario.xray.in_progress = 1.0;
    let bench = Bench::new(scenario, EVERY_DAY).await;
    let begin = bench.now();
    let ended = bench.deliver_all(begin, begin + DAY_S);
    bench.step_days(1.2);
    let noon = (begin + DAY_S / 2) as f64;
    let open = put(&bench, 1, noon, true);
    let span = TrueSpan {
        id: format!("{:016x}", 1),
        name: "checkout".to_owned(),
        open: true,
    };
    bench.deliver(open, noon as u64, &[&span], true);
    let alone = put(&bench, 2, noon + 60.0, true);
    bench.ledger.flush().unwrap();
    bench.step_days(1.0);
    for _ in 0..2 {
        let report = bench.run().await;
        let said = bench.said();
        assert_eq!(said[&open], State::PartialCopy, "{:?}", report.shards[0].troubles);
        assert_eq!(said[&alone], State::Pending);
        assert_eq!(
            report.counts().of(State::Archived),
            ended,
            "{:?}",
            report.shards[0].troubles
        );
        assert_eq!(report.exit_code(true), 1);
        bench.step_days(9.0);
    }
}

#[tokio::test]
async fn a_trace_that_starts_in_the_future_waits_for_its_time() {
    let bench = Bench::new(scenario(0.0, 1), EVERY_DAY).await;
    let start = bench.now() as f64 + 3.0 * DAY_S as f64;
    let id = format!("1-{:08x}-{:024x}", start as u32, 7);
    let document = serde_json::json!({"trace_id": id, "id": "00000000000000a7", "name": "checkout",
        "start_time": start, "end_time": start + 1.0});
    bench.simulator.put_segment(document, bench.now() as f64).unwrap();
    let is_listed_from = (start as u64 / DAY_S + 1) * DAY_S + 3_600;
    for day in 0..6 {
        bench.step_days(1.0);
        let counts = bench.run().await.counts();
        let wanted = u64::from(bench.now() >= is_listed_from);
        assert_eq!(
            (counts.total(), counts.of(State::Pending)),
            (wanted, wanted),
            "day {day}"
        );
    }
    bench.step_days(22.5);
    assert_eq!(
        bench.run().await.counts().of(State::Due),
        1,
        "by its start, not by when it was sent"
    );
}

#[tokio::test]
async fn a_sampling_rate_that_was_lowered_is_told_and_a_rule_that_cannot_be_read_harms_nothing() {
    let bench = Bench::new(scenario(0.01, 1_440), EVERY_DAY).await;
    let set = |rate: f64| {
        let rule = format!(r#"{{"name": "checkout", "priority": 1, "fixed_rate": {rate}, "reservoir": 3}}"#);
        bench
            .simulator
            .command_xray(&format!(r#"{{"rules": [{rule}]}}"#))
            .unwrap();
    };
    let told = |report: &Report| {
        let notes = &report.shards[0].notes;
        notes
            .iter()
            .filter(|note| note.contains("fewer traces since then are no loss"))
            .count()
    };
    let rate = || bench.metric("aws_xray_sampling_fixed_rate", &[("rule", "checkout")]);
    set(0.5);
    bench.step_days(2.5);
    assert_eq!((told(&bench.run().await), rate()), (0, Some(0.5)));
    set(0.25);
    bench.step_days(1.0);
    assert_eq!(told(&bench.run().await), 0, "half is not more than half");
    set(0.05);
    bench.step_days(1.0);
    let report = bench.run().await;
    assert_eq!((told(&report), rate()), (1, Some(0.05)), "{:?}", report.shards[0].notes);
    assert!(
        report.to_text().contains("\"checkout\" went from 0.25 to 0.05"),
        "{}",
        report.to_text()
    );
    assert_eq!(
        bench.metric("aws_xray_sampling_reservoir", &[("rule", "checkout")]),
        Some(3.0)
    );
    // It is told while traces from before may be there.
    bench.step_days(20.0);
    assert_eq!(told(&bench.run().await), 1);
    bench.step_days(11.0);
    assert_eq!(told(&bench.run().await), 0);
    bench.simulator.command_xray(r#"{"rules": []}"#).unwrap();
    bench.run().await;
    assert_eq!(rate(), None);
    let denied = Fault::of("GetSamplingRules", 0, 100_000, FaultKind::Denied);
    bench.simulator.set_faults(vec![denied]);
    bench.step_days(1.0);
    let report = bench.run().await;
    assert!(report.shards[0].is_complete(), "{:?}", report.shards[0]);
    assert!(
        report.shards[0]
            .notes
            .iter()
            .any(|note| note.contains("sampling rules"))
    );
}

#[tokio::test]
async fn what_was_kept_long_enough_is_too_short_when_more_is_required() {
    let mut bench = Bench::new(scenario(0.02, 1_440), EVERY_DAY).await;
    let keep = |days: u64| Some(Duration::from_secs(days * DAY_S));
    let set = |settings: &mut Settings, days: u64| settings.ledgers[0].keep = keep(days);
    bench.reconfigured(|settings| set(settings, 100));
    let begin = bench.now();
    let traces = bench.deliver_all(begin, begin + DAY_S);
    bench.step_days(2.5);
    let report = bench.run().await;
    assert_eq!(
        report.counts().of(State::Archived),
        traces,
        "{:?}",
        report.shards[0].troubles
    );
    let scanned = bench.simulator.bill().of("GetTraceSummaries").units;
    bench.step_days(1.0);
    bench.run().await;
    assert_eq!(
        bench.simulator.bill().of("GetTraceSummaries").units,
        scanned,
        "nothing is listed anew"
    );
    // Required longer than copies are kept.
    bench.reconfigured(|settings| settings.policy.required = Duration::from_secs(400 * DAY_S));
    bench.step_days(1.0);
    let report = bench.run().await;
    assert_eq!(report.counts().of(State::ShortCopy), traces, "{:?}", report.counts());
    assert_eq!(report.counts().of(State::Archived), 0);
    assert_eq!(report.exit_code(true), 1);
    // Kept longer from now on, and counted once.
    bench.reconfigured(|settings| set(settings, 500));
    bench.step_days(1.0);
    let report = bench.run().await;
    assert_eq!(report.counts().of(State::Archived), traces, "{:?}", report.counts());
    assert_eq!(report.counts().total(), traces);
    assert_eq!(report.exit_code(true), 0);
}

#[tokio::test]
async fn an_archive_that_shortens_what_it_keeps_is_asked_again() {
    let mut bench = Bench::new(scenario(0.02, 1_440), EVERY_DAY).await;
    let begin = bench.now();
    let traces = bench.traces(begin, begin + DAY_S);
    let shelve = |bench: &Bench, days: Option<u64>| {
        for (id, (start, spans)) in &traces {
            let copy = StoredCopy {
                expires_at: days.map(|days| UnixNanos::from_seconds(start + days * DAY_S)),
                ..copy_of(spans)
            };
            bench.shelf.copies.lock().unwrap().insert(*id, (copy, None));
        }
    };
    shelve(&bench, None);
    bench.step_days(2.5);
    let all = traces.len() as u64;
    assert_eq!(bench.run().await.counts().of(State::Archived), all);
    // Its lifecycle is shortened: for what it holds too.
    let shelf = Shelf {
        clock: Some(bench.clock.clone()),
        lifetime: Some(Duration::from_secs(45 * DAY_S)),
        ..Shelf::default()
    };
    bench.shelf = Arc::new(shelf);
    shelve(&bench, Some(45));
    bench.restart();
    bench.step_days(1.0);
    let report = bench.run().await;
    assert_eq!(report.counts().of(State::ShortCopy), all, "{:?}", report.counts());
    assert_eq!(report.shards[0].policy_gaps["shelf"], 45.0 * DAY_S as f64);
}
