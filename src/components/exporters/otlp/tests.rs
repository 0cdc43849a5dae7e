//! Against a far end on a socket of its own.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use smallvec::smallvec;
use tonic::Code;

use super::*;
use crate::component::{Refused, SampleValue};
use crate::net::client::status::{RpcAny, RpcStatus};
use crate::net::client::test_peer::{Peer, Received, Reply, server_tls};
use crate::net::codec::{Encoding, inflate};
use crate::net::tls::test_certificates::{Authority, Issued};
use crate::pdata::{Batch, Origin, Parts};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

struct Exporter {
    built: BuiltExporter,
    context: BuildContext,
}

impl Exporter {
    async fn send(&self, batch: Batch) -> Result<(), Refused> {
        tokio::time::timeout(Duration::from_secs(20), self.built.far_end.consume(batch))
            .await
            .expect("an answer within 20 s")
    }
}

fn exporter(yaml: &str) -> Exporter {
    let section = Section::from_yaml(yaml);
    let Some(Plan::Exporter(plan)) = OtlpFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    assert!(section.problems().is_empty(), "{:?}", section.problems());
    let context = BuildContext::standalone(ComponentKind::Exporter, "otlp/test");
    Exporter {
        built: plan.build(context.clone()).unwrap(),
        context,
    }
}

fn plain(peer: &Peer, more: &str) -> Exporter {
    exporter(&format!("endpoint: {}\ntls: {{insecure: true}}\n{more}", peer.address))
}

fn batch(parts: Parts) -> Batch {
    Batch::from_parts(Signal::Traces, parts, 7, Origin::internal())
}

fn small() -> Batch {
    batch(smallvec![Bytes::from_static(b"\x0a\x00")])
}

fn parts() -> Parts {
    // Large, small and empty parts; more than any window.
    let mut parts = Parts::new();
    for index in 0..40u32 {
        let length = if index % 3 == 0 { 50_000 } else { 17 * index as usize };
        parts.push(
            (0..length)
                .map(|n| (n as u32 * (index + 1) % 251) as u8)
                .collect::<Vec<_>>()
                .into(),
        );
    }
    parts
}

/// The message of a request, decompressed as its headers say.
fn message(received: &Received) -> Vec<u8> {
    let body = &received.body;
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    assert_eq!(body.len(), 5 + length, "one message, its length as claimed");
    if body[0] == 0 {
        return body[5..].to_vec();
    }
    let encoding = match received.header("grpc-encoding") {
        "snappy" => Encoding::SnappyFramed,
        name => Encoding::named(name).unwrap(),
    };
    inflate(encoding, &body.slice(5..), 100_000_000, &mut |_| true)
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn parts_arrive_as_one_message_byte_for_byte_with_every_compression() {
    let wanted = parts().concat();
    for compression in ["none", "gzip", "zstd", "deflate", "snappy", "\"\""] {
        let peer = Peer::start(|_| Reply::grpc_message(b"")).await;
        let exporter = plain(&peer, &format!("compression: {compression}"));
        exporter.send(batch(parts())).await.unwrap();
        let requests = peer.requests();
        assert!(message(&requests[0]) == wanted, "{compression}: not the same bytes");
        assert_eq!(requests[0].path, TRACES);
        assert_eq!(requests[0].header("te"), "trailers");
        assert_eq!(requests[0].header("grpc-timeout"), "5000m");
        let agent = concat!("radiosonde/", env!("CARGO_PKG_VERSION"));
        assert_eq!(requests[0].header("user-agent"), agent);
    }
}

#[tokio::test]
async fn each_signal_has_its_service_and_an_empty_batch_is_an_empty_message() {
    let peer = Peer::start(|_| Reply::grpc_message(b"")).await;
    let exporter = plain(&peer, "compression: none");
    for signal in Signal::ALL {
        let empty = Batch::from_parts(signal, Parts::new(), 0, Origin::internal());
        exporter.send(empty).await.unwrap();
    }
    let requests = peer.requests();
    assert!(requests.iter().all(|request| request.body[..] == [0; 5]));
    for (request, service) in requests.iter().zip(["TraceService", "MetricsService", "LogsService"]) {
        assert!(request.path.ends_with(&format!("{service}/Export")), "{}", request.path);
    }
}

#[tokio::test]
async fn headers_authority_and_user_agent_are_the_configured_ones() {
    let peer = Peer::start(|_| Reply::grpc_message(b"")).await;
    let exporter = plain(
        &peer,
        "headers: {X-Tenant: shop, raw-bin: ab}\nauthority: else.example:1\nuser_agent: mine/1\ntimeout: 0s",
    );
    exporter.send(small()).await.unwrap();
    let request = &peer.requests()[0];
    assert_eq!(request.header("x-tenant"), "shop");
    assert_eq!(request.header("raw-bin"), "YWI");
    assert_eq!(request.header("user-agent"), "mine/1");
    assert_eq!(request.authority, "else.example:1");
    assert_eq!(request.header("grpc-timeout"), "");
}

#[tokio::test]
async fn every_grpc_code_is_refused_as_the_collector_does_and_passes_through() {
    let peer = Peer::start(|request| Reply::grpc_status(request.header("want").parse().unwrap(), "no%20luck")).await;
    for number in 1..=16 {
        let exporter = plain(&peer, &format!("headers: {{want: '{number}'}}"));
        let refused = exporter.send(small()).await.unwrap_err();
        assert_eq!(refused.code, Some(Code::from_i32(number)));
        assert_eq!(refused.permanent, ![1, 4, 10, 11, 14, 15].contains(&number), "{number}");
        assert!(refused.message.ends_with("no luck"), "{refused}");
    }
}

#[tokio::test]
async fn resource_exhausted_with_retry_info_says_when_to_come_back() {
    let peer = Peer::start(|_| {
        // RetryInfo { retry_delay: Duration { seconds: 3 } }
        let status = RpcStatus {
            code: 8,
            message: String::new(),
            details: vec![RpcAny {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
                value: vec![0x0a, 0x02, 0x08, 0x03],
            }],
        };
        use base64::Engine;
        let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(status.encode_to_vec());
        Reply::grpc_status(8, "slow down").header("grpc-status-details-bin", &details)
    })
    .await;
    let refused = plain(&peer, "").send(small()).await.unwrap_err();
    assert!(!refused.permanent);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(3)));
}

