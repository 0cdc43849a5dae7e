//! Debian's Alertmanager and its amtool: the same syntax, and real alerts. Says 'skipped' where they are not installed.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::super::dispatch_testing::told;
use super::*;
use crate::component::SystemClock;
use crate::net::client::test_peer::Reply;

fn is_installed(command: &str) -> bool {
    let ran = Command::new(command)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ran.is_ok_and(|status| status.success())
}

/// Ends with the test.
struct Alertmanager {
    process: Child,
    address: String,
    _place: tempfile::TempDir,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn get(address: &str, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ")
        .then(|| serde_json::from_str(body).ok())
        .flatten()
}

async fn start(webhook: &str) -> Alertmanager {
    let place = tempfile::tempdir().unwrap();
    let config = format!(
        "route: {{receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: 'http://{webhook}/'}}]}}]\n"
    );
    let file = place.path().join("alertmanager.yml");
    std::fs::write(&file, config).unwrap();
    for _ in 0..5 {
        // A free port; somebody may take it before Alertmanager does.
        let port = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", place.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut running = Alertmanager {
            process,
            address,
            _place: tempfile::tempdir().unwrap(),
        };
        for _ in 0..600 {
            if get(&running.address, "/api/v2/status").await.is_some() {
                running._place = place;
                return running;
            }
            if running.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    panic!("the Alertmanager does not start");
}

#[tokio::test]
async fn a_real_alertmanager_receives_groups_and_resolves_our_alerts() {
    if !is_installed("prometheus-alertmanager") {
        eprintln!("skipped: prometheus-alertmanager is not installed");
        return;
    }
    let hook = Peer::start(|_| Reply::http(200)).await;
    let alertmanager = start(&hook.address.to_string()).await;
    let context = BuildContext {
        clock: Arc::new(SystemClock),
        ..BuildContext::standalone(ComponentKind::Processor, "alerts")
    };
    let now = context.clock.now().seconds();
    let config = format!(
        "route: {{receiver: am}}\nreceivers: [{{name: am, alertmanager_configs: [{{urls: ['http://{}']}}]}}]",
        alertmanager.address
    );
    let notifier = notifier(&context, &config);
    let orders = told(
        "Throttled",
        &[("TableName", "orders"), ("severity", "critical")],
        now - 60,
        None,
    );
    let users = told(
        "Throttled",
        &[("TableName", "users"), ("severity", "critical")],
        now - 60,
        None,
    );
    let slow = told("Slow", &[("severity", "warning")], now - 60, None);
    tell(&notifier, &[&orders, &users, &slow]).await;
    // One group for each alert name, as its own route says. It may have told of the first before the second was there.
    let mut groups = BTreeMap::new();
    let whole = BTreeMap::from([("Slow".to_owned(), 1), ("Throttled".to_owned(), 2)]);
    for _ in 0..1_500 {
        for one in hook.requests() {
            let body = json(&one);
            assert_eq!(body["status"], "firing");
            let name = body["groupLabels"]["alertname"].as_str().unwrap().to_owned();
            groups.insert(name, body["alerts"].as_array().unwrap().len());
        }
        if groups == whole {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(groups, whole);
    let known = get(&alertmanager.address, "/api/v2/alerts").await.unwrap();
    let known = known.as_array().unwrap();
    assert_eq!(known.len(), 3);
    let ends: jiff::Timestamp = known[0]["endsAt"].as_str().unwrap().parse().unwrap();
    let left = ends.as_second() - context.clock.now().seconds() as i64;
    assert!((200..=240).contains(&left), "it takes them for over in {left} s");

    let ended = told(
        "Throttled",
        &[("TableName", "orders"), ("severity", "critical")],
        now - 60,
        Some(now - 1),
    );
    tell(&notifier, &[&ended, &users, &slow]).await;
    let mut resolved = None;
    for _ in 0..1_000 {
        let of_end = |one: &Received| {
            let body = json(one);
            let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
            alerts.into_iter().find(|alert| alert["status"] == "resolved")
        };
        resolved = hook.requests().iter().find_map(of_end);
        if resolved.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let resolved = resolved.expect("the Alertmanager says that it ended");
    assert_eq!(resolved["labels"]["TableName"], "orders");
    let ends: jiff::Timestamp = resolved["endsAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(ends.as_second(), now as i64 - 1, "the true end");
}

/// Routes, and whether Alertmanager takes them. `R` stands for the receivers `a` and `b`.
const CORPUS: &[(&str, bool)] = &[
    ("route: {receiver: a}\nR", true),
    ("route: {receiver: c}\nR", false),
    ("route: {}\nR", false),
    (
        "route: {receiver: a, group_by: [x, y], group_wait: 1s, group_interval: 1m, repeat_interval: 1d}\nR",
        true,
    ),
    ("route: {receiver: a, group_by: ['...']}\nR", true),
    ("route: {receiver: a, group_by: ['...', x]}\nR", false),
    ("route: {receiver: a, group_by: [x, x]}\nR", false),
    ("route: {receiver: a, group_by: [a-b]}\nR", false),
    ("route: {receiver: a, group_interval: 0s}\nR", false),
    ("route: {receiver: a, repeat_interval: 0s}\nR", false),
    ("route: {receiver: a, group_wait: 1.5h}\nR", false),
    ("route: {receiver: a, group_wait: 1h30m}\nR", true),
    ("route: {receiver: a, group_wait: 30m1h}\nR", false),
    ("route: {receiver: a, continue: true}\nR", false),
    ("route: {receiver: a, matchers: [x=y]}\nR", false),
    ("route: {receiver: a, match: {x: y}}\nR", false),
    (
        "route: {receiver: a, routes: [{matchers: [x=y], receiver: b, continue: true}]}\nR",
        true,
    ),
    (
        "route: {receiver: a, routes: [{matchers: ['x=~\"y|z\"', 'a!=b'], routes: [{match_re: {q: 'r.*'}}]}]}\nR",
        true,
    ),
    ("route: {receiver: a, routes: [{matchers: ['x=~\"(\"']}]}\nR", false),
    (
        "route: {receiver: a, routes: [{matchers: ['{x=\"y\", z=\"w\"}']}]}\nR",
        true,
    ),
    ("route: {receiver: a, routes: [{matchers: ['x']}]}\nR", false),
    ("route: {receiver: a, routes: [{matchers: ['x=\"a\"b\"']}]}\nR", false),
    ("route: {receiver: a, routes: [{matchers: ['1x=y']}]}\nR", false),
    ("route: {receiver: a, routes: [{receiver: nobody}]}\nR", false),
    ("route: {receiver: a, unknown: 1}\nR", false),
    (
        "route: {receiver: a, mute_time_intervals: [n]}\nR\ntime_intervals: [{name: n, time_intervals: []}]",
        false,
    ),
    (
        "route: {receiver: a, routes: [{mute_time_intervals: [n]}]}\nR\ntime_intervals: [{name: n, time_intervals: [{weekdays: ['monday:friday']}]}]",
        true,
    ),
    (
        "route: {receiver: a, routes: [{active_time_intervals: [n]}]}\nR\nmute_time_intervals: [{name: n, time_intervals: [{months: ['1:3', december]}]}]",
        true,
    ),
    (
        "route: {receiver: a, routes: [{mute_time_intervals: [m]}]}\nR\ntime_intervals: [{name: n, time_intervals: []}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{times: [{start_time: '09:00', end_time: '17:00'}], location: 'Europe/Berlin'}]}]",
        true,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{times: [{start_time: '17:00', end_time: '09:00'}]}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{times: [{start_time: '9:00', end_time: '24:00'}]}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{days_of_month: ['1:5', '-3:-1']}]}]",
        true,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{days_of_month: ['0']}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{days_of_month: ['-1:5']}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{weekdays: [someday]}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{months: ['march:january']}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: [{years: ['2026:2028'], location: 'Mars/Base'}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ntime_intervals: [{name: n, time_intervals: []}, {name: n, time_intervals: []}]",
        false,
    ),
    (
        "route: {receiver: a}\nR\ninhibit_rules: [{source_matchers: [x=y], target_matchers: [x=z], equal: [t]}]",
        true,
    ),
    (
        "route: {receiver: a}\nR\ninhibit_rules: [{source_match: {x: y}, target_match_re: {x: 'z|w'}}]",
        true,
    ),
    (
        "route: {receiver: a}\nR\ninhibit_rules: [{source_matchers: ['x=~\"(\"']}]",
        false,
    ),
    ("route: {receiver: a}\nR\ninhibit_rules: [{source: [x=y]}]", false),
    ("route: {receiver: a}\nreceivers: [{name: a}, {name: a}]", false),
    (
        "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'http://x/', max_alerts: 3, send_resolved: false}]}]",
        true,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'http://x/', http_config: {basic_auth: {username: u, password: p}}}]}]",
        true,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url: 'http://x/', channel: '#c', title: '{{ .Status | toUpper }}'}]}]",
        true,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{channel: '#c'}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key: k, details: {a: b}}]}]",
        true,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{}]}]",
        false,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, sns_configs: [{topic_arn: 'arn:aws:sns:eu-west-1:123456789012:t', sigv4: {region: eu-west-1}}]}]",
        true,
    ),
    (
        "route: {receiver: a}\nreceivers: [{name: a, sns_configs: [{sigv4: {region: eu-west-1}}]}]",
        false,
    ),
];

#[test]
fn amtool_takes_and_refuses_the_same_configurations() {
    let is_here = is_installed("amtool");
    if !is_here {
        eprintln!("skipped: amtool is not installed; our own side is checked all the same");
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("alertmanager.yml");
    for (text, expected) in CORPUS {
        let text = text.replace("\nR", "\nreceivers: [{name: a}, {name: b}]");
        let section = Section::from_yaml(&text);
        let _ = Settings::read(&section);
        let problems = section.problems();
        assert_eq!(problems.is_empty(), *expected, "{text}: {problems:?}");
        if is_here {
            std::fs::write(&file, &text).unwrap();
            let ran = Command::new("amtool").arg("check-config").arg(&file).output().unwrap();
            assert_eq!(
                ran.status.success(),
                *expected,
                "amtool: {text}: {}",
                String::from_utf8_lossy(&ran.stdout)
            );
        }
    }
}
