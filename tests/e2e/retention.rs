//! Span retention in the real process: what a far end has acknowledged is in the ledger after a kill, what it has not is
//! never called archived, and `retention check --once` says so with the exit codes of monitoring plug-ins.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use radiosonde::component::{Clock, SystemClock};
use radiosonde::simulator::{Fault, FaultKind, Scenario, Simulator, VirtualClock};

use crate::support::far_end::FarEnd;
use crate::support::{Agent, PATIENCE, binary, free_ports, http};

/// Traces go to X-Ray (simulated) and to a backend; the ledger notes the backend.
fn config(port: u16, aws: &str, back_end: SocketAddr) -> String {
    let keys = "credentials: {access_key_id: AKIASIM0111122223333, secret_access_key: simulated}";
    format!(
        r#"
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}
processors:
  span_retention:
    regions: [eu-central-1]
    endpoint: {aws}
    {keys}
    rate: {{initial: 500, max: 1000}}
    archives: [{{ledger: {{exporters: [otlp]}}}}]
    schedule: {{every: 24h, jitter: 24h}}
exporters:
  otlp: {{endpoint: "{back_end}", compression: none, tls: {{insecure: true}}}}
  awsxray:
    region: eu-central-1
    endpoint: {aws}
    {keys}
service:
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], processors: [span_retention], exporters: [otlp, awsxray]}}
"#
    )
}

/// A trace of one span that began so many hours ago.
fn trace(number: u8, hours: u64) -> Vec<u8> {
    let start = SystemClock.now().0 - hours * 3_600_000_000_000;
    let span = Span {
        trace_id: vec![number; 16],
        span_id: vec![number; 8],
        name: "GET /".to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        ..Span::default()
    };
    let scope = ScopeSpans {
        spans: vec![span],
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource],
    }
    .encode_to_vec()
}

fn send(port: u16, body: &[u8]) {
    let (status, text) = http(port, "POST", "/v1/traces", "application/x-protobuf", body).unwrap();
    assert_eq!(status, 200, "{text}");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what}");
}

fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes_below(&path)
        } else {
            std::fs::metadata(&path).map_or(0, |meta| meta.len())
        }
    };
    entries.map(size).sum()
}

fn check(config: &Path, state: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["retention", "check", "--once", "--config"]).arg(config);
    command.arg("--state-dir").arg(state).args(more);
    command.env_remove("RADIOSONDE_STATE_DIR").output().unwrap()
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_what_was_not_is_never_called_archived() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let clock = VirtualClock::running(SystemClock.now(), 1.0);
    let mut scenario = Scenario::quiet();
    scenario.xray.indexing_delay_s = 0.0;
    let simulator = Simulator::new(scenario, clock);
    let served = runtime
        .block_on(simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))))
        .unwrap();
    let far_end = FarEnd::start();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    let port = free_ports(1)[0];
    let text = config(port, &served.url(), far_end.address);
    let variables = [("RADIOSONDE_STATE_DIR", state.to_str().unwrap())];
    let agent = Agent::spawn_in(&folder, &text, &variables).until_ready();

    send(port, &trace(1, 2));
    far_end.wait_for(1);
    let ledger = state.join("retention-ledger/otlp");
    until("the ledger is written", || bytes_below(&ledger) > 0);
    // The backend refuses this one for good, X-Ray takes it.
    far_end.refuse_every(1);
    send(port, &trace(2, 2));
    let documents = || simulator.command_xray("").unwrap()["documents"].as_u64().unwrap();
    until("X-Ray has both", || documents() == 2);
    far_end.refuse_every(0);
    // Killed between the acknowledgement of this one and the moment in which the ledger would be written.
    send(port, &trace(3, 2));
    far_end.wait_for(2);
    until("X-Ray has all", || documents() == 3);
    drop(agent);

    let config = folder.path().join("config.yaml");
    let output = check(&config, &state, &["--format", "json"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let json: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {complaint}"));
    let report = &json["processors"]["span_retention"];
    let states = &report["states"];
    assert_eq!(states["unknown"], 0, "{report:#}");
    let pending = report["places"][0]["examples"]["pending"].to_string();
    assert!(pending.contains(&"02".repeat(16)), "{report:#}");
    assert!(!pending.contains(&"01".repeat(16)), "{report:#}");
    let archived = states["archived"].as_u64().unwrap();
    assert!(
        (1..=2).contains(&archived) && archived + states["pending"].as_u64().unwrap() == 3,
        "{report:#}"
    );
    assert_eq!(
        report["cost"]["scanned"],
        simulator.bill().of("GetTraceSummaries").units
    );
    assert_eq!(
        (output.status.code(), &json["exit_code"]),
        (Some(0), &serde_json::Value::from(0))
    );

    // One that is at risk is critical, one of which nothing can be read is not ok, and wrong usage is unknown.
    let agent = Agent::spawn_in(&folder, &text, &variables).until_ready();
    far_end.refuse_every(1);
    send(port, &trace(4, 29 * 24));
    until("X-Ray has it", || documents() == 4);
    drop(agent);
    let output = check(&config, &state, &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("at_risk       1") && said.contains("Cost: 4 traces scanned"),
        "{said}"
    );
    let always = Fault::of("GetTraceSummaries", -100_000_000, 100_000_000, FaultKind::Denied);
    simulator.set_faults(vec![always]);
    assert_eq!(check(&config, &state, &[]).status.code(), Some(3));
    assert_eq!(check(&config, &state, &["--archive"]).status.code(), Some(3));
    assert_eq!(check(&config, &state, &["--nonsense"]).status.code(), Some(3));
    assert_eq!(check(Path::new("/nowhere.yaml"), &state, &[]).status.code(), Some(3));
    runtime.block_on(served.stop());
}

/// Traces of one span that ended so many days ago, in the simulated X-Ray.
fn put(simulator: &Simulator, ages: &[f64]) {
    let now = SystemClock.now().0 as f64 / 1e9;
    for (number, age) in (1_u64..).zip(ages) {
        let start = now - age * 86_400.0;
        let document = serde_json::json!({
            "trace_id": format!("1-{:08x}-{number:024x}", start as u32), "id": format!("{number:016x}"),
            "name": "checkout", "start_time": start, "end_time": start + 0.5,
        });
        simulator.put_segment(document, start + 0.5).unwrap();
    }
}

fn archiving(aws: &str, folder: &Path, retrieved_per_day: u32) -> String {
    let archive = folder.join("archive");
    format!(
        r#"
receivers: {{nop: }}
processors:
  span_retention:
    regions: [eu-central-1]
    endpoint: {aws}
    credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}
    rate: {{initial: 500, max: 1000}}
    schedule: {{every: 24h, jitter: 24h}}
    archives: [{{ledger: {{exporters: [awss3]}}}}]
    archive_pipeline: traces/archive
    # Fewer days to list.
    xray_retention: 6d
    warn_before: 3d
    critical_before: 1d
    budget: {{retrieved_per_day: {retrieved_per_day}}}
exporters:
  awss3: {{url: "file://{}", marshaler: otlp_proto, compression: zstd}}
service:
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [nop], processors: [span_retention], exporters: [awss3]}}
    traces/archive: {{receivers: [nop], exporters: [awss3]}}
