use super::*;
use crate::aws::xray::translate::{Compat, Semconv};

#[test]
fn the_defaults_are_those_of_the_daemon() {
    let section = Section::from_yaml("{}");
    let config = Config::check(&section).unwrap();
    assert!(!section.has_errors());
    assert_eq!(config.endpoint.to_string(), "localhost:2000");
    assert_eq!(config.proxy.endpoint.to_string(), "localhost:2000");
    assert_eq!((config.receive_buffer, config.sockets), (8 << 20, 1));
    assert_eq!(config.hold.timeout, Duration::from_secs(300));
    assert_eq!(config.proxy.service_name, "xray");
}

#[test]
fn a_region_that_nobody_names_is_a_warning_and_no_error() {
    let regions = ["AWS_REGION", "AWS_DEFAULT_REGION"].map(std::env::var_os);
    let section = Section::from_yaml("proxy_server: {local_mode: true}");
    assert!(Config::check(&section).is_some() && !section.has_errors());
    if regions.iter().all(Option::is_none) {
        let problems = section.problems();
        assert!(
            problems[0].contains("no region") && problems[0].contains("`local_mode`"),
            "{problems:?}"
        );
    }
    let section = Section::from_yaml("proxy_server: {region: eu-central-1}");
    assert!(Config::check(&section).is_some() && section.problems().is_empty());
}

#[test]
fn the_collectors_ways_imply_the_old_names_unless_others_are_set() {
    let of = |yaml| {
        let config = Config::check(&Section::from_yaml(yaml)).unwrap();
        (config.translation.compat, config.translation.semconv)
    };
    assert_eq!(of("compat: collector"), (Compat::Collector, Semconv::Old));
    assert_eq!(
        of("{compat: collector, semconv: both}"),
        (Compat::Collector, Semconv::Both)
    );
    assert_eq!(of("semconv: old"), (Compat::None, Semconv::Old));
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    for (yaml, text) in [
        ("endpoint: nowhere", "no listen address"),
        ("transport: tcp", "`udp` only"),
        ("sockets: 0", "between 1 and 64"),
        ("recv_buffer_bytes: 1", "between 4096"),
        ("semconv: new", "semconv"),
        ("in_progress: {timeout: 0s}", "more than zero"),
        ("in_progress: {max_held: 0}", "at least 1"),
        ("metadata: {mode: x}", "mode"),
        ("proxy_server: {endpoint: x}", "no listen address"),
        ("proxy_server: {aws_endpoint: xray.example}", "must be a URL"),
        ("proxy_server: {role_arn: me}", "ARN"),
        ("proxy_server: {allow_paths: [x]}", "must be a path"),
        ("proxy_server: {proxy_address: 'socks5://x'}", "socks5"),
        ("proxy_server: {tls: {ca_file: /nowhere}}", "/nowhere"),
        ("nonsense: 1", "nonsense"),
    ] {
        let section = Section::from_yaml(yaml);
        let _ = Config::check(&section);
        let problems = section.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(text)),
            "{yaml}: {problems:?}"
        );
    }
}
