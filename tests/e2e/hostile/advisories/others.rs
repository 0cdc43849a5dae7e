//! Those of Vector, VictoriaLogs, Fluent Bit, and of log lines.

use super::*;

/// Bodies and bombs without a limit: 25577, 25488, 19087.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vector_25577_25488_and_19087_bodies_are_limited_however_they_come() {
    let mut target = Target::start(&Setup::default());
    // Without a content-length, in chunks.
    let mut stream = TcpStream::connect(target.http).await.unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"100000\r\n".to_vec(), vec![0; 1 << 20], b"\r\n".to_vec()].concat();
    let mut sent = 0;
    for _ in 0..64 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
        sent += 1;
    }
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    println!(
        "{sent} MiB were written, {}",
        status_of(&String::from_utf8_lossy(&answer))
    );
    target.lives("64 MiB in chunks").await;
    for case in bombs() {
        let answer = by_http(target.http, &case).await.unwrap();
        assert_eq!(answer.status, case.is_answered_with(), "{}", case.name);
    }
    target.lives("bombs").await;
}

/// A buffer on the disk that cannot be read any more: 17644, 18336, 19759, 25570. The process starts, counts, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vector_17644_18336_19759_and_25570_a_damaged_buffer_stops_nobody() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let ports = free_ports(3);
    let config = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{}'}}}}}}}}\n\
         extensions: {{file_storage: {{directory: '{}'}}}}\n\
         exporters: {{otlp: {{endpoint: '127.0.0.1:{}', tls: {{insecure: true}}, sending_queue: {{storage: file_storage}}}}}}\n\
         service:\n  extensions: [file_storage]\n  admin: {{endpoint: '127.0.0.1:0'}}\n\
         \x20 telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {}}}}}}}}}]}}}}\n\
         \x20 pipelines: {{traces: {{receivers: [otlp], exporters: [otlp]}}}}\n",
        ports[0],
        folder.path().join("queue").display(),
        ports[1],
        ports[2],
    );
    let to = SocketAddr::from(([127, 0, 0, 1], ports[0]));
    for damage in 0..4_u8 {
        let agent = Agent::spawn_in(&folder, &config, &[]).until_ready();
        for _ in 0..5 {
            assert_eq!(http1(to, "/v1/traces", &[PROTOBUF], bodies::spans(3)).await.status, 200);
        }
        drop(agent);
        let mut stack = vec![folder.path().join("queue")];
        while let Some(path) = stack.pop() {
            if path.is_dir() {
                stack.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let damaged = match damage {
                0 => bytes.iter().map(|byte| byte ^ 0x55).collect(),
                1 => bytes[..bytes.len() / 3].to_vec(),
                2 => vec![0; bytes.len().min(1 << 20)],
                _ => Vec::new(),
            };
            std::fs::write(&path, damaged).unwrap();
        }
    }
    let mut agent = Agent::spawn_in(&folder, &config, &[]).until_ready();
    assert_eq!(http1(to, "/v1/traces", &[PROTOBUF], bodies::spans(3)).await.status, 200);
    assert!(agent.is_running());
}

/// A recursion over what a stranger wrote, in a language of conditions: here of the configuration.
#[tokio::test]
async fn victorialogs_1321_a_deep_expression_is_an_error_with_a_position() {
    for condition in [
        format!("{}true{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{}true", "not ".repeat(100_000)),
        format!("attributes[\"a\"] == 1{}", " and true".repeat(100_000)),
    ] {
        let mut agent = Agent::spawn(&format!(
            "receivers: {{nop: }}\nexporters: {{nop: }}\nprocessors:\n  filter:\n    traces:\n      span:\n      - '{condition}'\n\
             service:\n  admin: {{endpoint: '127.0.0.1:0'}}\n  telemetry: {{metrics: {{level: none}}}}\n\
             \x20 pipelines: {{traces: {{receivers: [nop], processors: [filter], exporters: [nop]}}}}\n"
        ));
        assert_eq!(
            agent.exit_code(),
            Some(78),
            "{}",
            &agent.said()[..agent.said().len().min(500)]
        );
    }
}

