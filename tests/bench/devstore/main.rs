//! The store of dev mode: how many spans fit, what taking them costs, how long a search takes, also while more comes in.
//! `cargo bench --bench devstore [-- --short]`.
//!
//! A missed limit fails the run. Figures of CPU are of the process or thread, so that other work on the machine counts
//! little; a search is timed by the wall clock, and its p99 is the middle of five rounds.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)] // A benchmark asks the machine and tells a person.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use radiosonde::dev::answers::{Ask, Choice, traces};
use radiosonde::dev::query::{NoExtras, Query, Window};
use radiosonde::dev::store::Store;
use radiosonde::pdata::{Batch, Decoded, Origin, Signal};

/// What the product uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CAP: u64 = 512 << 20;
const A_REQUEST: u64 = 500;
const START: u64 = 1_700_000_000_000_000_000;

const SERVICES: [&str; 8] = ["web", "cart", "pricing", "fx", "stock", "mail", "users", "search"];
const ROUTES: [&str; 6] = [
    "/api/v1/cart",
    "/api/v1/cart/{id}",
    "/quote",
    "/rates",
    "/users/{id}",
    "/search",
];

/// Searches that people make.
const SEARCHES: [&str; 7] = [
    "status=error",
    "service=cart duration>100ms",
    "http.route~\"^/api\" status=error",
    "user.id=user-4711",
    "\"card declined\"",
    "http.response.status_code>=500 -service=web",
    "service in (fx, mail) (kind=server OR has(exception.type)) duration>400ms",
];

