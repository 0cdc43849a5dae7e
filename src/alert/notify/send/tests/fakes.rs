use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json as value;

use super::super::super::dispatch_testing::{told, told_escalating};
use super::super::webhook::sign;
use super::*;
use crate::component::Running;
use crate::net::client::test_peer::Reply;

const ROUTE: &str = "route: {receiver: x, group_wait: 0s, group_interval: 1m}";
const LABELS: &[(&str, &str)] = &[
    ("severity", "critical"),
    ("region", "eu-central-1"),
    ("TableName", "orders"),
];

#[tokio::test]
async fn a_webhook_gets_alertmanagers_body_signed_and_again_until_it_takes_it() {
    let failures = AtomicUsize::new(2);
    let peer = Peer::start(move |_| {
        let fails = failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        Reply::http(if fails { 503 } else { 200 })
    })
    .await;
    let context = context();
    let config = format!(
        "{ROUTE}\nlinks: {{external_url: 'http://agent:4320/'}}\nreceivers: [{{name: x, webhook_configs: [{{url: \
         'http://{}/hook', secret: s3cret, headers: {{x-team: ops}}}}]}}]",
        peer.address
    );
    let notifier = notifier(&context, &config);
    let mut alert = told_escalating("Throttled", LABELS, START, None, &[(900, "x")]);
    alert.pattern = "burst".to_owned();
    alert.traces = vec!["5759e988bd862e3fe1be46a994272793".to_owned()];
    tell(&notifier, &[&alert]).await;
    let got = requests(&peer, 3).await;
    assert_eq!(got[0].header("idempotency-key"), got[2].header("idempotency-key"));
    let last = &got[2];
    assert_eq!(last.header("x-team"), "ops");
    let seconds: u64 = last.header("x-radiosonde-timestamp").parse().unwrap();
    assert!(seconds >= START);
    let secret = crate::config::types::Secret::new("s3cret");
    assert_eq!(
        last.header("x-radiosonde-signature"),
        sign(&secret, seconds, &last.body)
    );
    assert_ne!(
        last.header("x-radiosonde-signature"),
        sign(&secret, seconds + 1, &last.body)
    );

    let body = json(last);
    assert_eq!(body["version"], "4");
    assert_eq!(body["status"], "firing");
    assert_eq!(body["receiver"], "x");
    assert_eq!(
        body["groupLabels"],
        value!({"alertname": "Throttled", "region": "eu-central-1"})
    );
    let one = &body["alerts"][0];
    assert_eq!(one["startsAt"], "2026-11-20T00:00:00Z");
    assert_eq!(one["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(one["fingerprint"], format!("{:016x}", alert.fingerprint()));
    let more = &one["radiosonde"];
    assert_eq!(more["pattern"], "burst");
    assert_eq!(more["resolution_steps"], value!(["look", "act"]));
    assert_eq!(more["escalation"], value!(["15m0s: x"]));
    assert_eq!(more["contact"], "team");
    assert_eq!(more["links"]["runbook"], "https://runbook.example/x");
    assert_eq!(
        more["links"]["silence"],
        format!("http://agent:4320/alerts/{:016x}", alert.fingerprint())
    );
    assert!(
        more["links"]["traces"][0]
            .as_str()
            .unwrap()
            .contains("1-5759e988-bd862e3fe1be46a994272793")
    );
    notifier
        .stop(crate::component::Deadline::after(Duration::from_secs(5)))
        .await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_is_left_for_the_next() {
    let gone = Peer::start(|_| Reply::http(410)).await;
    let next = Peer::start(|_| Reply::http(200)).await;
    let context = context();
    let config = format!(
        "{ROUTE}\nreceivers: [{{name: x, fallback: y, webhook_configs: [{{url: 'http://{}/'}}]}}, {{name: y, \
         webhook_configs: [{{url: 'http://{}/'}}]}}]",
        gone.address, next.address
    );
    let notifier = notifier(&context, &config);
    tell(&notifier, &[&told("A", LABELS, START, None)]).await;
    let got = requests(&next, 1).await;
    assert_eq!(json(&got[0])["receiver"], "y");
    assert_eq!(gone.requests().len(), 1);
}

#[tokio::test]
async fn slack_gets_escaped_text_by_a_webhook() {
    let peer = Peer::start(|_| Reply::http(200).body(b"ok")).await;
    let context = context();
    let config = format!(
        "{ROUTE}\nreceivers: [{{name: x, slack_configs: [{{api_url: 'http://{}/services/T/B/x', channel: '#ops', text: \
         '<!here> {{{{ .CommonAnnotations.summary }}}}'}}]}}]",
        peer.address
    );
    let notifier = notifier(&context, &config);
    let mut alert = told("A", LABELS, START, None);
    alert.annotations = vec![("summary".to_owned(), "<!channel> & <http://evil|x>".to_owned())];
    tell(&notifier, &[&alert]).await;
    let got = requests(&peer, 1).await;
    let body = json(&got[0]);
    assert_eq!(got[0].path, "/services/T/B/x");
    assert_eq!(body["channel"], "#ops");
    let shown = &body["attachments"][0];
    assert_eq!(shown["text"], "<!here> &lt;!channel&gt; &amp; &lt;http://evil|x&gt;");
    assert_eq!(shown["color"], "danger");
    assert!(
        shown["title"]
            .as_str()
            .unwrap()
            .starts_with("[FIRING] A (critical): &lt;!channel&gt;"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_bot_of_slack_edits_its_message_in_place() {
    let peer = Peer::start(|request| {
        let said = match request.path.as_str() {
            "/api/chat.postMessage" | "/api/chat.update" => r#"{"ok":true,"channel":"C1","ts":"17.42"}"#,
            _ => r#"{"ok":false,"error":"unknown_method"}"#,
        };
        Reply::http(200).body(said.as_bytes())
    })
    .await;
    let context = context();
    let config = format!(
        "{ROUTE}\nreceivers: [{{name: x, slack_configs: [{{api_url: 'http://{}/api/', bot_token: xoxb-1, channel: C1}}]}}]",
        peer.address
    );
    let notifier = notifier(&context, &config);
    tell(&notifier, &[&told("A", LABELS, START, None)]).await;
    requests(&peer, 1).await;
    tell(&notifier, &[&told("A", LABELS, START, Some(START + 30))]).await;
    let got = requests(&peer, 2).await;
    assert_eq!(got[0].header("authorization"), "Bearer xoxb-1");
    assert_eq!(got[1].path, "/api/chat.update");
    let body = json(&got[1]);
    assert_eq!((&body["channel"], &body["ts"]), (&value!("C1"), &value!("17.42")));
    assert_eq!(body["attachments"][0]["color"], "good");
}

#[tokio::test]
async fn pagerduty_gets_an_incident_an_alert_with_trigger_acknowledge_and_resolve() {
    let peer = Peer::start(|_| Reply::http(202).body(br#"{"status":"success"}"#)).await;
    let context = context();
    let config = format!(
        "{ROUTE}\nreceivers: [{{name: x, pagerduty_configs: [{{routing_key: key, url: 'http://{}/v2/enqueue', details: \
         {{team: '{{{{ .CommonLabels.TableName }}}}'}}}}]}}]",
        peer.address
    );
    let notifier = notifier(&context, &config);
    let alert = told_escalating("A", LABELS, START, None, &[]);
    tell(&notifier, &[&alert]).await;
    requests(&peer, 1).await;
    let core = context.commons.get::<super::super::super::Desk>();
    let api = super::super::super::router(core, Some(crate::config::types::Secret::new("t")));
    let request = http::Request::post(format!("/alerts/{:016x}/ack", alert.fingerprint()))
        .header("authorization", "Bearer t")
        .body(axum::body::Body::from(r#"{"by": "ann"}"#))
        .unwrap();
    let answer = tower::ServiceExt::oneshot(api, request).await.unwrap();
    assert_eq!(answer.status(), 200);
    requests(&peer, 3).await;
    tell(
        &notifier,
        &[&told_escalating("A", LABELS, START, Some(START + 30), &[])],
    )
    .await;
    let got = requests(&peer, 4).await;
    let actions: Vec<String> = got
        .iter()
        .map(|one| json(one)["event_action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["trigger", "trigger", "acknowledge", "resolve"]);
    let first = json(&got[0]);
    assert!(
        got.iter()
            .all(|one| json(one)["dedup_key"] == first["dedup_key"] && json(one)["routing_key"] == "key")
    );
    assert_eq!(first["dedup_key"], format!("{:016x}", alert.fingerprint()));
    assert_eq!(first["payload"]["severity"], "critical");
    assert_eq!(first["payload"]["source"], "orders");
    assert_eq!(first["payload"]["custom_details"]["team"], "orders");
    assert_eq!(
        first["payload"]["custom_details"]["resolution_steps"],
        value!(["look", "act"])
    );
    assert!(
        first["links"]
            .as_array()
            .unwrap()
            .iter()
            .any(|link| link["text"] == "console")
    );
}

#[tokio::test]
async fn every_peer_of_an_alertmanager_is_told_each_minute_and_of_the_true_end() {
    let down = Arc::new(Mutex::new(true));
    let is_down = Arc::clone(&down);
    let a = Peer::start(|_| Reply::http(200)).await;
    let b = Peer::start(move |_| Reply::http(if *is_down.lock().unwrap() { 500 } else { 200 })).await;
    let context = context();
    let config = format!(
        "{ROUTE}\nreceivers: [{{name: x, alertmanager_configs: [{{urls: ['http://{}', 'http://{}/sub']}}]}}]",
        a.address, b.address
    );
    let notifier = notifier(&context, &config);
    let alert = told_escalating("A", LABELS, START, None, &[]);
    tell(&notifier, &[&alert]).await;
    // Nothing changes: it is told again by itself.
    let got = requests(&a, 3).await;
    assert_eq!(got[0].path, "/api/v2/alerts");
    let time =
        |text: &serde_json::Value| -> i64 { text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second() };
    let ends: Vec<i64> = got.iter().map(|one| time(&json(one)[0]["endsAt"])).collect();
    let told = json(&got[0]);
    assert_eq!(told[0]["startsAt"], "2026-11-20T00:00:00Z");
    assert_eq!(told[0]["annotations"]["resolution_steps"], "1. look\n2. act");
    assert!((ends[0] - START as i64) >= 240, "{ends:?}");
    let apart = ends[2] - ends[1];
    assert!((59..240).contains(&apart), "told again after {apart} s");
    let over = told_escalating("A", LABELS, START, Some(START + 77), &[]);
    tell(&notifier, &[&over]).await;
    let of_end = |one: &Received| time(&json(one)[0]["endsAt"]) == START as i64 + 77;
    for _ in 0..1_000 {
        if a.requests().iter().any(of_end) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(a.requests().iter().any(of_end));
    // The other one was away all the time and hears of the end when it is back.
    *down.lock().unwrap() = false;
    for _ in 0..1_500 {
        if b.requests().last().is_some_and(of_end) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(b.requests().last().is_some_and(of_end));
    assert_eq!(b.requests()[0].path, "/sub/api/v2/alerts");
}
