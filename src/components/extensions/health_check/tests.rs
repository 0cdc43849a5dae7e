use http::Uri;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::component::{ComponentId, ComponentState, StatusBoard, UnixNanos};
use crate::config::types::HeaderMap;
use crate::net::server::{Endpoint, ServerSettings};
use crate::pdata::MemoryBudget;

fn texts(path: &str) -> Texts {
    Texts {
        path: path.to_owned(),
        healthy: None,
        unhealthy: None,
    }
}

fn health(texts: Texts, board: &StatusBoard) -> Health {
    Health {
        texts,
        headers: HeaderMap::default(),
        board: board.clone(),
        up_since: UnixNanos::from_seconds(1_700_000_000),
        started: tokio::time::Instant::now(),
        pulse: Pulse::new(),
    }
}

fn ask(health: &Health, path: &'static str) -> (u16, String) {
    let response = health.answer(&http::Method::GET, &Uri::from_static(path));
    (response.status().as_u16(), response.into_body())
}

#[tokio::test]
async fn a_ready_agent_answers_as_the_collector() {
    let board = StatusBoard::default();
    board.set_ready(true);
    let (code, body) = ask(&health(texts("/"), &board), "/any/sub/path");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(code, 200);
    assert_eq!(body["status"], "Server available");
    assert_eq!(body["upSince"], "2023-11-14T22:13:20Z");
}

#[tokio::test]
async fn an_agent_that_is_starting_or_stopping_is_not_available() {
    let (code, body) = ask(&health(texts("/"), &StatusBoard::default()), "/");
    assert_eq!(code, 503);
    assert!(body.contains("Server not available"));
}

#[tokio::test]
async fn texts_of_the_configuration_replace_the_body() {
    let board = StatusBoard::default();
    let custom = Texts {
        healthy: Some("fine".to_owned()),
        unhealthy: Some("not fine".to_owned()),
        ..texts("/health")
    };
    let health = health(custom, &board);
    assert_eq!(ask(&health, "/health"), (503, "not fine".to_owned()));
    board.set_ready(true);
    assert_eq!(ask(&health, "/health/"), (200, "fine".to_owned()));
    assert_eq!(ask(&health, "/elsewhere").0, 404);
    assert_eq!(ask(&health, "/healthy").0, 404);
}

#[tokio::test]
async fn a_stopping_agent_is_alive_and_started_but_not_ready() {
    let board = StatusBoard::default();
    let health = health(texts("/"), &board);
    assert_eq!(ask(&health, "/startupz").0, 503);
    board.report(
        ComponentKind::Receiver,
        &ComponentId::new("otlp"),
        ComponentState::Stopping,
    );
    let codes = ["/livez", "/readyz", "/startupz"].map(|path| ask(&health, path).0);
    assert_eq!(codes, [200, 503, 200]);
}

#[tokio::test]
async fn a_queue_that_is_still_being_opened_is_told_and_holds_the_start_up() {
    let board = StatusBoard::default();
    let health = health(texts("/"), &board);
    let (first, second) = (std::path::Path::new("/q/a"), std::path::Path::new("/q/b"));
    board.queue_opens(first);
    board.queue_opens(second);
    board.queue_is_open(first);
    board.set_ready(true);
    let (code, body) = ask(&health, "/startupz");
    assert_eq!(code, 503);
    assert!(body.contains(r#""queues":{"all":2,"open":1}"#), "{body}");
    assert_eq!(ask(&health, "/readyz").0, 503);
    board.queue_is_open(second);
    assert_eq!((ask(&health, "/startupz").0, ask(&health, "/readyz").0), (200, 200));
    board.queue_is_gone(first);
    assert_eq!(board.open_queues(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn refusing_for_more_than_ten_seconds_is_not_ready_and_a_stalled_runtime_is_not_alive() {
    let board = StatusBoard::default();
    board.set_ready(true);
    let health = health(texts("/"), &board);
    let memory = MemoryBudget::new(1);
    memory.close();
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(Arc::clone(&health.pulse).beat(memory.clone(), stop.clone()));
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    assert_eq!(ask(&health, "/readyz").0, 200);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(ask(&health, "/readyz").0, 503);
    memory.reopen();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(ask(&health, "/readyz").0, 200);
    stop.cancel();
    tokio::time::sleep(std::time::Duration::from_secs(40)).await;
    assert_eq!(ask(&health, "/livez").0, 503);
}

#[tokio::test]
async fn verbose_lists_the_components() {
    let board = StatusBoard::default();
    board.report(
        ComponentKind::Exporter,
        &ComponentId::new("otlp"),
        ComponentState::Degraded("no route".to_owned()),
    );
    let (_, body) = ask(&health(texts("/"), &board), "/readyz?verbose");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["components"][0]["message"], "no route");
}

#[tokio::test]
async fn it_is_served_over_http() {
    let context = BuildContext::standalone(ComponentKind::Extension, "health_check");
    context.status.set_ready(true);
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let plan = HealthCheck {
        http: HttpConfig {
            server: ServerSettings::new(Endpoint::parse(&address.to_string()).unwrap()),
            response_headers: HeaderMap::default(),
        },
        texts: texts("/"),
    };
    let running = plan.start(context).await.unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{address}/livez"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"status":"alive"}"#);
    running.stop(Deadline::after(std::time::Duration::from_secs(1))).await;
}
