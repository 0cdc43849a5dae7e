//! The Collector's.

use super::*;

/// A small compressed body that becomes gigabytes; gRPC's zstd went past the cap, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2024_36129_a_bomb_of_any_codec_is_stopped_on_http_and_grpc() {
    let mut target = Target::start(&Setup::default());
    for case in bombs() {
        assert_eq!(judge(&target, &case).await, [""; 0], "{}", case.name);
        target.lives(case.name).await;
    }
}

async fn nested(setup: &Setup<'_>, depth: usize) {
    let mut target = Target::start(setup);
    // Each level is wrapped by copying what is in it.
    let wire = depth.min(8_000);
    for value in [bodies::nested_arrays(wire), bodies::nested_maps(wire)] {
        let body = bodies::span_of(&bodies::attribute(b"k", &value));
        let answer = http1(target.http, "/v1/traces", &[PROTOBUF], body.clone()).await;
        assert!([200, 400, 413].contains(&answer.status), "{}", answer.status);
        let answer = grpc(target.grpc, TRACES, &[], bodies::framed(0, &body)).await;
        assert!([0, 3, 8].contains(&answer.code()), "{}", answer.code());
        target.lives("nested values").await;
    }
    for (open, close) in [
        (r#"{"arrayValue":{"values":["#, "]}}"),
        (r#"{"kvlistValue":{"values":[{"key":"k","value":"#, "}]}}"),
    ] {
        let value = format!("{}{{}}{}", open.repeat(depth), close.repeat(depth));
        let body = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}","attributes":[{{"key":"k","value":{value}}}]}}]}}]}}]}}"#,
            "ab".repeat(16),
            "cd".repeat(8)
        );
        let answer = http1(target.http, "/v1/traces", &[JSON], body).await;
        assert!(
            [400, 413].contains(&answer.status),
            "{}: {}",
            answer.status,
            answer.text()
        );
        target.lives("nested JSON").await;
    }
}

/// Values inside each other end a process by its stack: protobuf ...
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_15301_nested_values_in_protobuf_end_no_process() {
    let full = Setup {
        receiver: "check: full",
        ..Setup::default()
    };
    nested(&full, 50_000).await;
}

/// ... whoever reads them later ...
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_15598_nested_values_end_nobody_who_decodes_them() {
    let decoding = Setup {
        sections: "exporters:\n  debug: {verbosity: detailed}\n",
        exporters: "[debug]",
        ..Setup::default()
    };
    nested(&decoding, 20_000).await;
}

/// ... and JSON.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_15603_nested_values_in_json_end_no_process() {
    nested(&Setup::default(), 100_000).await;
}

/// Records of Firehose that are compressed, each on its own: 4 MiB became 6 GiB.
#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contrib_49230_a_firehose_record_does_not_inflate_without_end() {
    let mut aws = aws();
    let bomb = bodies::gzip(&vec![0; 64 << 20]);
    let answer = aws.firehose(&["only-for-the-test"], &bomb).await;
    assert!(
        (400..500).contains(&answer.status) || answer.status == 200,
        "{}",
        answer.status
    );
    aws.lives("a bomb in a record");
    use base64::Engine;
    let record = base64::engine::general_purpose::STANDARD.encode(&bomb);
    let records: Vec<String> = (0..40).map(|_| format!(r#"{{"data":"{record}"}}"#)).collect();
    let body = format!(
        r#"{{"requestId":"r2","timestamp":1,"records":[{}]}}"#,
        records.join(",")
    );
    let headers = [
        JSON,
        ("x-amz-firehose-request-id", "r2"),
        ("x-amz-firehose-access-key", "only-for-the-test"),
    ];
    let _ = http1(aws.firehose, "/", &headers, body).await;
    aws.lives("forty bombs in one request");
}

/// Small elements that become large structures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contrib_49232_empty_elements_do_not_multiply_in_memory() {
    let mut target = Target::start(&Setup::default());
    for case in empties() {
        assert_eq!(judge(&target, &case).await, [""; 0], "{}", case.name);
        target.lives(case.name).await;
    }
}

/// A length that is only claimed is not allocated: gRPC frames, messages inside, content-length, codecs' own claims.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contrib_48697_and_48519_claimed_lengths_are_not_trusted() {
    let mut target = Target::start(&Setup::default());
    let lie = [&[0, 0xff, 0xff, 0xff, 0xff][..], b"abc"].concat();
    assert_eq!(grpc(target.grpc, TRACES, &[], lie).await.code(), 8);
    for number in [1, 2, 5, 9] {
        let claim = [
            &bodies::varint(number << 3 | 2)[..],
            &bodies::varint(u64::MAX >> 1),
            b"x",
        ]
        .concat();
        for body in [claim.clone(), bodies::in_span(&claim)] {
            assert_eq!(http1(target.http, "/v1/traces", &[PROTOBUF], body).await.status, 400);
        }
    }
    // Snappy says first how long it will be: 4 GiB.
    let snappy = [&bodies::varint(u64::from(u32::MAX))[..], b"abc"].concat();
    let answer = http1(
        target.http,
        "/v1/traces",
        &[PROTOBUF, ("content-encoding", "snappy")],
        snappy,
    )
    .await;
    assert!([400, 413].contains(&answer.status), "{}", answer.text());
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
    let (said, _) = raw(
        target.http,
        format!("{head}content-length: 99999999999\r\n\r\nabc").as_bytes(),
        PATIENCE,
    )
    .await;
    assert_eq!(status_of(&said), 413);
    target.lives("claimed lengths").await;
}

