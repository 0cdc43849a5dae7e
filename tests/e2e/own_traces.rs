//! `service::telemetry::traces`: the agent's own spans arrive at another agent, and sending them makes no more of them.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::far_end::FarEnd;
use crate::support::telemetry::{Kind, Told, send_http};
use crate::support::{Agent, file, free_ports};

/// Receives spans by gRPC and writes them to `out.json`.
fn collector(port: u16, path: &str) -> String {
    format!(
        r#"
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{file: {{path: "{path}", flush_interval: 50ms}}}}
service:
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
"#
    )
}

fn traced(port: u16, live: &FarEnd, spans_to: u16) -> String {
    format!(
        r#"
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
processors: {{batch: {{timeout: 10ms}}}}
exporters: {{otlphttp: {{endpoint: "http://{live}", compression: none}}}}
service:
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry:
    metrics: {{level: none}}
    resource: {{service.name: traced}}
    traces:
      processors:
      - batch: {{schedule_delay: 50, exporter: {{otlp: {{protocol: grpc, endpoint: "http://127.0.0.1:{spans_to}"}}}}}}
  pipelines: {{traces: {{receivers: [otlp], processors: [batch], exporters: [otlphttp]}}}}
"#,
        live = live.address,
    )
}

/// How often each span name stands in the file, all of them from the agent called `traced`.
fn span_names(path: &std::path::Path) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let request: serde_json::Value = serde_json::from_str(line).unwrap();
        for group in request["resourceSpans"].as_array().unwrap() {
            assert!(group["resource"].to_string().contains("traced"), "{group}");
            for scope in group["scopeSpans"].as_array().unwrap() {
                for span in scope["spans"].as_array().unwrap() {
                    *names.entry(span["name"].as_str().unwrap().to_owned()).or_default() += 1;
                }
            }
        }
    }
    names
}

/// The names once nothing has been added for a second: twenty rounds of the agent's own sender.
fn at_rest(path: &std::path::Path) -> BTreeMap<String, usize> {
    let mut names = span_names(path);
    let mut unchanged = 0;
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(50));
        let now = span_names(path);
        unchanged = if now == names && !now.is_empty() {
            unchanged + 1
        } else {
            0
        };
        names = now;
        if unchanged == 20 {
            return names;
        }
    }
    panic!("spans keep coming: {names:?}");
}

#[test]
fn spans_of_the_agent_arrive_and_sending_them_makes_none() {
    let live = FarEnd::start();
    let ports = free_ports(2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.json");
    let mut second = Agent::ready(&collector(ports[0], path.to_str().unwrap()));
    let mut first = Agent::ready(&traced(ports[1], &live, ports[0]));
    for request in 0..20u64 {
        let body = Kind::Traces.request(request * 10 + 1..request * 10 + 11, |_| false);
        assert_eq!(send_http(ports[1], Kind::Traces, &body), Told::Ok);
    }
    live.wait_for(200);
    // Each sending of spans would make more of them, so that they never came to rest.
    let names = at_rest(&path);
    assert_eq!(
        names.get("receiver/otlp/traces"),
        Some(&20),
        "one for each request: {names:?}"
    );
    assert!(names.contains_key("processor/batch/traces"), "{names:?}");
    assert!(names.contains_key("exporter/otlphttp/traces"), "{names:?}");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.exit_code(), Some(0), "{}", first.said());
    assert!(!first.said().contains("\terror\t"), "{}", first.said());
    second.signal(Signal::SIGTERM);
    assert_eq!(second.exit_code(), Some(0), "{}", second.said());
}

#[test]
fn the_last_spans_are_sent_at_the_stop() {
    let live = FarEnd::start();
    let ports = free_ports(2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.json");
    let mut second = Agent::ready(&collector(ports[0], path.to_str().unwrap()));
    let slow = traced(ports[1], &live, ports[0]).replace("schedule_delay: 50,", "schedule_delay: 3600000,");
    let mut first = Agent::ready(&slow);
    let body = Kind::Traces.request(1..11, |_| false);
    assert_eq!(send_http(ports[1], Kind::Traces, &body), Told::Ok);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.exit_code(), Some(0), "{}", first.said());
    second.signal(Signal::SIGTERM);
    assert_eq!(second.exit_code(), Some(0), "{}", second.said());
    let names = span_names(&path);
    assert_eq!(names.get("receiver/otlp/traces"), Some(&1), "{names:?}");
    assert_eq!(names.get("exporter/otlphttp/traces"), Some(&1), "{names:?}");
}

#[test]
fn what_the_file_exporter_has_taken_is_in_the_file_after_a_stop() {
    let ports = free_ports(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.json");
    let config = collector(ports[0], path.to_str().unwrap()).replace("50ms", "1h");
    let mut agent = Agent::ready(&config);
    let client = crate::support::telemetry::GrpcClient::new(ports[0]);
    for id in 1..=50u64 {
        let body = Kind::Traces.request(id..id + 1, |_| false);
        assert_eq!(client.send(Kind::Traces, &body), Told::Ok);
    }
    drop(client);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 50);
    assert!(!file(&agent, "out.json").exists());
}
