//! OTLP/HTTP: routes, methods, content types and encodings, CORS, headers of answers.

use std::io::Write;

use super::*;

#[tokio::test]
async fn a_trailing_slash_is_taken_and_configured_paths_replace_the_default() {
    let harness = start_yaml(&both("", "traces_url_path: in/traces")).await;
    for path in ["/in/traces", "/in/traces/", "/v1/metrics/"] {
        assert_eq!(
            send(harness.http(), false, path, &[PROTOBUF], "").await.status,
            200,
            "{path}"
        );
    }
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &[PROTOBUF], "").await.status,
        404
    );
}

#[tokio::test]
async fn wrong_paths_are_404_and_the_text_names_the_right_one() {
    let harness = start_default().await;
    for (path, named) in [
        ("/", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("/", "/v1/traces"),
        ("/v1/trace", "/v1/traces"),
        ("/v1/traces/v1/traces", "/v1/traces"),
        ("/api/v2/spans", "/v1/traces"),
        ("/v1/metric", "/v1/metrics"),
        ("/v1/log", "/v1/logs"),
        ("/nothing", "/v1/logs"),
    ] {
        let answer = send(harness.http(), false, path, &[PROTOBUF], "").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains(named), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn other_methods_are_405_with_allow() {
    let harness = start_default().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = send_as(method, harness.http(), false, "/v1/traces", &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"), "{method}");
    }
    assert_eq!(send_as("GET", harness.http(), false, "/x", &[], "").await.status, 404);
}

#[tokio::test]
async fn content_types_other_than_otlps_are_415_and_errors_come_in_the_requests_encoding() {
    let harness = start_default().await;
    for content_type in ["text/plain", "application/xml", ""] {
        let answer = send(
            harness.http(),
            false,
            "/v1/traces",
            &[("content-type", content_type)],
            "{}",
        )
        .await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (415, "application/json"),
            "{content_type}"
        );
        assert!(answer.text().contains("application/x-protobuf"), "{}", answer.text());
    }
    let good = [("content-type", "application/protobuf; charset=x")];
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &good, spans(1)).await.status,
        200
    );
    let answer = send(harness.http(), false, "/v1/traces", &[PROTOBUF], "garbage").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (400, "application/x-protobuf")
    );
}

#[tokio::test]
async fn every_encoding_is_taken_and_an_unknown_one_is_415() {
    let harness = start_default().await;
    let body = spans(50);
    let level = flate2::Compression::fast();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
    gzip.write_all(&body[..100]).unwrap();
    let mut members = gzip.finish().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
    gzip.write_all(&body[100..]).unwrap();
    members.extend(gzip.finish().unwrap());
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
    zlib.write_all(&body).unwrap();
    let zlib = zlib.finish().unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), level);
    raw.write_all(&body).unwrap();
    let mut framed = snap::write::FrameEncoder::new(Vec::new());
    framed.write_all(&body).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&body).unwrap();
    for (name, bytes) in [
        ("gzip", members),
        ("GZIP", {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
            gzip.write_all(&body).unwrap();
            gzip.finish().unwrap()
        }),
        ("zlib", zlib.clone()),
        ("deflate", zlib),
        ("deflate", raw.finish().unwrap()),
        ("zstd", zstd::encode_all(&body[..], 1).unwrap()),
        ("snappy", snap::raw::Encoder::new().compress_vec(&body).unwrap()),
        ("x-snappy-framed", framed.into_inner().unwrap()),
        ("lz4", lz4.finish().unwrap()),
        ("identity", body.clone()),
    ] {
        let headers = [PROTOBUF, ("content-encoding", name)];
        let answer = send(harness.http(), false, "/v1/traces", &headers, bytes).await;
        assert_eq!(answer.status, 200, "{name} {}", answer.text());
        assert_eq!(harness.sink.seen(), [(Signal::Traces, 50)], "{name}");
        if name != "identity" {
            let answer = send(harness.http(), false, "/v1/traces", &headers, "\u{1}corrupt").await;
            assert_eq!(answer.status, 400, "{name}");
        }
    }
    let answer = send(
        harness.http(),
        false,
        "/v1/traces",
        &[JSON, ("content-encoding", "br")],
        "x",
    )
    .await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("gzip"), "{}", answer.text());
}

