//! Against a far end on a socket of its own that plays X-Ray, and against the simulated one.

#[cfg(feature = "simulator")]
mod simulated;

use std::sync::Mutex;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::component::{Refused, SampleValue};
use crate::net::client::test_peer::{Peer, Received, Reply};
use crate::pdata::{Batch, Decoded, Origin};

struct Exporter {
    built: BuiltExporter,
    context: BuildContext,
}

fn exporter(peer: &Peer, more: &str) -> Exporter {
    let context = BuildContext::standalone(ComponentKind::Exporter, "awsxray");
    exporter_to(&format!("http://{}", peer.address), more, context)
}

fn exporter_to(url: &str, more: &str, context: BuildContext) -> Exporter {
    let credentials = if more.contains("credentials:") {
        ""
    } else {
        "credentials: {access_key_id: AKID, secret_access_key: secret}"
    };
    let yaml = format!(
        "endpoint: '{url}'\nregion: eu-central-1\nmax_retries: 0\nrequest_timeout_seconds: 5\n{credentials}\n{more}"
    );
    let section = Section::from_yaml(&yaml);
    let Some(Plan::Exporter(plan)) = AwsXrayFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    assert!(!section.has_errors(), "{:?}", section.problems());
    Exporter {
        built: plan.build(context.clone()).unwrap(),
        context,
    }
}

impl Exporter {
    async fn send(&self, batch: Batch) -> Result<(), Refused> {
        let answer = tokio::time::timeout(Duration::from_secs(30), self.built.far_end.consume(batch));
        answer.await.expect("an answer within 30 s")
    }

    fn count(&self, name: &str, label: &str) -> u64 {
        let samples = self.context.instruments.registry().gather();
        let found = samples.iter().filter(|sample| {
            sample.name == name && (label.is_empty() || sample.labels.iter().any(|(_, value)| value == label))
        });
        found
            .map(|sample| match &sample.value {
                SampleValue::Counter(count) => *count,
                _ => 0,
            })
            .sum()
    }
}

