//! What can be wrong with a connection or a head: slowness, lies, smuggling shapes, floods of headers, the wrong protocol.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_port_ends_its_connection_only() {
    let mut target = Target::start(&Setup::default());
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 600]].concat();
    let long_line = vec![b'A'; 200_000];
    let noise: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let cases: [(&str, &[u8]); 9] = [
        ("noise", &noise),
        ("zeroes", &[0; 4096]),
        ("a TLS hello", &hello),
        ("half a TLS hello", &hello[..20]),
        ("a line without end", &long_line),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("SMTP", b"EHLO example.com\r\n"),
        ("HTTP/0.9", b"GET /\r\n"),
        ("half an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\n"),
    ];
    for (name, bytes) in cases {
        for port in [target.grpc, target.http] {
            let (answer, closed) = raw(port, bytes, 15 * SECOND).await;
            assert!(closed, "{name}: {answer}");
            assert!(!answer.starts_with("HTTP/1.1 2"), "{name}: {answer}");
        }
        target.lives(name).await;
    }
    // Many of one kind are not many lines.
    for _ in 0..200 {
        raw(target.http, &hello, 5 * SECOND).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let said = target.agent.said_by_now();
    let lines = said
        .lines()
        .filter(|line| line.contains("TLS handshake on a listener without TLS"))
        .count();
    assert!((1..=60).contains(&lines), "{lines} lines for 204 connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers_and_bodies_are_cut_and_nobody_waits_for_them() {
    let mut target = Target::start(&Setup::default());
    let neighbour = Neighbour::start(&target);
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
    let begun = Instant::now();
    let mut held = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(target.http).await.unwrap();
        let bytes = match n % 3 {
            0 => head.to_owned(),
            1 => format!("{head}content-length: 1000\r\n\r\nabc"),
            _ => format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        };
        stream.write_all(bytes.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let mut statuses = Vec::new();
    for stream in &mut held {
        let mut answer = Vec::new();
        let read = tokio::time::timeout(20 * SECOND, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "a stalled connection is still held");
        statuses.push(status_of(&String::from_utf8_lossy(&answer)));
    }
    println!(
        "300 stalled: {:?} in {:?}",
        tally(statuses.iter().copied()),
        begun.elapsed()
    );
    assert!(statuses.iter().all(|status| [0, 408].contains(status)));
    assert_eq!(statuses.iter().filter(|status| **status == 408).count(), 200);
    neighbour.was_served(&target, "300 stalled connections").await;
    target.lives("300 stalled connections").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_little() {
    let mut target = Target::start(&Setup::default());
    let before = target.agent.memory_kib("VmRSS");
    let mut held = Vec::new();
    for _ in 0..900 {
        held.push(TcpStream::connect(target.http).await.unwrap());
    }
    target.lives("900 idle connections").await;
    let more = target.agent.memory_kib("VmRSS").saturating_sub(before);
    println!("900 idle connections: {more} KiB");
    assert!(more < 20 * 1024, "{more} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_that_lie_and_smuggling_shapes_are_refused() {
    let mut target = Target::start(&Setup::default());
    let with = |headers: &str, body: &str| {
        format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
    };
    let second = "POST /v1/traces HTTP/1.1\r\nhost: y\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let cases: Vec<(&str, String, &[u16])> = vec![
        (
            "content-length of 4 GiB",
            with("content-length: 4294967296\r\n", "{}"),
            &[413],
        ),
        (
            "content-length of 16 EiB",
            with("content-length: 18446744073709551615\r\n", "{}"),
            &[400, 413, 431],
        ),
        (
            "content-length over 64 bits",
            with("content-length: 99999999999999999999999\r\n", "{}"),
            &[400],
        ),
        (
            "content-length below zero",
            with("content-length: -1\r\n", "{}"),
            &[400],
        ),
        (
            "content-length with a plus",
            with("content-length: +2\r\n", "{}"),
            &[400],
        ),
        (
            "content-length in hexadecimal",
            with("content-length: 0x2\r\n", "{}"),
            &[400],
        ),
        (
            "two content-lengths",
            with("content-length: 2\r\ncontent-length: 3\r\n", "{}x"),
            &[400],
        ),
        (
            "content-lengths in a list",
            with("content-length: 2, 3\r\n", "{}x"),
            &[400],
        ),
        (
            "length and chunks",
            with("content-length: 2\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            &[400],
        ),
        (
            "chunks not last",
            with("transfer-encoding: chunked, gzip\r\n", "0\r\n\r\n"),
            &[400, 501],
        ),
        (
            "an encoding of transfer nobody knows",
            with("transfer-encoding: cow\r\n", "0\r\n\r\n"),
            &[400, 501],
        ),
        (
            "chunks with a blank before the colon",
            with("transfer-encoding : chunked\r\n", "0\r\n\r\n"),
            &[400],
        ),
        (
            "a chunk of 16 EiB",
            with("transfer-encoding: chunked\r\n", "ffffffffffffffff\r\nx"),
            &[400, 408, 413],
        ),
        (
            "a chunk size over 64 bits",
            with("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\nx"),
            &[400],
        ),
        (
            "a chunk size that is none",
            with("transfer-encoding: chunked\r\n", "zz\r\nx"),
            &[400],
        ),
        (
            "a chunk extension without end",
            with("transfer-encoding: chunked\r\n", &format!("2;{}", "x".repeat(100_000))),
            &[400],
        ),
        (
            "a blank in a name",
            with("x y: z\r\ncontent-length: 2\r\n", "{}"),
            &[400],
        ),
        (
            "a folded header",
            with("x: y\r\n z\r\ncontent-length: 2\r\n", "{}"),
            &[400],
        ),
        (
            "a bare line feed in a value",
            with("x: y\rz\r\ncontent-length: 2\r\n", "{}"),
            &[400],
        ),
        ("NUL in a value", with("x: y\0z\r\ncontent-length: 2\r\n", "{}"), &[400]),
    ];
    for (name, request, expected) in cases {
        // What follows must not be taken for a second request.
        let (answer, closed) = raw(target.http, format!("{request}{second}").as_bytes(), 10 * SECOND).await;
        assert!(closed, "{name}: {answer}");
        assert!(expected.contains(&status_of(&answer)), "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: {answer}");
        target.lives(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_over_the_limits_are_431_and_414() {
    let mut target = Target::start(&Setup::default());
    let many: String = (0..1000).map(|n| format!("x-{n}: y\r\n")).collect();
    let cases = [
        (
            "a thousand headers",
            format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
            431,
        ),
        (
            "a header of 1 MiB",
            format!(
                "POST /v1/traces HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
                "y".repeat(1 << 20)
            ),
            431,
        ),
        (
            "a URI of 1 MiB",
            format!("POST /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(1 << 20)),
            414,
        ),
        (
            "a URI of 9 KiB",
            format!(
                "POST /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
                "y".repeat(9000)
            ),
            414,
        ),
    ];
    for (name, request, expected) in cases {
        let (answer, closed) = raw(target.http, request.as_bytes(), 10 * SECOND).await;
        assert!(closed, "{name}");
        // A head that is still being written may lose the race with the closing of its connection.
        let status = status_of(&answer);
        assert!(
            status == expected || (status == 0 || status == 431) && request.len() > 500_000,
            "{name}: {answer}"
        );
        target.lives(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_and_header_values_of_strangers_are_never_echoed_raw() {
    let mut target = Target::start(&Setup::default());
    for path in [
        "/../../etc/passwd",
        "/v1/traces%0d%0ax:%20y",
        "/v1/%1b[31mtraces",
        "//evil.example/v1/traces",
        "/v1/<b>",
    ] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let (answer, _) = raw(target.http, request.as_bytes(), 5 * SECOND).await;
        assert!([400, 404].contains(&status_of(&answer)), "{path}: {answer}");
        assert!(
            !answer.contains('\u{1b}') && !answer.contains("passwd") && !answer.contains("<b>"),
            "{answer}"
        );
    }
    target.lives("hostile paths").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_end_is_cut() {
    let keys = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, keys.cert.pem()).unwrap();
    std::fs::write(&key, keys.signing_key.serialize_pem()).unwrap();
    let tls = format!(
        "tls: {{cert_file: '{}', key_file: '{}'}}",
        cert.display(),
        key.display()
    );
    let mut target = Target::start(&Setup {
        http: &tls,
        ..Setup::default()
    });
    let mut held = Vec::new();
    for n in 0..60 {
        let mut stream = TcpStream::connect(target.http).await.unwrap();
        let bytes: &[u8] = [&[][..], &[22, 3, 1, 2, 0], b"POST / HTTP/1.1\r\n\r\n"][n % 3];
        stream.write_all(bytes).await.unwrap();
        held.push(stream);
    }
    let begun = Instant::now();
    for stream in &mut held {
        let read = tokio::time::timeout(15 * SECOND, stream.read_to_end(&mut Vec::new())).await;
        assert!(
            read.is_ok(),
            "a half-open handshake is still held after {:?}",
            begun.elapsed()
        );
    }
    println!("60 half-open handshakes: gone after {:?}", begun.elapsed());
    assert!(target.agent.is_running());
    let answer = grpc(target.grpc, TRACES, &[], bodies::framed(0, &bodies::spans(1))).await;
    assert_eq!(answer.code(), 0);
}
