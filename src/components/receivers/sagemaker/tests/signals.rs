//! Signals of our own, and log records.

use super::*;

#[tokio::test]
async fn a_saturated_gpu_shows_in_latency_utilisation_and_instances() {
    let mut bench = Bench::start(scenario("gpu_saturation"), "kinds: [endpoints]").await;
    bench.run_to(50).await;
    let at = |bench: &Bench, metric: &str, more: &[(&str, &str)], minute: i64| {
        let points = bench.sink.with(metric, more);
        let found: Vec<f64> = points
            .iter()
            .filter(|(at, _)| bench.minute(*at) == minute)
            .map(|(_, value)| *value)
            .collect();
        assert_eq!(found.len(), 1, "{metric} {more:?} at {minute}: {found:?}");
        found[0]
    };
    let gpu = "aws.sagemaker.gpu.utilization";
    assert!(at(&bench, gpu, &[], 2) < 70.0);
    assert!(at(&bench, gpu, &[], 10) > 90.0);
    let world = bench.simulator.world();
    let truth = |metric: &str, statistic: &str| {
        let series = world.series().iter().find(|series| series.metric == metric).unwrap();
        let samples = world.final_samples(series, bench.start + 600);
        samples.get(Statistic::parse(statistic).unwrap()).unwrap()
    };
    let sums = truth("ModelLatency", "Sum") + truth("OverheadLatency", "Sum");
    let mean = sums / truth("ModelLatency", "SampleCount");
    assert!((at(&bench, "aws.sagemaker.latency.total_mean", &[], 10) - mean).abs() < 1e-6);
    let upper = truth("ModelLatency", "p99") + truth("OverheadLatency", "Maximum");
    assert!((at(&bench, "aws.sagemaker.latency.total_p99_upper", &[], 10) - upper).abs() < 1e-6);
    let instances = "aws.sagemaker.instances";
    assert_eq!(at(&bench, instances, &[("State", "observed")], 10), 2.0);
    assert_eq!(at(&bench, instances, &[("State", "observed")], 45), 4.0);
    assert_eq!(at(&bench, instances, &[("State", "desired")], 35), 4.0);
    assert_eq!(at(&bench, instances, &[("State", "current")], 35), 2.0);
    let status = "aws.sagemaker.endpoint.status";
    assert_eq!(at(&bench, status, &[("Status", "Updating")], 35), 1.0);
    assert_eq!(bench.sink.with(status, &[("Status", "InService")]).len(), 40);
    let records = bench.sink.records.lock().unwrap().clone();
    let bodies: Vec<&str> = records.iter().map(|(body, _)| body.as_str()).collect();
    let expected = [
        "endpoint recommender was InService and is Updating",
        "endpoint recommender was Updating and is InService",
    ];
    assert_eq!(bodies, expected);
    // Two polls an interval long, one point a minute: none twice.
    for (key, values) in bench.sink.points.lock().unwrap().iter() {
        assert_eq!(values.len(), 1, "{key:?}");
    }
}

#[tokio::test]
async fn shares_of_errors_and_of_cache_hits_are_those_of_the_requests() {
    let mut bench = Bench::start(scenario("endpoint_5xx"), "kinds: [endpoints]").await;
    bench.run_to(40).await;
    let errors = bench.sink.with("aws.sagemaker.error_ratio", &[("Type", "5xx")]);
    for (at, ratio) in &errors {
        let broken = (5..20).contains(&bench.minute(*at));
        assert_eq!(broken, *ratio > 0.05, "minute {} {ratio}", bench.minute(*at));
    }
    assert!(errors.len() > 30, "{}", errors.len());
    let mut bench = Bench::start(scenario("everything"), "kinds: [endpoints]\ninclude: [many-models]").await;
    bench.run_to(40).await;
    let hits = bench.sink.with("aws.sagemaker.cache_hit_ratio", &[]);
    assert!(
        !hits.is_empty() && hits.iter().all(|(_, ratio)| (ratio - 0.8).abs() < 0.01),
        "{hits:?}"
    );
}

