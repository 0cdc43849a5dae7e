//! The table of the reliability contract, section 4, line by line: what a listener is that says nothing about it.

use super::*;

fn http(yaml: &str) -> (HttpGroup, String) {
    let section = Section::from_yaml(yaml);
    let group = HttpGroup::check(&section, "localhost:4318").unwrap();
    (group, section.problems().join("\n"))
}

fn grpc(yaml: &str) -> (GrpcGroup, String) {
    let section = Section::from_yaml(yaml);
    let group = GrpcGroup::check(&section, "localhost:4317").unwrap();
    (group, section.problems().join("\n"))
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_default_of_the_network_contract_holds_for_both_groups() {
    let (http, said) = http("{}");
    assert_eq!(said, "");
    let (grpc, said) = grpc("{}");
    assert_eq!(said, "");
    assert_eq!(http.body_deadline, Some(30 * SECOND), "whole body");
    assert_eq!((http.cap, grpc.cap), (20 << 20, 4 << 20), "largest body and message");
    assert!(http.server.endpoint.is_local() && grpc.server.endpoint.is_local());
    for server in [http.server, grpc.server] {
        assert_eq!(server.handshake_timeout, 10 * SECOND, "TLS handshake");
        assert_eq!(server.header_timeout, Some(10 * SECOND), "request header");
        assert_eq!(server.idle_timeout_http1, Some(60 * SECOND), "idle HTTP/1");
        assert_eq!(server.idle_timeout_http2, Some(300 * SECOND), "idle HTTP/2");
        assert!(
            server
                .keepalive_interval
                .is_some_and(|interval| interval < 300 * SECOND),
            "ping"
        );
        assert_eq!(server.max_connections, None, "80 % of the descriptors");
        assert_eq!(server.max_connections_per_client, 1000);
        assert_eq!(server.max_concurrent_streams, 100);
        assert_eq!((server.max_header_bytes, server.max_headers), (64 << 10, 128));
        assert_eq!(server.write_timeout, Some(30 * SECOND), "slow readers of our answers");
        assert_eq!(server.max_connection_age, Some(1800 * SECOND));
        assert!(server.max_connection_age_grace.is_some());
        assert!(server.connection_window <= 16 << 20);
        assert!(server.stream_window <= server.connection_window);
        assert_eq!(
            (server.max_reset_streams, server.max_broken_streams),
            (20, 256),
            "abuse of HTTP/2"
        );
        assert!(server.tls.is_none());
    }
}

#[test]
fn what_a_section_leaves_out_is_the_default_and_a_zero_removes_a_limit_with_a_warning() {
    let (group, said) = http("{read_timeout: 0, read_header_timeout: 0, write_timeout: 0, idle_timeout: 0}");
    assert_eq!(group.body_deadline, None);
    let server = &group.server;
    assert_eq!((server.header_timeout, server.write_timeout), (None, None));
    assert_eq!((server.idle_timeout_http1, server.idle_timeout_http2), (None, None));
    for key in ["read_timeout", "read_header_timeout", "write_timeout", "idle_timeout"] {
        assert!(said.contains(&format!("`{key}: 0` removes this limit")), "{said}");
    }
    let (group, said) = grpc("{keepalive: {server_parameters: {max_connection_age: 0s, time: 0s}}}");
    assert_eq!(
        (group.server.max_connection_age, group.server.keepalive_interval),
        (None, None)
    );
    assert!(
        said.contains("`max_connection_age: 0` removes") && said.contains("`time: 0` removes"),
        "{said}"
    );
    let (group, _) = http("{max_request_body_size: 0, keep_alives_enabled: false}");
    assert_eq!((group.cap, group.server.keep_alives), (20 << 20, false));
    let (group, _) = grpc("{max_recv_msg_size_mib: 0, max_concurrent_streams: 0}");
    assert_eq!((group.cap, group.server.max_concurrent_streams), (4 << 20, 100));
}
