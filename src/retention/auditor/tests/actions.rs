//! The action `archive`: oldest first, inside the budget, archived only when acknowledged.

use super::*;
use crate::pdata::Decoded;

const RESCUING: &str = "schedule: {every: 24h}\non_at_risk: [metric, log, archive]\narchive_pipeline: traces/archive\n";

/// Starts of the traces of a batch.
fn starts(batch: &Batch) -> Vec<u64> {
    let mut batch = batch.clone();
    let Decoded::Traces(request) = batch.decode().unwrap() else {
        panic!("no traces")
    };
    let mut starts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let resources = request.resource_spans.iter();
    for span in resources
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
    {
        let start = starts.entry(span.trace_id.clone()).or_insert(u64::MAX);
        *start = (*start).min(span.start_time_unix_nano);
    }
    starts.into_values().collect()
}

#[tokio::test]
async fn traces_at_risk_are_archived_once_the_oldest_first_and_only_when_acknowledged() {
    let mut bench = Bench::new(scenario(0.02, 2_000), RESCUING).await;
    let begin = bench.now();
    bench.step_days(3.0);
    assert_eq!(bench.run().await.counts().of(State::Archived), 0);
    bench.step_days(27.0 - 0.2);
    // Nobody acknowledges: nothing is archived, whatever was handed on.
    *bench.far_end.acknowledges.lock().unwrap() = false;
    let report = bench.run().await;
    assert_eq!((report.counts().of(State::Archived), report.shards[0].archived), (0, 0));
    let at_risk = report.counts().of(State::AtRisk);
    assert!(at_risk > 10, "{at_risk}");
    let handed: Vec<u64> = bench
        .far_end
        .batches
        .lock()
        .unwrap()
        .iter()
        .map(|batch| starts(batch).len() as u64)
        .collect();
    let outcomes = ["handed_on", "unprocessed", "incomplete", "failed", "refused"];
    let outcomes = outcomes.map(|name| bench.metric("aws_xray_retention_actions_total", &[("outcome", name)]));
    assert_eq!(
        handed.iter().sum::<u64>(),
        at_risk,
        "{outcomes:?} {:?}",
        report.shards[0]
    );
    assert!(handed.iter().all(|traces| *traces <= 5));
    // A restart, and the far end is back.
    bench.restart();
    bench.step_days(0.05);
    let report = bench.run().await;
    let archived = report.shards[0].archived;
    assert!(archived >= at_risk, "{archived} of {at_risk}");
    assert_eq!(report.counts().of(State::AtRisk), 0, "{:?}", report.shards[0].troubles);
    assert_eq!(report.counts().of(State::Archived), archived);
    assert_eq!(
        bench.metric("aws_xray_retention_archived_total", &[]),
        Some(archived as f64)
    );
    // Oldest first: no batch begins before the one before it ended, but for the order within five.
    let batches = bench.far_end.batches.lock().unwrap().clone();
    let oldest: Vec<u64> = batches
        .iter()
        .map(|batch| *starts(batch).iter().min().unwrap())
        .collect();
    assert!(oldest.is_sorted(), "{oldest:?}");
    // Again: nothing is left to do.
    bench.step_days(0.01);
    let fetched = bench.simulator.bill().of("BatchGetTraces").units;
    let report = bench.run().await;
    assert_eq!(report.shards[0].archived, 0);
    assert_eq!(bench.far_end.batches.lock().unwrap().len(), batches.len());
    assert_eq!(bench.simulator.bill().of("BatchGetTraces").units, fetched);
    // X-Ray forgets them, and none is lost.
    bench.step_days(4.0);
    let report = bench.run().await;
    let young = bench.traces(begin, bench.now()).len() as u64 - archived;
    assert_eq!(
        report.counts().of(State::Lost),
        young,
        "only those that were never at risk in a run"
    );
}

