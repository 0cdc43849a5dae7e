//! The metrics page of a configuration that uses every component that needs no cloud: names, labels, format.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::far_end::FarEnd;
use crate::support::telemetry::{GrpcClient, Kind, Told, send_http};
use crate::support::{Agent, free_ports, http};

fn config(ports: &[u16], live: &FarEnd, folder: &std::path::Path) -> String {
    format!(
        r#"
receivers:
  nop:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
processors:
  memory_limiter: {{check_interval: 1s, limit_mib: 4000}}
  filter:
    traces: {{span: ['attributes["drop"] == true']}}
    metrics: {{datapoint: ['attributes["drop"] == true']}}
    logs: {{log_record: ['attributes["drop"] == true']}}
  attributes: {{actions: [{{key: seen, value: true, action: upsert}}]}}
  resource: {{attributes: [{{key: zone, value: a, action: upsert}}]}}
  batch: {{timeout: 10ms, send_batch_size: 20, metadata_keys: [x-tenant]}}
  filter/after: {{metrics: {{datapoint: ['attributes["nobody has this"] == true']}}}}
exporters:
  debug: {{verbosity: basic}}
  file: {{path: "{folder}/out.json"}}
  nop:
  terminal:
  otlp: {{endpoint: "{live}", compression: none, tls: {{insecure: true}}}}
  otlphttp: {{endpoint: "http://{live}", compression: none, sending_queue: {{sizer: items, queue_size: 100000}}}}
connectors: {{forward: }}
extensions:
  health_check: {{endpoint: "127.0.0.1:{health}"}}
  zpages: {{endpoint: "127.0.0.1:{zpages}"}}
service:
  extensions: [health_check, zpages]
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry:
    metrics:
      level: detailed
      readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}]
  pipelines:
    traces: {{receivers: [otlp], processors: [memory_limiter, filter, attributes, resource, batch], exporters: [otlp, otlphttp, debug, file, nop]}}
    metrics: {{receivers: [otlp], processors: [memory_limiter, filter, attributes, resource, batch], exporters: [otlp, otlphttp, forward]}}
    metrics/after: {{receivers: [forward], processors: [filter/after], exporters: [terminal]}}
    logs: {{receivers: [otlp, nop], processors: [memory_limiter, filter, attributes, resource, batch], exporters: [otlp, otlphttp, debug]}}
"#,
        grpc = ports[0],
        http = ports[1],
        metrics = ports[2],
        health = ports[3],
        zpages = ports[4],
        live = live.address,
        folder = folder.display(),
    )
}

/// The Collector's metrics that this configuration has, and the names of their labels. `S` stands for the items of each
/// signal.
const EXPECTED: &[(&str, &[&str])] = &[
    ("otelcol_receiver_accepted_S", &["receiver", "transport"]),
    ("otelcol_receiver_refused_S", &["receiver", "transport"]),
    ("otelcol_receiver_failed_S", &["receiver", "transport"]),
    ("otelcol_processor_incoming_items", &["otel_signal", "processor"]),
    ("otelcol_processor_outgoing_items", &["otel_signal", "processor"]),
    ("otelcol_processor_internal_duration", &["otel_signal", "processor"]),
    ("otelcol_processor_memory_limiter_accepted_S", &["processor"]),
    ("otelcol_processor_memory_limiter_refused_S", &["processor"]),
    ("otelcol_processor_filter_spans_filtered", &["filter"]),
    ("otelcol_processor_filter_datapoints_filtered", &["filter"]),
    ("otelcol_processor_filter_logs_filtered", &["filter"]),
    ("otelcol_processor_batch_batch_send_size", &["processor"]),
    ("otelcol_processor_batch_batch_send_size_bytes", &["processor"]),
    ("otelcol_processor_batch_batch_size_trigger_send", &["processor"]),
    ("otelcol_processor_batch_timeout_trigger_send", &["processor"]),
    ("otelcol_processor_batch_metadata_cardinality", &["processor"]),
    ("otelcol_exporter_sent_S", &["exporter"]),
    ("otelcol_exporter_send_failed_S", &["exporter"]),
    ("otelcol_exporter_enqueue_failed_S", &["exporter"]),
    ("otelcol_exporter_queue_size", &["data_type", "exporter"]),
    ("otelcol_exporter_queue_capacity", &["data_type", "exporter"]),
    ("otelcol_exporter_in_flight_requests", &["data_type", "exporter"]),
    ("otelcol_dropped_items", &["component", "reason", "signal"]),
    ("radiosonde_discarded_items", &["component", "signal"]),
    ("otelcol_process_uptime", &[]),
    ("otelcol_process_cpu_seconds", &[]),
    ("otelcol_process_memory_rss", &[]),
    ("otelcol_process_runtime_heap_alloc_bytes", &[]),
    ("otelcol_process_runtime_total_sys_memory_bytes", &[]),
];

/// A series: its name and its labels.
type Series = (String, BTreeMap<String, String>);

