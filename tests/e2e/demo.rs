//! `radiosonde demo` as a newcomer meets it: what it shows, what it sends on, how it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::support::{Agent, PATIENCE, file, free_ports, http};

/// The demo under way.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    errors: Option<JoinHandle<String>>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
            .arg("demo")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = sync_channel(100_000);
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
            errors: Some(errors),
        }
    }

    /// The next line that contains `text`.
    fn line_with(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {text:?} ({error}); it said:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Waits for the end: exit code, all lines, standard error.
    fn end(&mut self) -> (Option<i32>, String, String) {
        self.seen.extend(self.lines.iter());
        let code = self.child.wait().unwrap().code();
        let errors = self.errors.take().unwrap().join().unwrap();
        (code, self.seen.join("\n"), errors)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The port behind `name` in a line of the banner.
fn port_after(line: &str, name: &str) -> u16 {
    let rest = line
        .split_once(name)
        .unwrap_or_else(|| panic!("{name:?} in {line:?}"))
        .1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("a port in {line:?}"))
}

#[test]
fn a_throttled_table_shows_with_its_alert_and_the_same_goes_to_another_agent() {
    let ports = free_ports(2);
    let mut backend = Agent::ready(&format!(
        "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: 127.0.0.1:{}\n\
         exporters:\n  file:\n    path: ${{env:HOME}}/out.jsonl\n\
         \x20 file/traces:\n    path: ${{env:HOME}}/traces.jsonl\n\
         service:\n  admin:\n    endpoint: 127.0.0.1:{}\n  telemetry:\n    metrics:\n      level: none\n\
         \x20 pipelines:\n    metrics:\n      receivers: [otlp]\n      exporters: [file]\n\
         \x20   traces:\n      receivers: [otlp]\n      exporters: [file/traces]\n\
         \x20   logs:\n      receivers: [otlp]\n      exporters: [file]\n",
        ports[0], ports[1],
    ));
    let mut demo = Demo::start(&[
        "--duration",
        "30s",
        "--exporter",
        &format!("otlp=127.0.0.1:{}", ports[0]),
    ]);
    let listening = demo.line_with("OTLP/HTTP on 127.0.0.1:");
    let admin = demo.line_with("admin API on 127.0.0.1:");
    demo.line_with("Ctrl-C ends.");

    let alert = demo.line_with("ALERT [CRITICAL] DynamoDBThrottledRequests");
    assert!(!alert.contains('\u{1b}'), "{alert}");
    let summary = demo.line_with(" requests throttled within 5 minutes");
    assert!(summary.starts_with("  orders: "), "{summary}");
    for number in 1..=3 {
        demo.line_with(&format!("  {number}. "));
    }
    // Used capacity and throttles of a minute settle on their own; on a busy machine not in the same line at once.
    let is_throttled = |line: &&String| line.contains("<- throttled") && line.contains("100 % of 100/s");
    while demo.seen.iter().find(is_throttled).is_none() {
        demo.line_with("<- throttled");
    }
    let throttled = demo.seen.iter().find(is_throttled).unwrap();
    let words: Vec<&str> = throttled.split_whitespace().collect();
    assert!(words.contains(&"orders"), "{throttled}");
    assert!(throttled.contains(" ms "), "p99 in {throttled}");

    let record = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello from a test"}}]}]}]}"#;
    let port = port_after(&listening, "OTLP/HTTP on 127.0.0.1:");
    let answer = http(port, "POST", "/v1/logs", "application/json", record.as_bytes()).unwrap();
    assert_eq!(answer.0, 200, "{}", answer.1);
    demo.line_with("hello from a test");

    let url = format!("127.0.0.1:{}", port_after(&admin, "admin API on 127.0.0.1:"));
    let status = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
        .args(["status", "--url", &url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&status.stdout);
    assert_eq!(status.status.code(), Some(0), "{text}");
    assert!(text.contains("alerts") && text.contains("metrics/dynamodb"), "{text}");
    check_page(port_after(&admin, "admin API on 127.0.0.1:"));

    let (code, lines, errors) = demo.end();
    assert_eq!(code, Some(0), "{lines}\n{errors}");
    assert_eq!(errors, "", "no log between the lines");
    assert!(lines.contains("stopped. CloudWatch was asked "), "{lines}");
    let forgotten = "traces that X-Ray will forget: 1 archived, 1 with an empty copy, 1 due, 1 at risk";
    assert!(lines.contains(forgotten), "{lines}");
    assert!(!lines.contains("settings  "), "the filtered table: {lines}");

    backend.signal(Signal::SIGTERM);
    assert_eq!(backend.exit_code(), Some(0));
    let text = std::fs::read_to_string(file(&backend, "out.jsonl")).unwrap();
    check_metrics(&text);
    check_traces(&std::fs::read_to_string(file(&backend, "traces.jsonl")).unwrap());
}

/// What the page reads: the alert with its steps, the simulated application's traces, the tables.
fn check_page(port: u16) {
    let get = |path: &str| -> Json {
        let (status, body) = http(port, "GET", path, "text/plain", b"").unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    };
    let alerts = get("/api/v1/alerts?source=rule&state=firing&rule=DynamoDBThrottledRequests");
    let steps = alerts["alerts"][0]["fix"].as_array().unwrap();
    assert!(steps.len() >= 3, "{alerts}");
    assert!(get("/api/v1/traces")["total"].as_u64().unwrap() > 0);
    let aws = get("/api/v1/aws");
    let tables = aws["tables"].as_array().unwrap();
    let orders = tables
        .iter()
        .find(|table| table["table"] == "orders" && table["index"].is_null());
    let orders = orders.unwrap();
    assert!(orders["throttles"].as_f64().unwrap() > 0.0, "{aws}");
    let used = orders["utilisation"].as_f64().unwrap();
    assert!((0.05..3.0).contains(&used), "a share of one: {used}");
    assert!(!aws["endpoints"].as_array().unwrap().is_empty(), "{aws}");
    let pipeline = get("/api/v1/pipeline");
    let ids = pipeline["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap());
    assert!(ids.collect::<Vec<_>>().contains(&"devstore"), "{pipeline}");
    let (status, page) = http(port, "GET", "/", "text/html", b"").unwrap();
    assert!(status == 200 && page.contains("<html"), "{page}");
}

#[test]
fn ctrl_c_ends_it_in_order_and_other_ports_stand_in_for_taken_ones() {
    // Whoever else holds one of them serves as well.
    let _held: Vec<_> = [4317, 4318, 4320]
        .iter()
        .filter_map(|port| TcpListener::bind(("127.0.0.1", *port)).ok())
        .collect();
    let mut demo = Demo::start(&[]);
    let listening = demo.line_with("OTLP/HTTP on 127.0.0.1:");
    assert!(
        listening.contains("(4317 is taken)") && listening.contains("(4318 is taken)"),
        "{listening}"
    );
    let admin = demo.line_with("admin API on 127.0.0.1:");
    assert!(admin.contains("(4320 is taken)"), "{admin}");
    demo.line_with("orders");
    let port = port_after(&listening, "OTLP/HTTP on 127.0.0.1:");
    let answer = http(port, "POST", "/v1/traces", "application/json", b"{}").unwrap();
    assert_eq!(answer.0, 200);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(demo.child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGINT).unwrap();
    let (code, lines, errors) = demo.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{lines}");
    assert!(lines.contains("stopping ...\nstopped. "), "{lines}");
}

/// A metric as it came, with the attributes of its resource and the name of its scope.
struct Came<'a> {
    resource: BTreeMap<&'a str, &'a str>,
    scope: &'a str,
    metric: &'a Json,
}

fn attributes(list: &Json) -> BTreeMap<&str, &str> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .map(|entry| {
            (
                entry["key"].as_str().unwrap(),
                entry["value"]["stringValue"].as_str().unwrap(),
            )
        })
        .collect()
}

fn came(requests: &[Json]) -> Vec<Came<'_>> {
    let mut all = Vec::new();
    for resource in requests
        .iter()
        .flat_map(|request| request["resourceMetrics"].as_array().unwrap())
    {
        for scope in resource["scopeMetrics"].as_array().unwrap() {
            for metric in scope["metrics"].as_array().unwrap() {
                all.push(Came {
                    resource: attributes(&resource["resource"]["attributes"]),
                    scope: scope["scope"]["name"].as_str().unwrap(),
                    metric,
                });
            }
        }
    }
    all
}