#[tokio::test]
async fn answers_that_are_no_grpc_are_mapped_by_their_http_status() {
    for (status, code) in [
        (200, Code::Unknown),
        (401, Code::Unauthenticated),
        (404, Code::Unimplemented),
        (429, Code::Unavailable),
        (500, Code::Unknown),
        (503, Code::Unavailable),
    ] {
        let peer = Peer::start(move |_| Reply::http(status).body(b"<html>")).await;
        let refused = plain(&peer, "").send(small()).await.unwrap_err();
        assert_eq!(refused.code, Some(code), "{status}");
    }
}

#[tokio::test]
async fn a_partial_success_is_sent_and_its_rejects_are_counted() {
    // ExportTraceServiceResponse { partial_success { rejected_spans: 5, error_message: "old" } }
    let peer = Peer::start(|_| Reply::grpc_message(b"\x0a\x07\x08\x05\x12\x03old")).await;
    let exporter = plain(&peer, "");
    exporter.send(small()).await.unwrap();
    let samples = exporter.context.instruments.registry().gather();
    let rejected: Vec<_> = samples
        .iter()
        .filter(|sample| sample.name == "radiosonde_exporter_rejected_items" && sample.value == SampleValue::Counter(5))
        .collect();
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].labels.contains(&("signal", "traces".to_owned())));
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let peer = Peer::start(|_| Reply::grpc_message(b"")).await;
    let address = peer.address;
    let exporter = plain(&peer, "wait_for_ready: true");
    exporter.send(small()).await.unwrap();
    peer.stop().await;
    let peer = Peer::listen(address, None, |_| Reply::grpc_message(b"")).await;
    // The first call may still meet the old connection: that is what retries are for.
    let mut result = exporter.send(small()).await;
    for _ in 0..3 {
        if result.is_ok() {
            break;
        }
        assert!(!result.unwrap_err().permanent);
        result = exporter.send(small()).await;
    }
    result.unwrap();
    assert!(!peer.requests().is_empty());
}

#[tokio::test]
async fn an_unreachable_server_is_a_retryable_refusal_that_names_it() {
    let peer = Peer::start(|_| Reply::http(200)).await;
    let address = peer.address;
    let exporter = plain(&peer, "");
    peer.stop().await;
    // Until the keeper has noticed, calls may break in other ways, but never for good.
    let refused = exporter.send(small()).await.unwrap_err();
    assert!(!refused.permanent);
    assert_eq!(refused.code, Some(Code::Unavailable));
    assert!(refused.message.contains(&address.to_string()), "{refused}");
}

#[tokio::test]
async fn an_abandoned_call_leaves_the_channel_usable() {
    let peer = Peer::start(|request| match request.header("want") {
        "silence" if request.body.len() > 100 => Reply::silent(),
        _ => Reply::grpc_message(b""),
    })
    .await;
    let exporter = plain(&peer, "headers: {want: silence}\ncompression: none");
    {
        let large = exporter.built.far_end.consume(batch(parts()));
        tokio::select! {
            _ = large => panic!("the peer is silent"),
            () = peer.wait_for_request() => {}
        }
    }
    exporter.send(small()).await.unwrap();
    assert_eq!(peer.connections(), 1, "only the stream was reset");
}

