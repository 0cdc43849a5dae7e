//! The whole process: configuration, data, metrics, reload, drain, exit codes.

// All of it is test code: helpers may fail a test, say what they saw, and measure a real process by the real clock.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

#[path = "../support/mod.rs"]
mod support;

mod accounting;
mod canary;
#[cfg(all(feature = "aws", feature = "simulator"))]
mod demo;
mod dev;
mod durable;
mod hostile;
mod own_traces;
mod page;
mod reload;
#[cfg(all(feature = "aws", feature = "simulator"))]
mod retention;
mod shutdown;
mod statuses;

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use support::{Agent, free_ports, http, sum_of};

/// OTLP in over HTTP, batch, nop out; every port of its own.
fn config(ports: &[u16], batch_timeout: &str) -> String {
    format!(
        "receivers:\n  otlp:\n    protocols:\n      http:\n        endpoint: 127.0.0.1:{otlp}\n\
         processors:\n  batch:\n    timeout: {batch_timeout}\n\
         exporters:\n  nop:\n\
         extensions:\n  health_check:\n    endpoint: 127.0.0.1:{health}\n\
         service:\n  extensions: [health_check]\n  admin:\n    endpoint: 127.0.0.1:{admin}\n\
         \x20 telemetry:\n    metrics:\n      readers:\n      - pull:\n          exporter:\n            prometheus:\n\
         \x20             host: 127.0.0.1\n              port: {metrics}\n\
         \x20 pipelines:\n    traces:\n      receivers: [otlp]\n      processors: [batch]\n      exporters: [nop]\n",
        otlp = ports[0],
        health = ports[1],
        admin = ports[2],
        metrics = ports[3],
    )
}

fn spans(count: usize) -> Vec<u8> {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /".to_owned(),
        ..Span::default()
    };
    let scope = ScopeSpans {
        spans: vec![span; count],
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![resource],
    };
    request.encode_to_vec()
}

fn send(port: u16, count: usize) -> u16 {
    http(port, "POST", "/v1/traces", "application/x-protobuf", &spans(count))
        .unwrap()
        .0
}

fn get(port: u16, path: &str) -> (u16, String) {
    http(port, "GET", path, "text/plain", b"").unwrap()
}

#[test]
fn data_goes_through_and_the_accounting_closes() {
    let ports = free_ports(4);
    let mut agent = Agent::ready(&config(&ports, "10ms"));
    for _ in 0..20 {
        assert_eq!(send(ports[0], 50), 200);
    }
    // What a batch still holds is in flight; with everything delivered the sum has to be exact.
    let mut metrics = String::new();
    for _ in 0..500 {
        metrics = get(ports[3], "/metrics").1;
        if sum_of(&metrics, "otelcol_exporter_sent_spans") >= 1000.0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let accepted = sum_of(&metrics, "otelcol_receiver_accepted_spans");
    let delivered = sum_of(&metrics, "otelcol_exporter_sent_spans");
    let dropped = sum_of(&metrics, "otelcol_dropped_items");
    let discarded = sum_of(&metrics, "radiosonde_discarded_items");
    assert_eq!(accepted, 1000.0, "{metrics}");
    assert_eq!(accepted, delivered + dropped + discarded, "{metrics}");
    assert_eq!(
        sum_of(&metrics, "otelcol_processor_incoming_items"),
        1000.0,
        "{metrics}"
    );

    let (code, status) = get(ports[2], "/api/v1/status");
    assert_eq!(code, 200);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["ready"], true);
    assert_eq!(get(ports[1], "/").0, 200);
    let (code, said) = status_command(ports[2]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("pipeline traces: otlp > batch > nop"), "{said}");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    assert_eq!(status_command(ports[2]).0, Some(3), "nobody answers any more");
}

fn status_command(port: u16) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(support::binary());
    let output = command
        .args(["status", "--endpoint", &format!("127.0.0.1:{port}")])
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn sigterm_drains_what_a_batch_holds_and_ends_with_zero() {
    let ports = free_ports(4);
    let mut agent = Agent::ready(&config(&ports, "1h"));
    assert_eq!(send(ports[0], 10), 200);
    let before = get(ports[3], "/metrics").1;
    assert_eq!(
        sum_of(&before, "otelcol_exporter_sent_spans"),
        0.0,
        "the batch waits for an hour"
    );
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
    let said = agent.said();
    assert!(said.contains("Starting shutdown..."), "{said}");
    assert!(said.contains("Shutdown complete."), "{said}");
    assert!(!said.contains("\terror\t"), "{said}");
}

#[test]
fn sighup_takes_a_new_configuration_and_keeps_the_old_one_when_it_is_invalid() {
    let ports = free_ports(4);
    let mut agent = Agent::ready(&config(&ports, "10ms"));
    assert_eq!(send(ports[0], 1), 200);
    agent.rewrite("receivers: {otpl: }\n");
    agent.signal(Signal::SIGHUP);
    agent.wait_for("The new configuration is invalid. Running on with the old one.");
    let failed = |port| sum_of(&get(port, "/metrics").1, "radiosonde_config_reload_failed");
    assert_eq!(failed(ports[3]), 1.0);
    assert_eq!(send(ports[0], 1), 200);
    let renamed = config(&ports, "20ms").replace("nop", "nop/second");
    agent.rewrite(&renamed);
    agent.signal(Signal::SIGHUP);
    agent.wait_for("The configuration has been reloaded.");
    assert_eq!(failed(ports[3]), 0.0);
    assert_eq!(send(ports[0], 1), 200);
    let status = get(ports[2], "/api/v1/status").1;
    assert!(status.contains("nop/second"), "{status}");
    agent.signal(Signal::SIGINT);
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn an_invalid_configuration_ends_with_78_and_names_the_place() {
    let mut agent = Agent::spawn("receivers:\n  otpl:\nservice:\n  pipelines: {}\n");
    assert_eq!(agent.exit_code(), Some(78));
    assert!(agent.said().contains("2:3"), "{}", agent.said());
}

#[test]
fn a_port_that_is_taken_ends_with_1_and_says_so() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ports = free_ports(4);
    ports[0] = held.local_addr().unwrap().port();
    let mut agent = Agent::spawn(&config(&ports, "10ms"));
    assert_eq!(agent.exit_code(), Some(1));
    assert!(agent.said().contains(&ports[0].to_string()), "{}", agent.said());
}