/// 64-bit numbers are strings in OTLP/JSON.
fn integer(value: &Json) -> i64 {
    value
        .as_str()
        .map_or_else(|| value.as_i64().unwrap(), |text| text.parse().unwrap())
}

fn points<'a>(came: &'a Came<'_>, kind: &str) -> &'a [Json] {
    let points = came.metric[kind]["dataPoints"].as_array();
    points
        .unwrap_or_else(|| panic!("{} is no {kind}", came.metric))
        .as_slice()
}

/// The typed form: resource, scope, unit, period, temporality, histogram without bounds, percentiles beside it.
/// The traces of the simulated application came whole: every span once, failed ones among them.
fn check_traces(text: &str) {
    let mut ids = std::collections::BTreeSet::new();
    let (mut spans, mut failed) = (0, 0);
    for line in text.lines() {
        let request: Json = serde_json::from_str(line).unwrap();
        for resource in request["resourceSpans"].as_array().unwrap() {
            for scope in resource["scopeSpans"].as_array().unwrap() {
                for span in scope["spans"].as_array().unwrap() {
                    spans += 1;
                    failed += usize::from(span["status"]["code"] == 2);
                    ids.insert((span["traceId"].to_string(), span["spanId"].to_string()));
                }
            }
        }
    }
    assert!(spans > 50 && failed > 0, "{spans} spans, {failed} failed");
    assert_eq!(ids.len(), spans, "none twice");
}