fn batch(ids: std::ops::RangeInclusive<u64>) -> Batch {
    let span = |id: u64| Span {
        trace_id: vec![1; 16],
        span_id: id.to_be_bytes().to_vec(),
        name: "op".to_owned(),
        start_time_unix_nano: 1_500_000_000_000_000_000,
        end_time_unix_nano: 1_500_000_001_000_000_000,
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: ids.map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Batch::from_decoded(Decoded::Traces(request), Origin::internal())
}

/// The ids of a call's documents.
fn ids(request: &Received) -> Vec<u64> {
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let documents = body["TraceSegmentDocuments"].as_array().unwrap().iter();
    let id = |document: &serde_json::Value| {
        let document: serde_json::Value = serde_json::from_str(document.as_str().unwrap()).unwrap();
        u64::from_str_radix(document["id"].as_str().unwrap(), 16).unwrap()
    };
    documents.map(id).collect()
}

fn taken() -> Reply {
    Reply::http(200)
        .header("content-type", "application/json")
        .body(b"{\"UnprocessedTraceSegments\":[]}")
}

fn failed(status: u16, code: &str) -> Reply {
    let body = format!("{{\"message\":\"no\",\"__type\":\"{code}\"}}");
    Reply::http(status)
        .header("x-amzn-errortype", code)
        .body(body.as_bytes())
}

fn unprocessed(ids: &[u64], code: &str) -> Reply {
    let one = |id: &u64| format!("{{\"Id\":\"{id:016x}\",\"ErrorCode\":\"{code}\",\"Message\":\"m\"}}");
    let list: Vec<String> = ids.iter().map(one).collect();
    Reply::http(200).body(format!("{{\"UnprocessedTraceSegments\":[{}]}}", list.join(",")).as_bytes())
}

/// Answers call after call from a list, then with success.
async fn scripted(replies: Vec<Reply>) -> Peer {
    let replies = Mutex::new(replies.into_iter());
    Peer::start(move |request| match request.path.as_str() {
        "/TraceSegments" => replies.lock().unwrap().next().unwrap_or_else(taken),
        _ => Reply::http(200).body(b"{}"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_documents_a_call_signed_and_with_their_time() {
    let peer = scripted(vec![]).await;
    let exporter = exporter(&peer, "");
    exporter.send(batch(1..=120)).await.unwrap();
    let requests = peer.requests();
    let sizes: Vec<usize> = requests.iter().map(|request| ids(request).len()).collect();
    assert_eq!(sizes, [50, 50, 20]);
    assert!(
        requests[0]
            .header("authorization")
            .contains("/eu-central-1/xray/aws4_request")
    );
    assert!(requests[0].header("x-amzn-xray-timestamp").parse::<f64>().unwrap() > 1.0e9);
    assert_eq!(exporter.count("xray_export_documents_total", "sent"), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_processed_is_sent_again_alone() {
    let peer = scripted(vec![
        unprocessed(&[2, 3], "ThrottledException"),
        unprocessed(&[3], "InternalFailure"),
    ])
    .await;
    let exporter = exporter(&peer, "");
    for _ in 0..2 {
        let refused = exporter.send(batch(1..=4)).await.unwrap_err();
        assert!(!refused.permanent, "{refused}");
    }
    exporter.send(batch(1..=4)).await.unwrap();
    let sent: Vec<Vec<u64>> = peer.requests().iter().map(ids).collect();
    assert_eq!(sent, [vec![1, 2, 3, 4], vec![2, 3], vec![3]]);
    assert_eq!(exporter.count("xray_export_documents_total", "sent"), 4);
    assert_eq!(exporter.count("xray_export_unprocessed_total", "ThrottledException"), 2);
    // A later batch with the same ids is another one.
    exporter.send(batch(1..=2)).await.unwrap();
    assert_eq!(ids(peer.requests().last().unwrap()), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_never_be_taken_is_dropped_and_counted_and_unknown_codes_after_three_tries() {
    let peer = scripted(vec![unprocessed(&[2], "InvalidName")]).await;
    let first = exporter(&peer, "");
    first.send(batch(1..=3)).await.unwrap();
    assert_eq!(first.count("xray_export_documents_total", "rejected"), 1);
    assert_eq!(first.count("radiosonde_exporter_rejected_items", ""), 1);
    let peer = scripted(vec![unprocessed(&[1], "Strange"); 3]).await;
    let second = exporter(&peer, "");
    assert!(!second.send(batch(1..=2)).await.unwrap_err().permanent);
    assert!(!second.send(batch(1..=2)).await.unwrap_err().permanent);
    second.send(batch(1..=2)).await.unwrap();
    assert_eq!(
        (
            peer.requests().len(),
            second.count("xray_export_unprocessed_total", "Strange")
        ),
        (3, 3)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_chunk_neither_loses_later_ones_nor_sends_finished_ones_again() {
    let peer = scripted(vec![taken(), failed(503, "ServiceUnavailable"), taken()]).await;
    let exporter = exporter(&peer, "");
    assert!(!exporter.send(batch(1..=150)).await.unwrap_err().permanent);
    assert_eq!(peer.requests().len(), 3);
    exporter.send(batch(1..=150)).await.unwrap();
    assert_eq!(ids(&peer.requests()[3]), (51..=100).collect::<Vec<u64>>());
    assert_eq!(exporter.count("xray_export_documents_total", "sent"), 150);
    assert_eq!(exporter.count("xray_export_documents_total", "retry"), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_retryable_permanent_or_split() {
    for (status, code, permanent) in [
        (429, "ThrottledException", false),
        (400, "ThrottledException", false),
        (408, "RequestTimeout", false),
        (500, "InternalFailure", false),
        (503, "ServiceUnavailable", false),
        (403, "ExpiredTokenException", false),
        (400, "InvalidRequestException", true),
        (403, "AccessDeniedException", true),
        (404, "NotFound", true),
    ] {
        let peer = Peer::start(move |_| failed(status, code)).await;
        let refused = exporter(&peer, "").send(batch(1..=2)).await.unwrap_err();
        assert_eq!(refused.permanent, permanent, "{status} {code}: {refused}");
    }
    let peer = Peer::start(|request| {
        if ids(request).len() > 2 {
            failed(413, "TooLarge")
        } else {
            taken()
        }
    })
    .await;
    let exporter = exporter(&peer, "");
    exporter.send(batch(1..=8)).await.unwrap();
    let sent: Vec<Vec<u64>> = peer.requests().iter().map(ids).filter(|ids| ids.len() <= 2).collect();
    assert_eq!(sent.concat(), (1..=8).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_x_ray_is_retryable() {
    let peer = scripted(vec![]).await;
    let exporter = exporter(&peer, "");
    peer.stop().await;
    let refused = exporter.send(batch(1..=1)).await.unwrap_err();
    assert!(!refused.permanent, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_without_ids_are_counted_and_do_not_keep_the_others() {
    let peer = scripted(vec![]).await;
    let exporter = exporter(&peer, "");
    exporter.send(batch(0..=2)).await.unwrap();
    assert_eq!(ids(&peer.requests()[0]), [1, 2]);
    assert_eq!(exporter.count("xray_export_documents_total", "bad_id"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_at_the_end_tells_what_was_sent() {
    let peer = scripted(vec![unprocessed(&[1], "InvalidName")]).await;
    let exporter = exporter(
        &peer,
        "local_mode: true\ntelemetry: {enabled: true, hostname: h, instance_id: i}",
    );
    exporter.send(batch(1..=3)).await.unwrap();
    exporter
        .built
        .running
        .stop(Deadline::after(Duration::from_secs(10)))
        .await;
    let requests = peer.requests();
    let record = requests
        .iter()
        .find(|request| request.path == "/TelemetryRecords")
        .expect("a record");
    let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
    assert_eq!((&body["Hostname"], &body["EC2InstanceId"]), (&"h".into(), &"i".into()));
    let record = &body["TelemetryRecords"][0];
    assert_eq!(record["SegmentsReceivedCount"], 3);
    assert_eq!(
        (&record["SegmentsSentCount"], &record["SegmentsRejectedCount"]),
        (&2.into(), &1.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn contributors_tell_what_was_received_and_rejected() {
    let peer = scripted(vec![]).await;
    let context = BuildContext::standalone(ComponentKind::Exporter, "awsxray");
    let receiver = crate::component::Instruments::new(
        context.instruments.registry().clone(),
        ComponentKind::Receiver,
        "awsxray/in",
    );
    let datagrams = |outcome| receiver.counter("xray_udp_datagrams_total", "", &[("outcome", outcome)]);
    // Of before the exporter was there.
    datagrams("ok").add(100);
    let more = "local_mode: true\ntelemetry: {enabled: true, hostname: h, instance_id: i, contributors: [awsxray/in]}";
    let exporter = exporter_to(&format!("http://{}", peer.address), more, context);
    datagrams("ok").add(5);
    datagrams("rejected").add(2);
    datagrams("dropped").add(1);
    exporter.send(batch(1..=3)).await.unwrap();
    let deadline = Deadline::after(Duration::from_secs(10));
    exporter.built.running.stop(deadline).await;
    let requests = peer.requests();
    let records = requests.iter().find(|request| request.path == "/TelemetryRecords");
    let body: serde_json::Value = serde_json::from_slice(&records.expect("a record").body).unwrap();
    let record = &body["TelemetryRecords"][0];
    let counts = ["Received", "Sent", "Rejected", "Spillover"].map(|name| &record[format!("Segments{name}Count")]);
    assert_eq!(counts, [8, 3, 2, 1], "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_gone_through_and_any_certificate_will_do_where_that_is_asked_for() {
    let proxy = scripted(vec![]).await;
    let more = format!("proxy_address: http://me:pw@{}", proxy.address);
    let context = || BuildContext::standalone(ComponentKind::Exporter, "awsxray");
    let through = exporter_to("http://xray.invalid:99", &more, context());
    through.send(batch(1..=2)).await.unwrap();
    let request = &proxy.requests()[0];
    let target = (request.authority.as_str(), request.path.as_str());
    assert_eq!(target, ("xray.invalid:99", "/TraceSegments"));
    assert_eq!(request.header("proxy-authorization"), "Basic bWU6cHc=");
    assert!(
        request
            .header("authorization")
            .starts_with("AWS4-HMAC-SHA256 Credential=AKID/")
    );

    let authority = crate::net::tls::test_certificates::Authority::new();
    let config = crate::net::client::test_peer::server_tls(&authority, None);
    let peer = Peer::start_tls(config, |_| taken()).await;
    let url = format!("https://localhost:{}", peer.address.port());
    let refused = exporter_to(&url, "", context()).send(batch(1..=1)).await.unwrap_err();
    assert!(!refused.permanent, "{refused}");
    let trusting = exporter_to(&url, "no_verify_ssl: true", context());
    trusting.send(batch(1..=1)).await.unwrap();
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    for (yaml, text) in [
        ("no_verify_ssl: true", "not verified"),
        ("proxy_address: 'http://x y'", "proxy"),
        ("local_mode: true", "no region"),
        ("num_workers: 0", "at least 1"),
        ("request_timeout_seconds: 0", "at least 1"),
        ("max_request_bytes: 1KiB", "at least 256KiB"),
        ("role_arn: me", "ARN"),
        ("external_id: x", "needs `role_arn`"),
        ("endpoint: xray.example", "must be a URL"),
        ("telemetry: {contributors: [x]}", "`awsxray` receiver"),
        ("compat: new", "compat"),
    ] {
        let section = Section::from_yaml(yaml);
        let _ = AwsXrayFactory.check(&section);
        let problems = section.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(text)),
            "{yaml}: {problems:?}"
        );
    }
}
