//! The client against the simulated services, over real HTTP.

#![cfg(feature = "simulator")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::sagemaker::{Endpoints, Operation, PipelineExecutions, SageMaker, TrainingJobs};
use super::*;
use crate::aws::rate::Limits;
use crate::aws::{Access, AccessSettings};
use crate::component::{BuildContext, Clock, ComponentKind, UnixNanos};
use crate::config::Section;
use crate::simulator::{Fault, FaultKind, Role, Scenario, Served, Simulator};

struct Bench {
    simulator: Arc<Simulator>,
    _served: Served,
    sagemaker: SageMaker,
    tagging: JsonClient,
    tagging_calls: Calls,
}

async fn bench(scenario: Scenario, extra: &str) -> Bench {
    let simulator = Simulator::frozen(scenario);
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let text = format!(
        "regions: [eu-central-1]\nendpoint: {}\n\
         credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}\n{extra}\n",
        served.url()
    );
    let settings = AccessSettings::read(&Section::from_yaml(&text)).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(simulator.clock().clone());
    let access = Access::load(settings, Arc::clone(&clock)).await;
    let config = access.config(&access.places()[0]).await;
    let context = BuildContext::standalone(ComponentKind::Receiver, "sagemaker");
    let limits = Limits { start: 1e6, max: 1e6 };
    let calls = |api, action| {
        let place = ("111122223333", "eu-central-1");
        Calls::new(api, action, limits, Arc::clone(&clock), &context.instruments, place)
    };
    Bench {
        sagemaker: SageMaker::new(access.json(&config, Service::SageMaker), |api, action, _| {
            calls(api, action)
        }),
        tagging: access.json(&config, Service::Tagging),
        tagging_calls: calls("GetResources", tagging::GET_RESOURCES),
        _served: served,
        simulator,
    }
}

fn hours(simulator: &Simulator, hours: u64) {
    simulator.clock().step(Duration::from_secs(3600 * hours));
}

#[tokio::test]
async fn listings_are_followed_to_their_end_and_times_are_read() {
    let mut scenario = Scenario::everything();
    let pipeline = scenario.sagemaker.pipelines[0].clone();
    // 1,600 executions are more than sixteen pages.
    scenario.sagemaker.pipelines[0].first = pipeline.first - 16_000;
    let bench = bench(scenario, "").await;
    hours(&bench.simulator, 1);
    let endpoints = bench
        .sagemaker
        .list::<Endpoints>(Operation::ListEndpoints, Map::new())
        .await;
    let endpoints = endpoints.unwrap().items;
    assert_eq!(endpoints.len(), 6);
    let gpu = endpoints
        .iter()
        .find(|endpoint| endpoint.endpoint_name == "gpu")
        .unwrap();
    assert_eq!(
        gpu.endpoint_arn,
        "arn:aws:sagemaker:eu-central-1:111122223333:endpoint/gpu"
    );
    assert!(gpu.creation_time.unwrap() < bench.simulator.clock().now().seconds() as i64);
    let wanted = request([("PipelineName", json!("retrain"))]);
    let executions = bench
        .sagemaker
        .list::<PipelineExecutions>(Operation::ListPipelineExecutions, wanted)
        .await
        .unwrap();
    assert!(
        executions.items.len() > 1_600 && !executions.cut,
        "{}",
        executions.items.len()
    );
    let asked = bench.simulator.calls();
    let asked = asked.iter().filter(|call| call.api == "ListPipelineExecutions");
    assert_eq!(asked.count(), executions.items.len().div_ceil(100));
}

#[tokio::test]
async fn filters_reach_the_service() {
    let bench = bench(Scenario::named("training_job").unwrap(), "").await;
    bench.simulator.clock().step(Duration::from_secs(15 * 60));
    let running = request([("StatusEquals", json!("InProgress"))]);
    let jobs = bench
        .sagemaker
        .list::<TrainingJobs>(Operation::ListTrainingJobs, running)
        .await;
    let names: Vec<String> = jobs
        .unwrap()
        .items
        .into_iter()
        .map(|job| job.training_job_name)
        .collect();
    assert_eq!(names, ["churn-model-wide", "churn-model"]);
}

