//! SIGTERM: nothing that was acknowledged is lost where a directory can be written; where none can, it is said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::far_end::FarEnd;
use crate::support::telemetry::{GrpcClient, Kind, Load, Told, send_http};
use crate::support::{Agent, free_ports};

/// OTLP in, batch, OTLP out, nothing else set but the addresses.
fn config(ports: &[u16], back_end: SocketAddr, more: &str) -> String {
    format!(
        r#"
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
processors: {{batch: }}
exporters:
  otlp: {{endpoint: "{back_end}", compression: none, tls: {{insecure: true}}}}
service:
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry: {{metrics: {{level: none}}}}
  {more}
  pipelines:
    traces: &all {{receivers: [otlp], processors: [batch], exporters: [otlp]}}
    metrics: *all
    logs: *all
"#,
        grpc = ports[0],
        http = ports[1],
    )
}

/// 100 items of each signal, with ids from 1 to 300.
fn send_all(ports: &[u16]) {
    let grpc = GrpcClient::new(ports[0]);
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        for request in 0..10u64 {
            let first = number as u64 * 100 + request * 10 + 1;
            let body = kind.request(first..first + 10, |_| false);
            let told = match request % 2 {
                0 => grpc.send(kind, &body),
                _ => send_http(ports[1], kind, &body),
            };
            assert_eq!(told, Told::Ok);
        }
    }
}

#[test]
fn what_a_stop_cannot_deliver_is_delivered_once_after_the_next_start() {
    let ports = free_ports(3);
    let back_end: SocketAddr = ([127, 0, 0, 1], ports[2]).into();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let variables = [("XDG_STATE_HOME", state.to_str().unwrap())];
    let config = config(&ports, back_end, "");
    let mut agent = Agent::spawn_in(&folder, &config, &variables).until_ready();
    send_all(&ports);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    let said = agent.said();
    assert!(said.contains("left in a file"), "{said}");
    assert!(!said.contains("\terror\t"), "{said}");
    // Stopped again before the back end is there: it is carried over.
    let mut agent = Agent::spawn_in(&folder, &config, &variables).until_ready();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    let live = FarEnd::at(back_end);
    let mut agent = Agent::spawn_in(&folder, &config, &variables).until_ready();
    let seen = live.wait_for(300);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    assert!(
        seen.iter()
            .map(|(id, times)| (*id, *times))
            .eq((1..=300).map(|id| (id, 1))),
        "{seen:?}"
    );
    assert_eq!(live.seen(), seen, "nothing came twice at the stop");
    let left: Vec<_> = files_below(&state);
    assert_eq!(left, [] as [String; 0], "no file is left behind");
}

/// Names of files that hold records.
fn files_below(folder: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(files_below(&path));
        } else if path.extension().is_some_and(|ending| ending != "lock") {
            names.push(path.display().to_string());
        }
    }
    names
}

#[test]
fn where_nothing_can_be_written_the_loss_is_counted_and_said() {
    let ports = free_ports(3);
    let back_end: SocketAddr = ([127, 0, 0, 1], ports[2]).into();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    // No directory can be made below a kernel file system, whoever asks.
    let variables = [("HOME", "/proc/none"), ("XDG_STATE_HOME", "/proc/none")];
    let config = config(&ports, back_end, "shutdown: {grace: 2s}");
    let mut agent = Agent::spawn_in(&folder, &config, &variables).until_ready();
    send_all(&ports);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    let said = agent.said();
    let lost: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("shutdown_deadline") && line.contains("\terror\t"))
        .collect();
    assert!(lost.len() >= 3, "one line for each signal at least: {said}");
    let count = |line: &&str| {
        let (_, rest) = line.split_once("\"dropped_items\":").unwrap();
        rest.trim_start()
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(lost.iter().map(count).sum::<u64>(), 300, "{said}");
}

#[test]
fn under_load_every_acknowledged_id_arrives_and_clients_are_told_to_try_again() {
    let live = FarEnd::start();
    let ports = free_ports(2);
    let mut agent = Agent::ready(&config(&ports, live.address, ""));
    let load = Load::start((ports[0], ports[1]), &Kind::ALL, false, Duration::ZERO);
    std::thread::sleep(Duration::from_millis(700));
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    let ledger = load.stop();
    let said = agent.said();
    assert!(!said.contains("\terror\t"), "{said}");
    assert_eq!(
        *ledger.finals.lock().unwrap(),
        [0; 0],
        "only answers that may be tried again"
    );
    let acknowledged = ledger.acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let seen = live.seen();
    let missing: Vec<&u64> = acknowledged.iter().filter(|id| !seen.contains_key(id)).collect();
    assert_eq!(missing, [] as [&u64; 0], "of {} acknowledged", acknowledged.len());
    assert!(seen.values().all(|times| *times == 1), "nothing comes twice");
}
