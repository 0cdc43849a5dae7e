//! What is wrong below the item: nesting, text that is no UTF-8, messages that grow when they are decoded. With
//! `check: frame` it goes through, or is refused and counted by whoever reads that deep; with `check: full` the door
//! refuses or repairs it.

use super::requests::all_at_once;
use super::*;

/// Pipelines that look deep, each in another way.
const READERS: [(&str, &str, &str, &str); 8] = [
    (
        "filter by OTTL",
        "processors:\n  filter:\n    error_mode: ignore\n    traces: {span: ['attributes[\"key\"] == \"x\"', 'IsMatch(attributes[\"key\"], \"x.*\")']}\n    logs: {log_record: ['body == \"x\"']}\nexporters:\n  nop:\n",
        "[filter]",
        "[nop]",
    ),
    (
        "attributes",
        "processors:\n  attributes:\n    actions:\n    - {key: key, action: hash}\n    - {key: other, from_attribute: key, action: upsert}\n    - {key: added, value: x, action: insert}\nexporters:\n  nop:\n",
        "[attributes]",
        "[nop]",
    ),
    (
        "resource",
        "processors:\n  resource:\n    attributes:\n    - {key: added, value: x, action: upsert}\nexporters:\n  nop:\n",
        "[resource]",
        "[nop]",
    ),
    (
        "debug, normal",
        "exporters:\n  debug: {verbosity: normal}\n",
        "[]",
        "[debug]",
    ),
    (
        "debug, detailed",
        "exporters:\n  debug: {verbosity: detailed}\n",
        "[]",
        "[debug]",
    ),
    (
        "file in JSON",
        "exporters:\n  file: {path: /dev/null}\n",
        "[]",
        "[file]",
    ),
    (
        "file in protobuf",
        "exporters:\n  file: {path: /dev/null, format: proto}\n",
        "[]",
        "[file]",
    ),
    (
        "batch",
        "processors:\n  batch: {timeout: 10ms}\nexporters:\n  debug: {verbosity: detailed}\n",
        "[batch]",
        "[debug]",
    ),
];

