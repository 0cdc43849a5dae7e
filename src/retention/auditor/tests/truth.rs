//! Thirty-five days, and the state of every trace is what it must be.

use super::*;

/// What an application's trace has beside X-Ray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    /// All spans acknowledged, in two deliveries of which one came twice.
    Delivered,
    /// All but one.
    Part,
    None,
    Shelved,
    /// For thirty days; deleted two days late.
    ShelvedShort,
    Empty,
    /// Delivered while a span was open, and that span again when it had ended.
    OpenThenEnded,
    /// Delivered while a span was open; the end of it never.
    Open,
    /// A part is noted, all of it is shelved.
    PartAndShelved,
}

const ALL: [Copies; 9] = [
    Copies::Delivered,
    Copies::Part,
    Copies::None,
    Copies::Shelved,
    Copies::ShelvedShort,
    Copies::Empty,
    Copies::OpenThenEnded,
    Copies::Open,
    Copies::PartAndShelved,
];

fn copies_of(id: TraceId) -> Copies {
    ALL[(id.hash() >> 8) as usize % ALL.len()]
}

/// Written down without a look at how the auditor decides.
fn truth(copies: Copies, age: u64) -> State {
    let gone = age > 30 * DAY_S;
    let by_age = match age {
        _ if gone => State::Lost,
        age if age >= 28 * DAY_S => State::AtRisk,
        age if age >= 23 * DAY_S => State::Due,
        _ => State::Pending,
    };
    match copies {
        Copies::Delivered | Copies::Shelved | Copies::OpenThenEnded | Copies::PartAndShelved => State::Archived,
        Copies::Part | Copies::Open => State::PartialCopy,
        Copies::None => by_age,
        Copies::ShelvedShort if gone => State::Lost,
        Copies::ShelvedShort => State::ShortCopy,
        Copies::Empty if gone => State::Lost,
        Copies::Empty => State::EmptyCopy,
    }
}

impl Bench {
    /// What the application and its archives did with the traces that started between two times.
    fn live(&self, from: u64, to: u64) {
        for (id, (start, spans)) in self.traces(from, to) {
            let all: Vec<&TrueSpan> = spans.iter().collect();
            let (first, rest) = all.split_at(1);
            let shelve = |spans: u32, days: Option<u64>| {
                let ids = all.iter().map(|span| {
                    let bytes: [u8; 8] = hex::decode(&span.id).unwrap().try_into().unwrap();
                    bytes
                });
                let ends = days.map(|days| UnixNanos::from_seconds(start + days * DAY_S));
                let copy = StoredCopy {
                    spans,
                    span_xor: (spans > 0).then(|| span_xor(ids)),
                    expires_at: ends,
                    ..StoredCopy::default()
                };
                let deleted = ends.map(|at| UnixNanos(at.0 + 2 * DAY_S * 1_000_000_000));
                self.shelf.copies.lock().unwrap().insert(id, (copy, deleted));
            };
            match copies_of(id) {
                Copies::Delivered => {
                    self.deliver(id, start, rest, false);
                    self.deliver(id, start + 30, first, false);
                    self.deliver(id, start, rest, false);
                }
                Copies::Part => self.deliver(id, start, rest, false),
                Copies::None => {}
                Copies::Shelved => shelve(all.len() as u32, None),
                Copies::ShelvedShort => shelve(all.len() as u32, Some(30)),
                Copies::Empty => shelve(0, None),
                Copies::OpenThenEnded => {
                    self.deliver(id, start, first, true);
                    self.deliver(id, start, rest, false);
                    self.deliver(id, start, first, false);
                }
                Copies::Open => {
                    self.deliver(id, start, first, true);
                    self.deliver(id, start, rest, false);
                }
                Copies::PartAndShelved => {
                    self.deliver(id, start, rest, false);
                    shelve(all.len() as u32, None);
                }
            }
        }
        self.ledger.flush().unwrap();
    }
}

#[tokio::test]
async fn after_thirty_five_days_every_trace_is_what_it_must_be() {
    let scenario = scenario(0.012, 4 * 1_440);
    let mut bench = Bench::new(scenario, "schedule: {every: 24h}").await;
    let begin = bench.now();
    let mut lost_alerts = 0.0;
    for day in 0..36u64 {
        if day < 4 {
            bench.live(begin + day * DAY_S, begin + (day + 1) * DAY_S);
        }
        bench.step_days(1.0);
        match day {
            // X-Ray is out for two days, the archive for two others.
            5 | 6 => bench
                .simulator
                .set_faults(vec![Fault::of("BatchGetTraces", 0, 100_000, FaultKind::Denied)]),
            9 | 10 => *bench.shelf.denied.lock().unwrap() = true,
            _ => {
                bench.simulator.set_faults(Vec::new());
                *bench.shelf.denied.lock().unwrap() = false;
            }
        }
        if day % 7 == 3 {
            bench.restart();
        }
        let report = bench.run().await;
        assert_eq!(report.failed, None);
        assert_eq!(report.shards[0].failed, None);
        let unknown = report.counts().of(State::Unknown);
        if matches!(day, 9 | 10) {
            assert!(unknown > 0, "day {day}: what cannot be read is unknown");
            continue;
        }
        if matches!(day, 5 | 6) {
            continue;
        }
        let now = bench.now();
        let said = bench.said();
        let wrong: Vec<_> = bench
            .traces(begin, begin + 4 * DAY_S)
            .into_iter()
            .filter(|(_, (start, _))| start / DAY_S * DAY_S + DAY_S + 3_600 <= now)
            .filter_map(|(id, (start, _))| {
                let wanted = truth(copies_of(id), now - start);
                let have = said.get(&id).copied();
                (have != Some(wanted)).then(|| (copies_of(id), wanted, have))
            })
            .collect();
        assert!(wrong.is_empty(), "day {day}: {wrong:?} {:?}", report.shards[0].troubles);
        assert_eq!(unknown, 0, "day {day}: {:?}", report.shards[0].troubles);
        let lost = bench.metric("aws_xray_retention_lost_total", &[]).unwrap_or(0.0);
        assert!(lost >= lost_alerts);
        lost_alerts = lost;
    }
    let traces = bench.traces(begin, begin + 4 * DAY_S);
    assert!(traces.len() > 40, "{}", traces.len());
    for copies in ALL {
        assert!(
            traces.keys().any(|id| copies_of(*id) == copies),
            "no trace with {copies:?}"
        );
    }
    // Each was listed twice, and nobody's loss was counted twice.
    let listed = bench.simulator.bill().of("GetTraceSummaries").units;
    assert_eq!(listed, 2 * traces.len() as u64);
    let gone = [Copies::None, Copies::ShelvedShort, Copies::Empty];
    let lost = traces.keys().filter(|id| gone.contains(&copies_of(**id))).count();
    assert_eq!(bench.metric("aws_xray_retention_lost_total", &[]), Some(lost as f64));
    let state = |name| bench.metric("aws_xray_retention_traces", &[("state", name)]);
    assert_eq!(state("lost"), Some(lost as f64));
    assert_eq!(
        bench.metric("aws_xray_retention_min_time_to_expiry_seconds", &[]),
        None,
        "nothing can expire any more"
    );
    assert_eq!(bench.metric("aws_xray_retention_coverage_ratio", &[]), Some(1.0));
    drop(bench.served);
}