#[tokio::test]
async fn the_budget_of_retrieved_traces_is_kept_and_the_rest_comes_tomorrow() {
    let yaml = format!("{RESCUING}budget: {{retrieved_per_day: 12}}\n");
    let bench = Bench::new(scenario(0.02, 1_440), &yaml).await;
    bench.step_days(29.5);
    let report = bench.run().await;
    let spent = bench.simulator.bill().of("BatchGetTraces").units;
    assert!((8..=12).contains(&spent), "{spent}");
    assert_eq!(report.shards[0].archived, spent);
    assert!(report.counts().of(State::AtRisk) > 0);
    assert!(
        bench
            .metric("aws_xray_retention_actions_total", &[("outcome", "budget")])
            .is_some()
    );
    bench.clock.step(Duration::from_secs(DAY_S / 2));
    let report = bench.run().await;
    assert!(report.shards[0].archived > 0, "{:?}", report.shards[0]);
}

#[tokio::test]
async fn a_pipeline_that_refuses_is_told_and_nothing_is_called_archived() {
    let bench = Bench::new(scenario(0.01, 1_000), RESCUING).await;
    bench.step_days(29.0);
    *bench.far_end.refuses.lock().unwrap() = true;
    let report = bench.run().await;
    assert_eq!(report.shards[0].archived, 0);
    assert!(report.counts().of(State::AtRisk) > 0);
    assert!(report.shards[0].troubles.keys().any(|why| why.contains("refuses")));
    assert_eq!(report.exit_code(true), 2);
}

#[tokio::test]
async fn the_estimated_cost_is_the_bill() {
    let bench = Bench::new(scenario(0.05, 2_880), RESCUING).await;
    let (mut scanned, mut retrieved, mut metrics) = (0, 0, 0);
    for _ in 0..6 {
        bench.step_days(5.0);
        let cost = bench.run().await.cost();
        scanned += cost.scanned;
        retrieved += cost.retrieved;
        metrics += cost.metrics;
    }
    let bill = bench.simulator.bill();
    assert!(scanned > 100 && retrieved > 0, "{scanned} {retrieved}");
    assert_eq!(bill.of("GetTraceSummaries").units, scanned);
    assert_eq!(bill.of("BatchGetTraces").units, retrieved);
    assert_eq!(bill.of("GetMetricData").units, metrics);
}

#[tokio::test]
async fn who_only_reads_writes_nowhere() {
    let mut bench = Bench::new(scenario(0.02, 2_880), RESCUING).await;
    let begin = bench.now();
    for (id, (start, spans)) in bench.traces(begin, begin + DAY_S) {
        bench.deliver(id, start, &spans.iter().collect::<Vec<_>>(), false);
    }
    bench.ledger.flush().unwrap();
    bench.step_days(2.5);
    let scratch = tempfile::tempdir().unwrap();
    bench.auditor.scratch = Some(scratch.path().to_owned());
    bench.auditor.lists = scratch.path().to_owned();
    bench.auditor.books = Books::new(Arc::new(MemoryState::default()), "once");
    let before = files_of(bench.folder.path());
    let report = bench.run().await;
    assert_eq!(files_of(bench.folder.path()), before);
    let first_day = bench.traces(begin, begin + DAY_S).len() as u64;
    assert_eq!(
        report.counts().of(State::Archived),
        first_day,
        "{:?}",
        report.shards[0].troubles
    );
    assert!(report.counts().of(State::Pending) > 0);
    let calls: std::collections::BTreeSet<String> = bench.simulator.calls().into_iter().map(|call| call.api).collect();
    assert!(
        calls
            .iter()
            .all(|api| api.starts_with("Get") || api.starts_with("BatchGet")),
        "{calls:?}"
    );
    assert_eq!(bench.far_end.batches.lock().unwrap().len(), 0);
    // Both forms say the same.
    let json = report.to_json();
    assert_eq!(json["states"]["archived"], first_day);
    assert!(
        report.to_text().contains(&format!("archived      {first_day}")),
        "{}",
        report.to_text()
    );
}

fn files_of(folder: &std::path::Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_of(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}