"#,
        archive.display()
    )
}

#[test]
fn a_check_that_archives_takes_the_oldest_first_inside_the_budget_and_only_while_the_agent_is_stopped() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut scenario = Scenario::quiet();
    scenario.xray.indexing_delay_s = 0.0;
    let simulator = Simulator::new(scenario, VirtualClock::running(SystemClock.now(), 1.0));
    let served = runtime
        .block_on(simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))))
        .unwrap();
    put(&simulator, &[5.3, 5.6, 4.0, 1.5]);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (state, config) = (folder.path().join("state"), folder.path().join("config.yaml"));
    let text = archiving(&served.url(), folder.path(), 2);
    let archived = |config: &Path, code: i32| {
        let output = check(config, &state, &["--archive", "--format", "json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let json: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {complaint}"));
        assert_eq!(output.status.code(), Some(code), "{json:#}");
        let report = &json["processors"]["span_retention"];
        let counts = ["archived", "at_risk", "due", "pending"].map(|state| report["states"][state].as_u64().unwrap());
        (report["places"][0]["archived"].as_u64().unwrap(), counts)
    };

    let variables = [("RADIOSONDE_STATE_DIR", state.to_str().unwrap())];
    let agent = Agent::spawn_in(&folder, &text, &variables).until_ready();
    let output = check(&config, &state, &["--archive"]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("in use by process"), "{complaint}");
    drop(agent);

    // Two of three fit the budget: those that are at risk. The same day has no more.
    assert_eq!(archived(&config, 1), (2, [2, 0, 1, 1]));
    assert_eq!(archived(&config, 1), (0, [2, 0, 1, 1]));
    assert_eq!(simulator.bill().of("BatchGetTraces").units, 2);
    std::fs::write(&config, archiving(&served.url(), folder.path(), 0)).unwrap();
    assert_eq!(archived(&config, 0), (1, [3, 0, 0, 1]));
    assert_eq!(simulator.bill().of("BatchGetTraces").units, 3);
    // Who only reads finds the same.
    let output = check(&config, &state, &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        json["processors"]["span_retention"]["states"]["archived"], 3,
        "{json:#}"
    );
    assert_eq!(output.status.code(), Some(0));
    // And the archive plays them back.
    let place = format!("file://{}", folder.path().join("archive").display());
    let text = format!(
        "receivers: {{nop: }}\nexporters: {{file: {{path: \"{}\"}}}}\n\
         service: {{pipelines: {{traces: {{receivers: [nop], exporters: [file]}}}}}}",
        folder.path().join("out.json").display()
    );
    let restoring = folder.path().join("restore.yaml");
    std::fs::write(&restoring, text).unwrap();
    let mut command = Command::new(binary());
    command.args([
        "retention",
        "restore",
        "--since",
        "240h",
        "--to",
        "traces",
        "--from",
        &place,
        "--config",
    ]);
    let output = command.arg(&restoring).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("restored 3 traces"),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    runtime.block_on(served.stop());
}
