//! Everything at once: all cases of `requests` mixed, 32 at a time, beside stalled bodies and garbage, while a second
//! client is served. Prints one line of JSON.
//!
//! `cargo test --test e2e hostile::` is the short form. The figures of the reliability contract (resident memory within
//! the limit + 10 %, p99 of the second client under 100 ms) are asserted of an optimised binary:
//! `RADIOSONDE_BIN=target/release/radiosonde cargo test --test e2e hostile:: -- --nocapture --test-threads=1`, the long
//! form with `RADIOSONDE_ROUNDS=20`.

use super::requests::{all_at_once, bombs, by_grpc, by_http, codecs, empties, ids, malformed};
use super::*;

fn rounds() -> usize {
    let configured = std::env::var("RADIOSONDE_ROUNDS").ok();
    configured.and_then(|count| count.parse().ok()).unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_cases_mixed_32_at_a_time_harm_nobody() {
    let mut target = Target::start(&Setup::default());
    let mut cases: Vec<_> = [malformed(), ids(), codecs(), bombs(), empties()]
        .into_iter()
        .flatten()
        .collect();
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 40, "only {} named cases", names.len());
    let neighbour = Neighbour::start(&target);
    let begun = Instant::now();
    let mut held = Vec::new();
    let mut seen: Vec<i32> = Vec::new();
    let mut round = 0;
    while round < rounds() || (!neighbour.has_enough() && begun.elapsed() < PATIENCE) {
        round += 1;
        // Another order in each round, the same in each run.
        cases.rotate_left(round * 7 % names.len());
        for (index, some) in cases.chunks(16).enumerate() {
            let mut stalled = TcpStream::connect(target.http).await.unwrap();
            let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n[";
            stalled.write_all(head.as_bytes()).await.unwrap();
            let mut garbage = TcpStream::connect(target.grpc).await.unwrap();
            let _ = garbage.write_all(&[index as u8; 4096]).await;
            held.push((stalled, garbage));
            let http = all_at_once(some.iter().map(|case| by_http(target.http, case)));
            let grpc = all_at_once(some.iter().map(|case| by_grpc(target.grpc, case)));
            let (http, grpc) = tokio::join!(http, grpc);
            seen.extend(
                http.iter()
                    .map(|answer| answer.as_ref().map_or(0, |answer| i32::from(answer.status))),
            );
            seen.extend(grpc.iter().map(|answer| answer.as_ref().map_or(-1, Answer::code)));
        }
    }
    let asked = seen.len();
    let seen = tally(seen);
    let peak = target.agent.memory_kib("VmHWM");
    println!(
        "{}",
        serde_json::json!({"goal": "bad_input_mixed", "cases": names.len(), "requests": asked, "at_once": 32,
            "seconds": begun.elapsed().as_secs_f64(), "peak_kib": peak, "limit_kib": LIMIT_MIB * 1024})
    );
    neighbour.was_served(&target, "all cases mixed").await;
    for (answer, count) in seen {
        assert!(
            [200, 400, 413, 415, 503, 0, 3, 8, 12, 14].contains(&answer),
            "{count} answers with {answer}"
        );
    }
    target.lives_through("all cases mixed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_stalled_bodies_are_gone_within_35_s_by_default() {
    let mut target = Target::start(&Setup {
        http: "",
        ..Setup::default()
    });
    let begun = Instant::now();
    let mut held = Vec::new();
    for n in 0..500 {
        let mut stream = TcpStream::connect(if n % 2 == 0 { target.http } else { target.grpc })
            .await
            .unwrap();
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
        stream
            .write_all(format!("{head}content-length: 100000\r\n\r\nabc").as_bytes())
            .await
            .unwrap();
        held.push(stream);
    }
    for stream in &mut held {
        let left = Duration::from_secs(35).saturating_sub(begun.elapsed());
        let mut answer = Vec::new();
        let read = tokio::time::timeout(left, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "still held after {:?}", begun.elapsed());
        assert_eq!(status_of(&String::from_utf8_lossy(&answer)), 408);
    }
    println!(
        "{}",
        serde_json::json!({"goal": "stalled_bodies", "connections": 500, "gone_after_s": begun.elapsed().as_secs_f64()})
    );
    target.lives("500 stalled bodies").await;
}
