//! The receiver and the shipped rules together: what fires in each scenario, at which minute, and that nothing else does,
//! with a restart of the engine in the middle. And the first day: what is usual is known from the past.

use super::*;
use crate::alert::runtime::tests::watch::Watch;

const RULES: &str = "packs: {dynamodb: {contact: me}, sagemaker: {contact: me}, xray: {contact: me}}\n";
const NO_PAST: &str = "backfill: {anomaly: 0s}\n";

/// One round a minute of receiver and engine, up to this minute (exclusive).
async fn run_both(bench: &mut Bench, watch: &Watch, minute: i64) {
    loop {
        let now = bench.simulator.clock().now().seconds() as i64;
        if now >= bench.start + 60 * minute {
            return;
        }
        bench.round().await;
        let next = now - now.rem_euclid(60) + 60;
        watch.round(next).await;
        bench.simulator.clock().advance_to(UnixNanos::from_seconds(next as u64));
    }
}

async fn watched(scenario: Scenario, rules: &str) -> (Bench, Watch) {
    let mut scenario = scenario;
    scenario.lag = Lag::NONE;
    let bench = Bench::start(scenario, "").await;
    let watch = Watch::start(rules, &bench.context, bench.start);
    *bench.sink.beside.lock().unwrap() = Some(watch.ear());
    (bench, watch)
}

/// What was told up to a minute, with a restart in the middle.
async fn told(scenario: &str, restart: i64, until: i64) -> (Vec<String>, Watch) {
    let scenario = Scenario::named(scenario).unwrap();
    let (mut bench, watch) = watched(scenario, &format!("{RULES}{NO_PAST}")).await;
    run_both(&mut bench, &watch, restart).await;
    watch.restart().await;
    run_both(&mut bench, &watch, until).await;
    (watch.told(), watch)
}

#[tokio::test]
async fn a_burst_fires_what_it_must_once_and_nothing_else() {
    let (told, watch) = told("throttle_burst", 18, 40).await;
    assert_eq!(
        told,
        [
            "17 firing DynamoDBThrottledRequests critical orders at 6",
            "17 firing DynamoDBThrottlingDetected warning orders at 6",
            "19 resolved DynamoDBThrottlingDetected warning orders at 8",
            "28 resolved DynamoDBThrottledRequests critical orders at 17",
        ]
    );
    let incident = watch.incident("DynamoDBThrottledRequests").await;
    assert_eq!(incident["annotations"]["cause"], "provisioned_capacity", "{incident}");
    assert_eq!(incident["annotations"]["pattern"], "burst");
}

#[tokio::test]
async fn a_quarter_of_an_hour_of_throttles_fires_once() {
    let (told, watch) = told("sustained_throttle", 24, 60).await;
    assert_eq!(
        told,
        [
            "17 firing DynamoDBThrottledRequests critical orders at 6",
            "17 firing DynamoDBThrottlingDetected warning orders at 6",
            "31 firing DynamoDBWriteCapacityHigh warning orders at 20",
            "31 firing DynamoDBWriteCapacityElevated info orders at 20",
            "32 resolved DynamoDBThrottlingDetected warning orders at 21",
            "36 resolved DynamoDBWriteCapacityHigh warning orders at 25",
            "36 resolved DynamoDBWriteCapacityElevated info orders at 25",
            "41 resolved DynamoDBThrottledRequests critical orders at 30",
        ]
    );
    let incident = watch.incident("DynamoDBThrottledRequests").await;
    assert_eq!(incident["annotations"]["pattern"], "sustained", "{incident}");
}

