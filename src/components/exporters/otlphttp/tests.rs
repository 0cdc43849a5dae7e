//! Against a far end on a socket of its own.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use smallvec::smallvec;
use tonic::Code;

use super::*;
use crate::component::{Refused, SampleValue};
use crate::net::client::test_peer::{Peer, Received, Reply, server_tls};
use crate::net::codec::{Encoding, inflate};
use crate::net::tls::test_certificates::Authority;
use crate::pdata::{Batch, Origin, Parts};

#[cfg(all(feature = "aws", feature = "simulator"))]
mod split;

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
    let Some(Plan::Exporter(plan)) = OtlpHttpFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    assert!(section.problems().is_empty(), "{:?}", section.problems());
    let context = BuildContext::standalone(ComponentKind::Exporter, "otlphttp/test");
    Exporter {
        built: plan.build(context.clone()).unwrap(),
        context,
    }
}

fn plain(peer: &Peer, more: &str) -> Exporter {
    exporter(&format!("endpoint: http://{}\n{more}", peer.address))
}

fn batch(signal: Signal, parts: Parts) -> Batch {
    Batch::from_parts(signal, parts, 7, Origin::internal())
}

fn small() -> Batch {
    batch(Signal::Traces, smallvec![Bytes::from_static(b"\x0a\x00")])
}

