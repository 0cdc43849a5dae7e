//! A durable queue in the real process: killed at random moments, stopped, with its files damaged.
//!
//! `RADIOSONDE_KILLS=100 cargo test --release --test e2e durable:: -- --nocapture` runs the long form.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::far_end::FarEnd;
use crate::support::telemetry::{GrpcClient, Kind, Load, Told};
use crate::support::{Agent, free_ports, http, sum_of};

/// OTLP in, batch, a durable queue, OTLP out. Everything a migrated configuration would have.
fn config(ports: &[u16], folder: &Path, back_end: SocketAddr, queue: &str) -> String {
    format!(
        r#"
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
processors: {{batch: {{timeout: 50ms}}}}
extensions: {{file_storage: {{directory: "{folder}"}}}}
exporters:
  otlp:
    endpoint: "{back_end}"
    compression: none
    tls: {{insecure: true}}
    retry_on_failure: {{initial_interval: 100ms, max_interval: 500ms}}
    sending_queue: {{storage: file_storage{queue}}}
service:
  extensions: [file_storage]
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}}}
  pipelines:
    traces: &all {{receivers: [otlp], processors: [batch], exporters: [otlp]}}
    metrics: *all
    logs: *all
"#,
        grpc = ports[0],
        http = ports[1],
        metrics = ports[2],
        folder = folder.display(),
    )
}

fn kills() -> usize {
    let configured = std::env::var("RADIOSONDE_KILLS").ok();
    configured.and_then(|count| count.parse().ok()).unwrap_or(5)
}

#[test]
fn a_process_that_is_killed_again_and_again_loses_nothing_that_it_acknowledged() {
    let live = FarEnd::start();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let storage = folder.path().join("queue");
    let mut acknowledged: BTreeSet<u64> = BTreeSet::new();
    let mut first_id = 0;
    let mut dice = u64::from(std::process::id());
    for _ in 0..kills() {
        let ports = free_ports(3);
        let agent = Agent::spawn_in(&folder, &config(&ports, &storage, live.address, ""), &[]).until_ready();
        let load = Load::start_at(first_id, (ports[0], ports[1]), &Kind::ALL, false, Duration::ZERO);
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // A busy machine needs its time to acknowledge anything at all.
        load.wait_for(100);
        std::thread::sleep(Duration::from_millis((dice >> 33) % 500));
        // Killed with SIGKILL.
        drop(agent);
        let ledger = load.stop();
        assert_eq!(*ledger.finals.lock().unwrap(), [0; 0]);
        acknowledged.extend(ledger.acknowledged.lock().unwrap().iter());
        first_id = ledger.last_id();
    }
    let ports = free_ports(3);
    let mut agent = Agent::spawn_in(&folder, &config(&ports, &storage, live.address, ""), &[]).until_ready();
    until_empty(ports[2]);
    let seen = live.seen();
    let missing: Vec<&u64> = acknowledged.iter().filter(|id| !seen.contains_key(id)).collect();
    assert_eq!(missing, [] as [&u64; 0], "of {} acknowledged", acknowledged.len());
    assert!(acknowledged.len() >= kills() * 100, "{}", acknowledged.len());
    assert!(seen.keys().all(|id| *id <= first_id), "only what was sent");
    let twice = seen.values().filter(|times| **times > 1).count();
    println!(
        "{{\"kills\": {}, \"acknowledged\": {}, \"missing\": 0, \"delivered_twice\": {twice}}}",
        kills(),
        acknowledged.len()
    );
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    assert_eq!(
        logs_below(&storage),
        [] as [PathBuf; 0],
        "a drained queue keeps no file"
    );
}

#[test]
fn between_two_agents_that_are_killed_nothing_is_lost_and_nothing_comes_twice() {
    let live = FarEnd::start();
    let (near, far) = (
        Arc::new(tempfile::tempdir().unwrap()),
        Arc::new(tempfile::tempdir().unwrap()),
    );
    let far_ports = free_ports(3);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_ports(1)[0]));
    let start_far = |back_end| {
        let config = config(&far_ports, &far.path().join("queue"), back_end, "");
        Agent::spawn_in(&far, &config, &[]).until_ready()
    };
    let next_hop = SocketAddr::from(([127, 0, 0, 1], far_ports[0]));
    let mut acknowledged: BTreeSet<u64> = BTreeSet::new();
    let mut first_id = 0;
    let mut dice = u64::from(std::process::id());
    // What it sends on would come twice where it is killed: it keeps everything until nobody is killed any more.
    let mut behind = start_far(nowhere);
    for round in 0..kills() {
        let ports = free_ports(3);
        let near_config = config(&ports, &near.path().join("queue"), next_hop, "");
        let agent = Agent::spawn_in(&near, &near_config, &[]).until_ready();
        let load = Load::start_at(first_id, (ports[0], ports[1]), &Kind::ALL, false, Duration::ZERO);
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        load.wait_for(100);
        std::thread::sleep(Duration::from_millis((dice >> 33) % 500));
        if round % 2 == 1 {
            // The far one first, in the middle of what it is sent.
            drop(behind);
            behind = start_far(nowhere);
        }
        drop(agent);
        let ledger = load.stop();
        acknowledged.extend(ledger.acknowledged.lock().unwrap().iter());
        first_id = ledger.last_id();
    }
    let ports = free_ports(3);
    let near_config = config(&ports, &near.path().join("queue"), next_hop, "");
    let mut agent = Agent::spawn_in(&near, &near_config, &[]).until_ready();
    until_empty(ports[2]);
    drop(behind);
    let _behind = start_far(live.address);
    until_empty(far_ports[2]);
    let seen = live.seen();
    let missing: Vec<&u64> = acknowledged.iter().filter(|id| !seen.contains_key(id)).collect();
    assert_eq!(missing, [] as [&u64; 0], "of {} acknowledged", acknowledged.len());
    let twice = seen.values().filter(|times| **times > 1).count();
    println!(
        "{{\"kills\": {}, \"acknowledged\": {}, \"missing\": 0, \"delivered_twice\": {twice}}}",
        kills(),
        acknowledged.len()
    );
    assert_eq!(twice, 0);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
}

