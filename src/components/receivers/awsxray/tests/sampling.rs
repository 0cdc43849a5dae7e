use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::net::client::test_peer::{Peer, Received, Reply};

fn config(peer: &Peer, more: &str) -> String {
    format!(
        "proxy_server: {{region: eu-central-1, aws_endpoint: 'http://{}', credentials: {{access_key_id: AKID, \
         secret_access_key: secret}}{more}}}",
        peer.address
    )
}

struct Answer {
    status: u16,
    stale: bool,
    body: String,
}

async fn post(running: &Running1, path: &str, body: &str) -> Answer {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(running.tcp).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-Kept: 2\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        stale: head.contains("x-radiosonde-stale"),
        body: body.to_owned(),
    }
}

/// The region is found in the background.
async fn ready(running: &Running1) {
    running
        .wait_until(|running| running.receiver.forwarder.has_target())
        .await;
}

fn rules(_: &Received) -> Reply {
    Reply::http(200)
        .header("content-type", "application/json")
        .body(b"{\"SamplingRuleRecords\":[]}")
}

#[tokio::test(flavor = "multi_thread")]
async fn sampling_requests_are_signed_and_passed_on_without_the_connections_own_headers() {
    let peer = Peer::start(rules).await;
    let running = run(&config(&peer, ""), Sink::default()).await;
    ready(&running).await;
    let answer = post(&running, "/GetSamplingRules", "{}").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{\"SamplingRuleRecords\":[]}")
    );
    let request = &peer.requests()[0];
    assert_eq!(
        (request.path.as_str(), &request.body[..]),
        ("/GetSamplingRules", b"{}".as_slice())
    );
    let authorization = request.header("authorization");
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"),
        "{authorization}"
    );
    assert!(
        authorization.contains("/eu-central-1/xray/aws4_request"),
        "{authorization}"
    );
    assert!(
        authorization.contains("x-kept") && !authorization.contains("x-hop"),
        "{authorization}"
    );
    assert_eq!((request.header("x-hop"), request.header("x-kept")), ("", "2"));
    assert_eq!(running.count("xray_proxy_requests_total", "ok"), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_is_refused_here() {
    let peer = Peer::start(rules).await;
    let running = run(&config(&peer, ", allow_paths: [/Other]"), Sink::default()).await;
    ready(&running).await;
    for path in [
        "/TraceSummaries",
        "/",
        "/GetSamplingRules/",
        "/getsamplingrules",
        "/GetSamplingRules?x=1",
        "//GetSamplingRules",
    ] {
        let answer = post(&running, path, "{}").await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.contains("message"), "{}", answer.body);
    }
    assert!(peer.requests().is_empty());
    assert_eq!(post(&running, "/Other", "{}").await.status, 200);
    assert_eq!(running.count("xray_proxy_requests_total", "denied"), 6);
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(post(&running, "/SamplingTargets", &large).await.status, 413);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_make_one_call_for_rules_and_each_its_own_for_targets() {
    let peer = Peer::start(rules).await;
    let running = Arc::new(run(&config(&peer, ""), Sink::default()).await);
    ready(&running).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let running = Arc::clone(&running);
        clients.spawn(async move { post(&running, "/GetSamplingRules", "{}").await.status });
    }
    while let Some(status) = clients.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(peer.requests().len(), 1);
    for _ in 0..3 {
        post(&running, "/SamplingTargets", "{}").await;
    }
    assert_eq!(peer.requests().len(), 4);
    assert_eq!(running.count("xray_proxy_requests_total", "cached"), 49);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_rules_are_fetched_and_the_last_good_ones_serve_while_aws_fails() {
    let status = Arc::new(AtomicU16::new(200));
    let modified = Arc::new(AtomicU16::new(1));
    let (answers, changes) = (Arc::clone(&status), Arc::clone(&modified));
    let peer = Peer::start(move |request| {
        let status = answers.load(Ordering::Relaxed);
        if request.path == "/SamplingTargets" {
            let body = format!("{{\"LastRuleModification\":{}.5}}", changes.load(Ordering::Relaxed));
            return Reply::http(200).body(body.as_bytes());
        }
        Reply::http(status).body(format!("{status}").as_bytes())
    })
    .await;
    let running = run(&config(&peer, ""), Sink::default()).await;
    ready(&running).await;
    assert_eq!(post(&running, "/GetSamplingRules", "{}").await.body, "200");
    post(&running, "/SamplingTargets", "{}").await;
    status.store(503, Ordering::Relaxed);
    let cached = post(&running, "/GetSamplingRules", "{}").await;
    assert!(cached.status == 200 && !cached.stale);
    modified.store(2, Ordering::Relaxed);
    post(&running, "/SamplingTargets", "{}").await;
    let stale = post(&running, "/GetSamplingRules", "{}").await;
    assert!(stale.status == 200 && stale.stale && stale.body == "200");
    // What was never good is told as it is.
    assert_eq!(
        post(&running, "/GetSamplingRules", "{\"NextToken\":\"x\"}")
            .await
            .status,
        503
    );
    status.store(201, Ordering::Relaxed);
    let fresh = post(&running, "/GetSamplingRules", "{}").await;
    assert!(!fresh.stale && fresh.body == "201");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_region_the_reason_is_told_and_segments_are_taken() {
    // Neither the environment of the test nor the instance may answer: the region is looked for without them.
    let running = run("proxy_server: {local_mode: true, region: ''}", Sink::default()).await;
    if !running.receiver.forwarder.has_target() {
        let answer = post(&running, "/GetSamplingRules", "{}").await;
        assert_eq!(answer.status, 502);
        assert!(answer.body.contains("region"), "{}", answer.body);
        assert_eq!(running.count("xray_proxy_requests_total", "no_credentials"), 1);
    }
    running.send(&segment("a", 1, r#""end_time":2"#));
    running.wait_until(|running| running.names() == ["a"]).await;
    running.stop().await;
}
