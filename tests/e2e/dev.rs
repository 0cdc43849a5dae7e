//! `radiosonde dev` as a developer meets it: what the terminal shows, what a command is given and gives back, what the
//! other commands read of it, how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::spans;
use crate::support::{PATIENCE, binary, free_ports, http};

/// Three ports of its own: gRPC, HTTP, page.
fn addresses(ports: &[u16]) -> Vec<String> {
    let mut arguments = Vec::new();
    for (flag, port) in ["--otlp-grpc", "--otlp-http", "--ui"].iter().zip(ports) {
        arguments.push((*flag).to_owned());
        arguments.push(format!("127.0.0.1:{port}"));
    }
    arguments
}

fn radiosonde(ports: &[u16]) -> Command {
    let mut command = Command::new(binary());
    command
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env_remove("OTEL_RESOURCE_ATTRIBUTES")
        .env("RADIOSONDE_URL", format!("127.0.0.1:{}", ports[2]));
    command
}

/// `dev` under way, and what it says on standard error.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Dev {
    fn start(ports: &[u16], more: &[&str]) -> Self {
        let mut child = radiosonde(ports)
            .arg("dev")
            .args(addresses(ports))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = sync_channel(10_000);
        let stderr = child.stderr.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut dev = Self {
            child,
            lines,
            seen: Vec::new(),
        };
        let first = dev.line_with("radiosonde 0.1 dev");
        assert!(first.contains("(any protocol)"), "{first}");
        dev
    }

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

    /// Interrupts it: exit code and standard output.
    fn end(mut self) -> (Option<i32>, String) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, Signal::SIGINT).unwrap();
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn what_comes_in_is_shown_stored_queried_exported_and_ends_well() {
    let ports = free_ports(3);
    let mut dev = Dev::start(&ports, &["--ascii"]);
    assert_eq!(
        http(ports[1], "POST", "/v1/traces", "application/x-protobuf", &spans(1))
            .unwrap()
            .0,
        200
    );
    // The other protocol's port takes it as well.
    assert_eq!(
        http(ports[0], "POST", "/v1/traces", "application/json", b"{}")
            .unwrap()
            .0,
        200
    );
    let shown = dev.line_with("GET /");
    assert!(shown.contains("01010101"), "{shown}");
    let note = dev.line_with("wrong-port-or-protocol");
    assert!(note.contains("HTTP"), "{note}");

    let ask = |arguments: &[&str]| run(radiosonde(&ports).args(arguments));
    // The record has no times of its own: everything is looked at.
    let (code, text, errors) = ask(&["query", "traces", "--all", "--format", "json"]);
    assert_eq!(code, Some(0), "{errors}");
    let answer: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (answer["v"].as_u64(), answer["total"].as_u64()),
        (Some(1), Some(1)),
        "{text}"
    );
    assert_eq!(ask(&["query", "trace", "0101"]).0, Some(0));
    assert_eq!(ask(&["query", "trace", "ffff"]).0, Some(1));
    assert_eq!(ask(&["query", "traces", "a=("]).0, Some(2));
    assert_eq!(ask(&["wait", "--for", "name=\"GET /\"", "--timeout", "10s"]).0, Some(0));
    assert_eq!(
        ask(&["wait", "--for", "name=nothing", "--timeout", "200ms"]).0,
        Some(124)
    );
    let (code, text, errors) = ask(&["top", "--once"]);
    assert_eq!(code, Some(0), "{errors}");
    for part in ["ready", "receiver  otlp", "exporter  devstore", "IN/s", " 1 spans"] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    let mut tap = radiosonde(&ports);
    let tap = tap.args([
        "tap", "otlp", "--limit", "1", "--filter", "name~GET", "--format", "jsonl",
    ]);
    let mut tap = tap.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut says = BufReader::new(tap.stderr.take().unwrap()).lines();
    assert!(says.next().unwrap().unwrap().contains("receiver otlp"));
    http(ports[1], "POST", "/v1/traces", "application/x-protobuf", &spans(1)).unwrap();
    let tapped = tap.wait_with_output().unwrap();
    assert_eq!(tapped.status.code(), Some(0));
    let span: Json = serde_json::from_slice(&tapped.stdout).unwrap();
    assert_eq!(span["name"], "GET /");
    assert_eq!(ask(&["tap", "nobody"]).0, Some(1));
    let (code, text, _) = ask(&["query", "alerts", "--format", "jsonl"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("\"unknown-service\""), "{text}");

    let (code, file, errors) = ask(&["export", "--format", "jsonl"]);
    assert_eq!(code, Some(0), "{errors}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl");
    std::fs::write(&path, &file).unwrap();
    let other = free_ports(3);
    let second = Dev::start(&other, &["--view", "none"]);
    let (code, _, errors) = run(radiosonde(&other).arg("import").arg(&path));
    assert_eq!(code, Some(0), "{errors}");
    let (_, again, _) = run(radiosonde(&other).args(["export", "--format", "jsonl"]));
    assert_eq!(again, file, "an export of what was imported is the same");
    assert_eq!(second.end().0, Some(0));

    let (code, out) = dev.end();
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(ask(&["query", "traces"]).0, Some(3), "nobody answers any more");
    assert_eq!(ask(&["top", "--once"]).0, Some(3));
    assert_eq!(ask(&["tap", "otlp"]).0, Some(3));
}

