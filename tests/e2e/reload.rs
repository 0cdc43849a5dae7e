//! SIGHUP while clients send: nothing acknowledged is lost, no request fails, listeners stay.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::far_end::FarEnd;
use crate::support::telemetry::{Kind, Load, Told, send_http};
use crate::support::{Agent, free_ports, http, sum_of};

struct Setup<'a> {
    ports: &'a [u16],
    live: &'a FarEnd,
    exporter: &'a str,
    batch: &'a str,
    processors: &'a str,
    signals: &'a [&'a str],
}

impl Setup<'_> {
    fn text(&self) -> String {
        let mut text = format!(
            r#"
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
processors:
  memory_limiter: {{check_interval: 1s, limit_mib: 1, spike_limit_mib: 0}}
  batch: {{timeout: {batch}, send_batch_size: 100}}
exporters:
  {exporter}: {{endpoint: "http://{live}", compression: none}}
service:
  admin: {{endpoint: "127.0.0.1:{admin}"}}
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}}}
  pipelines:
"#,
            grpc = self.ports[0],
            http = self.ports[1],
            metrics = self.ports[2],
            admin = self.ports[3],
            batch = self.batch,
            exporter = self.exporter,
            live = self.live.address,
        );
        for signal in self.signals {
            text.push_str(&format!(
                "    {signal}: {{receivers: [otlp], processors: {}, exporters: [{}]}}\n",
                self.processors, self.exporter
            ));
        }
        text
    }
}

fn reload(agent: &mut Agent, config: &str) {
    agent.rewrite(config);
    agent.signal(Signal::SIGHUP);
    agent.wait_for("The configuration has been reloaded.");
}

#[test]
fn under_load_no_request_fails_and_everything_arrives_once() {
    let live = FarEnd::start();
    let ports = free_ports(4);
    let setup = |exporter, batch| Setup {
        ports: &ports,
        live: &live,
        exporter,
        batch,
        processors: "[batch]",
        signals: &["traces", "metrics", "logs"],
    };
    let mut agent = Agent::ready(&setup("otlphttp/a", "10ms").text());
    let load = Load::start((ports[0], ports[1]), &Kind::ALL, false, Duration::ZERO);
    for (exporter, batch) in [
        ("otlphttp/b", "10ms"),
        ("otlphttp/b", "30ms"),
        ("otlphttp/a", "30ms"),
        ("otlphttp/a", "10ms"),
    ] {
        std::thread::sleep(Duration::from_millis(150));
        reload(&mut agent, &setup(exporter, batch).text());
    }
    std::thread::sleep(Duration::from_millis(100));
    let ledger = load.stop();
    assert_eq!(*ledger.finals.lock().unwrap(), [0; 0]);
    let refused = ledger.refused.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(refused, 0, "no request fails, no connection is refused");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    let mut acknowledged = ledger.acknowledged.lock().unwrap().clone();
    acknowledged.sort_unstable();
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let seen = live.seen();
    assert!(seen.values().all(|times| *times == 1), "nothing comes twice");
    assert!(
        seen.keys().copied().eq(acknowledged),
        "what was acknowledged, and nothing else"
    );
}

#[test]
fn a_limit_goes_with_the_limiter_that_set_it() {
    let live = FarEnd::start();
    let ports = free_ports(4);
    let setup = |processors| Setup {
        ports: &ports,
        live: &live,
        exporter: "otlphttp",
        batch: "10ms",
        processors,
        signals: &["traces"],
    };
    let body = Kind::Traces.request(1..30_000, |_| false);
    assert!(body.len() > 1 << 20);
    let mut agent = Agent::ready(&setup("[memory_limiter, batch]").text());
    assert_eq!(
        send_http(ports[1], Kind::Traces, &body),
        Told::TryAgain,
        "more than the limit"
    );
    reload(&mut agent, &setup("[batch]").text());
    assert_eq!(
        send_http(ports[1], Kind::Traces, &body),
        Told::Ok,
        "no limiter, no limit"
    );
    reload(&mut agent, &setup("[memory_limiter, batch]").text());
    assert_eq!(send_http(ports[1], Kind::Traces, &body), Told::TryAgain);
    // A limiter that is kept keeps its limit.
    reload(
        &mut agent,
        &setup("[memory_limiter, batch]").text().replace("10ms", "20ms"),
    );
    assert_eq!(send_http(ports[1], Kind::Traces, &body), Told::TryAgain);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
}

#[test]
fn another_exporter_keeps_connections_and_receivers() {
    use std::io::{Read, Write};
    let live = FarEnd::start();
    let ports = free_ports(4);
    let setup = |exporter| Setup {
        ports: &ports,
        live: &live,
        exporter,
        batch: "10ms",
        processors: "[batch]",
        signals: &["traces"],
    };
    let mut agent = Agent::ready(&setup("otlphttp/a").text());
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", ports[1])).unwrap();
    connection.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let mut send = |first: u64| {
        let body = Kind::Traces.request(first..first + 10, |_| false);
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(&body).unwrap();
        let mut answer = [0; 1024];
        let length = connection.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(send(1).starts_with("HTTP/1.1 200"));
    reload(&mut agent, &setup("otlphttp/b").text());
    assert!(send(11).starts_with("HTTP/1.1 200"), "the same connection is served on");
    live.wait_for(20);
    let page = http(ports[2], "GET", "/metrics", "text/plain", b"").unwrap().1;
    assert_eq!(sum_of(&page, "otelcol_receiver_accepted_spans"), 20.0, "{page}");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
}
