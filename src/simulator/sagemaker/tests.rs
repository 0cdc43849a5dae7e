//! The fleet: what it publishes, how its resources live, what its API says.

use std::collections::BTreeSet;

use super::super::answer::Caller;
use super::super::statistics::Statistic;
use super::super::value::Value;
use super::super::world::{Series, World};
use super::super::{Scenario, Simulator};
use super::*;

fn caller() -> Caller {
    Caller {
        account: "111122223333".to_owned(),
        region: "eu-central-1".to_owned(),
        service: "sagemaker".to_owned(),
    }
}

fn at(world: &World, minute: i64) -> f64 {
    (world.scenario.start as i64 + 60 * minute) as f64
}

fn ask(world: &World, operation: &str, request: Value, minute: i64) -> Value {
    call(world, &caller(), operation, &request, at(world, minute)).unwrap()
}

fn texts(answer: &Value, list: &str, member: &str) -> Vec<String> {
    let entries = answer.list(list).iter();
    entries
        .map(|entry| entry.str(member).unwrap_or_default().to_owned())
        .collect()
}

fn series<'a>(world: &'a World, metric: &str, fits: impl Fn(&Series) -> bool) -> &'a Series {
    let mut found = world.series().iter().filter(|series| series.metric == metric);
    found
        .find(|series| fits(series))
        .unwrap_or_else(|| panic!("no {metric}"))
}

fn value(world: &World, series: &Series, statistic: &str, minute: i64) -> Option<f64> {
    let samples = world.final_samples(series, at(world, minute) as i64);
    samples.get(Statistic::parse(statistic).unwrap())
}

#[test]
fn the_world_of_everything_publishes_every_metric_of_the_catalogue_in_every_dimension_set() {
    let world = World::new(Scenario::everything());
    let mut published = BTreeSet::new();
    let mut alive = BTreeSet::new();
    for series in world.series() {
        let names: BTreeSet<&str> = series.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        let key = (series.namespace.clone(), series.metric.clone(), format!("{names:?}"));
        let lives = (-300..300).any(|minute| {
            let at = at(&world, minute) as i64;
            at % series.period == 0 && !world.final_samples(series, at).is_empty()
        });
        if lives {
            alive.insert(key.clone());
        }
        published.insert(key);
    }
    let mut missing = Vec::new();
    for entry in entries() {
        for set in &entry.dimensions {
            let names: BTreeSet<&str> = set.iter().map(String::as_str).collect();
            let metric = match entry.namespace.as_str() {
                "AWS/Usage" => "ResourceCount".to_owned(),
                _ => entry.metric.replace("{feature_name}", "age"),
            };
            let key = (entry.namespace.clone(), metric, format!("{names:?}"));
            if !published.contains(&key) {
                missing.push(key);
            } else if !alive.contains(&key) && !key.1.contains("ThrottleEvents") && !key.1.starts_with("OnlineIndex") {
                panic!("never has a point: {key:?}");
            }
        }
    }
    assert_eq!(missing, []);
}

#[test]
fn jobs_run_on_the_clock_and_are_found_by_status_and_time() {
    let world = World::new(Scenario::named("training_job").unwrap());
    let in_progress = |minute| {
        let request = Value::map([("StatusEquals", Value::text("InProgress"))]);
        texts(
            &ask(&world, "ListTrainingJobs", request, minute),
            "TrainingJobSummaries",
            "TrainingJobName",
        )
    };
    assert_eq!(in_progress(0), Vec::<String>::new());
    assert_eq!(in_progress(10), ["churn-model"]);
    assert_eq!(in_progress(60), Vec::<String>::new());
    let after = Value::map([("LastModifiedTimeAfter", Value::Float(at(&world, 20)))]);
    let ended = ask(&world, "ListTrainingJobs", after, 60);
    let job = ended.list("TrainingJobSummaries").first().unwrap();
    assert_eq!(job.str("TrainingJobStatus"), Some("Completed"));
    assert!(job.time("TrainingEndTime").unwrap() > at(&world, 30));
    let gpu = series(&world, "GPUUtilization", |series| {
        series.dimensions[0].1 == "churn-model/algo-1"
    });
    assert!(value(&world, gpu, "Average", 10).unwrap() > 100.0, "four GPUs");
    assert_eq!(value(&world, gpu, "Average", 60), None);
}