#[test]
fn a_command_has_its_environment_and_its_exit_code_comes_back() {
    let ports = free_ports(3);
    let program = binary().to_string_lossy().into_owned();
    let dev = |more: &[&str], command: &[&str]| {
        let mut line = radiosonde(&ports);
        line.arg("dev")
            .args(addresses(&ports))
            .args(more)
            .arg("--")
            .args(command);
        run(&mut line)
    };
    let (code, out, errors) = dev(
        &[],
        &[
            "sh",
            "-c",
            "echo $OTEL_RESOURCE_ATTRIBUTES $OTEL_EXPORTER_OTLP_ENDPOINT; exit 7",
        ],
    );
    assert_eq!(code, Some(7), "{errors}");
    assert!(out.starts_with("radiosonde.run.id=r-"), "{out}");
    assert!(
        out.trim_end().ends_with(&format!("http://127.0.0.1:{}", ports[1])),
        "{out}"
    );
    assert!(errors.contains("0 traces, 0 with errors"), "{errors}");

    // What the command sends is shown, counted, and can fail it.
    let command = [program.as_str(), "send", "--error", "--name", "broken"];
    let (code, out, errors) = dev(&["--fail-on", "name=whole"], &command);
    assert_eq!(out.trim().len(), 32, "{errors}");
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        errors.contains("1 trace, 1 with errors") && errors.contains("nothing matches"),
        "{errors}"
    );
    let (code, _, errors) = dev(&["--fail-on", "status=error"], &command);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("1 match"), "{errors}");
    // A command that fails by itself keeps its code.
    let failing = ["sh", "-c", "\"$0\" send --error; exit 9", program.as_str()];
    assert_eq!(dev(&["--fail-on", "status=error"], &failing).0, Some(9));

    assert_eq!(dev(&[], &["/no/such/program"]).0, Some(127));
    assert_eq!(dev(&[], &["/"]).0, Some(126));
    assert_eq!(dev(&[], &["sh", "-c", "kill -KILL $$"]).0, Some(137));
    assert_eq!(dev(&["--format", "jsonl"], &["true"]).0, Some(2));
    let held = TcpListener::bind(("127.0.0.1", ports[1])).unwrap();
    let (code, _, errors) = dev(&[], &["true"]);
    drop(held);
    assert_eq!(code, Some(125), "{errors}");
    assert!(
        errors.contains("the port is taken by pid") && errors.contains("--port-offset"),
        "{errors}"
    );
}

#[test]
fn a_page_for_other_machines_needs_the_token() {
    let ports = free_ports(3);
    let mut command = radiosonde(&ports);
    let mut child = command
        .args(["dev", "--otlp-grpc", &format!("127.0.0.1:{}", ports[0])])
        .args(["--otlp-http", &format!("127.0.0.1:{}", ports[1])])
        .args(["--ui", &format!("0.0.0.0:{}", ports[2])])
        .env("RADIOSONDE_TOKEN", "s3cret")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let link = first
        .split_once("?token=")
        .unwrap()
        .1
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    let get = |path: &str| http(ports[2], "GET", path, "text/plain", b"").unwrap().0;
    assert_eq!(get("/api/v1/traces"), 401);
    assert_eq!(get("/?token=s3cret"), 401);
    assert_eq!(get(&format!("/?token={link}")), 303);
    assert_eq!(get(&format!("/?token={link}")), 401, "once");
    let (code, _, errors) = run(radiosonde(&ports).args(["query", "traces", "--token", "s3cret"]));
    assert_eq!(code, Some(0), "{errors}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
