//! The receiver and the shipped rules together: what fires, at which minute, and that nothing else does, with a restart of
//! the engine in the middle.

use super::*;
use crate::alert::runtime::tests::watch::Watch;

const RULES: &str = "packs: {dynamodb: {contact: me}, sagemaker: {contact: me}, xray: {contact: me}}\n\
                     backfill: {anomaly: 0s}\n";

async fn run_both(bench: &mut Bench, watch: &Watch, minute: i64) {
    loop {
        let now = bench.simulator.clock().now().seconds() as i64;
        if now >= bench.start + 60 * minute {
            return;
        }
        let quit = CancellationToken::new();
        driven(bench.simulator.clock(), bench.shard.round(&quit)).await.unwrap();
        let next = now - now.rem_euclid(60) + 60;
        watch.round(next).await;
        bench.simulator.clock().advance_to(UnixNanos::from_seconds(next as u64));
    }
}

/// What was told up to a minute, with a restart in the middle.
async fn told(mut scenario: Scenario, restart: i64, until: i64) -> Vec<String> {
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "").await;
    let watch = Watch::start(RULES, &bench.context, bench.start);
    *bench.sink.beside.lock().unwrap() = Some(watch.ear());
    run_both(&mut bench, &watch, restart).await;
    watch.restart().await;
    run_both(&mut bench, &watch, until).await;
    watch.told()
}

#[tokio::test]
async fn an_endpoint_that_answers_500_fires_once() {
    let told = told(Scenario::named("endpoint_5xx").unwrap(), 14, 50).await;
    assert_eq!(
        told,
        [
            "12 firing SageMakerInvocation5xx critical fraud-score/AllTraffic at 10",
            "23 resolved SageMakerInvocation5xx critical fraud-score/AllTraffic at 21",
        ]
    );
}

#[tokio::test]
async fn a_slow_endpoint_fires_once() {
    let text = "name: slow\nseed: 5\nstart: 1767225600\nsagemaker:\n  endpoints:\n    - name: fraud-score\n      variants:\n        \
                - instance_type: ml.m5.xlarge\n          instances: 3\n          requests: {value: 20, noise: 0.1}\n          \
                latency_ms: {value: 18, noise: 0.1, events: [{from: 5, to: 25, value: 1800}]}\n";
    let told = told(Scenario::from_yaml(text).unwrap(), 20, 60).await;
    assert_eq!(
        told,
        [
            "17 firing SageMakerModelLatencyP99 warning fraud-score/AllTraffic at 15",
            "28 resolved SageMakerModelLatencyP99 warning fraud-score/AllTraffic at 26",
        ]
    );
}

#[tokio::test]
async fn a_failing_pipeline_fires_once() {
    let told = told(Scenario::named("pipeline_failure").unwrap(), 20, 45).await;
    assert_eq!(
        told,
        [
            "24 firing SageMakerPipelineFailed warning nightly-retrain at 8",
            "24 firing SageMakerStepFailed info nightly-retrain/evaluate at 8",
            "44 resolved SageMakerPipelineFailed warning nightly-retrain at 28",
            "44 resolved SageMakerStepFailed info nightly-retrain/evaluate at 28",
        ]
    );
}
