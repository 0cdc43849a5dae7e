//! The service graph, sampling and traces processed, against the truth.

use super::*;

#[tokio::test]
async fn the_graph_of_closed_windows_and_the_traces_processed_add_up() {
    let mut scenario = scenario();
    scenario.xray.late.clear();
    let yaml =
        "settle: 180s\nservice_graph: {enabled: true}\nsampling_rules: {enabled: true}\ntraces_processed: summaries";
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

#[tokio::test]
async fn cloudwatch_counts_the_traces_that_x_ray_processed_each_minute_once() {
    let bench = Bench::new(scenario(), "start_from: 5m").await;
    let mut shard = bench.open().await;
    for _ in 0..30 {
        bench.rounds(&mut shard, 1, 60).await;
        // What was told is told once, also after a restart.
        drop(shard);
        shard = bench.open().await;
    }
    let start = bench.simulator.world().scenario.start as f64;
    let traces = bench.simulator.true_spans(start - 1e6, start + 1e6).len();
    let processed = bench.sink.sums("aws.xray.traces_processed", "source");
    assert_eq!(processed.values().sum::<i64>() as usize, traces, "{processed:?}");
    assert!(
        processed.keys().all(|source| source.contains("cloudwatch")),
        "{processed:?}"
    );
    let bill = bench.simulator.bill();
    let asked = bill.of("GetMetricData").units;
    assert!((4..=8).contains(&asked), "one metric every five minutes: {asked}");
}

#[tokio::test]
async fn without_cloudwatch_the_traces_still_come() {
    let bench = Bench::new(scenario(), "").await;
    bench.plan(vec![Fault::of("GetMetricData", 0, 1000, FaultKind::Denied)]);
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 45, 60).await;
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
}

#[tokio::test]
async fn ten_million_traces_a_day_are_planned_from_what_cloudwatch_has_counted() {
    let mut scenario = scenario();
    scenario.xray.traces_per_minute = 10e6 / 1440.0;
    scenario.xray.until = None;
    scenario.history = 25 * 60;
    let bench = Bench::new(scenario, "").await;
    let yaml = format!(
        "regions: [eu-central-1]\nendpoint: {}\ncredentials: {{access_key_id: AKIASIM0111122223333, \
         secret_access_key: simulated}}",
        bench.served.url()
    );
    let forecaster = super::super::forecast::Forecaster::read(&Section::from_yaml(&yaml)).unwrap();
    let forecasts = forecaster.ask(&bench.context).await.unwrap();
    let [forecast] = &forecasts[..] else {
        panic!("{forecasts:?}")
    };
    let share = forecast.traces_per_day / 10e6;
    assert!((0.999..1.001).contains(&share), "{forecast:?}");
    // Scanned, retrieved, and scanned once more by the sweep.
    assert!((forecast.billed() / (3.0 * 10e6 * 730.0 / 24.0) - share).abs() < 1e-6);
    let usd = super::super::forecast::usd(forecast.billed());
    assert!((454.0..458.0).contains(&usd), "{usd}");
}
