//! One request at a time, and 32 at once: messages, length claims, codecs, ids, empty elements.

use bytes::Bytes;

use super::*;

/// What a case has to be answered with, by HTTP and by gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Good,
    /// Taken, with some records rejected.
    Partly,
    Bad,
    TooLarge,
    Unsupported,
}

impl Is {
    fn http(self) -> u16 {
        match self {
            Is::Good | Is::Partly => 200,
            Is::Bad => 400,
            Is::TooLarge => 413,
            Is::Unsupported => 415,
        }
    }

    fn grpc(self) -> i32 {
        match self {
            Is::Good | Is::Partly => 0,
            Is::Bad => 3,
            Is::TooLarge => 8,
            Is::Unsupported => 12,
        }
    }
}

pub(super) struct Case {
    pub(super) name: &'static str,
    /// Of the body as it is sent.
    encoding: &'static str,
    body: Bytes,
    is: Is,
    /// Where gRPC's smaller cap, or its fewer encodings, make a difference.
    is_grpc: Is,
}

impl Case {
    /// The HTTP status that is right.
    pub(super) fn is_answered_with(&self) -> u16 {
        self.is.http()
    }
}

fn case(name: &'static str, encoding: &'static str, body: impl Into<Bytes>, is: Is) -> Case {
    Case {
        name,
        encoding,
        body: body.into(),
        is,
        is_grpc: is,
    }
}