#[tokio::test]
async fn jobs_are_followed_from_their_first_minute_to_their_last_point() {
    let mut bench = Bench::start(scenario("training_job"), "").await;
    bench.run_to(90).await;
    let host = [("Host", "churn-model/algo-1")];
    let gpu = bench
        .sink
        .with("amazonaws.com//aws/sagemaker/TrainingJobs/GPUUtilization", &host);
    let minutes: Vec<i64> = gpu.iter().map(|(at, _)| bench.minute(*at)).collect();
    assert_eq!(
        minutes,
        (5..35).collect::<Vec<_>>(),
        "every minute of the job, none twice"
    );
    let duration = bench
        .sink
        .with("aws.sagemaker.job.duration", &[("JobName", "churn-model")]);
    let longest = duration.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    assert_eq!(longest, 1800.0);
    let status = bench.sink.with(
        "aws.sagemaker.job.status",
        &[("JobName", "churn-model"), ("Status", "Completed")],
    );
    assert!(!status.is_empty());
    let records = bench.sink.records.lock().unwrap().clone();
    let told: BTreeSet<(String, String, String)> = records
        .iter()
        .map(|(_, attributes)| {
            let text = |name: &str| attributes.get(name).cloned().unwrap_or_default();
            (text("JobName"), text("Status"), text("severity"))
        })
        .collect();
    for (job, status, severity) in [
        ("churn-model", "InProgress", "INFO"),
        ("churn-model", "Completed", "INFO"),
        ("churn-model-wide", "Failed", "ERROR"),
        ("prepare-churn", "Completed", "INFO"),
        ("score-churn", "Stopped", "WARN"),
    ] {
        let key = (job.to_owned(), status.to_owned(), severity.to_owned());
        assert!(told.contains(&key), "{key:?} in {told:?}");
    }
    assert_eq!(told.len(), records.len(), "each change once");
}

#[tokio::test]
async fn a_failed_pipeline_names_its_step_and_lowers_the_success_ratio() {
    let mut bench = Bench::start(scenario("pipeline_failure"), "kinds: [pipelines]").await;
    bench.run_to(25).await;
    let records = bench.sink.records.lock().unwrap().clone();
    let steps: Vec<(String, String)> = records
        .iter()
        .map(|(body, attributes)| (attributes["StepName"].clone(), body.clone()))
        .collect();
    assert_eq!(
        steps.len(),
        2,
        "executions 12 and 13 failed while we looked: {records:?}"
    );
    assert_eq!(steps[0].0, "evaluate");
    assert!(steps[0].1.contains("accuracy 0.69 is below 0.80"), "{steps:?}");
    let ratio = bench.sink.with(
        "aws.sagemaker.pipeline.success_ratio",
        &[("PipelineName", "nightly-retrain")],
    );
    assert!(ratio.first().unwrap().1 > ratio.last().unwrap().1, "{ratio:?}");
    let features = bench
        .sink
        .with("aws.sagemaker.pipeline.success_ratio", &[("PipelineName", "features")]);
    assert!(features.iter().all(|(_, ratio)| *ratio == 1.0));
}

#[tokio::test]
async fn violations_of_a_monitored_endpoint_are_told_once_for_each_execution() {
    let mut bench = Bench::start(scenario("drift_violation"), "kinds: [monitoring]").await;
    bench.run_to(130).await;
    let violations = bench.sink.of("aws.sagemaker.monitor.violations");
    let told: Vec<(String, f64, usize)> = violations
        .iter()
        .map(|((_, _, attributes, _), values)| (attributes[0].1.clone(), values[0], values.len()))
        .collect();
    let of = |name: &str| told.iter().filter(|(schedule, ..)| schedule == name).count();
    assert!((2..=3).contains(&of("credit-limit-data")), "{told:?}");
    assert!(
        told.iter()
            .all(|(schedule, value, times)| *times == 1 && (*value == 1.0) == (schedule == "credit-limit-data"))
    );
    let drift = bench
        .sink
        .of("amazonaws.com//aws/sagemaker/Endpoints/data-metric/feature_baseline_drift_income");
    assert!(drift.iter().any(|(_, values)| values[0] > 0.2), "{drift:?}");
}

#[tokio::test]
async fn records_that_are_refused_wait_and_come_once() {
    let mut bench = Bench::start(scenario("training_job"), "kinds: [processing_jobs]").await;
    *bench.sink.refusing.lock().unwrap() = true;
    bench.run_to(8).await;
    *bench.sink.refusing.lock().unwrap() = false;
    bench.run_to(30).await;
    let records = bench.sink.records.lock().unwrap().clone();
    let bodies: Vec<&str> = records.iter().map(|(body, _)| body.as_str()).collect();
    let expected = [
        "processing job prepare-churn is InProgress",
        "processing job prepare-churn is Completed",
    ];
    assert_eq!(bodies, expected);
}