fn mixed(number: u64) -> u64 {
    // 0 stays 0, which is no id.
    let number = number + 1;
    let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

fn text(key: &str, value: String) -> KeyValue {
    attribute(key, Any::StringValue(value))
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Eight attributes, one of them of many values and one of a value of its own for each trace.
fn span(at: u64) -> Span {
    let (trace, random) = (at / 10, mixed(at));
    let failed = random.is_multiple_of(50);
    let start = START + at * 20_000;
    let parent = if at.is_multiple_of(10) {
        Vec::new()
    } else {
        mixed(trace * 10).to_be_bytes().to_vec()
    };
    Span {
        trace_id: [mixed(trace).to_be_bytes(), mixed(trace + 1).to_be_bytes()].concat(),
        span_id: mixed(at).to_be_bytes().to_vec(),
        parent_span_id: parent,
        name: format!("GET {}", ROUTES[random as usize % ROUTES.len()]),
        kind: 2 + (random % 2) as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start + random % 500_000_000,
        attributes: vec![
            text("http.request.method", "GET".to_owned()),
            text("http.route", ROUTES[random as usize % ROUTES.len()].to_owned()),
            attribute(
                "http.response.status_code",
                Any::IntValue(if failed { 502 } else { 200 }),
            ),
            text("server.address", "shop.example.com".to_owned()),
            attribute("server.port", Any::IntValue(443)),
            text("user.id", format!("user-{}", random % 50_000)),
            text("session.id", format!("{:016x}", mixed(trace * 3))),
            attribute("cache.hit", Any::BoolValue(random % 3 == 0)),
        ],
        status: failed.then(|| Status {
            code: 2,
            message: if random.is_multiple_of(100) {
                "Card declined"
            } else {
                "timeout"
            }
            .to_owned(),
        }),
        ..Span::default()
    }
}

fn request(number: u64) -> Batch {
    let spans = (number * A_REQUEST..(number + 1) * A_REQUEST).map(span);
    let resource = vec![
        text("service.name", SERVICES[number as usize % SERVICES.len()].to_owned()),
        text("host.name", "ip-10-0-0-1".to_owned()),
    ];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource,
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "http".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: spans.collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let bytes = Batch::from_decoded(Decoded::Traces(request), Origin::internal()).into_bytes();
    Batch::from_wire(Signal::Traces, bytes, A_REQUEST as u32, Origin::internal())
}

/// CPU seconds of this process, or of this thread.
fn cpu(of: UsageWho) -> f64 {
    let usage = getrusage(of).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

struct Report {
    missed: Vec<String>,
}

impl Report {
    fn line(&mut self, what: &str, value: f64, unit: &str, limit: f64) {
        println!("{what:<52} {value:>10.2} {unit:<10} limit {limit}");
        if value > limit {
            self.missed.push(format!("{what}: {value:.2} {unit}, limit {limit}"));
        }
    }
}

/// p99 of the searches, in milliseconds: of the rounds the middle.
fn searches(store: &Store, rounds: usize) -> f64 {
    let mut p99s = Vec::new();
    for _ in 0..5 {
        let mut times = Vec::new();
        for _ in 0..rounds {
            for text in SEARCHES {
                let begin = Instant::now();
                let ask = Ask::all(text, 100, START).unwrap();
                let found = traces(store, &ask, &Choice::default()).unwrap();
                times.push(begin.elapsed());
                assert!(found.head.total > 0, "{text}");
            }
        }
        times.sort_unstable();
        p99s.push(times[times.len() * 99 / 100].as_secs_f64() * 1e3);
    }
    p99s.sort_by(f64::total_cmp);
    p99s[2]
}

fn each_search(store: &Store) {
    let snapshot = store.snapshot();
    for text in SEARCHES {
        let query = Query::parse(text, START).unwrap();
        let begin = Instant::now();
        let segments = snapshot.of(Signal::Traces).iter();
        let found: usize = segments
            .map(|segment| query.rows(segment, Window::ALL, &NoExtras).count())
            .sum();
        let rows = begin.elapsed().as_secs_f64() * 1e3;
        let begin = Instant::now();
        traces(store, &Ask::all(text, 100, START).unwrap(), &Choice::default()).unwrap();
        let list = begin.elapsed().as_secs_f64() * 1e3;
        println!("  {text:<76} {found:>8} spans in {rows:>6.2} ms, list of traces in {list:>6.2} ms");
    }
}

fn main() {
    let is_short = std::env::args().any(|argument| argument == "--short");
    let mut report = Report { missed: Vec::new() };
    let million = 1_000_000;
    let before = resident();
    let store = Arc::new(Store::default());
    store.set_cap(CAP);

    let mut taking = 0.0;
    for number in 0..million / A_REQUEST {
        let batch = request(number);
        let begin = cpu(UsageWho::RUSAGE_THREAD);
        store.take(batch);
        store.maintain();
        taking += cpu(UsageWho::RUSAGE_THREAD) - begin;
    }
    let stored = store.rows(Signal::Traces) as f64;
    println!(
        "{stored} spans, {} bytes, {} evicted",
        store.used(),
        store.books(Signal::Traces).evicted
    );
    report.line(
        "1 M spans of 8 attributes that do not fit",
        million as f64 - stored,
        "spans",
        0.0,
    );
    report.line("bytes a span", store.used() as f64 / stored, "B", CAP as f64 / 1e6);
    let resident = resident().saturating_sub(before) as f64 / store.used() as f64;
    report.line("resident memory, of what the store counts", resident, "times", 1.15);
    report.line("taking and completing", taking * 1e6 / million as f64, "us/span", 20.0);
    each_search(&store);
    let rounds = if is_short { 5 } else { 40 };
    report.line("search over 1 M spans, p99", searches(&store, rounds), "ms", 20.0);
    beside_intake(&store, &mut report, rounds);
    cap_held(&mut report, if is_short { 2_000_000 } else { 12_000_000 });
    reload(&mut report);
    for line in &report.missed {
        println!("MISSED {line}");
    }
    std::process::exit(i32::from(!report.missed.is_empty()));
}

/// 50,000 spans a second come in while it is searched.
fn beside_intake(store: &Arc<Store>, report: &mut Report, rounds: usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let (feeding, stopped) = (Arc::clone(store), Arc::clone(&stop));
    let feeder = std::thread::spawn(move || {
        let (mut number, mut busy) = (1_000_000 / A_REQUEST, 0.0);
        let begin = Instant::now();
        while !stopped.load(Ordering::Relaxed) {
            let batch = request(number);
            let before = cpu(UsageWho::RUSAGE_THREAD);
            feeding.take(batch);
            feeding.maintain();
            busy += cpu(UsageWho::RUSAGE_THREAD) - before;
            number += 1;
            let sent = number - 1_000_000 / A_REQUEST;
            let due = Duration::from_secs_f64((sent * A_REQUEST) as f64 / 50_000.0);
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
        }
        let spans = (number - 1_000_000 / A_REQUEST) * A_REQUEST;
        (
            spans as f64 / begin.elapsed().as_secs_f64(),
            busy / begin.elapsed().as_secs_f64(),
        )
    });
    let p99 = searches(store, rounds);
    stop.store(true, Ordering::Relaxed);
    let (rate, share) = feeder.join().unwrap();
    println!("{rate:.0} spans/s came in meanwhile");
    report.line("of a core, for 50,000 spans/s", share * 50_000.0 / rate, "cores", 1.0);
    report.line("search beside 50,000 spans/s, p99", p99, "ms", 50.0);
}

/// A process that was killed, and the one after it.
fn reload(report: &mut Report) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::default();
    store.open_dir(dir.path()).unwrap();
    for number in 0..1_000_000 / A_REQUEST {
        store.take(request(number));
    }
    store.maintain();
    drop(store);
    let begin = cpu(UsageWho::RUSAGE_THREAD);
    let again = Store::default();
    again.open_dir(dir.path()).unwrap();
    let seconds = cpu(UsageWho::RUSAGE_THREAD) - begin;
    assert_eq!(again.rows(Signal::Traces), 1_000_000, "everything is there again");
    report.line("1 M spans read from the data directory, CPU", seconds, "s", 2.0);
}

/// Many more than fit, as fast as they are taken, maintenance on another thread as in the product.
fn cap_held(report: &mut Report, spans: u64) {
    let store = Arc::new(Store::default());
    let cap = 128 << 20;
    store.set_cap(cap);
    let stop = Arc::new(AtomicBool::new(false));
    let (keeping, stopped) = (Arc::clone(&store), Arc::clone(&stop));
    let keeper = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            keeping.maintain();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let mut most = 0;
    for number in 0..spans / A_REQUEST {
        store.take(request(number));
        most = most.max(store.used());
    }
    stop.store(true, Ordering::Relaxed);
    keeper.join().unwrap();
    let books = store.books(Signal::Traces);
    assert_eq!(books.received, spans, "every span is in the books");
    assert_eq!(
        books.stored - books.evicted,
        store.rows(Signal::Traces) as u64,
        "the books close"
    );
    println!(
        "{spans} spans through a store of {cap} bytes, {} evicted",
        books.evicted
    );
    report.line("largest use, of the cap", most as f64 / cap as f64, "times", 1.05);
}
