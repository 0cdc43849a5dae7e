//! The section of the configuration: defaults, what is refused, what is warned of.

use super::*;

fn problems(yaml: &str) -> Vec<String> {
    let section = Section::from_yaml(yaml);
    let _ = OtlpFactory.check(&section);
    section.problems()
}

/// Some problem has all the words.
fn complains(yaml: &str, words: &[&str]) {
    let problems = problems(yaml);
    let found = problems
        .iter()
        .any(|problem| words.iter().all(|word| problem.contains(word)));
    assert!(found, "{yaml}: {problems:?}");
}

#[test]
fn the_defaults_are_the_collectors() {
    let section = Section::from_yaml("protocols: {grpc: , http: }");
    let settings = Settings::check(&section).unwrap();
    assert!(section.problems().is_empty(), "{:?}", section.problems());
    let grpc = settings.grpc.unwrap();
    let http = settings.http.unwrap();
    assert_eq!(grpc.server.endpoint.to_string(), "localhost:4317");
    assert_eq!(http.http.server.endpoint.to_string(), "localhost:4318");
    assert_eq!((grpc.cap, http.http.cap), (4 << 20, 20 << 20));
    assert_eq!(grpc.server.max_concurrent_streams, 100);
    assert_eq!(http.http.body_deadline, Some(std::time::Duration::from_secs(30)));
    assert_eq!(
        http.http.server.header_timeout,
        Some(std::time::Duration::from_secs(10))
    );
}

#[test]
fn the_example_is_fine() {
    assert!(
        problems(OtlpFactory.example()).is_empty(),
        "{:?}",
        problems(OtlpFactory.example())
    );
}

#[test]
fn at_least_one_protocol_is_needed() {
    complains("{}", &["protocol"]);
    complains("protocols: {}", &["protocol"]);
    complains("protocols:", &["protocol"]);
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    complains(
        "protocols: {http: {middlewares: [{id: x}]}}",
        &["`middlewares` is not built yet"],
    );
    complains("protocols: {grpc: {transport: unix}}", &["not built yet"]);
}

#[test]
fn wrong_values_are_reported_all_at_once() {
    let yaml = "protocols: {grpc: {endpoint: 'http://x:1'}, http: {endpoint: nowhere, compression_algorithms: [br]}}";
    complains(yaml, &["http://x:1"]);
    complains(yaml, &["nowhere"]);
    complains("protocols: {http: {compression_algorithms: [br]}}", &["br", "gzip"]);
    complains("protocols: {grpc: {endpiont: x}}", &["endpiont", "endpoint"]);
    complains("{check: deep, protocols: {grpc: }}", &["deep"]);
    complains(
        "protocols: {http: {traces_url_path: /same, logs_url_path: same/}}",
        &["same"],
    );
}

#[test]
fn a_limit_of_zero_is_obeyed_with_a_warning() {
    let section = Section::from_yaml("protocols: {http: {read_timeout: 0s, read_header_timeout: 5s}}");
    let http = Settings::check(&section).unwrap().http.unwrap().http;
    assert_eq!(http.body_deadline, None);
    assert_eq!(http.server.header_timeout, Some(std::time::Duration::from_secs(5)));
    assert!(!section.has_errors());
    assert!(
        section.problems()[0].contains("removes this limit"),
        "{:?}",
        section.problems()
    );
}

#[test]
fn keys_without_effect_are_taken_with_a_warning() {
    let yaml = "protocols: {grpc: {read_buffer_size: 512KiB, keepalive: {enforcement_policy: {min_time: 10s}, \
                server_parameters: {max_connection_age: 1m, time: 30s, timeout: 5s}}}}";
    let section = Section::from_yaml(yaml);
    let grpc = Settings::check(&section).unwrap().grpc.unwrap();
    assert!(!section.has_errors(), "{:?}", section.problems());
    assert_eq!(section.problems().len(), 2, "{:?}", section.problems());
    assert_eq!(grpc.server.max_connection_age, Some(std::time::Duration::from_secs(60)));
    assert_eq!(grpc.server.keepalive_timeout, std::time::Duration::from_secs(5));
}

#[test]
fn tls_files_are_read_by_the_check() {
    complains(
        "protocols: {grpc: {tls: {cert_file: /does/not/exist.pem, key_file: /nor/this.pem}}}",
        &["/does/not/exist.pem"],
    );
    complains("protocols: {grpc: {tls: {}}}", &["cert_file"]);
    complains(
        "protocols: {grpc: {tls: {cert_file: a, cert_pem: b, key_file: c}}}",
        &["not both"],
    );
}

#[tokio::test]
async fn a_taken_port_fails_the_start_and_names_component_address_and_holder() {
    let first = start_default().await;
    let yaml = format!("protocols: {{grpc: {{endpoint: '{}'}}}}", first.grpc());
    let settings = Settings::check(&Section::from_yaml(&yaml)).unwrap();
    let context = BuildContext::standalone(ComponentKind::Receiver, "otlp/second");
    let error = start(&settings, &context, Outlets::default())
        .await
        .err()
        .unwrap()
        .to_string();
    for word in ["otlp/second", &first.grpc().to_string(), "taken by"] {
        assert!(error.contains(word), "{error}");
    }
}