fn check_metrics(text: &str) {
    let requests = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let (requests, logs): (Vec<Json>, Vec<Json>) = requests.partition(|request| request.get("resourceLogs").is_none());
    assert_eq!(logs.len(), 1, "the record that was sent to the demo");
    let all = came(&requests);
    let orders = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders";
    let of = |name: &str| -> Vec<&Came<'_>> {
        let found: Vec<&Came<'_>> = all
            .iter()
            .filter(|came| came.metric["name"] == name && came.resource.get("cloud.resource_id") == Some(&orders))
            .collect();
        assert!(!found.is_empty(), "no {name}");
        found
    };
    let prefix = "amazonaws.com/AWS/DynamoDB";
    let resource = BTreeMap::from([
        ("cloud.provider", "aws"),
        ("cloud.account.id", "111122223333"),
        ("cloud.region", "eu-central-1"),
        ("cloud.resource_id", orders),
        ("db.system.name", "aws.dynamodb"),
    ]);
    let mut greatest: f64 = 0.0;
    for came in of(&format!("{prefix}/WriteThrottleEvents")) {
        assert_eq!(came.resource, resource);
        assert_eq!(came.scope, "radiosonde/dynamodb");
        assert_eq!(came.metric["unit"], "{Count}");
        assert_eq!(integer(&came.metric["sum"]["aggregationTemporality"]), 1, "delta");
        assert_eq!(came.metric["sum"]["isMonotonic"], true);
        for point in points(came, "sum") {
            let (start, time) = (integer(&point["startTimeUnixNano"]), integer(&point["timeUnixNano"]));
            assert_eq!((time - start, start % 60_000_000_000), (60_000_000_000, 0));
            greatest = greatest.max(point["asDouble"].as_f64().unwrap());
        }
    }
    assert!(greatest > 1_000.0, "{greatest}");
    let latency = format!("{prefix}/SuccessfulRequestLatency");
    for came in of(&latency) {
        assert_eq!(came.metric["unit"], "ms");
        assert_eq!(integer(&came.metric["histogram"]["aggregationTemporality"]), 1);
        for point in points(came, "histogram") {
            let buckets = point["bucketCounts"].as_array().unwrap();
            assert_eq!(buckets.len(), 1, "{point}");
            assert_eq!(integer(&buckets[0]), integer(&point["count"]));
            assert!(point["explicitBounds"].as_array().is_none_or(Vec::is_empty), "{point}");
            assert!(point["sum"].as_f64().unwrap() > 0.0);
        }
    }
    for came in of(&format!("{latency}.p99")) {
        assert_eq!(came.metric["unit"], "ms");
        assert!(
            points(came, "gauge")
                .iter()
                .all(|point| attributes(&point["attributes"]).contains_key("Operation"))
        );
    }
    let mut parts = BTreeSet::new();
    for came in of("aws.dynamodb.capacity.utilization") {
        assert_eq!(
            (came.scope, &came.metric["unit"]),
            ("radiosonde/derived", &Json::from("%"))
        );
        for point in points(came, "gauge") {
            let labels = attributes(&point["attributes"]);
            assert_eq!((labels["TableName"], labels["Basis"]), ("orders", "provisioned"));
            let value = point["asDouble"].as_f64().unwrap();
            assert!((0.0..=101.0).contains(&value), "{point}");
            parts.insert((labels.get("GlobalSecondaryIndexName").copied(), labels["Direction"]));
        }
    }
    for part in [
        (None, "Read"),
        (None, "Write"),
        (Some("by-customer"), "Read"),
        (Some("by-customer"), "Write"),
    ] {
        assert!(parts.contains(&part), "{part:?} in {parts:?}");
    }
    check_identities(&all);
}

/// Every point once, none of the filtered table.
fn check_identities(all: &[Came<'_>]) {
    let mut seen = BTreeSet::new();
    for came in all
        .iter()
        .filter(|came| came.metric["name"].as_str().unwrap().starts_with("amazonaws.com/"))
    {
        let kinds = ["sum", "gauge", "histogram"];
        let kind = kinds.into_iter().find(|kind| came.metric.get(*kind).is_some()).unwrap();
        for point in points(came, kind) {
            let labels = attributes(&point["attributes"]);
            assert_ne!(labels.get("TableName"), Some(&"settings"));
            let identity = format!(
                "{:?}{}{labels:?}{}",
                came.resource, came.metric["name"], point["startTimeUnixNano"]
            );
            assert!(seen.insert(identity), "twice: {} {point}", came.metric["name"]);
        }
    }
    assert!(seen.len() > 500, "{}", seen.len());
}