#[tokio::test]
async fn a_hot_partition_is_told_as_such() {
    let (told, watch) = told("hot_partition", 20, 40).await;
    assert_eq!(
        told,
        [
            "17 firing DynamoDBThrottledRequests critical votes at 6",
            "17 firing DynamoDBThrottlingDetected warning votes at 6",
            "17 firing DynamoDBHotPartition warning votes at 6",
            "24 resolved DynamoDBThrottlingDetected warning votes at 13",
            "28 resolved DynamoDBHotPartition warning votes at 17",
            "33 resolved DynamoDBThrottledRequests critical votes at 22",
        ]
    );
    let incident = watch.incident("DynamoDBThrottledRequests").await;
    assert_eq!(incident["annotations"]["cause"], "hot_partition", "{incident}");
    assert!(
        incident["resolution_steps"][0]
            .as_str()
            .unwrap()
            .contains("write sharding"),
        "{incident}"
    );
}

#[tokio::test]
async fn while_polls_fail_nothing_resolves_and_the_blindness_is_told_once() {
    let scenario = Scenario::named("throttle_burst").unwrap();
    let (mut bench, watch) = watched(scenario, &format!("{RULES}{NO_PAST}")).await;
    let broken = FaultKind::Error {
        status: 500,
        code: "InternalFailure".to_owned(),
    };
    bench
        .simulator
        .set_faults(vec![Fault::of("GetMetricData", 18, 78, broken)]);
    run_both(&mut bench, &watch, 45).await;
    watch.restart().await;
    run_both(&mut bench, &watch, 75).await;
    assert_eq!(
        watch.told(),
        [
            "17 firing DynamoDBThrottledRequests critical orders at 6",
            "17 firing DynamoDBThrottlingDetected warning orders at 6",
            "20 firing RadiosondeBlind critical table at 20",
            "21 firing RadiosondeBlind critical  at 21",
        ]
    );
    // When they work again what happened meanwhile is made up for.
    run_both(&mut bench, &watch, 110).await;
    let told = watch.told();
    let tables: Vec<&String> = told.iter().filter(|line| line.contains("DynamoDB")).collect();
    assert_eq!(tables.len(), 4, "{told:?}");
    assert!(tables[2].contains("resolved DynamoDB") && tables[3].contains("resolved DynamoDB"));
    assert!(tables.iter().any(|line| line.ends_with("orders at 17")), "{told:?}");
    let blind = told.iter().filter(|line| line.contains("firing RadiosondeBlind"));
    assert_eq!(blind.count(), 2, "{told:?}");
}

#[tokio::test]
async fn on_the_first_day_it_is_known_what_is_usual() {
    let text = "name: first_day\nseed: 3\nstart: 1767225600\ntables:\n  - name: orders\n    capacity: {on_demand: {}}\n    \
                reads: {units: 200, noise: 0.1, events: [{from: 15, to: 60, units: 900}]}\n    writes: {units: 50, noise: 0.1}\n    \
                operations:\n      - {name: GetItem, direction: read, share: 1, units: 0.5, latency_ms: 2.5}\n      \
                - {name: PutItem, direction: write, share: 1, latency_ms: 4}\n    items: 1000\n";
    let mut scenario = Scenario::from_yaml(text).unwrap();
    scenario.history = 15 * 24 * 60;
    let (mut bench, watch) = watched(scenario, RULES).await;
    run_both(&mut bench, &watch, 8).await;
    // The past is learned beside the rounds.
    let learned = async {
        while watch.metric("radiosonde_alerts_past_resources_total") < 2.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), learned).await.unwrap();
    let units = bench.simulator.bill().of("GetMetricData").units;
    assert_eq!(
        bench.count("cloudwatch_billed_metrics_total", Some("gmd")),
        units,
        "what it costs is counted"
    );
    run_both(&mut bench, &watch, 20).await;
    // Neither is what was learned lost, nor the past paid for twice.
    watch.restart().await;
    run_both(&mut bench, &watch, 45).await;
    assert_eq!(watch.metric("radiosonde_alerts_past_resources_total"), 2.0);
    let incident = watch.incident("DynamoDBConsumedSpike").await;
    assert_eq!(watch.told(), ["41 firing DynamoDBConsumedSpike info orders at 30",]);
    assert!(
        incident["annotations"]["usual"].as_str().unwrap().contains("about"),
        "{incident}"
    );
}
