//! The language: what it accepts, what it refuses and where, and that the columns give what a plain evaluator gives that
//! looks at one span after the other.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::*;
use crate::dev::store::Store;
use crate::pdata::{Batch, Decoded, Origin, Signal};

const NOW: u64 = 1_700_000_000_000_000_000;

fn problem(text: &str) -> QueryError {
    Query::parse(text, NOW).expect_err(text)
}

#[test]
fn every_form_of_a_term_is_read() {
    for text in [
        "",
        "word",
        "\"two words\"",
        "a=1",
        "a = 1",
        "a!=1 b<2 c<=3 d>4 e>=5",
        "http.route~\"^/api\" http.route!~x",
        "key:text",
        "has(http.route)",
        "service in (a, \"b c\",d)",
        "-a=1 NOT b=2",
        "(a=1 OR b=2) c=3",
        "a=1 AND b=2 OR c=3",
        "http://host/path",
        "time>-15m duration>=1.5s self<2ms",
        "severity>=warn kind=server status=error signal=logs",
        "res.service.name=x span.a=b event.name=c scope.d=e",
        "name=\"a \\\"quoted\\\" name\"",
    ] {
        assert!(Query::parse(text, NOW).is_ok(), "{text}: {:?}", Query::parse(text, NOW));
    }
}

#[test]
fn a_mistake_has_its_position_and_what_may_be_meant() {
    let cases: [(&str, usize, Option<&str>); 12] = [
        ("a=1 duration>100", 13, Some("100ms")),
        ("status=eror", 7, Some("error")),
        ("kind=sever", 5, Some("server")),
        ("severity=warning", 9, Some("warn")),
        ("x \"open", 2, Some("\"open\"")),
        ("(a=1", 0, None),
        ("a=1)", 3, None),
        ("a=", 1, Some("has(a)")),
        ("name~\"(\"", 5, None),
        ("time>yesterday", 5, Some("-15m")),
        ("a=1 OR", 4, None),
        ("exists(a)", 0, Some("has(exists)")),
    ];
    for (text, position, suggestion) in cases {
        let error = problem(text);
        assert_eq!(
            (error.position, error.suggestion.as_deref()),
            (position, suggestion),
            "{text}: {error}"
        );
    }
    // Positions count characters, not bytes.
    assert_eq!(problem("ä=1 status=x").position, 11);
}