/// Reads the text format strictly; any line that does not fit it fails.
fn parse(text: &str) -> BTreeMap<Series, f64> {
    let mut all = BTreeMap::new();
    let mut families = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            assert!(!help.is_empty(), "no help: {line}");
            family = name.to_owned();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family, "TYPE follows HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                families.insert(name.to_owned(), kind.to_owned()).is_none(),
                "a family in two places: {line}"
            );
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let of_family = match families[&family].as_str() {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name == format!("{family}{end}")),
            _ => name == family,
        };
        assert!(of_family, "{name} stands below {family}");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "{name}"
        );
        let labels = labels.strip_suffix('}').unwrap();
        let mut read = BTreeMap::new();
        // No value here holds a comma or a quote.
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, content) = label.split_once('=').unwrap();
            let content = content.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            assert!(read.insert(label.to_owned(), content.to_owned()).is_none(), "{line}");
        }
        assert!(all.insert((name.to_owned(), read), value).is_none(), "twice: {line}");
    }
    assert!(text.ends_with('\n'));
    all
}

fn value(page: &BTreeMap<Series, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    *page
        .get(&(name.to_owned(), labels))
        .unwrap_or_else(|| panic!("{name}{labels:?}", labels = "?"))
}

#[test]
fn every_component_shows_the_metrics_that_dashboards_ask_for() {
    let live = FarEnd::start();
    let ports = free_ports(5);
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::ready(&config(&ports, &live, folder.path()));
    let grpc = GrpcClient::new(ports[0]);
    for kind in Kind::ALL {
        for by_grpc in [true, false] {
            let first = kind as u64 * 1000 + u64::from(by_grpc) * 100 + 1;
            let body = kind.request(first..first + 50, |id| id % 10 == 0);
            let told = match by_grpc {
                true => grpc.send(kind, &body),
                false => send_http(ports[1], kind, &body),
            };
            assert_eq!(told, Told::Ok);
        }
    }
    let mut text = String::new();
    let mut page = BTreeMap::new();
    for _ in 0..500 {
        text = http(ports[2], "GET", "/metrics", "text/plain", b"").unwrap().1;
        page = parse(&text);
        let sent = |name: &str, exporter| value(&page, name, &[("exporter", exporter)]);
        let all_sent = ["otlp", "otlphttp"].iter().all(|exporter| {
            ["spans", "metric_points", "log_records"]
                .iter()
                .all(|items| sent(&format!("otelcol_exporter_sent_{items}"), exporter) == 90.0)
        });
        if all_sent {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // A client that does not answer the goodbye of its connection would hold up the stop.
    drop(grpc);
    names_and_labels(&page);
    values(&page);
    promtool(&text);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
}

fn names_and_labels(page: &BTreeMap<Series, f64>) {
    for (name, labels) in EXPECTED {
        let names: Vec<String> = match name.strip_suffix('S') {
            Some(stem) => Kind::ALL.iter().map(|kind| format!("{stem}{}", kind.items())).collect(),
            None => vec![(*name).to_owned()],
        };
        for name in names {
            let buckets = format!("{name}_bucket");
            let found: Vec<&Series> = page
                .keys()
                .filter(|(have, _)| *have == name || *have == buckets)
                .collect();
            assert!(!found.is_empty(), "{name} is missing");
            let expected: BTreeSet<&str> = labels.iter().copied().collect();
            for (_, have) in found {
                let have: BTreeSet<&str> = have.keys().map(String::as_str).filter(|label| *label != "le").collect();
                assert_eq!(have, expected, "{name}");
            }
        }
    }
}

fn values(page: &BTreeMap<Series, f64>) {
    for kind in Kind::ALL {
        for transport in ["grpc", "http"] {
            let labels = [("receiver", "otlp"), ("transport", transport)];
            assert_eq!(
                value(page, &format!("otelcol_receiver_accepted_{}", kind.items()), &labels),
                50.0
            );
        }
        // Those of the Collector's processorhelper, and batch and memory_limiter too.
        for (processor, incoming, outgoing) in [
            ("memory_limiter", 100.0, 100.0),
            ("filter", 100.0, 90.0),
            ("attributes", 90.0, 90.0),
            ("resource", 90.0, 90.0),
            ("batch", 90.0, 90.0),
        ] {
            let labels = [("processor", processor), ("otel_signal", kind.name())];
            let of = |name: &str| value(page, name, &labels);
            assert_eq!(of("otelcol_processor_incoming_items"), incoming, "{processor} {kind:?}");
            assert_eq!(of("otelcol_processor_outgoing_items"), outgoing, "{processor} {kind:?}");
        }
        let discarded = [("component", "filter"), ("signal", kind.name())];
        assert_eq!(value(page, "radiosonde_discarded_items", &discarded), 10.0);
        let queue = [("exporter", "otlphttp"), ("data_type", kind.name())];
        assert_eq!(value(page, "otelcol_exporter_queue_capacity", &queue), 100_000.0);
        assert_eq!(value(page, "otelcol_exporter_queue_size", &queue), 0.0);
        let queue = [("exporter", "otlp"), ("data_type", kind.name())];
        assert_eq!(value(page, "otelcol_exporter_queue_capacity", &queue), 1000.0);
    }
    let after = [("processor", "filter/after"), ("otel_signal", "metrics")];
    assert_eq!(value(page, "otelcol_processor_incoming_items", &after), 90.0);
    for exporter in ["debug", "file", "nop"] {
        assert_eq!(
            value(page, "otelcol_exporter_sent_spans", &[("exporter", exporter)]),
            90.0,
            "{exporter}"
        );
    }
}

/// The opinion of Prometheus' own tool, where it is installed.
#[allow(clippy::print_stderr)] // A check that is skipped is skipped aloud.
fn promtool(text: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("promtool is not installed: its check of the metrics page is skipped");
        return;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    // It exits with 3 for remarks on style (counters without `_total`, as the Collector has them), with 1 for errors.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
}
