use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

use super::v1::GetStatusRequest;
use super::v1::admin_service_client::AdminServiceClient;
use super::*;
use crate::component::{
    ComponentId, ComponentKind, ComponentState, Deadline, DropReason, Instruments, PipelineInfo, Registry, Running,
    StatusBoard,
};
use crate::net::server::Endpoint;
use crate::pdata::{MemoryBudget, Signal};

fn admin() -> Admin {
    let board = StatusBoard::default();
    let registry = Registry::default();
    let (receiver, exporter) = (ComponentId::new("otlp"), ComponentId::new("otlp/backup"));
    board.report(ComponentKind::Receiver, &receiver, ComponentState::Ok);
    let trouble = ComponentState::Degraded("no route".to_owned());
    board.report(ComponentKind::Exporter, &exporter, trouble);
    board.set_pipelines(vec![PipelineInfo {
        name: "traces".to_owned(),
        signal: Signal::Traces,
        receivers: vec![receiver],
        processors: Vec::new(),
        exporters: vec![exporter],
    }]);
    board.set_ready(true);
    let receiver = Instruments::new(registry.clone(), ComponentKind::Receiver, "otlp");
    for transport in ["grpc", "http"] {
        receiver.receiver(transport).record(Signal::Traces, 5, &Ok(()));
    }
    let exporter = Instruments::new(registry.clone(), ComponentKind::Exporter, "otlp/backup");
    exporter.dropped(Signal::Traces, DropReason::RetryLimit).add(3);
    exporter.observe("otelcol_exporter_queue_size", "", &[("data_type", "traces")], || 7.0);
    Admin {
        board,
        registry,
        memory: MemoryBudget::new(1000),
        started: Instant::now(),
    }
}

async fn started() -> (impl Running, String) {
    let server = serve(Endpoint::parse("127.0.0.1:0").unwrap(), admin()).await.unwrap();
    let address = server.addresses()[0].to_string();
    (server, address)
}

#[tokio::test]
async fn grpc_tells_states_sums_losses_and_queues() {
    let (server, address) = started().await;
    let mut client = AdminServiceClient::connect(format!("http://{address}")).await.unwrap();
    let status = client.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert!(status.ready);
    assert_eq!(status.pipelines[0].exporters, ["otlp/backup"]);
    let of = |kind: &str| {
        status
            .components
            .iter()
            .find(|component| component.kind == kind)
            .unwrap()
    };
    let accepted = &of("receiver")
        .flows
        .iter()
        .find(|flow| flow.what == "accepted" && flow.signal == "traces");
    assert_eq!(accepted.unwrap().items, 10);
    assert_eq!(of("exporter").message, "no route");
    assert_eq!(of("exporter").queues[0].size, 7.0);
    assert_eq!(
        (status.dropped[0].reason.as_str(), status.dropped[0].items),
        ("retry_limit", 3)
    );
    server.stop(Deadline::after(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn curl_gets_the_same_as_json_on_the_same_port() {
    let (_server, address) = started().await;
    let (code, body) = get(&address, "/api/v1/status", &address).await;
    assert_eq!(code, 200);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["v"], 1);
    assert_eq!(json["dropped"][0]["items"], "3");
    assert_eq!(json["components"][1]["state"], "degraded");
}

#[tokio::test]
async fn a_request_under_a_strange_name_is_misdirected() {
    let (_server, address) = started().await;
    let (code, _) = get(&address, "/api/v1/status", "rebound.example").await;
    assert_eq!(code, 421);
}

#[tokio::test]
async fn health_and_reflection_are_served_beside_it() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let (_server, address) = started().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let request = HealthCheckRequest {
        service: "radiosonde.admin.v1.AdminService".to_owned(),
    };
    let answer = client.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
}

async fn get(address: &str, path: &str, host: &str) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = http::Request::get(format!("http://{address}{path}")).header("host", host);
    let response = client
        .request(request.body(Empty::<bytes::Bytes>::new()).unwrap())
        .await
        .unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}