pub(super) fn malformed() -> Vec<Case> {
    let good = bodies::spans(3);
    let cut = &good[..good.len() - 1];
    let in_group = |bytes: &[u8]| bodies::field(1, bytes);
    let in_scope = |bytes: &[u8]| bodies::field(1, &bodies::field(2, bytes));
    let plain = |name, body: Vec<u8>| case(name, "", body, Is::Bad);
    vec![
        plain("cut off at the end", cut.to_vec()),
        plain("cut off in a tag", vec![0x8a]),
        plain("cut off in a length", vec![0x0a, 0x80]),
        plain("length of 11 bytes", [&[0x0a][..], &[0x80; 10], &[1]].concat()),
        plain("tag of 11 bytes", [&[0x80; 10][..], &[1]].concat()),
        plain("claims 4 GiB", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]),
        plain("claims 16 EiB", [&[0x0a][..], &[0xff; 9], &[1, 2, 3]].concat()),
        plain(
            "claims 4 GiB in a group",
            in_group(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        plain(
            "claims 4 GiB in a scope",
            in_scope(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        plain("a protobuf group", vec![0x0b, 0x0c]),
        plain("a protobuf group that does not end", vec![0x0b; 10_000]),
        plain("end of a group that did not begin", vec![0x0c]),
        plain("wire type 6", vec![0x0e, 0]),
        plain("wire type 7", vec![0x0f, 0]),
        plain("field number zero", vec![0x02, 0]),
        plain("a group of resources as a number", vec![0x08, 1]),
        plain("a scope as a number", in_group(&[0x10, 1])),
        plain("a span as eight bytes", in_scope(&[0x11, 0, 0, 0, 0, 0, 0, 0, 0])),
        plain("text", b"hello, this is no protobuf".to_vec()),
        plain("json as protobuf", b"{\"resourceSpans\":[]}".to_vec()),
        plain(
            "noise",
            (0..4096u32)
                .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect(),
        ),
    ]
}

pub(super) fn ids() -> Vec<Case> {
    let with = |trace: usize, span: usize, byte: u8| {
        let mut one = bodies::span(1);
        one.trace_id = vec![byte; trace];
        one.span_id = vec![byte; span];
        one
    };
    let alone = |span| bodies::request(vec![span]);
    let among_good = |span| bodies::request(vec![bodies::span(1), span, bodies::span(2)]);
    vec![
        case("no ids in any", "", alone(with(0, 0, 1)), Is::Bad),
        case("trace id of 15", "", alone(with(15, 8, 1)), Is::Bad),
        case("trace id of 17", "", alone(with(17, 8, 1)), Is::Bad),
        case("trace id of 64 KiB", "", alone(with(65_536, 8, 1)), Is::Bad),
        case("span id of 7", "", alone(with(16, 7, 1)), Is::Bad),
        case("ids of zeroes only", "", alone(with(16, 8, 0)), Is::Partly),
        case(
            "one id of 15 among good ones",
            "",
            among_good(with(15, 8, 1)),
            Is::Partly,
        ),
        case(
            "one id of zeroes among good ones",
            "",
            among_good(with(16, 8, 0)),
            Is::Partly,
        ),
    ]
}

pub(super) fn codecs() -> Vec<Case> {
    let good = bodies::spans(3);
    let zip = bodies::gzip(&good);
    let mut flipped = zip.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let two = [bodies::gzip(&good[..10]), bodies::gzip(&good[10..])].concat();
    vec![
        case("gzip", "gzip", zip.clone(), Is::Good),
        case("gzip of two members", "gzip", two, Is::Good),
        case("deflate as zlib", "deflate", bodies::zlib(&good), Is::Good),
        case("deflate without zlib", "deflate", bodies::raw_deflate(&good), Is::Good),
        case("zstd", "zstd", bodies::zstd(&good), Is::Good),
        case(
            "zstd without its size",
            "zstd",
            bodies::zstd_stream(&good, 17),
            Is::Good,
        ),
        case("snappy", "snappy", bodies::snappy(&good), Is::Good),
        case("not compressed", "gzip", good.clone(), Is::Bad),
        case("not compressed, deflate", "deflate", good.clone(), Is::Bad),
        case("not compressed, zstd", "zstd", good.clone(), Is::Bad),
        case("not compressed, snappy", "snappy", good.clone(), Is::Bad),
        case("gzip twice", "gzip", bodies::gzip(&zip), Is::Bad),
        case("zstd called gzip", "gzip", bodies::zstd(&good), Is::Bad),
        case("gzip called zstd", "zstd", zip.clone(), Is::Bad),
        case("gzip cut off", "gzip", zip[..zip.len() - 9].to_vec(), Is::Bad),
        case("gzip with a broken byte", "gzip", flipped, Is::Bad),
        case("gzip header only", "gzip", zip[..10].to_vec(), Is::Bad),
        case("zstd cut off", "zstd", bodies::zstd(&good)[..20].to_vec(), Is::Bad),
        case("zstd magic only", "zstd", vec![0x28, 0xb5, 0x2f, 0xfd], Is::Bad),
        // The claimed size: frame header with an eight-byte content size of 4 GiB.
        case(
            "zstd claims 4 GiB",
            "zstd",
            [
                &[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..],
                &[0, 0, 0, 0, 1, 0, 0, 0],
                &[1, 0, 0],
            ]
            .concat(),
            Is::TooLarge,
        ),
        case(
            "zstd asks for a window of 2 GiB",
            "zstd",
            [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3][..], &[1, 0, 0]].concat(),
            Is::Bad,
        ),
        case(
            "snappy claims 4 GiB",
            "snappy",
            vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0],
            Is::Bad,
        ),
        case("an encoding nobody knows", "br", good.clone(), Is::Unsupported),
        case("two encodings", "gzip, gzip", bodies::gzip(&zip), Is::Unsupported),
        Case {
            is_grpc: Is::Unsupported,
            ..case("lz4", "lz4", bodies::lz4(&good), Is::Good)
        },
        Case {
            is_grpc: Is::Unsupported,
            ..case("not compressed, lz4", "lz4", good.clone(), Is::Bad)
        },
    ]
}

/// 256 MiB of zeroes, a few hundred KiB to 12 MiB compressed.
pub(super) fn bombs() -> Vec<Case> {
    let zeroes = vec![0; 256 << 20];
    let large = |name, encoding, body: Vec<u8>| case(name, encoding, body, Is::TooLarge);
    let member = bodies::gzip(&zeroes[..1 << 20]);
    vec![
        large("bomb: gzip", "gzip", bodies::gzip(&zeroes[..64 << 20])),
        large("bomb: gzip of 64 members", "gzip", member.repeat(64)),
        large("bomb: deflate", "deflate", bodies::zlib(&zeroes[..64 << 20])),
        large("bomb: zstd", "zstd", bodies::zstd(&zeroes)),
        large("bomb: zstd without its size", "zstd", bodies::zstd_stream(&zeroes, 23)),
        large("bomb: snappy", "snappy", bodies::snappy(&zeroes[..40 << 20])),
        Case {
            is_grpc: Is::Unsupported,
            ..large(
                "bomb: snappy, framed",
                "x-snappy-framed",
                bodies::snappy_framed(&zeroes[..64 << 20]),
            )
        },
        Case {
            is_grpc: Is::Unsupported,
            ..large("bomb: lz4", "lz4", bodies::lz4(&zeroes[..64 << 20]))
        },
    ]
}

pub(super) fn empties() -> Vec<Case> {
    let many = |count, depth| bodies::gzip(&bodies::empty_elements(count, depth));
    let events = |count: usize| bodies::span_of(&[0x5a, 0].repeat(count));
    vec![
        case("1.9 million empty resource groups", "gzip", many(1_900_000, 0), Is::Bad),
        case("1.9 million empty scope groups", "gzip", many(1_900_000, 1), Is::Bad),
        case("1.9 million empty spans", "gzip", many(1_900_000, 2), Is::Bad),
        // Below the item nobody looks in this pipeline.
        case(
            "1.9 million empty events",
            "gzip",
            bodies::gzip(&events(1_900_000)),
            Is::Good,
        ),
        case("an empty span", "", bodies::in_span(&[]), Is::Bad),
    ]
}

pub(super) async fn by_http(to: SocketAddr, case: &Case) -> Result<Answer, String> {
    let mut headers = vec![PROTOBUF];
    if !case.encoding.is_empty() {
        headers.push(("content-encoding", case.encoding));
    }
    send("POST", to, false, "/v1/traces", &headers, case.body.clone()).await
}

pub(super) async fn by_grpc(to: SocketAddr, case: &Case) -> Result<Answer, String> {
    let mut headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
    if !case.encoding.is_empty() {
        headers.push(("grpc-encoding", case.encoding));
    }
    let body = bodies::framed(u8::from(!case.encoding.is_empty()), &case.body);
    send("POST", to, true, TRACES, &headers, body).await
}

/// What is wrong with the answers to a case, if anything.
pub(super) async fn judge(target: &Target, case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    match by_http(target.http, case).await {
        Ok(answer) => {
            let is_partial = answer.body.starts_with(&[0x0a]);
            if answer.status != case.is.http()
                || answer.is_retryable()
                || is_partial != (case.is == Is::Partly) && answer.status == 200
            {
                wrong.push(format!("{}: HTTP {} {}", case.name, answer.status, answer.text()));
            }
        }
        Err(error) => wrong.push(format!("{}: HTTP {error}", case.name)),
    }
    // A message over the cap as it is sent is refused by its prefix.
    let is = if case.body.len() > 4 << 20 {
        Is::TooLarge
    } else {
        case.is_grpc
    };
    match by_grpc(target.grpc, case).await {
        Ok(answer) => {
            if answer.code() != is.grpc() || answer.is_retryable() {
                wrong.push(format!(
                    "{}: gRPC {} {}",
                    case.name,
                    answer.code(),
                    answer.header("grpc-message")
                ));
            }
        }
        Err(error) => wrong.push(format!("{}: gRPC {error}", case.name)),
    }
    wrong
}

/// Each case alone, with its exact status; then 32 at once, while a second client is served. Then a request may also be
/// refused for want of memory, which is no judgement of its bytes.
async fn battery(cases: &[Case]) {
    let mut target = Target::start(&Setup::default());
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(judge(&target, case).await);
        target.lives(case.name).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for case in cases {
        let neighbour = Neighbour::start(&target);
        let (mut http, mut grpc) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        loop {
            let by_http = all_at_once((0..16).map(|_| by_http(target.http, case)));
            let by_grpc = all_at_once((0..16).map(|_| by_grpc(target.grpc, case)));
            let (some, others) = tokio::join!(by_http, by_grpc);
            http.extend(some);
            grpc.extend(others);
            if neighbour.has_enough() || begun.elapsed() > PATIENCE {
                break;
            }
        }
        neighbour.was_served(&target, case.name).await;
        let status = |answer: &Result<Answer, String>| answer.as_ref().map_or(0, |answer| answer.status);
        let code = |answer: &Result<Answer, String>| answer.as_ref().map_or(-1, Answer::code);
        let is = if case.body.len() > 4 << 20 {
            Is::TooLarge
        } else {
            case.is_grpc
        };
        let fine = http
            .iter()
            .all(|answer| [case.is.http(), 503].contains(&status(answer)))
            && grpc.iter().all(|answer| [is.grpc(), 14].contains(&code(answer)));
        let seen = (tally(http.iter().map(status)), tally(grpc.iter().map(code)));
        println!(
            "{}: 32 at once {seen:?}, peak {} KiB",
            case.name,
            target.agent.memory_kib("VmHWM")
        );
        assert!(fine, "{}: {seen:?}", case.name);
        target.lives_through(case.name).await;
    }
}

/// All of them at once.
pub(super) async fn all_at_once<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in pending.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(ready) => *output = Some(ready),
                std::task::Poll::Pending => waiting = true,
            }
        }
        if waiting {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_are_refused_for_good() {
    battery(&malformed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_ids_cost_their_record_and_are_counted() {
    battery(&ids()).await;
    let target = Target::start(&Setup::default());
    let all_bad = ids().swap_remove(1);
    let one_bad = ids().swap_remove(6);
    by_http(target.http, &all_bad).await.unwrap();
    by_http(target.http, &one_bad).await.unwrap();
    assert_eq!(
        target.metric("otelcol_receiver_refused_spans"),
        2.0,
        "what was rejected is counted"
    );
    assert_eq!(target.metric("otelcol_receiver_accepted_spans"), 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compression_is_taken_as_it_should_be_and_refused_otherwise() {
    battery(&codecs()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_are_stopped_while_they_inflate() {
    battery(&bombs()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn millions_of_empty_elements_are_counted_and_refused() {
    battery(&empties()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_framing_that_lies_is_refused() {
    let mut target = Target::start(&Setup::default());
    let good = bodies::spans(1);
    let cases: [(&str, Vec<u8>, i32); 9] = [
        ("no prefix", vec![], 3),
        ("half a prefix", vec![0, 0, 0], 3),
        ("claims 4 GiB", vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2], 8),
        ("claims a byte over the cap", vec![0, 0, 0x40, 0, 1], 8),
        ("claims more than comes", vec![0, 0, 0, 1, 0, 1, 2], 3),
        ("claims less than comes", vec![0, 0, 0, 0, 1, 1, 2], 3),
        ("two messages", bodies::framed(0, &good).repeat(2), 3),
        ("compressed without an encoding", bodies::framed(1, &good).to_vec(), 3),
        ("flag 255", bodies::framed(255, &good).to_vec(), 3),
    ];
    for (name, body, code) in cases {
        let answer = grpc(target.grpc, TRACES, &[], body).await;
        assert_eq!(answer.code(), code, "{name}: {}", answer.header("grpc-message"));
        assert!(!answer.is_retryable(), "{name}");
        target.lives(name).await;
    }
}