#[tokio::test]
async fn only_the_configured_encodings_are_taken() {
    let harness = start_yaml(&both("", "compression_algorithms: [gzip]")).await;
    let zstd = zstd::encode_all(&spans(1)[..], 1).unwrap();
    let headers = [PROTOBUF, ("content-encoding", "zstd")];
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &headers, zstd).await.status,
        415
    );
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &[PROTOBUF], spans(1))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn configured_headers_are_on_every_answer() {
    let harness = start_yaml(&both("", "response_headers: {x-served-by: radiosonde}")).await;
    for path in ["/v1/traces", "/nowhere"] {
        let answer = send(harness.http(), false, path, &[PROTOBUF], "").await;
        assert_eq!(answer.header("x-served-by"), "radiosonde", "{path}");
    }
}

const CORS: &str = "cors: {allowed_origins: ['https://*.shop.example', 'http://localhost:*'], \
                    allowed_headers: [x-tenant], exposed_headers: [x-request-id], max_age: 600}";

#[tokio::test]
async fn a_preflight_is_204_and_echoes_origin_and_allowed_headers() {
    let harness = start_yaml(&both("", CORS)).await;
    let headers = [
        ("origin", "https://www.shop.example"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "content-type, X-Tenant, traceparent, x-evil",
        ),
        ("access-control-request-private-network", "true"),
    ];
    let answer = send_as("OPTIONS", harness.http(), false, "/v1/traces", &headers, "").await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-origin"), "https://www.shop.example");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "content-type, x-tenant, traceparent"
    );
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    assert_eq!(answer.header("access-control-allow-private-network"), "true");
    assert_eq!(answer.header("access-control-max-age"), "600");
    assert!(answer.header("vary").contains("Origin"));
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    let headers = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
    ];
    let answer = send_as("OPTIONS", harness.http(), false, "/v1/traces", &headers, "").await;
    assert_eq!(answer.status, 204);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn allowed_origins_see_every_answer_and_foreign_ones_are_refused() {
    let harness = start_yaml(&both("", CORS)).await;
    let origin = ("origin", "http://localhost:3000");
    for (path, body, status) in [
        ("/v1/traces", spans(1), 200),
        ("/v1/traces", b"bad".to_vec(), 400),
        ("/", vec![], 404),
    ] {
        let answer = send(harness.http(), false, path, &[PROTOBUF, origin], body).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (status, origin.1)
        );
        assert_eq!(answer.header("access-control-expose-headers"), "x-request-id");
        assert_eq!(answer.header("vary"), "Origin");
    }
    harness.sink.batches();
    let foreign = ("origin", "https://evil.example");
    let answer = send(harness.http(), false, "/v1/traces", &[PROTOBUF, foreign], spans(1)).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    assert!(harness.sink.seen().is_empty());
    // Not a browser, or a page of this server.
    let own = format!("http://{}", harness.http());
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &[PROTOBUF], spans(1))
            .await
            .status,
        200
    );
    assert_eq!(
        send(
            harness.http(),
            false,
            "/v1/traces",
            &[PROTOBUF, ("origin", &own)],
            spans(1)
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn without_cors_settings_an_origin_means_nothing() {
    let harness = start_default().await;
    let origin = ("origin", "https://anywhere.example");
    let answer = send(harness.http(), false, "/v1/traces", &[PROTOBUF, origin], spans(1)).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.contains_key("vary"));
}

#[tokio::test]
async fn chunked_bodies_and_several_requests_on_a_connection_work() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let harness = start_default().await;
    let mut stream = raw(harness.http()).await;
    for _ in 0..3 {
        let body = spans(2);
        let head = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for chunk in body.chunks(7) {
            stream
                .write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                .await
                .unwrap();
            stream.write_all(chunk).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = [0; 512];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(harness.sink.seen(), [(Signal::Traces, 2); 3]);
}
