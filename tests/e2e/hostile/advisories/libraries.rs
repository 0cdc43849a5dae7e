//! Those of the libraries that it is made of. The versions that repaired them are floors in
//! `tests/house/dependencies.rs`.

use super::super::floods::{flood, stream};
use super::super::frames::{CONTINUATION, DATA, END_HEADERS, HEADERS, RST_STREAM, Raw, export_headers, frame};
use super::*;

/// Streams opened and reset at once, without end (CVE-2023-44487 and RUSTSEC-2024-0003).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2024_0003_rapid_resets_end_their_connection() {
    let mut target = Target::start(&Setup::default());
    let block = export_headers();
    let begun = Instant::now();
    flood(&mut target, "rapid resets", |round| {
        let mut bytes = Vec::new();
        for index in 0..200 {
            let stream = stream(round, 200, index);
            bytes.extend(frame(HEADERS, END_HEADERS, stream, &block));
            bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        bytes
    })
    .await;
    println!("ended after {:?}", begun.elapsed());
    target.lives("rapid resets").await;
}

/// Headers that never end, in CONTINUATION frames.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2024_0332_continuation_frames_without_end_end_their_connection() {
    let mut target = Target::start(&Setup::default());
    let mut raw = Raw::open(target.grpc, &[]).await;
    raw.write(&frame(HEADERS, 0, 1, &export_headers())).await;
    let mut sent = 0;
    let piece = frame(CONTINUATION, 0, 1, &[0x10, 1, b'a', 1, b'b'].repeat(200));
    while sent < 20_000 && raw.write(&piece).await {
        sent += 1;
    }
    assert!(
        raw.is_closed_within(Duration::from_secs(10)).await,
        "after {sent} frames"
    );
    target.lives("continuations").await;
}

/// h2 before 0.4.16: small or empty frames that cost more than they say. A connection that sends nothing but them ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2026_0258_empty_frames_without_end_end_their_connection() {
    let mut target = Target::start(&Setup::default());
    let block = export_headers();
    let mut raw = Raw::open(target.grpc, &[]).await;
    raw.write(&frame(HEADERS, END_HEADERS, 1, &block)).await;
    let empties = frame(DATA, 0, 1, &[]).repeat(1000);
    let mut sent = 0;
    while sent < 2_000 && raw.write(&empties).await {
        sent += 1;
    }
    assert!(sent < 2_000, "two million empty frames were taken");
    target.lives("empty frames").await;
}

/// An accept that failed ended the listener (tonic), and codecs that had no cap before tonic 0.14.3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2024_0376_connections_that_end_at_once_end_no_listener() {
    let mut target = Target::start(&Setup::default());
    for _ in 0..300 {
        let stream = TcpStream::connect(target.grpc).await.unwrap();
        // Reset instead of an orderly end.
        stream.set_zero_linger().unwrap();
        drop(stream);
    }
    let bomb = bodies::framed(1, &bodies::zstd(&vec![0; 64 << 20]));
    assert_eq!(
        grpc(target.grpc, TRACES, &[("grpc-encoding", "zstd")], bomb)
            .await
            .code(),
        8
    );
    target.lives("resets").await;
}

fn tls_target(folder: &std::path::Path) -> (Agent, SocketAddr, u16) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("c.pem"), folder.join("k.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let ports = free_ports(2);
    let agent = Agent::ready_fused(&format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{}', tls: {{cert_file: '{}', key_file: '{}', client_ca_file: '{}'}}}}}}}}}}\n\
         exporters: {{nop: }}\nservice:\n  admin: {{endpoint: '127.0.0.1:0'}}\n\
         \x20 telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {}}}}}}}}}]}}}}\n\
         \x20 pipelines: {{traces: {{receivers: [otlp], exporters: [nop]}}}}\n",
        ports[0],
        cert.display(),
        key.display(),
        cert.display(),
        ports[1]
    ));
    (agent, SocketAddr::from(([127, 0, 0, 1], ports[0])), ports[1])
}

/// A ClientHello in pieces (rustls), and nonsense where a certificate is read (webpki, RUSTSEC-2026-0104).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2024_0399_and_2026_0104_no_handshake_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let (mut agent, to, metrics) = tls_target(folder.path());
    // The head of a ClientHello, cut into records of a byte or two, and other records in its place.
    let hello = [&[1, 0, 0, 60, 3, 3][..], &[7; 54]].concat();
    let cut: Vec<u8> = hello
        .chunks(2)
        .flat_map(|piece| [&[22, 3, 1, 0, piece.len() as u8][..], piece].concat())
        .collect();
    for bytes in [
        cut.clone(),
        cut[..cut.len() / 2].to_vec(),
        [&[22, 3, 1, 0xff, 0xff][..], &[0; 1000]].concat(),
        [&[22, 3, 1, 0, 0][..], &[22, 3, 1, 0, 0]].concat(),
        vec![22; 5000],
        vec![21, 3, 3, 0, 2, 2, 40],
    ] {
        let many = (0..8).map(|_| raw(to, &bytes, Duration::from_millis(300)));
        all_at_once(many).await;
    }
    assert!(agent.is_running());
    assert_eq!(
        crate::support::http(metrics, "GET", "/metrics", "text/plain", b"")
            .unwrap()
            .0,
        200
    );
}

/// Groups and unknown fields inside each other (protobuf).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2024_0437_groups_inside_each_other_are_refused() {
    let mut target = Target::start(&Setup::default());
    for depth in [101, 10_000, 1_000_000] {
        let groups = [[0x9b, 0x06].repeat(depth), [0x9c, 0x06].repeat(depth)].concat();
        for body in [groups.clone(), bodies::in_span(&groups)] {
            let answer = http1(target.http, "/v1/traces", &[PROTOBUF], body.clone()).await;
            assert_eq!(answer.status, 400, "{depth}: {}", answer.text());
        }
        target.lives("groups").await;
    }
}

/// Sizes that overflow when they are added (bytes).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2026_0007_sizes_near_the_largest_number_do_not_overflow() {
    let mut target = Target::start(&Setup::default());
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
    for length in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, u64::from(u32::MAX)] {
        let text = format!("{head}content-length: {length}\r\n\r\nabc");
        let (said, _) = raw(target.http, text.as_bytes(), PATIENCE).await;
        assert!([400, 413, 431].contains(&status_of(&said)), "{length}: {said}");
        let text = format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\nabc");
        let (said, _) = raw(target.http, text.as_bytes(), PATIENCE).await;
        assert!([0, 400, 408, 413].contains(&status_of(&said)), "{length:x}: {said}");
        let claim = [&bodies::varint(0x0a)[..], &bodies::varint(length), b"abc"].concat();
        assert_eq!(http1(target.http, "/v1/traces", &[PROTOBUF], claim).await.status, 400);
    }
    target.lives("large sizes").await;
}