fn parts() -> Parts {
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

fn body(received: &Received) -> Vec<u8> {
    let encoding = Encoding::named(received.header("content-encoding")).unwrap();
    inflate(encoding, &received.body, 100_000_000, &mut |_| true)
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn parts_arrive_as_one_body_byte_for_byte_with_every_compression() {
    let wanted = parts().concat();
    for compression in [
        "none",
        "gzip",
        "zlib",
        "deflate",
        "zstd",
        "snappy",
        "x-snappy-framed",
        "lz4",
    ] {
        let peer = Peer::start(|_| Reply::http(200)).await;
        let exporter = plain(&peer, &format!("compression: {compression}"));
        exporter.send(batch(Signal::Traces, parts())).await.unwrap();
        let requests = peer.requests();
        assert!(body(&requests[0]) == wanted, "{compression}: not the same bytes");
        assert_eq!(requests[0].header("content-type"), "application/x-protobuf");
        assert_eq!(requests[0].header("content-length"), requests[0].body.len().to_string());
    }
}

#[tokio::test]
async fn json_is_what_the_bytes_say() {
    let peer = Peer::start(|_| Reply::http(200)).await;
    let exporter = plain(&peer, "encoding: json");
    // One span named "x" below empty resource and scope.
    let bytes = Bytes::from_static(b"\x0a\x07\x12\x05\x12\x03\x2a\x01x");
    exporter.send(batch(Signal::Traces, smallvec![bytes])).await.unwrap();
    let request = &peer.requests()[0];
    assert_eq!(request.header("content-type"), "application/json");
    let json: serde_json::Value = serde_json::from_slice(&body(request)).unwrap();
    assert_eq!(json["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"], "x");
}

#[tokio::test]
async fn what_is_broken_below_the_items_is_refused_for_good_as_json() {
    let peer = Peer::start(|_| Reply::http(200)).await;
    let exporter = plain(&peer, "encoding: json");
    let bytes = Bytes::from_static(b"\x0a\x07\x12\x05\x12\x03\x2a\x7fx");
    let refused = exporter
        .send(batch(Signal::Traces, smallvec![bytes]))
        .await
        .unwrap_err();
    assert!(refused.permanent, "{refused}");
}

#[tokio::test]
async fn a_signal_goes_below_the_endpoint_or_to_its_own_verbatim() {
    let peer = Peer::start(|_| Reply::http(200)).await;
    let exporter = exporter(&format!(
        "endpoint: http://{0}/base/\nlogs_endpoint: http://{0}/take/logs/here\ncompression: none",
        peer.address
    ));
    for signal in Signal::ALL {
        exporter.send(batch(signal, parts())).await.unwrap();
    }
    let paths: Vec<String> = peer.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/base/v1/traces", "/base/v1/metrics", "/take/logs/here"]);
    assert_eq!(peer.connections(), 1, "connections are kept");
}

#[tokio::test]
async fn a_signal_without_an_endpoint_is_refused_for_good() {
    let exporter = exporter("traces_endpoint: http://127.0.0.1:1/x");
    let refused = exporter.send(batch(Signal::Logs, parts())).await.unwrap_err();
    assert!(refused.permanent);
    assert!(refused.message.contains("logs"), "{refused}");
}

#[tokio::test]
async fn every_http_status_is_refused_as_the_collector_does() {
    let peer = Peer::start(|request| Reply::http(request.header("want").parse().unwrap())).await;
    for status in [
        301, 400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 501, 502, 503, 504,
    ] {
        let exporter = plain(&peer, &format!("headers: {{want: '{status}'}}"));
        let refused = exporter.send(small()).await.unwrap_err();
        assert_eq!(refused.permanent, ![429, 502, 503, 504].contains(&status), "{status}");
        assert!(refused.message.contains(&status.to_string()), "{refused}");
    }
    for status in [200, 201, 202, 204] {
        let exporter = plain(&peer, &format!("headers: {{want: '{status}'}}"));
        exporter.send(small()).await.unwrap();
    }
}

#[tokio::test]
async fn retry_after_comes_through_as_seconds_or_a_date() {
    for (value, status, wanted) in [
        ("7", 503, Some(Duration::from_secs(7))),
        ("7", 429, Some(Duration::from_secs(7))),
        ("7", 504, None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 503, Some(Duration::ZERO)),
    ] {
        let peer = Peer::start(move |_| Reply::http(status).header("retry-after", value)).await;
        let refused = plain(&peer, "").send(small()).await.unwrap_err();
        assert_eq!(refused.retry_after, wanted, "{value} {status}");
    }
}

#[tokio::test]
async fn a_partial_success_is_sent_and_its_rejects_are_counted() {
    let replies = [
        Reply::http(200)
            .header("content-type", "application/x-protobuf")
            .body(b"\x0a\x07\x08\x05\x12\x03old"),
        Reply::http(200)
            .header("content-type", "application/json")
            .body(br#"{"partialSuccess":{"rejectedSpans":"5","errorMessage":"old"}}"#),
    ];
    for reply in replies {
        let peer = Peer::start(move |_| reply.clone()).await;
        let exporter = plain(&peer, "");
        exporter.send(small()).await.unwrap();
        let samples = exporter.context.instruments.registry().gather();
        assert!(samples.iter().any(
            |sample| sample.name == "radiosonde_exporter_rejected_items" && sample.value == SampleValue::Counter(5)
        ));
    }
}

#[tokio::test]
async fn an_endless_answer_is_broken_off() {
    let peer = Peer::start(|_| Reply::http(200).body(&vec![b'x'; 5 * 1024 * 1024])).await;
    let refused = plain(&peer, "").send(small()).await.unwrap_err();
    assert!(refused.message.contains("longer than 4 MiB"), "{refused}");
    assert!(!refused.permanent);
}

#[tokio::test]
async fn an_unreachable_server_is_a_retryable_refusal_with_the_cause() {
    let peer = Peer::start(|_| Reply::http(200)).await;
    let address = peer.address;
    peer.stop().await;
    let exporter = exporter(&format!("endpoint: http://{address}"));
    let refused = exporter.send(small()).await.unwrap_err();
    assert!(!refused.permanent);
    assert_eq!(refused.code, Some(Code::Unavailable));
    assert!(refused.message.contains("refused"), "{refused}");
    let _again = Peer::listen(address, None, |_| Reply::http(200)).await;
    exporter.send(small()).await.unwrap();
}

#[tokio::test]
async fn an_abandoned_call_leaves_the_client_usable() {
    let peer = Peer::start(|request| {
        if request.body.len() > 100 {
            Reply::silent()
        } else {
            Reply::http(200)
        }
    })
    .await;
    let exporter = plain(&peer, "compression: none");
    {
        let large = exporter.built.far_end.consume(batch(Signal::Traces, parts()));
        tokio::select! {
            _ = large => panic!("the peer is silent"),
            () = peer.wait_for_request() => {}
        }
    }
    exporter.send(small()).await.unwrap();
}

#[tokio::test]
async fn https_speaks_http2_where_it_may_and_http1_where_it_must() {
    let authority = Authority::new();
    let peer = Peer::start_tls(server_tls(&authority, None), |_| Reply::http(200)).await;
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(authority.pem().as_bytes()).unwrap();
    for force in [true, false] {
        let exporter = exporter(&format!(
            "endpoint: https://localhost:{}\ntls: {{ca_file: {}}}\nforce_attempt_http2: {force}",
            peer.address.port(),
            ca.path().display()
        ));
        exporter.send(batch(Signal::Traces, parts())).await.unwrap();
    }
    let requests = peer.requests();
    // Only HTTP/1 has a header of this name.
    let host: Vec<bool> = requests
        .iter()
        .map(|request| request.headers.contains_key("host"))
        .collect();
    assert_eq!(host, [false, true]);
}

#[tokio::test]
async fn plain_requests_go_through_the_configured_proxy() {
    let proxy = Peer::start(|_| Reply::http(200)).await;
    let exporter = exporter(&format!(
        "endpoint: http://far.invalid:99\nproxy_url: http://me:pw@{}",
        proxy.address
    ));
    exporter.send(small()).await.unwrap();
    let request = &proxy.requests()[0];
    assert_eq!(
        (request.authority.as_str(), request.path.as_str()),
        ("far.invalid:99", "/v1/traces")
    );
    assert_eq!(request.header("proxy-authorization"), "Basic bWU6cHc=");
}

#[tokio::test]
async fn a_user_in_the_url_becomes_basic_authentication() {
    let peer = Peer::start(|_| Reply::http(200)).await;
    let exporter = exporter(&format!("endpoint: http://me:p%40ss@{}", peer.address));
    exporter.send(small()).await.unwrap();
    assert_eq!(peer.requests()[0].header("authorization"), "Basic bWU6cEBzcw==");
}

#[test]
fn refuses_what_cannot_work_and_says_where() {
    for (yaml, text) in [
        ("{}", "at least one endpoint"),
        ("endpoint: host:4318", "must begin with http"),
        ("endpoint: grpc://host:4318", "must begin with http"),
        ("endpoint: http://a:1\nauth: {}", "names no extension"),
        ("endpoint: http://a:1\nsplit: gcp", "unknown split"),
        (
            "endpoint: http://a:1\ncookies: {enabled: true}",
            "`cookies` is not built yet",
        ),
        ("endpoint: http://a:1\nencoding: xml", "unknown encoding"),
        ("endpoint: http://a:1\ncompression: brotli", "unknown compression"),
        ("endpoint: http://a:1\ncompression_params: {level: 77}", "levels"),
        ("endpoint: http://a:1\nproxy_url: socks5://x", "not built yet"),
        ("endpoint: http://a:1\nheaders: {content-length: '1'}", "cannot be set"),
        ("endpoint: https://a:1\ntls: {key_file: /nowhere/key}", "needs both"),
    ] {
        let section = Section::from_yaml(yaml);
        let _ = OtlpHttpFactory.check(&section);
        let problems = section.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(text)),
            "{yaml}: {problems:?}"
        );
    }
}

#[test]
fn the_example_is_sound_and_delivery_has_the_collectors_defaults() {
    let section = Section::from_yaml(OtlpHttpFactory.example());
    let Some(Plan::Exporter(plan)) = OtlpHttpFactory.check(&section) else {
        panic!("no plan");
    };
    assert!(section.problems().is_empty(), "{:?}", section.problems());
    let delivery = plan.delivery();
    assert_eq!(delivery.timeout, Some(Duration::from_secs(30)));
    assert!(delivery.queue.is_some() && delivery.retry.is_some());
}