#[test]
fn depth_and_length_are_bounded() {
    problem(&"(".repeat(5_000));
    problem(&"-".repeat(5_000));
    problem(&"NOT ".repeat(1_500));
    problem(&"a ".repeat(3_000));
    problem(&"x".repeat(100_000));
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

const SERVICES: [&str; 3] = ["cart", "web", ""];
const NAMES: [&str; 4] = ["GET /api/cart", "SELECT", "Card Declined", "get"];
const KEYS: [&str; 4] = ["http.route", "n", "scope.a", "same"];
const VALUES: [&str; 6] = ["/api/v1", "card declined", "10", "9", "", "true"];

fn value(random: &mut Random) -> Any {
    match random.below(4) {
        0 => Any::IntValue(random.below(12) as i64),
        1 => Any::BoolValue(random.below(2) == 0),
        2 => Any::DoubleValue(random.below(40) as f64 / 4.0),
        _ => Any::StringValue(random.of(&VALUES).to_owned()),
    }
}

fn attributes(random: &mut Random) -> Vec<KeyValue> {
    let mut list: Vec<KeyValue> = Vec::new();
    for _ in 0..random.below(4) {
        let key = random.of(&KEYS).to_owned();
        if list.iter().all(|have| have.key != key) {
            let value = Some(AnyValue {
                value: Some(value(random)),
            });
            list.push(KeyValue {
                key,
                value,
                ..KeyValue::default()
            });
        }
    }
    list
}

/// A span with everything that stands around it.
struct Around {
    service: String,
    resource: Vec<KeyValue>,
    scope: InstrumentationScope,
    span: Span,
}

fn around(random: &mut Random, at: u64) -> Around {
    let mut resource = attributes(random);
    let service = random.of(&SERVICES).to_owned();
    if !service.is_empty() {
        let value = Some(AnyValue {
            value: Some(Any::StringValue(service.clone())),
        });
        resource.push(KeyValue {
            key: "service.name".to_owned(),
            value,
            ..KeyValue::default()
        });
    }
    let mut events = Vec::new();
    for _ in 0..random.below(2) {
        events.push(Event {
            name: random.of(&["exception", "retry"]).to_owned(),
            attributes: attributes(random),
            ..Event::default()
        });
    }
    let span = Span {
        trace_id: (at + 1).to_be_bytes().repeat(2),
        span_id: (at + 1).to_be_bytes().to_vec(),
        parent_span_id: if random.below(2) == 0 {
            Vec::new()
        } else {
            99_u64.to_be_bytes().to_vec()
        },
        name: random.of(&NAMES).to_owned(),
        kind: random.below(6) as i32,
        start_time_unix_nano: NOW + at,
        end_time_unix_nano: NOW + at + random.below(5) * 50_000_000,
        events,
        attributes: attributes(random),
        status: Some(Status {
            code: random.below(3) as i32,
            message: random.of(&["", "timeout"]).to_owned(),
        }),
        ..Span::default()
    };
    Around {
        service,
        resource,
        scope: InstrumentationScope {
            name: random.of(&["http", "db"]).to_owned(),
            attributes: attributes(random),
            ..InstrumentationScope::default()
        },
        span,
    }
}

fn shown(value: &Option<AnyValue>) -> String {
    match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::BoolValue(flag)) => flag.to_string(),
        Some(Any::IntValue(number)) => number.to_string(),
        Some(Any::DoubleValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

impl Around {
    fn attributes(&self) -> Vec<(Place, String, String)> {
        let mut all = Vec::new();
        let mut put = |place, list: &[KeyValue]| {
            all.extend(list.iter().map(|one| (place, one.key.clone(), shown(&one.value))));
        };
        put(Place::Own, &self.span.attributes);
        put(Place::Resource, &self.resource);
        put(Place::Scope, &self.scope.attributes);
        for event in &self.span.events {
            put(Place::Event, &event.attributes);
        }
        let events = self
            .span
            .events
            .iter()
            .map(|event| (Place::Event, "name".to_owned(), event.name.clone()));
        all.extend(events.collect::<Vec<_>>());
        all
    }

    /// The values that a key has.
    fn values(&self, key: &Key) -> Vec<String> {
        let status = self.span.status.clone().unwrap_or_default();
        match key {
            Key::Service => vec![self.service.clone()],
            Key::Name => vec![self.span.name.clone()],
            Key::Kind => vec![KINDS[self.span.kind as usize].to_owned()],
            Key::Status => vec![STATUSES[status.code as usize].to_owned()],
            Key::Scope => vec![self.scope.name.clone()],
            Key::Attribute(name, placed) => self
                .attributes()
                .into_iter()
                .filter(|(place, key, _)| {
                    key == name
                        || placed
                            .as_ref()
                            .is_some_and(|(wanted, name)| key == name && place == wanted)
                })
                .map(|(_, _, value)| value)
                .collect(),
            _ => Vec::new(),
        }
    }

    fn fits(&self, node: &Node) -> bool {
        match node {
            Node::All => true,
            Node::And(nodes) => nodes.iter().all(|node| self.fits(node)),
            Node::Or(nodes) => nodes.iter().any(|node| self.fits(node)),
            Node::Not(node) => !self.fits(node),
            Node::Text(needle) => {
                let status = self.span.status.clone().unwrap_or_default();
                let mut texts = vec![self.span.name.clone(), status.message];
                texts.extend(self.attributes().into_iter().map(|(_, _, value)| value));
                texts.iter().any(|text| needle.is_in(text))
            }
            Node::Has(key) => match key {
                Key::Attribute(..) => !self.values(key).is_empty(),
                Key::Parent => !self.span.parent_span_id.is_empty(),
                _ => self.values(key).iter().any(|value| !value.is_empty()),
            },
            Node::In(key, operands) => operands.iter().any(|operand| self.compare(key, Op::Eq, operand)),
            Node::Compare(key, op, operand) => self.compare(key, *op, operand),
        }
    }

    fn compare(&self, key: &Key, op: Op, operand: &Operand) -> bool {
        match (op, key) {
            (Op::Ne, _) => return !self.compare(key, Op::Eq, operand),
            (Op::MatchesNot, _) => return !self.compare(key, Op::Matches, operand),
            (_, Key::Duration) => {
                let own = self.span.end_time_unix_nano - self.span.start_time_unix_nano;
                return match op {
                    Op::Eq => own == operand.number,
                    Op::Lt => own < operand.number,
                    Op::Le => own <= operand.number,
                    Op::Gt => own > operand.number,
                    Op::Ge => own >= operand.number,
                    _ => false,
                };
            }
            _ => {}
        }
        self.values(key).iter().any(|value| {
            let wanted = operand.text.as_str();
            let order = match (operand.quantity, value.parse::<f64>()) {
                (Some(Quantity::Plain(number)), Ok(have)) if have.is_finite() => have.partial_cmp(&number),
                (Some(_), _) => None,
                (None, _) => Some(value.as_str().cmp(wanted)),
            };
            match op {
                Op::Eq => value == wanted || order.is_some_and(std::cmp::Ordering::is_eq),
                Op::Lt => order.is_some_and(std::cmp::Ordering::is_lt),
                Op::Le => order.is_some_and(std::cmp::Ordering::is_le) || value == wanted && operand.quantity.is_none(),
                Op::Gt => order.is_some_and(std::cmp::Ordering::is_gt),
                Op::Ge => order.is_some_and(std::cmp::Ordering::is_ge),
                Op::Matches => operand.regex.as_ref().is_some_and(|regex| regex.is_match(value)),
                Op::Contains => value.to_lowercase().contains(&wanted.to_lowercase()),
                Op::Ne | Op::MatchesNot => false,
            }
        })
    }
}

fn term(random: &mut Random) -> String {
    let key = random.of(&[
        "service",
        "name",
        "scope",
        "http.route",
        "n",
        "same",
        "res.same",
        "span.n",
        "event.name",
        "scope.a",
    ]);
    let value = random.of(&[
        "cart",
        "web",
        "9",
        "10",
        "2.5",
        "\"card declined\"",
        "SELECT",
        "true",
        "exception",
        "/api/v1",
        "http",
    ]);
    match random.below(9) {
        0 => format!("has({key})"),
        1 => random
            .of(&["card", "declined", "\"Card D\"", "api", "TIMEOUT", "e", "zzz", "retry"])
            .to_owned(),
        2 => format!("{key} in ({value}, web)"),
        3 => format!("{key}~\"^[/cS1]\""),
        4 => format!("{key}!~\"e\""),
        5 => format!("{key}:{value}"),
        6 => format!(
            "duration{}{}ms",
            random.of(&["<", "<=", ">", ">=", "=", "!="]),
            random.below(5) * 50
        ),
        7 => format!("{}={}", "status", random.of(&STATUSES)),
        _ => format!("{key}{}{value}", random.of(&["=", "!=", "<", "<=", ">", ">="])),
    }
}

fn expression(random: &mut Random, depth: u32) -> String {
    let part = |random: &mut Random| {
        let inner = if depth > 0 && random.below(3) == 0 {
            format!("({})", expression(random, depth - 1))
        } else {
            term(random)
        };
        match random.below(5) {
            0 => format!("NOT {inner}"),
            1 => format!("-{inner}"),
            _ => inner,
        }
    };
    let parts: Vec<String> = (0..=random.below(3)).map(|_| part(random)).collect();
    let glue = random.of(&[" ", " AND ", " OR "]);
    parts.join(glue)
}

#[test]
fn columns_give_what_a_look_at_every_span_gives() {
    let mut random = Random(7);
    let all: Vec<Around> = (0..300).map(|at| around(&mut random, at)).collect();
    let request = ExportTraceServiceRequest {
        resource_spans: all
            .iter()
            .map(|one| ResourceSpans {
                resource: Some(Resource {
                    attributes: one.resource.clone(),
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(one.scope.clone()),
                    spans: vec![one.span.clone()],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            })
            .collect(),
    };
    let store = Store::default();
    store.take(Batch::from_decoded(Decoded::Traces(request), Origin::internal()));
    let written = store.snapshot().of(Signal::Traces)[0].clone();
    let complete = crate::dev::store::Segment::clone(&written).complete();
    assert_eq!(written.len(), all.len());
    let mut fitting = 0;
    for _ in 0..600 {
        let text = expression(&mut random, 3);
        let query = Query::parse(&text, NOW).unwrap_or_else(|error| panic!("{text}: {error} at {}", error.position));
        let wanted: Vec<usize> = (0..all.len()).filter(|row| all[*row].fits(&query.root)).collect();
        for segment in [&*written, &complete] {
            let rows: Vec<usize> = query.rows(segment, Window::ALL, &NoExtras).rows().collect();
            assert_eq!(rows, wanted, "{text} (complete: {})", segment.complete);
        }
        fitting += wanted.len();
    }
    // Neither nothing nor everything fits most of the time.
    assert!((1_500 * 20..600 * 280).contains(&fitting), "{fitting}");
}

#[test]
fn completion_knows_keys_and_values_that_are_stored() {
    let mut random = Random(3);
    let one = around(&mut random, 1);
    let store = Store::default();
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![KeyValue {
                    key: "deployment.zone".to_owned(),
                    value: Some(AnyValue {
                        value: Some(Any::StringValue("eu west".to_owned())),
                    }),
                    ..KeyValue::default()
                }],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: vec![one.span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    store.take(Batch::from_decoded(Decoded::Traces(request), Origin::internal()));
    let at_end = |text: &str| complete(text, text.chars().count(), &store.snapshot());
    let keys = at_end("status=ok depl");
    assert_eq!(
        (keys.items[0].text.as_str(), keys.from, keys.to),
        ("deployment.zone", 10, 14)
    );
    let values = at_end("deployment.zone=eu");
    assert_eq!((values.items[0].text.as_str(), values.from), ("\"eu west\"", 16));
    assert_eq!(at_end("-kind=ser").items[0].text, "server");
    assert_eq!(at_end("dur").items[0].text, "duration");
}
