//! The abuses of HTTP/2 that a library has to stop, by frames of our own.

use std::time::Duration;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE,
    export_headers, frame, header,
};
use super::*;

/// Sends the same bytes over and over from eight connections for three seconds; `make` gives the bytes of round `n`.
pub(super) async fn flood(target: &mut Target, name: &str, make: impl Fn(u32) -> Vec<u8>) -> usize {
    let neighbour = Neighbour::start(target);
    let begun = Instant::now();
    let mut closed = 0;
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push((Raw::open(target.grpc, &[]).await, 0));
    }
    while begun.elapsed() < Duration::from_secs(3) && !connections.is_empty() {
        let mut kept = Vec::new();
        for (mut connection, round) in connections {
            if connection.write(&make(round)).await {
                kept.push((connection, round + 1));
            } else {
                closed += 1;
            }
        }
        connections = kept;
    }
    drop(connections);
    neighbour.was_served(target, name).await;
    println!(
        "{name}: {closed} of 8 closed, peak {} KiB",
        target.agent.memory_kib("VmHWM")
    );
    target.lives(name).await;
    closed
}

/// Stream numbers of clients are odd.
pub(super) fn stream(round: u32, each: u32, index: u32) -> u32 {
    (round * each + index) * 2 + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_end_their_connection_and_nothing_else() {
    let mut target = Target::start(&Setup::default());
    let block = export_headers();
    let reset = flood(&mut target, "rapid resets", |round| {
        let one = |index| {
            let stream = stream(round, 100, index);
            [
                frame(HEADERS, END_HEADERS, stream, &block),
                frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()),
            ]
            .concat()
        };
        (0..100).flat_map(one).collect()
    })
    .await;
    assert_eq!(reset, 8, "rapid resets are stopped");
    let pings = flood(&mut target, "pings", |_| frame(PING, 0, 0, &[0; 8]).repeat(200)).await;
    let settings = flood(&mut target, "settings", |_| {
        frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(200)
    })
    .await;
    let empty = flood(&mut target, "empty data", |round| {
        let mut out = Vec::new();
        if round == 0 {
            out = frame(HEADERS, END_HEADERS, 1, &block);
        }
        out.extend(frame(DATA, 0, 1, &[]).repeat(200));
        out
    })
    .await;
    assert_eq!(
        (pings, settings, empty),
        (8, 8, 8),
        "frames that ask nothing are stopped"
    );
    let continuation = flood(&mut target, "continuation", |round| {
        let mut out = Vec::new();
        if round == 0 {
            out = frame(HEADERS, 0, 1, &block);
        }
        out.extend(frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(100)).repeat(100)));
        out
    })
    .await;
    assert_eq!(continuation, 8, "headers without end are stopped");
    let unknown = flood(&mut target, "frames on closed streams", |round| {
        let mut out = Vec::new();
        if round == 0 {
            let bad = bodies::framed(9, b"x");
            out = [frame(HEADERS, END_HEADERS, 1, &block), frame(DATA, END_STREAM, 1, &bad)].concat();
        }
        out.extend(frame(DATA, 0, 1, b"more").repeat(100));
        out
    })
    .await;
    assert_eq!(unknown, 8, "data behind the end is stopped");
    let updates = flood(&mut target, "window updates", |_| {
        frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()).repeat(200)
    })
    .await;
    assert_eq!(updates, 8, "window updates are stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_break_the_protocol_end_their_connection() {
    let mut target = Target::start(&Setup::default());
    let block = export_headers();
    let upper = [header(":method", "POST"), header("X-UPPER", "no")].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "a frame over the size",
            frame(DATA, 0, 1, &[0; 20_000])[..9].iter().map(|_| 0xff).collect(),
        ),
        (
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffffu32.to_be_bytes()),
        ),
        ("a window update of zero", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("data on stream zero", frame(DATA, 0, 0, b"x")),
        ("headers on stream zero", frame(HEADERS, END_HEADERS, 0, &block)),
        ("an even stream", frame(HEADERS, END_HEADERS, 2, &block)),
        (
            "continuation out of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &block),
        ),
        (
            "something between headers",
            [frame(HEADERS, 0, 1, &block), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        ("broken header compression", frame(HEADERS, END_HEADERS, 1, &[0xff; 64])),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7])),
        (
            "a header index out of the table",
            frame(HEADERS, END_HEADERS, 1, &[0xbf, 0xff, 0x03]),
        ),
        (
            "a table size of 4 GiB",
            frame(HEADERS, END_HEADERS, 1, &[0x3f, 0xe1, 0xff, 0xff, 0xff, 0x0f]),
        ),
        ("data on an idle stream", frame(DATA, 0, 99, b"x")),
    ];
    for (name, bytes) in cases {
        let mut connection = Raw::open(target.grpc, &[]).await;
        connection.write(&bytes).await;
        assert!(
            connection.is_closed_within(Duration::from_secs(5)).await,
            "{name}: {:?}",
            connection.frames()
        );
        target.lives(name).await;
    }
    // The stream, or all of it.
    let mut connection = Raw::open(target.grpc, &[]).await;
    connection
        .write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &upper))
        .await;
    let closed = connection.is_closed_within(Duration::from_millis(500)).await;
    let frames = connection.frames();
    let reset = frames
        .iter()
        .any(|(kind, _, stream, _)| (*kind, *stream) == (RST_STREAM, 1));
    assert!(closed || reset, "a name in capitals: {frames:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_the_limit_are_refused_and_the_others_stay() {
    let mut target = Target::start(&Setup::default());
    let mut connection = Raw::open(target.grpc, &[]).await;
    // The limit holds from the moment the client has seen it.
    assert!(!connection.is_closed_within(Duration::from_millis(200)).await);
    connection.write(&frame(SETTINGS, 1, 0, &[])).await;
    let block = export_headers();
    let open: Vec<u8> = (0..150)
        .flat_map(|n| frame(HEADERS, END_HEADERS, n * 2 + 1, &block))
        .collect();
    assert!(connection.write(&open).await);
    assert!(!connection.is_closed_within(Duration::from_millis(500)).await);
    let frames = connection.frames();
    let refused = frames.iter().filter(|(kind, ..)| *kind == RST_STREAM).count();
    assert_eq!(refused, 50, "{frames:?}");
    assert!(frames.iter().all(|(kind, ..)| *kind != GOAWAY));
    target.lives("150 streams").await;
    // Bodies that never come end after the body's deadline.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!connection.is_closed_within(Duration::from_millis(200)).await);
    let answered = connection
        .frames()
        .iter()
        .filter(|(kind, _, _, _)| *kind == HEADERS)
        .count();
    assert_eq!(answered, 100, "every stalled stream is answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_over_the_limits_are_431_and_never_finished_ones_end_the_connection() {
    let mut target = Target::start(&Setup::default());
    let block = [export_headers(), header("x", &"y".repeat(100)).repeat(1000)].concat();
    let mut connection = Raw::open(target.grpc, &[]).await;
    connection.write(&frame(HEADERS, END_STREAM, 1, &block[..16_000])).await;
    for piece in block[16_000..].chunks(16_000) {
        connection.write(&frame(CONTINUATION, 0, 1, piece)).await;
    }
    connection.write(&frame(CONTINUATION, END_HEADERS, 1, &[])).await;
    connection.is_closed_within(Duration::from_secs(1)).await;
    let frames = connection.frames();
    let refused = frames
        .iter()
        .any(|(kind, _, stream, _)| [HEADERS, RST_STREAM].contains(kind) && *stream == 1);
    assert!(refused || connection.goaway().is_some(), "{frames:?}");
    target.lives("100 KiB of headers").await;

    // The header's limit is one second here.
    for (name, bytes) in [
        ("a header block without end", frame(HEADERS, 0, 1, &export_headers())),
        (
            "half a frame of headers",
            frame(HEADERS, END_HEADERS, 1, &export_headers())[..40].to_vec(),
        ),
        ("half a head of a frame", vec![0, 0, 9]),
    ] {
        let mut connection = Raw::open(target.http, &[]).await;
        connection.write(&bytes).await;
        assert!(connection.is_closed_within(Duration::from_secs(6)).await, "{name}");
        target.lives(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_opens_its_window_is_cut() {
    let mut target = Target::start(&Setup::default());
    // SETTINGS_INITIAL_WINDOW_SIZE of 0: no answer can be sent.
    let mut connection = Raw::open(target.http, &[(4, 0)]).await;
    let body = bodies::framed(0, &bodies::spans(1));
    let call = [
        frame(HEADERS, END_HEADERS, 1, &export_headers()),
        frame(DATA, END_STREAM, 1, &body),
    ];
    connection.write(&call.concat()).await;
    // `write_timeout` is two seconds here.
    assert!(connection.is_closed_within(Duration::from_secs(8)).await);
    target.lives("a window of zero").await;
}