/// An admin API that trusted the types of a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2024_4323_the_admin_api_lives_through_whatever_it_is_sent() {
    let ports = free_ports(4);
    let mut agent = Agent::ready_fused(&crate::config(&ports, "10ms"));
    let admin = SocketAddr::from(([127, 0, 0, 1], ports[2]));
    for path in [
        "/api/v1/status",
        "/api/v1/traces",
        "/",
        "/api/v1/status/../../etc/passwd",
        "/radiosonde.admin.v1.AdminService/GetStatus",
    ] {
        for body in [
            "",
            "{",
            "[1,{}]",
            r#"{"inputs":[7,null,{"a":[]}]}"#,
            "\u{0}\u{0}\u{0}",
            &"[".repeat(100_000),
        ] {
            for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
                let answer = send(method, admin, false, path, &[JSON], body.to_owned()).await;
                assert!(answer.is_err() || answer.unwrap().status < 500);
            }
            let answer = send(
                "POST",
                admin,
                true,
                path,
                &[("content-type", "application/grpc")],
                body.to_owned(),
            )
            .await;
            assert!(answer.is_err() || answer.unwrap().status < 600);
        }
    }
    let rebound = send("GET", admin, false, "/api/v1/status", &[("host", "evil.example")], "")
        .await
        .unwrap();
    assert_eq!(rebound.status, 421);
    assert!(agent.is_running());
    assert_eq!(
        send("GET", admin, false, "/api/v1/status", &[], "")
            .await
            .unwrap()
            .status,
        200
    );
}

/// Inputs of length zero, and methods nobody expected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2024_50608_and_50609_empty_and_odd_requests_end_nothing() {
    let mut target = Target::start(&Setup::default());
    for content_type in [
        "",
        "application/x-protobuf",
        "application/json",
        "text/plain",
        "application/grpc",
        ";;;",
        "\t",
    ] {
        for method in ["POST", "PUT", "GET", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
            for path in ["/v1/traces", "/v1/metrics", "/v1/logs", "*", "/"] {
                let text = format!(
                    "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let (said, closed) = raw(target.http, text.as_bytes(), PATIENCE).await;
                assert!(
                    closed && (200..500).contains(&status_of(&said)),
                    "{method} {path} {content_type}: {said}"
                );
            }
        }
    }
    target.lives("empty requests").await;
}

/// An authentication that was configured and skipped: with a token, nothing is taken without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2025_12969_a_configured_token_is_always_asked_for() {
    let ports = free_ports(3);
    let agent = Agent::ready_fused(&format!(
        "extensions: {{bearertokenauth: {{token: only-for-the-test}}}}\n\
         receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: '127.0.0.1:{}', auth: {{authenticator: bearertokenauth}}}}\n\
         \x20     http: {{endpoint: '127.0.0.1:{}', auth: {{authenticator: bearertokenauth}}}}\n\
         exporters: {{nop: }}\n\
         service:\n  extensions: [bearertokenauth]\n  admin: {{endpoint: '127.0.0.1:0'}}\n\
         \x20 telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {}}}}}}}}}]}}}}\n\
         \x20 pipelines: {{traces: {{receivers: [otlp], exporters: [nop]}}}}\n",
        ports[0], ports[1], ports[2]
    ));
    let (to_grpc, to_http) = (
        SocketAddr::from(([127, 0, 0, 1], ports[0])),
        SocketAddr::from(([127, 0, 0, 1], ports[1])),
    );
    let good = ("authorization", "Bearer only-for-the-test");
    for address in [to_grpc, to_http] {
        for wrong in [
            &[][..],
            &[("authorization", "Bearer x")],
            &[("authorization", "")],
            &[good, good],
        ] {
            let headers = [&[PROTOBUF], wrong].concat();
            assert_eq!(
                http1(address, "/v1/traces", &headers, bodies::spans(1)).await.status,
                401
            );
            assert_eq!(
                grpc(address, TRACES, wrong, bodies::framed(0, &bodies::spans(1)))
                    .await
                    .code(),
                16
            );
        }
        assert_eq!(
            http1(address, "/v1/traces", &[PROTOBUF, good], bodies::spans(1))
                .await
                .status,
            200
        );
        assert_eq!(
            grpc(address, TRACES, &[good], bodies::framed(0, &bodies::spans(1)))
                .await
                .code(),
            0
        );
    }
    // What a stranger sends is not read: the answer comes while the body is still to come.
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 9999999\r\n\r\n";
    let (said, _) = raw(to_http, head.as_bytes(), Duration::from_secs(5)).await;
    assert_eq!(status_of(&said), 401, "{said}");
    let text = crate::support::http(ports[2], "GET", "/metrics", "text/plain", b"")
        .unwrap()
        .1;
    assert_eq!(
        crate::support::sum_of(&text, "radiosonde_receiver_unauthenticated_requests_total"),
        17.0
    );
    drop(agent);
}