/// A decompressing reader without a limit, in a receiver of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contrib_43605_every_way_in_limits_what_it_inflates() {
    let mut target = Target::start(&Setup::default());
    let text = format!("{{\"resourceSpans\":[{}]}}", " ".repeat(64 << 20));
    let headers = [JSON, ("content-encoding", "gzip")];
    let answer = http1(target.http, "/v1/traces", &headers, bodies::gzip(text.as_bytes())).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    target.lives("a bomb of JSON").await;
}

/// Segment documents of X-Ray that ended the process.
#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contrib_37414_no_segment_document_ends_the_process() {
    let mut aws = aws();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let head = r#"{"format":"json","version":1}"#;
    let deep = format!("{}{}", r#"{"subsegments":["#.repeat(3000), "]}".repeat(3000));
    for document in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"trace_id":1}"#,
        r#"{"trace_id":"1-5-6","id":"x","start_time":"y"}"#,
        r#"{"trace_id":"1-581cf771-a006649127e371903a2de979","id":"70de5b6f19ff9a0a","name":null,"http":{"request":7,"response":{"status":-1}}}"#,
        r#"{"trace_id":"1-581cf771-a006649127e371903a2de979","id":"70de5b6f19ff9a0a","name":"n","start_time":1e400,"cause":[[]],"aws":{"operation":{}}}"#,
        &deep,
    ] {
        for text in [
            format!("{head}\n{document}"),
            format!("{head}{document}"),
            document.to_owned(),
        ] {
            let _ = socket.send_to(text.as_bytes(), aws.udp).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    aws.lives("segment documents");
}

// contrib 35899 and 50102 (a queue that was lost at a restart): `durable::` kills and restarts the process.

/// What a queue on the disk holds is there after a restart: nothing of it was only in memory.
#[test]
fn contrib_35899_and_50102_a_restart_keeps_the_queue() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let ports = free_ports(6);
    let config = |sink: &str| {
        format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{}'}}}}}}}}\n\
             extensions: {{file_storage: {{directory: '{}'}}}}\n\
             exporters: {{otlp: {{endpoint: '{sink}', tls: {{insecure: true}}, sending_queue: {{storage: file_storage}}}}}}\n\
             service:\n  extensions: [file_storage]\n  admin: {{endpoint: '127.0.0.1:0'}}\n\
             \x20 telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {}}}}}}}}}]}}}}\n\
             \x20 pipelines: {{traces: {{receivers: [otlp], exporters: [otlp]}}}}\n",
            ports[0],
            folder.path().join("queue").display(),
            ports[1]
        )
    };
    let agent = Agent::spawn_in(&folder, &config(&format!("127.0.0.1:{}", ports[2])), &[]).until_ready();
    for _ in 0..10 {
        assert_eq!(crate::send(ports[0], 7), 200);
    }
    // SIGKILL, and again: what waits is still there.
    drop(agent);
    let sink = format!("127.0.0.1:{}", ports[3]);
    let _far_end = Agent::ready(&format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{sink}'}}}}}}}}\nexporters: {{nop: }}\n\
         service:\n  admin: {{endpoint: '127.0.0.1:0'}}\n  telemetry: {{metrics: {{level: none}}}}\n\
         \x20 pipelines: {{traces: {{receivers: [otlp], exporters: [nop]}}}}\n"
    ));
    let mut agent = Agent::spawn_in(&folder, &config(&sink), &[]).until_ready();
    let patience = Instant::now() + PATIENCE;
    loop {
        let text = crate::support::http(ports[1], "GET", "/metrics", "text/plain", b"")
            .unwrap()
            .1;
        if crate::support::sum_of(&text, "otelcol_exporter_sent_spans") == 70.0 {
            break;
        }
        assert!(Instant::now() < patience && agent.is_running(), "{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A Firehose endpoint that took a request without the access key that was configured.
#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ghsa_prf6_xjxh_p698_firehose_takes_nothing_without_its_key() {
    let mut aws = aws();
    for key in [
        &[][..],
        &[""],
        &["only-for-the-tes"],
        &["only-for-the-test2"],
        &["ONLY-FOR-THE-TEST"],
    ] {
        assert_eq!(aws.firehose(key, b"{}").await.status, 401, "{key:?}");
    }
    aws.lives("wrong keys");
}