/// Waits until nothing waits in any queue.
fn until_empty(metrics_port: u16) {
    for _ in 0..1500 {
        let (_, page) = http(metrics_port, "GET", "/metrics", "text/plain", b"").unwrap();
        let left = sum_of(&page, "radiosonde_queue_items") + sum_of(&page, "radiosonde_in_flight_items");
        // A queue that is not open yet has no capacity, and does not know what it holds.
        let is_open = |line: &&str| line.starts_with("radiosonde_queue_capacity_bytes{") && !line.ends_with(" 0");
        let open = page.lines().filter(is_open).count();
        if open == Kind::ALL.len() && left == 0.0 && sum_of(&page, "radiosonde_queue_bytes") == 0.0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the queue does not get empty");
}

fn logs_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(logs_below(&path));
        } else if path.extension().is_some_and(|ending| ending == "wal") {
            found.push(path);
        }
    }
    found
}

/// 200 requests of ten items, in a queue whose back end is down; then a stop, by signal or by force.
fn filled(folder: &Arc<tempfile::TempDir>, storage: &Path, back_end: SocketAddr, gently: bool) {
    let ports = free_ports(3);
    let mut agent = Agent::spawn_in(folder, &config(&ports, storage, back_end, ""), &[]).until_ready();
    let grpc = GrpcClient::new(ports[0]);
    for request in 0..200u64 {
        let first = request * 10 + 1;
        let body = Kind::Traces.request(first..first + 10, |_| false);
        assert_eq!(grpc.send(Kind::Traces, &body), Told::Ok);
    }
    if gently {
        agent.signal(Signal::SIGTERM);
        assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
        assert!(!agent.said().contains("\terror\t"), "{}", agent.said());
    }
}

#[test]
fn a_stop_with_the_back_end_down_leaves_all_in_the_log_and_the_next_start_delivers_it_once() {
    for gently in [true, false] {
        let ports = free_ports(4);
        let back_end: SocketAddr = ([127, 0, 0, 1], ports[3]).into();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let storage = folder.path().join("queue");
        filled(&folder, &storage, back_end, gently);
        let live = FarEnd::at(back_end);
        let mut agent = Agent::spawn_in(&folder, &config(&ports, &storage, back_end, ""), &[]).until_ready();
        let seen = live.wait_for(2000);
        until_empty(ports[2]);
        agent.signal(Signal::SIGTERM);
        assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
        assert!(seen.keys().copied().eq(1..=2000) && live.seen().values().all(|times| *times == 1));
    }
}

#[test]
fn damaged_files_cost_only_what_they_hit_and_it_is_counted() {
    let ports = free_ports(4);
    let back_end: SocketAddr = ([127, 0, 0, 1], ports[3]).into();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let storage = folder.path().join("queue");
    filled(&folder, &storage, back_end, false);
    let logs = logs_below(&storage);
    let traces = logs
        .iter()
        .find(|path| path.to_string_lossy().contains("traces"))
        .unwrap();
    let mut bytes = std::fs::read(traces).unwrap();
    bytes[10_000] ^= 1;
    bytes[30_000..31_000].fill(0);
    std::fs::write(traces, bytes).unwrap();
    let (code, report) = tool(&["verify", "--format", "json", traces.parent().unwrap().to_str().unwrap()]);
    assert_eq!(
        (code, &report["sound"]),
        (Some(1), &serde_json::json!(false)),
        "{report}"
    );
    let live = FarEnd::at(back_end);
    let mut agent = Agent::spawn_in(&folder, &config(&ports, &storage, back_end, ""), &[]).until_ready();
    let (code, _) = tool(&["verify", "--format", "json", storage.to_str().unwrap()]);
    assert_eq!(code, Some(3), "the agent has it");
    until_empty(ports[2]);
    let (_, page) = http(ports[2], "GET", "/metrics", "text/plain", b"").unwrap();
    let lost = page
        .lines()
        .find(|line| line.starts_with("otelcol_dropped_items") && line.contains("corrupt_record"))
        .and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .unwrap();
    let seen = live.seen();
    assert_eq!(seen.len() as f64 + lost, 2000.0, "{page}");
    assert!((20.0..=80.0).contains(&lost), "{lost}");
    assert_eq!(
        report["lost"]["items"].as_f64(),
        Some(lost),
        "the tool says the same: {report}"
    );
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
}

/// `radiosonde queue`: exit code, and what it printed where that is JSON.
fn tool(args: &[&str]) -> (Option<i32>, serde_json::Value) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_radiosonde"));
    let output = command.arg("queue").args(args).output().unwrap();
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
    )
}