/// A name longer than its buffer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2025_12970_no_name_is_too_long() {
    let mut target = Target::start(&Setup::default());
    let long = vec![b'a'; 3 << 20];
    for fields in [
        bodies::field(5, &long),
        bodies::attribute(&long, &bodies::field(1, &long[..1000])),
        bodies::field(3, &long),
    ] {
        let answer = http1(target.http, "/v1/traces", &[PROTOBUF], bodies::span_of(&fields)).await;
        assert!([200, 400].contains(&answer.status), "{}", answer.status);
        target.lives("a long name").await;
    }
}

/// A path made of a tag, a tag made of what a stranger sent: nothing that arrives names a file here, and nothing of it is
/// a label of a metric or a line of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2025_12972_12977_and_12978_what_arrives_names_no_file_and_no_metric() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    let sections = format!("exporters:\n  file: {{path: '{}'}}\n", out.display());
    let mut target = Target::start(&Setup {
        sections: &sections,
        exporters: "[file]",
        ..Setup::default()
    });
    let tags = [
        "../../../../tmp/owned",
        "/etc/passwd",
        "a\nb{c=\"d\"} 7",
        "..%2f..%2fowned",
        "\u{1b}]0;owned\u{7}",
    ];
    for tag in tags {
        let value = bodies::field(1, tag.as_bytes());
        let fields = [
            bodies::field(5, tag.as_bytes()),
            bodies::attribute(tag.as_bytes(), &value),
        ]
        .concat();
        let headers = [PROTOBUF, ("x-tag", "owned"), ("x-forwarded-for", "owned")];
        assert_eq!(
            http1(target.http, "/v1/traces", &headers, bodies::span_of(&fields))
                .await
                .status,
            200
        );
    }
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["out.json"]);
    assert!(!std::path::Path::new("/tmp/owned").exists());
    let metrics = crate::support::http(target.metrics, "GET", "/metrics", "text/plain", b"")
        .unwrap()
        .1;
    assert!(!metrics.contains("owned") && !metrics.contains("passwd"), "{metrics}");
    let said = target.agent.said_by_now();
    assert!(!said.contains("owned") && !said.contains('\u{1b}'), "{said}");
    target.lives("tags").await;
}

/// Terminal escapes in the log (RUSTSEC-2025-0055): by a path, a header, an error text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2025_0055_nothing_that_arrives_reaches_the_log_with_its_escapes() {
    let mut target = Target::start(&Setup::default());
    let text =
        "POST /v1/\x1b[31mred HTTP/1.1\r\nhost: \x1b]0;title\x07\r\ncontent-type: \x1b[2J\r\ncontent-length: 0\r\n\r\n";
    let (said, _) = raw(target.http, text.as_bytes(), Duration::from_secs(5)).await;
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let name = bodies::field(5, b"\x1b[31m\nfake\tERROR\tline");
    let answer = http1(target.http, "/v1/traces", &[PROTOBUF], bodies::span_of(&name)).await;
    assert_eq!(answer.status, 200);
    target.lives("escapes").await;
    let log = target.agent.said_by_now();
    assert!(!log.contains('\u{1b}') && !log.contains("\tERROR\tline"), "{log:?}");
}