#[tokio::test]
async fn a_name_is_resolved_and_addresses_without_a_listener_take_no_calls() {
    // "localhost" is one address or two; the peer listens on one.
    let peer = Peer::start(|_| Reply::grpc_message(b"")).await;
    let exporter = exporter(&format!(
        "endpoint: dns:///localhost:{}\ntls: {{insecure: true}}\nwait_for_ready: true",
        peer.address.port()
    ));
    for _ in 0..3 {
        exporter.send(small()).await.unwrap();
    }
    assert_eq!(peer.requests().len(), 3);
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn tls_checks_the_server_and_shows_a_certificate_of_its_own() {
    let authority = Authority::new();
    let clients = Authority::new();
    let config = server_tls(&authority, Some(&clients));
    let peer = Peer::start_tls(config, |_| Reply::grpc_message(b"")).await;
    let ca = file(&authority.pem());
    let Issued { certificate, key } = clients.issue_client();
    let (certificate, key) = (file(&certificate), file(&key));
    let endpoint = peer.address;
    let with_everything = exporter(&format!(
        "endpoint: {endpoint}\ntls: {{ca_file: {}, cert_file: {}, key_file: {}, server_name_override: localhost}}",
        ca.path().display(),
        certificate.path().display(),
        key.path().display(),
    ));
    with_everything.send(small()).await.unwrap();

    let without_client = exporter(&format!(
        "endpoint: {endpoint}\ntls: {{ca_file: {}}}",
        ca.path().display()
    ));
    assert!(!without_client.send(small()).await.unwrap_err().permanent);
    let unknown_issuer = exporter(&format!("endpoint: https://{endpoint}"));
    let refused = unknown_issuer.send(small()).await.unwrap_err();
    assert!(refused.message.contains("UnknownIssuer"), "{refused}");
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn verification_can_be_skipped_and_certificates_be_written_into_the_configuration() {
    let authority = Authority::new();
    let peer = Peer::start_tls(server_tls(&authority, None), |_| Reply::grpc_message(b"")).await;
    let endpoint = peer.address;
    let skipping = exporter(&format!("endpoint: {endpoint}\ntls: {{insecure_skip_verify: true}}"));
    skipping.send(small()).await.unwrap();
    let pem = authority.pem().replace('\n', "\n    ");
    let inline = exporter(&format!(
        "endpoint: {endpoint}\ntls:\n  min_version: '1.3'\n  ca_pem: |\n    {pem}"
    ));
    inline.send(small()).await.unwrap();
}

#[test]
fn refuses_what_cannot_work_and_says_where() {
    for (yaml, text) in [
        ("{}", "non-empty \"endpoint\""),
        ("endpoint: host", "port is missing"),
        ("endpoint: a:1\nauth: {}", "names no extension"),
        ("endpoint: 'http://a:1'\nauth: {authenticator: x}", "in plain text"),
        ("endpoint: a:1\ncompression: brotli", "unknown compression"),
        ("endpoint: a:1\ncompression_params: {level: 77}", "levels"),
        ("endpoint: a:1\nbalancer_name: best", "unknown balancer"),
        ("endpoint: a:1\nheaders: {'a b': c}", "no header name"),
        ("endpoint: a:1\nheaders: {grpc-timeout: 1S}", "set by gRPC"),
        ("endpoint: a:1\ntls: {ca_file: /nowhere/ca.pem}", "/nowhere/ca.pem"),
        ("endpoint: a:1\ntls: {cert_pem: x}", "needs both"),
        (
            "endpoint: a:1\nsending_queue: {dead_letter: ''}",
            "must name a directory",
        ),
    ] {
        let section = Section::from_yaml(yaml);
        let _ = OtlpFactory.check(&section);
        let problems = section.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(text)),
            "{yaml}: {problems:?}"
        );
    }
}

#[test]
fn the_example_is_sound_and_delivery_has_the_collectors_defaults() {
    let section = Section::from_yaml(OtlpFactory.example());
    let Some(Plan::Exporter(plan)) = OtlpFactory.check(&section) else {
        panic!("no plan");
    };
    assert!(section.problems().is_empty(), "{:?}", section.problems());
    let delivery = plan.delivery();
    assert_eq!(delivery.timeout, Some(Duration::from_secs(5)));
    assert!(delivery.queue.is_some() && delivery.retry.is_some());
}
