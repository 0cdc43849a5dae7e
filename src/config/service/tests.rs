use std::time::Duration;

use super::{LogEncoding, LogLevel, MemoryLimit, MetricsLevel, ServiceConfig};
use crate::config::Section;

fn read(text: &str) -> (ServiceConfig, Vec<String>) {
    let section = Section::from_yaml(text);
    let service = ServiceConfig::read(Some(&section));
    (service, section.problems())
}

#[test]
fn nothing_written_means_the_collectors_defaults() {
    let (service, problems) = read("{}");
    assert_eq!(service, ServiceConfig::default());
    assert!(problems.is_empty());
    assert_eq!(service.telemetry.metrics.readers[0].port, 8888);
    assert_eq!(service.shutdown.grace, Duration::from_secs(25));
    assert_eq!(service.admin.endpoint, "localhost:4320");
    assert!(!service.admin.configured);
}

#[test]
fn every_key_arrives() {
    let (service, problems) = read(
        "
state_directory: /var/lib/radiosonde
memory: {limit: 512MiB, admission_wait: 50ms}
shutdown: {delay: 5s, grace: 10s}
admin: {endpoint: '127.0.0.1:0'}
telemetry:
  logs:
    level: WARN
    encoding: json
    sampling: {enabled: false}
    output_paths: [stdout, /tmp/x.log]
    initial_fields: {team: a}
  metrics:
    level: detailed
    readers:
    - pull: {exporter: {prometheus: {host: 0.0.0.0, port: 9000, without_units: false}}}
  traces:
    sampler: {trace_id_ratio_based: {ratio: 0.5}}
    processors:
    - batch: {schedule_delay: 1000, exporter: {otlp: {protocol: grpc, endpoint: 'localhost:4317'}}}
  resource: {service.name: me, service.version: null}
",
    );
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(service.memory.limit, MemoryLimit::Bytes(512 << 20));
    assert_eq!(service.memory.admission_wait, Duration::from_millis(50));
    assert_eq!(service.shutdown.delay, Duration::from_secs(5));
    assert!(service.admin.configured);
    let telemetry = service.telemetry;
    assert_eq!(telemetry.logs.level, LogLevel::Warn);
    assert_eq!(telemetry.logs.encoding, LogEncoding::Json);
    assert_eq!(telemetry.logs.sampling, None);
    assert_eq!(telemetry.logs.output_paths, ["stdout", "/tmp/x.log"]);
    assert_eq!(telemetry.metrics.level, MetricsLevel::Detailed);
    assert_eq!(telemetry.metrics.readers[0].port, 9000);
    assert!(!telemetry.metrics.readers[0].without_units);
    assert_eq!(telemetry.traces.processors[0].endpoint, "http://localhost:4317");
    assert_eq!(
        telemetry.resource,
        [
            ("service.name".to_string(), Some("me".to_string())),
            ("service.version".to_string(), None)
        ]
    );
}

#[test]
fn the_removed_address_still_works_with_a_warning() {
    let (service, problems) = read("telemetry: {metrics: {address: '0.0.0.0:8899'}}");
    assert_eq!(service.telemetry.metrics.readers[0].host, "0.0.0.0");
    assert_eq!(service.telemetry.metrics.readers[0].port, 8899);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains("warning: telemetry::metrics::address"),
        "{problems:?}"
    );
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for text in [
        "limits: {max_elements: 1}",
        "telemetry: {metrics: {readers: [{periodic: {interval: 1000}}]}}",
        "telemetry: {metrics: {views: [{}]}}",
        "telemetry: {logs: {processors: [{batch: {}}]}}",
    ] {
        let (_, problems) = read(text);
        assert!(
            problems.iter().any(|line| line.contains("not built yet")),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn bad_values_are_told() {
    for (text, said) in [
        ("memory: {limit: 120%}", "at most 100%"),
        ("memory: {limit: lots}", "or a share of the memory"),
        ("admin: {endpoint: here}", "host:port"),
        ("telemetry: {logs: {level: loud}}", "allowed: debug, info, warn, error"),
        ("telemetry: {metrics: {readers: []}}", "a reader is needed"),
        ("telemetry: {metrics: {levle: none}}", "did you mean \"level\"?"),
        ("telemetry: {logs: {encoding: jsn}}", "did you mean \"json\"?"),
        ("shutdown: {grace: 5 minutes}", "is not a duration"),
    ] {
        let (_, problems) = read(text);
        assert!(problems.iter().any(|line| line.contains(said)), "{text}: {problems:?}");
    }
}