#[tokio::test]
async fn a_trace_that_nobody_archives_is_pending_then_due_then_at_risk_then_lost() {
    let bench = Bench::new(scenario(0.02, 600), "schedule: {every: 24h}").await;
    let begin = bench.now();
    let mut seen = Vec::new();
    for _ in 0..34 {
        bench.step_days(1.0);
        let report = bench.run().await;
        let counts = report.counts();
        for state in State::ALL {
            if counts.of(state) > 0 && seen.last() != Some(&state) && !seen.contains(&state) {
                seen.push(state);
            }
        }
        let left = bench.metric("aws_xray_retention_min_time_to_expiry_seconds", &[]);
        let is_urgent = counts.of(State::AtRisk) > 0;
        assert_eq!(
            is_urgent,
            left.is_some_and(|left| left <= 2.0 * DAY_S as f64),
            "the alert's signal: {left:?}"
        );
        let wanted = match () {
            () if counts.of(State::Lost) + counts.of(State::AtRisk) > 0 => 2,
            () if counts.of(State::Due) > 0 => 1,
            () => 0,
        };
        assert_eq!(report.exit_code(true), wanted);
    }
    assert_eq!(seen, [State::Pending, State::Due, State::AtRisk, State::Lost]);
    assert!(!bench.traces(begin, begin + DAY_S).is_empty());
}

/// What X-Ray has of the traces that start in a range, delivered to the other backend as it is now.
async fn copy_what_is_there(bench: &Bench, from: u64, to: u64) -> usize {
    use crate::aws::xray::api::fetch;
    use crate::aws::xray::ids::write_trace_id;
    let ids: Vec<TraceId> = bench.traces(from, to).keys().copied().collect();
    let shards = bench.shards().await;
    let mut comparer = super::super::compared::Comparer::default();
    let mut delivered = 0;
    for few in ids.chunks(5) {
        let few: Vec<String> = few.iter().map(|id| write_trace_id(&id.0)).collect();
        let answer = driven(&bench.clock, fetch::batch(&shards[0].clients, &few))
            .await
            .unwrap();
        for trace in &answer.traces {
            let whole = comparer.read(trace, None, 0);
            let mut batch = Batch::from_decoded(request(whole.resource_spans), Origin::internal());
            batch.parts();
            bench.far_end.noter.delivered(&batch);
            delivered += 1;
        }
    }
    bench.ledger.flush().unwrap();
    delivered
}

#[tokio::test]
async fn a_trace_that_grows_after_six_days_is_found_incomplete_when_it_is_listed_again() {
    let mut scenario = scenario(0.01, 1_000);
    scenario.xray.late = vec![crate::simulator::xray::Late {
        share: 1.0,
        after_s: 6.0 * DAY_S as f64,
    }];
    let bench = Bench::new(scenario, "schedule: {every: 24h}").await;
    let begin = bench.now();
    bench.step_days(1.5);
    let traces = copy_what_is_there(&bench, begin, begin + DAY_S).await as u64;
    assert!(traces > 3, "{traces}");
    bench.step_days(1.0);
    let report = bench.run().await;
    assert_eq!(
        report.counts().of(State::Archived),
        traces,
        "{:?}",
        report.shards[0].troubles
    );
    bench.step_days(6.0);
    bench.run().await;
    // Listed again as it comes due: X-Ray has more by now. Its time runs from its start.
    bench.step_days(16.0);
    let report = bench.run().await;
    assert_eq!(
        report.counts().of(State::PartialCopy),
        traces,
        "{:?}",
        report.shards[0].troubles
    );
    let left = report.shards[0].min_left.unwrap().as_secs();
    assert!(left < 7 * DAY_S, "{left}");
    let fetched = bench.simulator.bill().of("BatchGetTraces").units;
    bench.step_days(0.1);
    assert_eq!(bench.run().await.counts().of(State::PartialCopy), traces);
    assert_eq!(
        bench.simulator.bill().of("BatchGetTraces").units,
        fetched,
        "compared once is enough"
    );
}