#[test]
fn a_failed_step_fails_its_pipeline_and_says_why() {
    let world = World::new(Scenario::named("pipeline_failure").unwrap());
    let name = || Value::map([("PipelineName", Value::text("nightly-retrain"))]);
    let executions = ask(&world, "ListPipelineExecutions", name(), 30);
    let states = texts(&executions, "PipelineExecutionSummaries", "PipelineExecutionStatus");
    assert!(
        states.contains(&"Failed".to_owned()) && states.contains(&"Succeeded".to_owned()),
        "{states:?}"
    );
    let list = executions.list("PipelineExecutionSummaries");
    let failed = list
        .iter()
        .find(|execution| execution.str("PipelineExecutionStatus") == Some("Failed"));
    let arn = failed.unwrap().str("PipelineExecutionArn").unwrap();
    let request = Value::map([("PipelineExecutionArn", Value::text(arn))]);
    let steps = ask(&world, "ListPipelineExecutionSteps", request, 30);
    let broken = steps
        .list("PipelineExecutionSteps")
        .iter()
        .find(|step| step.str("StepStatus") == Some("Failed"));
    assert_eq!(broken.unwrap().str("StepName"), Some("evaluate"));
    assert!(broken.unwrap().str("FailureReason").unwrap().contains("accuracy"));
    let failures = series(&world, "ExecutionFailed", |series| {
        series.dimensions.iter().any(|(_, value)| value == "nightly-retrain")
    });
    let total: f64 = (-200..60)
        .filter_map(|minute| value(&world, failures, "Sum", minute))
        .sum();
    assert_eq!(total, states.iter().filter(|state| *state == "Failed").count() as f64);
}

#[test]
fn lists_come_in_pages_and_refuse_a_foreign_token() {
    let world = World::new(Scenario::everything());
    let mut names = Vec::new();
    let mut token = None;
    loop {
        let mut request = Value::map([("MaxResults", Value::Int(2))]);
        if let Some(token) = token.take() {
            request.push("NextToken", Value::Text(token));
        }
        let page = ask(&world, "ListEndpoints", request, 10);
        assert!(page.list("Endpoints").len() <= 2);
        names.extend(texts(&page, "Endpoints", "EndpointName"));
        match page.str("NextToken") {
            Some(next) => token = Some(next.to_owned()),
            None => break,
        }
    }
    let all: BTreeSet<&String> = names.iter().collect();
    assert_eq!(all.len(), names.len());
    assert!(names.len() >= 4, "{names:?}");
    let request = Value::map([("NextToken", Value::text("Pipelines-2"))]);
    assert!(call(&world, &caller(), "ListEndpoints", &request, at(&world, 10)).is_err());
}

#[test]
fn a_saturated_gpu_slows_its_endpoint_down() {
    let world = World::new(Scenario::named("gpu_saturation").unwrap());
    let of = |metric: &str| series(&world, metric, |series| series.dimensions.len() == 2);
    let gpu = of("GPUUtilization");
    assert!(value(&world, gpu, "Average", 1).unwrap() < 70.0);
    assert!(value(&world, gpu, "Average", 10).unwrap() > 90.0);
    let latency = of("ModelLatency");
    let (before, after) = (value(&world, latency, "p99", 1), value(&world, latency, "p99", 10));
    assert!(after.unwrap() > 3.0 * before.unwrap(), "{before:?} {after:?}");
    let instances = value(&world, of("CPUUtilization"), "SampleCount", 10);
    assert_eq!(instances, Some(2.0));
}

#[test]
fn other_accounts_and_regions_see_nothing() {
    let world = World::new(Scenario::everything());
    let mut stranger = caller();
    stranger.account = "999988887777".to_owned();
    let answer = call(
        &world,
        &stranger,
        "ListEndpoints",
        &Value::Map(Vec::new()),
        at(&world, 10),
    )
    .unwrap();
    assert_eq!(answer.list("Endpoints").len(), 0);
}

#[test]
fn every_value_is_the_same_whatever_was_asked_before() {
    let (one, other) = (
        Simulator::frozen(Scenario::everything()),
        Simulator::frozen(Scenario::everything()),
    );
    let (one, other) = (one.world(), other.world());
    for (position, series) in one.series().iter().enumerate().rev() {
        let twin = &other.series()[position];
        let at = at(&one, 0) as i64 + 3600;
        assert_eq!(one.final_samples(series, at), other.final_samples(twin, at));
    }
}
