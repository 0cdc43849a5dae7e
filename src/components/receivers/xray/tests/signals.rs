//! The service graph, sampling and traces processed, against the truth.

use super::*;

#[tokio::test]
async fn the_graph_of_closed_windows_and_the_traces_processed_add_up() {
    let mut scenario = scenario();
    scenario.xray.late.clear();
    let yaml = "settle: 180s\nservice_graph: {enabled: true}\nsampling_rules: {enabled: true}";
    let bench = Bench::new(scenario, yaml).await;
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 30, 60).await;
    let start = bench.simulator.world().scenario.start as f64;
    let traces = bench.simulator.true_spans(start - 1e6, start + 1e6).len();
    let requests = bench.sink.sums("aws.xray.service.requests", "service");
    let of = |name: &str| {
        requests
            .iter()
            .find(|(have, _)| have.contains(name))
            .map_or(0, |(_, count)| *count)
    };
    assert_eq!(of("recommender") as usize, traces, "{requests:?}");
    let outcomes = bench.sink.sums("aws.xray.edge.requests", "outcome");
    assert!(outcomes.values().sum::<i64>() as usize > traces, "{outcomes:?}");
    let processed: i64 = bench.sink.sums("aws.xray.traces_processed", "source").values().sum();
    assert_eq!(processed as f64, bench.metric("xray_receiver_traces_scanned"));
    let names: std::collections::BTreeSet<String> = {
        let requests = bench.sink.metrics.lock().unwrap();
        let metrics = requests.iter().flat_map(|request| &request.resource_metrics);
        let metrics = metrics
            .flat_map(|resource| &resource.scope_metrics)
            .flat_map(|scope| &scope.metrics);
        metrics.map(|metric| metric.name.clone()).collect()
    };
    for name in [
        "aws.xray.service.duration",
        "aws.xray.edge.duration",
        "aws.xray.sampling.fixed_rate",
    ] {
        assert!(names.contains(name), "{names:?}");
    }
}

#[tokio::test]
async fn a_permission_that_is_missing_ends_only_its_own_part() {
    let bench = Bench::new(scenario(), "service_graph: {enabled: true}").await;
    bench.plan(vec![
        Fault::of("GetServiceGraph", 0, 1000, FaultKind::Denied),
        Fault::of("GetTraceSegmentDestination", 0, 1000, FaultKind::Denied),
    ]);
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 45, 60).await;
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
}
