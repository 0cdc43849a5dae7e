//! OTLP/gRPC: empty requests, encodings, bad framing, many calls at once, deadlines, real tonic clients.

use std::io::Write;

use tonic::codec::CompressionEncoding;

use super::*;

#[tokio::test]
async fn an_empty_request_is_fine_and_brings_nothing_to_the_pipeline() {
    let harness = start_default().await;
    let answer = call(harness.grpc(), TRACES_METHOD, &[], framed(0, b"")).await;
    assert_eq!(answer.code(), 0, "{answer:?}");
    assert!(harness.sink.seen().is_empty());
}

#[tokio::test]
async fn unknown_services_methods_and_profiles_are_unimplemented() {
    let harness = start_default().await;
    for method in [
        "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
        "/",
    ] {
        assert_eq!(
            call(harness.grpc(), method, &[], framed(0, b"")).await.code(),
            12,
            "{method}"
        );
    }
}

#[tokio::test]
async fn every_encoding_is_taken_on_every_service() {
    let harness = start_default().await;
    for (method, body) in [
        (TRACES_METHOD, spans(9)),
        (METRICS_METHOD, points(9)),
        (LOGS_METHOD, records(9)),
    ] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&body).unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&body).unwrap();
        let mut snappy = snap::write::FrameEncoder::new(Vec::new());
        snappy.write_all(&body).unwrap();
        for (name, bytes) in [
            ("gzip", gzip.finish().unwrap()),
            ("deflate", zlib.finish().unwrap()),
            ("zstd", zstd::encode_all(&body[..], 1).unwrap()),
            ("snappy", snappy.into_inner().unwrap()),
            ("snappy", snap::raw::Encoder::new().compress_vec(&body).unwrap()),
        ] {
            let answer = call(harness.grpc(), method, &[("grpc-encoding", name)], framed(1, &bytes)).await;
            assert_eq!(answer.code(), 0, "{name} {answer:?}");
            // The flag decides, not the header.
            let answer = call(harness.grpc(), method, &[("grpc-encoding", name)], framed(0, &body)).await;
            assert_eq!(answer.code(), 0, "{name} {answer:?}");
        }
        assert!(harness.sink.seen().into_iter().all(|(_, items)| items == 9));
    }
    let answer = call(
        harness.grpc(),
        TRACES_METHOD,
        &[("grpc-encoding", "br")],
        framed(1, b"x"),
    )
    .await;
    assert_eq!(answer.code(), 12);
    assert!(answer.header("grpc-accept-encoding").contains("zstd"));
}

#[tokio::test]
async fn garbage_is_an_invalid_argument_and_the_connection_survives() {
    let harness = start_default().await;
    let (sender, _driver) = http2_connection(harness.grpc()).await;
    let bad: [Bytes; 6] = [
        Bytes::from_static(b""),
        Bytes::from_static(b"\0\0"),
        Bytes::from_static(b"\0\0\0\0\x09short"),
        framed(0, b"\xff\xff\xff garbage"),
        framed(7, b"flag"),
        [framed(0, &spans(1)), framed(0, &spans(1))].concat().into(),
    ];
    for body in bad.into_iter().chain([framed(0, &spans(1))]) {
        let good = body == framed(0, &spans(1));
        let request = Request::post(format!("http://a{TRACES_METHOD}"))
            .header("content-type", "application/grpc")
            .body(Full::new(body))
            .unwrap();
        let answer = sender.clone().send_request(request).await.unwrap();
        let headers = answer.headers().clone();
        let body = answer.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or(headers);
        assert_eq!(trailers["grpc-status"], if good { "0" } else { "3" });
    }
    assert_eq!(harness.sink.seen(), [(Signal::Traces, 1)]);
}

#[tokio::test]
async fn corrupt_compression_is_an_invalid_argument() {
    let harness = start_default().await;
    for name in ["gzip", "deflate", "zstd", "snappy"] {
        let answer = call(
            harness.grpc(),
            TRACES_METHOD,
            &[("grpc-encoding", name)],
            framed(1, b"\xff\xffno"),
        )
        .await;
        assert_eq!(answer.code(), 3, "{name} {answer:?}");
    }
}

#[tokio::test]
async fn sixty_four_exports_at_once_on_one_channel_work() {
    let harness = start_default().await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", harness.grpc())).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..64 {
        let channel = channel.clone();
        calls.spawn(async move { export(channel, n + 1, None).await });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
    let items: usize = harness.sink.seen().into_iter().map(|(_, items)| items).sum();
    assert_eq!(items, (1..=64).sum::<usize>());
    assert_eq!(harness.count("accepted_spans", "grpc"), items as u64);
}

/// One export by tonic's own client.
async fn export(
    channel: tonic::transport::Channel,
    items: usize,
    encoding: Option<CompressionEncoding>,
) -> Result<(), tonic::Status> {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    let mut client = tonic::client::Grpc::new(channel);
    if let Some(encoding) = encoding {
        client = client.send_compressed(encoding).accept_compressed(encoding);
    }
    client.ready().await.unwrap();
    let request = ExportTraceServiceRequest::decode(&spans(items)[..]).unwrap();
    let codec = tonic_prost::ProstCodec::<_, ExportTraceServiceResponse>::default();
    let path = ::http::uri::PathAndQuery::from_static(TRACES_METHOD);
    let answer = client.unary(tonic::Request::new(request), path, codec).await?;
    assert_eq!(answer.into_inner(), ExportTraceServiceResponse::default());
    Ok(())
}

#[tokio::test]
async fn a_tonic_client_with_big_messages_and_statuses_is_served() {
    let harness = start_default().await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", harness.grpc())).unwrap();
    let channel = channel.connect().await.unwrap();
    // Over a megabyte: many frames, and windows that have to be given back.
    for _ in 0..3 {
        export(channel.clone(), 40_000, None).await.unwrap();
    }
    assert_eq!(harness.sink.seen().len(), 3);
    harness.sink.refuse(Refused::retryable("sending queue is full"));
    let status = export(channel, 1, None).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::Unavailable, "sending queue is full")
    );
    assert!(!status.details().is_empty(), "RetryInfo");
}

#[tokio::test]
async fn a_request_whose_deadline_has_passed_is_not_decoded() {
    let harness = start_default().await;
    let answer = call(
        harness.grpc(),
        TRACES_METHOD,
        &[("grpc-timeout", "1n")],
        framed(0, &spans(1)),
    )
    .await;
    assert_eq!(answer.code(), 4, "{answer:?}");
    assert!(harness.sink.seen().is_empty());
    let answer = call(
        harness.grpc(),
        TRACES_METHOD,
        &[("grpc-timeout", "10S")],
        framed(0, &spans(1)),
    )
    .await;
    assert_eq!(answer.code(), 0);
}

#[tokio::test]
async fn other_methods_than_post_are_405() {
    let harness = start_default().await;
    let headers = [("content-type", "application/grpc")];
    let answer = send_as("GET", harness.grpc(), true, TRACES_METHOD, &headers, "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
}