/// Well framed down to the span, and hard on who reads on.
fn hard() -> Vec<(&'static str, Vec<u8>)> {
    let value = |value: &[u8]| bodies::span_of(&bodies::attribute(b"key", value));
    let doubled = (0..60).fold(bodies::field(1, &[b'x'; 20_000]), |inner, _| {
        // Each level stands twice, once empty: read as one message, so that a copy is needed.
        [bodies::field(5, &[]), bodies::field(5, &bodies::field(1, &inner))].concat()
    });
    vec![
        ("arrays 64 deep", value(&bodies::nested_arrays(64))),
        ("maps 48 deep", value(&bodies::nested_maps(48))),
        ("arrays 10,000 deep", value(&bodies::nested_arrays(10_000))),
        ("maps 10,000 deep", value(&bodies::nested_maps(10_000))),
        ("no UTF-8", bodies::bad_utf8()),
        ("NUL", value(&bodies::field(1, b"a\0b"))),
        ("control characters", value(&bodies::field(1, &[1; 500_000]))),
        ("a value of an unknown kind", value(&bodies::field(15, b"x"))),
        ("a value cut off", value(&[0x0a, 0x7f, b'x'])),
        ("a value that is a group", value(&[0x0b])),
        ("an attribute of the wrong wire type", bodies::span_of(&[0x48, 1])),
        ("a name as a number", bodies::span_of(&[0x28, 1])),
        ("300,000 empty events", bodies::span_of(&[0x5a, 0].repeat(300_000))),
        ("300,000 empty attributes", bodies::span_of(&[0x4a, 0].repeat(300_000))),
        ("300,000 empty spans in a group", {
            let good = bodies::span(1);
            let mut span = Vec::new();
            prost::Message::encode(&good, &mut span).unwrap();
            bodies::field(1, &bodies::field(2, &bodies::field(2, &span).repeat(60_000)))
        }),
        ("messages in pieces", value(&doubled)),
        (
            "1,000,000 empty values",
            value(&bodies::field(5, &[0x0a, 0].repeat(1_000_000))),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_deep_lives_and_counts_what_it_cannot_read() {
    for (reader, sections, processors, exporters) in READERS {
        let mut target = Target::start(&Setup {
            sections,
            processors,
            exporters,
            ..Setup::default()
        });
        for (name, body) in hard() {
            let what = format!("{name}, {reader}");
            // What is small cannot hold much: fewer of it at once keep the test short.
            let at_once = if body.len() > 100 << 10 { 32 } else { 4 };
            let body = bodies::gzip(&body);
            let headers = [PROTOBUF, ("content-encoding", "gzip")];
            let answer = once_there_is_room(&target, &body, &headers).await;
            // Read in the request's own task, it may be refused at once; never so that the client sends it again.
            assert!(
                [200, 400, 500].contains(&answer.status),
                "{what}: {} {}",
                answer.status,
                answer.text()
            );
            // What the cases before left in batches and queues may still be worked on: not the bound of one request.
            target.lives_through(&what).await;
            let many = (0..at_once).map(|_| http1(target.http, "/v1/traces", &headers, body.clone()));
            let statuses = tally(all_at_once(many).await.iter().map(|answer| answer.status));
            println!(
                "{what}: {at_once} at once {statuses:?}, peak {} KiB",
                target.agent.memory_kib("VmHWM")
            );
            target.lives_through(&what).await;
        }
        closes(&target, reader).await;
    }
}

/// received = refused + delivered + dropped + discarded, once everything has come to rest.
async fn closes(target: &Target, reader: &str) {
    let patience = Instant::now() + PATIENCE;
    let mut sums = (0.0, f64::NAN);
    while Instant::now() < patience {
        let accepted = target.metric("otelcol_receiver_accepted_spans");
        let gone = target.metric("otelcol_exporter_sent_spans")
            + target.metric("otelcol_dropped_items")
            + target.metric("radiosonde_discarded_items");
        sums = (accepted, gone);
        if accepted == gone {
            println!("{reader}: {accepted} accepted, all accounted for");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{reader}: accepted and accounted for: {sums:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_check_refuses_depth_and_repairs_text_at_the_door() {
    let value = |value: &[u8]| bodies::span_of(&bodies::attribute(b"key", value));
    let cases: Vec<(&str, Vec<u8>, u16, u16)> = vec![
        ("arrays 64 deep", value(&bodies::nested_arrays(64)), 200, 200),
        ("arrays 65 deep", value(&bodies::nested_arrays(65)), 400, 400),
        ("arrays 10,000 deep", value(&bodies::nested_arrays(10_000)), 400, 400),
        ("maps 10,000 deep", value(&bodies::nested_maps(10_000)), 400, 400),
        ("no UTF-8", bodies::bad_utf8(), 200, 400),
        ("a value cut off", value(&[0x0a, 0x7f, b'x']), 400, 400),
        ("1,001 attributes", bodies::good_attributes(1_001), 400, 400),
        ("1,000 attributes", bodies::good_attributes(1_000), 200, 200),
        (
            "a key of 2 KiB",
            bodies::span_of(&bodies::attribute(&[b'k'; 2048], b"")),
            400,
            400,
        ),
    ];
    for (utf8, reject) in [("replace", false), ("reject", true)] {
        let receiver = format!("check: full\n    utf8: {utf8}");
        let mut target = Target::start(&Setup {
            receiver: &receiver,
            ..Setup::default()
        });
        for (name, body, replaced, rejected) in &cases {
            let expected = if reject { *rejected } else { *replaced };
            let answer = http1(target.http, "/v1/traces", &[PROTOBUF], body.clone()).await;
            assert_eq!(answer.status, expected, "{name}, {utf8}: {}", answer.text());
            let answer = grpc(target.grpc, TRACES, &[], bodies::framed(0, body)).await;
            assert_eq!(answer.code(), if expected == 200 { 0 } else { 3 }, "{name}, {utf8}");
            let many = (0..32).map(|_| http1(target.http, "/v1/traces", &[PROTOBUF], body.clone()));
            let statuses = tally(all_at_once(many).await.iter().map(|answer| answer.status));
            assert_eq!(statuses.len(), 1, "{name}, {utf8}: {statuses:?}");
            target.lives_through(name).await;
        }
        let repaired = http1(target.http, "/v1/traces", &[PROTOBUF], bodies::bad_utf8()).await;
        assert_eq!(repaired.status == 200, !reject);
        assert!(
            repaired.text().contains("UTF-8"),
            "the client is told: {}",
            repaired.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_of_every_bad_form_is_refused_or_repaired() {
    let log =
        |body: &str| format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{body}}}]}}]}}]}}");
    let text = |text: &str| log(&format!("{{\"stringValue\":\"{text}\"}}"));
    let deep = |depth: usize| {
        let open = "{\"arrayValue\":{\"values\":[".repeat(depth);
        log(&format!("{open}{}", "]}}".repeat(depth)))
    };
    let unknown = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let mut not_utf8 = text("?").into_bytes();
    let at = not_utf8.iter().position(|byte| *byte == b'?').unwrap();
    not_utf8[at] = 0xff;
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("nothing", vec![], 400),
        ("blanks", b"  \n".to_vec(), 400),
        ("cut off", text("x").into_bytes()[..30].to_vec(), 400),
        ("text behind it", format!("{} x", text("x")).into_bytes(), 400),
        ("two requests", text("x").repeat(2).into_bytes(), 400),
        ("a list", b"[]".to_vec(), 400),
        ("a list of lists without end", "[".repeat(1_000_000).into_bytes(), 400),
        ("objects without end", "{\"x\":".repeat(1_000_000).into_bytes(), 400),
        ("unknown fields 200 deep", unknown(200).into_bytes(), 200),
        ("unknown fields 10,000 deep", unknown(10_000).into_bytes(), 400),
        ("values 50 deep", deep(50).into_bytes(), 200),
        ("values 70 deep", deep(70).into_bytes(), 400),
        ("values 100,000 deep", deep(100_000).into_bytes(), 400),
        ("NUL", text("a\\u0000b").into_bytes(), 200),
        ("half a surrogate pair", text("a\\ud800b").into_bytes(), 200),
        (
            "a surrogate pair the wrong way round",
            text("\\udc00\\ud800").into_bytes(),
            200,
        ),
        ("a byte that is no UTF-8", not_utf8, 200),
        ("a raw line feed in a string", text("a\nb").into_bytes(), 400),
        ("a wrong escape", text("a\\xb").into_bytes(), 400),
        ("a string without end", log("{\"stringValue\":\"x").into_bytes(), 400),
        (
            "a number of 1 MB",
            log(&format!("{{\"intValue\":{}}}", "9".repeat(1_000_000))).into_bytes(),
            400,
        ),
        (
            "a number out of range",
            log("{\"intValue\":99999999999999999999}").into_bytes(),
            400,
        ),
        (
            "a double out of range",
            log("{\"doubleValue\":1e999999}").into_bytes(),
            200,
        ),
        ("a half integer", log("{\"intValue\":1.5}").into_bytes(), 400),
        ("text for a number", log("{\"intValue\":\"many\"}").into_bytes(), 400),
        ("an object for a list", b"{\"resourceLogs\":{}}".to_vec(), 400),
        ("a list for an object", b"{\"resourceLogs\":[[]]}".to_vec(), 400),
        (
            "UTF-16",
            "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            400,
        ),
        ("a byte order mark", "\u{feff}{}".as_bytes().to_vec(), 200),
        (
            "a million numbers",
            format!("{{\"resourceLogs\":[{}]}}", vec!["{}"; 1_000_000].join(",")).into_bytes(),
            400,
        ),
    ];
    for (utf8, reject) in [("replace", false), ("reject", true)] {
        let receiver = format!("utf8: {utf8}");
        let mut target = Target::start(&Setup {
            receiver: &receiver,
            ..Setup::default()
        });
        let mut wrong = Vec::new();
        for (name, body, expected) in &cases {
            let is_text = name.contains("surrogate") || name.contains("no UTF-8");
            let expected = if reject && is_text { 400 } else { *expected };
            let answer = http1(target.http, "/v1/logs", &[JSON], body.clone()).await;
            if answer.status != expected || answer.is_retryable() || answer.body.len() > 1000 {
                wrong.push(format!("{name}, {utf8}: {} {}", answer.status, answer.text()));
            }
            let many = (0..32).map(|_| http1(target.http, "/v1/logs", &[JSON], body.clone()));
            let statuses = tally(all_at_once(many).await.iter().map(|answer| answer.status));
            if statuses.keys().any(|status| ![expected, 503].contains(status)) {
                wrong.push(format!("{name}, {utf8}, 32 at once: {statuses:?}"));
            }
            target.lives_through(name).await;
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_whose_numbers_grow_on_the_wire_is_paid_for() {
    // Without optimisation 32 of them take a while, and who waits for an answer is not what is tested here.
    let mut target = Target::start(&Setup {
        http: "read_timeout: 60s, write_timeout: 60s",
        ..Setup::default()
    });
    let bounds = vec!["1"; 500_000].join(",");
    let body = format!(
        "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"name\":\"m\",\"histogram\":{{\"dataPoints\":[{{\"explicitBounds\":[{bounds}]}}]}}}}]}}]}}]}}"
    );
    let packed = bodies::gzip(body.as_bytes());
    let headers = [JSON, ("content-encoding", "gzip")];
    let answer = http1(target.http, "/v1/metrics", &headers, packed.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let many = (0..32).map(|_| http1(target.http, "/v1/metrics", &headers, packed.clone()));
    let statuses = tally(all_at_once(many).await.iter().map(|answer| answer.status));
    println!(
        "500,000 numbers, 32 at once: {statuses:?}, peak {} KiB",
        target.agent.memory_kib("VmHWM")
    );
    assert!(
        statuses.keys().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    target.lives_through("500,000 numbers").await;
}