#[tokio::test]
async fn errors_of_the_service_become_failures_that_name_the_action() {
    let bench = bench(Scenario::everything(), "").await;
    let faults = [
        (FaultKind::Denied, "not allowed to call sagemaker:ListEndpoints"),
        (FaultKind::Throttle, "throttled by AWS (ThrottlingException)"),
        (FaultKind::Expired, "credentials have expired"),
        (
            FaultKind::Error {
                status: 500,
                code: "InternalFailure".to_owned(),
            },
            "AWS failed with status 500: InternalFailure",
        ),
        (FaultKind::Truncate, "unreadable answer"),
    ];
    for (kind, expected) in faults {
        bench
            .simulator
            .set_faults(vec![Fault::of("ListEndpoints", -1, 1, kind)]);
        let failed = bench
            .sagemaker
            .list::<Endpoints>(Operation::ListEndpoints, Map::new())
            .await;
        let told = failed.err().unwrap().to_string();
        assert!(told.contains(expected), "{told}");
        // A throttle closes the bucket for a while.
        hours(&bench.simulator, 0);
        bench.simulator.clock().step(Duration::from_secs(6));
    }
    bench.simulator.set_faults(Vec::new());
    let unknown = bench
        .sagemaker
        .describe::<sagemaker::EndpointDescription>(Operation::DescribeEndpoint, "EndpointName", "nobody")
        .await;
    let told = unknown.err().unwrap();
    assert!(
        matches!(&told, Failure::Refused { code, .. } if code == "ValidationException"),
        "{told}"
    );
}

#[tokio::test]
async fn a_role_is_assumed_once_and_again_five_minutes_before_it_ends() {
    let mut scenario = Scenario::everything();
    let account = "444455556666";
    scenario.sagemaker.account = Some(account.to_owned());
    scenario.roles.push(Role {
        arn: format!("arn:aws:iam::{account}:role/monitoring"),
        external_id: Some("e-1".to_owned()),
    });
    let extra = format!("accounts: [{{role_arn: \"arn:aws:iam::{account}:role/monitoring\", external_id: e-1}}]");
    let bench = bench(scenario, &extra).await;
    let assumed = || {
        let calls = bench.simulator.calls();
        calls.iter().filter(|call| call.api == "AssumeRole").count()
    };
    for _ in 0..5 {
        let endpoints = bench
            .sagemaker
            .list::<Endpoints>(Operation::ListEndpoints, Map::new())
            .await;
        assert_eq!(endpoints.unwrap().items.len(), 5, "one is created later");
    }
    assert_eq!(assumed(), 1);
    let start = bench.simulator.clock().now().seconds();
    bench
        .simulator
        .clock()
        .advance_to(UnixNanos::from_seconds(start + 54 * 60));
    bench
        .sagemaker
        .list::<Endpoints>(Operation::ListEndpoints, Map::new())
        .await
        .unwrap();
    assert_eq!(assumed(), 1);
    bench
        .simulator
        .clock()
        .advance_to(UnixNanos::from_seconds(start + 56 * 60));
    bench
        .sagemaker
        .list::<Endpoints>(Operation::ListEndpoints, Map::new())
        .await
        .unwrap();
    assert_eq!(assumed(), 2);
}

#[tokio::test]
async fn tags_come_in_pages_for_the_types_that_are_asked_for() {
    let mut scenario = Scenario::everything();
    let table = scenario.tables[0].clone();
    for number in 0..250 {
        let mut more = table.clone();
        more.name = format!("more-{number}");
        scenario.tables.push(more);
    }
    let bench = bench(scenario, "").await;
    let tags = tagging::get_resources(&bench.tagging, &bench.tagging_calls, &["dynamodb:table"])
        .await
        .unwrap();
    assert_eq!(tags.len(), 252);
    assert_eq!(
        tags["arn:aws:dynamodb:eu-central-1:111122223333:table/world"]["team"],
        "orders"
    );
    let endpoints = ["sagemaker:endpoint"];
    let tags = tagging::get_resources(&bench.tagging, &bench.tagging_calls, &endpoints)
        .await
        .unwrap();
    assert_eq!(tags.len(), 2);
    let calls = bench.simulator.calls();
    assert_eq!(calls.iter().filter(|call| call.api == "GetResources").count(), 4);
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_cut_off() {
    use crate::net::server::{Endpoint, ServerSettings, serve_http};
    let answer = |_request, _peer| async {
        let mut response = axum::response::Response::new(axum::body::Body::from(vec![b' '; 9 << 20]));
        *response.status_mut() = http::StatusCode::OK;
        response
    };
    let settings = ServerSettings::new(Endpoint::parse("127.0.0.1:0").unwrap());
    let server = serve_http(&settings, answer).await.unwrap();
    let url = format!("http://{}", server.addresses()[0]);
    let bench = bench(Scenario::everything(), &format!("endpoints: {{sagemaker: \"{url}\"}}")).await;
    let failed = bench
        .sagemaker
        .list::<Endpoints>(Operation::ListEndpoints, Map::new())
        .await;
    let told = failed.err().unwrap().to_string();
    assert!(told.contains("unreadable answer"), "{told}");
}

#[test]
fn every_operation_has_its_place_and_its_name() {
    for (position, operation) in Operation::ALL.iter().enumerate() {
        assert_eq!(*operation as usize, position);
        assert_eq!(format!("sagemaker:{operation:?}"), operation.action());
        assert_eq!(operation.name(), format!("{operation:?}"));
    }
}
