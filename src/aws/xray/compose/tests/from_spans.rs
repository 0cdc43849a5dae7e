//! OTLP to segment to OTLP: ids, times, kinds, statuses, attributes, events and links come back.

use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use proptest::prelude::*;

use super::*;

const KEYS: [&str; 44] = [
    "http.request.method",
    "http.method",
    "http.url",
    "url.full",
    "url.scheme",
    "url.path",
    "url.query",
    "http.target",
    "http.response.status_code",
    "http.status_code",
    "user_agent.original",
    "client.address",
    "http.client_ip",
    "net.peer.ip",
    "network.peer.address",
    "server.address",
    "server.port",
    "http.host",
    "db.system",
    "db.system.name",
    "db.name",
    "db.namespace",
    "db.statement",
    "db.query.text",
    "db.user",
    "rpc.system",
    "rpc.service",
    "rpc.method",
    "aws.operation",
    "aws.table_name",
    "aws.dynamodb.table_names",
    "aws.queue_url",
    "peer.service",
    "enduser.id",
    "user.id",
    "error.type",
    "http.route",
    "cloud.region",
    "messaging.url",
    "aws.requestId",
    "otel.span.kind",
    "otel.resource.x",
    "http.response.body.size",
    "aws.s3.key",
];

fn value(random: &mut Random, depth: u32) -> Value {
    match random.below(if depth > 1 { 5 } else { 8 }) {
        0 => Value::IntValue(random.next() as i64),
        1 => Value::DoubleValue(f64::from(random.next() as i32) / 7.0),
        2 => Value::BoolValue(random.one_in(2)),
        3 => Value::DoubleValue(f64::INFINITY),
        4 | 5 => Value::StringValue(random.text()),
        6 => Value::BytesValue(random.text().into_bytes()),
        _ => {
            let any = |random: &mut Random| AnyValue {
                value: Some(value(random, depth + 1)),
            };
            if random.one_in(2) {
                let values = (0..random.below(3)).map(|_| any(random)).collect();
                Value::ArrayValue(ArrayValue { values })
            } else {
                let first = KeyValue {
                    key: "a".to_owned(),
                    value: Some(any(random)),
                    ..KeyValue::default()
                };
                let second = KeyValue {
                    key: random.text() + "2",
                    value: Some(any(random)),
                    ..KeyValue::default()
                };
                Value::KvlistValue(KeyValueList {
                    values: vec![first, second],
                })
            }
        }
    }
}

fn attributes(random: &mut Random) -> Vec<KeyValue> {
    let mut found: Vec<KeyValue> = Vec::new();
    for _ in 0..random.below(12) {
        let own = random.word();
        let key = if random.one_in(4) {
            own
        } else {
            random.pick(&KEYS).to_owned()
        };
        if found.iter().all(|have| have.key != key) {
            let value = match key.as_str() {
                "http.response.status_code" | "http.status_code" if !random.one_in(4) => {
                    Value::IntValue(200 + random.below(400) as i64)
                }
                _ if random.one_in(2) => Value::StringValue(random.text()),
                _ => value(random, 0),
            };
            found.push(key_value(&key, value));
        }
    }
    found
}

fn event(random: &mut Random) -> Event {
    let is_exception = random.one_in(2);
    let mut attributes = attributes(random);
    if is_exception {
        for key in [
            "exception.type",
            "exception.message",
            "exception.stacktrace",
            "exception.escaped",
        ] {
            if random.one_in(2) {
                attributes.push(text(key, &random.text()));
            }
        }
    }
    Event {
        time_unix_nano: random.next(),
        name: if is_exception {
            "exception".to_owned()
        } else {
            random.text()
        },
        attributes,
        dropped_attributes_count: random.below(3) as u32,
    }
}

fn span(random: &mut Random, id: u64) -> Span {
    let start = random.next() / 2;
    let parent = if random.one_in(2) {
        (random.next() | 1).to_be_bytes().to_vec()
    } else {
        Vec::new()
    };
    let links = (0..random.below(3)).map(|_| Link {
        trace_id: (u128::from(random.next()) + 1).to_be_bytes().to_vec(),
        span_id: (random.next() | 1).to_be_bytes().to_vec(),
        trace_state: if random.one_in(2) { random.word() } else { String::new() },
        attributes: attributes(random),
        dropped_attributes_count: random.below(2) as u32,
        flags: random.below(2) as u32,
    });
    Span {
        links: links.collect(),
        trace_id: 0x5759e988_bd862e3f_e1be46a9_94272793_u128.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        trace_state: if random.one_in(3) {
            "a=b".to_owned()
        } else {
            String::new()
        },
        parent_span_id: parent,
        flags: [0, 1, 0x101, 0x301][random.below(4)],
        name: random.text(),
        kind: random.below(6) as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start + random.next() % 1_000_000_000_000,
        attributes: attributes(random),
        dropped_attributes_count: random.below(2) as u32,
        events: (0..random.below(4)).map(|_| event(random)).collect(),
        dropped_events_count: random.below(2) as u32,
        dropped_links_count: random.below(2) as u32,
        status: match random.below(4) {
            0 => None,
            code => Some(Status {
                code: code as i32 - 1,
                message: if random.one_in(2) { random.text() } else { String::new() },
            }),
        },
    }
}

fn sorted(mut attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    attributes
}

/// Without what is nothing: an unset status without a message.
fn comparable(mut span: Span) -> Span {
    span.status = span
        .status
        .filter(|status| status.code != 0 || !status.message.is_empty());
    span.attributes = sorted(span.attributes);
    for event in &mut span.events {
        event.attributes = sorted(std::mem::take(&mut event.attributes));
    }
    for link in &mut span.links {
        link.attributes = sorted(std::mem::take(&mut link.attributes));
    }
    span
}

fn round_trip(sent: &Span, options: &Options) {
    let composed = documents(
        &request(vec![text("service.name", "shop")], vec![sent.clone()]),
        options,
    );
    assert!(composed.dropped.is_empty());
    let document = &composed.documents[0].document;
    let back = read(document);
    let mut got = comparable(back[0].scope_spans[0].spans[0].clone());
    let wanted = comparable(sent.clone());
    // What the segment's own fields told beside what was sent is in the names of today.
    got.attributes
        .retain(|have| wanted.attributes.iter().any(|sent| sent.key == have.key));
    assert_eq!(got, wanted, "{document}");
    assert_eq!(
        back[0].resource.as_ref().unwrap().attributes,
        [text("service.name", "shop")]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn everything_of_a_span_comes_back(seed in 1u64..) {
        let mut random = Random(seed);
        let span = span(&mut random, seed);
        round_trip(&span, &Options::default());
        round_trip(&span, &Options { index_all: true, ..Options::default() });
    }
}
