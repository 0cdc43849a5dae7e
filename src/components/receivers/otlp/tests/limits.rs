//! Caps, bombs, lies about lengths, slow bodies, memory.

use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::pdata::MemoryBudget;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Without RetryInfo and Retry-After: final.
fn assert_too_large(answer: &Answer) {
    if answer.headers.contains_key("grpc-status") {
        assert_eq!(answer.code(), 8, "{answer:?}");
    } else {
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    assert!(!answer.headers.contains_key("grpc-status-details-bin"));
    assert!(!answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn bodies_over_the_cap_are_refused_for_good_in_both_protocols() {
    let harness = start_yaml(&both("max_recv_msg_size_mib: 1", "max_request_body_size: 1MiB")).await;
    let big = vec![0; (1 << 20) + 1];
    assert_too_large(&call(harness.grpc(), TRACES_METHOD, &[], framed(0, &big)).await);
    for http2 in [false, true] {
        assert_too_large(&send(harness.http(), http2, "/v1/traces", &[PROTOBUF], big.clone()).await);
    }
    // The same when only the inflated body is too large.
    let bomb = gzip(&vec![0; 30 << 20]);
    assert_too_large(
        &call(
            harness.grpc(),
            TRACES_METHOD,
            &[("grpc-encoding", "gzip")],
            framed(1, &bomb),
        )
        .await,
    );
    let headers = [PROTOBUF, ("content-encoding", "gzip")];
    assert_too_large(&send(harness.http(), false, "/v1/traces", &headers, bomb).await);
    assert_eq!(harness.context.memory.used(), 0, "everything was given back");
}

#[tokio::test]
async fn a_four_gigabyte_claim_is_refused_before_it_is_read() {
    let harness = start_default().await;
    let claim = Bytes::from_static(b"\0\xff\xff\xff\xffabc");
    assert_too_large(&call(harness.grpc(), TRACES_METHOD, &[], claim).await);
    let mut stream = raw(harness.http()).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                expect: 100-continue\r\ncontent-length: 4294967295\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(
        answer[..read].starts_with(b"HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&answer[..read])
    );
}

#[tokio::test]
async fn a_client_that_is_still_sending_sees_the_413() {
    let harness = start_yaml(&both("", "max_request_body_size: 1KiB")).await;
    let mut stream = raw(harness.http()).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                connection: close\r\ncontent-length: 3000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 3_000_000]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn without_memory_requests_are_refused_with_a_delay_before_they_are_read() {
    let mut context = BuildContext::standalone(ComponentKind::Receiver, "otlp");
    context.memory = MemoryBudget::new(1000);
    context.admission_wait = Duration::from_millis(1);
    let harness = start_with(&both("", ""), context).await;
    let body = spans(100);
    assert!(body.len() > 1000);
    let answer = call(harness.grpc(), TRACES_METHOD, &[], framed(0, &body)).await;
    assert_eq!(
        (answer.code(), answer.header("grpc-message")),
        (14, "data refused due to high memory usage")
    );
    assert!(answer.headers.contains_key("grpc-status-details-bin"), "RetryInfo");
    for headers in [&[PROTOBUF][..], &[PROTOBUF, ("content-encoding", "gzip")]] {
        let body = if headers.len() == 1 {
            body.clone()
        } else {
            gzip(&vec![0; 100_000])
        };
        let answer = send(harness.http(), false, "/v1/traces", headers, body).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{headers:?}");
    }
    assert_eq!(harness.context.memory.used(), 0);
    assert_eq!(
        call(harness.grpc(), TRACES_METHOD, &[], framed(0, &spans(2)))
            .await
            .code(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_ends_with_408() {
    let harness = start_default().await;
    let mut stream = raw(harness.http()).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(
        answer[..read].starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer[..read])
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(harness.context.memory.used(), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_mid_body_holds_nothing() {
    let harness = start_default().await;
    let mut stream = raw(harness.http()).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\n\
                content-length: 100000\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    while harness.context.memory.used() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    while harness.context.memory.used() != 0 {
        tokio::task::yield_now().await;
    }
    assert!(harness.sink.seen().is_empty());
}

#[tokio::test]
async fn a_uri_over_eight_kilobytes_is_414() {
    let harness = start_default().await;
    let path = format!("/v1/traces?{}", "x".repeat(9000));
    assert_eq!(send(harness.http(), false, &path, &[PROTOBUF], "").await.status, 414);
}
