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
        commons: crate::component::Commons::default(),
        token: Some(crate::config::types::Secret::new("letmein")),
        pages: None,
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

/// An engine whose alert `A` fires, and the routes of the admin API that concern it.
async fn with_an_alert() -> (std::sync::Arc<crate::alert::notify::Notifier>, axum::Router, String) {
    use crate::alert::{Guidance, Listener, Told};
    use crate::component::BuildContext;
    let context = BuildContext::standalone(ComponentKind::Processor, "alerts");
    let settings = crate::alert::notify::Settings::read(&crate::config::Section::from_yaml("{}"));
    let notifier = crate::alert::notify::Notifier::new(settings, &context);
    let told = Told {
        labels: vec![("alertname".to_owned(), "A".to_owned())],
        annotations: Vec::new(),
        starts_at: 1,
        ends_at: None,
        value: f64::NAN,
        guidance: std::sync::Arc::new(Guidance::default()),
        pattern: String::new(),
        cause: String::new(),
        traces: Vec::new(),
    };
    let fingerprint = format!("{:016x}", told.fingerprint());
    notifier.tell(0, vec![told]).await.unwrap();
    let token = Some(crate::config::types::Secret::new("letmein"));
    (
        notifier,
        crate::alert::notify::router(context.commons.get(), token),
        fingerprint,
    )
}

async fn call(router: &axum::Router, method: &str, path: &str, token: &str, body: &str) -> (u16, serde_json::Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .body(axum::body::Body::from(body.to_owned()))
        .unwrap();
    let answer = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn an_alert_is_acknowledged_by_whoever_has_the_token() {
    let (_notifier, router, fingerprint) = with_an_alert().await;
    let path = format!("/alerts/{fingerprint}/ack");
    assert_eq!(call(&router, "POST", &path, "wrong", r#"{"by":"ann"}"#).await.0, 401);
    assert_eq!(call(&router, "POST", &path, "letmein", "{}").await.0, 400);
    assert_eq!(call(&router, "POST", &path, "letmein", r#"{"by":" "}"#).await.0, 400);
    assert_eq!(
        call(&router, "POST", "/alerts/zz/ack", "letmein", r#"{"by":"ann"}"#)
            .await
            .0,
        400
    );
    assert_eq!(
        call(&router, "POST", "/alerts/1/ack", "letmein", r#"{"by":"ann"}"#)
            .await
            .0,
        404
    );
    assert_eq!(
        call(&router, "POST", &path, "letmein", r#"{"by":"ann","comment":"mine"}"#)
            .await
            .0,
        200
    );
    let (status, shown) = call(&router, "GET", "/alerts", "", "").await;
    assert_eq!(status, 200);
    assert_eq!(shown["alerts"][0]["acknowledged"]["by"], "ann");
    assert_eq!(shown["alerts"][0]["value"], "NaN");
    let (_, one) = call(&router, "GET", &format!("/alerts/{fingerprint}"), "", "").await;
    assert_eq!(one["labels"]["alertname"], "A");
    let closed = crate::alert::notify::router(std::sync::Arc::default(), None);
    assert_eq!(call(&closed, "POST", &path, "letmein", r#"{"by":"ann"}"#).await.0, 403);
}

#[tokio::test]
async fn silences_come_and_go_by_the_api_and_always_end() {
    let (_notifier, router, _) = with_an_alert().await;
    let silence = |ends: &str, comment: &str| {
        format!(r#"{{"matchers":["alertname=\"A\""],"ends_at":"{ends}","created_by":"ann","comment":"{comment}"}}"#)
    };
    let soon = jiff::Timestamp::from_second(
        crate::component::Clock::now(&crate::component::SystemClock).seconds() as i64 + 600,
    );
    let soon = soon.unwrap().to_string();
    assert_eq!(
        call(&router, "POST", "/silences", "no", &silence(&soon, "why")).await.0,
        401
    );
    for (ends, comment) in [
        ("", "why"),
        (soon.as_str(), ""),
        ("2020-01-01T00:00:00Z", "why"),
        ("2999-01-01T00:00:00Z", "why"),
    ] {
        assert_eq!(
            call(&router, "POST", "/silences", "letmein", &silence(ends, comment))
                .await
                .0,
            400,
            "{ends}"
        );
    }
    let (status, made) = call(&router, "POST", "/silences", "letmein", &silence(&soon, "why")).await;
    assert_eq!(status, 200, "{made}");
    let (_, shown) = call(&router, "GET", "/silences", "", "").await;
    assert_eq!(shown["silences"][0]["state"], "active");
    assert_eq!(shown["silences"][0]["silence"]["comment"], "why");
    let path = format!("/silences/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&router, "DELETE", &path, "letmein", "").await.0, 200);
    assert_eq!(call(&router, "DELETE", &path, "letmein", "").await.0, 404);
}

#[tokio::test]
async fn whoever_taps_a_component_sees_what_passes_it() {
    use crate::component::Taps;
    use crate::pdata::{Batch, DoorLimits, Origin};
    let admin = admin();
    let commons = admin.commons.clone();
    let id = ComponentId::new("otlp");
    let feed = commons.get::<Taps>().of(ComponentKind::Receiver, &id);
    let server = serve(Endpoint::parse("127.0.0.1:0").unwrap(), admin).await.unwrap();
    let address = server.addresses()[0].to_string();
    let (code, body) = get(&address, "/api/v1/tap?component=nobody", &address).await;
    assert_eq!(code, 404);
    assert!(body.contains("receiver otlp"), "{body}");
    assert_eq!(
        get(&address, "/api/v1/tap?component=otlp&signal=x", &address).await.0,
        400
    );

    let client = Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("http://{address}/api/v1/tap?component=otlp&signal=logs");
    let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).unwrap();
    let mut body = client.request(request).await.unwrap().into_body();
    let mut line = async || {
        let frame = body.frame().await?.unwrap();
        serde_json::from_slice::<serde_json::Value>(&frame.into_data().unwrap()).ok()
    };
    assert_eq!(line().await.unwrap()["watching"][0]["kind"], "receiver");
    let text = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;
    let batch = Batch::from_json(Signal::Logs, text, &DoorLimits::default(), Origin::internal());
    let batch = batch.unwrap().batch;
    feed.tell(&Batch::from_wire(
        Signal::Traces,
        bytes::Bytes::new(),
        1,
        Origin::internal(),
    ));
    feed.tell(&batch);
    let told = line().await.unwrap();
    assert_eq!((&told["signal"], &told["items"]), (&"logs".into(), &1.into()));
    let record = &told["request"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["body"]["stringValue"], "hello");
    // The end of the listener ends the stream.
    server.stop(Deadline::after(Duration::from_secs(5))).await;
    assert_eq!(line().await, None);
}

#[tokio::test]
async fn telemetry_is_shown_to_other_machines_with_the_token_only() {
    let server = serve(Endpoint::parse("0.0.0.0:0").unwrap(), admin()).await.unwrap();
    let port = server.addresses()[0].port();
    let address = format!("127.0.0.1:{port}");
    assert_eq!(get(&address, "/api/v1/tap?component=otlp", &address).await.0, 401);
    let closed = Admin { token: None, ..admin() };
    let server = serve(Endpoint::parse("0.0.0.0:0").unwrap(), closed).await.unwrap();
    let address = format!("127.0.0.1:{}", server.addresses()[0].port());
    assert_eq!(get(&address, "/api/v1/tap?component=otlp", &address).await.0, 403);
}
